"""Groups: the first match wins, everything is covered, and the fast way equals the naive loop."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.core.groups import Grouper, Grouping, Rule, moved
from explorer.core.patterns import PatternError, parse

PIECES = ["layer", "layers", "bias", "weight", "norm", "LayerNorm", "0", "1", "9", "10", "11", "21", "a1", "1a"]
TERMS = [
    "bias",
    "norm",
    "layer.1",
    "1.",
    "1",
    "layer.",
    "glob:*.1.*",
    "glob:*[02].*",
    "glob:layer*",
    r"re:\d\.",
    r"re:\.1?[0-1]\.",
    r"re:(\d)\1",
    "re:(?:a|1)*norm",
    "re:norm|bias",
    "name:layer.1.bias",
    "name:bias",
    "type:*Norm",
    "type:Base",
    "ndim<2",
    "ndim==2",
    "re:(",
    "",
    "ndim<",
]
names = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map(".".join)
kinds = st.sampled_from([None, "Linear", "FooNorm", "Foo Base", "Norm2d Base"])
shapes = st.sampled_from([None, (), (3,), (2, 3), (2, 2, 2)])
terms = st.builds(lambda sign, term: sign + term, st.sampled_from(["", "", "!"]), st.sampled_from(TERMS))
rule_terms = st.lists(st.lists(terms, max_size=4), max_size=4)


def naive(model, grouping):
    """The rules as DESIGN states them, one parameter at a time."""
    codes = []
    for param in model:
        ndim = None if param.shape is None else len(param.shape)
        for i, rule in enumerate(grouping.rules[:-1]):
            positive, negative, readable = [], [], []
            for text in rule.terms:
                try:
                    term = parse(text)
                except PatternError:
                    continue
                readable.append(term)
                (negative if term.excludes else positive).append(
                    term.test.accepts(param.name, param.module_class, ndim)
                )
            only_exclusions = bool(negative) and all(text.startswith("!") for text in rule.terms)
            if (any(positive) or only_exclusions) and not any(negative):
                codes.append(i)
                break
        else:
            codes.append(len(grouping.rules) - 1)
    return codes


def grouping_of(all_terms):
    rules = [Rule(f"g{i}", tuple(each), {}) for i, each in enumerate(all_terms)]
    return Grouping((*rules, Rule("rest")))


@given(st.lists(st.tuples(names, shapes, kinds), min_size=1, max_size=12, unique_by=lambda row: row[0]), rule_terms)
@settings(max_examples=300)
def test_the_fast_way_equals_the_naive_loop(table, rows, all_terms):
    model = table(rows)
    grouping = grouping_of(all_terms)
    assignment = Grouper(model).assign(grouping)
    assert list(assignment.codes) == naive(model, grouping)


@given(st.lists(st.tuples(names, shapes, kinds), min_size=1, max_size=12, unique_by=lambda row: row[0]), rule_terms)
def test_every_parameter_is_in_exactly_one_group_and_the_sums_add_up(table, rows, all_terms):
    model = table(rows)
    grouping = grouping_of(all_terms)
    assignment = Grouper(model).assign(grouping)
    members = [list(assignment.members(i)) for i in range(len(grouping.rules))]
    assert sorted(index for each in members for index in each) == list(range(len(model)))
    assert [len(each) for each in members] == list(assignment.tensors)
    for own, parameters, nbytes in zip(members, assignment.parameters, assignment.nbytes, strict=True):
        assert parameters == sum(model.numels[index] for index in own)
        assert nbytes == sum(model.nbytes[index] for index in own)
    for index in range(len(model)):
        reason = assignment.reasons(index)
        assert reason.rule == assignment.codes[index]
        assert reason.text.startswith(grouping.rules[reason.rule].name)


def test_a_term_that_tells_digits_apart_agrees_with_the_loop_across_many_layers(table):
    rows = [(f"layers.{i}.{kind}", (2, 2), "Linear") for i in range(400) for kind in ("weight", "bias")]
    model = table(rows)
    for term in ("layers.1", "1.bias", r"re:layers\.[0-5]\.", "name:layers.37.bias", "glob:*.3?.weight", "0"):
        grouping = Grouping.classic((term,))
        assert list(Grouper(model).assign(grouping).codes) == naive(model, grouping)


def test_more_than_256_classes_of_names_are_kept_apart(table):
    rows = [(f"{'x' * (i % 600)}.{kind}", (2,), "Linear") for i in range(600) for kind in ("weight", "bias")]
    model = table(rows)
    grouper = Grouper(model)
    assert grouper.classes.size > 512
    grouping = Grouping((Rule("a", ("bias",)), Rule("b", ("xxxxx.",)), Rule("rest")))
    assert list(grouper.assign(grouping).codes) == naive(model, grouping)


def test_first_match_wins(tiny):
    both = Grouping((Rule("a", ("bias",)), Rule("b", ("bias", "scale")), Rule("rest")))
    assert Grouper(tiny).assign(both).tensors == (3, 1, 6)


def test_classic_groups_equal_the_classic_expression(tiny):
    no_decay = ("bias", "LayerNorm.weight")
    assignment = Grouper(tiny).assign(Grouping.classic(no_decay))
    assert list(assignment.codes) == [0 if any(nd in n for nd in no_decay) else 1 for n in tiny.names]


def test_the_classic_split_of_the_reference_model(architecture):
    assignment = Grouper(architecture("kantaibert")).assign(Grouping.classic())
    assert assignment.tensors == (65, 41)
    assert assignment.parameters == (114_976, 83_389_440)


def test_typing_norm_into_llama_moves_65_tensors(architecture):
    grouper = Grouper(architecture("llama-7b"))
    before = grouper.assign(Grouping.classic())
    after = grouper.assign(Grouping.classic(("bias", "LayerNorm.weight", "norm")))
    assert [(old, new) for _, old, new in moved(before, after)] == [(1, 0)] * 65


def test_typing_layer_norm_into_roberta_moves_exactly_its_head_norm(architecture):
    model = architecture("roberta-base")
    grouper = Grouper(model)
    before = grouper.assign(Grouping.classic())
    after = grouper.assign(Grouping.classic(("bias", "LayerNorm.weight", "layer_norm")))
    assert [model.names[index] for index, _, _ in moved(before, after)] == ["lm_head.layer_norm.weight"]


def test_an_exclusion_beats_every_other_term_of_its_rule(tiny):
    assignment = Grouper(tiny).assign(Grouping.classic(("!layer.10", "bias")))
    assert [tiny.names[index] for index in assignment.members(0)] == ["layer.1.attn.bias", "layer.1.LayerNorm.bias"]


def test_a_rule_of_exclusions_alone_takes_everything_else(tiny):
    assignment = Grouper(tiny).assign(Grouping.classic(("!ndim==2", "!scale")))
    assert assignment.tensors[0] == 6


def test_a_rule_of_exclusions_with_a_blank_takes_nothing(tiny):
    assert Grouper(tiny).assign(Grouping.classic(("", "!scale"))).tensors[0] == 0


def test_a_rule_without_terms_takes_nothing(tiny):
    assert Grouper(tiny).assign(Grouping.classic(())).tensors == (0, 10)


def test_a_bad_term_is_told_and_takes_no_part(tiny):
    assignment = Grouper(tiny).assign(Grouping.classic(("bias", "", "re:a(", "ndim<")))
    assert assignment.tensors[0] == 3
    assert [(p.rule, p.term, p.column, p.kind) for p in assignment.problems] == [
        (0, 1, 0, "blank"),
        (0, 2, 4, "syntax"),
        (0, 3, 4, "syntax"),
    ]
    assert assignment.problems == Grouping.classic(("bias", "", "re:a(", "ndim<")).problems()


def test_a_term_that_is_too_slow_is_told_and_takes_no_part(table):
    model = table([("a" * 50, (2,), None), ("bias", (2,), None)])
    assignment = Grouper(model, seconds=0.1).assign(Grouping.classic(("re:(a|a)*b$", "bias")))
    assert [problem.kind for problem in assignment.problems] == ["too-slow"]
    assert assignment.tensors == (1, 1)


def test_reasons_name_the_terms_and_what_kept_a_parameter_out(tiny):
    grouping = Grouping((Rule("a", ("attn", "bias", "!10")), Rule("b", ("layer",)), Rule("rest")))
    assignment = Grouper(tiny).assign(grouping)
    bias = assignment.reasons(tiny.names.index("layer.1.attn.bias"))
    assert bias.texts == ("attn", "bias") and bias.text == 'a because "attn"'
    out = assignment.reasons(tiny.names.index("layer.10.attn.bias"))
    assert out.group == "b" and out.excluded == (("a", "!10"),)
    assert assignment.reasons(0).text == "rest because no rule above takes it"


def test_an_unknown_size_makes_its_groups_bytes_unknown_and_no_others(table):
    from dataclasses import replace

    from explorer.core.param import Model

    model = table([("a.bias", (2,), None), ("b", (3,), None)])
    rows = [replace(row, nbytes=None) if row.name == "b" else row for row in model]
    unknown = Model.from_params(model.origin, rows)
    assert Grouper(unknown).assign(Grouping.classic()).nbytes == (8, None)
    assert Grouper(unknown).assign(Grouping.classic(("1", "b"))).nbytes == (None, 0)


def test_aliases_get_the_group_that_their_own_name_would(table):
    model = table([("embed.weight", (4, 2), "Embedding")], aliases={"embed.weight": ("head.weight", "head2.weight")})
    assignment = Grouper(model).assign(Grouping.classic(("head2",)))
    assert (list(assignment.codes), list(assignment.alias_codes)) == ([1], [1, 0])


def test_moved_refuses_another_model(tiny, table):
    one = Grouper(tiny).assign(Grouping.classic())
    other = Grouper(table([("a", (1,), None)])).assign(Grouping.classic())
    with pytest.raises(ValueError, match="different models"):
        moved(one, other)


def test_an_empty_model_has_empty_groups(table):
    assignment = Grouper(table([])).assign(Grouping.classic(("bias", "1", "re:x")))
    assert (assignment.codes, assignment.tensors, assignment.nbytes) == (b"", (0, 0), (0, 0))


def test_edits_return_new_groups_and_keep_the_catch_all_last():
    start = Grouping.classic()
    new = start.add_rule()
    assert [rule.name for rule in new.rules] == ["no_decay", "group", "decay"] and len(start.rules) == 2
    assert [rule.name for rule in new.add_rule().rules] == ["no_decay", "group", "group_2", "decay"]
    assert [rule.name for rule in new.move(1, 0).rules] == ["group", "no_decay", "decay"]
    assert [rule.name for rule in new.move(0, 9).rules] == ["group", "no_decay", "decay"]
    assert new.remove(1) == start
    assert start.rename(0, "x").rules[0].name == "x"
    assert start.with_terms(0, ["a"]).rules[0].terms == ("a",)
    assert start.with_options(1, {"lr": 1.0}).rules[1].options == {"lr": 1.0}
    assert start.rule("decay") == start.catch_all == 1


@pytest.mark.parametrize(
    "edit",
    [
        lambda g: g.remove(1),
        lambda g: g.remove(-1),
        lambda g: g.move(1, 0),
        lambda g: g.with_terms(1, ["a"]),
        lambda g: g.rename(1, "no_decay"),
        lambda g: Grouping(()),
        lambda g: Grouping(tuple(Rule(f"r{i}") for i in range(256))),
    ],
)
def test_an_edit_that_would_break_the_groups_is_refused(edit):
    with pytest.raises(ValueError, match="group"):
        edit(Grouping.classic())


def test_255_groups_are_told_apart(table):
    model = table([(f"p{'x' * i}.", (1,), None) for i in range(254)])
    rules = [Rule(f"r{i}", (f"p{'x' * i}.",)) for i in range(254)]
    assert list(Grouper(model).assign(Grouping((*rules, Rule("rest")))).codes) == list(range(254))


def test_regrouping_takes_as_many_steps_for_ten_times_the_layers(table, steps):
    def taken(layers):
        rows = [
            (f"model.layers.{i}.mlp.experts.{j}.{kind}", (2, 2), "Linear")
            for i in range(10, 10 + layers)
            for j in range(10, 60)
            for kind in (
                "up.weight",
                "up.bias",
                "down.weight",
                "down.bias",
                "gate.weight",
                "gate.bias",
                "n1",
                "n2",
                "n3",
                "s",
            )
        ]
        grouper = Grouper(table(rows))

        def typed():  # no mask is remembered
            for word in ("b", "bi", "bia", "bias", "bias_"):
                grouper.assign(Grouping.classic((word, "LayerNorm.weight")))

        return steps(typed)

    # 40,000 names more: a loop over them in Python would take a step for each.
    assert taken(90) == taken(9)


def test_the_texts_of_a_group_are_made_visible_as_the_names_are_that_they_match(table):
    evil, shown = "a\x1b\nb", r"a\x1b\nb"
    grouping = Grouping((Rule(evil, (evil,), {evil: 1, "optimizer": evil}), Rule("rest")), evil)
    rule = grouping.rules[0]
    assert (rule.name, rule.terms, rule.options) == (shown, (shown,), {shown: 1, "optimizer": shown})
    assert grouping.optimizer == shown
    model = table([(shown, (2,), None), ("other", (2,), None)])
    assert Grouper(model).assign(grouping).codes == bytes([0, 1])
    with pytest.raises(ValueError, match="two groups"):
        Grouping((Rule(evil), Rule(shown)))
