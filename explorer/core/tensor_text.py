"""Writes a tensor as torch prints it, to the last character, without torch (torch 2.13, `torch/_tensor_str.py`).

torch's own `_Formatter` decides width, precision and scientific notation from the values that are shown; so does
this. Its default options: 4 digits, edges of 3, 80 columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import cast

from explorer.core.elements import ELEMENTS, Number
from explorer.core.windows import EDGE, THRESHOLD, corners, selected

PRECISION = 4
"""Digits behind the point."""

LINE_WIDTH = 80
"""Columns at which torch breaks the lines of a vector."""

DEFAULT_DTYPES = ("float32", "complex64", "int64", "bool")
"""Dtypes that the print leaves out."""


@dataclass(frozen=True, slots=True)
class Printed:
    """What torch's print of a tensor tells beside its values."""

    shape: tuple[int, ...]
    """Size of each dimension."""
    dtype: str
    """torch's name without its prefix."""
    device: str | None = None
    """Named unless it is the CPU; `None` for a tensor in a file."""
    requires_grad: bool | None = None
    """Named if it is true."""
    is_parameter: bool = False
    """Whether it is a module's, so that torch writes `Parameter containing:` above it."""


class _Formatter:
    """Writes numbers of one kind at one width."""

    def __init__(self, values: Sequence[Number], is_float: bool, odd_zero: float = 0.0) -> None:
        """Look at the values; `odd_zero` is what torch takes for a zero, and then NaN for a number like others."""
        self._is_float = is_float
        self._whole, self._scientific = True, False
        self.width = 1
        if not is_float:
            self.width = max([1, *(len(str(value)) for value in values)])
            return
        floats = cast(Sequence[float], values)
        numbers = [value for value in floats if (odd_zero or math.isfinite(value)) and value != odd_zero]
        if not numbers:
            return
        if any(map(math.isnan, numbers)):
            self._whole = False
        else:
            least, most = min(map(abs, numbers)), max(map(abs, numbers))
            self._whole = all(value == math.floor(value) for value in numbers)
            self._scientific = most / least > 1000.0 or most > 1.0e8 or least < 1.0e-4
        point = 1 if self._whole and not self._scientific else 0
        self.width = max(1, *(len(self._plain(value)) + point for value in numbers))

    def _plain(self, value: float) -> str:
        if self._scientific:
            return f"{value:.{PRECISION}e}"
        return f"{value:.0f}" if self._whole else f"{value:.{PRECISION}f}"

    def __call__(self, value: Number) -> str:
        if not self._is_float:
            return str(value).rjust(self.width)
        number = cast(float, value)
        text = self._plain(number)
        if self._whole and not self._scientific and math.isfinite(number):
            text += "."
        return text.rjust(self.width)


def tensor_text(tensor: Printed, values: Sequence[Number] | None, line_width: int = LINE_WIDTH) -> str:
    """Return what `print(tensor)` prints.

    Args:
        tensor: Its facts.
        values: Those that `corners` selects, in row-major order; `None` on the meta device.
        line_width: Columns at which lines of a vector break (`torch.set_printoptions(linewidth=…)`).

    Returns:
        Lines joined by newlines.
    """
    head = "tensor("
    numel = prod(tensor.shape)
    suffixes = []
    if tensor.device not in (None, "cpu"):
        suffixes.append(f"device='{tensor.device}'")
    if values is None:
        body = "..."
        suffixes.append(f"size={tensor.shape}")
        named = tensor.dtype != "float32"
    elif not numel:
        body = "[]"
        if len(tensor.shape) != 1:
            suffixes.append(f"size={tensor.shape}")
        named = tensor.dtype != "float32"
    else:
        body = _body(tensor, values, len(head), line_width)
        named = tensor.dtype not in DEFAULT_DTYPES
    if named:
        suffixes.append(f"dtype=torch.{tensor.dtype}")
    if tensor.requires_grad:
        suffixes.append("requires_grad=True")
    text = _with_suffixes(head + body, suffixes, len(head), line_width)
    return f"Parameter containing:\n{text}" if tensor.is_parameter else text


def _with_suffixes(text: str, suffixes: list[str], indent: int, line_width: int) -> str:
    last = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if last + len(suffix) + 2 > line_width:
            text += ",\n" + " " * indent + suffix
            last = indent + len(suffix)
        else:
            text += ", " + suffix
            last += len(suffix) + 2
    return text + ")"


def _body(tensor: Printed, values: Sequence[Number], indent: int, line_width: int) -> str:
    kind = ELEMENTS[tensor.dtype].kind
    write: Callable[[Number], str]
    if kind == "complex":
        numbers = cast(Sequence[complex], values)
        real = _Formatter([number.real for number in numbers], True)
        imaginary = _Formatter([number.imag for number in numbers], True)
        # A vector's elements are separated by two characters, and an imaginary part ends in `j`.
        length = real.width + imaginary.width + 3

        def write(number: Number) -> str:
            value = cast(complex, number)
            tail = f"{imaginary(value.imag)}j".lstrip()
            return real(value.real) + ("" if tail[0] in "+-" else "+") + tail

    else:
        if kind == "pair":
            # torch has no text for two values in a byte: it writes the byte, and as if it were a float.
            codes = [_code(cast(tuple[float, float], value)) for value in values]
            values = codes
        # float8_e8m0fnu has no zero and torch compares it by its bytes: 2^-127 passes for 0, and NaN for finite.
        odd_zero = 2.0**-127 if tensor.dtype == "float8_e8m0fnu" else 0.0
        plain = _Formatter(values, kind in ("float", "pair"), odd_zero)
        write, length = plain, plain.width + 2
    cut = prod(tensor.shape) > THRESHOLD
    sizes = selected(corners(tensor.shape))
    per_line = max(1, (line_width - indent) // length)

    def lay(dimension: int, start: int, indent: int) -> str:
        """Lay out one sub-tensor whose first shown value is `values[start]`."""
        whole = len(tensor.shape) - dimension
        left_out = cut and tensor.shape[dimension] > 2 * EDGE
        step = prod(sizes[dimension + 1 :])
        places = [start + step * index for index in range(sizes[dimension])]
        if whole == 1:
            # The indent of each level takes its place from the line.
            per_row = max(1, (line_width - indent) // length) if dimension else per_line
            cells = [write(values[place]) for place in places]
            if left_out:
                cells.insert(EDGE, " ...")
            rows = [", ".join(cells[at : at + per_row]) for at in range(0, len(cells), per_row)]
            return "[" + (",\n" + " " * (indent + 1)).join(rows) + "]"
        parts = [lay(dimension + 1, place, indent + 1) for place in places]
        if left_out:
            parts.insert(EDGE, "...")
        return "[" + ("," + "\n" * (whole - 1) + " " * (indent + 1)).join(parts) + "]"

    return lay(0, 0, indent) if tensor.shape else write(values[0])


def _code(pair: tuple[float, float]) -> float:
    """Return the byte that holds a pair of `float4_e2m1fn` values."""
    return float(_nibble(pair[0]) | _nibble(pair[1]) << 4)


def _nibble(value: float) -> int:
    magnitudes = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
    return magnitudes.index(abs(value)) | (8 if math.copysign(1.0, value) < 0 else 0)
