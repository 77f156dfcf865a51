"""Compares the values of two tensors, chunk by chunk: how many elements differ, and by how much at most."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, replace
from math import isfinite, prod
from typing import TYPE_CHECKING, Any

from explorer.core.compare import Values
from explorer.core.compare_runs import together
from explorer.core.compare_values import REQUEST
from explorer.core.elements import ELEMENTS
from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.sources import Answer, open_served
from explorer.sources.values import OpenTensor, Readable
from explorer.sources.values.answers import in_slices
from explorer.sources.values.arranged import Slice, in_order, once
from explorer.sources.values.measuring import COMPLEX, as_floats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[Any]

CHUNK = 1 << 20
"""Elements that are compared at a time."""


def difference_answers(open_tensor: OpenTensor) -> dict[str, Answer]:
    """Return what compares the values of an open model with those of another target, opened here when first asked.

    Args:
        open_tensor: Opens the tensors of the model that is open.
    """
    others: dict[str, OpenTensor | None] = {}

    def begin(arguments: Mapping[str, Any]) -> Generator[float, None, dict[str, Any]]:
        key = repr(arguments["other"])
        if key not in others:
            others.clear()
            others[key] = open_served(OpenSpec(**arguments["other"]), lambda text: None).values
        other = others[key]
        if other is None:
            raise ParamxError(arguments["other"]["target"], "this kind of target has no values here")
        a, b = open_tensor(arguments["index"]), other(arguments["other_index"])
        if arguments.get("region") is not None:
            a = _slice(a, arguments["region"], b)
        if arguments.get("other_region") is not None:
            b = _slice(b, arguments["other_region"], a)
        return differ(a, b)

    return {REQUEST: in_slices(begin, most=1)}


def _slice(tensor: Readable, region: Sequence[Sequence[int]], part: Readable) -> Readable:
    """Return the slice of a tensor that a part of the other side stands against."""
    ranges = tuple((start, stop) for start, stop in region)
    if prod(stop - start for start, stop in ranges) * prod(tensor.facts.shape[len(ranges) :]) != prod(
        part.facts.shape
    ):
        raise ParamxError("values", "the two are stored in other shapes")
    return Slice(tensor, ranges, part.facts.shape)


def differ(a: Readable, b: Readable) -> Generator[float, None, dict[str, Any]]:
    """Compare two tensors element by element; both are read once, in the same order.

    Args:
        a: One tensor.
        b: Another of the same shape; its dtype may be another.

    Yields:
        The share that is done, after each chunk.

    Returns:
        The fields of `explorer.core.compare.Values`.

    Raises:
        ParamxError: The shapes differ, or the values can't be read.
    """
    if a.facts.shape != b.facts.shape:
        raise ParamxError("values", "the two are stored in other shapes")
    alike = set(a.facts.expanded) & set(b.facts.expanded)
    (a, repeats), (b, _) = once(a, alike), once(b, alike)
    numel = prod(a.facts.shape)
    sizes = ELEMENTS[a.facts.dtype].nbytes, ELEMENTS[b.facts.dtype].nbytes
    streams = _Stream(a), _Stream(b)
    found = Values(0, 0.0)
    for start in range(0, numel, CHUNK):
        wanted = min(CHUNK, numel - start)
        one, other = (stream.take(wanted * size) for stream, size in zip(streams, sizes, strict=True))
        if a.facts.dtype != b.facts.dtype or one != other:
            found = together((found, _of_chunk(a.facts.dtype, one, b.facts.dtype, other)))
        yield (start + wanted) / numel
    counts = {name: getattr(found, name) * repeats for name in ("differing", "nan", "inf")}
    return asdict(replace(found, **counts))


class _Stream:
    """A tensor's elements in row-major order, as many bytes at a time as are asked for."""

    def __init__(self, tensor: Readable) -> None:
        self._parts = in_order(tensor, CHUNK)
        self._held = bytearray()

    def take(self, nbytes: int) -> bytes:
        while len(self._held) < nbytes:
            part = next(self._parts, b"")
            if not part:
                raise ParamxError("values", "fewer than the shape takes")
            self._held += part
        taken = bytes(self._held[:nbytes])
        del self._held[:nbytes]
        return taken


def _of_chunk(dtype_a: str, a: bytes, dtype_b: str, b: bytes) -> Values:
    """Compare two chunks of as many elements."""
    import numpy as np

    one, other = _numbers(dtype_a, a), _numbers(dtype_b, b)
    if one.shape != other.shape:
        raise ParamxError("values", f"{dtype_a} and {dtype_b} can't be compared")
    if dtype_a == dtype_b and ELEMENTS[dtype_a].kind == "int" and ELEMENTS[dtype_a].nbytes == 8:
        # Beyond 2^53 two whole numbers may be one float.
        code = "<u8" if dtype_a.startswith("u") else "<i8"
        unlike = np.frombuffer(a, code) != np.frombuffer(b, code)
    else:
        unlike = (one != other) & ~(np.isnan(one) & np.isnan(other))
    one, other = one[unlike], other[unlike]
    # Two NaN are alike, so that of those that differ one side at most is NaN.
    nan = np.isnan(one) | np.isnan(other)
    inf = (np.isinf(one) | np.isinf(other)) & ~nan
    finite = ~(nan | inf)
    with np.errstate(over="ignore"):
        most = float(np.abs(one[finite] - other[finite]).max(initial=0.0))
    largest = most if isfinite(most) else None
    return Values(len(one), largest if finite.all() else None, int(nan.sum()), int(inf.sum()), largest)


def _numbers(dtype: str, data: bytes) -> Numbers:
    """Return elements as float64 or complex128."""
    import numpy as np

    if dtype in COMPLEX:
        parts = np.frombuffer(data, COMPLEX[dtype]).astype(np.float64)
        found: Numbers = parts[::2] + 1j * parts[1::2]
        return found
    return as_floats(dtype, data)
