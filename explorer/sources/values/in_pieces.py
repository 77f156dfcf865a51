"""Reads the values of a tensor that is stored in pieces: of each piece only what is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from explorer.core.elements import ELEMENTS
from explorer.core.errors import ParamxError
from explorer.core.text import plural, visible
from explorer.core.windows import Range, Selection, contiguous, runs, selected
from explorer.sources.checkpoint.files import File
from explorer.sources.checkpoint.place import Piece, Pieces
from explorer.sources.values import Facts
from explorer.sources.values.in_file import FileTensor, OpenFile


class PiecedTensor:
    """One tensor in pieces (an `explorer.sources.values.Readable`)."""

    def __init__(self, name: str, whole: Pieces, open_file: OpenFile = File) -> None:
        """Read nothing yet; a piece is looked for when something of it is wanted.

        Raises:
            ParamxError: Its dtype is not one that can be read.
        """
        if whole.dtype not in ELEMENTS:
            raise ParamxError(name, f"values of dtype {visible(whole.dtype or '') or 'unknown'} can't be decoded")
        self._name, self._whole, self._open = name, whole, open_file
        self._size = ELEMENTS[whole.dtype].nbytes
        files = len({piece.path for piece in whole.pieces})
        count = len(whole.pieces)
        note = f"put together from {plural(count, 'piece')} in {plural(files, 'file')}" if count > 1 else ""
        self.facts = Facts(whole.dtype, whole.shape, note=note)

    @property
    def in_order(self) -> bool:
        """Whether the pieces are whole rows, one after the other, and each in order."""
        whole = self._whole
        rows = all(piece.sizes[1:] == whole.shape[1:] for piece in whole.pieces)
        return rows and all(self._tensor(piece).in_order for piece in whole.pieces)

    def _tensor(self, piece: Piece) -> FileTensor:
        return FileTensor(self._name, piece.locate(), self._open)

    def take(self, selection: Selection) -> bytes:
        """Return the bytes of the selected elements; pieces without any are not looked at."""
        shape, size = selected(selection), self._size
        taken = bytearray(prod(shape) * size)
        for piece in self._whole.pieces:
            sides = [_common(*side) for side in zip(selection, piece.offsets, piece.sizes, strict=True)]
            if not all(wanted for wanted, _ in sides):
                continue
            data = self._tensor(piece).take(tuple(wanted for wanted, _ in sides))
            at = 0
            # What was selected of the piece is a selection of the answer too, and both are in row-major order.
            for run in runs(shape, tuple(places for _, places in sides), contiguous(shape)):
                begin, length = run.start * size, run.count * size
                taken[begin : begin + length] = data[at : at + length]
                at += length
        return bytes(taken)

    def chunks(self, elements: int) -> Iterator[bytes]:
        """Yield the bytes of all elements, piece by piece."""
        for piece in self._whole.pieces:
            yield from self._tensor(piece).chunks(elements)


def _common(wanted: tuple[Range, ...], begin: int, size: int) -> tuple[tuple[Range, ...], tuple[Range, ...]]:
    """Return what of the ranges of one dimension a piece has: as its own indices, and as places in the answer."""
    own, places = [], []
    at = 0
    for start, stop in wanted:
        first, last = max(start, begin), min(stop, begin + size)
        if first < last:
            own.append((first - begin, last - begin))
            places.append((at + first - start, at + last - start))
        at += stop - start
    return tuple(own), tuple(places)
