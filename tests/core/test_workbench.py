"""Trying out groups: each keystroke regroups, a mistake loses nothing, and every step is undone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import kantaibert

from explorer.core.draft import Draft
from explorer.core.fixes import apply_fix
from explorer.core.groups import Grouping, Rule
from explorer.core.workbench import Move, Workbench

LEFT_OUT = "lm_head.layer_norm.weight"
"""The norm weight that the classic recipe decays."""


MODEL = kantaibert()


@pytest.fixture
def bench() -> Workbench:
    return Workbench(MODEL, Grouping.classic())


def type_terms(bench: Workbench, terms: str, rule: int = 0) -> None:
    """Type a terms line over the one that stands there."""
    now = bench.typed.rules[rule]
    options = " ".join(f"{key}={value!r}" for key, value in now.options.items())
    bench.type_rule(rule, now.name, options, terms)


def type_options(bench: Workbench, options: str, rule: int = 0) -> None:
    now = bench.typed.rules[rule]
    bench.type_rule(rule, now.name, options, ", ".join(now.terms))


def tensors(bench: Workbench) -> list[int]:
    return [bench.stats(rule).tensors for rule in range(len(bench.assignment.grouping.rules))]


def warnings(bench: Workbench) -> list[str]:
    return [finding.id for finding in bench.findings if finding.severity == "warning"]


# --- keystrokes -----------------------------------------------------------------------------------------------------


def test_the_classic_recipe_splits_the_reference_model_as_published(bench: Workbench) -> None:
    stats = [bench.stats(rule) for rule in range(2)]
    assert [(one.tensors, one.parameters) for one in stats] == [(65, 114_976), (41, 83_389_440)]
    assert stats[0].first[0] == "roberta.embeddings.LayerNorm.weight"


def test_every_keystroke_regroups(bench: Workbench) -> None:
    line = "bias, LayerNorm.weight"
    seen = []
    for end in range(1, len(line) + 1):
        type_terms(bench, line[:end])
        terms = [term.strip() for term in line[:end].split(",")]
        expected = sum(any(nd in name for nd in terms if nd) for name in MODEL.names)
        assert tensors(bench) == [expected, 106 - expected], line[:end]
        seen.append(expected)
    assert len(set(seen)) > 2, "and what is typed half matters"


def test_one_pattern_more_moves_one_tensor_and_its_warning_goes(bench: Workbench) -> None:
    assert warnings(bench) == ["norm-decays"]
    assert bench.indices([LEFT_OUT]) == [index for index, warned in enumerate(bench.warned) if warned]
    type_terms(bench, "bias, LayerNorm.weight, layer_norm")
    assert bench.moves() == [Move(MODEL.names.index(LEFT_OUT), "decay", "no_decay")]
    assert [(bench.stats(rule).came, bench.stats(rule).left) for rule in range(2)] == [(1, 0), (0, 1)]
    assert sum(bench.moved) == 1
    assert warnings(bench) == []
    assert not any(bench.warned)


@pytest.mark.parametrize("terms", ["", " ", ",", "bias,,LayerNorm.weight", "bias, ", ", bias"])
def test_a_blank_pattern_is_dropped_with_a_notice_and_matches_nothing(bench: Workbench, terms: str) -> None:
    type_terms(bench, terms)
    named = [term.strip() for term in terms.split(",") if term.strip()]
    assert tensors(bench)[0] == sum(any(term in name for term in named) for name in MODEL.names)
    assert not bench.stale
    if terms.strip():
        assert "blank-term" in [finding.id for finding in bench.findings]


# --- what is typed wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("terms", ["re:(", "bias, re:[", "ndim<", "ndim<x", "!", "type:", r"re:(\w+\.?)+z$"])
def test_a_bad_term_keeps_the_last_good_result_and_says_where(bench: Workbench, terms: str) -> None:
    before = bench.assignment
    type_terms(bench, terms)
    assert bench.stale
    assert bench.assignment is before
    assert bench.assignment.grouping == Grouping.classic()
    assert bench.typed.rules[0].terms != before.grouping.rules[0].terms, "what is typed is not taken away"
    lines = bench.trouble(0)
    assert lines
    assert all(line.startswith("column ") for line in lines)
    type_terms(bench, "bias")
    assert not bench.stale
    assert bench.trouble(0) == ()
    assert tensors(bench)[0] == sum("bias" in name for name in MODEL.names)


def test_the_column_counts_from_the_beginning_of_the_line(bench: Workbench) -> None:
    type_terms(bench, "bias, re:a(")
    (line,) = bench.trouble(0)
    assert line.startswith("column 11: "), "the bracket, counted from 1"


def test_options_that_can_not_be_read_keep_the_last_and_say_where(bench: Workbench) -> None:
    type_options(bench, "weight_decay=x")
    assert bench.typed.rules[0].options == {"weight_decay": 0.0}
    (line,) = bench.trouble(0)
    assert line.startswith("options, column 14: ")
    assert bench.trouble(1) == ()
    assert bench.changed
    type_options(bench, "weight_decay=0.5")
    assert bench.typed.rules[0].options == {"weight_decay": 0.5}
    assert bench.trouble(0) == ()


def test_as_typed_says_what_the_fields_say_also_where_they_can_not_be_read(bench: Workbench) -> None:
    assert bench.draft == Draft(Grouping.classic())
    bench.type_rule(0, "no_decay", "weight_decay=0.0", "bias, layer")
    assert bench.draft == Draft(bench.typed)
    bench.type_rule(0, "no_decay", "weight_decay=", "bias, re:(, layer")
    typed = bench.draft
    assert typed.grouping.rules[0].terms == ("bias", "layer"), "all that can be read"
    assert typed.fields == {0: ("no_decay", "weight_decay=", "bias, re:(, layer")}
    bench.change(bench.typed.add_rule(Rule("more"), 1))
    typed = bench.draft
    assert [rule.name for rule in typed.grouping.rules] == ["no_decay", "more", "decay"]
    assert typed.fields[0][2] == "bias, re:(, layer", "a bad term stays one while another group is made"
    bench.type_rule(0, "no_decay", "weight_decay=0.0", "bias")
    assert bench.draft == Draft(bench.typed)


@pytest.mark.parametrize("name", ["", "   ", "decay"])
def test_a_name_that_is_blank_or_taken_is_refused_and_told(bench: Workbench, name: str) -> None:
    bench.type_rule(0, name, "weight_decay=0.0", "bias")
    assert bench.names == ("no_decay", "decay")
    assert len(bench.trouble(0)) == 1
    assert bench.typed.rules[0].terms == ("bias",), "the other fields are taken all the same"


def test_a_fix_that_renames_a_group_moves_nothing(bench: Workbench) -> None:
    bench.type_rule(1, "decay lr=3e-5", "weight_decay=0.1", "")
    bench.change(apply_fix(bench.typed, "decay lr=3e-5 -> decay: lr=3e-5"))
    assert bench.names == ("no_decay", "decay")
    assert bench.moves() == []
    bench.change(bench.typed.rename(1, "rest"))
    assert bench.moves() == []


def test_renaming_a_group_moves_nothing(bench: Workbench) -> None:
    bench.type_rule(0, "spared", "weight_decay=0.0", "bias, LayerNorm.weight")
    assert bench.names == ("spared", "decay")
    assert bench.moves() == [] and not any(bench.moved)
    assert (bench.stats(0).came, bench.stats(0).left) == (0, 0)
    bench.change(bench.typed.with_terms(0, ("bias",)))
    assert {(move.source, move.target) for move in bench.moves()} == {("no_decay", "decay")}
    bench.undo()
    bench.undo()
    bench.redo()
    assert bench.names == ("spared", "decay") and bench.moves() == []
    bench.restore()
    assert bench.names == ("no_decay", "decay") and bench.moves() == []


def test_a_group_that_takes_the_name_of_one_that_is_gone_is_another(bench: Workbench) -> None:
    bench.change(Grouping((Rule("a", ("bias",), {}), bench.typed.rules[1])))
    bench.type_rule(0, "no_decay", "", "bias")
    assert {move.target for move in bench.moves()} == {"no_decay", "decay"}
    assert bench.stats(0).came == 52


def test_the_terms_of_the_catch_all_are_not_read(bench: Workbench) -> None:
    bench.type_rule(1, "decay", "weight_decay=0.2", "whatever")
    assert bench.typed.rules[1] == Rule("decay", (), {"weight_decay": 0.2})


# --- kept and restored ----------------------------------------------------------------------------------------------


def test_restore_comes_back_to_what_was_kept(bench: Workbench) -> None:
    type_terms(bench, "bias")
    bench.keep()
    kept = bench.typed
    assert not bench.changed
    assert bench.moves() == [], "moves count from what was kept"
    type_terms(bench, "weight, re:(")
    type_options(bench, "nonsense")
    assert bench.changed
    bench.restore()
    assert bench.typed == bench.assignment.grouping == kept
    assert not bench.changed
    assert not bench.stale
    assert bench.trouble(0) == ()


def test_moves_go_by_the_names_of_the_groups_and_not_by_their_places(bench: Workbench) -> None:
    rules = bench.typed.rules
    bench.change(Grouping((Rule("none", ("no such name",), {}), *rules)))
    assert bench.moves() == []
    assert [bench.stats(rule).came for rule in range(3)] == [0, 0, 0]
    bench.change(Grouping((Rule("heads", ("lm_head",), {}), *rules)))
    assert {(move.source, move.target) for move in bench.moves()} == {("no_decay", "heads"), ("decay", "heads")}
    assert bench.stats(0).came == 5
    assert bench.stats(1).left + bench.stats(2).left == 5


# --- undo -----------------------------------------------------------------------------------------------------------


def test_keystrokes_in_one_field_are_one_step_of_undo(bench: Workbench) -> None:
    for text in ("bias, l", "bias, la", "bias, lay"):
        type_terms(bench, text)
    for text in ("weight_decay=0.01", "weight_decay=0.02"):
        type_options(bench, text)
    assert bench.undo()
    assert bench.typed.rules[0].options == {"weight_decay": 0.0}
    assert bench.typed.rules[0].terms == ("bias", "lay")
    assert bench.undo()
    assert bench.typed == Grouping.classic()
    assert not bench.undo(), "nothing is left to undo"
    assert bench.redo()
    assert bench.redo()
    assert bench.typed.rules[0].options == {"weight_decay": 0.02}
    assert not bench.redo()


def test_typing_after_an_undo_forgets_what_was_undone(bench: Workbench) -> None:
    type_terms(bench, "bias")
    bench.undo()
    type_terms(bench, "weight")
    assert not bench.redo()
    assert bench.typed.rules[0].terms == ("weight",)


def test_restore_can_be_undone(bench: Workbench) -> None:
    type_terms(bench, "bias")
    assert bench.restore()
    assert bench.undo()
    assert bench.typed.rules[0].terms == ("bias",)
    bench.undo()
    type_options(bench, "nonsense")
    assert bench.changed and not bench.restore(), "what is in no draft is not brought back"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("terms"), st.sampled_from(["bias", "norm", "re:(", "", "ndim<2", "a, b", "lm_head"])),
        st.tuples(st.just("options"), st.sampled_from(["weight_decay=0.1", "lr=1", "oops", ""])),
        st.tuples(st.just("change"), st.sampled_from(["one", "two"])),
        st.tuples(st.sampled_from(["keep", "restore", "undo", "redo"]), st.just("")),
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(STEPS)
def test_after_any_steps_the_assignment_is_that_of_the_last_good_groups(steps: list[tuple[str, str]]) -> None:
    bench = Workbench(MODEL, Grouping.classic())
    drafts = [bench.typed]
    for what, text in steps:
        if what == "terms":
            type_terms(bench, text)
        elif what == "options":
            type_options(bench, text)
        elif what == "change":
            bench.change(Grouping.classic([text]))
        else:
            getattr(bench, what)()
        drafts.append(bench.typed)
        fresh = Workbench(MODEL, bench.assignment.grouping)
        assert fresh.assignment.codes == bench.assignment.codes
        assert fresh.findings == bench.findings or bench.stale
        assert bench.stale is (bench.assignment.grouping != bench.typed)
        assert sum(tensors(bench)) == len(MODEL)
        assert sum(bench.stats(rule).parameters for rule in range(len(bench.names))) == MODEL.total
        assert sum(bench.moved) == len(bench.moves())
    while bench.undo():
        assert bench.typed in drafts
    assert bench.typed == Grouping.classic(), "undo leads back to the beginning"


def test_an_adapter_opens_without_an_error_of_groups_that_nobody_chose(table):
    bench = Workbench(table([(f"q.lora_{kind}.weight", (2, 2), None) for kind in "AB"]), Grouping.classic())
    assert {finding.severity for finding in bench.findings} == {"hint"}
    bench.change(Grouping.classic(("bias",)))
    assert "error" in {finding.severity for finding in bench.findings}
