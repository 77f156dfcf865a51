"""The lines of the statistics screen: which figures fit, and how a tensor or a series of layers is written."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from explorer.core.statistics import TensorStats
from explorer.core.sweep import FIGURES, Series, short_figure
from explorer.core.text import UNKNOWN
from explorer.ui.paint import cut_name, fit, fit_right

CELL = 10
"""Cells of a figure: four digits, a sign, a point and an exponent."""

NAME_MIN = 24
"""Cells that the name keeps; columns are dropped for them in the order of `LEAVING`."""

LEAVING = ("mean", "min", "max", "std", "absmax", "inf", "nan", "zeros", "norm")
"""Order in which columns leave a narrow screen; the one that the table is sorted by stays."""

LAYERS_HEADINGS = (
    " Norm by element, layer by layer: each row from its own least to its largest",
    " Norm by element: each row from its least to its largest",
)
"""Over the series of layers; the second where the first is too long."""

WIDEST_TOLD = 200
"""Cells of the longest text about one tensor: its nine figures, and what must be said of them."""


def columns(width: int, order: str) -> tuple[int, list[int]]:
    """Return the cells of the name, and which figures fit beside it.

    Args:
        width: Cells of the line.
        order: The title of the figure that the table is sorted by; empty for none.
    """
    titles = [figure.title for figure in FIGURES]
    shown = list(range(len(FIGURES)))
    leaving = [titles.index(title) for title in LEAVING if title != order]
    while len(shown) > 1 and width - len(shown) * (CELL + 1) < NAME_MIN:
        shown.remove(leaving.pop(0))
    return max(8, width - len(shown) * (CELL + 1) - 1), shown


def headings(width: int, order: str) -> str:
    """Return the titles of what fits; an arrow marks the one that is sorted by."""
    name, shown = columns(width, order)
    titles = (FIGURES[at].title for at in shown)
    return (
        " "
        + fit("Name", name)
        + "".join(" " + fit_right(f"{title}↓" if title == order else title, CELL) for title in titles)
    )


def layers_heading(width: int) -> str:
    """Return the heading of the series of layers."""
    return next((text for text in LAYERS_HEADINGS if len(text) <= width), fit(LAYERS_HEADINGS[-1], width))


def told_lines(width: int) -> int:
    """Return the lines that the figures of any tensor take: as many for each, so that the table stays in place."""
    return -(-WIDEST_TOLD // max(1, width))


def tensor_line(name: str, stats: TensorStats | None, dtype: str, width: int, order: str) -> Text:
    """Return a tensor's line.

    Args:
        name: Its name.
        stats: Its statistics; `None` where it could not be measured.
        dtype: What marks it behind its name; empty for nothing.
        width: Cells of the line.
        order: The title of the figure that the table is sorted by.
    """
    room, shown = columns(width, order)
    mark = f" {dtype}" if dtype else ""
    text = Text(" " + fit(cut_name(name, room - len(mark)) + mark, room), no_wrap=True)
    if stats is None:
        text.append(" " + fit(f"{UNKNOWN} not measured", len(shown) * (CELL + 1) - 1), "bold")
        return text
    for at in shown:
        figure = FIGURES[at]
        value = figure.of(stats)
        odd = figure.title in ("nan", "inf") and bool(value)
        mark = "⚠ " if odd else ""
        text.append(" " + fit_right(mark + short_figure(value, CELL - len(mark)), CELL), "bold" if odd else "")
    return text


def layer_line(series: Series, width: int) -> Text:
    """Return the line of the tensors at one place in each layer: their norms as a sparkline, and its ends."""
    known = [norm for norm in series.norms if norm is not None]
    room = max(8, width - len(series.norms) - 26)
    text = Text(" " + fit(cut_name(series.name, room), room), no_wrap=True)
    text.append(f" {series.line}", "bold")
    text.append(f"  {short_figure(min(known))} … {short_figure(max(known))}", "dim")
    return text


def figures(stats: TensorStats) -> Iterator[str]:
    """Yield each figure with its title; non-breaking spaces keep the two on one line."""
    for figure in FIGURES:
        yield f"{figure.title}\N{NO-BREAK SPACE}{short_figure(figure.of(stats))}"
