"""What of a tree is on the screen: folds, runs of identical siblings, filter and order; sums of whatever is left."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import compress, repeat
from operator import eq, mul, ne
from typing import TYPE_CHECKING, Any, Literal

from explorer.core.summaries import Summaries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from explorer.core.param import Column, Model
    from explorer.core.tree import Tree


Order = Literal["tree", "size", "model"]
"""How siblings stand: as in the tree, largest first, or as the model lists its parameters (a file may list
`layers.10` before `layers.2`, where the tree does not)."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The visible rows, as columns; row `r` shows the subtrees `nodes[r] … lasts[r]` (one, or a run of siblings)."""

    nodes: array[int] = field(default_factory=lambda: array("i"))
    """Node of each row; of a run its first member, whose children stand below it when it is unfolded."""
    lasts: array[int] = field(default_factory=lambda: array("i"))
    """Last member of a run; the node itself for every other row."""
    counts: array[int] = field(default_factory=lambda: array("i"))
    """Members of the run; 1 for every other row."""
    tops: array[int] = field(default_factory=lambda: array("i"))
    """First node of the chain of only children that the row's label joins with dots."""
    depths: array[int] = field(default_factory=lambda: array("i"))
    """Indentation level."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.nodes)

    def _extend(self, other: Rows, start: int, end: int) -> None:
        self.nodes.extend(other.nodes[start:end])
        self.lasts.extend(other.lasts[start:end])
        self.counts.extend(other.counts[start:end])
        self.tops.extend(other.tops[start:end])
        self.depths.extend(other.depths[start:end])

    def _add(self, node: int, last: int, count: int, top: int, depth: int) -> None:
        self.nodes.append(node)
        self.lasts.append(last)
        self.counts.append(count)
        self.tops.append(top)
        self.depths.append(depth)


class TreeView:
    """The state of one tree on the screen. Pure: it knows rows and numbers, no widget."""

    def __init__(self, tree: Tree) -> None:
        """Show `tree` with everything folded."""
        self.tree = tree
        model = tree.model
        self._open = bytearray(len(tree))
        self._open[0] = 1
        self._unfolded: set[int] = set()
        self._mask: bytes | None = None
        self._filter_open = bytearray()
        self._codes = bytes(len(model))
        self._order: Order = "tree"
        self._training: array[int] | None = None
        self._rows: Rows | None = None
        self._split: dict[int, list[tuple[int, ...]]] = {}
        self._mask_sums = tree.sums(bytes(len(model)))
        self._summaries = Summaries(tree)
        self._apart_sums = self._mask_sums
        self._sum_up()
        self._running = model.running()

    def learn(self, model: Model) -> None:
        """Take a table of the same parameters that knows more of them; folds, filter and order stay."""
        self.tree = replace(self.tree, model=model)
        self._summaries = Summaries(self.tree)
        self._summaries.show(self._mask)
        self._sum_up()
        self._running = model.running()

    def prepare(self) -> None:
        """Work out ahead what unfolding everything needs: 80 ms for 250,000 nodes, in a thread that has the time."""
        assert self._all_rows is not None, "kept from here on"

    # -- what is shown ----------------------------------------------------------------------------------------

    @property
    def rows(self) -> Rows:
        """The visible rows, made anew after a change."""
        if self._rows is None:
            self._split = {}
            self._rows = self._ordered_rows() if self._order == "tree" else self._sorted_rows()
        return self._rows

    def label(self, row: int) -> str:
        """Return what a row is called: the joined chain of only children, and `0…11` for a run."""
        rows, labels = self.rows, self.tree.labels
        top, node, last = rows.tops[row], rows.nodes[row], rows.lasts[row]
        if last == node:
            return ".".join(labels[top : node + 1])
        span = f"{labels[node]}…{labels[last]}"
        return f"{'.'.join(labels[top:node])} {span}" if top < node else span

    def is_module(self, row: int) -> bool:
        """Whether the row can unfold."""
        return self.tree.params[self.rows.nodes[row]] < 0

    def is_open(self, row: int) -> bool:
        """Whether the row's children are shown."""
        return bool(self._openness[self.rows.nodes[row]])

    def leaves(self, row: int) -> tuple[int, int]:
        """Return the range of leaf positions that the row stands for, those that a filter hides included."""
        rows = self.rows
        return self.tree.leaf_starts[rows.nodes[row]], self.tree.leaf_ends[rows.lasts[row]]

    def params(self, row: int) -> list[int]:
        """Return the indices of the shown parameters that the row stands for."""
        start, end = self.leaves(row)
        order = self.tree.leaf_order[start:end]
        if self._mask is None:
            return order.tolist()
        return [index for index, shown in zip(order, self._mask[start:end], strict=True) if shown]

    def numel(self, row: int) -> int:
        """Return the elements of the shown parameters that the row stands for; what is none adds nothing."""
        start, end = self.leaves(row)
        return self._shown_sums[end] - self._shown_sums[start]

    def apart(self, row: int) -> str:
        """Return what the tensors of a row are where none of them is a parameter; else nothing."""
        apart = self.tree.model.apart
        if not apart:
            return ""
        start, end = self.leaves(row)
        none = self._apart_sums[end] - self._apart_sums[start] == end - start
        return apart[self.tree.leaf_order[start]] if none else ""

    def elements(self, row: int) -> int:
        """Return the elements of all shown tensors of the row, be they parameters or not."""
        start, end = self.leaves(row)
        return self._element_sums[end] - self._element_sums[start]

    def training(self, row: int) -> int | None:
        """Return the bytes of training memory of the row's shown parameters; `None` while nobody asked for it."""
        start, end = self.leaves(row)
        return None if self._training_sums is None else self._training_sums[end] - self._training_sums[start]

    @property
    def shows_training(self) -> bool:
        """Whether training memory is known and asked for."""
        return self._training is not None

    def tensors(self, row: int) -> int:
        """Return the number of shown rows of the table that the row stands for."""
        start, end = self.leaves(row)
        return end - start if self._mask is None else self._mask_sums[end] - self._mask_sums[start]

    def nbytes(self, row: int) -> int | None:
        """Return the bytes of the shown parameters that the row stands for; `None` if any is unknown."""
        start, end = self.leaves(row)
        if self._unknown_sums[end] > self._unknown_sums[start]:
            return None
        return self._byte_sums[end] - self._byte_sums[start]

    def running(self, row: int) -> int:
        """Return the counting loop's sum up to and including the row's last parameter in `named_parameters()`."""
        start, end = self.leaves(row)
        order = self.tree.leaf_order
        return self._running[order[end - 1] if self.tree.model_ordered else max(order[start:end])]

    def running_at(self, index: int) -> int:
        """Return the counting loop's sum up to and including parameter `index`."""
        return self._running[index]

    def groups(self, row: int) -> bytes:
        """Return the groups (`Assignment.groups`) of what the row stands for and is shown, in leaf order."""
        start, end = self.leaves(row)
        codes = self._codes[start:end]
        return codes if self._mask is None else bytes(compress(codes, self._mask[start:end]))

    def common(self, column: Column[Any], row: int) -> tuple[bool, Any]:
        """Return whether all parameters of the row have one value in a column, hidden ones too, and the first's."""
        start, end = self.leaves(row)
        return self._summaries.agree(column, start, end), column[self.tree.leaf_order[start]]

    def shares(self, column: Column[Any], row: int) -> dict[Any, int]:
        """Return the elements of each value in a column among the row's shown parameters."""
        return self._summaries.elements(column, *self.leaves(row))

    @property
    def shown_tensors(self) -> int:
        """Parameters that the filter leaves."""
        return len(self._codes) if self._mask is None else self._mask_sums[-1]

    @property
    def shown_numel(self) -> int:
        """Elements of the parameters that the filter leaves."""
        return self._shown_sums[-1]

    @property
    def filtered(self) -> bool:
        """Whether a filter is on."""
        return self._mask is not None

    @property
    def by_size(self) -> bool:
        """Whether siblings stand largest first instead of in the model's order."""
        return self._order == "size"

    @property
    def order(self) -> Order:
        """How siblings stand."""
        return self._order

    @property
    def orders(self) -> tuple[Order, ...]:
        """The orders that differ for this tree; the model's own is one more where the tree put numbers in order."""
        return ("tree", "size", "model") if self.tree.renumbered else ("tree", "size")

    # -- changing it ------------------------------------------------------------------------------------------

    def set_groups(self, codes: bytes) -> None:
        """Take `Assignment.groups`; runs split where members fall into different groups."""
        codes = self.tree.in_leaf_order(codes)
        if codes != self._codes:
            self._codes = codes
            # Rows change only where a run that they show splits otherwise.
            before, self._split = self._split, {}
            if any(self._runs(parent) != runs for parent, runs in before.items()):
                self._rows = None

    def set_filter(self, mask: bytes | None) -> None:
        """Show only parameters whose byte in `mask` (model order) is 1, all unfolded; `None` shows all again."""
        tree = self.tree
        self._rows = None
        if mask is None:
            self._mask = None
        else:
            self._mask = tree.in_leaf_order(mask)
            self._mask_sums = tree.sums(self._mask)
            self._filter_open = bytearray(b"\x01") * len(tree)
        self._summaries.show(self._mask)
        self._sum_up()

    def set_training(self, column: array[int] | None) -> None:
        """Take the bytes of training memory of every parameter (model order); `None` forgets them."""
        self._training = column
        self._training_sums = None if column is None else self._prefix_sums(column)

    def set_order(self, order: Order) -> None:
        """Put siblings in another order; what a row is and what it sums to stays."""
        self._order = order
        self._rows = None

    def set_open(self, row: int, is_open: bool) -> None:
        """Unfold or fold one module row."""
        node = self.rows.nodes[row]
        if self.tree.params[node] < 0 and bool(self._openness[node]) != is_open:
            self._openness[node] = is_open
            if is_open and self.rows.tops[row] < node and self.rows.counts[row] > 1:
                # `layer 0…11`: when groups split it, the runs it falls into stay in sight.
                self._openness[self.tree.parents[node]] = 1
            self._rows = None

    def open_below(self, row: int) -> None:
        """Unfold the row and every module below it; runs of identical siblings stay one row."""
        rows, openness = self.rows, self._openness
        start, end = rows.nodes[row], self.tree.ends[rows.lasts[row]]
        openness[start:end] = b"\x01" * (end - start)
        self._rows = None

    def fold_all(self) -> None:
        """Fold everything to the top level, runs included."""
        openness = self._openness
        openness[:] = bytes(len(openness))
        openness[0] = 1
        self._unfolded.clear()
        self._rows = None

    def toggle_run(self, row: int) -> bool:
        """Show the members of a run one by one, or fold them to one row again; whether anything changed."""
        parent = self._run_parent(row)
        if parent is None:
            return False
        if parent in self._unfolded:
            self._unfolded.discard(parent)
        else:
            self._unfolded.add(parent)
            self._openness[parent] = 1
        self._rows = None
        return True

    def open_to_fit(self, height: int) -> None:
        """Unfold what fits into `height` lines: level by level, and in each level the modules from the top."""
        depth = 0
        while depth <= max(self.rows.depths, default=-1):
            for node in [self.rows.nodes[row] for row in range(len(self.rows)) if self.rows.depths[row] == depth]:
                if self.tree.params[node] >= 0 or self._openness[node]:
                    continue
                if len(self.rows) >= height:
                    return
                before = bytes(self._openness)
                self.set_open(self.rows.nodes.index(node), True)
                if len(self.rows) > height:
                    self._openness[:] = before
                    self._rows = None
            depth += 1

    def reveal(self, index: int) -> int:
        """Unfold what hides parameter `index` and return its row; a filter that hides it is the caller's to clear."""
        tree = self.tree
        node = tree.leaf_node(index)
        openness = self._openness
        child = node
        for parent in tree.ancestors(node):
            openness[parent] = 1
            self._open_run(parent, child)
            child = parent
        self._open_run(0, child)
        self._rows = None
        return self.row_of(node)

    def row_of(self, node: int) -> int:
        """Return the row of `node`, or the deepest one that stands for it, or one nearby where a filter hides all."""
        rows = self.rows
        try:
            return rows.nodes.index(node)
        except ValueError:
            pass
        ends = self.tree.ends
        # In the tree's order a row stands for what follows it, except that below a run stands its first member alone.
        row = len(rows) - 1 if self._order != "tree" else bisect_right(rows.tops, node) - 1
        found = 0 if self._order != "tree" else max(0, row)
        while row >= 0:
            if rows.tops[row] <= node < ends[rows.lasts[row]]:
                if self._order == "tree":
                    return row
                if not found or rows.depths[row] > rows.depths[found]:  # 0 is nothing yet, or what it falls back to
                    found = row
            row -= 1
        return found

    # -- how the rows are made --------------------------------------------------------------------------------

    def _sum_up(self) -> None:
        """Take prefix sums of what the filter leaves, so that any row's sum is one subtraction."""
        model = self.tree.model
        self._shown_sums = self._element_sums = self._prefix_sums(model.counted)
        if model.apart:
            self._element_sums = self._prefix_sums(model.numels)
            self._apart_sums = self.tree.sums(index in model.apart for index in self.tree.leaf_order)
        self._byte_sums = self._prefix_sums(model.nbytes)
        self._training_sums = None if self._training is None else self._prefix_sums(self._training)
        self._unknown_sums = self._prefix_sums(array("q", (nbytes < 0 for nbytes in model.nbytes)))

    def _prefix_sums(self, column: array[int]) -> array[int]:
        tree, mask = self.tree, self._mask
        ordered = column if tree.model_ordered else map(column.__getitem__, tree.leaf_order)
        return tree.sums(ordered if mask is None else map(mul, ordered, mask))

    @property
    def _openness(self) -> bytearray:
        return self._open if self._mask is None else self._filter_open

    def _run_parent(self, row: int) -> int | None:
        """Return the module whose runs the row is one of, a member of, or the parent of."""
        node, repeats = self.rows.nodes[row], self.tree.repeats
        parent = self.tree.parents[node]
        if any(node in run for run in repeats.get(parent, ())):
            return parent
        return node if node in repeats else None

    def _open_run(self, parent: int, child: int) -> None:
        """Unfold the runs of `parent` if `child` stands behind the first member of one."""
        for run in self.tree.repeats.get(parent, ()):
            if child in run and child != run[0]:
                self._unfolded.add(parent)

    def _runs(self, parent: int) -> list[tuple[int, ...]]:
        """Return the structural runs below `parent`, split where groups or what the filter leaves differ."""
        runs = self._split.get(parent)
        if runs is None:
            runs = self._split[parent] = [] if parent in self._unfolded else list(self._split_runs(parent))
        return runs

    def _split_runs(self, parent: int) -> Iterator[tuple[int, ...]]:
        tree, codes, mask = self.tree, self._codes, self._mask
        for run in tree.repeats.get(parent, ()):
            begin = 0
            before = None
            for position, member in enumerate(run):
                start, end = tree.leaf_starts[member], tree.leaf_ends[member]
                key = (codes[start:end], mask and mask[start:end])
                if key != before and position > begin:
                    if position - begin > 1:
                        yield run[begin:position]
                    begin = position
                before = key
            if len(run) - begin > 1:
                yield run[begin:]

    def _only_run(self, parent: int) -> tuple[int, ...] | None:
        """Return the run that is all there is below `parent`: `layer` and its `0…11` then share one row."""
        run = next(iter(self._runs(parent)), None)
        ends = self.tree.ends
        if run and run[0] == parent + 1 and ends[run[-1]] == ends[parent]:
            return run
        return None

    def _ordered_rows(self) -> Rows:
        tree = self.tree
        ends, tails, params, repeats = tree.ends, tree.tails, tree.params, tree.repeats
        starts, stops = tree.leaf_starts, tree.leaf_ends
        hidden = None if self._mask is None else self._mask_sums
        openness = self._openness
        rows = Rows()
        nodes, lasts, counts, tops, depths = rows.nodes, rows.lasts, rows.counts, rows.tops, rows.depths
        runs: dict[int, tuple[int, ...]] = {run[0]: run for run in self._runs(0)}
        absorbed: set[int] = {member for run in runs.values() for member in run[1:]}
        open_ends: list[int] = []
        top, count = 1, len(tree)
        while top < count:
            while open_ends and top >= open_ends[-1]:
                open_ends.pop()
            if top in absorbed or (hidden is not None and hidden[starts[top]] == hidden[stops[top]]):
                top = ends[top]
                continue
            run = runs.get(top)
            node = tails[top] if run is None else top
            if run is None and node in repeats:
                run = self._only_run(node)
                if run:
                    node = run[0]
                    absorbed.update(run[1:])
            nodes.append(node)
            lasts.append(run[-1] if run else node)
            counts.append(len(run) if run else 1)
            tops.append(top)
            depths.append(len(open_ends))
            if params[node] < 0 and openness[node]:
                if run is None and self._is_unfolded(node):
                    whole = self._all_rows
                    at = bisect_left(whole.nodes, node)
                    # Below a row that stands for a chain and its run, everything is a level nearer to the root.
                    if whole.depths[at] == depths[-1]:
                        rows._extend(whole, at + 1, bisect_left(whole.nodes, ends[node], at))
                        top = ends[node]
                        continue
                open_ends.append(ends[node])
                if node in repeats:
                    for below in self._runs(node):
                        runs[below[0]] = below
                        absorbed.update(below[1:])
                top = node + 1
            else:
                top = ends[run[-1] if run else node]
        return rows

    def _is_unfolded(self, node: int) -> bool:
        """Whether everything below a module is shown, a row each: no fold, no run, no filter."""
        end = self.tree.ends[node]
        at = bisect_left(self._run_parents, node)
        runs = at < len(self._run_parents) and self._run_parents[at] < end
        return self._mask is None and not runs and self._open.find(0, node, end) < 0

    @cached_property
    def _run_parents(self) -> list[int]:
        return sorted(self.tree.repeats)

    @cached_property
    def _all_rows(self) -> Rows:
        """The rows of the whole tree unfolded, runs too: what is below an unfolded module is a stretch of them."""
        tree = self.tree
        count = len(tree)
        rows = Rows()
        # Chains of only children stand behind each other, so heads and tails come in the same order.
        rows.nodes.extend(compress(range(1, count), map(eq, tree.tails[1:], range(1, count))))
        rows.tops.extend(compress(range(1, count), map(ne, tree.tails[1:], tree.tails)))
        rows.lasts.extend(rows.nodes)
        rows.counts.extend(repeat(1, len(rows.nodes)))
        depth_of = array("i", bytes(4 * count))
        depth_of[0] = -1
        parents, depths = tree.parents, rows.depths
        for node, top in zip(rows.nodes, rows.tops, strict=True):
            depth_of[node] = depth = depth_of[parents[top]] + 1
            depths.append(depth)
        return rows

    def _sorted_rows(self) -> Rows:
        tree, openness = self.tree, self._openness
        rows = Rows()
        stack = [iter(self._sorted_units(0))]
        while stack:
            unit = next(stack[-1], None)
            if unit is None:
                stack.pop()
                continue
            node, last, count, top = unit
            rows._add(node, last, count, top, len(stack) - 1)
            if tree.params[node] < 0 and openness[node]:
                stack.append(iter(self._sorted_units(node)))
        return rows

    def _sorted_units(self, parent: int) -> list[tuple[int, int, int, int]]:
        """Return the rows below `parent` as (node, last, count, top): most elements first, or as the model lists."""
        tree, sums = self.tree, self._shown_sums
        hidden = None if self._mask is None else self._mask_sums
        starts, stops = tree.leaf_starts, tree.leaf_ends
        runs = {run[0]: run for run in self._runs(parent)}
        units: list[tuple[int, int, int, int]] = []
        top, end = parent + 1, tree.ends[parent]
        while top < end:
            run = runs.get(top)
            node = tree.tails[top] if run is None else top
            run = run or (self._only_run(node) if node in tree.repeats else None)
            if run and run[0] > node:
                node = run[0]
            last = run[-1] if run else node
            if hidden is None or hidden[starts[top]] != hidden[stops[last]]:
                units.append((node, last, len(run) if run else 1, top))
            top = tree.ends[last]
        if self._order == "size":
            units.sort(key=lambda unit: sums[starts[unit[0]]] - sums[stops[unit[1]]])
        else:
            units.sort(key=lambda unit: min(tree.leaf_order[starts[unit[0]] : stops[unit[1]]]))
        return units
