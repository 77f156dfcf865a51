"""The visible rows of a tree as columns: in the tree's order, and the same rows with siblings in another order."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, compress
from operator import eq, ne, sub
from typing import TYPE_CHECKING, NamedTuple, overload

from explorer.core.shown import HIDDEN

if TYPE_CHECKING:
    from explorer.core.shown import Shown
    from explorer.core.tree import Tree


def _numbers() -> array[int]:
    return array("i")


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows in the tree's order; row `r` shows the subtrees `nodes[r] … lasts[r]` (one, or a run of siblings)."""

    nodes: array[int] = field(default_factory=_numbers)
    """Node of each row; of a run its first member, whose children stand below it when it is unfolded."""
    lasts: array[int] = field(default_factory=_numbers)
    """Last member of a run; the node itself for every other row."""
    counts: array[int] = field(default_factory=_numbers)
    """Members of the run; 1 for every other row."""
    tops: array[int] = field(default_factory=_numbers)
    """First node of the chain of only children that the row's label joins with dots."""
    depths: array[int] = field(default_factory=_numbers)
    """Indentation level."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.nodes)

    def extend(self, other: Rows, start: int, end: int) -> None:
        """Take over a stretch of other rows."""
        self.nodes.extend(other.nodes[start:end])
        self.lasts.extend(other.lasts[start:end])
        self.counts.extend(other.counts[start:end])
        self.tops.extend(other.tops[start:end])
        self.depths.extend(other.depths[start:end])


STRETCH = 10_000
"""Rows that are worked out in one go."""

FEW_HIDDEN = 8
"""Where less than one parameter in so many is hidden, what is left is copied in stretches, not row by row."""


class UnfoldedRows:
    """The rows of a whole tree unfolded, a row each for the members of runs too; and those that a filter leaves."""

    def __init__(self, tree: Tree) -> None:
        """Find what a row is: a chain of only children shares one, at its tail."""
        # In stretches: no other thread runs while Python's own loops do, and keys are answered meanwhile.
        count, tails = len(tree), tree.tails
        self._nodes, self._tops = array("i"), array("i")
        for start in range(1, count, STRETCH):
            numbers = range(start, min(start + STRETCH, count))
            # Chains stand behind each other, so heads and tails come in the same order.
            here, before = tails[start : numbers.stop], tails[start - 1 : numbers.stop - 1]
            self._nodes.extend(compress(numbers, map(eq, here, numbers)))
            self._tops.extend(compress(numbers, map(ne, here, before)))
        self._depths = array("i")
        depth_of = array("i", bytes(4 * count))
        depth_of[0] = -1
        parents, append = tree.parents, self._depths.append
        for node, top in zip(self._nodes, self._tops, strict=True):
            depth_of[node] = depth = depth_of[parents[top]] + 1
            append(depth)
        self._leaves, self._modules, self._starts, self._stops = (array("i") for _ in range(4))
        for start in range(0, len(self._nodes), STRETCH):
            nodes = self._nodes[start : start + STRETCH]
            rows = range(start, start + len(nodes))
            is_leaf = bytes(map((0).__le__, map(tree.params.__getitem__, nodes)))
            is_module = is_leaf.translate(HIDDEN)
            self._leaves.extend(compress(rows, is_leaf))
            self._modules.extend(compress(rows, is_module))
            modules = list(compress(nodes, is_module))
            self._starts.extend(map(tree.leaf_starts.__getitem__, modules))
            self._stops.extend(map(tree.leaf_ends.__getitem__, modules))

    def all(self) -> Rows:
        """Return all of them."""
        return Rows(self._nodes, self._nodes, array("i", [1]) * len(self._nodes), self._tops, self._depths)

    def left_by(self, shown: Shown) -> Rows:
        """Return those that stand for any shown parameter."""
        assert shown.mask is not None, "without a filter, all are left"
        ranks = shown.ranks()
        starts, stops = map(ranks.__getitem__, self._starts), map(ranks.__getitem__, self._stops)
        if FEW_HIDDEN * (len(shown.mask) - ranks[-1]) < len(shown.mask):
            modules = compress(self._modules, map(eq, starts, stops))
            hidden = sorted([*modules, *compress(self._leaves, shown.mask.translate(HIDDEN))])
            nodes, tops, depths = (_without(column, hidden) for column in (self._nodes, self._tops, self._depths))
        else:
            modules = compress(self._modules, map(ne, starts, stops))
            left = sorted([*modules, *compress(self._leaves, shown.mask)])
            nodes, tops, depths = (
                array("i", map(column.__getitem__, left)) for column in (self._nodes, self._tops, self._depths)
            )
        return Rows(nodes, nodes, array("i", [1]) * len(nodes), tops, depths)


def _without(column: array[int], rows: list[int]) -> array[int]:
    """Return a column without some of its rows: copied in the stretches between them."""
    left = array("i")
    start = 0
    for row in rows:
        left += column[start:row]
        start = row + 1
    return left + column[start:]


def sizes(ordered: Rows, shown: Shown, rows: Sequence[int]) -> list[int]:
    """Return the keys by which some of the rows in the tree's order stand largest first."""
    starts, stops = shown.tree.leaf_starts, shown.tree.leaf_ends
    of = shown.sum_of(shown.tree.model.numels)
    return [-of(starts[ordered.nodes[row]], stops[ordered.lasts[row]]) for row in rows]


