"""Turns the bytes of a tensor's elements into numbers, as truthfully as their format allows. Pure.

Bytes are little-endian, element after element. Formats of a byte or less, by their exponent and mantissa bits (OCP
MX specification 1.0, and torch/headeronly/util/Float8_*.h): a value is (-1)^s · 2^(e - bias) · 1.m, without the
leading 1 where e is 0.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

Number = float | int | bool | complex | tuple[float, float]
"""One element; the two values of a byte that holds two (`float4_e2m1fn_x2`) are a pair, the low half first."""

Kind = Literal["float", "int", "bool", "complex", "pair"]


@dataclass(frozen=True, slots=True)
class Element:
    """How one element of a dtype is stored."""

    nbytes: int
    """Bytes of one element."""
    kind: Kind
    """What it stands for."""
    decode: Callable[[bytes], Sequence[Number]]
    """Turns the bytes of any number of elements into as many numbers."""


def _packed(code: str) -> Callable[[bytes], Sequence[Number]]:
    size = struct.calcsize(f"<{code}")
    return lambda data: struct.unpack(f"<{len(data) // size}{code}", data)


def _bfloat16(data: bytes) -> Sequence[Number]:
    """Read bfloat16: the upper half of a float32."""
    wide = bytearray(2 * len(data))
    wide[2::4], wide[3::4] = data[::2], data[1::2]
    return struct.unpack(f"<{len(data) // 2}f", wide)


def _complex(code: str) -> Callable[[bytes], Sequence[Number]]:
    parts = _packed(code)

    def decode(data: bytes) -> Sequence[Number]:
        numbers = parts(data)
        return [complex(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]  # type: ignore[arg-type]

    return decode


def _bools(data: bytes) -> Sequence[Number]:
    return [byte != 0 for byte in data]


def minifloat(code: int, exponent_bits: int, mantissa_bits: int, bias: int) -> float:
    """Return the value of a small float without infinities and NaN."""
    mantissa = code & ((1 << mantissa_bits) - 1)
    exponent = code >> mantissa_bits & ((1 << exponent_bits) - 1)
    sign = -1.0 if code >> (exponent_bits + mantissa_bits) & 1 else 1.0
    if exponent == 0:
        return sign * math.ldexp(mantissa, 1 - bias - mantissa_bits)
    return sign * math.ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits)


def _e4m3fn(code: int) -> float:
    return math.nan if code & 0x7F == 0x7F else minifloat(code, 4, 3, 7)


def _e5m2(code: int) -> float:
    if code & 0x7C == 0x7C:
        return math.nan if code & 3 else math.copysign(math.inf, -1 if code & 0x80 else 1)
    return minifloat(code, 5, 2, 15)


def _e4m3fnuz(code: int) -> float:
    return math.nan if code == 0x80 else minifloat(code, 4, 3, 8)


def _e5m2fnuz(code: int) -> float:
    return math.nan if code == 0x80 else minifloat(code, 5, 2, 16)


def _e8m0fnu(code: int) -> float:
    return math.nan if code == 0xFF else math.ldexp(1.0, code - 127)


def _e2m1(code: int) -> float:
    return minifloat(code & 0xF, 2, 1, 1)


def _e2m1_pair(code: int) -> tuple[float, float]:
    return _e2m1(code), _e2m1(code >> 4)


def _table(value: Callable[[int], Number]) -> Callable[[bytes], Sequence[Number]]:
    @cache
    def values() -> tuple[Number, ...]:
        return tuple(map(value, range(256)))

    return lambda data: list(map(values().__getitem__, data))


_BYTE, _SIGNED = Element(1, "int", _packed("B")), Element(1, "int", _packed("b"))

ELEMENTS: dict[str, Element] = {
    "float64": Element(8, "float", _packed("d")),
    "float32": Element(4, "float", _packed("f")),
    "float16": Element(2, "float", _packed("e")),
    "bfloat16": Element(2, "float", _bfloat16),
    "float8_e4m3fn": Element(1, "float", _table(_e4m3fn)),
    "float8_e5m2": Element(1, "float", _table(_e5m2)),
    "float8_e4m3fnuz": Element(1, "float", _table(_e4m3fnuz)),
    "float8_e5m2fnuz": Element(1, "float", _table(_e5m2fnuz)),
    "float8_e8m0fnu": Element(1, "float", _table(_e8m0fnu)),
    "float4_e2m1fn_x2": Element(1, "pair", _table(_e2m1_pair)),
    "float4_e2m1fn": Element(1, "float", _table(_e2m1)),
    "float6_e2m3fn": Element(1, "float", _table(lambda code: minifloat(code & 0x3F, 2, 3, 1))),
    "float6_e3m2fn": Element(1, "float", _table(lambda code: minifloat(code & 0x3F, 3, 2, 3))),
    "complex32": Element(4, "complex", _complex("e")),
    "complex64": Element(8, "complex", _complex("f")),
    "complex128": Element(16, "complex", _complex("d")),
    "bool": Element(1, "bool", _bools),
    "uint8": _BYTE,
    "int8": _SIGNED,
    "uint16": Element(2, "int", _packed("H")),
    "int16": Element(2, "int", _packed("h")),
    "uint32": Element(4, "int", _packed("I")),
    "int32": Element(4, "int", _packed("i")),
    "uint64": Element(8, "int", _packed("Q")),
    "int64": Element(8, "int", _packed("q")),
    "quint8": _BYTE,
    "qint8": _SIGNED,
    "qint32": Element(4, "int", _packed("i")),
    "quint4x2": _BYTE,
    "quint2x4": _BYTE,
    **{f"uint{bits}": _BYTE for bits in range(1, 8)},
    **{f"int{bits}": _SIGNED for bits in range(1, 8)},
}
"""Every dtype whose elements can be read, under torch's names. Those of less than a byte (`float4_e2m1fn`,
`float6_…`, `quint4x2`) are here as one byte each, as `unpack` makes them; of quantized ones it is the stored
integer."""


def decode(dtype: str, data: bytes) -> Sequence[Number]:
    """Return the numbers that the bytes of whole elements stand for."""
    return ELEMENTS[dtype].decode(data)


def raw_text(data: bytes) -> str:
    """Return the bits of one element as people write them, the highest byte first."""
    return data[::-1].hex()


def unpack(data: bytes, bits: int, skip: int, count: int) -> bytes:
    """Return elements of less than a byte as one byte each.

    Args:
        data: Bytes that hold them, the lowest bits of each byte first.
        bits: Bits of one element, less than 8.
        skip: Bits at the start that belong to elements before.
        count: Elements.
    """
    whole = int.from_bytes(data, "little") >> skip
    mask = (1 << bits) - 1
    return bytes(whole >> bits * index & mask for index in range(count))
