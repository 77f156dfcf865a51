"""The text views of the tensor screen: torch's print, statistics, a heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from explorer.core.elements import ELEMENTS
from explorer.core.pictures import BROKEN, CONSTANT, SHADES, heat, histogram
from explorer.core.statistics import BINS, QUANTILES, TensorStats, edges
from explorer.core.text import UNKNOWN, plural, share_text
from explorer.ui.paint import folded

if TYPE_CHECKING:
    from explorer.core.grid import Grid

CELL = 26
"""Cells of a figure with its name; a longer one takes the next ones too."""

NAME = 9
"""Cells of its name."""

MOST_LINES = 9
"""More lines than any text here needs, so that texts are folded and never cut."""

CAPTION, LEGEND = 80, 120
"""Cells that a heat map's caption and its legend may take, on one line or on several."""

SPREADS = (64, 32, 16, 8)
"""Bins that the histogram may be shown in: divisors of `BINS`."""


def figure(value: float | None) -> str:
    """Write a figure in six digits; unknown is `–`."""
    if value is None:
        return UNKNOWN
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def measured_text(stats: TensorStats, dtype: str, width: int, height: int, log: bool) -> Text:
    """Return the figures and, under them, as fine a histogram as fits.

    Args:
        stats: The statistics.
        dtype: The tensor's, for what must be told about it.
        width: Cells of a line.
        height: Lines that are seen at once.
        log: Whether the histogram's bars grow with the logarithm.
    """
    pairs = [
        ("mean", figure(stats.mean)),
        ("std", figure(stats.std)),
        ("min", figure(stats.least)),
        ("max", figure(stats.most)),
        ("abs max", figure(stats.absmax)),
        ("L2 norm", figure(stats.norm)),
        ("elements", f"{stats.numel:,}"),
        ("zeros", _share(stats.zeros, stats.numel)),
        ("NaN", _share(stats.nans, stats.numel)),
        ("Inf", _share(stats.infs, stats.numel)),
    ]
    pairs += [(f"{quantile:.0%}", figure(value)) for quantile, value in zip(QUANTILES, stats.quantiles, strict=False)]
    text = Text(no_wrap=True, overflow="ellipsis")
    used = column = 0
    for name, value in pairs:
        odd = name in ("NaN", "Inf") and value != "0"
        shown = f"⚠ {value}" if odd else value
        cells = -(-(NAME + len(shown) + 1) // CELL) * CELL  # one more: the gap
        if used and used + cells - 1 > width:
            text.append("\n")
            used = column = 0
        text.append(" " * (used - column) + f"{name:<{NAME}}", "dim")
        text.append(shown, "bold" if odd else "")
        column = used + NAME + len(shown)
        used += cells
    text.append("\n")
    notes = []
    if (stats.nans or stats.infs) and stats.finite:
        notes.append("Figures and picture are of the finite elements.")
    firsts = (("NaN", stats.first_nan), ("Inf", stats.first_inf))
    if told := ", first ".join(f"{kind} at {list(index)}" for kind, index in firsts if index):
        notes.append(f"First {told}; n goes there.")
    if ELEMENTS[dtype].kind == "complex":
        notes.append("Figures of complex numbers are of the absolute values.")
    for line in folded(" ".join(notes), width, MOST_LINES) if notes else ():
        text.append(f"{line}\n", "dim")
    if stats.histogram:
        lines = text.plain.count("\n") + 2
        bins = next((bins for bins in SPREADS if bins <= max(8, height - lines)), SPREADS[-1])
        assert BINS % bins == 0
        text.append(f"\nhistogram, {'log' if log else 'linear'}\n", "dim")
        text.append("\n".join(histogram(stats.histogram, edges(stats), width, bins, log)))
    return text


def _share(count: int, whole: int) -> str:
    return f"{count:,} {share_text(count, whole)}" if count else "0"


def head_of_print(lines: list[str], room: int) -> Text:
    """Return torch's print if it fits above the grid, else its beginning and the key that shows the rest.

    Args:
        lines: The whole print.
        room: Most lines; of a longer print half as many are shown, for the grid has the same numbers.
    """
    if len(lines) > room:
        kept = max(1, room // 2)
        lines = [*lines[:kept], f"… {plural(len(lines) - kept, 'more line')}: p shows all"]
    return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def legend_lines(width: int) -> int:
    """Return the lines that are kept for what stands under a heat map."""
    return 1 + -(-CAPTION // width) + -(-LEGEND // width)


def heat_text(answer: Any, grid: Grid, width: int) -> Text:
    """Return a heat map with its legend.

    Args:
        answer: What the worker answered: rows of numbers, `None` where a cell has none.
        grid: The tensor's.
        width: Cells of a line.
    """
    lines, bounds = heat(answer)
    text = Text(no_wrap=True, overflow="crop")
    text.append("\n".join(lines) + "\n\n")
    rows = plural(1 if grid.is_vector else grid.rows, "row")
    columns = plural(grid.shape[-1] if grid.shape else 1, "column")
    caption = f"{rows} × {columns}: root mean square of each block, signs do not cancel"
    if len(bounds) == 1:
        parts = [f"{CONSTANT} = {bounds[0]:.3g} everywhere"]
    else:
        parts = [f"{shade} ≥ {bound:.3g}" for shade, bound in zip(SHADES[1:], bounds, strict=False)]
        if bounds and any(SHADES[0] in line for line in lines):
            parts.insert(0, f"blank < {bounds[0]:.3g}")
    if any(BROKEN in line for line in lines):
        parts.append(f"{BROKEN} holds NaN or an infinity")
    legend = "  ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)
    for told in (caption, legend):
        text.append("".join(f"{line}\n" for line in folded(told, width, MOST_LINES)), "dim")
    text.right_crop(1)
    return text
