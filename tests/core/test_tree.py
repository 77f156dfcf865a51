"""The tree holds every parameter once, where its name says, and its ranges add up for any names whatever."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tables import model_of, param

from explorer.core.param import Origin, Param
from explorer.core.tree import Tree

ORIGIN = Origin("x", "test", "made by a test")


def tree_of(*params: Param | str) -> Tree:
    return Tree.build(model_of(*params))


def modules(tree: Tree) -> list[str]:
    return [tree.path(node) for node in range(1, len(tree)) if tree.params[node] < 0]


def runs(tree: Tree) -> dict[str, list[list[str]]]:
    """The repeats by path of the parent, with each member's label."""
    return {
        tree.path(parent): [[tree.labels[node] for node in run] for run in found]
        for parent, found in tree.repeats.items()
    }


SEGMENTS = st.sampled_from(["", "a", "b", "layer", "0", "1", "2", "10", "٣", "²", "weight", "a b", "名"])
NAMES = st.lists(SEGMENTS, min_size=1, max_size=5).map(".".join) | st.text(max_size=6)
MANY = st.lists(NAMES, max_size=24)
SIZED = st.lists(st.tuples(NAMES, st.integers(0, 4).map(lambda size: (size, 3))), max_size=24)


# --- the layout: pre-order, ranges, parents -------------------------------------------------------------------------


@given(MANY)
@example([])
@example([""])
@example(["."])
@example(["a", "a.b", "a"])
@example(["a.x", "b.x", "a.y"])
def test_every_parameter_is_one_leaf_and_the_leafs_path_is_its_name(names: list[str]) -> None:
    tree = tree_of(*names)
    leaves = [node for node in range(len(tree)) if tree.params[node] >= 0]
    assert sorted(tree.params[node] for node in leaves) == list(range(len(names)))
    assert [tree.path(node) for node in leaves] == [names[tree.params[node]] for node in leaves]
    assert list(tree.leaf_order) == [tree.params[node] for node in leaves]


@given(MANY)
@example([".".join("abcdefgh"), "a.b.c", ""])
def test_nodes_stand_in_pre_order_and_a_subtree_is_a_range(names: list[str]) -> None:
    tree = tree_of(*names)
    assert tree.parents[0] == -1
    assert tree.ends[0] == len(tree)
    for node in range(1, len(tree)):
        parent = tree.parents[node]
        assert 0 <= parent < node < tree.ends[node] <= tree.ends[parent]
        assert tree.params[parent] < 0, "a parameter has no children"
        below = {other for other in range(len(tree)) if node == other or node in ancestors(tree, other)}
        assert below == set(range(node, tree.ends[node]))


def ancestors(tree: Tree, node: int) -> list[int]:
    above = []
    while tree.parents[node] >= 0:
        node = tree.parents[node]
        above.append(node)
    return above


@given(MANY)
def test_children_and_ancestors_are_the_parents_read_backwards(names: list[str]) -> None:
    tree = tree_of(*names)
    for node in range(len(tree)):
        assert list(tree.children(node)) == [child for child in range(len(tree)) if tree.parents[child] == node]
        assert [*tree.ancestors(node), 0][: bool(node) * len(tree)] == ancestors(tree, node)


@given(MANY)
def test_the_leaf_range_of_a_node_holds_the_parameters_below_it_and_no_other(names: list[str]) -> None:
    tree = tree_of(*names)
    for node in range(len(tree)):
        below = [tree.params[other] for other in range(node, tree.ends[node]) if tree.params[other] >= 0]
        assert list(tree.leaf_order[tree.leaf_starts[node] : tree.leaf_ends[node]]) == below


@given(MANY)
@example(["a.b.c.d", "a.b.c.d.e"])
def test_a_tail_is_the_end_of_the_chain_of_only_children(names: list[str]) -> None:
    tree = tree_of(*names)
    for node in range(1, len(tree)):
        tail = node
        while len(children := list(tree.children(tail))) == 1:
            tail = children[0]
        assert tree.tails[node] == tail


@given(MANY)
def test_siblings_keep_the_order_in_which_the_model_names_them_first_unless_all_are_numbers(
    names: list[str],
) -> None:
    tree = tree_of(*names)
    for node in range(len(tree)):
        labels = [tree.labels[child] for child in tree.children(node)]
        if labels and all(label.isdecimal() for label in labels):
            assert [int(label) for label in labels] == sorted(map(int, labels))
            continue
        firsts = [min(tree.leaf_order[tree.leaf_starts[c] : tree.leaf_ends[c]]) for c in tree.children(node)]
        assert firsts == sorted(firsts)


