"""Lints: each fires where DESIGN says, says nothing elsewhere, and its fix makes it go away."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from explorer.core.groups import Grouper, Grouping, Rule
from explorer.core.lints import apply_fix, is_norm, lint, try_fixes, with_sources
from explorer.core.optimizers import OPTIMIZERS
from explorer.core.options import parse_options
from explorer.core.param import Column, Finding


def findings(model, grouping, only=None):
    found = lint(model, grouping, Grouper(model).assign(grouping))
    return [each for each in found if each.id == only] if only else list(found)


def ids(model, grouping):
    return {each.id for each in findings(model, grouping)}


def after_fix(model, grouping, finding):
    return {each.id for each in findings(model, apply_fix(grouping, finding))}


CLEAN = Grouping.classic(("bias", "type:*Norm", "scale"))


def test_a_clean_grouping_has_no_findings(tiny):
    assert findings(tiny, CLEAN) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpt2", "25 of 25 norm weights decay"),
        ("llama-7b", "65 of 65 norm weights decay"),
        ("t5-small", "32 of 32 norm weights decay"),
        ("distilbert-base-uncased", "13 of 14 norm weights decay"),
        ("albert-base-v2", "1 of 4 norm weights decays"),
        ("roberta-base", "1 of 26 norm weights decays"),
    ],
)
def test_norms_that_decay_under_the_classic_recipe(architecture, name, message):
    model = architecture(name)
    (finding,) = findings(model, Grouping.classic(), "norm-decays")
    assert finding.message == message and finding.severity == "warning"
    assert len(finding.names) == int(message.split()[0])
    assert finding.fix == "no_decay += type:*Norm"
    assert "norm-decays" not in after_fix(model, Grouping.classic(), finding)


def test_roberta_s_decaying_norm_is_its_head_s(architecture):
    (finding,) = findings(architecture("roberta-base"), Grouping.classic(), "norm-decays")
    assert finding.names == ("lm_head.layer_norm.weight",)


def test_bert_comes_out_clean(architecture):
    assert findings(architecture("bert-base-uncased"), Grouping.classic()) == []


def test_t5_s_relative_attention_bias_is_a_matrix_caught_by_bias(architecture):
    model = architecture("t5-small")
    (finding,) = findings(model, Grouping.classic(), "wide-substring")
    assert len(finding.names) == 2
    assert all(name.endswith("relative_attention_bias.weight") for name in finding.names)
    assert finding.fix == "", "without its matrices the group is empty"


def test_an_expression_that_takes_a_matrix_is_told_and_what_names_its_matrices_is_not(architecture):
    model = architecture("t5-small")
    (finding,) = findings(model, Grouping.classic(("re:bias", "type:*Norm")), "wide-substring")
    assert "the expression re:bias also catches 2 matrices" in finding.message
    for term in ("glob:*relative_attention_bias.weight", "type:Embedding", "name:shared.weight"):
        assert not findings(model, Grouping.classic((term, "type:*Norm")), "wide-substring")


@pytest.mark.parametrize("name", ["t5-small", "gpt2", "llama-7b", "convnext-tiny-224", "roberta-base"])
@pytest.mark.parametrize("terms", [("bias", "LayerNorm.weight"), ("re:bias", "ln_", "weight", "!nope", "b.bias")])
def test_no_fix_makes_a_new_finding_and_following_them_comes_to_an_end(architecture, name, terms):
    model = architecture(name)
    grouping = Grouping.classic(terms)
    found = findings(model, grouping)
    for _ in range(8):
        before = Counter(each.id for each in found)
        for each in filter(lambda finding: finding.fix, found):
            after = Counter(now.id for now in findings(model, apply_fix(grouping, each)))
            assert after <= before and after != before, (grouping.rules[0].terms, each.fix)
        fixed = next((each for each in found if each.fix), None)
        if fixed is None:
            break
        grouping = apply_fix(grouping, fixed)
        found = findings(model, grouping)
    assert not any(each.fix for each in found)
    if terms[0] == "bias":
        assert found == [], grouping.rules[0].terms


TERMS = (
    "bias",
    "ln_",
    "attn*bias",
    "re:bias",
    "type:*Norm",
    "type:*Embed*",
    "ndim<2",
    "!ndim>=2",
    "!bias",
    "wei",
    "",
)
OPTIONS = ({"weight_decay": 0.0}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "optimizer": "Muon"}, {"freeze": True})


def test_no_fix_of_terms_that_was_tried_makes_a_new_finding(architecture):
    model, random = architecture("t5-small"), Random(0)
    grouper, tried, kept = Grouper(model), 0, 0
    for _ in range(60):
        rules = [Rule(f"no_decay{i}", random.sample(TERMS, 3), random.choice(OPTIONS)) for i in range(2)]
        grouping = Grouping((*rules, Rule("rest", (), random.choice(OPTIONS[:2]))))
        found = findings(model, grouping)
        before = Counter(each.id for each in found)
        for each in try_fixes(found, grouper.assign(grouping)):
            if each.fix and each.id != "inverted":
                after = Counter(now.id for now in findings(model, apply_fix(grouping, each)))
                assert after <= before and after[each.id] < before[each.id], (grouping, each.fix)
                kept += 1
        tried += sum(each.fix != "" and each.id != "inverted" for each in found)
    assert 0 < kept < tried


def test_an_option_that_is_set_right_may_uncover_what_it_hid(architecture):
    model = architecture("t5-small")
    options = {"weight_decay_rate": 0.0}
    grouping = Grouping((Rule("no_decay", ("bias", "type:*Norm"), options), Rule("rest", (), {"weight_decay": 0.1})))
    found = try_fixes(findings(model, grouping), Grouper(model).assign(grouping))
    (finding,) = [each for each in found if each.id == "ignored-option"]
    assert finding.fix and "wide-substring" in after_fix(model, grouping, finding)


def test_llama_s_empty_group_is_an_error(architecture):
    (finding,) = findings(architecture("llama-7b"), Grouping.classic(), "empty-group")
    assert finding.severity == "error" and "no_decay" in finding.message


def test_a_norm_is_known_by_its_class_or_base_and_not_by_its_name(table):
    model = table(
        [
            ("norm.weight", (2,), "Linear"),
            ("x.weight", (2,), "LlamaRMSNorm"),
            ("y.weight", (2,), "Mine _BatchNorm"),
            ("b.bias", (2,), "Linear"),
        ]
    )
    (finding,) = findings(model, Grouping.classic(("bias",)), "norm-decays")
    assert finding.names == ("x.weight", "y.weight")


def test_biases_of_norms_count_when_they_decay_too(table):
    model = table([("a.weight", (2,), "LayerNorm"), ("a.bias", (2,), "LayerNorm"), ("w", (2, 2), "Linear")])
    (finding,) = findings(model, Grouping((Rule("none", ("w",)), Rule("rest"))), "norm-decays")
    assert finding.message == "1 of 1 norm weight and 1 of 1 norm bias decay"


def test_frozen_norms_do_not_decay(table):
    model = table([("a.weight", (2,), "LayerNorm"), ("b.bias", (2,), "L")], frozen=("a.weight",))
    assert "norm-decays" not in ids(model, Grouping.classic(("bias",)))
    frozen = Grouping(
        (Rule("f", ("a",), {"freeze": True, "weight_decay": 0.1}), Rule("rest", (), {"weight_decay": 0.0}))
    )
    assert "norm-decays" not in ids(table([("a.weight", (2,), "LayerNorm"), ("b", (2,), "L")]), frozen)


def test_a_group_that_says_nothing_decays_at_its_optimizer_s_default(tiny):
    silent = Grouping((Rule("no_decay", ("bias",), {"weight_decay": 0}), Rule("decay")))
    assert "norm-decays" in ids(tiny, silent)  # AdamW: 0.01
    from dataclasses import replace

    assert "norm-decays" not in ids(tiny, replace(silent, optimizer="SGD"))  # SGD: 0


def test_the_fix_excludes_from_the_decaying_group_when_the_rest_is_spared(tiny):
    grouping = Grouping((Rule("decay", ("weight",), {"weight_decay": 0.1}), Rule("rest", (), {"weight_decay": 0.0})))
    (finding,) = findings(tiny, grouping, "norm-decays")
    assert finding.fix.startswith("decay += !type:")
    assert "norm-decays" not in after_fix(tiny, grouping, finding)


def test_no_fix_of_norms_empties_a_group_of_norms(tiny):
    norms = Rule("norms", ("type:*Norm",), {"weight_decay": 0.01})
    grouping = Grouping((Rule("spared", ("bias", "scale"), {"weight_decay": 0.0}), norms, Rule("rest")))
    (finding,) = findings(tiny, grouping, "norm-decays")
    assert finding.fix == ""


def test_unknown_module_classes_are_told_and_not_passed_over(table):
    model = table([("a.norm.weight", (2,), None), ("a.bias", (2,), None), ("a.weight", (2, 2), None)])
    (finding,) = findings(model, Grouping.classic(), "cannot-judge")
    assert finding.severity == "hint"
    assert not findings(model, Grouping.classic(), "norm-decays")


def test_where_no_classes_are_known_integers_are_told_as_untrainable(table):
    model = table([("steps", (), None), ("mask", (2,), None), ("a.weight", (2, 2), None), ("gone", (), None)])
    dtypes = Column.of(["int64", "bool", "bfloat16", "uint8"])
    model = replace(model, dtypes=dtypes, apart={3: "random state"})
    (finding,) = findings(model, Grouping.classic(), "whole-numbers")
    assert list(finding.names) == ["steps", "mask"]
    assert "2 integer tensors in groups can't be trained" in finding.message


def test_the_hints_of_a_file_come_after_the_warnings_of_its_groups(tiny):
    told = (Finding("views", "hint", "a view"), Finding("truncated", "warning", "cut short"))
    lints = findings(tiny, Grouping.classic(("bias", "layernrm.weight")))
    order = [finding.severity for finding in with_sources(replace(tiny, findings=told), lints)]
    assert order[0] == "warning" and order == sorted(order)[::-1]


def test_a_term_that_matches_nothing_is_dead_and_near_names_are_offered(tiny):
    (finding,) = findings(tiny, Grouping.classic(("bias", "layernrm.weight")), "dead-pattern")
    assert "matches nothing" in finding.message and "LayerNorm.weight" in finding.message


@pytest.mark.parametrize("name", ["gpt2", "llama-7b", "t5-small"])
def test_near_names_of_a_norm_s_term_are_norms_and_its_fix_removes_it(architecture, name):
    model = architecture(name)
    grouping = Grouping.classic(("type:*Norm", "LayerNorm.weight"))
    (finding,) = findings(model, grouping, "dead-pattern")
    near = finding.message.partition("near: ")[2].split(", ")
    norms = [param.name for param in model if is_norm(param.module_class)]
    for text in near:
        assert {each for each in model.names if text in each} <= set(norms), text
    assert finding.fix == "no_decay -= LayerNorm.weight"


def test_no_matrix_is_near_a_term_of_a_group_without_decay(tiny):
    for terms, spared in (("attn.wight", True), ("embedd", True), ("embedd", False)):
        grouping = Grouping((Rule("a", (terms,), {"weight_decay": 0.1 * (not spared)}), Rule("rest")))
        (finding,) = findings(tiny, grouping, "dead-pattern")
        assert ("near: embed" in finding.message) == (not spared)
        assert "attn.weight" not in finding.message


def test_a_term_is_not_removed_where_the_rest_would_mean_something_else(tiny):
    for terms in (("nope", "!bias"), ("!nope",), ("nope",)):
        (finding,) = findings(tiny, Grouping.classic(terms), "dead-pattern")
        assert finding.fix == ""


def test_a_term_that_names_a_tied_tensor_otherwise_is_not_dead(table):
    model = table(
        [("embed.weight", (4, 2), "Embedding"), ("scale", (2,), "L")], aliases={"embed.weight": ("head.weight",)}
    )
    assert not findings(model, Grouping.classic(("name:embed.weight", "name:head.weight")), "dead-pattern")
    assert findings(model, Grouping.classic(("scale", "name:head.weight")), "dead-pattern")


def test_a_term_that_only_matches_what_an_earlier_group_took_is_dead(tiny):
    grouping = Grouping((Rule("a", ("bias",)), Rule("b", ("attn.bias", "scale")), Rule("rest")))
    (finding,) = findings(tiny, grouping, "dead-pattern")
    assert "earlier group" in finding.message and len(finding.names) == 2
    assert "dead-pattern" not in after_fix(tiny, grouping, finding)


def test_a_term_that_another_term_of_its_group_covers_is_not_dead(tiny):
    assert not findings(tiny, Grouping.classic(("bias", "attn.bias")), "dead-pattern")


def test_an_exclusion_that_matches_nothing_is_dead(tiny):
    assert findings(tiny, Grouping.classic(("bias", "!nope")), "dead-pattern")
    assert not findings(tiny, Grouping.classic(("bias", "!attn")), "dead-pattern")


def test_a_number_cut_in_the_middle_is_told_and_fixed(tiny):
    grouping = Grouping.classic(("layer.1", "bias"))
    (finding,) = findings(tiny, grouping, "digit-boundary")
    assert all(name.startswith("layer.10.") for name in finding.names)
    assert finding.fix == "no_decay: layer.1 -> layer.1."
    fixed = apply_fix(grouping, finding)
    assert fixed.rules[0].terms == ("layer.1.", "bias")
    assert not findings(tiny, fixed, "digit-boundary")


def test_a_number_that_is_whole_everywhere_is_no_finding(tiny):
    assert not findings(tiny, Grouping.classic(("layer.10",)), "digit-boundary")


@pytest.mark.parametrize(("term", "fix"), [("attn*bias", "glob:*attn*bias*"), ("bias$", "re:bias$"), ("^nope", "")])
def test_a_plain_term_that_looks_like_a_pattern_is_told(tiny, term, fix):
    (finding,) = findings(tiny, Grouping.classic((term,)), "looks-like-glob")
    assert finding.severity == "hint"
    assert finding.fix == (f"no_decay: {term} -> {fix}" if fix else "")


def test_weight_decay_rate_is_an_error_with_its_fix(tiny):
    grouping = Grouping(
        (
            Rule("no_decay", ("bias", "type:*Norm", "scale"), {"weight_decay_rate": 0.0}),
            Rule("decay", (), {"weight_decay_rate": 0.1}),
        )
    )
    found = findings(tiny, grouping, "ignored-option")
    assert [each.severity for each in found] == ["error", "error"]
    assert "weight_decay_rate" in found[0].message and "0.01" in found[0].message
    for each in found:
        grouping = apply_fix(grouping, each)
    assert findings(tiny, grouping) == []


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("decay lr=3e-5", "decay: lr=3e-5"),
        ("lr=3e-5", "group: lr=3e-5"),
        ("norms (lr = 1e-5 weight_decay=0.0", "norms: lr=1e-5 weight_decay=0.0"),
        ("decay wd=0.2", "decay: weight_decay=0.2"),
        ("decay lr=", ""),
    ],
)
def test_an_option_in_a_group_s_name_is_an_error_and_its_fix_moves_it(tiny, name, fix):
    grouping = Grouping((*CLEAN.rules[:-1], replace(CLEAN.rules[-1], name=name)))
    (finding,) = findings(tiny, grouping)
    assert (finding.id, finding.severity) == ("option-in-name", "error")
    assert finding.fix == (f"{name} -> {fix}" if fix else "")
    if fix:
        fixed = apply_fix(grouping, finding)
        assert findings(tiny, fixed) == []
        left, _, moved = fix.partition(": ")
        assert (fixed.rules[-1].name, fixed.rules[-1].options) == (left, {"weight_decay": 0.1} | parse_options(moved))


@pytest.mark.parametrize("name", ["wide", "stage=1", "half-lr = 2", "lr", "lr=0.1"])
def test_a_name_without_an_option_or_with_one_that_is_set_is_no_finding(tiny, name):
    grouping = Grouping((*CLEAN.rules[:-1], Rule(name, (), {"weight_decay": 0.1, "lr": 0.1})))
    assert findings(tiny, grouping) == []


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_no_key_that_the_optimizer_reads_is_called_ignored(tiny, optimizer):
    options = dict.fromkeys(sorted(OPTIMIZERS[optimizer].keys), 0.0)
    grouping = Grouping((Rule("rest", (), options),), optimizer)
    assert not findings(tiny, grouping, "ignored-option")


def test_our_own_options_are_not_called_ignored(tiny):
    options = {"lr_mult": 0.5, "freeze": False, "optimizer": "SGD", "name": "x", "momentum": 0.9}
    assert not findings(tiny, Grouping((Rule("rest", (), options),)), "ignored-option")


def test_the_table_of_optimizers_is_torch_s_own():
    import inspect

    import torch

    theirs = {name for name, facts in OPTIMIZERS.items() if facts.module == "torch.optim"}
    kinds = {name for name, kind in vars(torch.optim).items() if isinstance(kind, type)}
    assert theirs == kinds - {"Optimizer"}
    for name in theirs:
        facts = OPTIMIZERS[name]
        kind = getattr(torch.optim, name)
        made = kind([torch.nn.Parameter(torch.zeros(2, 2))], lr=0.1)
        assert set(made.defaults) == facts.keys, name
        default = inspect.signature(kind).parameters.get("weight_decay")
        assert (None if default is None else default.default) == facts.weight_decay, name


@pytest.mark.parametrize(
    ("optimizer", "near"),
    [("AdamWW", "AdamW"), ("adamw", "AdamW"), ("RMSProp", "RMSprop"), ("Lion", ""), ("SOAP", ""), ("Evil", "")],
)
def test_an_optimizer_that_torch_has_not_is_a_hint_with_the_one_that_is_near(tiny, optimizer, near):
    (finding,) = findings(tiny, replace(CLEAN, optimizer=optimizer))
    assert (finding.id, finding.severity) == ("unknown-optimizer", "hint")
    assert finding.message == f"{optimizer} is none of torch.optim's optimizers" + f"; near: {near}" * bool(near)


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_a_known_optimizer_is_told_in_no_group_and_an_unknown_one_not_where_it_gets_nothing(tiny, optimizer):
    unused = Rule("unused", ("nowhere",), {"optimizer": "Evil"})
    frozen = Rule("frozen", ("bias",), {"optimizer": "Evil", "freeze": True})
    grouping = Grouping((unused, frozen, Rule("rest")), optimizer)
    assert "unknown-optimizer" not in ids(tiny, grouping)


def test_lbfgs_refuses_more_than_one_group(tiny):
    (finding,) = findings(tiny, replace(CLEAN, optimizer="LBFGS"), "refused-groups")
    assert (finding.severity, finding.message) == ("error", "LBFGS takes one group and refuses 2")
    assert not findings(tiny, Grouping((Rule("rest"),), "LBFGS"), "refused-groups")
    assert not findings(tiny, CLEAN, "refused-groups")


def test_what_an_unknown_optimizer_decays_by_default_is_not_told(tiny):
    grouping = Grouping((Rule("rest", (), {"weight_decay_rate": 0.1}),))
    assert "at its default 0.01" in findings(tiny, grouping, "ignored-option")[0].message
    (finding,) = findings(tiny, replace(grouping, optimizer="Lion"), "ignored-option")
    assert "default" not in finding.message


@pytest.mark.parametrize(("name", "rest"), [("a", 0.0), ("a", 0.05), ("no_decay", 0.0), ("no_decay", 0.05)])
def test_norms_that_decay_more_than_the_matrices_are_an_error(tiny, name, rest):
    norms = Rule(name, CLEAN.rules[0].terms, {"weight_decay": 0.1})
    (finding,) = findings(tiny, Grouping((norms, Rule("b", (), {"weight_decay": rest}))), "inverted")
    assert finding.severity == "error"
    assert finding.message == f"{name} decays at 0.1, the matrices at {rest:g}"


@pytest.mark.parametrize(("options", "rest"), [({}, 0.1), ({"weight_decay": 0.05}, 0.05)])
def test_a_no_decay_group_that_decays_less_or_alike_is_a_hint_with_its_fix(tiny, options, rest):
    grouping = Grouping((Rule("no_decay", CLEAN.rules[0].terms, options), Rule("decay", (), {"weight_decay": rest})))
    (finding,) = findings(tiny, grouping, "inverted")
    assert finding.severity == "hint"
    assert "inverted" not in after_fix(tiny, grouping, finding)
    assert not findings(tiny, grouping.rename(0, "norms"), "inverted")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lr": 0}, "g: lr=0 holds 1 tensor still"),
        ({"lr_mult": 0.0}, "g: lr_mult=0 holds 1 tensor still"),
        ({"lr": 1e-3}, None),
        ({"lr": 0, "freeze": True}, None),
        ({"lr": 0, "optimizer": "Rprop"}, None),
    ],
)
def test_a_group_that_trains_nothing_is_told_unless_it_says_so(tiny, options, said):
    found = findings(tiny, Grouping((Rule("g", ("scale",), options), Rule("rest"))), "trains-nothing")
    assert [finding.message for finding in found] == [said] * bool(said)
    assert all(list(finding.names) == ["scale"] and finding.severity == "warning" for finding in found)


def test_a_group_of_frozen_tensors_alone_is_told(table):
    rows = [("pos.weight", (2, 2), "Embedding"), ("w", (2, 2), "Linear")]
    grouping = Grouping((Rule("pos", ("pos",), {"lr": 1e-4}), Rule("rest")))
    (finding,) = findings(table(rows, frozen=["pos.weight"]), grouping, "trains-nothing")
    assert finding.message == "pos: its tensor is frozen, so no optimizer has this group"
    assert not findings(table(rows), grouping, "trains-nothing")


@pytest.mark.parametrize(
    ("options", "too_large"),
    [
        ({"lr": 50}, True),
        ({"lr": 1.0}, False),
        ({"lr": 0.9, "lr_mult": 2}, True),
        ({"lr_mult": 50}, False),
        ({"lr": 30, "optimizer": "SGD"}, False),
        ({"lr": 50, "optimizer": "SGD"}, True),
        ({"lr": 50, "optimizer": "Mine"}, False),
    ],
)
def test_a_learning_rate_that_no_training_uses_is_told(tiny, options, too_large):
    assert bool(findings(tiny, Grouping((Rule("all", (), options),)), "large-lr")) == too_large


def test_a_group_with_its_own_rate_may_hold_matrices_without_decay(tiny):
    def told(name, **options):
        rules = (Rule(name, ("attn",), {"weight_decay": 0.0, **options}), Rule("rest", (), {"weight_decay": 0.1}))
        return findings(tiny, Grouping(rules), "wide-substring")

    assert told("head") and told("head_no_decay", lr=1e-3)
    assert not told("head", lr=1e-3) and not told("head", lr_mult=10) and not told("head", optimizer="Muon")


def test_where_the_matrices_are_frozen_norms_may_decay(tiny):
    grouping = Grouping((Rule("body", ("ndim>=2",), {"freeze": True}), Rule("norms", (), {"weight_decay": 0.1})))
    assert not findings(tiny, grouping, "inverted")


def test_where_the_decay_is_misspelt_the_values_are_not_called_swapped(tiny):
    for own, rest in (("weight_decay_rate", "weight_decay_rate"), ("weight_decay", "weight_decay_rate")):
        grouping = Grouping((Rule("no_decay", CLEAN.rules[0].terms, {own: 0.02}), Rule("decay", (), {rest: 0.1})))
        assert "ignored-option" in ids(tiny, grouping) and "inverted" not in ids(tiny, grouping)


def test_a_blank_term_is_an_error_with_its_fix(tiny):
    grouping = CLEAN.with_terms(0, ("bias", " ", *CLEAN.rules[0].terms, ""))
    found = findings(tiny, grouping, "blank-term")
    assert len(found) == 2 and found[0].severity == "error"
    assert findings(tiny, apply_fix(grouping, found[0])) == []


def test_a_term_that_cannot_be_read_is_an_error(tiny):
    (finding,) = findings(tiny, CLEAN.with_terms(0, (*CLEAN.rules[0].terms, "re:a(")), "bad-term")
    assert finding.severity == "error" and "column 5" in finding.message


def test_names_of_one_tensor_in_different_groups_are_told(table):
    model = table([("embed.weight", (4, 2), "Embedding")], aliases={"embed.weight": ("a.weight", "head.weight")})
    (finding,) = findings(model, Grouping.classic(("head",)), "tied-split")
    assert finding.names == ("embed.weight", "head.weight")
    assert not findings(model, Grouping.classic(("weight",)), "tied-split")


def test_other_flat_parameters_that_decay_are_a_hint_with_its_fix(tiny):
    grouping = Grouping.classic(("type:*Norm",))
    (finding,) = findings(tiny, grouping, "one-dim-decays")
    assert finding.severity == "hint"
    assert finding.names == ("layer.1.attn.bias", "layer.10.attn.bias", "scale")
    assert "one-dim-decays" not in after_fix(tiny, grouping, finding)


def test_muon_s_refusal_is_told_before_it_raises(tiny):
    import torch

    grouping = Grouping((Rule("m", ("attn",), {"optimizer": "Muon"}), Rule("rest", (), {"weight_decay": 0.0})))
    (finding,) = findings(tiny, grouping, "refused-shape")
    assert finding.severity == "error"
    assert finding.names == ("layer.1.attn.bias", "layer.10.attn.bias")
    assert "refused-shape" not in after_fix(tiny, grouping, finding)
    with pytest.raises(ValueError, match="2D"):
        torch.optim.Muon([torch.nn.Parameter(torch.zeros(4))])


def test_errors_come_first_and_every_finding_says_why(architecture):
    found = findings(architecture("llama-7b"), Grouping.classic(("layer.1", "x*y", "", "bias")))
    order = [("error", "warning", "hint").index(each.severity) for each in found]
    assert order == sorted(order) and len(found) > 4
    assert all(each.why.endswith(".") and "\n" not in each.message for each in found)


def test_a_fix_is_applied_to_the_group_it_names():
    grouping = Grouping((Rule("a"), Rule("a += b"), Rule("rest")))
    assert apply_fix(grouping, "a += b += c").rules[1].terms == ("c",)
    assert apply_fix(grouping, "a += c").rules[0].terms == ("c",)
    with pytest.raises(ValueError, match="not a fix"):
        apply_fix(grouping, "nobody += c")
    with pytest.raises(ValueError, match="not a fix"):
        apply_fix(grouping, "")


def test_lints_take_as_many_steps_for_ten_times_the_layers(table, steps):
    def taken(layers):
        rows = [
            (
                f"model.layers.{i}.mlp.experts.{j}.{kind}",
                (2,) if "n" in kind else (2, 2),
                "FooNorm" if "n" in kind else "L",
            )
            for i in range(10, 10 + layers)
            for j in range(10, 60)
            for kind in ("up.weight", "up.bias", "down.weight", "down.bias", "w3", "w4", "n1", "n2", "n3", "s")
        ]
        model = table(rows)
        grouping = Grouping.classic(("bias", "LayerNorm.weight"))
        assignment = Grouper(model).assign(grouping)
        assert lint(model, grouping, assignment)
        return steps(lambda: lint(model, grouping, assignment))

    # 40,000 names more: a loop over them in Python would take a step for each.
    assert taken(90) == taken(9)
