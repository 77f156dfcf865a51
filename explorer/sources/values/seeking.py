"""Looks for the next element of a tensor that is NaN or infinite, block by block in the order of the indices."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from explorer.core.elements import ELEMENTS
from explorer.core.windows import Range, blocks, selected
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
    boxes = [_stored_of(box, tensor.facts.expanded, by) for box in _boxes(shape, start, by)]
    whole, done = sum(prod(stop - first for first, stop in box) for box in boxes), 0
    for box in boxes:
        for block in blocks(box, BLOCK, by):
            places = _not_finite(dtype, tensor.take(block))
            if len(places):
                within = np.unravel_index(places[0 if by > 0 else -1], selected(block))
                return {"index": [first + int(at) for ((first, _),), at in zip(block, within, strict=True)]}
            done += prod(selected(block))
            yield done / whole
    return {"index": None}


def _boxes(shape: Sequence[int], start: Sequence[int], by: int) -> Iterator[tuple[Range, ...]]:
    """Yield all elements as boxes, in the order in which they are looked through from one on; that comes last."""
    whole = tuple((0, size) for size in shape)
    here = tuple((index, index + 1) for index in start)
    after = [(index + 1, size) for index, size in zip(start, shape, strict=True)]
    before = [(0, index) for index in start]
    ahead, behind = (after, before) if by > 0 else (before, after)
    for at in reversed(range(len(shape))):
        yield (*here[:at], ahead[at], *whole[at + 1 :])
    for at in range(len(shape)):
        yield (*here[:at], behind[at], *whole[at + 1 :])
    yield here


def _stored_of(box: Sequence[Range], expanded: Collection[int], by: int) -> tuple[Range, ...]:
    """Return of a box the first index of each expanded dimension, or the last: the others have the same elements."""
    kept = list(box)
    for at in expanded:
        start, stop = box[at]
        if start < stop:
            kept[at] = (start, start + 1) if by > 0 else (stop - 1, stop)
    return tuple(kept)


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
