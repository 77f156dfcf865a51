"""Reads the header of one GGUF file: its metadata and where its tensors lie, nothing of their data.

Format (ggml, docs/gguf.md), little-endian, or big-endian throughout, which shows in the version:

    4 bytes   "GGUF"
    u32       version: 1, 2 or 3
    u64       T, number of tensors                                     in version 1 all counts, lengths and
    u64       K, number of key-value pairs                             dimensions are u32
    K times   string key; u32 type; the value:
              0 u8  1 i8  2 u16  3 i16  4 u32  5 i32  6 f32  7 bool (1 byte)  10 u64  11 i64  12 f64
              8 string: u64 length, UTF-8 bytes
              9 array: u32 type of the elements, u64 count, the elements
    T times   string name; u32 number of dimensions; u64 each, the fastest first; u32 ggml type; u64 offset of data
    padding   up to a multiple of `general.alignment` (32 where it is not given): from there offsets count

Dimensions are listed in torch's order, the slowest first: ggml writes 4096 × 128 for what torch calls 128 × 4096.

A vocabulary is an array of 150,000 strings: it is stepped over, and only its length and first entries are kept.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from math import prod
from typing import Any

from explorer.core.param import Finding
from explorer.core.text import plural, quoted, short_bytes, visible
from explorer.sources.checkpoint.files import File, UnreadableError, tensors, warn
from explorer.sources.checkpoint.ggml_types import TYPES
from explorer.sources.checkpoint.limits import MAX_ELEMENTS, MAX_NAME

MAX_TENSORS = 1_000_000
"""Most tensors of a file."""

MAX_KEYS = 65_536
"""Most key-value pairs of a file; real ones have a few dozen."""

MAX_STRINGS = 10_000_000
"""Most strings of a file's arrays: each is a step."""

MAX_NESTING = 8
"""Deepest array in an array; the format's text allows any, no known file has one."""

MAX_TEXT = 65_536
"""Longest text that is kept, in bytes; chat templates have 10,000."""

MAX_TEXTS = 64 << 20
"""Most bytes of all names and texts; when they are used up, each is cut to `SHORT` bytes."""

SHORT = 64
"""Longest name or text once `MAX_TEXTS` is used up, in bytes."""

MAX_DIMENSIONS = 8
"""Most dimensions of a tensor; ggml's own limit is 4."""

FIRST = 5
"""Entries of an array that are kept."""

CHUNK = 1 << 20
"""How much of the file is read at a time, in bytes."""

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_NAMES = ("u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64")
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class Info:
    """One tensor of a file."""

    name: str
    """Name as the file has it, not yet visible."""
    shape: tuple[int, ...]
    """Size of each dimension, torch's order."""
    dtype: str
    """Torch's name or ggml's, see `ggml_types`; `ggml type 99` for a number that is not known."""
    nbytes: int | None
    """Bytes of its blocks; `None` for a type that is not known."""
    begin: int
    """Where its data begins, in bytes from the start of the file."""


@dataclass(slots=True)
class Header:
    """What a file holds."""

    version: int
    """Version of the format."""
    big_endian: bool
    """Whether numbers have their first byte highest."""
    size: int
    """Bytes of the file."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """The key-value pairs, made visible; an array is `{"type", "count", "first": […]}`."""
    infos: list[Info] = field(default_factory=list)
    """The tensors in the file's order."""
    findings: list[Finding] = field(default_factory=list)
    """What is wrong with the file."""


def read_header(file: File, label: str) -> Header:
    """Read the header of an open file.

    Args:
        file: The file.
        label: How findings call it.

    Raises:
        UnreadableError: It is no such file, or its header is not whole.
    """
    if not file.size:
        raise UnreadableError("the file is empty", "download it again", "truncated")
    if file.size < 8 or file.read(0, 4) != b"GGUF":
        raise UnreadableError("not a GGUF file", "check that it is one, and whole")
    raw = file.read(4, 4)
    big = int.from_bytes(raw, "little") > 0xFFFF
    version = int.from_bytes(raw, "big" if big else "little")
    if not 1 <= version <= 3:
        raise UnreadableError(
            f"GGUF version {int.from_bytes(raw, 'little')}, unknown here", "convert it to version 3"
        )
    try:
        return _Reader(file, version, big, label).header()
    except struct.error:
        raise UnreadableError("a damaged GGUF header", "download it again") from None


