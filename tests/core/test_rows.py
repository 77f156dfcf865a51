"""What is kept of rows, sums and shares is what working it out afresh gives, whatever the filter and the order."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from explorer.core.groups import Grouper
from explorer.core.param import Model, Origin, Param
from explorer.core.rows import Rows, SortedRows, UnfoldedRows
from explorer.core.shown import BLOCK, Shown
from explorer.core.summaries import Summaries
from explorer.core.tree import Tree
from explorer.core.view import TreeView

NAMES = st.lists(st.sampled_from(["a", "b", "0", "1", "2", "", "weight"]), min_size=1, max_size=4).map(".".join)
SIZES = st.sampled_from([0, 1, 2, 7])
DTYPES = st.sampled_from(["float32", "bfloat16", None])
PARAMS = st.builds(
    lambda name, size, dtype: Param(0, name, (size,), size, dtype, None, None, True, None, (), None),
    NAMES,
    SIZES,
    DTYPES,
)
MODELS = st.lists(PARAMS, min_size=1, max_size=30).map(
    lambda params: Model.from_params(Origin("x", "test", "made by a test"), params)
)
LONG = [Param(0, f"a.x{at}.w", (at,), at, None, None, None, None, None, (), None) for at in range(30)]
"""Parameters enough for one in nine to be few, none like the next."""

MASKS = st.sampled_from([1, 2, 3, 9, 40, 1000])
"""One leaf in so many is hidden, or shown."""


def mask_of(size: int, one_in: int, shown: bool) -> bytes:
    return bytes((at % one_in == 0) is shown for at in range(size))


def columns(rows: Rows | SortedRows) -> list[tuple[int, ...]]:
    return list(zip(rows.nodes, rows.lasts, rows.counts, rows.tops, rows.depths, strict=True))


# --- what a filter leaves -------------------------------------------------------------------------------------------


@given(MODELS, MASKS, st.booleans(), st.integers(1, 3), st.data())
def test_counts_and_sums_are_those_of_a_walk(
    model: Model, one_in: int, is_shown: bool, times: int, data: st.DataObject
) -> None:
    # Several blocks of leaves, so that stretches begin and end within, at and across their edges.
    tree = replace(Tree.build(model), model_ordered=False)
    tree = replace(tree, leaf_order=tree.leaf_order * (1 + times * BLOCK // len(model)))
    size = len(tree.leaf_order)
    mask = data.draw(st.sampled_from([None, mask_of(size, one_in, is_shown)]))
    shown = Shown(tree, mask, Shown(tree, bytes(size)))
    kept = [1] * size if mask is None else list(mask)
    for _ in range(3):
        start = data.draw(st.integers(0, size))
        end = data.draw(st.integers(start, size))
        assert shown.count(start, end) == sum(kept[start:end])
        assert shown.any(start, end) is (1 in kept[start:end])
        for _ in range(2):  # worked out, and as kept
            expected = sum(
                model.numels[i] for i, k in zip(tree.leaf_order[start:end], kept[start:end], strict=True) if k
            )
            assert shown.sum(model.numels, start, end) == expected
    assert list(shown.ranks()) == [sum(kept[:at]) for at in range(size + 1)]


def test_a_column_that_is_forgotten_is_summed_anew() -> None:
    model = Model.from_params(
        Origin("x", "test", ""), [Param(0, "a", (2,), 2, None, None, None, None, None, (), None)]
    )
    shown = Shown(Tree.build(model), b"\1")
    column = array("q", [5])
    assert shown.sum(column, 0, 1) == 5
    column[0] = 6
    assert shown.sum(column, 0, 1) == 5, "kept"
    shown.forget(column)
    assert shown.sum(column, 0, 1) == 6


@given(MODELS, MASKS, st.booleans())
@example(Model.from_params(Origin("x", "test", ""), []), 1, True)
@example(Model.from_params(Origin("x", "test", ""), LONG), 9, False)
def test_what_a_filter_leaves_of_all_rows_are_the_rows_with_a_shown_parameter(
    model: Model, one_in: int, is_shown: bool
) -> None:
    tree = Tree.build(model)
    mask = mask_of(len(model), one_in, is_shown)
    unfolded = UnfoldedRows(tree)
    expected = [
        row for row in columns(unfolded.all()) if any(mask[tree.leaf_starts[row[0]] : tree.leaf_ends[row[1]]])
    ]
    assert columns(unfolded.left_by(Shown(tree, mask))) == expected


@given(MODELS, MASKS, MASKS, st.booleans())
@example(Model.from_params(Origin("x", "test", ""), LONG), 9, 1000, False)
def test_a_filter_after_another_shows_what_it_shows_by_itself(
    model: Model, first: int, second: int, is_shown: bool
) -> None:
    tree = Tree.build(model)
    view, fresh = TreeView(tree), TreeView(tree)
    view.set_filter(mask_of(len(model), first, is_shown))
    assert view.rows is not None
    for each in (view, fresh):
        each.set_filter(mask_of(len(model), second, is_shown))
    assert columns(view.rows) == columns(fresh.rows)
    assert [view.numel(row) for row in range(len(view.rows))] == [fresh.numel(row) for row in range(len(view.rows))]


# --- another order --------------------------------------------------------------------------------------------------


def sorted_at_once(tree: Tree, rows: Rows, key: Any) -> list[int]:
    """All rows in the other order, worked out in one go."""
    children: dict[int, list[int]] = {}
    path: list[int] = []
    for row in range(len(rows)):
        del path[rows.depths[row] :]
        children.setdefault(path[-1] if path else -1, []).append(row)
        path.append(row)

    def walk(parent: int) -> list[int]:
        below = sorted(children.get(parent, ()), key=key)
        return [each for row in below for each in (row, *walk(row))]

    return walk(-1)


@given(MODELS, st.sampled_from(["size", "model"]), MASKS, st.booleans(), st.data())
def test_rows_looked_at_one_by_one_are_those_sorted_all_at_once(
    model: Model, order: str, one_in: int, is_filtered: bool, data: st.DataObject
) -> None:
    view = TreeView(Tree.build(model))
    if is_filtered:
        view.set_filter(mask_of(len(model), one_in, True))
    for row in range(len(view.rows)):
        if data.draw(st.booleans()):
            view.set_open(min(row, len(view.rows) - 1), True)
    tree, plain = view.tree, view.rows
    assert isinstance(plain, Rows)

    def key(row: int) -> int:
        start, end = tree.leaf_starts[plain.nodes[row]], tree.leaf_ends[plain.lasts[row]]
        if order == "model":
            return min(tree.leaf_order[start:end])
        return -sum(model.numels[index] for index in view.params(row))

    keyed = {row: key(row) for row in range(len(plain))}
    expected = sorted_at_once(tree, plain, keyed.__getitem__)
    view.set_order(order)  # type: ignore[arg-type]
    lazy = view.rows
    assert isinstance(lazy, SortedRows)
    for place in data.draw(st.permutations(range(len(plain)))):
        assert lazy.at(place) == expected[place]
        assert lazy.place(expected[place]) == place
    assert columns(lazy) == [columns(plain)[row] for row in expected]
    assert list(lazy.nodes[1:]) == [plain.nodes[row] for row in expected][1:]


@given(MODELS, st.sampled_from(["tree", "size", "model"]), MASKS, st.booleans())
def test_the_row_above_is_the_nearest_that_is_indented_less(
    model: Model, order: str, one_in: int, is_filtered: bool
) -> None:
    view = TreeView(Tree.build(model))
    if is_filtered:
        view.set_filter(mask_of(len(model), one_in, True))
    for _ in range(4):
        for row in range(len(view.rows)):
            view.set_open(row, True)
    view.set_order(order)  # type: ignore[arg-type]
    depths = list(view.rows.depths)
    for row, depth in enumerate(depths):
        above = [at for at in range(row) if depths[at] < depth]
        assert view.parent_row(row) == (above[-1] if above else None)


def test_a_screen_of_a_sorted_table_sorts_only_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    names = [f"m.{layer}.x.{expert}.{leaf}" for layer in range(50) for expert in range(50) for leaf in "ab"]
    params = [Param(0, name, (at,), at, None, None, None, None, None, (), None) for at, name in enumerate(names)]
    view = TreeView(Tree.build(Model.from_params(Origin("x", "test", ""), params)))
    view.open_below(0)
    assert len(view.rows) > 7000

    def counted(ordered: Rows, shown: Shown, rows: Sequence[int]) -> list[int]:
        asked.append(len(rows))
        return [-row for row in rows]

    monkeypatch.setattr("explorer.core.view.sizes", counted)
    view.set_order("size")
    for row in range(40):
        assert view.label(row)
    assert sum(asked) < 200


def test_a_filter_that_finds_the_same_works_nothing_out_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    params = [Param(0, f"a.{at}.x", (at,), at, None, None, None, None, None, (), None) for at in range(9)]
    view = TreeView(Tree.build(Model.from_params(Origin("x", "test", ""), params)))
    mask = mask_of(9, 2, True)
    view.set_filter(mask)
    before = view.numel(0), columns(view.rows)
    monkeypatch.setattr(UnfoldedRows, "left_by", lambda *_: pytest.fail("walked again"))
    monkeypatch.setattr(Tree, "sums", lambda *_: pytest.fail("summed again"))
    view.set_filter(bytes(bytearray(mask)))
    assert (view.numel(0), columns(view.rows)) == before


# --- shares ---------------------------------------------------------------------------------------------------------


@given(MODELS, MASKS, st.booleans(), st.data())
def test_shares_are_the_sums_of_a_walk_as_worked_out_and_as_kept(
    model: Model, one_in: int, is_filtered: bool, data: st.DataObject
) -> None:
    tree = Tree.build(model)
    summaries = Summaries(tree)
    mask = mask_of(len(model), one_in, True) if is_filtered else None
    start = data.draw(st.integers(0, len(model)))
    end = data.draw(st.integers(start, len(model)))
    summaries.elements(model.dtypes, start, end)  # of all, before the filter
    summaries.show(mask)
    expected: dict[Any, int] = {}
    for at in range(start, end):
        if mask is None or mask[at]:
            index = tree.leaf_order[at]
            expected[model.dtypes[index]] = expected.get(model.dtypes[index], 0) + model.numels[index]
    for _ in range(2):
        found = summaries.elements(model.dtypes, start, end)
        assert found == {value: elements for value, elements in expected.items() if elements}
        assert list(found) == [value for value in model.dtypes.values if value in found]


# --- the filter's text ----------------------------------------------------------------------------------------------


@given(
    MODELS,
    st.sampled_from(["a", "weight", "1", "a.0", "!a", "re:a", "glob:*", ".", "zz"]) | st.text(min_size=1, max_size=3),
)
def test_a_filter_finds_the_names_that_contain_its_text_as_it_stands(model: Model, text: str) -> None:
    assert Grouper(model).containing(text) == bytes(text in name for name in model.names)
