"""What a parameter is for: right on the models that were reviewed by hand, right or silent on all others."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from explorer.core.card import active, context, shares
from explorer.core.param import Model, Origin
from explorer.core.roles import PARTS, Roles
from explorer.core.wire import decode, encode
from explorer.sources import builtin

TABLES = Path(__file__).parents[1] / "facts" / "roles"
"""One file a model; three lines for each kind of parameter, layer numbers folded to N: name, role, formula.

Each line was held against the modelling code of transformers 5.23 by hand; a change here is a claim to be checked so.
"""

NAMES = builtin.names()


@cache
def model_of(name: str) -> Model:
    """Build a built-in architecture on the meta device; it crosses to the interface as in the program."""
    import torch
    import transformers

    from explorer.sources.live_module import table_of

    config = builtin.find(name).config
    built = transformers.AutoConfig.for_model(**json.loads(json.dumps(config)))
    with torch.device("meta"):
        module = getattr(transformers, config["architectures"][0])(built)
    plain = json.loads(json.dumps(built.to_dict(), default=str))
    return decode(encode(table_of(module, Origin(name, "transformers", "built", config=plain))))


def folded(name: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\.)", "N", name)


def numbers(text: str) -> list[int]:
    """The whole numbers of a role, `×4` and other ratios left out."""
    return [
        int(found.replace(",", "")) for found in re.findall(r"\d[\d,]*(?![\d.])", re.sub(r"\(×[\d.]+\)", "", text))
    ]


# --- by hand --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "bert-base-uncased",
        "roberta-base",
        "gpt2",
        "llama-7b",
        "t5-small",
        "mixtral-8x7b",
        "vit-base-patch16-224",
        "whisper-tiny",
    ],
)
def test_every_parameter_has_the_role_that_was_reviewed(name: str) -> None:
    lines = (TABLES / f"{name}.txt").read_text().splitlines()
    told = {lines[at]: (lines[at + 1].strip(), lines[at + 2].strip()) for at in range(0, len(lines), 3)}
    model = model_of(name)
    roles = Roles(model)
    found = {folded(param.name): None for param in model}
    assert list(found) == list(told)
    for param in model:
        assert (str(roles.line(param.index)), str(roles.formula(param.index))) == told[folded(param.name)], param.name


SAMPLE = {
    ("llama-3-8b", "model.layers.0.self_attn.k_proj.weight"): (
        "key projection, 8 key-value heads × 128 (grouped: 4 queries a head)",
        "num_key_value_heads × head_dim × hidden_size",
    ),
    ("gemma-2b", "model.layers.0.self_attn.v_proj.weight"): (
        "value projection, 1 key-value head × 256 (grouped: 8 queries a head)",
        "num_key_value_heads × head_dim × hidden_size",
    ),
    ("gemma-2b", "model.norm.weight"): ("scale, as its difference from 1, of GemmaRMSNorm, 2,048", "hidden_size"),
    ("deepseek-v3", "model.layers.3.mlp.experts.gate_up_proj"): (
        "experts 0…255: MLP gate and up of each, fused, 7,168 → 2 × 2,048",
        "n_routed_experts × 2 × moe_intermediate_size × hidden_size",
    ),
    ("deepseek-v3", "model.layers.3.mlp.shared_experts.up_proj.weight"): (
        "shared expert: MLP up, 7,168 → 2,048",
        "moe_intermediate_size × n_shared_experts × hidden_size",
    ),
    ("deepseek-v3", "model.layers.0.self_attn.kv_a_proj_with_mqa.weight"): (
        "key-value compression: 576 = rank 512 + 64 for one rotary key",
        "(kv_lora_rank + qk_rope_head_dim) × hidden_size",
    ),
    ("gpt-oss-20b", "model.layers.0.mlp.experts.gate_up_proj"): (
        "experts 0…31: MLP gate and up of each, fused, 2,880 → 2 × 2,880",
        "num_local_experts × hidden_size × 2 × intermediate_size",
    ),
    ("bart-base", "encoder.embed_positions.weight"): (
        "position embedding: 1,026 = 1,024 positions + 2 reserved",
        "(max_position_embeddings + 2) × d_model",
    ),
    ("llava-1.5-7b", "lm_head.weight"): (
        "language-model head: 4,096 → 32,064 tokens",
        "text_config.vocab_size × text_config.hidden_size",
    ),
    ("llava-1.5-7b", "model.vision_tower.embeddings.position_embedding.weight"): (
        "position embedding: 577 = 576 patches + 1 class token, × 1,024",
        "((image_size / patch_size)² + 1) × hidden_size",
    ),
    ("clip-vit-base-patch32", "text_model.embeddings.token_embedding.weight"): (
        "token embedding: 49,408 tokens × 512",
        "vocab_size × hidden_size",
    ),
    # A stage's width may equal another one's by chance, so that no formula is told; 768 is Swin's hidden_size too.
    ("swin-tiny-patch4-window7-224", "swin.encoder.layers.1.downsample.norm.weight"): (
        "scale of LayerNorm, 768",
        None,
    ),
    ("wav2vec2-base", "wav2vec2.masked_spec_embed"): (
        "mask vector: stands for a masked time step, 768",
        "hidden_size",
    ),
    # What is not understood: a weight split into direction and length.
    ("wav2vec2-base", "wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original0"): (None, None),
    ("qwen2-vl-2b", "model.visual.merger.mlp.0.weight"): (
        "merger of 2 × 2 patches, first layer: 5,120 → 5,120",
        "spatial_merge_size² × embed_dim × spatial_merge_size² × embed_dim",
    ),
    ("qwen2-vl-2b", "model.visual.merger.mlp.2.weight"): (
        "merger of 2 × 2 patches, second layer: 5,120 → 1,536",
        "hidden_size × spatial_merge_size² × embed_dim",
    ),
    ("qwen2-vl-2b", "model.visual.merger.mlp.2.bias"): (
        "bias of the merger of 2 × 2 patches, second layer, 1,536",
        "hidden_size",
    ),
    ("llava-1.5-7b", "model.multi_modal_projector.linear_1.weight"): (
        "projector from vision to language, first layer: 1,024 → 4,096",
        "text_config.hidden_size × vision_config.hidden_size",
    ),
    ("llava-1.5-7b", "model.multi_modal_projector.linear_2.bias"): (
        "bias of the projector from vision to language, second layer, 4,096",
        "text_config.hidden_size",
    ),
    ("deepseek-v2-lite", "model.layers.1.mlp.shared_experts.up_proj.weight"): (
        "2 shared experts as one: MLP up, 2,048 → 2,816",
        "moe_intermediate_size × n_shared_experts × hidden_size",
    ),
}
"""Parameters that are easily misread, from the other architectures."""


@pytest.mark.parametrize(("name", "parameter"), SAMPLE)
def test_what_is_easily_misread_is_right(name: str, parameter: str) -> None:
    model = model_of(name)
    roles, index = Roles(model), list(model.names).index(parameter)
    assert (roles.line(index), roles.formula(index)) == SAMPLE[name, parameter]


def test_a_projector_of_another_width_is_not_explained() -> None:
    from explorer.core.param import ModuleClass
    from explorer.core.roles import Facts, role_of

    config = {
        "text_config": {"hidden_size": 8},
        "vision_config": {"hidden_size": 4},
        "vision_feature_layer": [-2, -1],
    }
    path, around = ("model", "multi_modal_projector", "linear_1"), ("Net", "Model", "NetMultiModalProjector")
    two = role_of(Facts(ModuleClass("Linear"), "weight", path, around, (8, 8), config))
    one = role_of(Facts(ModuleClass("Linear"), "weight", path, around, (8, 4), config))
    assert two is not None
    assert two.formula == "text_config.hidden_size × 2 × vision_config.hidden_size"
    assert one is not None
    assert not one.specific, "two layers of the vision tower go in"


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"multi_query": True, "new_decoder_architecture": False}, "(4 + 2 × 1) heads × 2"),
        ({"multi_query": True, "new_decoder_architecture": True, "num_kv_heads": 2}, "(4 + 2 × 2) heads × 2"),
        ({"multi_query": False, "new_decoder_architecture": False}, "3 × 4 heads × 2"),
    ],
)
def test_falcons_heads_are_counted_as_its_class_does(config: dict[str, object], text: str) -> None:
    import torch
    import transformers

    from explorer.sources.live_module import table_of

    built = transformers.FalconConfig(
        hidden_size=8, num_attention_heads=4, num_hidden_layers=1, vocab_size=16, **config
    )
    with torch.device("meta"):
        module = transformers.FalconForCausalLM(built)
    plain = json.loads(json.dumps(built.to_dict(), default=str))
    told = lines(table_of(module, Origin("falcon", "transformers", "built", config=plain)))
    name = "transformer.h.0.self_attention.query_key_value.weight"
    assert told[name] == f"query, key and value projections, fused: {text}"


# --- laws of all others ---------------------------------------------------------------------------------------------


def kinds(name: str) -> Iterator[tuple[str, Model, Roles, int]]:
    """One parameter of each kind."""
    model = model_of(name)
    roles = Roles(model)
    seen = set()
    for index in range(len(model)):
        key = (folded(model.names[index]), model.shapes[index])
        if key not in seen:
            seen.add(key)
            yield f"{name}: {model.names[index]} {model.shapes[index]}", model, roles, index


def evaluate(formula: str, config: dict[str, object]) -> int:
    """Work out a formula as a reader would, from the configuration alone."""
    text = formula.replace("×", "*").replace("²", "**2").replace("/", "//")

    def value(found: re.Match[str]) -> str:
        node: object = config
        for key in found[0].split("."):
            if key == "num_labels":
                return str(len(node["id2label"]))  # type: ignore[index, call-overload, arg-type]
            node = node[key]  # type: ignore[index]
        assert type(node) is int, found[0]
        return str(node)

    return int(eval(re.sub(r"[a-z]\w*(?:\.\w+)*", value, text), {}))


@pytest.mark.parametrize("name", NAMES)
class TestEveryBuiltIn:
    def test_a_formula_gives_the_count_from_the_configuration(self, name: str) -> None:
        for what, model, roles, index in kinds(name):
            formula = roles.formula(index)
            if formula is not None:
                keys = model.places[index].config or ()
                config = dict(model.origin.config)
                for key in keys:
                    config = dict(config[key])
                assert evaluate(formula, config) == model.numels[index], (what, formula)

    def test_the_last_number_of_a_flow_and_the_first_are_dimensions(self, name: str) -> None:
        """`768 → 3,072`, `12 heads × 64`, `2 × 1,152`: what a role counts, the shape has."""
        for what, model, roles, index in kinds(name):
            role, shape = roles[index], model.shapes[index]
            if role is None:
                continue
            told = [number for number in numbers(role.text) if number > 1]
            whole = math.prod(shape)
            assert all(number <= 2 * max(shape, default=1) for number in told), (what, role.text)
            if "→" in role.text and "+" not in role.text:
                left, right = (numbers(part) for part in role.text.split("→"))
                outputs = math.prod(right[:2] if "2 ×" in role.text.split("→")[1] else right[:1])
                assert outputs in shape, (what, role.text)
                assert left[-1] in shape or math.prod(left[-2:]) in shape or whole % left[-1] == 0, (what, role.text)

    def test_heads_times_their_width_are_a_dimension(self, name: str) -> None:
        for what, model, roles, index in kinds(name):
            role, shape = roles[index], model.shapes[index]
            found = re.search(r"(3 × )?([\d,]+) (?:key-value )?heads? × ([\d,]+)", role.text if role else "")
            if found:
                product = math.prod(numbers(found[0]))
                assert product in shape, (what, role.text)

    def test_ties_are_told_of_tied_parameters_only(self, name: str) -> None:
        for what, model, roles, index in kinds(name):
            line = roles.line(index)
            if line is not None:
                assert ("tied to" in line) == bool(model.aliases.get(index)), what

    def test_norms_embeddings_and_heads_are_told_apart_by_their_classes(self, name: str) -> None:
        for what, model, roles, index in kinds(name):
            part, owner = roles.part(index), model.modules[index].name
            assert part in PARTS, what
            assert (part == "norms") == ("Norm" in owner), what
            if owner == "Embedding":
                assert part in ("embeddings", "attention"), what

    def test_shares_add_up(self, name: str) -> None:
        model = model_of(name)
        found = shares(model, Roles(model))
        assert sum(share.parameters for share in found) == model.total
        assert sum(share.hundredths for share in found) == 10_000

    def test_almost_every_element_is_explained(self, name: str) -> None:
        """By count of elements: what stays silent is small."""
        model = model_of(name)
        roles = Roles(model)
        silent = sum(model.numels[index] for index in range(len(model)) if roles[index] is None)
        assert silent <= 0.06 * model.total, silent / model.total


# --- mixtures of experts ------------------------------------------------------------------------------------------

PUBLISHED = {
    # Mistral AI, "Mixtral of experts", 2023-12-11; "Cheaper, better, faster, stronger", 2024-04-17.
    "mixtral-8x7b": ("active", 12.9),
    "mixtral-8x22b": ("active", 39),
    # DeepSeek-V3 technical report, arXiv 2412.19437.
    "deepseek-v3": ("without_lookup", 37),
    # OpenAI, gpt-oss model card, arXiv 2508.10925, table 1: the unembedding counts, the embedding does not.
    "gpt-oss-20b": ("without_lookup", 3.61),
    "gpt-oss-120b": ("without_lookup", 5.13),
    # Qwen, model cards of Qwen1.5-MoE-A2.7B and Qwen3-235B-A22B.
    "qwen1.5-moe-a2.7b": ("active", 2.7),
    "qwen3-235b-a22b": ("active", 22),
    # OLMoE, arXiv 2409.02060.
    "olmoe-1b-7b": ("active", 1.3),
}
"""Which figure of ours each published one is, and how many thousand millions it says."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_active_parameters_are_the_published_figure(name: str) -> None:
    which, published = PUBLISHED[name]
    model = model_of(name)
    found = active(model, Roles(model))
    decimals = len(str(published).partition(".")[2])
    assert found is not None
    assert round(getattr(found, which) / 1e9, decimals) == published


