"""Reads the directory of a zip archive: where each entry lies. No data is read, and sizes are checked.

Format (APPNOTE.TXT 6.3.10, little-endian), the parts that are read:

    local header, at the start of each entry        central directory record, one an entry, at the archive's end
      0   4  PK 03 04                                 0   4  PK 01 02
      6   2  flags                                    8   2  flags
      8   2  method: 0 stored, 8 deflated            10   2  method
     26   2  length n of the name                    20   4  compressed size
     28   2  length m of the extra field             24   4  size
     30   n  name                                    28   2  length n of the name
          m  extra field, then the data              30   2  length m of the extra field
                                                     32   2  length k of the comment
    end of central directory, 22 bytes and comment   42   4  offset of the local header
      0   4  PK 05 06                                46   n  name, m extra field, k comment
     10   2  number of entries
     12   4  size of the central directory           zip64: a size or offset that is FFFFFFFF stands in the extra
     16   4  its offset                              field with id 1 as 8 bytes: size, compressed size, offset, each
     20   2  length of the comment                   only if it is FFFFFFFF above; and at the archive's end
    zip64 locator, the 20 bytes before that            0   4  PK 06 06
      0   4  PK 06 07                                  32  8  number of entries
      8   8  offset of the zip64 end record            40  8  size of the central directory
                                                       48  8  its offset

torch leaves the sizes of a local header at 0 and has them behind the data, which is where they are looked for in a
file that was cut short: PK 07 08, 4 bytes of checksum, compressed size, size; 4 bytes each, 8 in zip64.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import NamedTuple

from explorer.sources.checkpoint.files import File, UnreadableError

STORED, DEFLATED, ENCRYPTED = 0, 8, -1
"""Methods of compression; torch stores, other tools deflate. The last is not a method: it stands for flag 1."""

MAX_DIRECTORY = 256 << 20
"""Longest central directory in bytes: 2 million entries with torch's names."""

MAX_ENTRIES = 1_000_000
"""Most entries of an archive, each some 400 bytes of memory; torch writes one for each storage."""

MAX_INFLATED = 128 << 20
"""Longest entry that is inflated, in bytes; a bomb grows by a factor of 1,000."""

MAX_ASIDE = 4096
"""Longest entry that is no storage and no pickle in bytes; torch's `byteorder`, `version` and others have some 10."""

MAX_PADDING = 256
"""Bytes of an entry's name, its extra field and what stands behind its data that are not looked at: torch has data
begin at multiples of 64 bytes. Only where there are more is the local header read, one of maybe 100,000."""

_END = struct.Struct("<4s4H2LH")
_RECORD = struct.Struct("<4s6H3L5H2L")
_DESCRIPTORS = (struct.Struct("<4sLQQ"), struct.Struct("<4sLLL"))
_FULL = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive."""

    method: int
    """How it is compressed: `STORED`, `DEFLATED`."""
    compressed: int
    """Bytes that it takes in the archive."""
    size: int
    """Bytes of its content, as the archive claims."""
    header: int
    """Where its local header lies, in bytes from the start of the archive."""

    @property
    def held(self) -> int:
        """Bytes of its content: of a stored one no more than it takes, for what follows is another entry's."""
        return min(self.size, self.compressed) if self.method == STORED else self.size


@dataclass(frozen=True, slots=True)
class Archive:
    """The directory of an archive."""

    entries: Mapping[str, Entry]
    """Each entry by its name; of two with one name the last."""
    doubled: tuple[str, ...]
    """Names that stand there twice."""
    records: int
    """How many entries the directory lists."""
    claimed: int
    """How many the archive's end says there are."""
    stray: int = 0
    """Bytes that belong to no part of it: another archive before it, anything behind it."""
    comments: int = 0
    """Bytes of its comments, that of the archive and those of entries; torch writes none."""


class _Ending(NamedTuple):
    """What the end of an archive says."""

    offset: int
    """Where the central directory lies."""
    size: int
    """Its bytes."""
    claimed: int
    """How many entries it should have."""
    parts: list[tuple[int, int]]
    """Where the central directory and what follows it begin and end."""
    comment: int
    """Bytes of the archive's comment, as far as they are there."""


