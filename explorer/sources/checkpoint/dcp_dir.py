"""Opens torch distributed checkpoints: a directory with `.metadata`, which lists global shapes and who holds a piece.

`.metadata` is a pickle of `torch.distributed.checkpoint.metadata.Metadata` (torch 2.13, metadata.py, filesystem.py):

    state_dict_metadata   {name: TensorStorageMetadata | BytesStorageMetadata}
        properties        TensorProperties, its state (dtype, layout, requires_grad, memory format, pinned)
        size              the global shape
        chunks            [ChunkStorageMetadata]: offsets and sizes of each piece
    storage_data          {MetadataIndex(fqn, offset, index): _StorageInfo(relative_path, offset, length)}
    planner_data          {name: the path that it was flattened from}: not read

The library reads it with `pickle.load`, which runs what a stranger put there. Here `pickle_reader` follows it without
running anything. The `.distcp` files are opened for values only (`dcp_pieces`); that they are there, and long enough,
is checked.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.param import Finding, Model, Origin, Param
from explorer.core.paths import expanded
from explorer.core.text import plural, quoted, visible
from explorer.sources.checkpoint.dcp_pieces import Stored, pieces_of
from explorer.sources.checkpoint.dtypes import dtype_bytes
from explorer.sources.checkpoint.files import (
    File,
    UnreadableError,
    bytes_after,
    collector_paused,
    inside,
    tensors,
    told,
    warn,
    why_not_inside,
)
from explorer.sources.checkpoint.limits import MAX_DIMENSIONS, MAX_ELEMENTS, MAX_NAME
from explorer.sources.checkpoint.names import shown_names
from explorer.sources.checkpoint.pickle_reader import Global, Opaque, Pairs, PickleReader
from explorer.sources.checkpoint.place import Pieces
from explorer.sources.checkpoint.shards import files_text
from explorer.sources.checkpoint.targets import DCP, DCP_METADATA, is_directory
from explorer.sources.checkpoint.torch_rules import TorchRules
from explorer.sources.checkpoint.torch_walk import OPTIMIZER, OPTIMIZER_KEYS
from explorer.sources.checkpoint.unchanged import watching

if TYPE_CHECKING:
    from explorer.sources import Report

KIND = DCP
"""This source's name in the SOURCES table."""

PACKAGES = ("torch.distributed.",)
"""Where the classes of such metadata are from: their objects are read, and not worth telling."""


def open_model(spec: OpenSpec, report: Report) -> Model:
    """Open a directory of a distributed checkpoint, its `.metadata`, or one of its files.

    Args:
        spec: What to open.
        report: Called with each stage as it begins.

    Returns:
        Its tensors with their global shapes.

    Raises:
        ParamxError: The metadata can't be read.
    """
    report("reading the metadata")
    with collector_paused():
        try:
            return _open(spec.target)
        except UnreadableError as error:
            raise ParamxError(spec.target, f"{DCP_METADATA}: {error.why}", error.remedy) from None


def locator(target: str) -> Callable[[int], Pieces]:
    """Return what tells the pieces that a tensor is stored in, by its row; the metadata is read once, here.

    What is returned raises a ParamxError where they can't be told, or do not make up the whole.

    Args:
        target: As it was opened.

    Raises:
        ParamxError: It can't be read (any more).
    """
    with collector_paused():
        try:
            metadata = _read(target)
        except UnreadableError as error:
            raise ParamxError(target, f"{DCP_METADATA}: {error.why}", error.remedy) from None
    rows = list(_rows(metadata.entries, metadata.pieces, _Notes()))

    def pieces(index: int) -> Pieces:
        row = rows[range(len(rows))[index]]
        return pieces_of(
            row, _chunks(metadata.entries[row.name]), metadata.pieces.get(row.name, []), metadata.directory
        )

    return pieces


@dataclass(frozen=True, slots=True)
class _Metadata:
    """What the metadata says."""

    directory: Path
    """Where the files are."""
    entries: dict[str, Any]
    """What the state holds, by name."""
    pieces: dict[str, list[Stored]]
    """For each name where its pieces are."""
    rules: TorchRules
    """What was noticed while it was read."""
    left: int
    """Bytes of the file after the pickle."""


@dataclass(slots=True)
class _Notes:
    """What is wrong with the entries."""

    bad: dict[str, list[str]] = field(default_factory=dict)
    """Tensors that are left out, by the reason."""
    gaps: list[str] = field(default_factory=list)
    """Tensors whose pieces do not add up to the whole."""
    homeless: list[str] = field(default_factory=list)
    """Tensors that no file holds."""


