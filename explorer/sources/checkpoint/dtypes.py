"""Widths of element types, under torch's names without their prefix."""

from __future__ import annotations

BITS = {
    "bool": 8,
    "uint8": 8,
    "int8": 8,
    "uint16": 16,
    "int16": 16,
    "uint32": 32,
    "int32": 32,
    "uint64": 64,
    "int64": 64,
    "float16": 16,
    "bfloat16": 16,
    "float32": 32,
    "float64": 64,
    "complex32": 32,
    "complex64": 64,
    "complex128": 128,
    "float8_e4m3fn": 8,
    "float8_e4m3fnuz": 8,
    "float8_e5m2": 8,
    "float8_e5m2fnuz": 8,
    "float8_e8m0fnu": 8,
    "float4_e2m1fn_x2": 8,
    "qint8": 8,
    "quint8": 8,
    "qint32": 32,
    "quint4x2": 4,
    "quint2x4": 2,
    **{f"{kind}{bits}": 8 for kind in ("int", "uint") for bits in range(1, 8)},
}
"""Bits of one element. `float4_e2m1fn_x2` counts as torch does: an element is a byte that holds two values. The
sub-byte integers (`uint4`) take a byte each in torch."""


def dtype_bytes(dtype: str, numel: int) -> int | None:
    """Return the bytes of `numel` elements, whole bytes; `None` for a dtype that is not known."""
    bits = BITS.get(dtype)
    return None if bits is None else (numel * bits + 7) // 8
