"""The visible part of a tree: folds, runs of identical siblings, filter and order, and sums over what is shown."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import replace
from functools import cached_property, partial
from itertools import compress
from typing import TYPE_CHECKING, Any, Literal

from explorer.core.rows import Rows, SortedRows, UnfoldedRows, firsts, sizes
from explorer.core.runs import Runs
from explorer.core.shown import Shown
from explorer.core.summaries import Summaries

if TYPE_CHECKING:
    from explorer.core.param import Column, Model
    from explorer.core.tree import Tree


Order = Literal["tree", "size", "model"]
"""How siblings stand: as in the tree, largest first, or as the model lists its parameters (a file may list
`layers.10` before `layers.2`, where the tree does not)."""


class TreeView:
    """The state of one tree on the screen. Pure: it knows rows and numbers, no widget."""

    def __init__(self, tree: Tree) -> None:
        """Show `tree` with everything folded."""
        self.tree = tree
        self._open = bytearray(len(tree))
        self._open[0] = 1
        self._shown = Shown(tree, None)
        self._filter_open = bytearray()
        self._runs = Runs(tree, bytes(len(tree.model)))
        self._order: Order = "tree"
        self._training: array[int] | None = None
        self._tree_rows: Rows | None = None
        self._sorted_rows: SortedRows | None = None
        self._whole_shown: Rows | None = None
        self._summaries = Summaries(tree)

    def learn(self, model: Model) -> None:
        """Take a table of the same parameters that knows more of them; folds, filter and order stay."""
        self.tree = self._runs.tree = replace(self.tree, model=model)
        self._summaries = Summaries(self.tree)
        # Sums and answers kept so far belong to the table before.
        self._shown = Shown(self.tree, self._shown.mask)
        self._sorted_rows = None
        for known in ("_running", "_unknown", "_apart"):
            self.__dict__.pop(known, None)
        self._summaries.show(self._shown.mask)

    def warm(self) -> None:
        """Work out what the first frame asks for, in the thread that has the time; rows are answered faster then."""
        model = self.tree.model
        assert self._running is not None, "kept from here on"
        for column in (model.counted, model.nbytes):
            self._shown.sum(column, 0, 0)
        assert self._unknown is None or self._unknown, "kept from here on"
        for row_column in (model.dtypes, model.devices, model.requires_grad):
            if not self._summaries.agree(row_column, 0, len(model)):
                self._summaries.elements(row_column, 0, len(model))

    def prepare(self) -> None:
        """Work out ahead what unfolding everything needs, in a thread that has the time."""
        assert self._all_rows is not None, "kept from here on"

    # -- what is shown ----------------------------------------------------------------------------------------

    @property
    def rows(self) -> Rows | SortedRows:
        """The visible rows, made anew after a change."""
        ordered = self._ordered_rows
        if self._order == "tree":
            return ordered
        if self._sorted_rows is None:
            keys = sizes if self._order == "size" else firsts
            self._sorted_rows = SortedRows(ordered, self.tree, partial(keys, ordered, self._shown))
        return self._sorted_rows

    @property
    def _ordered_rows(self) -> Rows:
        if self._tree_rows is None:
            self._tree_rows = self._make_rows()
        return self._tree_rows

    def _changed(self) -> None:
        """Make the rows anew when they are asked for."""
        self._tree_rows = self._sorted_rows = None
        self._runs.forget()

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
        mask = self._shown.mask
        return order.tolist() if mask is None else list(compress(order, mask[start:end]))

    def first(self, row: int) -> int:
        """Return the index of the first parameter at or below a row, going by the rows that are unfolded."""
        while self.is_module(row) and self.is_open(row):
            row += 1
        return self.params(row)[0]

    def numel(self, row: int) -> int:
        """Return the elements of the shown parameters that the row stands for; other tensors add nothing."""
        start, end = self.leaves(row)
        return self._shown.sum(self.tree.model.counted, start, end)

    def apart(self, row: int) -> str:
        """Return what the tensors of a row are if none of them is a parameter, else an empty text."""
        start, end = self.leaves(row)
        none = bool(self._apart) and self._apart.find(0, start, end) < 0
        return self.tree.model.apart[self.tree.leaf_order[start]] if none else ""

    def elements(self, row: int) -> int:
        """Return the elements of all shown tensors of the row, be they parameters or not."""
        start, end = self.leaves(row)
        return self._shown.sum(self.tree.model.numels, start, end)

    def training(self, row: int) -> int | None:
        """Return the bytes of training memory of the row's shown parameters; `None` while that is not shown."""
        start, end = self.leaves(row)
        return None if self._training is None else self._shown.sum(self._training, start, end)

    @property
    def shows_training(self) -> bool:
        """Whether training memory is known and asked for."""
        return self._training is not None

    def tensors(self, row: int) -> int:
        """Return the number of shown rows of the table that the row stands for."""
        start, end = self.leaves(row)
        return self._shown.count(start, end)

    def nbytes(self, row: int) -> int | None:
        """Return the bytes of the shown parameters that the row stands for; `None` if any is unknown."""
        start, end = self.leaves(row)
        if self._unknown is not None and self._shown.sum(self._unknown, start, end):
            return None
        return self._shown.sum(self.tree.model.nbytes, start, end)

    def running(self, row: int) -> int:
        """Return the counting loop's sum up to and including the row's last parameter in `named_parameters()`."""
        start, end = self.leaves(row)
        order = self.tree.leaf_order
        return self.running_at(order[end - 1] if self.tree.model_ordered else max(order[start:end]))

    def running_at(self, index: int) -> int:
        """Return the counting loop's sum up to and including parameter `index`."""
        return self._running[index + 1]

    def groups(self, row: int) -> bytes:
        """Return the groups (`Assignment.groups`) of what the row stands for and is shown, in leaf order."""
        start, end = self.leaves(row)
        codes = self._runs.codes[start:end]
        mask = self._shown.mask
        return codes if mask is None else bytes(compress(codes, mask[start:end]))

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
        return self._shown.count(0, len(self.tree.leaf_order))

    @property
    def shown_numel(self) -> int:
        """Elements of the parameters that the filter leaves."""
        return self._shown.sum(self.tree.model.counted, 0, len(self.tree.leaf_order))

    @property
    def filtered(self) -> bool:
        """Whether a filter is on."""
        return self._shown.mask is not None

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
        if self._runs.regroup(self.tree.in_leaf_order(codes)):
            self._changed()

    def set_marks(self, marks: bytes) -> None:
        """Take a byte for each parameter, in leaf order; runs split where members differ in them. Empty: no marks."""
        if self._runs.mark(marks):
            self._changed()

    def set_filter(self, mask: bytes | None) -> None:
        """Show only parameters whose byte in `mask` (model order) is 1, all unfolded; `None` shows all again."""
        tree = self.tree
        self._changed()
        if mask is not None:
            mask = tree.in_leaf_order(mask)
            self._filter_open = bytearray(b"\x01") * len(tree)
        if mask != self._shown.mask:  # a longer text often finds the same
            self._whole_shown = None
            self._shown = Shown(tree, mask, self._shown)
            self._summaries.show(mask)
            self._runs.mask = mask

    def set_training(self, column: array[int] | None) -> None:
        """Take the bytes of training memory of every parameter (model order); `None` forgets them."""
        if self._training is not None and self._training is not column:
            self._shown.forget(self._training)
        self._training = column

    def set_order(self, order: Order) -> None:
        """Put siblings in another order; what a row is and what it sums to stays."""
        self._order = order
        self._sorted_rows = None

    def set_open(self, row: int, is_open: bool) -> None:
        """Unfold or fold one module row."""
        node = self.rows.nodes[row]
        if self.tree.params[node] < 0 and bool(self._openness[node]) != is_open:
            self._openness[node] = is_open
            if is_open and self.rows.tops[row] < node and self.rows.counts[row] > 1:
                # `layer 0…11`: when groups split it, the runs it falls into stay in sight.
                self._openness[self.tree.parents[node]] = 1
            self._changed()

    def open_below(self, row: int) -> None:
        """Unfold the row and every module below it; runs of identical siblings stay one row."""
        rows, openness = self.rows, self._openness
        start, end = rows.nodes[row], self.tree.ends[rows.lasts[row]]
        openness[start:end] = b"\x01" * (end - start)
        self._changed()

    def fold_all(self) -> None:
        """Fold everything to the top level, runs included."""
        openness = self._openness
        openness[:] = bytes(len(openness))
        openness[0] = 1
        self._runs.unfolded.clear()
        self._changed()

    def toggle_run(self, row: int) -> bool:
        """Show the members of a run one by one, or fold them to one row again; whether anything changed."""
        parent = self._runs.parent_of(self.rows.nodes[row])
        if parent is None:
            return False
        unfolded = self._runs.unfolded
        if parent in unfolded:
            unfolded.discard(parent)
        else:
            unfolded.add(parent)
            self._openness[parent] = 1
        self._changed()
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
                    self._changed()
            depth += 1

    def arrange_like(self, other: TreeView, node: int) -> int:
        """Take over the order of another view, and what is unfolded where the names are the same.

        Returns:
            What has the name of the other's `node` here, or of the nearest module above it that is here too.
        """
        if other.order in self.orders:
            self._order = other.order
        labels, theirs_labels, theirs_ends = self.tree.labels, other.tree.labels, other.tree.ends
        found, pairs = 0, [(0, 0)]
        while pairs:
            mine, theirs = pairs.pop()
            if theirs <= node < theirs_ends[theirs]:
                found = mine
            self._open[mine] = other._open[theirs]
            if theirs in other._runs.unfolded:
                self._runs.unfolded.add(mine)
            named = {theirs_labels[child]: child for child in other.tree.children(theirs)}
            pairs += [(child, named[labels[child]]) for child in self.tree.children(mine) if labels[child] in named]
        self._changed()
        return found

    def reveal(self, index: int) -> int:
        """Unfold what hides parameter `index` and return its row; a filter that hides it is the caller's to clear."""
        tree = self.tree
        node = tree.leaf_node(index)
        openness = self._openness
        child = node
        for parent in tree.ancestors(node):
            openness[parent] = 1
            self._runs.unfold(parent, child)
            child = parent
        self._runs.unfold(0, child)
        self._changed()
        return self.row_of(node)

    def row_of(self, node: int) -> int:
        """Return the row of `node`, or the deepest one that stands for it, or one nearby where a filter hides all."""
        rows, ends = self._ordered_rows, self.tree.ends
        found = bisect_left(rows.nodes, node)
        if found == len(rows) or rows.nodes[found] != node:
            # A row stands for what follows it, except that below a run stands its first member alone.
            found = row = max(0, bisect_right(rows.tops, node) - 1)
            while row >= 0 and len(rows):
                if rows.tops[row] <= node < ends[rows.lasts[row]]:
                    found = row
                    break
                row -= 1
        return self.rows.place(found) if isinstance(self.rows, SortedRows) and len(rows) else found

    def parent_row(self, row: int) -> int | None:
        """Return the row that a row stands below; `None` for one of the top level."""
        parent = self.tree.parents[self.rows.tops[row]]
        return self.row_of(parent) if parent else None

    # -- how the rows are made --------------------------------------------------------------------------------

    @cached_property
    def _running(self) -> array[int]:
        """The counting loop's sum before each parameter, in the model's order, and that of all."""
        counted = self.tree.model.counted
        return self._shown.over_all(counted) if self.tree.model_ordered else self.tree.sums(counted)

    @cached_property
    def _apart(self) -> bytes:
        """1 where a tensor is not a parameter, in leaf order; empty where all are parameters."""
        apart = self.tree.model.apart
        return bytes(index in apart for index in self.tree.leaf_order) if apart else b""

    @cached_property
    def _unknown(self) -> array[int] | None:
        """1 where a parameter's bytes are not known; `None` where all are."""
        nbytes = self.tree.model.nbytes
        return array("q", (each < 0 for each in nbytes)) if min(nbytes, default=0) < 0 else None

    @property
    def _openness(self) -> bytearray:
        return self._open if self._shown.mask is None else self._filter_open

    def _make_rows(self) -> Rows:
        tree, shown = self.tree, self._shown
        ends, tails, params, repeats = tree.ends, tree.tails, tree.params, tree.repeats
        starts, stops = tree.leaf_starts, tree.leaf_ends
        filtered = shown.mask is not None
        openness = self._openness
        if not repeats and self._is_unfolded(0):
            return self._whole
        rows = Rows()
        nodes, lasts, counts, tops, depths = rows.nodes, rows.lasts, rows.counts, rows.tops, rows.depths
        runs: dict[int, range] = {run[0]: run for run in self._runs.below(0)}
        absorbed: set[int] = {member for run in runs.values() for member in run[1:]}
        open_ends: list[int] = []
        top, count = 1, len(tree)
        while top < count:
            while open_ends and top >= open_ends[-1]:
                open_ends.pop()
            if top in absorbed or (filtered and not shown.any(starts[top], stops[top])):
                top = ends[top]
                continue
            run = runs.get(top)
            node = tails[top] if run is None else top
            if run is None and node in repeats:
                run = self._runs.only(node)
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
                    whole = self._whole
                    at = bisect_left(whole.nodes, node)
                    # Below a row that stands for a chain and its run, everything is a level nearer to the root.
                    if whole.depths[at] == depths[-1]:
                        rows.extend(whole, at + 1, bisect_left(whole.nodes, ends[node], at))
                        top = ends[node]
                        continue
                open_ends.append(ends[node])
                if node in repeats:
                    for below in self._runs.below(node):
                        runs[below[0]] = below
                        absorbed.update(below[1:])
                top = node + 1
            else:
                top = ends[run[-1] if run else node]
        return rows

    def _is_unfolded(self, node: int) -> bool:
        """Whether everything below a module that the filter leaves is shown, a row each: no fold, no run."""
        end = self.tree.ends[node]
        at = bisect_left(self._run_parents, node)
        runs = at < len(self._run_parents) and self._run_parents[at] < end
        return not runs and self._openness.find(0, node, end) < 0

    @cached_property
    def _run_parents(self) -> list[int]:
        return sorted(self.tree.repeats)

    @cached_property
    def _all_rows(self) -> Rows:
        """The rows of the whole tree unfolded, runs too: what is below an unfolded module is a stretch of them."""
        return self._unfolded_rows.all()

    @cached_property
    def _unfolded_rows(self) -> UnfoldedRows:
        return UnfoldedRows(self.tree)

    @property
    def _whole(self) -> Rows:
        """Those of `_all_rows` that the filter leaves."""
        if self._shown.mask is None:
            return self._all_rows
        if self._whole_shown is None:
            self._whole_shown = self._unfolded_rows.left_by(self._shown)
        return self._whole_shown