def test_a_dense_model_has_no_active_part() -> None:
    model = model_of("llama-7b")
    assert active(model, Roles(model)) is None


# --- what proves nothing --------------------------------------------------------------------------------------------


def small_model(**config: object) -> Model:
    """A module with a telling name and class whose sizes a configuration may confirm or not."""
    import torch
    from torch import nn

    from explorer.sources.live_module import table_of

    class GatedAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q_proj = nn.Linear(8, 32, bias=False)  # twice the heads: a gate is fused into it
            self.query_norm = nn.Parameter(torch.ones(8))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.word_embeddings = nn.Embedding(10, 8)
            self.attention = GatedAttention()
            self.q_proj = nn.Linear(8, 16)
            self.config = _Config(config)

    class _Config:
        model_type = "net"

        def __init__(self, values: dict[str, object]) -> None:
            self.values = values

        def to_dict(self) -> dict[str, object]:
            return self.values

    net = Net()
    return table_of(net, Origin("net", "live", "made by a test", config=config))


def lines(model: Model) -> dict[str, str | None]:
    roles = Roles(model)
    return {model.names[index]: roles.line(index) for index in range(len(model))}


def test_a_shape_that_the_configuration_does_not_give_is_not_explained() -> None:
    told = lines(small_model(hidden_size=8, num_attention_heads=2, head_dim=8, vocab_size=11))
    assert told["attention.q_proj.weight"] == "linear layer, 8 → 32"
    assert told["word_embeddings.weight"] == "embedding table: 10 rows × 8"


