"""Parameters as a tree of modules, held as flat pre-order columns: 150,000 tensors make 250,000 nodes.

Node 0 is the root, the model itself. A node's subtree is the range `node … ends[node]`; its parameters are the range
`leaf_starts[node] … leaf_ends[node]` of the leaf order, so that any sum over a subtree is a difference of two prefix
sums, whatever the fold, filter or sort.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from explorer.core.param import Column, Model


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
    repeats: dict[int, tuple[tuple[int, ...], ...]]
    """By parent, the runs of two or more consecutively numbered children of the same structure."""

    @classmethod
    def build(cls, model: Model) -> Tree:
        """Build the tree of `model`; time and memory grow with the sum of path lengths, not with depth squared."""
        return _Draft(model.names).finish(model)

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
        return bytes(codes) if self.model_ordered else bytes(map(codes.__getitem__, self.leaf_order))

    def sums(self, column: Iterable[int]) -> array[int]:
        """Return prefix sums of a per-leaf column: a subtree's sum is `sums[leaf_end] - sums[leaf_start]`."""
        return array("q", accumulate(column, initial=0))


class _Draft:
    """Nodes in order of first appearance, before they are laid out in pre-order."""

    def __init__(self, names: Sequence[str]) -> None:
        self.labels = [""]
        self.parents = array("i", [-1])
        self.params = array("i", [-1])
        self.children: dict[int, list[int]] = {0: []}
        self.renumbered = False
        # The root is None and not "": a name such as `.weight` has a module of that empty name.
        self.modules: dict[str | None, int] = {None: 0}
        for index, name in enumerate(names):
            prefix, dot, label = name.rpartition(".")
            path = prefix if dot else None
            parent = self.modules.get(path)
            self._add(self._module(path) if parent is None else parent, label, index)

    def _add(self, parent: int, label: str, param: int) -> int:
        node = len(self.labels)
        self.labels.append(label)
        self.parents.append(parent)
        self.params.append(param)
        self.children[parent].append(node)
        return node

    def _module(self, path: str | None) -> int:
        """Return the module node of `path`, made with those above it; a loop, for paths may have 1,000 segments."""
        missing: list[str] = []
        while path not in self.modules:
            assert path is not None, "the root is always there"
            missing.append(path)
            prefix, dot, _ = path.rpartition(".")
            path = prefix if dot else None
        node = self.modules[path]
        for module_path in reversed(missing):
            node = self._add(node, module_path.rpartition(".")[2], -1)
            self.children[node] = []
            self.modules[module_path] = node
        return node

    def finish(self, model: Model) -> Tree:
        """Lay the nodes out in pre-order and find what repeats."""
        self._sort_numbers()
        order = self._pre_order()
        rank = array("i", bytes(4 * len(order)))
        for new, old in enumerate(order):
            rank[old] = new
        labels = [self.labels[old] for old in order]
        params = array("i", (self.params[old] for old in order))
        parents = array("i", (rank[self.parents[old]] if old else -1 for old in order))
        ends, tails = _spans(parents)
        leaf_order = array("i", (param for param in params if param >= 0))
        seen = array("i", accumulate((param >= 0 for param in params), initial=0))
        leaf_starts = seen[:-1]
        leaf_ends = array("i", (seen[end] for end in ends))
        return Tree(
            model=model,
            labels=labels,
            parents=parents,
            ends=ends,
            params=params,
            leaf_starts=leaf_starts,
            leaf_ends=leaf_ends,
            leaf_order=leaf_order,
            tails=tails,
            renumbered=self.renumbered,
            model_ordered=all(map(int.__eq__, leaf_order, range(len(leaf_order)))),
            repeats=_repeats(model, labels, params, parents, ends),
        )

    def _sort_numbers(self) -> None:
        """Put siblings that are all numbers in the order of the numbers: only then do layers share a row."""
        labels = self.labels
        numbered = {self.parents[node] for node, label in enumerate(labels) if _is_number(label)}
        for parent in numbered:
            siblings = self.children[parent]
            if all(_is_number(labels[node]) for node in siblings):
                ordered = sorted(siblings, key=lambda node: int(labels[node]))
                if ordered != siblings:
                    self.children[parent] = ordered
                    self.renumbered = True

    def _pre_order(self) -> Sequence[int]:
        children = self.children
        order: list[int] = []
        stack = [0]
        while stack:
            node = stack.pop()
            order.append(node)
            if node in children:
                stack.extend(reversed(children[node]))
        return order


def _spans(parents: array[int]) -> tuple[array[int], array[int]]:
    """Return for each node the end of its subtree and the tail of its chain of only children."""
    count = len(parents)
    ends = array("i", range(1, count + 1))
    for node in range(count - 1, 0, -1):
        parent = parents[node]
        if ends[node] > ends[parent]:
            ends[parent] = ends[node]
    tails = array("i", range(count))
    for node in range(count - 2, 0, -1):
        # An only child stands right behind its parent and ends where the parent ends.
        if parents[node + 1] == node and ends[node + 1] == ends[node]:
            tails[node] = tails[node + 1]
    return ends, tails


def _repeats(
    model: Model,
    labels: Sequence[str],
    params: array[int],
    parents: array[int],
    ends: array[int],
) -> dict[int, tuple[tuple[int, ...], ...]]:
    """Find the runs of consecutively numbered siblings whose subtrees hold the same names, shapes, dtypes and grads.

    Each subtree gets the number of its kind, bottom up, so that two subtrees are alike when their numbers are equal.
    """
    kinds: dict[tuple[object, ...], int] = {}
    columns: tuple[Column[object], ...] = (model.shapes, model.dtypes, model.requires_grad)  # type: ignore[assignment]
    codes = [column.codes for column in columns]
    leaf_kinds = [kinds.setdefault(key, len(kinds)) for key in zip(*codes, strict=True)]
    numbered = {parents[node] for node, label in enumerate(labels) if label.isdecimal()}
    kind = [0] * len(labels)
    below: dict[int, list[object]] = {}
    repeats: dict[int, tuple[tuple[int, ...], ...]] = {}
    for node in range(len(labels) - 1, -1, -1):
        param = params[node]
        if param >= 0:
            own = leaf_kinds[param]
        else:
            own = kinds.setdefault(tuple(below.pop(node, ())), len(kinds))
            if node in numbered:
                runs = _runs(node, labels, ends, kind)
                if runs:
                    repeats[node] = runs
        kind[node] = own
        if node:
            siblings = below.setdefault(parents[node], [])
            siblings.append(labels[node])
            siblings.append(own)
    return repeats


def _runs(parent: int, labels: Sequence[str], ends: array[int], kind: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    runs: list[tuple[int, ...]] = []
    run: list[int] = []
    node, end = parent + 1, ends[parent]
    while node < end:
        if not (run and kind[run[-1]] == kind[node] and _follows(labels[run[-1]], labels[node])):
            if len(run) > 1:
                runs.append(tuple(run))
            run = []
        run.append(node)
        node = ends[node]
    if len(run) > 1:
        runs.append(tuple(run))
    return tuple(runs)


def _follows(label: str, following: str) -> bool:
    """Whether the labels are numbers, one after the other: only then is `0…11` the truth about twelve rows."""
    return _is_number(label) and _is_number(following) and int(label) + 1 == int(following)


def _is_number(label: str) -> bool:
    """Whether a label is a layer's number; a longer one is some name's, and slow to read as a number."""
    return len(label) < 10 and label.isdecimal()