def firsts(ordered: Rows, shown: Shown, rows: Sequence[int]) -> list[int]:
    """Return the keys by which some of the rows in the tree's order stand as the model lists them."""
    tree = shown.tree
    starts, stops, order = tree.leaf_starts, tree.leaf_ends, tree.leaf_order
    return [min(order[starts[ordered.nodes[row]] : stops[ordered.lasts[row]]]) for row in rows]


class _Block(NamedTuple):
    """The children of one row, or the rows of the top level."""

    rows: Sequence[int]
    """The children, in the tree's order."""
    places: Sequence[int]
    """Where each of them stands now."""
    order: Sequence[int]
    """The children, in the order in which they stand now."""
    starts: Sequence[int]
    """Where each of those stands now."""


class SortedRows:
    """The rows of a tree with the children of each row in another order.

    Only what is looked at is sorted: a screen shows 40 rows of 250,000, and sorting all of them took 400 ms.
    """

    def __init__(self, rows: Rows, tree: Tree, keys: Callable[[Sequence[int]], list[int]]) -> None:
        """Sort `rows` by what `keys` gives for some of them; where keys are equal the tree's order stays."""
        self._rows = rows
        self._tree = tree
        self._keys = keys
        self._blocks: dict[int, _Block] = {}
        self._found: dict[int, int] = {}
        self.nodes: Sequence[int] = _Column(rows.nodes, self.at)
        """As in `Rows`."""
        self.lasts: Sequence[int] = _Column(rows.lasts, self.at)
        """As in `Rows`."""
        self.counts: Sequence[int] = _Column(rows.counts, self.at)
        """As in `Rows`."""
        self.tops: Sequence[int] = _Column(rows.tops, self.at)
        """As in `Rows`."""
        self.depths: Sequence[int] = _Column(rows.depths, self.at)
        """As in `Rows`."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def at(self, place: int) -> int:
        """Return the row, in the tree's order, that stands at a place."""
        found = self._found.get(place)
        if found is None:
            block = self._block(-1, 0)
            while True:
                at = bisect_right(block.starts, place) - 1
                found, start = block.order[at], block.starts[at]
                if start == place:
                    break
                block = self._block(found, start + 1)
            self._found[place] = found
        return found

    def place(self, row: int) -> int:
        """Return where a row, counted in the tree's order, stands."""
        block = self._block(-1, 0)
        while True:
            at = bisect_right(block.rows, row) - 1
            found, place = block.rows[at], block.places[at]
            if found == row:
                return place
            block = self._block(found, place + 1)

    def _block(self, parent: int, first: int) -> _Block:
        """Return the sorted children of a row (-1: the top level), of which the first stands at `first`."""
        block = self._blocks.get(parent)
        if block is None:
            block = self._blocks[parent] = self._sort(parent, first)
        return block

    def _sort(self, parent: int, first: int) -> _Block:
        end = self._end(parent) if parent >= 0 else len(self._rows)
        children = self._children(parent + 1, end)
        keys = self._keys(children)
        order = sorted(range(len(children)), key=keys.__getitem__)
        sizes = list(map(sub, [*children[1:], end], children))
        starts = list(accumulate(map(sizes.__getitem__, order), initial=first))[:-1]
        places = array("i", bytes(4 * len(order)))
        for place, at in zip(starts, order, strict=True):
            places[at] = place
        return _Block(children, places, list(map(children.__getitem__, order)), starts)

    def _children(self, start: int, end: int) -> Sequence[int]:
        """Return the rows between `start` and `end` that are no other's children."""
        depths = self._rows.depths
        depth = depths[start]
        if depths[start:end].count(depth) == end - start:
            return range(start, end)
        children = []
        while start < end:
            children.append(start)
            start = start + 1 if start + 1 == end or depths[start + 1] <= depth else self._end(start)
        return children

    def _end(self, row: int) -> int:
        """Return the row after all that stand below a row."""
        return bisect_left(self._rows.tops, self._tree.ends[self._rows.lasts[row]], row)


class _Column(Sequence[int]):
    """One column, read through the order."""

    def __init__(self, column: array[int], at: Callable[[int], int]) -> None:
        self._column = column
        self._at = at

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[int]: ...
    def __getitem__(self, place: int | slice) -> int | Sequence[int]:
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(self)))]
        return self._column[self._at(range(len(self._column))[place])]
