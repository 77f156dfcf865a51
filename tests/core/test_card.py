"""Figures of an architecture: only what the configuration says, and shares that add up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tables import param

from explorer.core.card import active, architecture, round_to, settings, shares
from explorer.core.param import Model, ModuleClass, Origin, Param, Place
from explorer.core.roles import Roles


def told(config: dict[str, object]) -> dict[str, dict[str, str]]:
    return {
        section.title: {fact.label: f"{fact.value} {fact.source}" for fact in section.facts}
        for section in architecture(config, {})
    }


def test_the_width_of_a_head_is_the_width_by_the_heads() -> None:
    facts = told({"model_type": "bert", "hidden_size": 768, "num_attention_heads": 12})[""]
    assert facts["d_k = d_model / heads"] == "64 hidden_size / num_attention_heads"
    assert facts["d_model (width)"] == "768 hidden_size"


def test_a_width_of_heads_of_its_own_is_not_told_as_a_quotient() -> None:
    facts = told({"hidden_size": 2304, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256})[""]
    assert facts["d_k"] == "256 head_dim"
    assert "d_k = d_model / heads" not in facts
    assert facts["key-value heads"] == "4 (2 queries a head) num_key_value_heads"


def test_latent_attention_has_longer_keys_than_values() -> None:
    facts = told({"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "head_dim": 64})[""]
    assert facts["d_k"] == "128 + 64 rotary = 192 qk_nope_head_dim + qk_rope_head_dim"
    assert facts["d_v"] == "128 v_head_dim"


def test_each_part_of_a_composite_configuration_is_a_section() -> None:
    found = told(
        {
            "model_type": "pair",
            "text_config": {"model_type": "t", "vocab_size": 10},
            "deep": {"model_type": "d", "part": {"model_type": "e", "vocab_size": 20}},
            "rope_parameters": {"vocab_size": 5},
            "silent_config": {"model_type": "s"},
        }
    )
    assert list(found) == ["text_config", "deep.part"]
    assert found["deep.part"]["vocabulary"] == "20 vocab_size"


def test_what_a_configuration_does_not_say_is_not_told() -> None:
    assert architecture(None) == ()
    assert architecture({"metadata": {"format": "pt"}}) == ()
    assert architecture({"hidden_size": "768", "num_attention_heads": True, "vocab_size": 0, "n_layer": None}) == ()


def test_rows_of_positions_that_no_token_gets_are_not_context() -> None:
    config = {"max_position_embeddings": 514, "text_config": {"model_type": "t", "n_positions": 9}}

    def contexts(usable: dict[tuple[str, str], int | None] | None) -> list[tuple[str, str]]:
        return [
            (fact.value, fact.source)
            for section in architecture(config, usable)
            for fact in section.facts
            if fact.label == "context"
        ]

    assert contexts({}) == [("514", "max_position_embeddings"), ("9", "n_positions")]
    assert contexts({("", "max_position_embeddings"): 512, ("text_config", "n_positions"): 9}) == [
        ("512", "max_position_embeddings - 2 reserved"),
        ("9", "n_positions"),
    ]
    assert contexts({("", "max_position_embeddings"): None})[0][0] == "less than 514"
    assert contexts(None) == [("…", "max_position_embeddings"), ("…", "n_positions")], "not known yet: no figure"


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=9))
def test_shares_add_up_and_nothing_vanishes(amounts: list[int]) -> None:
    rounded = round_to(10_000, amounts)
    total = sum(amounts)
    assert sum(rounded) == (10_000 if total else 0)
    for amount, share in zip(amounts, rounded, strict=True):
        assert (share > 0) == (amount > 0)
        if total:
            assert abs(share - 10_000 * amount / total) < len(amounts) + 1


def test_what_rounding_leaves_goes_to_the_largest_remainders() -> None:
    assert round_to(100, [1] * 7) == [15, 15, 14, 14, 14, 14, 14]
    assert round_to(100, [10**9, 1, 0]) == [99, 1, 0]


def owned(name: str, shape: tuple[int, ...], owner: str, around: tuple[str, ...], **other: object) -> Param:
    return param(name, shape, module_class=ModuleClass(owner), place=Place(around, ()), **other)


CONFIG = {
    "hidden_size": 8,
    "moe_intermediate_size": 4,
    "num_experts": 4,
    "num_experts_per_tok": 1,
    "vocab_size": 10,
}


def mixture(tied: bool = False, **config: object) -> Model:
    block = ("MixForCausalLM", "MixLayer")
    return Model.from_params(
        Origin("mix", "test", "made by a test", config={**CONFIG, **config}),
        [
            owned("embed_tokens.weight", (10, 8), "Embedding", block[:1], aliases=("lm_head.weight",) * tied),
            owned("mlp.gate.weight", (4, 8), "MixRouter", (*block[:1], "MixMoE")),
            owned("mlp.experts.gate_up_proj", (4, 8, 8), "MixExperts", (*block[:1], "MixMoE")),
            owned("mlp.experts.down_proj", (4, 8, 4), "MixExperts", (*block[:1], "MixMoE")),
            owned("norm.weight", (8,), "MixRMSNorm", block[:1]),
        ],
    )


def test_a_token_uses_its_experts_and_all_that_is_shared() -> None:
    model = mixture()
    found = active(model, Roles(model))
    assert found is not None
    routed = 4 * 8 * 8 + 4 * 8 * 4
    assert (found.experts, found.per_token, found.routed, found.total) == (4, 1, routed, 80 + 32 + routed + 8)
    assert found.active == 80 + 32 + routed // 4 + 8
    assert found.without_lookup == found.active - 80


def test_a_table_that_is_the_head_too_is_used() -> None:
    model = mixture(tied=True)
    found = active(model, Roles(model))
    assert found is not None
    assert found.without_lookup == found.active


def test_without_the_number_of_experts_a_token_nothing_is_said() -> None:
    model = mixture(num_experts_per_tok=None)
    assert active(model, Roles(model)) is None


def test_with_an_expert_that_is_not_understood_nothing_is_said() -> None:
    model = mixture()
    strange = owned("mlp.experts.w1", (4, 8, 8), "MixExperts", ("MixForCausalLM", "MixMoE"))
    model = Model.from_params(model.origin, [*model, strange])
    assert active(model, Roles(model)) is None


def test_shares_count_each_parameter_once() -> None:
    model = mixture()
    found = shares(model, Roles(model))
    assert [(share.part, share.tensors) for share in found] == [("embeddings", 1), ("experts", 3), ("norms", 1)]
    assert sum(share.parameters for share in found) == model.total
    assert sum(share.hundredths for share in found) == 10_000


def test_without_classes_there_are_no_shares() -> None:
    bare = Param(0, "a.weight", (2,), 2, None, None, None, None, None, (), None)
    model = Model.from_params(Origin("f", "safetensors", "a file"), [bare])
    assert shares(model, Roles(model)) == ()
    assert active(model, Roles(model)) is None


LABELS = {"id2label": {str(at): f"kind {at}" for at in range(30)}, "hidden_size": 8, "flag": True, "none": None}


def test_a_long_mapping_is_one_line_until_something_in_it_is_looked_for() -> None:
    assert list(settings(LABELS)) == [
        ("id2label", "{…} 30 entries"),
        ("hidden_size", "8"),
        ("flag", "true"),
        ("none", "null"),
    ]
    assert list(settings(LABELS, "Kind 17")) == [("id2label.17", "kind 17")]


def test_keys_and_values_are_searched_at_any_depth() -> None:
    config = {"text_config": {"rope": {"theta": 1e6}, "layers": [{"kind": "full"}, {"kind": "sliding"}]}, "a": [1, 2]}
    assert list(settings(config, "rope")) == [("text_config.rope.theta", "1000000.0")]
    assert list(settings(config, "SLIDING")) == [("text_config.layers.1.kind", "sliding")]
    assert list(settings(config, "2]")) == [("a", "[1, 2]")]
    assert list(settings(config, "nowhere")) == []


def test_a_vocabulary_is_counted_in_one_line_and_says_that_it_is_not_listed():
    tokens = {"type": "string", "count": 1000, "first": ["a", "b"]}
    config = {"metadata": {"tokenizer.ggml.tokens": tokens, "x.few": {"type": "i32", "count": 2, "first": [1, 2]}}}
    assert list(settings(config)) == [
        ("metadata.tokenizer.ggml.tokens", "1,000 × string, counted and not listed: [a, b, …]"),
        ("metadata.x.few", "[1, 2]"),
    ]
    assert [key for key, _ in settings(config, "count")] == ["metadata.tokenizer.ggml.tokens"]
