"""What a filter leaves of a tree's leaves: how many of any stretch, and sums of any column over them."""

from __future__ import annotations

from array import array
from itertools import accumulate, compress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from explorer.core.tree import Tree

BLOCK = 256
"""Leaves of which the count is kept ahead; within a block they are counted when somebody asks."""

HIDDEN = bytes.maketrans(b"\0\1", b"\1\0")
"""Turns a mask of what is shown into one of what is hidden."""


class Shown:
    """The leaves of a tree that are shown. Nothing is worked out before it is asked for: a keystroke pays for it."""

    def __init__(self, tree: Tree, mask: bytes | None, before: Shown | None = None) -> None:
        """Show the leaves whose byte in `mask` (leaf order) is 1; `None` shows all.

        Args:
            tree: The tree.
            mask: One byte a leaf.
            before: What was shown of the same tree before: the sums over all leaves are taken over from it.
        """
        self.tree = tree
        """The tree."""
        self.mask = mask
        """One byte a leaf, in leaf order; `None` where all are shown."""
        self._whole: dict[int, tuple[array[int], array[int]]] = before._whole if before is not None else {}
        self._sums: dict[int, array[int]] = {}
        self._few = mask
        self._left_out = mask is not None and 2 * mask.count(1) > len(mask)
        if mask is not None and self._left_out:
            # Sums over the few are taken: where most are shown, those over what is hidden, from those over all.
            self._few = mask.translate(HIDDEN)
        few = self._few or b""
        self._before = list(accumulate((few.count(1, at, at + BLOCK) for at in range(0, len(few), BLOCK)), initial=0))

    def _rank(self, position: int) -> int:
        assert self._few is not None, "asked of a filter"
        block = position // BLOCK
        return self._before[block] + self._few.count(1, block * BLOCK, position)

    def count(self, start: int, end: int) -> int:
        """Return the number of shown leaves among `start … end`."""
        if self._few is None:
            return end - start
        few = self._rank(end) - self._rank(start)
        return end - start - few if self._left_out else few

    def any(self, start: int, end: int) -> bool:
        """Whether any of the leaves `start … end` is shown."""
        return end > start if self.mask is None else self.mask.find(1, start, end) >= 0

    def sum(self, column: array[int], start: int, end: int) -> int:
        """Return the sum of a column of the model over the shown leaves among `start … end`."""
        return self.sum_of(column)(start, end)

    def sum_of(self, column: array[int]) -> Callable[[int, int], int]:
        """Return what sums a column of the model over the shown leaves of a stretch."""
        if self._few is None:
            whole = self.over_all(column)
            return lambda start, end: whole[end] - whole[start]
        few, rank = self._over_few(column), self._rank
        if not self._left_out:
            return lambda start, end: few[rank(end)] - few[rank(start)]
        whole = self.over_all(column)
        return lambda start, end: whole[end] - whole[start] - few[rank(end)] + few[rank(start)]

    def over_all(self, column: array[int]) -> array[int]:
        """Return prefix sums of a column of the model over all leaves, summed once and kept."""
        known = self._whole.get(id(column))
        if known is None:
            # With its column, which may not go and leave its number to another.
            known = self._whole[id(column)] = column, self.tree.sums(self.tree.in_order(column))
        return known[1]

    def _over_few(self, column: array[int]) -> array[int]:
        known = self._sums.get(id(column))
        if known is None:
            assert self._few is not None, "asked of a filter"
            self.over_all(column)  # which also keeps the column
            known = self._sums[id(column)] = self.tree.sums(compress(self.tree.in_order(column), self._few))
        return known

    def forget(self, column: array[int]) -> None:
        """Keep the sums of a column no longer."""
        self._sums.pop(id(column), None)
        self._whole.pop(id(column), None)

    def ranks(self) -> list[int] | range:
        """Return for every position, the end included, how many shown leaves stand before it."""
        if self.mask is None:
            return range(len(self.tree.leaf_order) + 1)
        return list(accumulate(self.mask, initial=0))
