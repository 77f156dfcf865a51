"""How large the screen is: the terminal says it, and no more is believed than can be drawn in time."""

from __future__ import annotations

import os
import shutil

WIDEST, HIGHEST = 640, 200
"""Columns and rows that are drawn on: those of a 4K screen in the smallest type that can be read.

The time for a layout grows with their product, and no key is looked at meanwhile: here it is some 0.3 s. A terminal,
or a report in its name, may claim any size.
"""


def bounded(columns: int, rows: int) -> tuple[int, int]:
    """Return the part of a size that is drawn on; the rest of the screen stays blank."""
    return min(columns, WIDEST), min(rows, HIGHEST)


def screen_size(terminal: int) -> tuple[int, int]:
    """Return the columns and rows of a terminal, by its descriptor.

    COLUMNS and LINES count only where it says nothing: exported by a shell elsewhere, they are another terminal's.
    """
    try:
        columns, rows = os.get_terminal_size(terminal)
    except OSError:
        columns = rows = 0
    if not (columns and rows):
        exported = shutil.get_terminal_size()
        columns, rows = columns or exported.columns, rows or exported.lines
    return bounded(columns, rows)
