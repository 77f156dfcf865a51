"""Parameters as a tree of modules, held as flat pre-order columns: 150,000 tensors make 250,000 nodes.

Node 0 is the root, the model itself. A node's subtree is the range `node … ends[node]`; its parameters are the range
`leaf_starts[node] … leaf_ends[node]` of the leaf order, so that any sum over a subtree is a difference of two prefix
sums, whatever the fold, filter or sort.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from itertools import accumulate, islice
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from explorer.core.param import Model

STRETCH = 10_000
"""Leaves that are summed in one go."""


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """A model's module tree; built once, never changed."""

    model: Model
    """The table that the leaves point into."""
    labels: Sequence[str]
    """Last path segment of each node; the root's is empty."""
    parents: array[int]
    """Parent of each node; the root's is -1."""
    ends: array[int]
    """One past the last node of each subtree."""
    params: array[int]
    """Index of the parameter that a node is; -1 for a module."""
    leaf_starts: array[int]
    """First position of each subtree in `leaf_order`."""
    leaf_ends: array[int]
    """One past the last position of each subtree in `leaf_order`."""
    leaf_order: array[int]
    """Parameter indices in the order of the tree; the model's own order unless its modules interleave."""
    tails: array[int]
    """Last node of the chain of only children that starts at each node: `word_embeddings` → its `weight`."""
    model_ordered: bool
    """Whether the leaves stand in the order of `named_parameters()`, as they do unless modules interleave."""
    renumbered: bool
    """Whether siblings `0 1 10 11 2`, as files list them, were put in the order of their numbers."""
    repeats: dict[int, tuple[range, ...]]
    """By parent, the runs of two or more consecutively numbered children of the same structure, and so of one size:
    the nodes of each run are a range."""

    _picked: Callable[[Sequence[int] | bytes], tuple[int, ...]] | None = field(default=None, init=False, repr=False)
    """Takes a column's rows in the order of the leaves; made when first wanted, for each keystroke wants several."""

    @classmethod
    def build(cls, model: Model) -> Tree:
        """Build the tree of `model`; time and memory grow with the sum of path lengths, not with depth squared."""
        from explorer.core.tree_builder import build_tree  # noqa: PLC0415 - it makes trees, and so imports this module

        return build_tree(model)

    def __len__(self) -> int:
        """Return the number of nodes, the root included."""
        return len(self.labels)

    def children(self, node: int) -> Iterator[int]:
        """Iterate over the children of `node` in order."""
        child, end = node + 1, self.ends[node]
        if self.params[node] >= 0:
            return
        while child < end:
            yield child
            child = self.ends[child]

    def cut(self, depth: int) -> Iterator[int]:
        """Iterate over the nodes that cut the tree `depth` levels below the root: modules there, parameters above.

        Each parameter is below one of them, or is one.
        """
        node, open_ends = 1, [len(self)]
        while node < len(self):
            while node >= open_ends[-1]:
                open_ends.pop()
            if self.params[node] >= 0 or len(open_ends) == depth:
                yield node
                node = self.ends[node]
            else:
                open_ends.append(self.ends[node])
                node += 1

    def path(self, node: int) -> str:
        """Return the dotted path of `node`, as a parameter's or module's name."""
        parts: list[str] = []
        while node > 0:
            parts.append(self.labels[node])
            node = self.parents[node]
        return ".".join(reversed(parts))

    def leaf_node(self, index: int) -> int:
        """Return the node of parameter `index`."""
        position = self.leaf_order.index(index)
        node = 0
        while self.params[node] != index:
            # Walk down: of the children, the one whose range of leaves holds the position.
            node = next(child for child in self.children(node) if position < self.leaf_ends[child])
        return node

    def ancestors(self, node: int) -> Iterator[int]:
        """Iterate over the modules above `node`, the nearest first, the root left out."""
        node = self.parents[node]
        while node > 0:
            yield node
            node = self.parents[node]

    def in_leaf_order(self, codes: Sequence[int] | bytes) -> bytes:
        """Return per-parameter bytes (of the model's order) in the order of the leaves."""
        if self.model_ordered or len(codes) < 2:
            return bytes(codes)
        if self._picked is None:
            object.__setattr__(self, "_picked", itemgetter(*self.leaf_order))
        return bytes(self._picked(codes))  # type: ignore[misc]

    def in_order(self, column: array[int]) -> array[int]:
        """Return a column of the model in the order of the leaves."""
        if self.model_ordered:
            return column
        return array(column.typecode, map(column.__getitem__, self.leaf_order))

    def sums(self, column: Iterable[int]) -> array[int]:
        """Return prefix sums of a per-leaf column: a subtree's sum is `sums[leaf_end] - sums[leaf_start]`."""
        found, left = array("q", [0]), iter(column)
        # In stretches: no other thread runs while Python's own loops do, and one may be painting the screen.
        while part := list(islice(left, STRETCH)):
            found.extend(accumulate(part, initial=found.pop()))
        return found
