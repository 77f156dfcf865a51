"""What a view shows is what a slow and plain reading of the names shows, after any sequence of operations."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tables import param

from explorer.core.param import Model, Origin, Param
from explorer.core.tree import Tree
from explorer.core.view import TreeView

ORIGIN = Origin("x", "test", "made by a test")


def sized(name: str, size: int = 6, nbytes: int | None = None) -> Param:
    return param(name, (size,), nbytes=nbytes)


def view_of(*params: Param | str) -> TreeView:
    return TreeView(Tree.build(model_of(*params)))


def model_of(*params: Param | str) -> Model:
    return Model.from_params(ORIGIN, [sized(p) if isinstance(p, str) else p for p in params])


def labels(view: TreeView) -> list[str]:
    """The rows as they are read: indentation, label, and ×N."""
    rows = view.rows
    return [
        "  " * rows.depths[row] + view.label(row) + (f" ×{rows.counts[row]}" if rows.counts[row] > 1 else "")
        for row in range(len(rows))
    ]


def row_at(view: TreeView, text: str) -> int:
    return [label.strip() for label in labels(view)].index(text)


# --- a slow and plain reading: the rows as they should be -----------------------------------------------------------


@dataclass(eq=False)
class Node:
    """One node of the plain tree."""

    label: str
    children: list[Node] = field(default_factory=list)
    index: int = -1
    """Parameter that it is; -1 for a module."""
    number: int = 0
    """Its number in pre-order, which is its number in the real tree."""

    def leaves(self) -> list[int]:
        return [self.index] if self.index >= 0 else [leaf for child in self.children for leaf in child.leaves()]


@dataclass(frozen=True)
class Row:
    """One row as a reader sees it."""

    label: str
    depth: int
    members: int
    module: bool
    is_open: bool
    params: tuple[int, ...]
    numel: int
    running: int


class Plain:
    """The rows of a model by recursion over lists: what `TreeView` does with flat columns, written to be read."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.root = Node("")
        for index, name in enumerate(model.names):
            node = self.root
            *path, last = name.split(".")
            for label in path:
                found = next((child for child in node.children if child.index < 0 and child.label == label), None)
                if found is None:
                    found = Node(label)
                    node.children.append(found)
                node = found
            node.children.append(Node(last, index=index))
        self.nodes: list[Node] = []
        self._count(self.root)
        self.open: set[Node] = {self.root}
        self.filter_open: set[Node] = set()
        self.unfolded: set[Node] = set()
        self.mask: bytes | None = None
        self.codes = bytes(len(model))
        self.marks = bytes(len(model))
        self.by_size = False
        self.units: list[tuple[list[Node], list[Node], int]] = []
        self.running = list(accumulate(model.numels))

    def _count(self, node: Node) -> None:
        node.number = len(self.nodes)
        self.nodes.append(node)
        if all(child.label.isdecimal() for child in node.children):
            node.children.sort(key=lambda child: int(child.label))
        for child in node.children:
            self._count(child)

    @property
    def openness(self) -> set[Node]:
        return self.open if self.mask is None else self.filter_open

    def shown(self, nodes: list[Node]) -> list[int]:
        return [leaf for node in nodes for leaf in node.leaves() if self.mask is None or self.mask[leaf]]

    def numel(self, nodes: list[Node]) -> int:
        return sum(self.model.numels[leaf] for leaf in self.shown(nodes))

    def structure(self, node: Node) -> object:
        """What siblings alike have in common: names, shapes, dtypes and grads below."""
        if node.index >= 0:
            model, at = self.model, node.index
            return model.shapes[at], model.dtypes[at], model.requires_grad[at]
        return [(child.label, self.structure(child)) for child in node.children]

    def likeness(self, node: Node) -> object:
        """What members of one row have in common: the structure, their groups, and what the filter leaves."""
        leaves = node.leaves()
        return self.structure(node), [
            (self.codes[leaf], self.marks[leaf], self.mask and self.mask[leaf]) for leaf in leaves
        ]

    def alike(self, one: Node, other: Node, same: Any) -> bool:
        numbers = one.label.isdecimal() and other.label.isdecimal() and int(one.label) + 1 == int(other.label)
        return numbers and same(one) == same(other)

    def has_run(self, parent: Node) -> bool:
        kids = parent.children
        return any(self.alike(a, b, self.structure) for a, b in pairwise(kids))

    def split(self, parent: Node) -> list[list[Node]]:
        """The children of a module, those that share a row together."""
        together: list[list[Node]] = []
        for child in parent.children:
            if together and parent not in self.unfolded and self.alike(together[-1][-1], child, self.likeness):
                together[-1].append(child)
            else:
                together.append([child])
        return together

    def unit(self, group: list[Node]) -> tuple[list[Node], list[Node]]:
        """The chain that a row's label joins, and the members that it stands for."""
        chain = []
        while len(group) == 1:
            chain.append(group[0])
            deeper = self.split(group[0]) if group[0].index < 0 else []
            if len(deeper) != 1:
                break
            group = deeper[0]
        return (chain, group) if len(group) > 1 else (chain[:-1], group)

    def rows(self) -> list[Row]:
        self.units = []
        found: list[Row] = []
        self._rows(self.root, 0, found)
        return found

    def _rows(self, parent: Node, depth: int, found: list[Row]) -> None:
        units = [self.unit(group) for group in self.split(parent)]
        units = [unit for unit in units if self.shown(unit[1])]
        if self.by_size:
            units.sort(key=lambda unit: -self.numel(unit[1]))
        for chain, members in units:
            first, last = members[0], members[-1]
            if len(members) > 1:
                head = ".".join(node.label for node in chain)
                label = f"{head} {first.label}…{last.label}" if chain else f"{first.label}…{last.label}"
            else:
                label = ".".join(node.label for node in [*chain, first])
            everything = [leaf for node in members for leaf in node.leaves()]
            is_open = first in self.openness
            found.append(
                Row(
                    label,
                    depth,
                    len(members),
                    first.index < 0,
                    is_open,
                    tuple(self.shown(members)),
                    self.numel(members),
                    self.running[max(everything)],
                )
            )
            self.units.append((chain, members, depth))
            if first.index < 0 and is_open:
                self._rows(first, depth + 1, found)

    # -- the operations, each on the row as it stands

    def set_open(self, row: int, is_open: bool) -> None:
        chain, members, _ = self.units[row]
        node = members[0]
        if node.index < 0 and (node in self.openness) != is_open:
            (self.openness.add if is_open else self.openness.discard)(node)
            if is_open and chain and len(members) > 1:
                self.openness.add(chain[-1])

    def open_below(self, row: int) -> None:
        for member in self.units[row][1]:
            self.openness.update(self.below(member))

    def below(self, node: Node) -> list[Node]:
        return [node, *(deeper for child in node.children for deeper in self.below(child))]

    def fold_all(self) -> None:
        self.openness.clear()
        self.openness.add(self.root)
        self.unfolded.clear()

    def toggle_run(self, row: int) -> bool:
        node = self.units[row][1][0]
        parent = next(other for other in self.nodes if node in other.children)
        kids = parent.children
        in_run = any(node in (a, b) and self.alike(a, b, self.structure) for a, b in pairwise(kids))
        if not in_run:
            if node.index >= 0 or not self.has_run(node):
                return False
            parent = node
        if parent in self.unfolded:
            self.unfolded.discard(parent)
        else:
            self.unfolded.add(parent)
            self.openness.add(parent)
        return True

    def set_filter(self, mask: bytes | None) -> None:
        self.mask = mask
        if mask is not None:
            self.filter_open = set(self.nodes)


