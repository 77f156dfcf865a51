"""The lines of the statistics screen: which figures fit, and how a tensor or a series of layers is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from explorer.core.statistics import TensorStats
from explorer.core.sweep import FIGURES, Figure, Series, short_figure
from explorer.core.text import UNKNOWN
from explorer.ui.paint import cut_name, fit, fit_right

CELL = 10
"""Most cells of a figure: four digits, a sign, a point and an exponent."""

TITLED = [len(figure.title) + (figure.rank is not None) for figure in FIGURES]
"""Least cells of the columns: the title, and an arrow where the table can be sorted by it."""

END = 7
"""Most cells of the least and the most of a series; in full they stand below the list."""

NAME_MIN = 24
"""Cells that the name keeps; columns are dropped for them in the order of `LEAVING`."""

LEAVING = ("mean", "min", "max", "std", "absmax", "inf", "nan", "zeros", "norm")
"""Order in which columns leave a narrow screen; the one that the table is sorted by stays."""

LAYERS_HEADINGS = (
    " Root mean square of the elements, a bar a layer; least … largest",
    " Root mean square, a bar a layer; least … largest",
)
"""Over the series of layers; the second where the first is too long."""

WIDEST_FIGURES = 200
"""Cells of the longest text about one tensor: its nine figures, and what must be said of them."""


def grown(cells: Sequence[int], stats: TensorStats) -> list[int]:
    """Return the cells that the columns take once they hold a tensor's figures too."""
    return [max(cell, len(_written(figure, stats, CELL))) for cell, figure in zip(cells, FIGURES, strict=True)]


def _written(figure: Figure, stats: TensorStats, room: int) -> str:
    """Write a figure in `room` cells; a sign marks those of what is not finite."""
    value = figure.of(stats)
    mark = "⚠ " if figure.title in ("nan", "inf") and value else ""
    return mark + short_figure(value, room - len(mark))


def columns(width: int, order: str, cells: Sequence[int]) -> tuple[int, list[int]]:
    """Return the cells of the name, and which figures fit beside it: as many as if each took the most.

    Args:
        width: Cells of the line.
        order: The title of the figure that the table is sorted by; empty for none.
        cells: Cells that each figure takes; the name gets what they leave.
    """
    titles = [figure.title for figure in FIGURES]
    shown = list(range(len(FIGURES)))
    leaving = [titles.index(title) for title in LEAVING if title != order]
    while len(shown) > 1 and width - len(shown) * (CELL + 1) < NAME_MIN:
        shown.remove(leaving.pop(0))
    return max(8, width - sum(cells[at] + 1 for at in shown) - 1), shown


def headings(width: int, order: str, cells: Sequence[int]) -> str:
    """Return the titles of what fits; an arrow marks the one that is sorted by."""
    name, shown = columns(width, order, cells)
    titles = ((FIGURES[at].title, cells[at]) for at in shown)
    return (
        " "
        + fit("Name", name)
        + "".join(" " + fit_right(f"{title}↓" if title == order else title, cell) for title, cell in titles)
    )


def layers_heading(width: int) -> str:
    """Return the heading of the series of layers."""
    return next((text for text in LAYERS_HEADINGS if len(text) <= width), fit(LAYERS_HEADINGS[-1], width))


def figures_height(width: int) -> int:
    """Return the lines that the figures of any tensor take: as many for each, so that the table stays in place."""
    return -(-WIDEST_FIGURES // max(1, width))


def tensor_line(
    name: str, stats: TensorStats | None, dtype: str, width: int, order: str, cells: Sequence[int]
) -> Text:
    """Return a tensor's line.

    Args:
        name: Its name.
        stats: Its statistics; `None` where it could not be measured.
        dtype: What marks it behind its name; empty for nothing.
        width: Cells of the line.
        order: The title of the figure that the table is sorted by.
        cells: Cells of each figure.
    """
    room, shown = columns(width, order, cells)
    mark = f" {dtype}" if dtype else ""
    text = Text(" " + fit(cut_name(name, room - len(mark)) + mark, room), no_wrap=True)
    if stats is None:
        text.append(" " + fit(f"{UNKNOWN} not measured", sum(cells[at] + 1 for at in shown) - 1), "bold")
        return text
    for at in shown:
        written = _written(FIGURES[at], stats, cells[at])
        text.append(" " + fit_right(written, cells[at]), "bold" if written.startswith("⚠") else "")
    return text


def layer_line(series: Series, width: int) -> Text:
    """Return the line of the tensors at one place in each layer: their norms as a sparkline, and its ends."""
    known = [norm for norm in series.norms if norm is not None]
    room = max(8, width - len(series.norms) - 2 * END - 7)
    text = Text(" " + fit(cut_name(series.name, room), room), no_wrap=True)
    text.append(f" {series.line}", "bold")
    text.append(f"  {short_figure(min(known), END)} … {short_figure(max(known), END)}", "dim")
    return text


def layer_norms(series: Series) -> str:
    """Return the norm of each layer behind the layer's number."""
    pairs = zip(series.layers, series.norms, strict=True)
    return " ".join(f"{layer}:\N{NO-BREAK SPACE}{short_figure(norm)}" for layer, norm in pairs)


def figures(stats: TensorStats) -> Iterator[str]:
    """Yield each figure with its title; non-breaking spaces keep the two on one line."""
    for figure in FIGURES:
        yield f"{figure.title}\N{NO-BREAK SPACE}{short_figure(figure.of(stats))}"
