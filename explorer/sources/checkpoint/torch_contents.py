"""Reads one file of `torch.save`: which tensors its pickle describes, and where their bytes lie. Nothing is executed.

Zip archives, since torch 1.6 (torch/csrc/jit/serialization: "archive" is any name):

    archive/data.pkl        the object as a pickle; a storage is a persistent id that names its key
    archive/data/KEY        the bytes of a storage, stored, not compressed
    archive/byteorder       `little` or `big`; missing in older ones, which are little
    archive/version         and others that are not read; TorchScript adds `code/` and `constants.pkl`

Files before that are pickles one after the other, then the storages (torch/serialization.py, `_legacy_save`):

    pickle   the integer 0x1950A86A20F9469CFC6C
    pickle   1001, the version
    pickle   a mapping: `little_endian`, sizes of C types
    pickle   the object
    pickle   the list of the storages' keys
    for each 8 bytes, its number of elements, little-endian; then the elements

A plain pickle of arrays is read as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any

from explorer.core.param import Finding
from explorer.core.text import plural, quoted, short_bytes, visible
from explorer.sources.checkpoint.dtypes import BITS
from explorer.sources.checkpoint.files import File, UnreadableError, bytes_after, tensors, told, warn
from explorer.sources.checkpoint.pickle_reader import Pairs, PickleReader, Read, Skipped
from explorer.sources.checkpoint.place import Place
from explorer.sources.checkpoint.torch_rules import TorchRules
from explorer.sources.checkpoint.torch_script import ScriptClasses
from explorer.sources.checkpoint.torch_tensors import Storage, Tensor
from explorer.sources.checkpoint.torch_walk import Walk, walk
from explorer.sources.checkpoint.zip_entries import (
    STORED,
    Archive,
    Entry,
    data_offset,
    first_entry,
    inflate,
    read_archive,
    whole_entries,
)

MAGIC = 0x1950A86A20F9469CFC6C
"""First pickle of a file before torch 1.6."""

TOLD_GLOBALS = 8
"""Most globals that one message names; `Finding.names` has the rest."""


@dataclass(slots=True)
class Contents:
    """What one file holds."""

    path: Path
    """The file."""
    layout: str
    """How it is laid out, in words."""
    walk: Walk
    """Its tensors."""
    rules: TorchRules
    """What was noticed while it was read."""
    size: int
    """Bytes of the file."""
    archive: Archive | None = None
    """Its directory, if it is a zip archive whose end is there."""
    root: str = ""
    """Name of the folder in the archive, with a slash."""
    big_endian: bool = False
    """Whether storages were written with the highest byte first."""
    offsets: dict[str, int] = field(default_factory=dict)
    """For files without an archive where each storage's elements begin."""
    stored_pickle: bool = True
    """Whether offsets within the pickle are offsets in the file."""
    findings: list[Finding] = field(default_factory=list)
    """What is wrong with the file."""
    absent: str = "its storage is not in the file"
    """Why a storage has no place in the file, where it has none."""
    begin: int = 0
    """Where it begins, if it is a part of the file at `path`; other offsets count from there."""

    def place(self, tensor: Tensor) -> Place:
        """Return where a tensor's bytes lie.

        Raises:
            UnreadableError: They are not stored as they are, or not all there.
        """
        if isinstance(tensor.data, Skipped) and self.stored_pickle:
            order = "big" if tensor.big_endian else "little"
            stride = _fortran(tensor.shape) if tensor.kind == "fortran" else None
            begin = self.begin + tensor.data.offset
            return Place(self.path, begin, tensor.data.nbytes, tensor.dtype, tensor.shape, stride, order)
        if tensor.storage is None or tensor.dtype is None:
            raise UnreadableError("its values are not stored in one piece")
        bits = BITS[tensor.dtype]
        last = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride, strict=True))
        nbytes = (last + 1) * bits // 8 if prod(tensor.shape) else 0
        within = tensor.storage.base * BITS[tensor.storage.dtype] // 8 + tensor.offset * bits // 8
        begin = self.begin + self._start(tensor.storage, within + nbytes) + within
        order = "big" if self.big_endian else "little"
        stride = None if tensor.stride == _contiguous(tensor.shape) else tensor.stride
        return Place(self.path, begin, nbytes, tensor.dtype, tensor.shape, stride, order)

    def _start(self, storage: Storage, needed: int) -> int:
        """Return where a storage begins of which so many bytes are needed; what follows them is another's."""
        if storage.key in self.offsets:  # only of storages that are all there
            return self.offsets[storage.key]
        entry = self.entry(storage.key)
        if entry is None:
            raise UnreadableError(self.absent)
        if entry.method != STORED:
            raise UnreadableError("its storage is compressed", "save it again with torch")
        if needed > entry.held:
            why = f"its storage has {plural(entry.held, 'byte')} in the file, of which it needs {needed:,}"
            raise UnreadableError(why, "download it again")
        with File(self.path, self.begin, self.size) as file:
            return data_offset(file, entry)

    def holds(self, key: str) -> bool:
        """Whether a storage has a place in the file."""
        return key in self.offsets or self.entry(key) is not None

    def entry(self, key: str) -> Entry | None:
        """Return the archive's entry of a storage."""
        entries = self.archive.entries if self.archive else {}
        return entries.get(f"{self.root}data/{key}") or entries.get(f"{self.root}tensors/{key}")


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    steps = list(accumulate(reversed(shape[1:]), lambda a, b: a * max(b, 1), initial=1))
    return tuple(reversed(steps)) if shape else ()