def test_a_projection_wider_than_its_input_is_not_explained_without_heads() -> None:
    told = lines(small_model(hidden_size=8))
    assert told["attention.q_proj.weight"] == "linear layer, 8 → 32"  # queries and a gate


def test_a_name_outside_of_its_class_is_not_explained() -> None:
    told = lines(small_model(hidden_size=8, num_attention_heads=2, head_dim=8, vocab_size=10))
    assert told["word_embeddings.weight"] == "token embedding: 10 tokens × 8"
    assert told["q_proj.weight"] == "linear layer, 8 → 16"
    assert told["attention.query_norm"] is None


def test_without_classes_nothing_is_said() -> None:
    model = small_model(hidden_size=8)
    bare = replace(model, places=None)
    roles = Roles(bare)
    assert [roles[index] for index in range(len(bare))] == [None] * len(bare)
    assert {roles.part(index) for index in range(len(bare))} == {None}


@pytest.mark.parametrize("number", ["17", "expert_17"])
def test_an_expert_of_its_own_is_numbered(number: str) -> None:
    from explorer.core.param import ModuleClass
    from explorer.core.roles import Facts, role_of

    around = ("MixForCausalLM", "MixModel", "ModuleList", "MixLayer", "MixMoE", "ModuleList", "MixMLP")
    path = ("model", "layers", "3", "mlp", "experts", number, "up_proj")
    config = {"hidden_size": 8, "moe_intermediate_size": 4, "n_routed_experts": 64}
    role = role_of(Facts(ModuleClass("Linear"), "weight", path, around, (4, 8), config))
    assert role is not None
    assert (role.text, role.formula) == (
        "expert 17 of 64: MLP up, 8 → 4",
        "moe_intermediate_size × hidden_size",
    )


