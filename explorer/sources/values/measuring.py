"""Works out a tensor's statistics exactly, chunk by chunk, in little memory however large the tensor is.

Elements of two bytes or less are counted by their code: one pass, and everything follows from the counts. Of wider
ones the first pass takes mean, spread and extremes (merged by Chan, Golub and LeVeque's formula) and counts the upper
16 bits; in the next passes the elements at the quantiles are found 16 bits at a time, as a radix sort would, and the
histogram is filled. Of an expanded tensor each element is read once, and counted as often as it stands there.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace
from functools import cache
from math import frexp, inf, isfinite, ldexp, prod, sqrt
from typing import TYPE_CHECKING, Any

from explorer.core.elements import ELEMENTS, decode
from explorer.core.statistics import BINS, TensorStats
from explorer.sources.values import Readable
from explorer.sources.values.arranged import once
from explorer.sources.values.quantiles import CODES, Digits, Search, between, ranks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[Any]

CHUNK = 1 << 18
"""Elements that are worked on at a time: so few stay in the processor's cache over all passes."""

COMPLEX = {"complex32": "<f2", "complex64": "<f4", "complex128": "<f8"}
"""How the two parts of a complex element are stored."""

SQUARED = 480
"""Largest binary exponent, of either sign, whose squares may be summed as they are: float64 ends near 2**1023."""

Progress = Generator[float, None, TensorStats]
"""Yields the share that is done, after each chunk; returns the statistics."""


def measure(tensor: Readable) -> Progress:
    """Measure one tensor.

    Raises:
        ParamxError: Its values can't be read.
    """
    # The first index of an expanded dimension is where its first NaN is too.
    stored, repeats = once(tensor, tensor.facts.expanded)
    dtype = stored.facts.dtype
    if ELEMENTS[dtype].nbytes <= 2 and ELEMENTS[dtype].kind != "complex":
        return _by_code(stored, repeats)
    if prod(stored.facts.shape) <= CHUNK:
        return _sorted(stored, repeats)
    return _by_digits(stored, repeats)


def exponent_of(largest: float) -> int:
    """Return the power of two that numbers up to `largest` are divided by before they are squared; mostly 0."""
    exponent = frexp(largest)[1]
    return exponent if abs(exponent) > SQUARED else 0


def unscaled(value: float, exponent: int) -> float:
    """Return a figure of numbers that were divided by a power of two, infinite where it is no float64."""
    try:
        return ldexp(value, exponent)
    except OverflowError:
        return inf if value > 0 else -inf


# --- elements of two bytes or less ----------------------------------------------------------------------------------


def _by_code(tensor: Readable, repeats: int) -> Progress:
    import numpy as np

    dtype, numel = tensor.facts.dtype, prod(tensor.facts.shape)
    width = ELEMENTS[dtype].nbytes
    codes = 256**width
    counts = np.zeros(codes, np.int64)
    values = _values_of_codes(dtype)
    by_code = values.reshape(codes, -1)
    nan, inf = (np.logical_or.reduce(odd(by_code), axis=1) for odd in (np.isnan, np.isinf))
    first_nan: int | None = None
    first_inf: int | None = None
    done = 0
    for data in tensor.chunks(CHUNK * 4):
        chunk = np.frombuffer(data, np.uint8 if width == 1 else "<u2")
        here = np.bincount(chunk, minlength=codes)
        if first_nan is None and here[nan].any():
            first_nan = done + int(nan[chunk].argmax())
        if first_inf is None and here[inf].any():
            first_inf = done + int(inf[chunk].argmax())
        counts += here
        done += len(chunk)
        yield done / numel
    counts, numel = counts * repeats, numel * repeats
    if values.ndim == 2:  # a byte of two values counts as two
        values, counts, numel = values.reshape(-1), np.repeat(counts, 2), 2 * numel
    stats = _of_counts(values, counts, numel)
    return replace(stats, first_nan=_index(tensor, first_nan), first_inf=_index(tensor, first_inf))


def _index(tensor: Readable, position: int | None) -> tuple[int, ...] | None:
    """Return the index of the element that `chunks` gives at a position; `None` where that is in another order."""
    import numpy as np

    if position is None or not tensor.in_order:
        return None
    return tuple(int(at) for at in np.unravel_index(position, tensor.facts.shape))


