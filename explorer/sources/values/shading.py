"""Shrinks a matrix to the cells of a picture: of each block the root of the mean square, which no signs cancel."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Generator, Sequence
from itertools import product
from math import prod, sqrt
from typing import Any

from explorer.core.errors import ParamxError
from explorer.core.windows import Range
from explorer.sources.values import Readable
from explorer.sources.values.arranged import once
from explorer.sources.values.measuring import CHUNK, as_floats, exponent_of, unscaled

MAX_CELLS = 1000
"""Most cells in one direction."""


def shade(
    tensor: Readable, leading: Sequence[int], rows: int, columns: int
) -> Generator[float, None, list[list[float | None]]]:
    """Shrink a matrix; yields the share that is done.

    Args:
        tensor: The tensor; of a vector the picture is one row.
        leading: Indices of the dimensions before the last two.
        rows: Most rows of the picture.
        columns: Most columns.

    Returns:
        For each block the root of the mean square of its finite elements, `None` where it holds NaN or an infinity.

    Raises:
        ParamxError: It can't be read, or has no such matrix.
    """
    import numpy as np

    shape = tensor.facts.shape
    if not shape:
        raise ParamxError("heat map", "the tensor is one number, no matrix")
    if not prod(shape):
        raise ParamxError("heat map", f"a tensor of shape {list(shape)} has no element")
    if len(leading) != max(0, len(shape) - 2):
        raise ParamxError("heat map", f"a tensor of shape {list(shape)} has no matrix at {list(leading)}")
    if not all(0 <= index < size for index, size in zip(leading, shape, strict=False)):
        raise ParamxError("heat map", f"a tensor of shape {list(shape)} has no matrix at {list(leading)}")
    height, width = (shape[-2] if len(shape) > 1 else 1), shape[-1]
    rows, columns = min(rows, height, MAX_CELLS), min(columns, width, MAX_CELLS)
    if tensor.facts.expanded:
        stored, _ = once(tensor, tensor.facts.expanded)
        leading = [0 if at in tensor.facts.expanded else index for at, index in enumerate(leading)]
        lines = yield from shade(stored, leading, rows, columns)
        # A matrix has as many blocks as are wanted, or one in the direction in which all are alike.
        return [line * (columns // len(line)) for line in lines] * (rows // len(lines))
    # Blocks differ by at most one row and one column in size.
    starts = [at * width // columns for at in range(columns)]
    sizes = np.diff([*starts, width])
    pairs = 2 if tensor.facts.dtype == "float4_e2m1fn_x2" else 1
    fixed: list[tuple[Range, ...]] = [((index, index + 1),) for index in leading]
    picture: list[list[float | None]] = []
    band = max(1, CHUNK // width)
    for row in range(rows):
        first, last = row * height // rows, (row + 1) * height // rows
        sums, broken = np.zeros(columns), np.zeros(columns, bool)
        exponent: int | None = None
        for top, left in product(range(first, last, band), range(0, width, CHUNK)):
            right = min(left + CHUNK, width)
            window: list[tuple[Range, ...]] = [((top, min(top + band, last)),)] if len(shape) > 1 else []
            data = tensor.take((*fixed, *window, ((left, right),)))
            values: Any = as_floats(tensor.facts.dtype, data).reshape(-1, right - left, pairs)
            finite = np.isfinite(values).all((0, 2))
            kept = np.where(np.isfinite(values), values, 0.0)
            largest = float(np.abs(kept).max())
            if largest:
                # Squares of what lies near the ends of float64 are none: they are summed scaled.
                needed = exponent_of(largest)
                if exponent is None or needed > exponent:
                    sums = np.ldexp(sums, 2 * ((exponent or 0) - needed))
                    exponent = needed
            squares = np.ldexp(kept, -exponent) ** 2 if exponent else kept**2
            begin, end = bisect_right(starts, left) - 1, bisect_left(starts, right)
            cuts = [max(0, start - left) for start in starts[begin:end]]
            sums[begin:end] += np.add.reduceat(squares.sum((0, 2)), cuts)
            broken[begin:end] |= ~np.logical_and.reduceat(finite, cuts)
            yield (row + (top - first + right / width) / (last - first)) / rows
        means = sums / (sizes * (last - first) * pairs)
        cells = zip(means.tolist(), broken.tolist(), strict=True)
        picture.append([None if odd else unscaled(sqrt(mean), exponent or 0) for mean, odd in cells])
    return picture