@given(MANY)
def test_leaf_node_finds_the_leaf_of_each_parameter(names: list[str]) -> None:
    tree = tree_of(*names)
    assert [tree.params[tree.leaf_node(index)] for index in range(len(names))] == list(range(len(names)))


@given(MANY)
def test_a_module_stands_once_however_its_parameters_interleave(names: list[str]) -> None:
    tree = tree_of(*names)
    # The root's own path is empty, and so is that of a module of the empty name: compare with the labels' chain.
    chains = [(tree.path(node), len(ancestors(tree, node))) for node in range(len(tree)) if tree.params[node] < 0]
    assert len(chains) == len(set(chains))


@given(MANY)
def test_model_ordered_says_whether_the_leaves_stand_in_the_models_order(names: list[str]) -> None:
    tree = tree_of(*names)
    assert tree.model_ordered is (list(tree.leaf_order) == list(range(len(names))))
    codes = bytes(range(len(names)))
    assert list(tree.in_leaf_order(codes)) == list(tree.leaf_order)
    assert list(tree.in_leaf_order(list(codes))) == list(tree.leaf_order)


# --- sums -----------------------------------------------------------------------------------------------------------


@given(SIZED)
def test_the_sums_of_the_children_are_the_modules_sum(rows: list[tuple[str, tuple[int, ...]]]) -> None:
    tree = tree_of(*(param(name, shape) for name, shape in rows))
    numels = tree.model.numels
    sums = tree.sums(numels[index] for index in tree.leaf_order)

    def sum_of(node: int) -> int:
        return sums[tree.leaf_ends[node]] - sums[tree.leaf_starts[node]]

    assert sum_of(0) == tree.model.total
    for node in range(len(tree)):
        if tree.params[node] >= 0:
            assert sum_of(node) == numels[tree.params[node]]
        else:
            assert sum_of(node) == sum(map(sum_of, tree.children(node)))


def test_sums_of_tensors_over_2_31_elements_do_not_overflow() -> None:
    tree = tree_of(param("a.weight", (2**20, 2**20)), param("b.weight", (2**20, 2**20)))
    assert tree.sums(tree.model.numels) == array("q", [0, 2**40, 2**41])


# --- names that are not what one expects ----------------------------------------------------------------------------


def test_a_name_that_is_both_a_parameter_and_a_prefix_stands_as_both() -> None:
    tree = tree_of("a", "a.b", "a.b.c")
    assert [(tree.path(node), tree.params[node]) for node in range(1, len(tree))] == [
        ("a", 0),
        ("a", -1),
        ("a.b", 1),
        ("a.b", -1),
        ("a.b.c", 2),
    ]


def test_empty_segments_are_modules_of_an_empty_name() -> None:
    tree = tree_of("", ".", "..weight")
    leaves = [node for node in range(len(tree)) if tree.params[node] >= 0]
    assert [tree.path(node) for node in leaves] == ["", ".", "..weight"]
    assert [len(ancestors(tree, node)) for node in leaves] == [1, 2, 3]


def test_duplicate_names_are_two_parameters() -> None:
    tree = tree_of("a.weight", "a.weight")
    assert tree.leaf_node(0) != tree.leaf_node(1)
    assert list(tree.leaf_order) == [0, 1]


def test_a_thousand_levels_are_built_and_walked() -> None:
    deep = ".".join(f"m{level}" for level in range(1000))
    tree = tree_of(f"{deep}.weight", f"{deep}.bias", "m0.bias")
    assert len(tree) == 1 + 1000 + 3
    assert tree.path(tree.leaf_node(1)) == f"{deep}.bias"
    assert len(list(tree.ancestors(tree.leaf_node(0)))) == 1000


def test_modules_that_interleave_are_gathered() -> None:
    tree = tree_of("a.x", "b.x", "a.y", "b.y")
    assert modules(tree) == ["a", "b"]
    assert list(tree.leaf_order) == [0, 2, 1, 3]
    assert not tree.model_ordered