def _read(target: str) -> _Metadata:
    path = expanded(target)
    directory = path if is_directory(path) else path.parent
    if directory == path and (directory / DCP_METADATA).is_symlink() and inside(directory, DCP_METADATA) is None:
        raise UnreadableError("the link leads out of the directory", "name the file itself")
    rules = TorchRules(PACKAGES)
    with File(directory / DCP_METADATA) as file:
        if not file.size:
            raise UnreadableError("the file is empty", "save the checkpoint again")
        reader = PickleReader(file.read, 0, file.size, rules)
        top = reader.load()
        left = file.size - reader.position
    parts = _attributes(top, "Metadata")
    listed = parts.get("state_dict_metadata")
    if not isinstance(listed, Pairs):
        named = f", and asks to run {next(iter(rules.refused))}" if rules.refused else ""
        raise UnreadableError(f"it is no metadata of a distributed checkpoint{named}", "check what wrote it")
    entries = {name: value for name, value in listed.items if isinstance(name, str)}
    return _Metadata(directory, entries, _pieces(parts.get("storage_data")), rules, left)


def _open(target: str) -> Model:
    metadata = _read(target)
    directory, entries, pieces, rules = metadata.directory, metadata.entries, metadata.pieces, metadata.rules
    notes = _Notes()
    rows = list(_rows(entries, pieces, notes))
    findings = [*_told(notes), *_files(directory, pieces, {row.name for row in rows})]
    findings += bytes_after(DCP_METADATA, "the pickle", metadata.left)
    if rules.refused:
        message = f"{DCP_METADATA}: not run: {', '.join(map(quoted, list(rules.refused)[:8]))}"
        why = "loading it with pickle would run what it names"
        findings.append(warn("refused-global", message, list(rules.refused), why))
    if not rows:
        findings.append(Finding("no-tensors", "warning", "no tensor in the checkpoint"))
    names, renamed = shown_names([row.name for row in rows])
    states = _optimizer_states(entries)
    shown = (
        replace(row, name=name, apart=OPTIMIZER if row.name.startswith(states) else "")
        for row, name in zip(rows, names, strict=True)
    )
    others = sum(_is_a(value, "BytesStorageMetadata") for value in entries.values())
    model = Model.from_params(_origin(target, pieces, others), shown, findings=(*findings, *renamed))
    return replace(model, state=(len(model) - len(model.apart), model.total))


def _optimizer_states(entries: Iterable[str]) -> tuple[str, ...]:
    """Return how the names of optimizers' states begin.

    An optimizer's `state_dict()` has `state` and `param_groups`; saving joins the keys on the way down with dots
    (torch 2.13, distributed/checkpoint/_nested_dict.py).
    """
    found: dict[str, set[str]] = {}
    for name in entries:
        steps = name.split(".")
        for place, step in enumerate(steps):
            if step in OPTIMIZER_KEYS:
                found.setdefault(".".join((*steps[:place], "")), set()).add(step)
    return tuple(f"{before}state." for before, keys in found.items() if keys == OPTIMIZER_KEYS)


def _attributes(value: Any, name: str) -> dict[str, Any]:
    """Return the attributes of an object of the class `name`, nothing of any other's."""
    if not _is_a(value, name) or not isinstance(value.state, Pairs):
        return {}
    return {key: item for key, item in value.state.items if isinstance(key, str)}


def _is_a(value: Any, name: str) -> bool:
    if not isinstance(value, Opaque) or not isinstance(value.maker, Global):
        return False
    return value.maker.name == name and value.maker.module.startswith(PACKAGES)


def _pieces(storage: Any) -> dict[str, list[Stored]]:
    """Return where each tensor's pieces are."""
    found: dict[str, list[Stored]] = {}
    for key, value in storage.items if isinstance(storage, Pairs) else ():
        index = _attributes(key, "MetadataIndex")
        name = index.get("fqn")
        info = _attributes(value, "_StorageInfo")
        path, offset, length = info.get("relative_path"), info.get("offset"), info.get("length")
        if isinstance(name, str) and isinstance(path, str) and type(offset) is int and type(length) is int:
            filtered = bool(info.get("transform_descriptors"))
            offsets = _shape(index.get("offset"))
            found.setdefault(name, []).append(Stored(path, offset, length, offsets, index.get("index"), filtered))
    return found


