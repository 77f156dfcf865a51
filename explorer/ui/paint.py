"""Text in cells: cutting and padding by what a terminal draws, where a wide character takes two cells."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size


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


def cut_middle(text: str, width: int) -> str:
    """Return `text` in at most `width` cells, its middle left out: both ends of a dotted name tell most."""
    if cell_len(text) <= width:
        return text
    if width <= 1:
        return "…"[:width]
    head = (width - 1) // 2
    tail = width - 1 - head
    start = set_cell_size(text, head)
    end = ""
    for char in reversed(text):
        if cell_len(char + end) > tail:
            break
        end = char + end
    return f"{start}…{end}"