def test_a_model_without_parameters_has_a_root_and_nothing_else() -> None:
    tree = tree_of()
    assert len(tree) == 1
    assert list(tree.children(0)) == []
    assert tree.repeats == {}


# --- runs of identical siblings -------------------------------------------------------------------------------------


def layers(*numbers: int, parent: str = "layer", **other: object) -> list[Param]:
    return [param(f"{parent}.{n}.{leaf}", **other) for n in numbers for leaf in ("weight", "bias")]  # type: ignore[arg-type]


def test_siblings_alike_are_one_run() -> None:
    assert runs(tree_of(*layers(0, 1, 2, 3))) == {"layer": [["0", "1", "2", "3"]]}


@pytest.mark.parametrize(
    "odd",
    [
        {"shape": (3, 2)},
        {"shape": (2, 3, 1)},
        {"dtype": "bfloat16"},
        {"dtype": None},
        {"requires_grad": False},
        {"requires_grad": None},
    ],
)
def test_one_that_differs_in_a_fact_splits_the_run(odd: dict[str, object]) -> None:
    tree = tree_of(*layers(0, 1), *layers(2, **odd), *layers(3, 4))
    assert runs(tree) == {"layer": [["0", "1"], ["3", "4"]]}


def test_one_that_differs_in_its_names_splits_the_run() -> None:
    tree = tree_of(*layers(0, 1), "layer.2.weight", "layer.2.scale", *layers(3, 4))
    assert runs(tree) == {"layer": [["0", "1"], ["3", "4"]]}


def test_a_sibling_with_one_tensor_more_splits_the_run() -> None:
    assert runs(tree_of(*layers(0, 1), "layer.1.scale", *layers(2))) == {}


def test_only_consecutive_numbers_fold() -> None:
    assert runs(tree_of(*layers(0, 1, 3, 4, 6))) == {"layer": [["0", "1"], ["3", "4"]]}
    assert runs(tree_of(*layers(2, 1, 0))) == {"layer": [["0", "1", "2"]]}, "numbers are put in their order first"
    assert runs(tree_of(*layers(4, 5, 6))) == {"layer": [["4", "5", "6"]]}


def test_siblings_with_words_for_names_do_not_fold() -> None:
    assert runs(tree_of("q.weight", "k.weight", "v.weight")) == {}
    assert runs(tree_of("m.²", "m.³")) == {}, "a superscript is no number that one counts by"


def test_numbers_that_stand_apart_do_not_fold() -> None:
    assert runs(tree_of("m.0.weight", "m.x.weight", "m.1.weight")) == {}


def test_runs_nest() -> None:
    names = [f"layer.{n}.experts.{e}.weight" for n in range(3) for e in range(4)]
    tree = tree_of(*names)
    found = runs(tree)
    assert found["layer"] == [["0", "1", "2"]]
    assert [found[f"layer.{n}.experts"] for n in range(3)] == [[["0", "1", "2", "3"]]] * 3


def test_layers_whose_parts_differ_deep_below_do_not_fold() -> None:
    names = [f"layer.{n}.experts.{e}.weight" for n in range(3) for e in range(4)]
    tree = tree_of(*names[:-1], param(names[-1], (9, 9)))
    assert runs(tree)["layer"] == [["0", "1"]]


def test_numbered_parameters_fold_like_numbered_modules() -> None:
    assert runs(tree_of("scales.0", "scales.1", "scales.2")) == {"scales": [["0", "1", "2"]]}


def test_a_parameter_and_a_module_do_not_fold() -> None:
    assert runs(tree_of("m.0", "m.1.weight")) == {}


@given(MANY)
def test_members_of_a_run_are_consecutive_siblings_alike_below(names: list[str]) -> None:
    tree = tree_of(*names)

    def below(node: int) -> list[tuple[int, str, bool]]:
        depth = len(ancestors(tree, node))
        return [
            (len(ancestors(tree, other)) - depth, tree.labels[other] if other > node else "", tree.params[other] < 0)
            for other in range(node, tree.ends[node])
        ]

    for parent, found in tree.repeats.items():
        for run in found:
            assert len(run) > 1
            assert {tree.parents[member] for member in run} == {parent}
            numbers = [int(tree.labels[member]) for member in run]
            assert numbers == list(range(numbers[0], numbers[0] + len(run)))
            assert [tree.ends[member] for member in run[:-1]] == list(run[1:])
            assert all(below(member) == below(run[0]) for member in run)