def read_archive(file: File) -> Archive:
    """Read an archive's central directory.

    Raises:
        UnreadableError: It has none, as when its end has not been downloaded, or it is damaged.
    """
    try:
        ending = _ending(file)
        if ending.size > MAX_DIRECTORY:
            raise UnreadableError("the zip archive has more entries than any checkpoint")
        archive, listed = _entries(file.read(ending.offset, ending.size), file.size, ending.claimed)
        stray = _stray_bytes(file, listed, ending.parts)
        return replace(archive, stray=stray, comments=archive.comments + ending.comment)
    except struct.error:
        raise UnreadableError("the zip archive's directory is damaged", "download it again") from None


def _ending(file: File) -> _Ending:
    """Read the end of an archive."""
    # The comment after the end record has at most 65,535 bytes.
    start = max(0, file.size - _END.size - 0xFFFF)
    tail = file.read(start, file.size - start)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + _END.size > len(tail):
        raise UnreadableError("cut short: the zip archive has no end", "download it again", "truncated")
    *_, claimed, size, offset, comment = _END.unpack_from(tail, at)
    comment = min(comment, len(tail) - at - _END.size)
    parts = [(start + at, start + at + _END.size + comment)]
    locator = tail[at - 20 : at] if at >= 20 else b""
    if locator[:4] == b"PK\6\7":
        (at,) = struct.unpack_from("<Q", locator, 8)
        record = file.read(at, 56)
        if record[:4] != b"PK\6\6":
            raise UnreadableError("the zip archive's zip64 record is missing", "download it again")
        claimed, size, offset = struct.unpack_from("<3Q", record, 32)
        parts += [(at, at + 56), (parts[0][0] - 20, parts[0][0])]
    if offset + size > file.size:
        raise UnreadableError("the zip archive's directory lies past its end", "download it again", "truncated")
    return _Ending(offset, size, claimed, [(offset, offset + size), *parts], comment)


def _stray_bytes(file: File, entries: Iterable[Entry], parts: list[tuple[int, int]]) -> int:
    """Return how many bytes of an archive are in none of its entries and none of the other `parts`."""
    spans = [(entry.header, entry.header + 30 + entry.compressed, entry) for entry in entries]
    rest = [(begin, end, None) for begin, end in (*parts, (file.size, file.size))]
    stray = reached = 0
    last: Entry | None = None
    for begin, end, entry in sorted([*spans, *rest], key=itemgetter(0, 1)):
        gap = begin - reached
        if gap > 0 and last is not None and (gap > MAX_PADDING or entry is None):
            gap = begin - _whole_end(file, last, reached)
        elif last is not None:
            gap = 0
        stray += max(gap, 0)
        if end >= reached:
            reached, last = end, entry
    return stray


def _whole_end(file: File, entry: Entry, least: int) -> int:
    """Return where an entry ends, its name, its extra field and its descriptor included; `least` if it has none."""
    try:
        start = data_offset(file, entry)
    except UnreadableError:
        return least
    return _end_of(file, start, entry.compressed, entry.size) or start + entry.compressed


def _entries(directory: bytes, file_size: int, claimed: int) -> tuple[Archive, list[Entry]]:
    """Return what a directory lists: by name, and all of it."""
    entries: dict[str, Entry] = {}
    listed = []
    doubled = []
    at = records = comments = 0
    while directory[at : at + 4] == b"PK\1\2":
        record = _RECORD.unpack_from(directory, at)
        (_, _, _, flags, method, _, _, _, compressed, size, n, m, k, _, _, _, header) = record
        at += _RECORD.size
        name = directory[at : at + n].decode("utf-8", "replace")
        if _FULL in (compressed, size, header):
            size, compressed, header = _zip64(directory[at + n : at + n + m], size, compressed, header)
        at += n + m + k
        comments += k
        if at > len(directory):
            raise UnreadableError("the zip archive's directory is damaged", "download it again")
        records += 1
        if records > MAX_ENTRIES:
            raise UnreadableError("the zip archive has more entries than any checkpoint", "it may be made to do harm")
        if name in entries:
            doubled.append(name)
        if header + 30 + compressed <= file_size:  # what claims to lie past the end is not there
            entries[name] = Entry(ENCRYPTED if flags & 1 else method, compressed, size, header)
            listed.append(entries[name])
    return Archive(entries, tuple(doubled), records, claimed, comments=comments), listed


