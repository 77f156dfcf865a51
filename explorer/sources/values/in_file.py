"""Reads the values of a tensor that lies in a file: with `pread`, and only those that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

from explorer.core.elements import ELEMENTS, unpack
from explorer.core.errors import ParamxError
from explorer.core.text import visible
from explorer.core.windows import MAX_SELECTED, Run, Selection, contiguous, expanded, runs, selected
from explorer.sources.checkpoint.files import File, UnreadableError
from explorer.sources.checkpoint.place import Place
from explorer.sources.values import Facts
from explorer.sources.values.arranged import by_blocks

PACKED = {
    # Named by torch for the byte that holds two; safetensors counts each.
    "float4_e2m1fn_x2": ("float4_e2m1fn", 4),
    "float6_e2m3fn": ("float6_e2m3fn", 6),
    "float6_e3m2fn": ("float6_e3m2fn", 6),
    "quint4x2": ("quint4x2", 4),
    "quint2x4": ("quint2x4", 2),
}
"""Dtypes that files hold in less than a byte each: how one is read, and its bits."""

NEAR = 1 << 12
"""Bytes from one element of a row to the next up to which the gaps are read too, rather than each by itself."""

SPAN = 1 << 20
"""Most bytes, gaps included, that are read of a row at a time."""

BOX_SPAN = 1 << 26
"""Most bytes, gaps included, that are read of several rows at a time."""

OpenFile = Callable[[Path], File]
"""Opens a path; tests count what is read through their own."""


@contextmanager
def opened(open_file: OpenFile, path: Path) -> Iterator[File]:
    """Open a file for its tensors' values; what can't be read raises `ParamxError`, named by the file."""
    try:
        with open_file(path) as file:
            yield file
    except UnreadableError as error:
        raise ParamxError(visible(path.name), error.why, error.remedy) from None


class FileTensor:
    """One tensor in a file (an `explorer.sources.values.Readable`)."""

    def __init__(self, name: str, place: Place, open_file: OpenFile = File) -> None:
        """Read from a place.

        Args:
            name: How errors call the tensor.
            place: Where its bytes lie.
            open_file: Opens the file.

        Raises:
            ParamxError: Its dtype is not one that can be read.
        """
        self._name, self._place, self._open = name, place, open_file
        dtype, self._bits = place.dtype or "", 0
        numel = prod(place.shape)
        if dtype in PACKED and place.nbytes == (numel * PACKED[dtype][1] + 7) // 8 and place.stride is None:
            dtype, self._bits = PACKED[dtype]
        if dtype not in ELEMENTS:
            raise ParamxError(name, f"values of dtype {visible(dtype) or 'unknown'} can't be decoded")
        self._size = ELEMENTS[dtype].nbytes
        self._stride = place.stride
        if not self._bits and place.stride is None and place.nbytes != numel * self._size:
            raise ParamxError(
                name, f"the file gives it {place.nbytes:,} bytes, its shape takes {numel * self._size:,}"
            )
        repeated = () if place.stride is None else expanded(place.shape, place.stride)
        self.facts = Facts(dtype, place.shape, expanded=repeated)
        self.in_order = place.stride is None or not _is_dense(place.shape, place.stride) or _rows_first(place)

    def take(self, selection: Selection) -> bytes:
        """Return the bytes of the selected elements; nothing else is read but what lies between near ones."""
        shape = self._place.shape
        with opened(self._open, self._place.path) as file:
            data = self._box(file, selection)
            if data is None:
                data = b"".join(self._run(file, run) for run in _joined(runs(shape, selection, self._stride)))
        return self._little(data)

    def chunks(self, elements: int) -> Iterator[bytes]:
        """Yield the bytes of all elements, straight through the file where they have no gaps."""
        shape, numel = self._place.shape, prod(self._place.shape)
        if self._stride is not None and not _is_dense(shape, self._stride):
            yield from by_blocks(self, elements)
            return
        with opened(self._open, self._place.path) as file:
            for start in range(0, numel, elements):
                yield self._little(self._run(file, Run(start, 1, min(elements, numel - start))))

    def _box(self, file: File, selection: Selection) -> bytes | None:
        """Return a box of a strided tensor from one read over all of it, so that no row costs a read of its own.

        `None` where the gaps are too large, and for no more than screens show: those do without numpy.
        """
        shape = selected(selection)
        if self._stride is None or prod(shape) <= MAX_SELECTED or any(len(ranges) > 1 for ranges in selection):
            return None
        first = sum(start * step for ((start, _),), step in zip(selection, self._stride, strict=True))
        last = sum((size - 1) * step for size, step in zip(shape, self._stride, strict=True))
        span = (last + 1) * self._size
        if span > min(BOX_SPAN, NEAR * prod(shape)):
            return None
        import numpy as np

        data = file.read(self._place.offset + first * self._size, span)
        stride = [step * self._size for step in self._stride]
        taken: bytes = np.ndarray(shape, f"V{self._size}", data, 0, stride).tobytes()
        return taken

    def _run(self, file: File, run: Run) -> bytes:
        offset, size = self._place.offset, self._size
        if self._bits:
            first = run.start * self._bits
            last = (run.start + run.count) * self._bits
            data = file.read(offset + first // 8, (last + 7) // 8 - first // 8)
            return _unpacked(data, self._bits, first % 8, run.count)
        if run.step == 1 or run.count == 1:
            return file.read(offset + run.start * size, run.count * size)
        if run.step == 0:
            return file.read(offset + run.start * size, size) * run.count
        step = run.step * size
        together = max(1, SPAN // step) if step <= NEAR else 1
        parts = (
            _spaced(file, offset + run.start * size + at * step, step, size, min(together, run.count - at))
            for at in range(0, run.count, together)
        )
        return b"".join(parts)

    def _little(self, data: bytes) -> bytes:
        """Return elements with their lowest byte first."""
        size = self._size // 2 if ELEMENTS[self.facts.dtype].kind == "complex" else self._size
        if self._place.byteorder != "big" or size == 1:
            return data
        turned = bytearray(len(data))
        for at in range(size):
            turned[at::size] = data[size - 1 - at :: size]
        return bytes(turned)


def _spaced(file: File, offset: int, step: int, size: int, count: int) -> bytes:
    """Return elements of `size` bytes that lie `step` bytes apart, by one read over all of them."""
    data = file.read(offset, (count - 1) * step + size)
    if count == 1:
        return data
    taken = bytearray(count * size)
    for at in range(size):
        taken[at::size] = data[at::step]
    return bytes(taken)


def _unpacked(data: bytes, bits: int, skip: int, count: int) -> bytes:
    """Return `unpack`ed elements, in blocks: one number of a million digits would take a square of the time."""
    if count <= 64:
        return unpack(data, bits, skip, count)
    # Eight elements take whole bytes, so blocks of them start at the same bit.
    step = 64 * bits // 8
    parts = (
        unpack(data[at * step // 64 : at * step // 64 + step + 1], bits, skip, min(64, count - at))
        for at in range(0, count, 64)
    )
    return b"".join(parts)


def _joined(rows: Iterator[Run]) -> Iterator[Run]:
    """Join runs that follow one another without a gap: a window as wide as the tensor is one read."""
    held: Run | None = None
    for run in rows:
        if held is not None and held.step == run.step == 1 and held.start + held.count == run.start:
            held = Run(held.start, 1, held.count + run.count)
            continue
        if held is not None:
            yield held
        held = run
    if held is not None:
        yield held


def _rows_first(place: Place) -> bool:
    """Whether a tensor without gaps lies in row-major order."""
    return place.stride is not None and all(
        size == 1 or step == plain
        for size, step, plain in zip(place.shape, place.stride, contiguous(place.shape), strict=True)
    )


def _is_dense(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Whether the elements lie without gaps or overlaps, in whatever order."""
    pairs = sorted((step, size) for size, step in zip(shape, stride, strict=True) if size != 1)
    sizes = [size for _, size in reversed(pairs)]
    return [step for step, _ in reversed(pairs)] == list(contiguous(sizes))