# --- files with a config beside them --------------------------------------------------------------------------------


def test_a_file_beside_a_config_has_the_roles_of_its_model() -> None:
    from minilm import directory

    from explorer.core.loading import OpenSpec
    from explorer.sources import open_served

    def told(model: Model) -> dict[str, tuple[str | None, str | None]]:
        roles = Roles(model)
        return {model.names[index]: (roles.line(index), roles.formula(index)) for index in range(len(model))}

    file = open_served(OpenSpec(str(directory() / "model.safetensors"), skeleton=True), lambda text: None).model
    model = open_served(OpenSpec(str(directory())), lambda text: None).model
    of_file, of_model = told(file), told(model)
    assert of_file.pop("embeddings.position_ids") == (None, None)
    assert of_file == of_model
    assert "query projection, 12 heads × 32" in {line for line, _ in of_file.values()}


def test_experts_that_a_file_holds_apart_have_roles_of_their_own(tmp_path: Path) -> None:
    import transformers
    from safetensors.torch import load_file

    from explorer.core.loading import OpenSpec
    from explorer.sources import open_served

    config = transformers.MixtralConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=4,
        vocab_size=60,
    )
    transformers.MixtralForCausalLM(config).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    assert any(".w1." in name for name in load_file(path))
    model = open_served(OpenSpec(str(path), skeleton=True), lambda text: None).model
    roles = Roles(model)
    told = {
        name.partition("experts.")[2]: (roles.line(index), roles.formula(index))
        for index, name in enumerate(model.names)
        if "experts." in name
    }
    assert len(told) == 12
    assert told["2.w1.weight"] == ("expert 2 of 4: MLP gate, 16 → 32", "intermediate_size × hidden_size")
    assert told["2.w3.weight"] == ("expert 2 of 4: MLP up, 16 → 32", "intermediate_size × hidden_size")
    assert told["3.w2.weight"] == ("expert 3 of 4: MLP down, 32 → 16", "hidden_size × intermediate_size")


