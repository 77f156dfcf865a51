"""What the parameters below a module have in a column: one value, or the elements of each.

A row of the tree may stand for 150,000 parameters and is drawn at every key: a column is walked once, and from then
on an answer takes a few look-ups.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from itertools import compress, count, repeat
from operator import eq, mul, ne
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from explorer.core.param import Column
    from explorer.core.tree import Tree

FEW_VALUES = 16
"""Columns with more values than this are summed row by row: 150,000 sums for each value would take memory."""


class Summaries:
    """Answers for one tree, and for what a filter leaves of it."""

    def __init__(self, tree: Tree) -> None:
        """Know nothing yet: the first question about a column walks it."""
        self._tree = tree
        self._mask: bytes | None = None
        self._changes: dict[int, list[int]] = {}
        self._sums: dict[tuple[int, int], array[int]] = {}

    def show(self, mask: bytes | None) -> None:
        """Sum only parameters whose byte in `mask` (leaf order) is 1; `None` takes all."""
        self._mask = mask
        self._sums.clear()

    def agree(self, column: Column[Any], start: int, end: int) -> bool:
        """Return whether the leaves `start … end` have one value; a filter changes nothing."""
        if len(column.values) == 1:
            return True
        changes = self._changes.get(id(column))
        if changes is None:
            codes = self._ordered(column.codes)
            # The positions whose value is another than that of the leaf before.
            changes = self._changes[id(column)] = list(compress(count(1), map(ne, codes, codes[1:])))
        return bisect_right(changes, start) == bisect_left(changes, end)

    def elements(self, column: Column[Any], start: int, end: int) -> dict[Any, int]:
        """Return the elements of each value among the shown leaves `start … end`, in order of the column's values."""
        if len(column.values) > FEW_VALUES:
            return self._counted(column, start, end)
        found = {}
        for code, value in enumerate(column.values):
            sums = self._sums.get((id(column), code))
            if sums is None:
                sums = self._sums[id(column), code] = self._tree.sums(self._shown(column, code))
            if sums[end] > sums[start]:
                found[value] = sums[end] - sums[start]
        return found

    def _shown(self, column: Column[Any], code: int) -> Iterable[int]:
        """Return the elements of each leaf, 0 where it has another value or is hidden."""
        numels = self._ordered(self._tree.model.numels)
        having = map(mul, numels, map(eq, self._ordered(column.codes), repeat(code)))
        return having if self._mask is None else map(mul, having, self._mask)

    def _counted(self, column: Column[Any], start: int, end: int) -> dict[Any, int]:
        order, numels = self._tree.leaf_order[start:end], self._tree.model.numels
        found: dict[Any, int] = {}
        for index in order if self._mask is None else compress(order, self._mask[start:end]):
            value = column[index]
            found[value] = found.get(value, 0) + numels[index]
        return found

    def _ordered(self, rows: array[int]) -> array[int]:
        """Return a column's rows in leaf order."""
        tree = self._tree
        return rows if tree.model_ordered else array(rows.typecode, map(rows.__getitem__, tree.leaf_order))
