"""Bars, histograms and heat maps in block characters, which need no colour. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

EIGHTHS = " ▏▎▍▌▋▊▉█"
"""A cell filled from the left by eighths."""

LEVELS = "▁▂▃▄▅▆▇█"
"""A cell filled from below by eighths."""

SHADES = " ·░▒▓█"
"""Cells from empty to full."""

CONSTANT = SHADES[3]
"""Every cell of a matrix whose cells are all equal."""

BROKEN = "!"
"""A cell that holds NaN or an infinity."""


def bar(part: float, width: int) -> str:
    """Return a bar that fills `part` (0 to 1) of `width` cells; more than 0 is never blank."""
    eighths = round(max(0.0, min(1.0, part)) * width * 8)
    if part > 0 and eighths == 0:
        eighths = 1
    return "█" * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "")


def merged(counts: Sequence[int], bins: int) -> list[int]:
    """Return a histogram with at most `bins` bins, each the sum of as many old ones."""
    if len(counts) <= bins:
        return list(counts)
    step = next(step for step in range(1, len(counts) + 1) if len(counts) % step == 0 and len(counts) // step <= bins)
    return [sum(counts[at : at + step]) for at in range(0, len(counts), step)]


def histogram(counts: Sequence[int], edges: Sequence[float], width: int, bins: int, log: bool) -> list[str]:
    """Draw a histogram as one line a bin: its lower edge, a bar, its count.

    Args:
        counts: Elements of each bin.
        edges: One more than bins.
        width: Cells of a line.
        bins: Most lines.
        log: Whether bars grow with the logarithm of the count, so that rare values show beside common ones.
    """
    if not counts:
        return []
    shown = merged(counts, bins)
    step = len(counts) // len(shown)
    labels = [f"{edges[at * step]:.4g}" for at in range(len(shown))]
    left = max(map(len, labels))
    right = max(len(f"{count:,}") for count in shown)
    room = max(4, width - left - right - 2)
    most = _height(max(shown), log)
    return [
        f"{label:>{left}} {bar(_height(count, log) / most if most else 0.0, room):<{room}} {count:>{right},}"
        for label, count in zip(labels, shown, strict=True)
    ]


def _height(count: int, log: bool) -> float:
    return math.log2(1 + count) if log else float(count)


def sparkline(values: Sequence[float | None]) -> str:
    """Draw a row of values, from the least to the largest; `·` where one is not known, one level where all agree."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return "·" * len(values)
    low, high = min(known), max(known)
    # A share of a thousandth is no trend: rounding alone gives it.
    flat = high - low <= 1e-3 * max(abs(low), abs(high))
    cells = []
    for value in values:
        if value is None or not math.isfinite(value):
            cells.append("·")
        else:
            cells.append(LEVELS[3] if flat else LEVELS[min(7, int((value - low) / (high - low) * 8))])
    return "".join(cells)


def heat(cells: Sequence[Sequence[float | None]]) -> tuple[list[str], list[float]]:
    """Draw a matrix in shades.

    Args:
        cells: One number a cell, `None` where there is none.

    Returns:
        The lines, and for each shade but the lightest the least number that gets it; of cells that are all equal,
        drawn as `CONSTANT`, their one number.
    """
    known = sorted(value for row in cells for value in row if value is not None and math.isfinite(value))
    if not known:
        return [BROKEN * len(row) for row in cells], []
    # From the 2nd to the 98th of 100: one outlier would leave all others in one shade.
    low, high = known[len(known) // 50], known[-1 - len(known) // 50]
    if high <= low:  # all but a few cells are equal: those few are what there is to see
        low, high = known[0], known[-1]
    steps = len(SHADES)
    bounds = [low + (high - low) * at / steps for at in range(1, steps)]

    def shade(value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return BROKEN
        if high <= low:
            return CONSTANT
        return SHADES[sum(value >= bound for bound in bounds)]

    return ["".join(map(shade, row)) for row in cells], bounds if high > low else [low]