def test_a_file_of_the_base_model_has_the_roles_and_a_renamed_tensor_has_none() -> None:
    from explorer.core.param import Column, ModuleClass, Place
    from explorer.sources.overlay_findings import _place

    built = model_of("bert-base-uncased")
    row = list(built.names).index("bert.encoder.layer.0.attention.self.query.weight")
    whole = built.places[row]
    assert _place(built, row, built.names[row]) == whole
    assert _place(built, row, "encoder.layer.0.attention.self.query.weight") == replace(
        whole, around=whole.around[1:]
    )
    renamed = _place(built, row, "bert.encoder.layer.0.attention.self.key.weight")
    assert renamed == Place(whole.around, whole.config, named=False)
    assert _place(built, None, "elsewhere") is None
    table = replace(
        built,
        names=["bert.encoder.layer.0.attention.self.key.weight"],
        shapes=Column.constant((768, 768), 1),
        modules=Column.constant(ModuleClass("Linear"), 1),
        places=Column.constant(renamed, 1),
        aliases={},
    )
    assert Roles(table)[0] is None
    assert Roles(table).part(0) == "attention"


# --- what the card says of positions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bert-base-uncased", {("", "max_position_embeddings"): 512}),
        ("roberta-base", {("", "max_position_embeddings"): 512}),
        ("opt-125m", {("", "max_position_embeddings"): 2048}),
        ("whisper-tiny", {("", "max_source_positions"): 1500, ("", "max_target_positions"): 448}),
        ("clip-vit-base-patch32", {("text_config", "max_position_embeddings"): 77}),
        ("llama-7b", {}),
    ],
)
def test_the_context_is_what_the_table_of_positions_allows(
    name: str, expected: dict[tuple[str, str], int | None]
) -> None:
    model = model_of(name)
    assert context(model, Roles(model)) == expected