def _fortran(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(reversed(_contiguous(tuple(reversed(shape)))))


def read_file(path: Path, label: str, begin: int = 0, length: int | None = None) -> Contents:
    """Read one file.

    Args:
        path: The file.
        label: How findings call it.
        begin: Where it begins, if it is a part of that file, in bytes.
        length: Bytes of that part; `None` is all that follows.

    Raises:
        UnreadableError: It is none of torch's, or is not whole.
    """
    with File(path, begin, length) as file:
        head = file.read(0, min(512, file.size))
        if not head:
            raise UnreadableError("the file is empty", "download it again", "truncated")
        if head[:4] == b"PK\3\4" or head[:4] == b"PK\5\6":
            contents = _read_zip(file, label)
        elif head[257:262] == b"ustar":
            raise UnreadableError("a tar archive of torch before 0.1.10", "load it with torch and save it again")
        elif head[:1] == b"\x80":
            contents = _read_stream(file, label)
        elif head[:4] in (b"\x1f\x8b\x08\x00", b"\x1f\x8b\x08\x08"):
            raise UnreadableError("a gzip file", "unpack it first")
        elif head.lstrip()[:1] in (b"<", b"{"):
            raise UnreadableError("text, not a file of torch.save", "check what was downloaded")
        else:
            raise _not_of_torch(file)
    contents.begin = begin
    contents.findings += _told(contents, label)
    return contents


def _not_of_torch(file: File) -> UnreadableError:
    """Refuse what begins as no file of `torch.save`; a pickle older than its own may yet be made to run code."""
    rules = TorchRules()
    with suppress(UnreadableError):
        PickleReader(file.read, 0, file.size, rules).load()
    if not rules.refused:
        return UnreadableError("not a file of torch.save", "give a zip archive or a pickle of torch")
    asked = ", ".join(map(quoted, list(rules.refused)[:3]))
    return UnreadableError(f"not a file of torch.save, and a pickle that asks to run {asked}", "do not load it")


def _read_zip(file: File, label: str) -> Contents:
    rules = TorchRules()
    try:
        archive = read_archive(file)
    except UnreadableError as error:
        if error.finding != "truncated":
            raise
        # torch writes the pickle first: of a download that was interrupted it is there.
        name, start = first_entry(file)
        if not name.endswith("/data.pkl"):
            raise
        reader = PickleReader(file.read, start, file.size, rules)
        top = reader.load()
        root = name.removesuffix("data.pkl")
        sizes = {f"{root}data/{key}": storage.nbytes for key, storage in rules.storages.items()}
        archive = whole_entries(file, {**sizes, name: reader.position - start})
        contents = Contents(file.path, "zip archive, cut short", walk(top), rules, file.size, archive, root)
        _read_byteorder(file, contents, label)
        _note_cut(contents, label, "cut short: the file ends before the end of its data")
        return contents
    named = [name for name in archive.entries if name.count("/") <= 1]
    pickles = [name for name in named if name.rpartition("/")[2] == "data.pkl"]
    if not pickles:
        raise UnreadableError("a zip archive without data.pkl, so none of torch.save", "give a file of torch.save")
    root = pickles[0].removesuffix("data.pkl")
    read, start, end = _entry_window(file, archive, pickles[0])
    reader = PickleReader(read, start, end, rules)
    top = reader.load()
    rest = bytes_after(label, f"the pickle in {quoted(pickles[0])}", end - reader.position)
    script = "TorchScript archive" if f"{root}constants.pkl" in archive.entries else "zip archive"
    members = ScriptClasses(file, archive, root).members
    contents = Contents(file.path, script, walk(top, members), rules, file.size, archive, root)
    contents.findings += rest
    contents.stored_pickle = archive.entries[pickles[0]].method == STORED
    _read_byteorder(file, contents, label)
    if len(pickles) > 1:
        message = f"{label}: {len(pickles)} pickles in the archive, of which {quoted(pickles[0])} was read"
        why = "torch saves one; another program may read another"
        contents.findings.append(warn("several-pickles", message, pickles, why))
    if archive.doubled:
        doubled = list(archive.doubled)
        which = quoted(doubled[0]) if len(doubled) == 1 else f"{len(doubled)} entries"
        contents.findings.append(warn("duplicate-entry", f"{label}: {which} twice in the archive", doubled))
    if archive.claimed != archive.records:
        message = f"{label}: the archive's end counts {archive.claimed:,} entries, its directory {archive.records:,}"
        contents.findings.append(warn("wrong-total", message, why="torch may refuse such a file"))
    if archive.stray:
        message = f"{label}: {plural(archive.stray, 'byte')} beside the parts of the archive"
        contents.findings.append(warn("stray-bytes", message, why="another archive, or what another program reads"))
    if archive.comments:
        message = f"{label}: {plural(archive.comments, 'byte')} of comments in the archive"
        contents.findings.append(warn("zip-comment", message, why="torch writes none"))
    stored = ((name, entry) for name, entry in archive.entries.items() if entry.method == STORED)
    odd = [name for name, entry in stored if entry.size != entry.compressed]
    if odd:
        which = f"entry {quoted(odd[0])}" if len(odd) == 1 else f"{len(odd):,} entries"
        message = f"{label}: {which} stored as another number of bytes than the archive says"
        contents.findings.append(warn("size-mismatch", message, odd, "torch may refuse such a file"))
    contents.findings += _storages(contents, label)
    return contents


def _read_byteorder(file: File, contents: Contents, label: str) -> None:
    """Read in which order the bytes of elements stand; note what torch would not take for one."""
    name = f"{contents.root}byteorder"
    if contents.archive is None or name not in contents.archive.entries:
        return
    read, start, end = _entry_window(file, contents.archive, name)
    said = read(start, min(end - start, 16))
    contents.big_endian = said.strip() == b"big"
    if said not in (b"little", b"big"):
        taken = "big" if contents.big_endian else "little"
        message = f"{label}: the byte order {quoted(said.decode('latin-1'))} is neither little nor big"
        contents.findings.append(
            warn("byte-order", f"{message}: read as {taken}-endian", why="torch refuses such a file")
        )


def _note_cut(contents: Contents, label: str, absent: str) -> None:
    """Note that a file was cut short, and which tensors' data is not in it.

    Args:
        contents: What is there of it.
        label: How findings call it.
        absent: What is told of the tensors whose data is not there.
    """
    contents.absent = absent
    stored = ((found.name, found.tensor.storage) for found in contents.walk.found)
    lost = [name for name, storage in stored if storage is not None and not contents.holds(storage.key)]
    about = f"{label}: cut short at {short_bytes(contents.size)}: "
    about += f"the data of {tensors(lost)} is not all there" if lost else "the data of its tensors is all there"
    contents.findings.append(warn("truncated", about, lost, "a download that was interrupted looks like this"))


def _entry_window(file: File, archive: Archive, name: str) -> tuple[Read, int, int]:
    """Return an entry as `PickleReader` takes it: how to read, from where, to where."""
    entry = archive.entries[name]
    if entry.method == STORED:
        start = data_offset(file, entry)
        return file.read, start, start + entry.compressed
    content = inflate(file, entry)
    return (lambda offset, nbytes: content[offset : offset + nbytes]), 0, len(content)


def _read_stream(file: File, label: str) -> Contents:
    """Read pickles one after the other: torch's before 1.6, or one plain pickle."""
    rules = TorchRules()
    reader = PickleReader(file.read, 0, file.size, rules)
    first = reader.load()
    if type(first) is not int or first != MAGIC:
        contents = Contents(file.path, "pickle", walk(first), rules, file.size)
        contents.findings += bytes_after(label, "the pickle", file.size - reader.position)
        return contents
    reader.load()  # the version
    system = reader.load()
    top = reader.load()
    contents = Contents(file.path, "legacy file", walk(top), rules, file.size)
    pairs = system.items if isinstance(system, Pairs) else []
    said = {key: value for key, value in pairs if isinstance(key, str)}
    contents.big_endian = said.get("little_endian") is False
    try:
        keys = reader.load()
    except UnreadableError as error:
        if error.finding != "truncated":
            raise
        _note_cut(contents, label, "cut short: the file ends before the list of its storages")
        return contents
    contents.offsets, end = _legacy_offsets(file, reader.position, keys, rules)
    if end > file.size:
        _note_cut(contents, label, "cut short: the file ends before the end of its data")
    else:
        contents.findings += bytes_after(label, "the tensors' data", file.size - end)
    return contents


def _legacy_offsets(file: File, position: int, keys: Any, rules: TorchRules) -> tuple[dict[str, int], int]:
    """Return where each storage's elements begin, and where the last ends; their numbers are checked.

    Where one can't be told, neither can what comes after it: the file's end is returned. Of a file that was cut short
    those that are whole are returned, and an end past the file's.
    """
    offsets: dict[str, int] = {}
    for key in keys if isinstance(keys, list) else ():
        storage = rules.storages.get(key) if isinstance(key, str) else None
        if storage is None:
            return offsets, file.size  # nothing refers to it, so its elements' width is unknown
        end = position + 8 + storage.nbytes
        if position + 8 > file.size:
            return offsets, end
        numel = int.from_bytes(file.read(position, 8), "little")
        if numel != storage.numel:
            return offsets, file.size
        if end > file.size:
            return offsets, end
        offsets[storage.key] = position + 8
        position = end
    return offsets, position


def _storages(contents: Contents, label: str) -> list[Finding]:
    """Compare the storages that the pickle names with the archive's entries."""
    missing, wrong = set(), set()
    for key, storage in contents.rules.storages.items():
        entry = contents.entry(key)
        if entry is None:
            missing.add(key)
        elif entry.held < storage.nbytes:
            wrong.add(key)
    findings = []
    for kind, keys, message in (
        ("missing-storage", missing, "whose data is not in the archive"),
        ("truncated", wrong, "whose data is shorter than the pickle says"),
    ):
        stored = ((found.name, found.tensor.storage) for found in contents.walk.found)
        held = [name for name, storage in stored if storage is not None and storage.key in keys]
        if held:
            findings.append(warn(kind, f"{label}: {tensors(held)} {message}", held))
    return findings


def _told(contents: Contents, label: str) -> list[Finding]:
    """Say what was refused, what could not be true, and what was left out."""
    rules, found = contents.rules, contents.walk
    findings = []
    if rules.refused:
        message = f"{label}: not run: {_some(rules.refused)}"
        why = "loading it with pickle would run what it names"
        findings.append(warn("refused-global", message, list(rules.refused), why))
    if rules.classes:
        message = visible(f"{label}: known by their attributes only: objects of {_some(rules.classes)}")
        findings.append(Finding("unknown-class", "hint", message, told(list(rules.classes))))
    for reason, broken in found.broken.items():
        findings.append(warn("bad-tensor", f"{label}: {tensors(broken)} left out: {reason}", broken))
    if found.stopped:
        findings.append(warn("too-much", f"{label}: not all of it is shown: {found.stopped}"))
    return findings


def _some(names: Iterable[str]) -> str:
    """Return the first names, joined."""
    known = list(names)
    return ", ".join(map(quoted, known[:TOLD_GLOBALS])) + (" …" if len(known) > TOLD_GLOBALS else "")
