"""Reads the header of one safetensors file and nothing else; one bad entry does not spoil the others.

Format (safetensors 0.8, README "Format"):

    8 bytes   N, the length of the header, little-endian unsigned, at most 100,000,000
    N bytes   UTF-8 JSON, padded at the end with spaces: an object that maps each tensor's name to
              {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, the offsets counted from the end of the
              header; and `__metadata__` to an object of strings
    rest      the data, row-major and little-endian, without holes, overlaps or bytes left over
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain, repeat
from math import prod
from operator import add, itemgetter, sub
from typing import Any

from explorer.core.param import Column, Finding
from explorer.core.text import plural, short_bytes, visible
from explorer.sources.checkpoint.columns import coded, each
from explorer.sources.checkpoint.files import File, UnreadableError, parse_doubled, parse_json, tensors, warn
from explorer.sources.checkpoint.limits import MAX_DIMENSIONS, MAX_ELEMENTS, MAX_NAME
from explorer.sources.checkpoint.safetensors_regular import Parts, read_regular

MAX_HEADER = 100_000_000
"""Longest header in bytes; the library's own limit."""

LENGTH_BYTES = 8
"""Bytes before the header: its length."""

METADATA = "__metadata__"
"""The one key of the header that does not name a tensor."""

METADATA_TEXT, METADATA_KEYS = 65_536, 10_000
"""Longest value of the metadata that is kept, in characters, and most keys; trainers put whole data sets there."""

DTYPES: Mapping[str, tuple[str, int]] = {
    "BOOL": ("bool", 8),
    "F4": ("float4_e2m1fn_x2", 4),
    "F6_E2M3": ("float6_e2m3fn", 6),
    "F6_E3M2": ("float6_e3m2fn", 6),
    "U8": ("uint8", 8),
    "I8": ("int8", 8),
    "F8_E5M2": ("float8_e5m2", 8),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E8M0": ("float8_e8m0fnu", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
    "I16": ("int16", 16),
    "U16": ("uint16", 16),
    "F16": ("float16", 16),
    "BF16": ("bfloat16", 16),
    "I32": ("int32", 32),
    "U32": ("uint32", 32),
    "F32": ("float32", 32),
    "C64": ("complex64", 64),
    "F64": ("float64", 64),
    "I64": ("int64", 64),
    "U64": ("uint64", 64),
}
"""The format's dtypes: torch's name, and bits of one element (safetensors 0.8, tensor.rs, `Dtype::bitsize`). A shape
of `F4` counts 4-bit values; torch, whose element is a byte of two, halves its last dimension on loading."""


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """The tensors of one file as columns, in the header's own order."""

    names: list[str]
    """Names as the file has them, not yet visible."""
    dtypes: Column[str | None]
    """Torch's names of the dtypes; one that the format does not know stays as it is, made visible."""
    shapes: Column[tuple[int, ...] | None]
    """Shape of each tensor."""
    numels: array[int]
    """Elements of each tensor."""
    begins: array[int]
    """Where each tensor's data begins, in bytes from the start of the file."""
    nbytes: array[int]
    """Bytes of each tensor's data, by its offsets."""
    size: int
    """Bytes of the file."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the writer said about the file, made visible: usually `{"format": "pt"}`."""
    findings: tuple[Finding, ...] = ()
    """What is wrong with the file."""

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self.names)


