"""Where a tensor's bytes lie in files, in one place or in pieces."""

from __future__ import annotations

from collections.abc import Callable
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


@dataclass(frozen=True, slots=True)
class Piece:
    """A block of a tensor that is stored by itself."""

    offsets: tuple[int, ...]
    """Its first index in each dimension of the whole."""
    sizes: tuple[int, ...]
    """Its own size in each dimension."""
    path: Path
    """The file that holds it."""
    locate: Callable[[], Place]
    """Tells where its bytes lie; raises `ParamxError` if they can't be read."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """One tensor as blocks that cover it without overlapping."""

    dtype: str | None
    """As in the table."""
    shape: tuple[int, ...]
    """Size of each dimension of the whole."""
    pieces: tuple[Piece, ...]
    """The blocks, in the order of their offsets; none of them is empty."""
