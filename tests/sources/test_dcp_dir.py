"""Torch distributed checkpoints: global shapes as the library has them; a hostile `.metadata` runs nothing."""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import Audit, findings, gadgets, opened, outcome, written
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from explorer.core.errors import ParamxError
from explorer.core.param import Model
from explorer.sources.checkpoint.dcp_dir import locator


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a model and its optimizer, written by one process."""
    net = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.randn(2, 4)).sum().backward()
    optimizer.step()
    things = {
        "model": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": 3,
        "half": torch.zeros(5, 2, dtype=torch.bfloat16),
        "lists": {"a": [1, torch.ones(2)]},
    }
    folder = tmp_path_factory.mktemp("dcp") / "checkpoint"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(things, checkpoint_id=folder, no_dist=True)
    return folder


def test_a_checkpoint_is_listed_as_the_library_lists_it(saved: Path) -> None:
    listed = dcp.FileSystemReader(saved).read_metadata().state_dict_metadata
    tensors = {name: facts for name, facts in listed.items() if isinstance(facts, TensorStorageMetadata)}
    for target in (saved, saved / ".metadata", saved / "__0_0.distcp"):
        model = outcome(target)
        assert isinstance(model, Model)
        assert list(model.names) == list(tensors)
        for param in model:
            facts = tensors[param.name]
            assert param.shape == tuple(facts.size)
            assert param.dtype == str(facts.properties.dtype).removeprefix("torch.")
            assert param.numel == facts.size.numel()
            assert param.nbytes == param.numel * facts.properties.dtype.itemsize
            assert param.shard == "__0_0.distcp"
            assert param.requires_grad is param.module_class is param.device is None
        (finding,) = model.findings
        state = [name for name in tensors if name.startswith("optimizer.state.")]
        assert [model.names[index] for index in model.apart] == list(finding.names) == state
        said = f"{len(tensors)} tensors in the file, {len(tensors) - len(state)} parameters"
        assert finding.message == f"{said}: {len(state)} of optimizer state"
        assert model.total == sum(facts.size.numel() for name, facts in tensors.items() if name not in state)
        others = len(listed) - len(tensors)
        assert f"{others} other values left out" in model.origin.description


def two_files(folder: Path, **changes: Any) -> Path:
    """Write the metadata of an 8 × 4 tensor in two halves, as two ranks write them."""
    halves = [ChunkStorageMetadata(torch.Size([4 * rank, 0]), torch.Size([4, 4])) for rank in range(2)]
    tensors = {
        "w": TensorStorageMetadata(TensorProperties(torch.float32, requires_grad=True), torch.Size([8, 4]), halves),
        "x": BytesStorageMetadata(),
    }
    storage = {
        MetadataIndex("w", torch.Size([4 * rank, 0]), rank): _StorageInfo(f"__{rank}_0.distcp", 0, 100)
        for rank in range(2)
    }
    for rank in range(2):
        written(folder / f"__{rank}_0.distcp", bytes(100))
    facts = {"state_dict_metadata": tensors, "storage_data": storage, "planner_data": None} | changes
    with (folder / ".metadata").open("wb") as file:
        pickle.dump(Metadata(**facts), file)
    return folder


def test_shapes_are_global_and_every_file_is_named(tmp_path: Path) -> None:
    model = opened(two_files(tmp_path))
    assert [(param.name, param.shape, param.nbytes, param.requires_grad, param.shard) for param in model] == [
        ("w", (8, 4), 128, True, "__0_0.distcp, __1_0.distcp")
    ]
    assert model.findings == ()
    pieces = locator(str(tmp_path))(0).pieces
    assert [(piece.offsets, piece.sizes, piece.path.name) for piece in pieces] == [
        ((0, 0), (4, 4), "__0_0.distcp"),
        ((4, 0), (4, 4), "__1_0.distcp"),
    ]
    with pytest.raises(ParamxError, match=r"__0_0.distcp: not a file of torch.save"):
        pieces[0].locate()


def test_what_is_no_tensor_is_not_among_those_that_a_lost_file_holds(saved: Path, tmp_path: Path) -> None:
    written(tmp_path / ".metadata", (saved / ".metadata").read_bytes())
    model = opened(tmp_path)
    (finding,) = (finding for finding in model.findings if finding.id == "missing-shard")
    assert list(finding.names) == list(model.names)


def test_files_that_are_missing_short_or_elsewhere_are_told(tmp_path: Path) -> None:
    folder = two_files(tmp_path)
    (folder / "__1_0.distcp").unlink()
    model = opened(folder)
    assert findings(model) == {"missing-shard"}
    assert model.findings[0].names == ("w",)
    assert model.findings[0].message == "1 of 2 files not there: __1_0.distcp; tensor w in it"
    written(folder / "__1_0.distcp", b"short")
    assert findings(opened(folder)) == {"truncated"}
    escaping = {MetadataIndex("w", torch.Size([0, 0]), 0): _StorageInfo("../../etc/passwd", 0, 1)}
    assert findings(opened(two_files(folder, storage_data=escaping))) == {"refused-path"}
    two_files(folder)
    (folder / "__1_0.distcp").unlink()
    os.mkfifo(folder / "__1_0.distcp")
    assert findings(opened(folder)) == {"unreadable-shard"}


def tensor(size: Any, chunks: Any = ()) -> TensorStorageMetadata:
    return TensorStorageMetadata(TensorProperties(torch.float32), size, list(chunks))


@pytest.mark.parametrize(
    ("changes", "told", "names"),
    [
        ({"state_dict_metadata": {"w": tensor(torch.Size([8, 5]))}}, set(), ["w"]),
        (
            {
                "state_dict_metadata": {
                    "w": tensor(torch.Size([8, 5]), [ChunkStorageMetadata(torch.Size([0]), torch.Size([3]))])
                }
            },
            {"hole"},
            ["w"],
        ),
        ({"state_dict_metadata": {"w": tensor((-1, 2)), "x": tensor((2,))}}, {"bad-entry", "missing-tensor"}, ["x"]),
        ({"state_dict_metadata": {"w": tensor((1 << 40, 1 << 40))}}, {"bad-entry", "no-tensors"}, []),
        ({"state_dict_metadata": {"w": tensor("ab")}}, {"bad-entry", "no-tensors"}, []),
        ({"state_dict_metadata": {"w": 3, 4: tensor((2,))}}, {"bad-entry", "no-tensors"}, []),
        ({"state_dict_metadata": {"\x1b[2J": tensor((2,))}}, {"missing-tensor"}, ["\\x1b[2J"]),
        ({"state_dict_metadata": {}}, {"no-tensors"}, []),
        ({"storage_data": None}, {"missing-tensor"}, ["w"]),
        ({"storage_data": {1: 2}}, {"missing-tensor"}, ["w"]),
    ],
)
def test_strange_metadata_is_told(tmp_path: Path, changes: dict[str, Any], told: set[str], names: list[str]) -> None:
    model = outcome(two_files(tmp_path, **changes))
    assert isinstance(model, Model)
    assert findings(model) == told
    assert list(model.names) == names


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"\x80\x04}.",
        b"text",
        pickle.dumps([1]),
        pickle.dumps(Metadata({}))[:-9],
        b"\x80\x04" + b"]" * 2_100_000,
    ],
)
def test_what_is_no_metadata_is_one_line(tmp_path: Path, content: bytes) -> None:
    written(tmp_path / ".metadata", content)
    assert isinstance(outcome(tmp_path), ParamxError)


def test_metadata_that_is_no_file_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".metadata")
    assert isinstance(outcome(tmp_path), ParamxError)
    assert isinstance(outcome(tmp_path / "x.distcp"), ParamxError)


AUDIT = Audit()


def test_no_gadget_runs_and_each_is_told(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    good = pickle.dumps(two_files(tmp_path) and Metadata({"w": tensor((2,))}, storage_data={}), 2)
    for name, gadget in gadgets(marker):
        written(tmp_path / ".metadata", gadget)
        outcome(tmp_path)  # once unwatched: what the readers themselves import, they import now
        assert AUDIT.watching(lambda: outcome(tmp_path)) == [], name
        assert isinstance(outcome(tmp_path), ParamxError), name
        # Beside good metadata: a gadget's result that is thrown away, then what was there.
        inner = gadget[2 if gadget[:1] == b"\x80" else 0 : -1]
        inner = inner[9:] if inner[:1] == b"\x95" else inner
        written(tmp_path / ".metadata", b"\x80\x02" + inner + b"0" + good[2:])
        result = outcome(tmp_path)
        assert isinstance(result, Model), name
        assert "refused-global" in findings(result) or "_load_from_bytes" in name, name
    assert not marker.exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples."""
    return two_files(tmp_path_factory.mktemp("any"))


@settings(max_examples=200)
@given(st.data())
def test_mutated_metadata_opens_or_is_one_line(folder: Path, data: st.DataObject) -> None:
    if not WHOLE:
        WHOLE.append((folder / ".metadata").read_bytes())
    whole = WHOLE[0]
    at = data.draw(st.integers(0, len(whole)))
    spoiled = whole[:at] + data.draw(st.binary(max_size=5)) + whole[at + data.draw(st.integers(0, 5)) :]
    written(folder / ".metadata", spoiled)
    outcome(folder)


WHOLE: list[bytes] = []
"""The metadata before the first example spoiled it."""
