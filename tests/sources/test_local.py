"""What the start screen lists."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from explorer.core.choice import Choice
from explorer.sources import builtin, hub, local

CONFIG = json.dumps({"model_type": "bert"})


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def put(path, text=""):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def files():
    return list(local.files_below(Path()))


def test_an_empty_place_still_offers_the_built_in_names():
    found = local.choices()
    assert {choice.kind for choice in found} == {"built-in"}
    assert sorted(choice.target for choice in found) == list(builtin.names())


def test_configs_and_checkpoints_are_listed_with_what_they_are():
    put("config.json", CONFIG)
    put("run/config.json", CONFIG)
    put("run/model.safetensors", "x" * 2048)
    put("a.gguf")
    put("notes.txt")
    assert files() == [
        Choice("./a.gguf", "a.gguf", "checkpoint", "0 B"),
        Choice("./config.json", "config.json", "config", "no weights"),
        Choice("./run", "run/", "config", "with weights"),
        Choice("./run/model.safetensors", "run/model.safetensors", "checkpoint", "2.00 KiB"),
    ]


def test_a_listed_target_is_taken_for_a_path():
    put("gpt2/config.json", CONFIG)
    (choice,) = files()
    assert hub.looks_like_path(choice.target)
    assert hub._local(choice.target).directory == Path("gpt2")


def test_a_config_of_something_else_is_not_a_model():
    put("pooling/config.json", '{"word_embedding_dimension": 384}')
    assert files() == []


def test_shards_are_listed_by_their_index_only():
    put("m/model-00001-of-00002.safetensors")
    put("m/model-00002-of-00002.safetensors")
    put("m/model.safetensors.index.json")
    assert [choice.target for choice in files()] == ["./m/model.safetensors.index.json"]


def test_a_split_gguf_is_listed_by_its_first_part():
    put("m/model-00001-of-00002.gguf")
    put("m/model-00002-of-00002.gguf")
    name = "m/model-00001-of-00002.gguf"
    assert files() == [Choice(f"./{name}", name, "checkpoint", "2 parts")]


def test_a_distributed_checkpoint_is_listed_as_its_folder():
    put("run/step-1/.metadata")
    put("run/step-1/__0_0.distcp")
    put("other/.metadata")
    assert files() == [Choice("./run/step-1", "run/step-1/", "checkpoint", "distributed")]


def test_every_real_checkpoint_that_is_listed_opens():
    import torch
    from safetensors.torch import save_file
    from torch.distributed import checkpoint

    from explorer.core.loading import OpenSpec
    from explorer.sources import open_served

    for folder in ("st", "pt", "dcp"):
        Path(folder).mkdir()
    save_file({"a": torch.ones(2)}, "st/model.safetensors")
    for name in ("m.bin", "m.pt", "m.pth", "m.ckpt"):
        torch.save({"a": torch.ones(2)}, f"pt/{name}")
    checkpoint.save({"a": torch.ones(2)}, checkpoint_id="dcp", no_dist=True)
    found = files()
    assert len(found) == 6
    for choice in found:
        assert list(open_served(OpenSpec(choice.target, offline=True), lambda _: None).model.names) == ["a"]


def test_what_a_trainer_leaves_beside_the_weights_is_no_checkpoint():
    put("out/training_args.bin")
    put("out/optimizer.pt")
    assert files() == []


def test_two_levels_are_looked_into_and_no_hidden_folder():
    put("a/b/x.pt")
    put("a/b/c/y.pt")
    put(".git/z.pt")
    put("venv/z.pt")
    assert [choice.title for choice in files()] == ["a/b/x.pt"]


def test_a_loop_of_links_ends():
    put("a/x.pt")
    Path("a/up").symlink_to("..")
    Path("gone.pt").symlink_to("nowhere.pt")
    os.mkfifo("pipe.pt")
    assert [choice.title for choice in files()] == ["a/x.pt"]


def test_a_large_folder_is_cut(monkeypatch):
    monkeypatch.setattr(local, "MAX_FOUND", 3)
    for number in range(9):
        put(f"{number}.pt")
    assert len(files()) == 3
    monkeypatch.setattr(local, "MAX_ENTRIES", 2)
    assert len(files()) == 2


def test_a_name_with_control_characters_is_shown_written_out_and_opens_as_it_is():
    put("\x1b[31m.pt")
    assert files() == [Choice("./\x1b[31m.pt", "\\x1b[31m.pt", "checkpoint", "0 B")]


def test_cached_models_are_listed_with_their_commit(here):
    snapshot = here / "hub/models--org--model/snapshots" / ("abc1234" + "0" * 33)
    put(snapshot / "config.json", CONFIG)
    put(here / "hub/models--org--model/refs/main", snapshot.name)
    put(here / "hub/models--org--data/snapshots/x/data.csv")
    put(here / "hub/datasets--org--other/snapshots/x/config.json")
    assert list(local.cached()) == [Choice("org/model", "org/model", "cached", "snapshot abc1234, no weights")]
    put(snapshot / "model.safetensors")
    assert next(local.cached()).detail == "snapshot abc1234"


def test_an_absolute_start_gives_absolute_targets(here):
    put("m/config.json", CONFIG)
    (choice,) = local.files_below(here / "here")
    assert (choice.target, choice.title) == (str(here / "here/m"), "m/")
