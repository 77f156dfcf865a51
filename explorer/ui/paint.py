"""Cuts and pads text by terminal cells, where a wide character takes two; the signs of findings."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.cells import cell_len, set_cell_size

SEVERITY_MARKS = {"error": "✖", "warning": "⚠", "hint": "·"}
"""Sign before a finding, so that its weight shows without colour."""

SEVERITY_STYLES = {"error": "bold red", "warning": "bold yellow", "hint": "dim"}
"""Colour of that sign."""


def fit(text: str, width: int) -> str:
    """Return `text` cut at the end, or padded on the right, to exactly `width` cells."""
    if width <= 0:
        return ""
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…"
    return set_cell_size(text, width)


def fit_right(text: str, width: int) -> str:
    """Return `text` cut at the end, or padded on the left, to exactly `width` cells."""
    length = cell_len(text)
    return " " * (width - length) + text if length <= width else fit(text, width)


def apart(left: str, right: str, width: int) -> str:
    """Return two texts at the ends of a line of `width` cells, at least two blanks between them."""
    return left + " " * max(2, width - cell_len(left) - cell_len(right)) + right


def cut_middle(text: str, width: int) -> str:
    """Return `text` in at most `width` cells, its middle left out: the ends of a dotted name say most."""
    if cell_len(text) <= width:
        return text
    if width <= 1:
        return "…"[:width]
    head = (width - 1) // 2
    return set_cell_size(text, head) + cut_start(text, width - head)


def cut_start(text: str, width: int) -> str:
    """Return `text` in at most `width` cells, its beginning left out: names of one group differ at their ends."""
    if cell_len(text) <= width:
        return text
    end = ""
    for char in reversed(text):
        if cell_len(char + end) > width - 1:
            break
        end = char + end
    return f"…{end}"


def cut_name(name: str, width: int) -> str:
    """Return a dotted name in at most `width` cells: its beginning is cut first, layer numbers and its end stay.

    Args:
        name: `encoder.layer.0.attention.self.query.weight`, in 24 cells `…0…self.query.weight`.
        width: Cells.
    """
    parts = name.split(".")
    for at, part in enumerate(parts[:-1]):
        if cell_len(name) <= width:
            break
        if not part.isdigit():
            parts[at] = "…"
            name = re.sub(r"\.?…(?:\.?…)*\.?", "…", ".".join(parts))
    return cut_middle(name, width)


def keys_line(keys: Iterable[str], width: int, last: str = "") -> str:
    """Return the keys that work now in one line of `width` cells; those that no longer fit are left out whole.

    Args:
        keys: `Esc closes`, `s sort`: the way out first, then the most useful.
        width: Cells of the line.
        last: What stands at its end whatever else is left out: `? help`, which tells the rest.
    """
    line = ""
    room = width - (cell_len(last) + 2 if last else 0)
    for key in keys:
        longer = f"{line}  {key}" if line else f" {key}"
        if line and cell_len(longer) > room:
            break
        line = longer
    return f"{line}  {last}" if last else line


def folded(text: str, width: int, lines: int) -> list[str]:
    """Break a text between words into at most `lines` lines; what is cut ends in `…`.

    Args:
        text: One paragraph; a non-breaking space keeps two words together.
        width: Cells of a line.
        lines: Most lines.
    """
    rows = [""]
    for word in text.replace(" · ", "\N{NO-BREAK SPACE}· ").split(" "):
        longer = f"{rows[-1]} {word}" if rows[-1] else word
        if cell_len(longer) <= width or not rows[-1]:
            rows[-1] = longer
        else:
            rows.append(word)
    kept = [fit(row, width) if cell_len(row) > width else row for row in rows[:lines]]
    if len(rows) > lines:
        last = kept[-1] if cell_len(kept[-1]) + 2 <= width else kept[-1].rpartition(" ")[0]
        kept[-1] = fit(f"{last} …", width).rstrip()
    return [row.replace("\N{NO-BREAK SPACE}", " ") for row in kept]
