"""Where a tensor's bytes lie, for those who read values later."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """The bytes of one tensor, stored as they are (not compressed) in one file."""

    path: Path
    """The file."""
    offset: int
    """Where the tensor's first element lies, in bytes from the start of the file."""
    nbytes: int
    """How many bytes from there hold the tensor: with gaps, if `stride` has them."""
    dtype: str | None
    """As in the table: torch's name, or a format's own block type (`q4_k`)."""
    shape: tuple[int, ...]
    """Size of each dimension, torch's order."""
    stride: tuple[int, ...] | None = None
    """Steps of each dimension in elements; `None`: contiguous, the last dimension fastest."""
    byteorder: str = "little"
    """Order of the bytes of an element: `little` or `big`."""