def seen(view: TreeView) -> list[Row]:
    """The rows of the real view, as a reader sees them."""
    return [
        Row(
            view.label(row),
            view.rows.depths[row],
            view.rows.counts[row],
            view.is_module(row),
            view.is_open(row),
            tuple(view.params(row)),
            view.numel(row),
            view.running(row),
        )
        for row in range(len(view.rows))
    ]


# --- any model, any operations --------------------------------------------------------------------------------------

LEAF = st.sampled_from([1, 2, 3])
INNER = st.dictionaries(st.sampled_from(["weight", "bias", "a", ""]), LEAF, min_size=1, max_size=2)


def listed(blocks: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Numbered children, mostly alike."""

    def number(drawn: tuple[Any, Any, list[bool], int]) -> dict[str, Any]:
        usual, odd, which, start = drawn
        return {str(start + at): odd if is_odd else usual for at, is_odd in enumerate(which)}

    which = st.lists(st.integers(0, 5).map(lambda n: n == 0), min_size=1, max_size=5)
    return st.tuples(blocks, blocks, which, st.sampled_from([0, 0, 1, 9])).map(number)


BLOCKS = st.recursive(
    INNER,
    lambda deeper: (
        st.dictionaries(st.sampled_from(["a", "b", "c", "layer"]), deeper | LEAF, min_size=1, max_size=3)
        | listed(deeper | LEAF)
    ),
    max_leaves=6,
)


def flatten(block: Any, prefix: str = "") -> list[Param]:
    if isinstance(block, int):
        return [sized(prefix[:-1], block, nbytes=4 * block)]
    return [leaf for label, below in block.items() for leaf in flatten(below, f"{prefix}{label}.")]


@st.composite
def models(draw: st.DrawFn) -> Model:
    params = flatten(draw(st.dictionaries(st.sampled_from(["a", "net", "head", "0", "1"]), BLOCKS, min_size=1)))[:60]
    if draw(st.integers(0, 3)) == 0:
        params = draw(st.permutations(params))
    return Model.from_params(ORIGIN, params)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "open",
                "close",
                "below",
                "fold_all",
                "run",
                "run",
                "filter",
                "unfilter",
                "sort",
                "groups",
                "marks",
                "reveal",
            ]
        ),
        st.integers(0, 2**32 - 1),
    ),
    max_size=8,
)


def bits(seed: int, size: int, values: int) -> bytes:
    """As many bytes below `values`, mostly 0, from one number: few enough differ for runs to stay."""
    return bytes((seed >> (at % 29)) % 7 % values if (seed >> (at % 31)) % 3 == 0 else 0 for at in range(size))


def mask_of(seed: int, model: Model) -> bytes:
    """A filter as people type it: a text in the name; now and then any mask at all."""
    needles = ["weight", "a", "0", "layer", "1.", "bias", "zzz"]
    if seed % 8 == 7:
        return bits(seed, len(model), 2)
    return bytes(needles[seed % 7] in name for name in model.names)


@settings(max_examples=300)
@given(models(), OPERATIONS)
def test_the_rows_are_those_of_a_plain_reading_after_any_operations(
    model: Model, operations: list[tuple[str, int]]
) -> None:
    view, plain = TreeView(Tree.build(model)), Plain(model)
    assert seen(view) == plain.rows()
    for name, seed in operations:
        count = len(plain.units)
        row = seed % count if count else 0
        if name == "open" and count:
            view.set_open(row, True)
            plain.set_open(row, True)
        elif name == "close" and count:
            view.set_open(row, False)
            plain.set_open(row, False)
        elif name == "below" and count:
            view.open_below(row)
            plain.open_below(row)
        elif name == "run" and count:
            assert view.toggle_run(row) == plain.toggle_run(row)
        elif name == "fold_all":
            view.fold_all()
            plain.fold_all()
        elif name == "filter":
            mask = mask_of(seed, model)
            view.set_filter(mask)
            plain.set_filter(mask)
        elif name == "unfilter":
            view.set_filter(None)
            plain.set_filter(None)
        elif name == "sort":
            view.set_order("tree" if plain.by_size else "size")
            plain.by_size = not plain.by_size
        elif name == "groups":
            view.set_groups(codes := bits(seed, len(model), 3))
            plain.codes = codes
        elif name == "marks":
            plain.marks = bits(seed, len(model), 2)
            view.set_marks(view.tree.in_leaf_order(plain.marks))
        elif name == "reveal":
            index = seed % len(model)
            if plain.mask is None or plain.mask[index]:
                row = view.reveal(index)
                assert view.rows.nodes[row] == view.tree.leaf_node(index)
            return  # what else a reveal opens is its own affair
        assert seen(view) == plain.rows(), name
        assert view.shown_tensors == len(plain.shown([plain.root]))
        assert view.shown_numel == plain.numel([plain.root])
        for at, (_, members, _) in enumerate(plain.units):
            assert view.tensors(at) == len(plain.shown(members))
            assert view.nbytes(at) == 4 * plain.numel(members)


@settings(max_examples=150)
@given(models(), OPERATIONS, st.data())
def test_row_of_is_the_deepest_row_that_stands_for_a_node(
    model: Model, operations: list[tuple[str, int]], data: st.DataObject
) -> None:
    view, plain = TreeView(Tree.build(model)), Plain(model)
    for name, seed in operations:
        row = seed % len(view.rows) if len(view.rows) else 0
        if name in ("open", "below", "reveal") and len(view.rows):
            view.set_open(row, True)
        elif name == "run" and len(view.rows):
            view.toggle_run(row)
        elif name == "sort":
            view.set_order("tree" if view.by_size else "size")
        elif name == "filter":
            view.set_filter(mask_of(seed, model))
    rows = view.rows
    node = data.draw(st.integers(1, len(view.tree) - 1))
    standing = [row for row in range(len(rows)) if rows.tops[row] <= node < view.tree.ends[rows.lasts[row]]]
    if standing:
        deepest = max(rows.depths[row] for row in standing)
        assert view.row_of(node) in [row for row in standing if rows.depths[row] == deepest]
    elif len(rows):
        assert 0 <= view.row_of(node) < len(rows), "hidden by the filter: any row will do"
    assert plain.nodes[node].label == view.tree.labels[node]


# --- runs -----------------------------------------------------------------------------------------------------------

STACK = [f"encoder.layer.{n}.{leaf}" for n in range(4) for leaf in ("weight", "bias")]


def test_siblings_alike_share_one_row_and_the_first_stands_for_them_below() -> None:
    view = view_of(*STACK, "head.weight", "encoder.norm.weight")
    view.set_open(row_at(view, "encoder"), True)
    assert labels(view) == ["encoder", "  layer 0…3 ×4", "  norm.weight", "head.weight"]
    view.set_open(1, True)
    assert labels(view)[1:4] == ["  layer 0…3 ×4", "    weight", "    bias"]


def test_a_group_that_differs_splits_a_run_and_giving_it_back_joins_it() -> None:
    view = view_of(*STACK)
    assert labels(view) == ["encoder.layer 0…3 ×4"]
    codes = bytearray(8)
    codes[5] = 1
    view.set_groups(bytes(codes))
    view.set_open(0, True)
    assert labels(view) == ["encoder.layer", "  0…1 ×2", "  2", "  3"]
    view.set_groups(bytes(8))
    assert labels(view)[0] == "encoder.layer 0…3 ×4"


def test_a_mark_that_differs_splits_a_run_and_the_member_is_found_without_unfolding_the_others() -> None:
    view = view_of(*STACK)
    view.set_marks(bytes([0, 0, 0, 0, 1, 0, 0, 0]))
    row = view.reveal(4)
    assert labels(view) == ["encoder.layer", "  0…1 ×2", "  2", "    weight", "    bias", "  3"]
    assert view.rows.nodes[row] == view.tree.leaf_node(4)
    view.set_marks(b"")
    assert labels(view)[0] == "encoder.layer 0…3 ×4"


def test_a_group_that_differs_leaves_an_unfolded_run_in_sight() -> None:
    view = view_of(*STACK)
    view.set_open(0, True)
    codes = bytearray(8)
    codes[5] = 1
    view.set_groups(bytes(codes))
    assert labels(view) == ["encoder.layer", "  0…1 ×2", "    weight", "    bias", "  2", "  3"]


def test_unfold_shows_each_member_and_fold_makes_them_one_row_again() -> None:
    view = view_of(*STACK)
    assert view.toggle_run(0)
    assert labels(view) == ["encoder.layer", "  0", "  1", "  2", "  3"]
    for row in (3, 0):
        assert view.toggle_run(row), "a member folds them again, and so does the module above"
        assert labels(view)[0] == "encoder.layer 0…3 ×4"
        view.toggle_run(0)


def test_a_row_that_is_no_run_has_nothing_to_toggle() -> None:
    view = view_of("a.weight", "b.weight", "b.bias")
    before = labels(view)
    assert not view.toggle_run(0)
    assert not view.toggle_run(1)
    assert labels(view) == before


def test_folding_a_run_from_a_later_member_leads_to_the_runs_row() -> None:
    view = view_of(*STACK)
    view.toggle_run(0)
    view.set_open(1, True)  # the first member shows its tensors, and still will when the run is one row again
    third = view.rows.nodes[row_at(view, "2")]
    view.toggle_run(row_at(view, "2"))
    assert labels(view)[view.row_of(third)] == "encoder.layer 0…3 ×4"


def test_a_runs_sum_is_that_of_all_its_members() -> None:
    view = view_of(*STACK)
    assert (view.numel(0), view.tensors(0)) == (48, 8)
    view.set_open(0, True)
    assert [view.numel(row) for row in (1, 2)] == [6, 6], "below it stands the first member"


# --- the running total ----------------------------------------------------------------------------------------------


@given(models(), st.booleans(), st.integers(0, 2**32 - 1))
def test_running_is_the_cumulative_sum_in_the_models_order_whatever_the_sort_and_filter(
    model: Model, by_size: bool, seed: int
) -> None:
    view = TreeView(Tree.build(model))
    view.set_order("size" if by_size else "tree")
    if seed % 2:
        view.set_filter(mask_of(seed // 2, model))
    for _ in range(len(view.tree)):
        for row in range(len(view.rows)):
            view.set_open(row, True)
    sums = list(accumulate(model.numels))
    for row in range(len(view.rows)):
        start, end = view.leaves(row)
        assert view.running(row) == sums[max(view.tree.leaf_order[start:end])]
    assert [view.running_at(index) for index in range(len(model))] == sums


# --- filter ---------------------------------------------------------------------------------------------------------


def test_a_filter_leaves_matches_and_the_modules_above_them_with_the_sums_of_what_is_left() -> None:
    view = view_of(sized("a.x", 2), sized("a.y", 3), sized("b.x", 5), sized("b.z.y", 7), sized("c.x", 11))
    view.set_filter(bytes([0, 1, 0, 1, 0]))
    assert labels(view) == ["a", "  y", "b", "  z.y"]
    assert [view.numel(row) for row in range(4)] == [3, 3, 7, 7]
    assert (view.shown_tensors, view.shown_numel) == (2, 10)
    view.set_filter(None)
    assert labels(view) == ["a", "b", "c.x"], "what was folded before is folded again"


def test_a_filter_that_leaves_nothing_shows_no_row() -> None:
    view = view_of(*STACK)
    view.set_filter(bytes(8))
    assert labels(view) == []
    assert (view.shown_tensors, view.shown_numel) == (0, 0)
    assert view.row_of(3) == 0


def test_bytes_are_unknown_where_one_shown_parameters_are() -> None:
    view = view_of(sized("a.x", 2, nbytes=8), sized("a.y", 3, nbytes=None), sized("b.x", 3, nbytes=12))
    assert [view.nbytes(row) for row in range(2)] == [None, 12]
    view.set_filter(bytes([1, 0, 1]))
    assert view.nbytes(0) == 8


# --- reveal ---------------------------------------------------------------------------------------------------------


@given(models(), st.booleans(), st.data())
def test_reveal_shows_the_parameters_own_row(model: Model, by_size: bool, data: st.DataObject) -> None:
    view = TreeView(Tree.build(model))
    view.set_order("size" if by_size else "tree")
    view.set_groups(bits(data.draw(st.integers(0, 2**32 - 1)), len(model), 2))
    index = data.draw(st.integers(0, len(model) - 1))
    row = view.reveal(index)
    assert view.rows.nodes[row] == view.tree.leaf_node(index)
    assert index in view.params(row)


def test_reveal_unfolds_a_run_only_for_a_member_behind_the_first() -> None:
    view = view_of(*STACK)
    assert view.reveal(1) == 2
    assert labels(view)[2] == "  bias"
    assert labels(view)[0] == "encoder.layer 0…3 ×4"
    assert view.reveal(7) == len(view.rows) - 1
    assert labels(view)[0] == "encoder.layer"


# --- the first screen -----------------------------------------------------------------------------------------------


@given(models(), st.integers(1, 30))
@example(model_of("a.b.c"), 1)
def test_what_is_opened_at_first_fits(model: Model, height: int) -> None:
    view = TreeView(Tree.build(model))
    folded = len(view.rows)
    view.open_to_fit(height)
    assert len(view.rows) <= max(height, folded)
    assert sum(view.numel(row) for row in range(len(view.rows)) if view.rows.depths[row] == 0) == model.total


def test_numbered_siblings_stand_in_the_order_of_their_numbers_and_share_a_row() -> None:
    names = [f"h.{n}.w" for n in sorted(range(12), key=str)]
    view = view_of(*(sized(name, 1) for name in names))
    assert [view.label(row) for row in range(len(view.rows))] == ["h 0…11"]
    assert view.orders == ("tree", "size", "model")


def test_the_files_own_order_is_one_key_away() -> None:
    names = [f"h.{n}.w" for n in (0, 10, 2)]
    view = view_of(*(sized(name, 1) for name in names))
    view.open_below(0)
    view.set_order("model")
    assert [view.label(row) for row in range(len(view.rows))] == ["h", "0.w", "10.w", "2.w"]
    view.set_order("tree")
    assert [view.label(row) for row in range(len(view.rows))] == ["h", "0.w", "2.w", "10.w"]
    assert [view.running(row) for row in range(1, 4)] == [1, 3, 2], "Running stays the file's own"


def test_another_table_takes_over_the_folds_and_the_cursor_by_name() -> None:
    before = view_of("a.x.w", "a.x.v", "a.y", "b.0.w", "b.1.w", "c.w", "c.v")
    before.set_open(row_at(before, "a"), True)
    before.toggle_run(row_at(before, "b 0…1 ×2"))
    before.set_order("size")
    after = view_of("new.p", "a.z", "a.x.w", "b.0.w", "b.1.w", "c.w")
    gone = before.rows.nodes[row_at(before, "y")]
    node = after.arrange_like(before, gone)
    assert after.tree.path(node) == "a", "the nearest that is there"
    assert after.order == "size"
    after.set_order("tree")
    assert labels(after) == ["new.p", "a", "  z", "  x.w", "b", "  0.w", "  1.w", "c.w"]
    kept = after.arrange_like(before, before.rows.nodes[row_at(before, "c")])
    assert after.tree.path(kept) == "c"
