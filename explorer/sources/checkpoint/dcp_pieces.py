"""Finds the values of a distributed checkpoint: a tensor's pieces, and where in their files each one's bytes lie.

A `.distcp` file is one piece after the other, each what `torch.save` writes of one tensor: a zip archive within a
file (torch 2.13, distributed/checkpoint/filesystem.py). It is read only when the piece's values are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations, pairwise
from math import prod
from pathlib import Path

from explorer.core.errors import ParamxError
from explorer.core.param import Param
from explorer.core.text import visible
from explorer.sources.checkpoint.files import UnreadableError, inside
from explorer.sources.checkpoint.place import Piece, Pieces, Place
from explorer.sources.checkpoint.torch_contents import read_file

MAX_IRREGULAR = 1000
"""Most pieces that are compared each with each, where they make no grid."""

Block = tuple[tuple[int, ...] | None, tuple[int, ...] | None]
"""Offsets and sizes of a piece, as the metadata lists them; `None` where they are no sizes."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One piece of a tensor in a file."""

    file: str
    """Name of the file, relative to the directory."""
    begin: int
    """Where the piece begins in it, in bytes."""
    length: int
    """How many bytes it takes there."""
    offsets: tuple[int, ...] | None
    """Its first index in each dimension of the whole; `None` where the metadata does not say."""
    index: object
    """Its place among the pieces that the metadata lists, a number; or nothing of use."""
    filtered: bool
    """Whether its bytes went through a filter: compressed or encrypted."""

    @property
    def end(self) -> int:
        """Where it ends in the file, in bytes."""
        return self.begin + self.length


def pieces_of(row: Param, blocks: Sequence[Block], stored: Sequence[Stored], directory: Path) -> Pieces:
    """Return the pieces of a tensor.

    Args:
        row: The tensor.
        blocks: Its pieces as the metadata lists them.
        stored: Where its pieces are.
        directory: Where the files are.

    Raises:
        ParamxError: They can't be told, or do not make up the whole.
    """
    assert row.shape is not None
    name = visible(row.name)
    by_offsets = {piece.offsets: piece for piece in stored}
    by_index = {piece.index: piece for piece in stored if type(piece.index) is int}
    found = []
    for number, (offsets, sizes) in enumerate(blocks):
        piece = (
            by_offsets.get(offsets)
            or by_index.get(number)
            or (stored[0] if len(blocks) == len(stored) == 1 else None)
        )
        if piece is None or offsets is None or sizes is None or not len(offsets) == len(sizes) == len(row.shape):
            raise ParamxError(name, "the metadata does not say where each of its pieces is", "save it again")
        if any(begin + size > whole for begin, size, whole in zip(offsets, sizes, row.shape, strict=True)):
            raise ParamxError(name, "one of its pieces reaches beyond the whole", "save it again")
        if not prod(sizes):
            continue  # of a rank that got nothing
        path = inside(directory, piece.file)
        if path is None:
            raise ParamxError(name, f"{piece.file} leads out of the checkpoint's directory")
        found.append(Piece(offsets, sizes, path, cache(partial(_locate, name, path, piece, row.dtype, sizes))))
    if sum(prod(piece.sizes) for piece in found) != row.numel or _overlap(name, found):
        raise ParamxError(name, "its pieces do not add up to the whole", "save the checkpoint again")
    return Pieces(row.dtype, row.shape, tuple(sorted(found, key=lambda piece: piece.offsets)))


def _overlap(name: str, pieces: Sequence[Piece]) -> bool:
    """Whether two pieces have an element in common.

    Raises:
        ParamxError: They are too many, and lie too irregularly, to tell.
    """
    boxes = {(piece.offsets, piece.sizes) for piece in pieces}
    if len(boxes) < len(pieces):
        return True
    sides = [sorted({*zip(offsets, sizes, strict=True)}) for offsets, sizes in _columns(pieces)]
    if all(begin + size <= after for side in sides for (begin, size), (after, _) in pairwise(side)):
        return False  # a grid, as ranks cut it: two boxes that differ in a dimension are apart there
    if len(pieces) > MAX_IRREGULAR:
        raise ParamxError(name, f"cut into {len(pieces):,} pieces that make no grid", "load it with torch")
    return any(
        all(
            begin < after + length and after < begin + size
            for begin, size, after, length in zip(*one, *two, strict=True)
        )
        for one, two in combinations(boxes, 2)
    )


def _columns(pieces: Sequence[Piece]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield for each dimension the offsets and the sizes of all pieces in it."""
    offsets = zip(*(piece.offsets for piece in pieces), strict=True)
    return zip(offsets, zip(*(piece.sizes for piece in pieces), strict=True), strict=True)


def _locate(name: str, path: Path, piece: Stored, dtype: str | None, sizes: tuple[int, ...]) -> Place:
    """Return where a piece's bytes lie.

    Raises:
        ParamxError: It is not stored as torch stores a tensor, or is another than the metadata says.
    """
    file = visible(piece.file)
    if piece.filtered:
        raise ParamxError(name, f"{file} holds it compressed or encrypted", "load it with torch")
    try:
        contents = read_file(path, file, piece.begin, piece.length)
        if len(contents.walk.found) != 1:
            raise UnreadableError("no single tensor stands where the metadata says", "save the checkpoint again")
        place = contents.place(contents.walk.found[0].tensor)
    except UnreadableError as error:
        raise ParamxError(name, f"{file}: {error.why}", error.remedy) from None
    if (place.dtype, place.shape) != (dtype, sizes):
        raise ParamxError(name, f"{file} holds another tensor than the metadata says", "save the checkpoint again")
    return place
