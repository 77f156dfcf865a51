"""The lines around the views of the tensor screen: tabs, keys, the element under the cursor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from explorer.core.grid import exact_text
from explorer.core.text import shape_text
from explorer.ui.paint import folded
from explorer.ui.widgets.value_grid import ValueGrid

HEAT_MAP = "heat map"
"""Name of the view of a matrix in shades; an error about it begins with this."""

TABS = ("values", "statistics", HEAT_MAP, "print")
"""The views of a tensor, in the order in which Tab goes through them."""

VALUES, STATISTICS, HEAT, PRINT = range(len(TABS))
"""Their places."""

DETAIL_LINES = 3
"""Most lines under the views; `values.tcss` holds the same figure."""


def tabs_text(tab: int) -> Text:
    """Return the names of the views; the one that is shown stands out."""
    text = Text(no_wrap=True, overflow="ellipsis")
    for position, name in enumerate(TABS):
        text.append(f" {name} ", "reverse bold" if position == tab else "dim")
    return text


def view_keys(tab: int, grid: ValueGrid, log: bool | None, odd: bool) -> Iterator[str]:
    """Yield the keys that do something in a view.

    Args:
        tab: The view.
        grid: The values.
        log: Whether the histogram's bars grow with the logarithm; `None` where there is none.
        odd: Whether an element is known to be NaN or infinite.
    """
    yield f"Tab {TABS[(tab + 1) % len(TABS)]}"
    if odd:
        yield "n NaN/Inf"
    several = len(grid.leading)
    if several and tab in (VALUES, HEAT):
        yield "[ ] slice"
    if several > 1 and tab == VALUES:
        yield "d dimension"
    if tab == VALUES:
        yield from ("g index", f"f format ({grid.form})", "←↑↓→ PgUp PgDn", "p print")
    elif tab == STATISTICS and log is not None:
        yield f"l {'linear' if log else 'log'}"
    elif tab == PRINT:
        yield from ("↑↓ PgUp PgDn", "p values")


def failed_text(why: str, width: int) -> Text:
    """Return why something could not be shown, in the few lines that are there."""
    lines = "\n".join(f" {line}" for line in folded(why, width, DETAIL_LINES))
    return Text(lines, "bold", no_wrap=True)


def cell_text(grid: ValueGrid, facts: Mapping[str, Any], width: int) -> Text:
    """Return the element under the cursor, and what the tensor is."""
    text = Text(no_wrap=True)
    data = grid.cell
    if grid.grid.is_empty:
        text.append(" no element", "bold")
    else:
        text.append(f" [{', '.join(map(str, grid.index))}] = ", "dim")
        text.append("…" if data is None else exact_text(grid.dtype, data), "bold")
    parts = [shape_text(grid.grid.shape), grid.dtype, facts["device"] or "", facts["note"]]
    if grid.leading:
        slices = [f"›{at}‹" if place == grid.stepped else str(at) for place, at in enumerate(grid.leading)]
        parts.insert(1, f"slice [{', '.join(slices)}, :, :]")
    rest = folded(" · ".join(filter(None, parts)), width, DETAIL_LINES - 1)
    text.append("".join(f"\n {line}" for line in rest), "dim")
    return text
