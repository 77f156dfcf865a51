"""Runs of identical siblings that share a row: the tree's own, split where groups, marks or the filter differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from explorer.core.tree import Tree


class Runs:
    """The runs of a tree on the screen."""

    def __init__(self, tree: Tree, codes: bytes) -> None:
        """Take the tree and, in leaf order, the group of each leaf."""
        self.tree = tree
        """The tree."""
        self.unfolded: set[int] = set()
        """Modules whose runs are shown member by member."""
        self.mask: bytes | None = None
        """1 for each leaf that a filter leaves, in leaf order; `None` where all are shown."""
        self._codes = codes
        self._marks = b""
        self._split: dict[int, list[range]] = {}

    @property
    def codes(self) -> bytes:
        """The group of each leaf, in leaf order."""
        return self._codes

    def regroup(self, codes: bytes) -> bool:
        """Take the groups; whether a run that was asked for splits otherwise: rows change only then."""
        if codes == self._codes:
            return False
        self._codes = codes
        return self._splits_otherwise()

    def mark(self, marks: bytes) -> bool:
        """Take a byte for each leaf, or none at all; whether a run that was asked for splits otherwise."""
        if marks == self._marks:
            return False
        self._marks = marks
        return self._splits_otherwise()

    def _splits_otherwise(self) -> bool:
        before, self._split = self._split, {}
        return any(self.below(parent) != runs for parent, runs in before.items())

    def forget(self) -> None:
        """Split anew what is asked for from here on: the filter, or what is unfolded, has changed."""
        self._split = {}

    def below(self, parent: int) -> list[range]:
        """Return the runs below a module, each with two members or more; none where they are unfolded."""
        runs = self._split.get(parent)
        if runs is None:
            runs = self._split[parent] = [] if parent in self.unfolded else list(self._split_runs(parent))
        return runs

    def only(self, parent: int) -> range | None:
        """Return the run that is all there is below `parent`: `layer` and its `0…11` then share one row."""
        run = next(iter(self.below(parent)), None)
        ends = self.tree.ends
        if run and run[0] == parent + 1 and ends[run[-1]] == ends[parent]:
            return run
        return None

    def parent_of(self, node: int) -> int | None:
        """Return the module whose runs a node is a member of, or the parent of; `None` where it is neither."""
        repeats = self.tree.repeats
        parent = self.tree.parents[node]
        if any(node in run for run in repeats.get(parent, ())):
            return parent
        return node if node in repeats else None

    def unfold(self, parent: int, child: int) -> None:
        """Unfold the runs of `parent` if `child` stands behind the first member of one."""
        if any(child in run[1:] for run in self.below(parent)):
            self.unfolded.add(parent)

    def _split_runs(self, parent: int) -> Iterator[range]:
        tree, codes, marks, mask = self.tree, self._codes, self._marks, self.mask
        for run in tree.repeats.get(parent, ()):
            begin = 0
            before = None
            for position, member in enumerate(run):
                start, end = tree.leaf_starts[member], tree.leaf_ends[member]
                key = (codes[start:end], marks[start:end], mask and mask[start:end])
                if key != before and position > begin:
                    if position - begin > 1:
                        yield run[begin:position]
                    begin = position
                before = key
            if len(run) - begin > 1:
                yield run[begin:]
