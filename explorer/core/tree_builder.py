"""Builds the tree of modules from names: in one pass where each module's names are adjacent, as they mostly are.

The steps are whole columns at a time wherever Python allows it: 150,000 names are on the way to the first screen.
"""

from __future__ import annotations

from array import array
from operator import sub
from typing import TYPE_CHECKING

from explorer.core.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from explorer.core.param import Column, Model

NUMBER_LENGTH = 9
"""Most digits of a layer's number; a longer one is some name's, and slow to read as a number."""


def build_tree(model: Model) -> Tree:
    """Build the tree of `model`; time and memory grow with the sum of path lengths, not with depth squared."""
    names = model.names
    builder = TreeBuilder(names)
    leaf_order = array("i", range(len(names)))
    renumbered = False
    order = builder.order()
    if order is not None:
        leaf_order, renumbered = order
        # Taken in the order of the leaves, the same names make the same nodes, now in pre-order.
        builder = TreeBuilder([names[index] for index in leaf_order])
    ends = array("i", builder.ends)
    starts = [*builder.leaf_starts, len(names)]
    params = leaf_order if order is not None else range(len(names))
    of_node = [*params, -1]
    leaf_at = builder.leaf_starts.copy()
    for node in builder.modules:
        leaf_at[node] = -1
    tree = Tree(
        model=model,
        labels=builder.labels,
        parents=array("i", builder.parents),
        ends=ends,
        params=array("i", map(of_node.__getitem__, leaf_at)),
        leaf_starts=array("i", builder.leaf_starts),
        leaf_ends=array("i", map(starts.__getitem__, ends)),
        leaf_order=leaf_order,
        tails=_tails(builder),
        renumbered=renumbered,
        model_ordered=order is None or leaf_order == array("i", range(len(names))),
        repeats={},
    )
    tree.repeats.update(_repeats(tree))
    return tree


class TreeBuilder:
    """Nodes in order of first appearance, which is pre-order where each module's parameters stand together."""

    def __init__(self, names: Sequence[str]) -> None:
        """Make a node of every name and of every module above it."""
        self.labels = [""]
        """Last path segment of each node."""
        self.parents = [-1]
        """Parent of each node."""
        self.leaf_starts = [0]
        """Parameters before each node."""
        self.ends = [0]
        """One past each subtree; of a module as long as the nodes are in pre-order."""
        self.modules = [0]
        """The nodes that are modules, the root first."""
        self.in_order = True
        """Whether the nodes stand in pre-order: no module is come back to after another one."""
        # The root is None and not "": a name such as `.weight` has a module of that empty name.
        self._known: dict[str | None, int] = {None: 0}
        self._shared: dict[str, str] = {}
        labels, parents, starts, ends, shared = self.labels, self.parents, self.leaf_starts, self.ends, self._shared
        current: str | None = None
        parent = 0
        for index, name in enumerate(names):
            path, dot, label = name.rpartition(".")
            if path != current or not dot:
                current = path if dot else None
                parent = self._enter(current, parent, index)
            # Equal labels are one object: there are a handful, and 150,000 that hold them.
            labels.append(shared.setdefault(label, label))
            parents.append(parent)
            starts.append(index)
            ends.append(len(labels))
        self._close(parent, 0)
        ends[0] = len(labels)

    def _enter(self, path: str | None, current: int, index: int) -> int:
        """Return the module of `path`, made with those above it; a loop, for paths may have 1,000 segments."""
        missing: list[str] = []
        known = self._known
        while (node := known.get(path)) is None:
            assert path is not None, "the root is always there"
            missing.append(path)
            prefix, dot, _ = path.rpartition(".")
            path = prefix if dot else None
        self._close(current, node)
        for module_path in reversed(missing):
            label = module_path.rpartition(".")[2]
            known[module_path] = made = len(self.labels)
            self.labels.append(self._shared.setdefault(label, label))
            self.parents.append(node)
            self.leaf_starts.append(index)
            self.ends.append(0)
            self.modules.append(made)
            node = made
        return node

    def _close(self, node: int, until: int) -> None:
        """End the subtrees from the module `node` up to `until`, which goes on; what is above has a lower number."""
        end, ends, parents = len(self.labels), self.ends, self.parents
        while node > until:
            ends[node] = end
            node = parents[node]
        if node != until:
            self.in_order = False

    def order(self) -> tuple[array[int], bool] | None:
        """Return the parameters in the tree's order, and whether numbers were sorted; `None` if they stand so."""
        numbers = self._numbers()
        unsorted = self._unsorted(numbers)
        if self.in_order and not unsorted:
            return None
        children: dict[int, list[int]] = {node: [] for node in self.modules}
        for node in range(1, len(self.parents)):
            children[self.parents[node]].append(node)
        renumbered = False
        for parent in unsorted:
            siblings = children[parent]
            if all(self.labels[node] in numbers for node in siblings):
                siblings.sort(key=lambda node: numbers[self.labels[node]])
                renumbered = True
        found = array("i")
        stack = [0]
        while stack:
            node = stack.pop()
            if node in children:
                stack.extend(reversed(children[node]))
            else:
                found.append(self.leaf_starts[node])
        return found, renumbered

    def _numbers(self) -> dict[str, int]:
        """Return the labels that are layers' numbers, read."""
        return {label: int(label) for label in self._shared if _is_number(label)}

    def _unsorted(self, numbers: dict[str, int]) -> dict[int, None]:
        """Return the modules with a number after a larger one among their children."""
        largest: dict[int, int] = {}
        found: dict[int, None] = {}
        for node, parent, number in _numbered(self.labels, self.parents, numbers):
            del node
            if largest.get(parent, -1) > number:
                found[parent] = None
            else:
                largest[parent] = number
        return found


