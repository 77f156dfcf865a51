"""A model as few parts, for `--depth`: modules at a depth with all below them, and the tensors that stand above.

The parts share no tensor and leave none out, so that a column of them sums to the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, TypeVar

from explorer.core.totals import Totals, totals

if TYPE_CHECKING:
    from explorer.core.param import Column, Model
    from explorer.core.tree import Tree

T = TypeVar("T")

PART_COLUMNS = ("name", "tensors", "parameters", "nbytes", "share", "dtype", "requires_grad", "group")
"""Columns of parts, in order, as `table` and `csv` have them."""


@dataclass(frozen=True, slots=True)
class Part:
    """A module and all below it, or a tensor."""

    name: str
    """Its dotted path."""
    rows: tuple[int, ...]
    """The indices of its tensors, in the model's order."""

    def totals(self, model: Model) -> Totals:
        """Sum its tensors."""
        return totals(model, self.rows)

    def values(self, column: Column[T]) -> list[T]:
        """Return the different values of its tensors in a column of the model, in the model's order."""
        return list(dict.fromkeys(column[row] for row in self.rows))


def parts_at(tree: Tree, depth: int, shown: bytes | bytearray) -> list[Part]:
    """Return the parts of a model at a depth, in the model's order; those of which nothing is shown are left out.

    Args:
        tree: The model's tree.
        depth: Levels below the root, 1 or more.
        shown: One byte a tensor, in the model's order: 1 where a filter leaves it.
    """
    parts = []
    mask = tree.in_leaf_order(shown)
    for node in tree.cut(depth):
        start, end = tree.leaf_starts[node], tree.leaf_ends[node]
        rows = tuple(sorted(compress(tree.leaf_order[start:end], mask[start:end])))
        if rows:
            parts.append(Part(tree.path(node), rows))
    # The tree puts `layers.2` before `layers.10`; a file may not.
    return sorted(parts, key=lambda part: part.rows[0])