def read_header(file: File, label: str) -> Header:
    """Read the header of an open file.

    Args:
        file: The file.
        label: How findings call it: `model.safetensors`, `shard model-00001-of-00002.safetensors`.

    Raises:
        UnreadableError: It is no such file, or its header is not whole.
    """
    text = _text(file)
    start = LENGTH_BYTES + len(text)
    regular = read_regular(text)
    metadata, notes = _metadata(regular[1] if regular is not None else None, label)
    header = None if regular is None else _checked(regular[0], start, file.size, metadata)
    if header is None:
        items = parse_json(text, "the header")
        assert isinstance(items, dict)
        said = items.pop(METADATA, None)
        metadata, notes = _metadata(said, label)
        parts = _columns(items)
        header = None if parts is None else _checked(parts, start, file.size, metadata)
        if header is None or not _is_plain(text, items, said):
            items.clear()  # its memory, before all is parsed once more
            header, problems = _entry_by_entry(text, start, file.size, metadata, label)
            notes += problems
    if len(header):
        notes += _layout(header, start, label)
    if not notes:
        return header
    return Header(
        header.names,
        header.dtypes,
        header.shapes,
        header.numels,
        header.begins,
        header.nbytes,
        header.size,
        header.metadata,
        tuple(notes),
    )


def _text(file: File) -> bytes:
    """Return the header's text, which begins as an object does."""
    if not file.size:
        raise UnreadableError("the file is empty", "download it again", "truncated")
    if file.size < LENGTH_BYTES:
        raise UnreadableError(
            f"{plural(file.size, 'byte')} are too few for a safetensors file", "download it again", "truncated"
        )
    length = int.from_bytes(file.read(0, LENGTH_BYTES), "little")
    if length > MAX_HEADER:
        raise UnreadableError(
            f"not a safetensors file: its header would have {length:,} bytes", "check that it is one, and whole"
        )
    if length < 2:
        raise UnreadableError(f"the header has {plural(length, 'byte')}", "download it again")
    if LENGTH_BYTES + length > file.size:
        raise UnreadableError(
            f"cut short: the file ends within its header, which has {short_bytes(length)}",
            "download it again",
            "truncated",
        )
    text = file.read(LENGTH_BYTES, length)
    if text[:1] != b"{":
        raise UnreadableError("not a safetensors file: the header is no JSON object", "check that it is one")
    return text


def _is_plain(text: bytes, items: dict[str, Any], metadata: Any) -> bool:
    """Whether certainly no key of the header, or within an entry, stands there twice, and no boolean is a number.

    A doubt counts as no: then the entries are looked at one by one.

    `json.loads` keeps the last of two. Asking it for pairs triples its time, so the quotes of the text are counted:
    an entry has ten, about its name, three keys and its dtype. That each has no more keys, `_columns` has checked.
    """
    quotes = 10 * len(items)
    if metadata is not None:
        if not isinstance(metadata, dict) or set(map(type, metadata.values())) - {str}:
            return False
        quotes += 2 + 4 * len(metadata)
    return not any(part in text for part in (b"\\", b"true", b"false")) and text.count(b'"') == quotes


def _columns(items: dict[str, Any]) -> Parts | None:
    """Build the columns of a header without a flaw, whole columns at a time; `None` if any entry has one."""
    try:
        entries = list(items.values())
        if set(map(type, entries)) - {dict} or set(map(len, entries)) - {3}:
            return None
        lists = list(map(itemgetter("shape"), entries))
        pairs = list(map(itemgetter("data_offsets"), entries))
        if (set(map(type, lists)) | set(map(type, pairs))) - {list} or set(map(len, pairs)) - {2}:
            return None
        dtypes: Column[str] = coded(list(map(itemgetter("dtype"), entries)))
        shapes: Column[tuple[int, ...] | None] = coded(list(map(tuple, lists)))
        bounds = array("q", chain.from_iterable(pairs))
        begins, ends = bounds[::2], bounds[1::2]
    except (KeyError, TypeError, OverflowError):
        return None
    return Parts(list(items), dtypes, shapes, begins, ends)


