"""Values of torch distributed checkpoints: put together from pieces that the library's own writer wrote."""

from __future__ import annotations

import pickle
import random
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, Metadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.sources import Opened, open_served
from explorer.sources.checkpoint.dcp_dir import locator

SIZES = {"rows": ((3, 4), (5, 6)), "grid": ((3, 4), (5, 1, 6)), "cube": ((2,), (1, 3), (4, 2)), "line": ((2, 7, 0),)}
"""For each tensor the sizes of its pieces in each dimension."""


class Cut(torch.Tensor):
    """A tensor that is saved in pieces, by the protocol that DTensor has (checkpoint/planner_helpers.py)."""

    def boxes(self) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Return offsets and sizes of each piece."""
        found: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((), ())]
        for sizes in self.cuts:
            begins = [sum(sizes[:place]) for place in range(len(sizes))]
            found = [
                ((*offsets, begin), (*lengths, size))
                for offsets, lengths in found
                for begin, size in zip(begins, sizes, strict=True)
            ]
        return found

    def __create_write_items__(self, name: str, _: Any) -> list[WriteItem]:
        return [
            WriteItem(
                MetadataIndex(name, torch.Size(offsets)),
                WriteItemType.SHARD,
                tensor_data=TensorWriteData(
                    ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes)),
                    TensorProperties(self.dtype),
                    self.shape,
                ),
            )
            for offsets, sizes in self.boxes()
        ]

    def __get_tensor_shard__(self, index: MetadataIndex) -> torch.Tensor:
        sizes = dict(self.boxes())[tuple(index.offset)]
        box = tuple(slice(begin, begin + size) for begin, size in zip(index.offset, sizes, strict=True))
        return self.as_subclass(torch.Tensor)[box]


def cut(cuts: tuple[tuple[int, ...], ...], dtype: torch.dtype) -> Cut:
    shape = [sum(sizes) for sizes in cuts]
    made = torch.randn(shape).mul(50).to(dtype).as_subclass(Cut)
    made.cuts = cuts
    return made


@pytest.fixture(scope="module")
def things() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    made: dict[str, torch.Tensor] = {name: cut(cuts, torch.float32) for name, cuts in SIZES.items()}
    made["halves"] = cut(((3, 2), (2, 2)), torch.bfloat16)
    made["whole"] = torch.randn(5, 3).t()
    made["scalar"] = torch.tensor(2.5)
    made["empty"] = torch.zeros(0, 4)
    return made


@pytest.fixture(scope="module")
def saved(things: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dcp") / "checkpoint"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(dict(things), storage_writer=dcp.FileSystemWriter(folder, single_file_per_rank=False), no_dist=True)
    return folder


def served(folder: Path) -> Opened:
    opened = open_served(OpenSpec(str(folder)), lambda text: None)
    assert opened.values is not None
    return opened


def test_every_window_is_what_torch_has(saved: Path, things: dict[str, torch.Tensor]) -> None:
    opened, chance = served(saved), random.Random(0)
    assert {param.name for param in opened.model} == set(things)
    for param in opened.model:
        tensor, real = opened.values(param.index), things[param.name].as_subclass(torch.Tensor).contiguous()
        assert tensor.facts.shape == tuple(real.shape)
        for _ in range(40):
            selection = []
            for size in real.shape:
                edges = sorted(chance.randint(0, size) for _ in range(4))
                selection.append(((edges[0], edges[1]), (edges[2], edges[3])))
            wanted = real
            for dimension, ranges in enumerate(selection):
                indices = [index for start, stop in ranges for index in range(start, stop)]
                wanted = wanted.index_select(dimension, torch.tensor(indices, dtype=torch.int64))
            assert tensor.take(tuple(selection)) == bytes(wanted.contiguous().reshape(-1).view(torch.uint8).tolist())


def test_chunks_are_all_elements_and_in_order_where_they_say_so(saved: Path, things: dict[str, torch.Tensor]) -> None:
    opened = served(saved)
    orders = {}
    for param in opened.model:
        tensor, real = opened.values(param.index), things[param.name].as_subclass(torch.Tensor).contiguous()
        width = real.element_size()
        whole = bytes(real.reshape(-1).view(torch.uint8).tolist())
        parts = b"".join(tensor.chunks(5))
        elements = [[text[at : at + width] for at in range(0, len(text), width)] for text in (whole, parts)]
        assert sorted(elements[0]) == sorted(elements[1])
        orders[param.name] = tensor.in_order
        assert not tensor.in_order or parts == whole
    assert orders["line"] and orders["scalar"] and not orders["grid"]


def test_the_note_says_how_many_pieces_there_are(saved: Path) -> None:
    opened = served(saved)
    notes = {param.name: opened.values(param.index).facts.note for param in opened.model}
    assert notes["grid"] == "put together from 6 pieces in 6 files"
    assert notes["whole"] == ""


def test_a_piece_that_is_lost_cut_or_another_is_named(saved: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(saved, folder)
    row = next(param for param in served(folder).model if param.name == "grid")
    path = locator(str(folder))(row.index).pieces[-1].path
    everything = tuple(((0, size),) for size in row.shape or ())
    content = path.read_bytes()

    def why() -> str:
        with pytest.raises(ParamxError) as raised:
            served(folder).values(row.index).take(everything)
        return raised.value.line

    path.write_bytes(content[: len(content) // 2])
    assert path.name in why() and "cut short" in why()
    path.write_bytes(bytes(len(content)))
    assert path.name in why() and "not a file of torch.save" in why()
    torch.save(torch.zeros(9, 9), path)
    assert path.name in why()
    path.unlink()
    assert path.name in why() and "no such file" in why()


def changed(saved: Path, folder: Path, change: Any) -> Path:
    """Write a copy of the metadata with other pieces; the files are not needed to refuse them."""
    metadata: Metadata = dcp.FileSystemReader(saved).read_metadata()
    folder.mkdir()
    with (folder / ".metadata").open("wb") as file:
        pickle.dump(change(metadata), file)
    return folder


def with_chunks(metadata: Metadata, chunks: Any) -> Metadata:
    grid = metadata.state_dict_metadata["grid"]
    return replace(metadata, state_dict_metadata={"grid": replace(grid, chunks=chunks(grid.chunks))})


def box(*sides: tuple[int, int]) -> ChunkStorageMetadata:
    return ChunkStorageMetadata(torch.Size(side[0] for side in sides), torch.Size(side[1] for side in sides))


def without_offsets(metadata: Metadata) -> Metadata:
    kept = {MetadataIndex("grid"): next(iter(metadata.storage_data.values()))}
    return replace(with_chunks(metadata, lambda chunks: chunks), storage_data=kept)


def test_pieces_that_make_no_grid_are_put_together_too(saved: Path, tmp_path: Path) -> None:
    def whirl(metadata: Metadata) -> Metadata:
        boxes = [
            box((0, 2), (0, 5)),
            box((0, 3), (5, 7)),
            box((2, 5), (0, 3)),
            box((3, 4), (3, 9)),
            box((2, 1), (3, 2)),
        ]
        stored = next(iter(metadata.storage_data.values()))
        storage = {MetadataIndex("grid", chunk.offsets): stored for chunk in boxes}
        return replace(with_chunks(metadata, lambda _: boxes), storage_data=storage)

    assert len(locator(str(changed(saved, tmp_path / "whirl", whirl)))(0).pieces) == 5


def filtered(metadata: Metadata) -> Metadata:
    storage = {key: replace(info, transform_descriptors=["zstd"]) for key, info in metadata.storage_data.items()}
    return replace(with_chunks(metadata, lambda chunks: chunks), storage_data=storage)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda metadata: with_chunks(metadata, lambda chunks: chunks[1:]), "do not add up"),
        (lambda metadata: with_chunks(metadata, lambda chunks: [*chunks[1:], chunks[1]]), "do not add up"),
        (lambda metadata: with_chunks(metadata, lambda chunks: [box((0, 8), (0, 12))]), "reaches beyond"),
        (lambda metadata: with_chunks(metadata, lambda chunks: [box((0, 84))]), "does not say where"),
        # As many elements as the whole, on top of each other; then boxes that overlap only partly.
        (lambda metadata: with_chunks(metadata, lambda chunks: [box((0, 7), (0, 6))] * 2), "do not add up"),
        (
            lambda metadata: with_chunks(metadata, lambda chunks: [box((0, 7), (0, 6)), box((0, 7), (4, 6))]),
            "do not add up",
        ),
        (without_offsets, "does not say where"),
        (filtered, "compressed or encrypted"),
    ],
)
def test_pieces_that_can_not_be_put_together_are_refused(saved: Path, tmp_path: Path, change: Any, why: str) -> None:
    folder = changed(saved, tmp_path / "changed", change)
    with pytest.raises(ParamxError, match=why):
        for piece in locator(str(folder))(0).pieces:
            piece.locate()