def _of_counts(values: Numbers, counts: Numbers, numel: int) -> TensorStats:
    """Make the statistics from how often each value is there."""
    import numpy as np

    nans, infs = int(counts[np.isnan(values)].sum()), int(counts[np.isinf(values)].sum())
    zeros = int(counts[values == 0].sum())
    kept = np.isfinite(values) & (counts > 0)
    values, counts = values[kept], counts[kept]
    order = np.argsort(values, kind="stable")
    values, counts = values[order], counts[order]
    finite = int(counts.sum())
    if not finite:
        return TensorStats(numel, zeros, nans, infs, None, None, None, None, 0.0)
    mean = float(values @ counts / finite)
    spread = float(((values - mean) ** 2) @ counts)
    upto = np.cumsum(counts)

    def at(rank: int) -> float:
        return float(values[np.searchsorted(upto, rank, "right")])

    low, high = float(values[0]), float(values[-1])
    return TensorStats(
        numel,
        zeros,
        nans,
        infs,
        mean,
        sqrt(spread / (finite - 1)) if finite > 1 else None,
        low,
        high,
        sqrt(float((values**2) @ counts)),
        between((at(below), at(above), part) for below, above, part in ranks(finite)),
        tuple(_binned(values, low, high, counts).tolist()),
    )


def _binned(values: Numbers, low: float, high: float, weights: Numbers | None = None) -> Numbers:
    """Return how many values fall into each bin."""
    import numpy as np

    # Halves, because the width of the widest range is no float64.
    half = high / 2 - low / 2
    if not half > 0 or not isfinite(BINS / half):
        return np.array([len(values) if weights is None else weights.sum()], np.int64)
    places = ((values / 2 - low / 2) * (BINS / half)).astype(np.intp)
    np.minimum(places, BINS - 1, out=places)
    filled = np.bincount(places, weights, minlength=BINS)
    return filled.astype(np.int64)


# --- wider elements -------------------------------------------------------------------------------------------------


class _Moments:
    """Mean, spread, extremes and counts of what has been fed in; in the statistics each counts `repeats` times."""

    def __init__(self, tensor: Readable, repeats: int) -> None:
        self._tensor, self._repeats = tensor, repeats
        self.count, self.zeros, self.nans, self.infs = 0, 0, 0, 0
        self._fed = 0
        self._first_nan: int | None = None
        self._first_inf: int | None = None
        self.mean, self.spread = 0.0, 0.0
        self.exponent: int | None = None
        """The power of two that `mean` is divided by, `spread` by its square; `None` while all are zero."""
        self.least: float | None = None
        self.most: float | None = None

    def feed(self, chunk: Numbers, may_have_zeros: bool = True, may_have_others: bool = True) -> Numbers:
        """Take a chunk; return its finite elements."""
        import numpy as np

        before, self._fed = self._fed, self._fed + len(chunk)
        if may_have_zeros:
            self.zeros += len(chunk) - int(np.count_nonzero(chunk))
        if may_have_others and chunk.dtype.kind == "f":
            finite = np.isfinite(chunk)
            kept = int(np.count_nonzero(finite))
            if kept < len(chunk):
                nan = np.isnan(chunk)
                nans = int(np.count_nonzero(nan))
                infs = len(chunk) - kept - nans
                if nans and self._first_nan is None:
                    self._first_nan = before + int(nan.argmax())
                if infs and self._first_inf is None:
                    self._first_inf = before + int(np.isinf(chunk).argmax())
                self.nans += nans
                self.infs += infs
                chunk = chunk[finite]
        if not len(chunk):
            return chunk
        low, high = chunk.min().item(), chunk.max().item()
        self.least = low if self.least is None else min(self.least, low)
        self.most = high if self.most is None else max(self.most, high)
        wide = chunk.astype(np.float64)
        self._scale(max(abs(float(low)), abs(float(high))))
        if self.exponent:
            wide = np.ldexp(wide, -self.exponent)
        mean = float(wide.mean())
        wide -= mean
        spread = float(wide @ wide)
        count = self.count + len(chunk)
        apart = mean - self.mean
        self.spread += spread + apart * apart * (self.count * len(chunk) / count)
        self.mean += apart * (len(chunk) / count)
        self.count = count
        return chunk

    def _scale(self, largest: float) -> None:
        """Take the scale of a chunk's largest number where it is above that of all before."""
        if not largest:
            return
        exponent = exponent_of(largest)
        if self.exponent is None:
            self.exponent = exponent
        elif exponent > self.exponent:
            self.mean = ldexp(self.mean, self.exponent - exponent)
            self.spread = ldexp(self.spread, 2 * (self.exponent - exponent))
            self.exponent = exponent

    def stats(self, quantiles: tuple[float, ...] = (), histogram: Iterable[int] = ()) -> TensorStats:
        """Return what is known."""
        exponent, repeats = self.exponent or 0, self._repeats
        count, spread = self.count * repeats, self.spread * repeats
        return TensorStats(
            prod(self._tensor.facts.shape) * repeats,
            self.zeros * repeats,
            self.nans * repeats,
            self.infs * repeats,
            unscaled(self.mean, exponent) if count else None,
            unscaled(sqrt(spread / (count - 1)), exponent) if count > 1 else None,
            self.least,
            self.most,
            unscaled(sqrt(spread + count * self.mean**2), exponent),
            quantiles,
            tuple(filled * repeats for filled in histogram),
            _index(self._tensor, self._first_nan),
            _index(self._tensor, self._first_inf),
        )