def _checked(parts: Parts, start: int, size: int, metadata: Mapping[str, str]) -> Header | None:
    """Return the header that columns are; `None` if any entry has a flaw."""
    names, dtypes, shapes, begins, ends = parts
    if (begins and min(begins) < 0) or max(map(len, names), default=0) > MAX_NAME:
        return None
    nbytes = array("q", map(sub, ends, begins))
    if any(_bad_shape(shape) for shape in shapes.values) or any(dtype not in DTYPES for dtype in dtypes.values):
        return None
    if begins and max(ends) > 1 << 62:
        return None
    elements = [prod(shape or ()) for shape in shapes.values]
    bits = [DTYPES[dtype][1] for dtype in dtypes.values]
    numels = array("q", each(elements, shapes.codes))
    if sum(numels) > MAX_ELEMENTS:
        return None
    # Thousands of tensors have few shapes and dtypes between them: each combination is judged once.
    kinds = set(zip(shapes.codes, dtypes.codes, nbytes, strict=True))
    if any(elements[shape] * bits[dtype] != length * 8 for shape, dtype, length in kinds):
        return None
    named: Column[str | None] = Column(tuple(DTYPES[dtype][0] for dtype in dtypes.values), dtypes.codes)
    begins = array("q", map(add, begins, repeat(start)))
    return Header(list(names), named, shapes, numels, begins, nbytes, size, metadata)


def _bad_shape(shape: Any) -> str:
    """Say what is wrong with a shape, nothing if it is one."""
    if not isinstance(shape, list | tuple):
        return "its shape is no list"
    if len(shape) > MAX_DIMENSIONS:
        return f"its shape has more than {MAX_DIMENSIONS} dimensions"
    if not all(type(size) is int and 0 <= size < 1 << 63 for size in shape):
        return "its shape is no list of sizes"
    if prod(shape) > MAX_ELEMENTS:
        return "its shape is larger than any tensor"
    return ""


def _entry_by_entry(
    text: bytes, start: int, size: int, metadata: Mapping[str, str], label: str
) -> tuple[Header, list[Finding]]:
    """Build the columns of a header that may have flaws: a bad entry is left out and named."""
    findings: list[Finding] = []
    refused: dict[str, list[str]] = {}
    unknown: dict[str, list[str]] = {}
    wrong: list[str] = []
    entries, doubled = _pairs(text)
    if doubled:
        findings.append(
            warn("duplicate-key", f"{label}: the header has {tensors(doubled)} twice; the last is shown", doubled)
        )
    rows: list[tuple[str, str, tuple[int, ...], int, int]] = []
    left = MAX_ELEMENTS
    for name, item in entries.items():
        reason = _bad_entry(item) if len(name) <= MAX_NAME else f"its name has more than {MAX_NAME:,} characters"
        if not reason and prod(item["shape"]) > left:
            reason = "its shape is larger than any tensor"
        if reason:
            refused.setdefault(reason, []).append(name[:MAX_NAME])
            continue
        shape, (begin, end) = tuple(item["shape"]), item["data_offsets"]
        left -= prod(shape)
        known = DTYPES.get(item["dtype"])
        if known is None:
            unknown.setdefault(item["dtype"], []).append(name)
        elif prod(shape) * known[1] != (end - begin) * 8:
            wrong.append(name)
        rows.append((name, known[0] if known else visible(item["dtype"]), shape, begin + start, end - begin))
    for reason, names in refused.items():
        findings.append(warn("bad-entry", f"{label}: {tensors(names)} left out: {reason}", names))
    for dtype, names in list(unknown.items())[:20]:
        findings.append(warn("unknown-dtype", f"{label}: {tensors(names)} of dtype {dtype}, unknown here", names))
    if wrong:
        message = f"{label}: {tensors(wrong)} whose offsets span other bytes than the shape and dtype take"
        findings.append(warn("size-mismatch", message, wrong, "safetensors refuses such a file"))
    if entries and not rows:
        raise UnreadableError(f"no tensor of its header can be read: {next(iter(refused))}", "download it again")
    header = Header(
        [row[0] for row in rows],
        Column.of(row[1] for row in rows),
        Column.of(row[2] for row in rows),
        array("q", (prod(row[2]) for row in rows)),
        array("q", (row[3] for row in rows)),
        array("q", (row[4] for row in rows)),
        size,
        metadata,
    )
    return header, findings


