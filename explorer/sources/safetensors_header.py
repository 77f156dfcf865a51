"""Reads the header of a safetensors file, and nothing else of it.

Format (safetensors 0.8, README "Format"): 8 bytes, the length N of the header, little-endian unsigned; N bytes of
UTF-8 JSON, an object that maps each tensor's name to `{"dtype", "shape", "data_offsets": [begin, end]}`, the offsets
counted from the end of the header, and `__metadata__` to an object of strings; then the data.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_HEADER = 100_000_000
"""Longest header in bytes; the library's own limit."""

LENGTH_BYTES = 8
"""Bytes before the header: its length."""

LFS_POINTER = b"version https://git-lfs"
"""How a file starts that git-lfs has not downloaded yet."""


class HeaderError(ValueError):
    """A file is no safetensors file, or not a whole one; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a file."""

    dtype: str
    """The format's name of the dtype: `F32`, `BF16`, `F8_E4M3`."""
    shape: tuple[int, ...]
    """Size of each dimension."""
    begin: int
    """Where its data begins, in bytes from the start of the file."""
    end: int
    """Where its data ends, in bytes from the start of the file."""


def read_header(path: Path) -> dict[str, Entry]:
    """Return the tensors of a safetensors file in the header's order.

    Args:
        path: The file. It is read with `pread`, never mapped: a file that another process cuts short must not
            kill this one.

    Raises:
        HeaderError: It is not such a file, or was cut short.
        OSError: It can't be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise HeaderError("not a regular file")
        head = os.pread(descriptor, 64, 0)
        if head.startswith(LFS_POINTER):
            raise HeaderError("a git-lfs pointer, not the file itself (run `git lfs pull`)")
        length = int.from_bytes(head[:LENGTH_BYTES], "little")
        if len(head) < LENGTH_BYTES or not 2 <= length <= min(MAX_HEADER, status.st_size - LENGTH_BYTES):
            raise HeaderError("no safetensors header")
        text = os.pread(descriptor, length, LENGTH_BYTES)
    finally:
        os.close(descriptor)
    try:
        header = json.loads(text)
        start = LENGTH_BYTES + length
        entries = {name: _entry(item, start) for name, item in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HeaderError(f"the header does not parse: {error}") from None
    if any(entry.end > status.st_size for entry in entries.values()):
        raise HeaderError("cut short: the header lists more data than the file holds")
    return entries


def _entry(item: dict[str, Any], start: int) -> Entry:
    shape = tuple(item["shape"])
    begin, end = item["data_offsets"]
    if not all(type(size) is int and size >= 0 for size in (*shape, begin, end)) or begin > end:
        raise ValueError("a tensor with impossible sizes")
    return Entry(str(item["dtype"]), shape, start + begin, start + end)
