"""Looks for the next element of a tensor that is NaN or infinite, block by block in the order of the indices."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from explorer.core.elements import ELEMENTS
from explorer.core.windows import Range, Selection
from explorer.sources.values import Readable
from explorer.sources.values.measuring import COMPLEX, as_floats

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 1 << 20
"""Most elements that are read at a time."""


def seek(tensor: Readable, start: Sequence[int], by: int) -> Generator[float, None, dict[str, list[int] | None]]:
    """Look for the next (`by` 1) or previous (-1) element that is NaN or infinite, around the end.

    Args:
        tensor: The tensor.
        start: The index of the element from which to look; that one comes last.
        by: 1 or -1.

    Yields:
        The share of the elements that is read.

    Returns:
        `index`: that of the element, `None` where all are finite.

    Raises:
        ParamxError: The values can't be read.
    """
    import numpy as np

    dtype, shape = tensor.facts.dtype, tensor.facts.shape
    if ELEMENTS[dtype].kind not in ("float", "complex") or not prod(shape):
        return {"index": None}
    blocks = _Blocks(shape)
    origin = int(np.ravel_multi_index(tuple(start), shape)) if shape else 0
    first = blocks.of(origin)
    for step in range(blocks.count + 1):
        begin, selection = blocks.at((first + by * step) % blocks.count)
        places = begin + _not_finite(dtype, tensor.take(selection))
        if step == 0:  # the last step takes this block whole
            places = places[places > origin] if by > 0 else places[places < origin]
        if len(places):
            place = places[0] if by > 0 else places[-1]
            return {"index": [int(at) for at in np.unravel_index(place, shape)]}
        yield (step + 1) / (blocks.count + 1)
    return {"index": None}


def _not_finite(dtype: str, data: bytes) -> NDArray[Any]:
    """Return the places of the elements that are NaN or infinite; of complex ones, where a part is."""
    import numpy as np

    if dtype in COMPLEX:
        parts = np.frombuffer(data, COMPLEX[dtype]).reshape(-1, 2)
        return np.flatnonzero(~np.isfinite(parts).all(axis=1))
    width = ELEMENTS[dtype].nbytes
    # Wide ones as they are: as float64 each block takes six times as long.
    values = np.frombuffer(data, f"<f{width}") if width > 2 else as_floats(dtype, data)
    return np.flatnonzero(~np.isfinite(values))


class _Blocks:
    """A tensor cut into blocks, each of elements that follow one another in the order of their indices."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Cut along the first dimension of which one index has no more elements than `BLOCK`."""
        self._shape = shape
        self._axis = next((at for at in range(len(shape)) if prod(shape[at + 1 :]) <= BLOCK), 0)
        self._below = prod(shape[self._axis + 1 :])
        self._length = shape[self._axis] if shape else 1
        self._step = max(1, BLOCK // self._below)
        self._per_index = -(-self._length // self._step)
        self.count = prod(shape[: self._axis]) * self._per_index

    def of(self, position: int) -> int:
        """Return the block that holds an element."""
        before, within = divmod(position, self._length * self._below)
        return before * self._per_index + within // (self._step * self._below)

    def at(self, number: int) -> tuple[int, Selection]:
        """Return the position of a block's first element, and all of its elements."""
        if not self._shape:
            return 0, ()
        before, part = divmod(number, self._per_index)
        start = part * self._step
        stop = min(start + self._step, self._length)
        leading: list[tuple[Range, ...]] = []
        rest = before
        for size in reversed(self._shape[: self._axis]):
            rest, index = divmod(rest, size)
            leading.insert(0, ((index, index + 1),))
        below = (((0, size),) for size in self._shape[self._axis + 1 :])
        return (before * self._length + start) * self._below, (*leading, ((start, stop),), *below)
