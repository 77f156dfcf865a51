"""Presets: each splits as the code it comes from does, on real models."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise

import pytest

from explorer.core.groups import Grouper, Grouping
from explorer.core.lint_scene import Scene
from explorer.core.lints import lint
from explorer.core.presets import PRESETS, matrix

torch = pytest.importorskip("torch")

NAMES = ["gpt2", "llama-7b", "t5-small", "roberta-base", "mixtral-8x7b", "vit-base-patch16-224", "convnext-tiny-224"]


def module_of(name):
    import transformers

    config = json.loads((files("explorer.sources") / "architectures" / f"{name}.json").read_text())["config"]
    kind = getattr(transformers, config["architectures"][0])
    with torch.device("meta"):
        return kind(kind.config_class.from_dict(config))


def decaying(model, grouping):
    scene = Scene(model, grouping, Grouper(model).assign(grouping))
    return set(scene.names(scene.decaying))


def test_every_preset_says_where_it_comes_from():
    for name, preset in PRESETS.items():
        assert preset.name == name and preset.source and preset.rule and preset.title


@pytest.mark.parametrize("name", NAMES)
def test_hf_trainer_decays_what_transformers_own_function_decays(architecture, name):
    from transformers import Trainer

    model = architecture(name)
    theirs = set(Trainer.get_decay_parameter_names(None, module_of(name))) & set(model.names)
    build = PRESETS["hf_trainer"].build
    assert decaying(model, build(model)) == theirs
    assert decaying(model, build(model, decay_names=theirs)) == theirs


def test_hf_trainer_follows_the_names_it_is_given(architecture):
    model = architecture("roberta-base")
    wanted = {"lm_head.layer_norm.weight", "roberta.embeddings.word_embeddings.weight", "an.alias.it.lacks"}
    got = decaying(model, PRESETS["hf_trainer"].build(model, decay_names=wanted))
    assert got == wanted & set(model.names)


@pytest.mark.parametrize("name", NAMES)
def test_nanogpt_decays_two_dimensions_and_more(architecture, name):
    model = architecture(name)
    theirs = {n for n, p in module_of(name).named_parameters() if p.dim() >= 2}
    assert decaying(model, PRESETS["nanogpt"].build(model)) == theirs


@pytest.mark.parametrize("name", NAMES)
def test_timm_spares_one_dimension_biases_and_the_model_s_own_list(architecture, name):
    model = architecture(name)
    own = {model.names[0], "not.there"}
    theirs = {
        n for n, p in module_of(name).named_parameters() if not (p.ndim <= 1 or n.endswith(".bias") or n in own)
    }
    assert decaying(model, PRESETS["timm"].build(model, no_weight_decay=own)) == theirs


def test_timm_spares_a_bias_of_two_dimensions(table):
    model = table([("a.bias", (2, 2), None), ("a.weight", (2, 2), None)])
    assert decaying(model, PRESETS["timm"].build(model)) == {"a.weight"}


def test_run_glue_is_the_classic(architecture):
    assert PRESETS["run_glue"].build(architecture("gpt2")) == Grouping.classic()


@pytest.mark.parametrize("name", NAMES)
def test_muon_gets_hidden_matrices_only(architecture, name):
    model = architecture(name)
    grouping = PRESETS["muon"].build(model)
    assignment = Grouper(model).assign(grouping)
    members = [model[index] for index in assignment.members(0)]
    assert all(len(param.shape) == 2 for param in members)
    assert not any("Embedding" in param.module_class.name for param in members)
    assert not any(word in param.name for param in members for word in ("lm_head", "wte", "shared", "classifier"))
    hidden = [
        p for p in model if p.shape and len(p.shape) == 2 and ".0." in p.name and p.module_class.name == "Linear"
    ]
    assert {p.name for p in hidden} <= {p.name for p in members}
    assert not assignment.problems


@pytest.mark.parametrize("name", NAMES)
def test_layerwise_rates_rise_by_the_factor_from_layer_to_layer(architecture, name):
    model = architecture(name)
    grouping = PRESETS["layerwise"].build(model, rate=0.5)
    assignment = Grouper(model).assign(grouping)
    rate = {i: rule.options["lr_mult"] for i, rule in enumerate(grouping.rules)}
    assert all(assignment.tensors)
    rates = sorted(set(rate.values()))
    assert all(high / low == pytest.approx(2, rel=1e-4) for low, high in pairwise(rates))
    for index, param in enumerate(model):
        decay = grouping.rules[assignment.codes[index]].options["weight_decay"]
        assert bool(decay) == (len(param.shape) >= 2)


def test_layerwise_gives_roberta_one_rate_a_layer(architecture):
    model = architecture("roberta-base")
    grouping = PRESETS["layerwise"].build(model, rate=0.9)
    assignment = Grouper(model).assign(grouping)
    for index, name in enumerate(model.names):
        multiplier = grouping.rules[assignment.codes[index]].options["lr_mult"]
        if ".layer." in name:
            layer = int(name.split(".layer.")[1].split(".")[0])
            assert multiplier == pytest.approx(0.9 ** (12 - layer), rel=1e-5)
        else:
            assert multiplier == pytest.approx(0.9**13 if "embeddings" in name else 1.0, rel=1e-5)


def test_a_layer_s_prefix_inside_another_tower_s_name_is_not_mistaken(table):
    rows = [(f"{tower}.layers.{i}.w", (4, 4), "Linear") for tower in ("vision_model", "model") for i in range(12)]
    model = table(rows)
    grouping = PRESETS["layerwise"].build(model, rate=0.5)
    assignment = Grouper(model).assign(grouping)
    assert set(assignment.tensors[:-1]) == {1}
    for index, name in enumerate(model.names):
        tower, _, number, _ = name.split(".")
        assert grouping.rules[assignment.codes[index]].name == f"{tower}_layer_{number}"


def layerwise_groups(model):
    grouping = PRESETS["layerwise"].build(model, rate=0.5)
    rules = [grouping.rules[code] for code in Grouper(model).assign(grouping).codes]
    return {name: (rule.name, rule.options["lr_mult"]) for name, rule in zip(model.names, rules, strict=True)}


def test_each_stack_counts_from_its_own_top_in_groups_of_its_own(table):
    own = [("a.embed.w", "Embedding"), *((f"a.h.{i}.w", "Linear") for i in range(2)), ("a.out.w", "Linear")]
    other = [("b.embed.w", "Embedding"), *((f"b.h.{i}.w", "Linear") for i in range(3)), ("b.out.w", "Linear")]
    rows = [("shared.w", "Embedding"), *own, ("bridge.w", "Linear"), *other]
    assert layerwise_groups(table([(f"m.{name}", (4, 4), kind) for name, kind in rows])) == {
        "m.shared.w": ("embeddings", 0.0625),
        "m.a.embed.w": ("a_embeddings", 0.125),
        "m.a.h.0.w": ("a_layer_0", 0.25),
        "m.a.h.1.w": ("a_layer_1", 0.5),
        "m.a.out.w": ("head", 1.0),
        "m.bridge.w": ("head", 1.0),
        "m.b.embed.w": ("b_embeddings", 0.0625),
        "m.b.h.0.w": ("b_layer_0", 0.125),
        "m.b.h.1.w": ("b_layer_1", 0.25),
        "m.b.h.2.w": ("b_layer_2", 0.5),
        "m.b.out.w": ("head", 1.0),
    }


def test_a_small_tower_beside_a_large_model_is_a_stack_too(architecture):
    groups = layerwise_groups(architecture("llava-1.5-7b"))
    top = "model.vision_tower.encoder.layers.23.mlp.fc1.weight"
    assert groups[top] == ("vision_tower_layer_23", 0.5)


def test_lists_of_one_module_follow_one_another_as_in_a_resnet(table):
    model = table([(f"layer{n}.{i}.w", (4, 4), "Conv2d") for n in (1, 2) for i in (0, 1)])
    rates = [rate for _, rate in layerwise_groups(model).values()]
    assert rates == [0.0625, 0.125, 0.25, 0.5]


def test_a_lone_number_stands_with_the_head_and_a_token_with_the_embeddings(table):
    rows = [("logit_scale", ()), ("logit_bias", (1,)), ("cls_token", (1, 1, 4)), ("h.0.w", (4, 4)), ("h.1.w", (4, 4))]
    groups = layerwise_groups(table([(name, shape, "Net") for name, shape in rows]))
    assert [groups[name][1] for name in ("logit_scale", "logit_bias", "cls_token")] == [1.0, 1.0, 0.125]


@pytest.mark.parametrize("name", ["t5-small", "gpt2", "roberta-base"])
def test_layerwise_puts_a_tied_tensor_in_one_group_under_all_its_names(architecture, name):
    model = architecture(name)
    grouping = PRESETS["layerwise"].build(model)
    assert model.aliases and lint(model, grouping, Grouper(model).assign(grouping)) == ()


def test_layerwise_of_too_many_layers_is_told_in_the_matrix(table):
    model = table(
        [(f"layers.{i}.{kind}", (4,) * n, "Linear") for i in range(200) for n, kind in ((1, "b"), (2, "w"))]
    )
    with pytest.raises(ValueError, match="255"):
        PRESETS["layerwise"].build(model)
    row = next(row for row in matrix(model).rows if row.preset.name == "layerwise")
    assert row.grouping is None and "255" in row.error


def test_the_matrix_lists_what_presets_disagree_about(architecture):
    model = architecture("t5-small")
    got = matrix(model)
    assert [row.preset.name for row in got.rows] == list(PRESETS)
    decays = [decaying(model, row.grouping) for row in got.rows]
    differ = set().union(*decays) - set.intersection(*decays)
    assert {model.names[index] for index in got.disagree} == differ
    assert sum("relative_attention_bias" in name for name in differ) == 2 and len(differ) == 34


def test_presets_agree_on_bert_but_for_nothing(architecture):
    assert matrix(architecture("bert-base-uncased")).disagree == ()


def test_the_matrix_passes_what_was_worked_out_elsewhere(architecture):
    model = architecture("bert-base-uncased")
    got = matrix(model, params={"hf_trainer": {"decay_names": set(model.names)}})
    assert len(got.disagree) == 126


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_no_parameter_is_in_no_term_of_a_recipe(table, name):
    rows = [(f"layers.{i}.{rest}", shape, None) for i in range(3) for rest, shape in (("w", (2, 2)), ("b", (2,)))]
    copies = [(f"ema.{path}", shape, None) for path, shape, _ in rows]
    state = [("optimizer.state.0.layers.0.exp_avg", (2, 2), None)]
    apart = dict.fromkeys(range(len(rows), 2 * len(rows) + 1), "averaged copy")
    held = replace(table([*rows, *copies, *state]), apart=apart)
    build = PRESETS[name].build
    assert build(held) == build(table(rows))
