"""Pairs of LoRA matrices in a table of names: by PEFT's and sd-scripts' names, and only where the ranks agree."""

from __future__ import annotations

from dataclasses import replace

import pytest

from explorer.core.lora import KEY, note, pairs, section, summary, targets

NAMINGS = {
    "PEFT's file": ("lora_A.weight", "lora_B.weight"),
    "PEFT in memory": ("lora_A.default.weight", "lora_B.default.weight"),
    "PEFT's embedding": ("lora_embedding_A", "lora_embedding_B"),
    "PEFT's embedding in memory": ("lora_embedding_A.default", "lora_embedding_B.default"),
    "sd-scripts": ("lora_down.weight", "lora_up.weight"),
}


def rows(path, first=(4, 64), second=(32, 4), naming="PEFT's file"):
    a, b = NAMINGS[naming]
    return [(f"{path}.{a}", first, None), (f"{path}.{b}", second, None)]


def with_config(model, **said):
    return replace(model, origin=replace(model.origin, config={KEY: said}))


def figures(model):
    found = section(model)
    return {fact.label: fact.value for fact in found.facts} if found else {}


@pytest.mark.parametrize("naming", NAMINGS)
def test_a_pair_is_found_by_its_names_and_its_rank(table, naming):
    (pair,) = pairs(table(rows("model.layers.0.q_proj", naming=naming)))
    assert pair[0] == "model.layers.0.q_proj"
    assert pair[2:] == (4, 64, 32, (0, 1))


def test_adapters_of_one_layer_are_told_apart_by_name(table):
    both = [
        (name.replace("default", which), *more)
        for which in ("a", "b")
        for name, *more in rows("q", naming="PEFT in memory")
    ]
    assert [(pair.adapter, pair.rows) for pair in pairs(table(both))] == [("a", (0, 1)), ("b", (2, 3))]


@pytest.mark.parametrize(
    "lone",
    [
        rows("q", (4, 64), (32, 8)),
        rows("q")[:1],
        rows("q")[1:],
        rows("q", (4,), (32, 4)),
        [*rows("q")[:1], *rows("k")[1:]],
        [("q.lora_A.a.weight", (4, 64), None), ("q.lora_B.b.weight", (32, 4), None)],
        [("q.my_lora_A.weight", (4, 64), None), ("q.my_lora_B.weight", (32, 4), None)],
    ],
    ids=["other rank", "no B", "no A", "1-D", "other layers", "other adapters", "other names"],
)
def test_what_is_no_pair_is_left_alone(table, lone):
    model = table(lone)
    assert not pairs(model)
    assert section(model) is None


def test_an_adapter_says_its_rank_its_layers_and_its_base(table):
    model = with_config(
        table([*rows("layers.0.q_proj"), *rows("layers.1.v_proj")]),
        r=4, lora_alpha=8, base_model_name_or_path="llama",
    )  # fmt: skip
    found = pairs(model)
    assert summary(model, found) == "a LoRA adapter of rank 4 for llama"
    assert targets(found) == "q_proj, v_proj"
    assert note(found[0], 0) == "LoRA A of q_proj: 64 → rank 4"
    assert note(found[0], 1) == "LoRA B of q_proj: rank 4 → 32"
    assert figures(model) == {
        "pairs": "2",
        "rank": "4",
        "alpha": "8",
        "scale of B·A": "2",
        "beside": "q_proj, v_proj",
        "base model": "llama",
    }


def test_a_model_that_holds_an_adapter_is_not_called_one(table):
    model = table([("q.weight", (32, 64), None), *rows("q"), *rows("k", (16, 64), (32, 16))])
    assert summary(model, pairs(model)) == "with a LoRA adapter of ranks 4 to 16"


@pytest.mark.parametrize(
    ("said", "scale"),
    [
        ({"lora_alpha": 8, "use_rslora": True}, "4"),
        ({"lora_alpha": 8, "alpha_pattern": {"q": 2}}, None),
        ({"lora_alpha": True}, None),
        ({"lora_alpha": "8"}, None),
        ({"lora_alpha": 10**400}, None),
        ({}, None),
    ],
    ids=["by the root", "one alpha a layer", "a flag", "a text", "no end", "nothing said"],
)
def test_the_scale_is_told_only_where_it_is_known(table, said, scale):
    assert figures(with_config(table(rows("q")), **said)).get("scale of B·A") == scale


def test_a_long_name_is_cut(table):
    model = with_config(table(rows("q" * 10_000)), base_model_name_or_path="b" * 10_000)
    found = pairs(model)
    assert len(summary(model, found)) + len(targets(found)) + len(note(found[0], 0)) < 400
