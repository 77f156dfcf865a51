"""A tensor of any rank as a grid of rows and columns: which elements a part of it holds, and how each is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from explorer.core.elements import ELEMENTS, Number, decode, raw_text
from explorer.core.text import plural
from explorer.core.windows import Range, Selection

PER_ROW = 10
"""Elements in a row of a vector's grid, where it is not known how many fit on the screen."""

ROUND = 5
"""Rows longer than `PER_ROW` hold a multiple of this many elements, so that indices are easy to read."""


def fitting(cells: int) -> int:
    """Return how many elements of a vector to put in a row where `cells` fit on the screen."""
    return max(1, cells) if cells < PER_ROW else cells - cells % ROUND


@dataclass(frozen=True, slots=True)
class Grid:
    """How a tensor lies in rows and columns: its last two dimensions, the leading ones fixed."""

    shape: tuple[int, ...]
    """The tensor's."""
    per_row: int = PER_ROW
    """Elements in a row of a vector."""

    @property
    def is_vector(self) -> bool:
        """Whether there is one dimension, cut into rows of `per_row`."""
        return len(self.shape) == 1

    @property
    def rows(self) -> int:
        """Rows of the grid."""
        if len(self.shape) < 2:
            return -(-self.shape[0] // self.per_row) if self.shape else 1
        return self.shape[-2]

    @property
    def columns(self) -> int:
        """Columns of the grid."""
        if len(self.shape) < 2:
            return min(self.shape[0], self.per_row) if self.shape else 1
        return self.shape[-1]

    @property
    def leading(self) -> tuple[int, ...]:
        """Sizes of the dimensions that are fixed while one looks at a grid."""
        return self.shape[:-2]

    @property
    def is_empty(self) -> bool:
        """Whether there is no element."""
        return 0 in self.shape

    def width(self, row: int) -> int:
        """Return the columns of one row: the last row of a vector may be short."""
        return min(self.per_row, self.shape[0] - row * self.per_row) if self.is_vector else self.columns

    def selection(self, leading: Sequence[int], rows: Range, columns: Range) -> Selection:
        """Return the elements of a part of the grid; of a vector whole rows are taken."""
        if not self.shape:
            return ()
        if self.is_vector:
            return (((rows[0] * self.per_row, min(rows[1] * self.per_row, self.shape[0])),),)
        return (*(((index, index + 1),) for index in leading), (rows,), (columns,))

    def index(self, leading: Sequence[int], row: int, column: int) -> tuple[int, ...]:
        """Return the index of an element, as `tensor[…]` takes it."""
        if not self.shape:
            return ()
        return (row * self.per_row + column,) if self.is_vector else (*leading, row, column)

    def place(self, index: Sequence[int]) -> tuple[tuple[int, ...], int, int]:
        """Return leading indices, row and column of an element.

        Args:
            index: One number a dimension, negative ones from the end; fewer are those of the first dimensions, as in
                torch, and the others are 0.

        Raises:
            ValueError: There is no such element.
        """
        shape = self.shape
        if not index:
            raise ValueError("no number; 12,5 is an index")
        if len(index) > len(shape):
            raise ValueError(f"too many indices: {len(index)} for {plural(len(shape), 'dimension')}")
        full = (*index, *(0 for _ in range(len(shape) - len(index))))
        places = []
        for dimension, (at, size) in enumerate(zip(full, shape, strict=True)):
            if not -size <= at < size:
                raise ValueError(f"index {at} is out of range for dimension {dimension} of size {size}")
            places.append(at % size)
        if self.is_vector:
            return (), places[0] // self.per_row, places[0] % self.per_row
        return tuple(places[:-2]), places[-2], places[-1]


def parse_index(text: str) -> tuple[int, ...]:
    """Read an index as people type it: `12,5`, `[3, 0, -1]`, `12 5`.

    Raises:
        ValueError: It is not an index.
    """
    parts = text.strip().strip("[]()").replace(",", " ").split()
    try:
        return tuple(map(int, parts))
    except ValueError:
        raise ValueError(f"{text.strip()!r} is no index; 12,5 is one") from None


# --- how a number is written ----------------------------------------------------------------------------------------


def _auto(value: float) -> str:
    return f"{value:.5g}"


def _fixed(value: float) -> str:
    return f"{value:.6f}"


def _scientific(value: float) -> str:
    return f"{value:.4e}"


FORMATS: Mapping[str, Callable[[float], str] | None] = {
    "auto": _auto,
    "fixed": _fixed,
    "scientific": _scientific,
    "hex": None,
}
"""How numbers are written, in the order in which a key goes through them; `hex` is their bits."""


def cell_width(dtype: str, form: str) -> int:
    """Return the characters that one cell needs at most, or is cut to."""
    element = ELEMENTS[dtype]
    if form == "hex":
        return max(4, 2 * element.nbytes)
    if element.kind == "complex":
        return 26 if element.nbytes == 16 else 24
    if element.kind == "pair":
        return 9
    if element.kind == "bool":
        return 5
    if element.kind == "int":
        return min(20, {1: 4, 2: 6, 4: 11, 8: 20}[element.nbytes])
    return 12 if element.nbytes == 8 else 11  # float64 has exponents of three digits


def cell_text(dtype: str, data: bytes, form: str, width: int | None = None) -> str:
    """Write one element in a format of `FORMATS`.

    Args:
        dtype: Its dtype.
        data: Its bytes.
        form: The format.
        width: Characters that it has room for: of a number that needs more, digits of the mantissa are given up,
            never leading digits nor the exponent.
    """
    write = FORMATS[form]
    if write is None:
        return raw_text(data)
    value = decode(dtype, data)[0]
    text = value_text(value, write)
    if width is None or len(text) <= width or isinstance(value, tuple):
        return text
    if isinstance(value, complex):
        half = (width - 2) // 2  # between the parts stands a sign, behind them the j
        return value_text(value, lambda part: narrowed(part, write(part), half))
    return narrowed(value, text, width)


def narrowed(value: float, text: str, width: int) -> str:
    """Return a number in at most `width` characters, where a mantissa of one digit is that short.

    Args:
        value: The number.
        text: How it is written where there is room.
        width: Characters.
    """
    whole, point, digits = text.partition(".")
    if len(text) <= width:
        return text
    shorter: list[str] = []
    if point and digits.isdigit():
        room = width - len(whole) - 1
        # One digit less where rounding up made the whole part longer.
        shorter += (f"{value:.{max(0, places)}f}" for places in (room, room - 1))
    shorter += (f"{value:.{places}e}" for places in (4, 3, 2, 1))
    return next((short for short in shorter if len(short) <= width), f"{value:.0e}")


def value_text(value: Number, write: Callable[[float], str] = _auto) -> str:
    """Write a number; whole ones in full."""
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, tuple):
        return "|".join(f"{part:g}" for part in value)
    if isinstance(value, complex):
        sign = "" if math.copysign(1, value.imag) < 0 or math.isnan(value.imag) else "+"
        return f"{write(value.real)}{sign}{write(value.imag)}j"
    return write(value)


def exact_text(dtype: str, data: bytes) -> str:
    """Write one element with every digit that tells it from its neighbours, and its bits."""
    value = decode(dtype, data)[0]
    text = value_text(value, repr)
    return f"{text}  0x{raw_text(data)}" if ELEMENTS[dtype].kind != "bool" else text
