"""Reads the values of a quantized GGUF tensor: its blocks, turned into float32 by the `gguf` package."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from explorer.core.errors import ParamxError
from explorer.core.windows import Run, Selection, runs
from explorer.sources.checkpoint.files import File
from explorer.sources.checkpoint.ggml_types import TYPES, BlockType
from explorer.sources.checkpoint.place import Place
from explorer.sources.values import Facts
from explorer.sources.values.in_file import OpenFile, opened

BLOCKS: dict[str, tuple[int, BlockType]] = {kind.name: (number, kind) for number, kind in TYPES.items()}
"""ggml's types by name: the number, and how a block is laid out."""


class BlockTensor:
    """One tensor of blocks in a file (an `explorer.sources.values.Readable`)."""

    in_order = True

    def __init__(self, name: str, place: Place, open_file: OpenFile = File) -> None:
        """Read from a place; the package is imported here, and only for this.

        Raises:
            ParamxError: The package is missing, or does not know the type.
        """
        assert place.dtype is not None
        number, self._block = BLOCKS[place.dtype]
        try:
            import gguf
            import numpy
        except ImportError:
            raise ParamxError(name, f"{place.dtype} blocks need the gguf package", "pip install gguf") from None
        try:
            self._type = gguf.GGMLQuantizationType(number)
            sizes = gguf.GGML_QUANT_SIZES[self._type]
        except (ValueError, KeyError):
            raise ParamxError(name, f"the gguf package here knows no {place.dtype}", "pip install -U gguf") from None
        if sizes != (self._block.elements, self._block.nbytes) or place.byteorder == "big":
            raise ParamxError(name, f"its {place.dtype} blocks are not those that the gguf package decodes")
        self._dequantize: Any = gguf.quants.dequantize
        self._numpy: Any = numpy
        self._name, self._place, self._open = name, place, open_file
        note = f"dequantized from {place.dtype} by gguf, {self._block.elements} elements a block"
        self.facts = Facts("float32", place.shape, note=note)

    def take(self, selection: Selection) -> bytes:
        """Return the bytes of the selected elements; only the blocks that hold them are read."""
        with opened(self._open, self._place.path) as file:
            return b"".join(self._run(file, run) for run in runs(self._place.shape, selection))

    def chunks(self, elements: int) -> Iterator[bytes]:
        """Yield all elements."""
        numel = prod(self._place.shape)
        step = max(elements // self._block.elements, 1) * self._block.elements
        with opened(self._open, self._place.path) as file:
            for start in range(0, numel, step):
                yield self._run(file, Run(start, 1, min(step, numel - start)))

    def _run(self, file: File, run: Run) -> bytes:
        size = self._block.elements
        first, last = run.start // size, (run.start + run.count - 1) // size + 1
        data = file.read(self._place.offset + first * self._block.nbytes, (last - first) * self._block.nbytes)
        blocks = self._numpy.frombuffer(data, self._numpy.uint8).reshape(last - first, self._block.nbytes)
        try:
            values = self._dequantize(blocks, self._type)
        except NotImplementedError:
            why = f"the gguf package can't dequantize {self._place.dtype}"
            raise ParamxError(self._name, why, "pip install -U gguf") from None
        start = run.start - first * size
        part: bytes = values.reshape(-1)[start : start + run.count].astype("<f4").tobytes()
        return part