def _zip64(extra: bytes, size: int, compressed: int, header: int) -> tuple[int, int, int]:
    """Return size, compressed size and offset with those replaced that stand in the zip64 extra field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            values = [size, compressed, header]
            position = at + 4
            for index, value in enumerate(values):
                if value == _FULL:
                    (values[index],) = struct.unpack_from("<Q", extra, position)
                    position += 8
            return values[0], values[1], values[2]
        at += 4 + length
    return size, compressed, header


def data_offset(file: File, entry: Entry) -> int:
    """Return where an entry's data begins, in bytes from the start of the archive.

    Raises:
        UnreadableError: There is no entry where the directory says.
    """
    head = file.read(entry.header, 30)
    if head[:4] != b"PK\3\4":
        raise UnreadableError("the zip archive's directory leads to no entry", "download it again")
    n, m = struct.unpack_from("<HH", head, 26)
    offset: int = entry.header + 30 + n + m
    if offset + entry.compressed > file.size:
        raise UnreadableError("cut short: the file ends within an entry", "download it again", "truncated")
    return offset


def first_entry(file: File) -> tuple[str, int]:
    """Return the name of the entry at the start of an archive and where its data begins, if it is stored.

    For an archive whose end is missing: torch writes `data.pkl` first.

    Raises:
        UnreadableError: There is no entry.
    """
    head = file.read(0, 30)
    (method,) = struct.unpack_from("<H", head, 8)
    n, m = struct.unpack_from("<HH", head, 26)
    if head[:4] != b"PK\3\4" or method != STORED:
        raise UnreadableError("cut short: the zip archive has no end", "download it again", "truncated")
    return file.read(30, n).decode("utf-8", "replace"), 30 + n + m


def whole_entries(file: File, sizes: Mapping[str, int]) -> Archive:
    """Return the entries at the start of an archive whose end is missing, up to the first that is not whole.

    Args:
        file: The archive, as torch writes it.
        sizes: Bytes of the entries by name, as far as known; an entry counts only if what stands behind it agrees.
    """
    entries: dict[str, Entry] = {}
    at = 0
    for _ in range(MAX_ENTRIES):
        head = file.read(at, min(30, file.size - at))
        if len(head) < 30 or head[:4] != b"PK\3\4" or struct.unpack_from("<H", head, 8) != (STORED,):
            break
        n, m = struct.unpack_from("<HH", head, 26)
        start = at + 30 + n + m
        if start > file.size:
            break
        name = file.read(at + 30, n).decode("utf-8", "replace")
        size = sizes.get(name)
        if size is None:
            size = file.read(start, min(MAX_ASIDE, file.size - start)).find(b"PK\7\x08")
        end = _end_of(file, start, size, size)
        if end is None:
            break
        entries[name] = Entry(STORED, size, size, at)
        at = end
    return Archive(entries, (), len(entries), len(entries))


def _end_of(file: File, start: int, compressed: int, size: int) -> int | None:
    """Return where an entry ends, its descriptor included; `None` where none behind its data says these sizes."""
    end = start + compressed
    if compressed < 0 or end > file.size:
        return None
    behind = file.read(end, min(_DESCRIPTORS[0].size, file.size - end))
    for form in _DESCRIPTORS:
        if len(behind) >= form.size:
            sign, _, *sizes = form.unpack_from(behind)
            if sign == b"PK\7\x08" and sizes == [compressed, size]:
                return end + form.size
    return None


def inflate(file: File, entry: Entry) -> bytes:
    """Return the content of a deflated entry.

    Raises:
        UnreadableError: It is damaged, or grows past `MAX_INFLATED`.
    """
    offset = data_offset(file, entry)
    if entry.method == ENCRYPTED:
        raise UnreadableError("an entry is encrypted", "decrypt it first")
    if entry.method != DEFLATED:
        raise UnreadableError(f"an entry is compressed by method {entry.method}", "store it")
    if entry.compressed > MAX_INFLATED or entry.size > MAX_INFLATED:
        raise UnreadableError(f"an entry inflates to more than {MAX_INFLATED >> 20} MiB", "it may be a zip bomb")
    try:
        decoder = zlib.decompressobj(-15)
        content = decoder.decompress(file.read(offset, entry.compressed), MAX_INFLATED)
    except zlib.error as error:
        raise UnreadableError(f"an entry can't be inflated: {error}", "download it again") from None
    if not decoder.eof and decoder.unconsumed_tail:
        raise UnreadableError(f"an entry inflates to more than {MAX_INFLATED >> 20} MiB", "it may be a zip bomb")
    return content