def _rows(entries: dict[str, Any], pieces: dict[str, list[Stored]], notes: _Notes) -> Iterator[Param]:
    left = MAX_ELEMENTS
    index = 0
    for name, value in entries.items():
        if _is_a(value, "BytesStorageMetadata"):
            continue
        if len(name) > MAX_NAME:
            notes.bad.setdefault(f"its name has more than {MAX_NAME:,} characters", []).append(name[:MAX_NAME])
            continue
        facts = _attributes(value, "TensorStorageMetadata")
        shape = _shape(facts.get("size"))
        if shape is None or prod(shape) > left:
            notes.bad.setdefault("its shape is no list of sizes, or larger than any tensor", []).append(name)
            continue
        left -= prod(shape)
        sizes = [size for _, size in _chunks(value)]
        if sizes and sum(0 if size is None else prod(size) for size in sizes) != prod(shape):
            notes.gaps.append(name)
        if name not in pieces:
            notes.homeless.append(name)
        dtype, trained = _properties(facts.get("properties"))
        files = list(dict.fromkeys(visible(piece.file) for piece in pieces.get(name, ())))
        yield Param(
            index=index,
            name=name,
            shape=shape,
            numel=prod(shape),
            dtype=dtype,
            nbytes=dtype_bytes(dtype, prod(shape)) if dtype else None,
            device=None,
            requires_grad=trained,
            module_class=None,
            aliases=(),
            shard=files_text(files),
        )
        index += 1


def _chunks(value: Any) -> list[tuple[tuple[int, ...] | None, tuple[int, ...] | None]]:
    """Return the offsets and the sizes of a tensor's pieces, `None` where they are none."""
    listed = _attributes(value, "TensorStorageMetadata").get("chunks")
    chunks = [_attributes(chunk, "ChunkStorageMetadata") for chunk in _list(listed)]
    return [(_shape(chunk.get("offsets")), _shape(chunk.get("sizes"))) for chunk in chunks]


def _properties(value: Any) -> tuple[str | None, bool | None]:
    """Return dtype and requires_grad; `False` is unknown, for `state_dict()` takes the flag off all tensors."""
    state = value.state if _is_a(value, "TensorProperties") else None
    if isinstance(state, Pairs):  # before torch 2.1 the attributes were pickled as they are
        facts = {key: item for key, item in state.items if isinstance(key, str)}
        state = facts.get("dtype"), None, facts.get("requires_grad")
    if not isinstance(state, tuple) or len(state) < 3:
        return None, None
    dtype = state[0].name if isinstance(state[0], Global) and state[0].module == "torch" else None
    return dtype and visible(dtype[:100]), True if state[2] is True else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _shape(value: Any) -> tuple[int, ...] | None:
    if not isinstance(value, list | tuple) or len(value) > MAX_DIMENSIONS:
        return None
    if not all(type(size) is int and 0 <= size < 1 << 62 for size in value):
        return None
    return tuple(value)


def _told(notes: _Notes) -> Iterator[Finding]:
    for reason, names in notes.bad.items():
        yield warn("bad-entry", f"{tensors(names)} left out: {reason}", names)
    if notes.gaps:
        message = f"{tensors(notes.gaps)} whose pieces do not add up to the whole"
        yield warn("hole", message, notes.gaps)
    if notes.homeless:
        yield warn("missing-tensor", f"{tensors(notes.homeless)} that no file holds", notes.homeless)


def _files(directory: Path, pieces: dict[str, list[Stored]], shown: set[str]) -> Iterator[Finding]:
    """Yield what is wrong with the files that hold the pieces, and which of the shown tensors are in them."""
    ends: dict[str, int] = {}
    for held in pieces.values():
        for piece in held:
            ends[piece.file] = max(ends.get(piece.file, 0), piece.end)
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, end in ends.items():
        path = inside(directory, name)
        if path is None:
            reasons.setdefault(("refused-path", f"not opened ({why_not_inside(name)})"), []).append(name)
            continue
        try:
            status = os.stat(path)  # noqa: PTH116 - one way to fail
        except OSError:
            reasons.setdefault(("missing-shard", "not there"), []).append(name)
            continue
        if (watch := watching()) is not None:
            watch.note(path, status)  # it is read only when a value is asked for
        if not stat.S_ISREG(status.st_mode):
            reasons.setdefault(("unreadable-shard", "not regular"), []).append(name)
        elif status.st_size < end:
            reasons.setdefault(("truncated", "cut short"), []).append(name)
    for (kind, reason), names in reasons.items():
        lost = set(names)
        held_there = [
            name for name, held in pieces.items() if name in shown and any(piece.file in lost for piece in held)
        ]
        which = f"{len(names)} of {plural(len(ends), 'file')} {reason}: {quoted(names[0])}"
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        hold = f"; {tensors(held_there)} in {'it' if len(names) == 1 else 'them'}" if held_there else ""
        yield Finding(kind, "warning", visible(f"{which}{more}{hold}"), told(held_there))


def _origin(target: str, pieces: dict[str, list[Stored]], others: int) -> Origin:
    files = {piece.file for held in pieces.values() for piece in held}
    parts = ["distributed checkpoint", plural(len(files), "file")]
    if others:
        parts.append(f"{plural(others, 'other value')} left out")
    return Origin(target=visible(target), kind=KIND, description=", ".join(parts))
