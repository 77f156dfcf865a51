"""One line of the table: a measure of paramx beside its floor or its peer, taken in the same run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    tensors: int
    """Tensors of the large models."""
    many: int
    """Tensors of the largest."""
    runs: int
    """Repetitions of each measure."""


FULL = Size(tensors=100_000, many=150_000, runs=7)
SMALL = Size(tensors=2_000, many=3_000, runs=1)
"""To see that everything runs; its figures mean nothing."""


@dataclass(frozen=True)
class Row:
    """One measure."""

    measure: str
    """What was measured."""
    ours: Sequence[float]
    """The figures of each run, in `unit`."""
    unit: str
    """`ms`, `B`, `MB`, …"""
    beside: str = ""
    """What it is compared with."""
    theirs: Sequence[float] = ()
    """Its figures in the same run; empty where the goal is a figure by itself, or the peer is not installed."""
    ratio: float | None = None
    """The goal: our median at most so many times theirs."""
    limit: float | None = None
    """The goal: our median at most this, in `unit`."""

    @property
    def times(self) -> float | None:
        """Our median as a multiple of theirs."""
        return statistics.median(self.ours) / max(statistics.median(self.theirs), 1e-9) if self.theirs else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; `None` without a goal, or without what it is compared with."""
        if self.ratio is not None:
            return None if self.times is None else self.times <= self.ratio
        return None if self.limit is None else statistics.median(self.ours) <= self.limit

    def cells(self) -> list[str]:
        """Return the line's cells."""
        goal = (
            f"≤ {self.ratio:g} ×" if self.ratio is not None else f"≤ {self.limit:g} {self.unit}" if self.limit else ""
        )
        theirs = f"{self.beside}: {spread(self.theirs, self.unit)}" if self.theirs else self.beside
        times = f"{self.times:.2f}" if self.times is not None else ""
        return [
            self.measure,
            spread(self.ours, self.unit),
            theirs,
            times,
            goal,
            {True: "met", False: "**not met**", None: ""}[self.met],
        ]


HEAD = ["Measure", "This run", "Floor or peer, same run", "Ratio", "Goal", ""]


def spread(figures: Sequence[float], unit: str) -> str:
    """Return a median with the least and the most."""
    if not figures:
        return "–"
    shown = [f"{figure:,.0f}" if figure >= 20 or figure == int(figure) else f"{figure:.1f}" for figure in figures]
    middle = statistics.median(figures)
    text = f"{middle:,.0f}" if middle >= 20 or middle == int(middle) else f"{middle:.1f}"
    if len(figures) == 1 or len(set(shown)) == 1:
        return f"{text} {unit}"
    least, most = (shown[figures.index(end(figures))] for end in (min, max))
    return f"{text} {unit} ({least}–{most})"


def paired(runs: int, *actions: Callable[[], object]) -> list[list[object]]:
    """Run actions in turn, A B A B …, so that the machine's drift meets each alike; return the results of each."""
    results: list[list[object]] = [[] for _ in actions]
    for _ in range(runs):
        for action, kept in zip(actions, results, strict=True):
            kept.append(action())
    return results


def markdown(rows: Iterable[Row]) -> str:
    """Return the table."""
    lines = [HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(cell or " " for cell, _ in zip_longest(line, HEAD)) + " |" for line in lines)