def _pairs(text: bytes) -> tuple[dict[str, Any], list[str]]:
    """Parse the header again, watching for keys that stand there twice; return its entries, and those."""
    entries, doubled = parse_doubled(text)
    entries.pop(METADATA, None)
    return entries, [name for name in doubled if name in entries] or doubled


def _bad_entry(item: Any) -> str:
    """Say what is wrong with an entry, nothing if it is one."""
    if not isinstance(item, dict):
        return "its entry is no object"
    for key in ("dtype", "shape", "data_offsets"):
        if key not in item:
            return f"its entry has no {key}"
    if not isinstance(item["dtype"], str):
        return "its dtype is no text"
    if reason := _bad_shape(item["shape"]):
        return reason
    offsets = item["data_offsets"]
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(end) is int for end in offsets):
        return "its offsets are no pair of numbers"
    if not 0 <= offsets[0] <= offsets[1] < 1 << 62:
        return "its offsets are out of order"
    return ""


def _layout(header: Header, start: int, label: str) -> list[Finding]:
    """Compare the tensors' places with each other and with the file."""
    findings: list[Finding] = []
    ends = array("q", map(add, header.begins, header.nbytes))
    last = max(ends)
    if last > header.size:
        cut = [name for name, end in zip(header.names, ends, strict=True) if end > header.size]
        message = (
            f"{label}: cut short, {short_bytes(header.size)} of {short_bytes(last)}: "
            f"the data of {tensors(cut)} is not all there"
        )
        findings.append(warn("truncated", message, cut, "a download that was interrupted looks like this"))
    elif last < header.size:
        rest = header.size - last
        findings.append(warn("trailing-bytes", f"{label}: {plural(rest, 'byte')} after the last tensor"))
    if header.begins[0] == start and header.begins[1:] == ends[:-1]:
        return findings  # as the library writes them: one after the other
    overlapping, holes, at = [], 0, start
    # An empty tensor takes no bytes, and so overlaps nothing.
    for row in sorted(filter(header.nbytes.__getitem__, range(len(header))), key=header.begins.__getitem__):
        begin = header.begins[row]
        if begin < at:
            overlapping.append(header.names[row])
        holes += max(0, begin - at)
        at = max(at, ends[row])
    if overlapping:
        message = f"{label}: {tensors(overlapping)} whose bytes are also another's"
        findings.append(warn("overlap", message, overlapping, "safetensors refuses such a file"))
    if holes:
        message = f"{label}: {plural(holes, 'byte')} between tensors that belong to none"
        findings.append(warn("hole", message, why="safetensors refuses such a file"))
    return findings


def _metadata(value: Any, label: str) -> tuple[dict[str, str], list[Finding]]:
    """Return the writer's metadata, made visible and of bounded length, and what is wrong with it."""
    if value is None:
        return {}, []
    if not isinstance(value, dict):
        return {}, [warn("bad-metadata", f"{label}: {METADATA} is no object")]
    texts = {key: text for key, text in value.items() if isinstance(text, str)}
    findings = []
    if len(texts) < len(value):
        odd = len(value) - len(texts)
        findings.append(warn("bad-metadata", f"{label}: {plural(odd, 'value')} of {METADATA} that are no text"))
    kept = list(texts.items())[:METADATA_KEYS]
    long = sum(len(text) > METADATA_TEXT for _, text in kept)
    if long or len(kept) < len(texts):
        message = f"{label}: {METADATA} is shown in part: {plural(len(texts), 'key')}, {long} of them long"
        findings.append(Finding("long-metadata", "hint", message))
    return {visible(key[:METADATA_TEXT]): _cut(text) for key, text in kept}, findings


def _cut(text: str) -> str:
    return visible(text) if len(text) <= METADATA_TEXT else visible(text[: METADATA_TEXT - 1]) + "…"