def _array(dtype: str, data: bytes) -> Numbers:
    """Return a chunk as numbers of numpy's; of complex ones the absolute values."""
    import numpy as np

    if dtype == "complex32":
        pairs = np.frombuffer(data, "<f2").astype(np.float32)
        return np.hypot(pairs[::2], pairs[1::2])
    if ELEMENTS[dtype].kind == "complex":
        sizes: Numbers = np.abs(np.frombuffer(data, "<c8" if dtype == "complex64" else "<c16"))
        return sizes
    code = {"float": "f", "int": "u" if dtype.startswith("u") else "i"}[ELEMENTS[dtype].kind]
    return np.frombuffer(data, f"<{code}{ELEMENTS[dtype].nbytes}")


def as_floats(dtype: str, data: bytes) -> Numbers:
    """Return elements of any dtype as float64; of complex ones the absolute values, of pairs both."""
    import numpy as np

    width = ELEMENTS[dtype].nbytes
    if width > 2 or ELEMENTS[dtype].kind == "complex":
        wide: Numbers = _array(dtype, data).astype(np.float64)
        return wide
    values: Numbers = _values_of_codes(dtype)[np.frombuffer(data, np.uint8 if width == 1 else "<u2")].reshape(-1)
    return values


@cache
def _values_of_codes(dtype: str) -> Numbers:
    """Return the value of every code of a dtype of two bytes or less; of a pair, both."""
    import numpy as np

    width = ELEMENTS[dtype].nbytes
    codes = np.arange(256**width, dtype=np.uint8 if width == 1 else "<u2")
    return np.array(decode(dtype, codes.tobytes()), np.float64)


def _sorted(tensor: Readable, repeats: int) -> Progress:
    """Measure a tensor that is one chunk."""
    import numpy as np

    moments = _Moments(tensor, repeats)
    data = b"".join(tensor.chunks(CHUNK))
    if not data:
        return moments.stats()
    finite = np.sort(moments.feed(_array(tensor.facts.dtype, data)))
    yield 1.0
    if not len(finite):
        return moments.stats()
    places = ranks(len(finite), repeats)
    pairs = ((float(finite[below]), float(finite[above]), part) for below, above, part in places)
    low, high = float(finite[0]), float(finite[-1])
    return moments.stats(between(pairs), _binned(finite.astype(np.float64), low, high).tolist())


def _by_digits(tensor: Readable, repeats: int) -> Progress:
    import numpy as np

    dtype, numel = tensor.facts.dtype, prod(tensor.facts.shape)
    moments = _Moments(tensor, repeats)
    counts = np.zeros(CODES, np.int64)
    digits: Digits | None = None
    done = 0
    for data in tensor.chunks(CHUNK):
        chunk = _array(dtype, data)
        digits = digits or Digits(chunk)
        here = np.bincount(digits.of(chunk, 0), minlength=CODES)
        done += len(chunk)
        if digits.is_float:
            # The upper 16 bits tell what is neither NaN nor infinite, and what can't be zero.
            bad = 0x7F80 if digits.levels == 2 else 0x7FF0
            here[bad:0x8000] = here[0x8000 + bad :] = 0
        finite = moments.feed(chunk, bool(here[0] or here[CODES // 2]), int(here.sum()) < len(chunk))
        del finite
        counts += here
        yield done / numel / 2
    assert digits is not None
    if not moments.count:
        return moments.stats()
    search = Search(digits, counts, moments.count, repeats)
    low, high = float(moments.least or 0), float(moments.most or 0)
    histogram: Numbers | None = None
    for level in range(1, digits.levels):
        done = 0
        search.begin(level)
        for data in tensor.chunks(CHUNK):
            chunk = _array(dtype, data)
            search.feed(chunk)
            if level == 1:
                wide = chunk[np.isfinite(chunk)] if moments.nans or moments.infs else chunk
                part = _binned(wide.astype(np.float64), low, high)
                histogram = part if histogram is None else histogram + part
            done += len(chunk)
            yield (1 + (level - 1 + done / numel) / (digits.levels - 1)) / 2
        search.end()
    assert histogram is not None
    return moments.stats(search.quantiles(), histogram.tolist())
