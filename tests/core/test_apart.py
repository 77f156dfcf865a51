"""Tensors of a file that are no parameters: they have rows, and no sum, group or lint of parameters has them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from explorer.core.groups import NO_GROUP, Grouper, Grouping, Rule
from explorer.core.lints import lint
from explorer.core.listing import FORMATS, Listing
from explorer.core.memory import memory_column, training_memory
from explorer.core.totals import other_counts, tensors_text, totals
from explorer.core.tree import Tree
from explorer.core.view import TreeView
from explorer.core.wire import decode, encode
from explorer.core.workbench import Workbench

ROWS = [
    ("0.weight", (4, 3), "Linear"),
    ("0.bias", (4,), "Linear"),
    ("1.weight", (4,), "BatchNorm1d _NormBase"),
    ("1.bias", (4,), "BatchNorm1d _NormBase"),
    ("1.running_mean", (4,), "BatchNorm1d _NormBase"),
    ("1.count", (), "BatchNorm1d _NormBase"),
    ("state.0.exp_avg", (4, 3), None),
]
APART = {4: "buffer", 5: "buffer", 6: "optimizer state"}
NORMS = Grouping((Rule("no_decay", ("type:*Norm*",), {"weight_decay": 0.0}), Rule("decay")))
DIGITS = Grouping((Rule("second", ("re:^1",), {"weight_decay": 0.0}), Rule("rest")))
MANY = Grouping((*(Rule(f"g{i}", (f"re:^{i}",)) for i in range(8)), Rule("rest")))


@pytest.fixture
def model(table):
    return replace(table(ROWS), apart=APART)


@pytest.fixture
def plain(table):
    """The same model without what is no parameter."""
    return table(ROWS[:4])


def printed(model, form, grouping=NORMS):
    assignment = Grouper(model).assign(grouping)
    return "".join(FORMATS[form](Listing(model, assignment)))


def test_a_file_of_optimizer_state_alone_is_called_that_and_its_groups_are_not_judged(table):
    model = replace(table([ROWS[6]] * 2), apart={0: "optimizer state", 1: "optimizer state"})
    (finding,) = lint(model, NORMS, Grouper(model).assign(NORMS))
    assert (finding.id, finding.severity) == ("no-parameters", "error")
    assert finding.message == "no parameter to group among 2 tensors: optimizer state"
    assert not lint(table([]), NORMS, Grouper(table([])).assign(NORMS))


def test_sums_and_the_running_total_are_those_of_the_parameters(model, plain):
    assert model.total == plain.total == 24
    assert list(model.running()) == [*plain.running(), 24, 24, 24]
    assert (totals(model).tensors, totals(model).parameters) == (7, 24)
    assert totals(model).trainable == totals(plain).trainable
    assert totals(model).nbytes == totals(plain).nbytes + 4 * 17


@pytest.mark.parametrize("grouping", [NORMS, DIGITS, MANY], ids=["by class", "by row", "by row, many"])
def test_groups_hold_what_they_hold_without_them(model, plain, grouping):
    ours, theirs = (Grouper(each).assign(grouping) for each in (model, plain))
    for figure in ("tensors", "parameters", "nbytes"):
        assert getattr(ours, figure) == getattr(theirs, figure)
    assert ours.groups == theirs.groups + bytes([NO_GROUP] * 3)
    assert [ours.group(index) for index in (3, 4)] == [theirs.group(3), None]
    for rule in range(len(grouping.rules)):
        assert list(ours.members(rule)) == list(theirs.members(rule))
    assert Grouper(model).codes(grouping) == ours.groups


@pytest.mark.parametrize("grouping", [Grouping.classic(), DIGITS])
def test_no_lint_names_or_counts_them(model, plain, grouping):
    found = [lint(each, grouping, Grouper(each).assign(grouping)) for each in (model, plain)]
    assert [finding.message for finding in found[0]] == [finding.message for finding in found[1]]
    assert not {model.names[index] for index in APART} & {name for each in found[0] for name in each.names}


def test_a_term_that_matches_only_them_is_told_as_without_effect(model):
    grouping = Grouping((Rule("spared", ("running_mean",), {"weight_decay": 0.0}), Rule("rest")))
    found = {finding.id for finding in lint(model, grouping, Grouper(model).assign(grouping))}
    assert {"empty-group", "dead-pattern"} <= found


@pytest.mark.parametrize("grouping", [NORMS, DIGITS])
def test_training_memory_does_not_count_them(model, plain, grouping):
    ours, theirs = (Grouper(each).assign(grouping) for each in (model, plain))
    assert training_memory(ours) == training_memory(theirs)
    assert list(memory_column(ours)) == [*memory_column(theirs), 0, 0, 0]


def test_they_never_move_between_groups(model):
    bench = Workbench(model, NORMS)
    bench.change(DIGITS)
    assert not any(bench.moved[index] for index in APART)
    assert not {move.index for move in bench.moves()} & set(APART)
    assert [bench.stats(rule).tensors for rule in (0, 1)] == [2, 2]


def test_a_row_of_them_alone_adds_nothing_and_says_what_it_is(model):
    view = TreeView(Tree.build(model))
    view.open_below(0)
    for row in range(len(view.rows)):
        indices = view.params(row)
        alone = set(indices) <= set(APART)
        assert view.apart(row) == (APART[indices[0]] if alone else "")
        assert view.numel(row) == sum(model.numels[index] for index in indices if index not in APART)
        assert view.elements(row) == sum(model.numels[index] for index in indices)


def test_a_view_that_learns_of_them_sums_anew(model):
    view = TreeView(Tree.build(replace(model, apart={})))
    assert view.shown_numel == 24 + 17
    view.learn(model)
    assert view.shown_numel == view.running_at(6) == 24


def test_every_print_says_what_they_are(model):
    table = printed(model, "table")
    assert "7 tensors (2 buffers, 1 optimizer state) · 24 parameters" in table
    assert [line.split()[-1] for line in table.splitlines()[5:7]] == ["(buffer)", "(buffer)"]
    rows = json.loads(printed(model, "json"))["parameters"]
    assert [(row["group"], row["notes"]) for row in rows[3:5]] == [("no_decay", None), (None, "buffer")]
    assert [row["numel"] for row in rows[4:]] == [4, 1, 12]
    cells = list(csv.DictReader(io.StringIO(printed(model, "csv"))))
    assert [(row["group"], row["notes"]) for row in cells[3:5]] == [("no_decay", ""), ("", "buffer")]


def test_the_printed_loop_is_the_one_over_the_parameters(table):
    # A parameter after a buffer, as the second layer of a module.
    model = replace(table([ROWS[4], *ROWS[:2]]), apart={0: "buffer"})
    assert printed(model, "loop") == "0 4 3 12\n1 4 4\n16\n"


def test_the_other_counts_add_up(model):
    counts = {count.name: (count.tensors, count.elements) for count in other_counts(model)}
    assert counts == {"all tensors of the file": (7, 41), "buffers": (2, 5), "optimizer state": (1, 12)}
    assert tensors_text(model) == "7 tensors (2 buffers, 1 optimizer state)"


def test_they_cross_a_process_boundary(model):
    assert decode(encode(model)).apart == APART
    assert decode(encode(model))[4].apart == "buffer"


def test_the_group_of_a_row_is_told_without_a_walk_over_the_others(table, steps):
    model = table([(f"{index}.weight", (2,), None) for index in range(2000)])
    assignment = Grouper(replace(model, apart=dict.fromkeys(range(1, 2000), "buffer"))).assign(NORMS)
    assert (assignment.group(0), assignment.group(1)) == ("decay", None)
    assert steps(lambda: assignment.group(0)) < 20
