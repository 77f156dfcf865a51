"""Finds quantiles exactly, 16 bits of the elements with each pass over them, as a radix sort would."""

from __future__ import annotations

from collections.abc import Iterable
from math import floor, isfinite
from typing import TYPE_CHECKING, Any

from explorer.core.statistics import QUANTILES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[Any]

CODES = 1 << 16
"""Values that 16 bits can take."""


def ranks(count: int, repeats: int = 1) -> list[tuple[int, int, float]]:
    """Return for each quantile the places, in order, of the elements below and above it, and the way between.

    Args:
        count: How many elements there are.
        repeats: How often each of them counts.
    """
    last = count * repeats - 1
    places = [last * quantile for quantile in QUANTILES]
    return [
        (floor(place) // repeats, min(floor(place) + 1, last) // repeats, place - floor(place)) for place in places
    ]


def between(pairs: Iterable[tuple[float, float, float]]) -> tuple[float, ...]:
    """Return for each pair of numbers what lies on the way between them; the third says how far."""
    found = []
    for low, high, part in pairs:
        apart = high - low
        # The way between the ends of float64 is no float64; each share of it is.
        found.append(low + apart * part if isfinite(apart) else low * (1 - part) + high * part)
    return tuple(found)


class Digits:
    """The bits of wide elements, 16 at a time, the highest first."""

    def __init__(self, sample: Numbers) -> None:
        """Prepare for elements of the same dtype as those of `sample`."""
        import numpy as np

        self.number = sample.dtype
        self.levels = sample.dtype.itemsize // 2
        self.is_float, self.is_signed = sample.dtype.kind == "f", sample.dtype.kind in "fi"
        self._word = np.dtype(f"<u{sample.dtype.itemsize}")
        up, down = np.arange(CODES), np.arange(CODES)[::-1]
        half = CODES // 2
        if not self.is_signed:
            self.first = up
        else:
            # Negative floats grow as their bits shrink; negative integers (two's complement) grow with them.
            self.first = np.concatenate([down[:half] if self.is_float else up[half:], up[:half]])
        self._up, self._down = up, down

    def of(self, chunk: Numbers, level: int) -> Numbers:
        """Return the digits of a chunk at a level, 0 the highest."""
        import numpy as np

        return chunk.view("<u2")[self.levels - 1 - level :: self.levels].astype(np.intp)

    def words(self, chunk: Numbers) -> Numbers:
        """Return the bits as whole numbers."""
        return chunk.view(self._word)

    def order(self, prefix: int, level: int) -> Numbers:
        """Return the digits of a level in the order of the elements' values, below the digits in `prefix`."""
        negative = self.is_float and prefix >> (16 * level - 1) & 1
        return self._down if negative else self._up

    def value(self, bits: int) -> float:
        """Return the number with these bits."""
        import numpy as np

        number: float = np.array([bits], self._word).view(self.number)[0].item()
        return number


class Search:
    """Finds the elements at the quantiles' places, one digit more with each pass."""

    def __init__(self, digits: Digits, counts: Numbers, count: int, repeats: int) -> None:
        """Begin with how often each highest digit was counted, of `count` elements that each stand for so many."""
        self._digits = digits
        self._pairs = ranks(count, repeats)
        # For each wanted place the bits that are known, and the place among the elements that have them.
        self._found: dict[int, tuple[int, int]] = {}
        for rank in sorted({rank for below, above, _ in self._pairs for rank in (below, above)}):
            self._found[rank] = _step(counts, digits.first, rank)
        self._level = 0

    def begin(self, level: int) -> None:
        """Get ready for a pass that finds the digit at `level`."""
        import numpy as np

        self._level = level
        self._prefixes = np.array(sorted({prefix for prefix, _ in self._found.values()}), np.uint64)
        self._counts = np.zeros((len(self._prefixes), CODES), np.int64)
        first = self._prefixes >> np.uint64(16 * (level - 1))
        self._slots = np.full(CODES, -1, np.int8)
        self._slots[first.astype(np.intp)] = np.arange(len(first))
        self._held: list[Numbers] = []
        self._held_count = 0

    def feed(self, chunk: Numbers) -> None:
        """Count the digits of the elements whose upper bits are wanted."""
        import numpy as np

        slots = self._slots[self._digits.of(chunk, 0)]
        near = np.flatnonzero(slots >= 0)
        chunk = chunk[near]
        if self._level > 1:
            upper = self._digits.words(chunk) >> np.uint64(16 * (self._digits.levels - self._level))
            places = np.searchsorted(self._prefixes, upper)
            places = np.minimum(places, len(self._prefixes) - 1)
            same = self._prefixes[places] == upper
            chunk, which = chunk[same], places[same]
        else:
            which = slots[near].astype(np.intp)
        self._held.append(which * CODES + self._digits.of(chunk, self._level))
        self._held_count += len(which)
        if self._held_count > CODES * 16:  # each count goes over the whole table: not for a few elements
            self._count()

    def _count(self) -> None:
        import numpy as np

        if self._held:
            every = np.concatenate(self._held)
            self._counts += np.bincount(every, minlength=self._counts.size).reshape(self._counts.shape)
            self._held, self._held_count = [], 0

    def end(self) -> None:
        """Put the digit to what is known of each place."""
        self._count()
        slot_of = {int(prefix): slot for slot, prefix in enumerate(self._prefixes)}
        for rank, (prefix, left) in self._found.items():
            order = self._digits.order(prefix, self._level)
            digit, below = _step(self._counts[slot_of[prefix]], order, left)
            self._found[rank] = (prefix << 16 | digit, below)

    def quantiles(self) -> tuple[float, ...]:
        """Return the quantiles; all digits are known."""
        value = {rank: self._digits.value(bits) for rank, (bits, _) in self._found.items()}
        return between((float(value[below]), float(value[above]), part) for below, above, part in self._pairs)


def _step(counts: Numbers, order: Numbers, rank: int) -> tuple[int, int]:
    """Return the digit of the element at a place, and its place among those that share the digit."""
    import numpy as np

    upto = np.cumsum(counts[order])
    at = int(np.searchsorted(upto, rank, "right"))
    return int(order[at]), rank - (int(upto[at - 1]) if at else 0)
