"""What the screen of a tensor shows beside the grid, as text: torch's print, statistics, a heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from explorer.core.elements import ELEMENTS
from explorer.core.pictures import BROKEN, SHADES, heat, histogram
from explorer.core.statistics import BINS, QUANTILES, TensorStats, edges
from explorer.core.text import plural, share_text

if TYPE_CHECKING:
    from explorer.core.grid import Grid

SPREADS = (64, 32, 16, 8)
"""Bins that the histogram may be shown in: divisors of `BINS`."""


def figure(value: float | None) -> str:
    """Write a figure in six digits; unknown is `–`."""
    if value is None:
        return "–"
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
    cell = 26
    across = max(1, width // cell)
    for at in range(0, len(pairs), across):
        for name, value in pairs[at : at + across]:
            text.append(f"{name:<9}", "dim")
            odd = name in ("NaN", "Inf") and value != "0"
            text.append(f"{'⚠ ' + value if odd else value:<{cell - 9}}", "bold" if odd else "")
        text.append("\n")
    notes = []
    if stats.nans or stats.infs:
        notes.append("Figures and picture are of the finite elements.")
    if ELEMENTS[dtype].kind == "complex":
        notes.append("They are of the absolute values.")
    if notes:
        text.append(" ".join(notes) + "\n", "dim")
    if stats.histogram:
        used = text.plain.count("\n") + 2
        bins = next((bins for bins in SPREADS if bins <= max(8, height - used)), SPREADS[-1])
        assert BINS % bins == 0
        text.append(f"\nhistogram, {'log' if log else 'linear'}\n", "dim")
        text.append("\n".join(histogram(stats.histogram, edges(stats), width, bins, log)))
    return text


def _share(count: int, whole: int) -> str:
    return f"{count:,} {share_text(count, whole)}" if count else "0"


def head_of_print(lines: list[str], room: int) -> Text:
    """Return torch's print where it has room above the grid, else its beginning and how to see the rest.

    Args:
        lines: The whole print.
        room: Most lines; of a longer print half as many are shown, for the grid has the same numbers.
    """
    if len(lines) > room:
        kept = max(1, room // 2)
        lines = [*lines[:kept], f"… {plural(len(lines) - kept, 'more line')}: p shows all"]
    return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def heat_text(answer: Any, grid: Grid) -> Text:
    """Return a heat map with its legend.

    Args:
        answer: What the worker answered: rows of numbers, `None` for those that are none.
        grid: The tensor's.
    """
    lines, bounds = heat(answer)
    text = Text(no_wrap=True, overflow="crop")
    text.append("\n".join(lines) + "\n\n")
    rows = plural(1 if grid.is_vector else grid.rows, "row")
    columns = plural(grid.shape[-1] if grid.shape else 1, "column")
    text.append(f"{rows} × {columns}: root mean square of each block, signs do not cancel\n", "dim")
    for shade, bound in zip(SHADES[1:], bounds, strict=False):
        text.append(f" {shade} ≥ {bound:.3g} ", "dim")
    if any(BROKEN in line for line in lines):
        text.append(f"  {BROKEN} holds NaN or an infinity", "bold")
    return text