class _Reader:
    """Steps through a header, a chunk of the file at a time."""

    def __init__(self, file: File, version: int, big: bool, label: str) -> None:
        self._file = file
        self._label = label
        self._head = Header(version, big, file.size)
        self._order = ">" if big else "<"
        self._count = struct.Struct(self._order + ("I" if version == 1 else "Q"))
        self._u32 = struct.Struct(self._order + "I")
        self._u64 = struct.Struct(self._order + "Q")
        self._buffer, self._base, self._at = b"", 8, 0
        self._strings = MAX_STRINGS
        self._texts = MAX_TEXTS

    def header(self) -> Header:
        """Read it all."""
        tensor_count, key_count = self._number(self._count), self._number(self._count)
        # A pair takes 10 bytes at least, a tensor 20: a count that the file can't hold is refused before a step.
        left = self._file.size - self._position
        if key_count > MAX_KEYS:
            raise UnreadableError(f"its header would have {key_count:,} key-value pairs", "it is damaged")
        if tensor_count > MAX_TENSORS:
            raise UnreadableError(f"its header would have {tensor_count:,} tensors", "it is damaged")
        if 10 * key_count + 20 * tensor_count > left:
            counts = f"{plural(key_count, 'key-value pair')} and {plural(tensor_count, 'tensor')}"
            why = f"cut short: {short_bytes(self._file.size)} can't hold its header of {counts}"
            raise UnreadableError(why, "download it again", "truncated")
        doubled = []
        for _ in range(key_count):
            key = visible(self._string(MAX_TEXT))
            value = self._value(self._number(self._u32), 0)
            if key in self._head.metadata:
                doubled.append(key)
            self._head.metadata[key] = value
        if doubled:
            message = f"{plural(len(doubled), 'key')} twice; the last counts: {quoted(doubled[0])}"
            self._warn("duplicate-key", message, doubled)
        entries = [self._entry() for _ in range(tensor_count)]
        alignment = self._alignment()
        start = -(-self._position // alignment) * alignment
        self._infos(entries, start, alignment)
        return self._head

    # --- bytes --------------------------------------------------------------------------------------------------

    @property
    def _position(self) -> int:
        return self._base + self._at

    def _take(self, nbytes: int) -> bytes:
        if self._at + nbytes > len(self._buffer):
            position = self._position
            left = self._file.size - position
            if nbytes > left:
                raise UnreadableError("cut short: the file ends within its header", "download it again", "truncated")
            self._buffer = self._file.read(position, min(left, max(nbytes, CHUNK)))
            self._base, self._at = position, 0
        taken = self._buffer[self._at : self._at + nbytes]
        self._at += nbytes
        return taken

    def _skip(self, nbytes: int) -> None:
        if self._at + nbytes <= len(self._buffer):
            self._at += nbytes
            return
        position = self._position + nbytes
        if position > self._file.size:
            raise UnreadableError("cut short: the file ends within its header", "download it again", "truncated")
        self._buffer, self._base, self._at = b"", position, 0

    def _number(self, kind: struct.Struct) -> int:
        (number,) = kind.unpack(self._take(kind.size))
        assert isinstance(number, int)
        return number

    def _string(self, longest: int) -> str:
        """Return a text; what is longer than `longest` bytes is cut, and said so by an ellipsis."""
        length = self._number(self._count)
        longest = longest if self._texts > 0 else min(longest, SHORT)
        self._texts -= min(length, longest)
        text = self._take(min(length, longest)).decode("utf-8", "replace")
        if length > longest:
            self._skip(length - longest)
            text += "…"
        return text

    # --- metadata -----------------------------------------------------------------------------------------------

    def _value(self, kind: int, depth: int) -> Any:
        if kind == _STRING:
            return visible(self._string(MAX_TEXT))
        if kind == _ARRAY:
            return self._array(depth)
        code = _SCALARS.get(kind)
        if code is None:
            raise UnreadableError(f"a value of type {kind}, unknown here", "it is damaged, or newer than this")
        size = struct.calcsize(f"={code}")
        return struct.unpack(self._order + code, self._take(size))[0]

    def _array(self, depth: int) -> dict[str, Any]:
        kind, count = self._number(self._u32), self._number(self._count)
        left = self._file.size - self._position
        first: list[Any] = []
        if kind in _SCALARS:
            size = struct.calcsize(f"={_SCALARS[kind]}")
            if count > left // size:
                raise UnreadableError(f"an array of {count:,} values, more than the file holds", "download it again")
            first = [self._value(kind, depth) for _ in range(min(count, FIRST))]
            self._skip((count - len(first)) * size)
        elif kind in (_STRING, _ARRAY):
            self._strings -= count
            if count > left // self._count.size or self._strings < 0:
                raise UnreadableError(f"an array of {count:,} values, more than the file holds", "download it again")
            if depth >= MAX_NESTING:
                raise UnreadableError("arrays nested too deeply", "it may be made to do harm")
            first = [self._value(kind, depth + 1) for _ in range(min(count, FIRST))]
            for _ in range(count - len(first)):
                if kind == _ARRAY:
                    self._array(depth + 1)
                else:
                    self._skip(self._number(self._count))
        else:
            raise UnreadableError(
                f"an array of type {kind}, unknown here", "it is damaged, or newer than this reader"
            )
        return {"type": _NAMES[kind], "count": count, "first": first}

    def _alignment(self) -> int:
        said = self._head.metadata.get("general.alignment", 32)
        if type(said) is int and 0 < said <= 1 << 30 and said & (said - 1) == 0:
            return said
        self._warn("bad-metadata", "general.alignment is no power of two; 32 is taken")
        return 32

    # --- tensors ------------------------------------------------------------------------------------------------

    def _entry(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._string(MAX_NAME)
        dimensions = self._number(self._u32)
        if dimensions > MAX_DIMENSIONS:
            raise UnreadableError(f"a tensor of {dimensions:,} dimensions", "the file is damaged")
        shape = tuple(self._number(self._count) for _ in range(dimensions))
        return name, shape[::-1], self._number(self._u32), self._number(self._u64)

    def _infos(self, entries: list[tuple[str, tuple[int, ...], int, int]], start: int, alignment: int) -> None:
        bad: dict[str, list[str]] = {}
        unknown: list[str] = []
        left = MAX_ELEMENTS
        for name, shape, kind, offset in entries:
            numel, block = prod(shape), TYPES.get(kind)
            if numel > left or max(shape, default=0) >= 1 << 63:
                bad.setdefault("its shape is larger than any tensor", []).append(name)
            elif offset >= 1 << 62:
                bad.setdefault("its offset is past any file's end", []).append(name)
            elif block is None:
                left -= numel
                unknown.append(name)
                self._head.infos.append(Info(name, shape, f"ggml type {kind}", None, start + offset))
            elif shape and shape[-1] % block.elements:
                bad.setdefault(f"its rows are no whole blocks of {block.name}", []).append(name)
            else:
                left -= numel
                nbytes = numel // block.elements * block.nbytes
                self._head.infos.append(Info(name, shape, block.name, nbytes, start + offset))
        for reason, names in bad.items():
            self._warn("bad-entry", f"{tensors(names)} left out: {reason}", names)
        if unknown:
            self._warn("unknown-dtype", f"{tensors(unknown)} of a ggml type that is unknown here", unknown)
        if entries and not self._head.infos:
            raise UnreadableError(f"no tensor of its header can be read: {next(iter(bad))}", "download it again")
        self._layout(alignment)

    def _layout(self, alignment: int) -> None:
        """Compare the tensors' places with each other, with the file, and with the alignment that it says."""
        size = self._file.size
        spans = [(info.begin, info.begin + info.nbytes, info.name) for info in self._head.infos if info.nbytes]
        if cut := [name for _, end, name in spans if end > size]:
            last = max(end for _, end, _ in spans)
            about = (
                f"cut short, {short_bytes(size)} of {short_bytes(last)}: the data of {tensors(cut)} is not all there"
            )
            self._warn("truncated", about, cut, "a download that was interrupted looks like this")
        spans.sort(key=lambda span: span[:2])
        over, at = [], 0
        for begin, end, name in spans:
            if begin < at:
                over.append(name)
            at = max(at, end)
        if over:
            self._warn("overlap", f"{tensors(over)} whose bytes are also another's", over)
        if odd := [info.name for info in self._head.infos if info.begin % alignment]:
            message = f"{tensors(odd)} at an offset that is no multiple of {alignment}"
            self._warn("misaligned", message, odd, "llama.cpp refuses such a file")

    def _warn(self, kind: str, message: str, names: list[str] | None = None, why: str = "") -> None:
        self._head.findings.append(warn(kind, f"{self._label}: {message}", names, why))