def _numbered(
    labels: Sequence[str], parents: Sequence[int], numbers: dict[str, int]
) -> Iterator[tuple[int, int, int]]:
    """Iterate over the nodes that are numbers, each with its parent and its number."""
    for node, label in enumerate(labels):
        if label in numbers:
            yield node, parents[node], numbers[label]


def _tails(builder: TreeBuilder) -> array[int]:
    """Return for each node the tail of its chain of only children."""
    ends = builder.ends
    tails = array("i", range(len(ends)))
    for node in reversed(builder.modules[1:]):
        # An only child stands right behind its parent and ends where the parent ends.
        if ends[node + 1] == ends[node]:
            tails[node] = tails[node + 1]
    return tails


def _repeats(tree: Tree) -> dict[int, tuple[range, ...]]:
    """Find the runs of consecutively numbered siblings whose subtrees have the same names, shapes, dtypes, grads."""
    labels, parents, ends = tree.labels, tree.parents, tree.ends
    numbers = {label: int(label) for label in set(labels) if _is_number(label)}
    found: dict[int, list[range]] = {}
    firsts: dict[int, int] = {}
    alike = None
    for node, parent, number in _numbered(labels, parents, numbers):
        after = ends[node]
        if after < len(labels) and parents[after] == parent and numbers.get(labels[after]) == number + 1:
            alike = alike or _alike(tree)
            if alike(node, after):
                firsts[after] = firsts.pop(node, node)
                continue
        first = firsts.pop(node, node)
        if first != node:
            # Subtrees alike are of one size, so that the members stand at equal distances.
            found.setdefault(parent, []).append(range(first, node + 1, after - node))
    return {parent: tuple(runs) for parent, runs in found.items()}


def _alike(tree: Tree) -> Callable[[int, int], bool]:
    """Return what tells whether two subtrees are alike below their own labels: comparisons of stretches of bytes."""
    count = len(tree)
    seen: dict[str, int] = {}
    codes = array("I", [seen.setdefault(label, len(seen)) for label in tree.labels]).tobytes()
    # In pre-order the sizes of the subtrees tell the whole shape of the tree.
    sizes = array("I", map(sub, tree.ends, range(count))).tobytes()
    columns: tuple[Column[object], ...] = (  # type: ignore[assignment]
        tree.model.shapes,
        tree.model.dtypes,
        tree.model.requires_grad,
    )
    facts = [tree.in_order(column.codes).tobytes() for column in columns if len(column.values) > 1]
    ends, starts, stops = tree.ends, tree.leaf_starts, tree.leaf_ends

    def alike(one: int, other: int) -> bool:
        end, other_end = ends[one], ends[other]
        if end - one != other_end - other:
            return False
        if end - one > 1:
            at, to, other_at, other_to = 4 * one + 4, 4 * end, 4 * other + 4, 4 * other_end
            if codes[at:to] != codes[other_at:other_to] or sizes[at:to] != sizes[other_at:other_to]:
                return False
        at, to, other_at, other_to = 4 * starts[one], 4 * stops[one], 4 * starts[other], 4 * stops[other]
        return all(fact[at:to] == fact[other_at:other_to] for fact in facts)

    return alike


def _is_number(label: str) -> bool:
    """Whether a label is a layer's number: only then is `0…11` the truth about twelve rows."""
    return len(label) <= NUMBER_LENGTH and label.isdecimal()
