"""Sums up a column over the parameters below a module: their one value, or the elements of each value.

A row of the tree may stand for 150,000 parameters and is drawn at every key: a column is walked once, and from then
on an answer takes a few look-ups, or one count of the row's own parameters.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from itertools import compress, count
from operator import ne
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from explorer.core.param import Column
    from explorer.core.tree import Tree

KEPT = 64
"""Answers that are remembered: the rows that a person goes back and forth between."""

STRETCH = 10_000
"""Leaves that are walked in one go: while Python's own loops run, no other thread does."""


class Summaries:
    """Answers for one tree, and for what a filter leaves of it."""

    def __init__(self, tree: Tree) -> None:
        """Start empty: the first question about a column walks it."""
        self._tree = tree
        self._mask: bytes | None = None
        self._changes: dict[int, list[int]] = {}
        self._kinds: dict[int, tuple[array[int], list[tuple[int, int]]]] = {}
        self._answers: dict[tuple[int, int, int], dict[Any, int]] = {}

    def show(self, mask: bytes | None) -> None:
        """Sum only parameters whose byte in `mask` (leaf order) is 1; `None` takes all."""
        self._mask = mask
        self._answers.clear()

    def agree(self, column: Column[Any], start: int, end: int) -> bool:
        """Return whether the leaves `start … end` have one value; a filter changes nothing."""
        if len(column.values) == 1:
            return True
        changes = self._changes.get(id(column))
        if changes is None:
            codes = self._tree.in_order(column.codes)
            # The positions whose value differs from that of the leaf before.
            changes = self._changes[id(column)] = list(compress(count(1), map(ne, codes, codes[1:])))
        return bisect_right(changes, start) == bisect_left(changes, end)

    def elements(self, column: Column[Any], start: int, end: int) -> dict[Any, int]:
        """Return the elements of each value among the shown leaves `start … end`, in order of the column's values."""
        key = id(column), start, end
        found = self._answers.get(key)
        if found is None:
            if len(self._answers) >= KEPT:
                self._answers.clear()
            found = self._answers[key] = self._count(column, start, end)
        return found

    def _count(self, column: Column[Any], start: int, end: int) -> dict[Any, int]:
        rows, kinds = self._kinds_of(column)
        here = rows[start:end]
        counts = Counter(here if self._mask is None else compress(here, self._mask[start:end]))
        sums: dict[int, int] = {}
        for kind, times in counts.items():
            code, numel = kinds[kind]
            sums[code] = sums.get(code, 0) + times * numel
        return {column.values[code]: sums[code] for code in sorted(sums) if sums[code]}

    def _kinds_of(self, column: Column[Any]) -> tuple[array[int], list[tuple[int, int]]]:
        """Return for each leaf its kind, and each kind: parameters of one value and one size are of a kind."""
        known = self._kinds.get(id(column))
        if known is None:
            tree = self._tree
            codes, numels = tree.in_order(column.codes), tree.in_order(tree.model.numels)
            seen: dict[tuple[int, int], int] = {}
            rows = array("I")
            for start in range(0, len(codes), STRETCH):
                pairs = list(zip(codes[start : start + STRETCH], numels[start : start + STRETCH], strict=True))
                for pair in dict.fromkeys(pairs):
                    seen.setdefault(pair, len(seen))
                rows.extend(map(seen.__getitem__, pairs))
            known = self._kinds[id(column)] = rows, list(seen)
        return known
