"""Says which files a target consists of: one file, the shards of an index, or those of a directory."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import eq
from pathlib import Path
from typing import Any

from explorer.core.errors import ParamxError
from explorer.core.param import Column, Finding
from explorer.core.paths import expanded
from explorer.core.text import plural, quoted
from explorer.sources.checkpoint.columns import each, picked, rows_of
from explorer.sources.checkpoint.files import (
    File,
    UnreadableError,
    inside,
    parse_doubled,
    parse_json,
    tensors,
    warn,
    why_not_inside,
)
from explorer.sources.checkpoint.targets import (
    INDEX,
    NOT_MODELS,
    SHARD,
    SUFFIXES,
    absent_shards,
    is_directory,
    names_of,
    one_of,
    only_set,
)

MAX_INDEX = 100_000_000
"""Longest index in bytes: as long as the longest header."""

USUAL_INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
"""What transformers calls an index: taken where a directory has others too."""

MAX_SHARDS = 10_000
"""Most shards of an index."""


NAMED_FILES = 2
"""Most files that a row names as its shard; of more the number is told."""


def files_text(files: Sequence[str]) -> str | None:
    """Say which files hold a tensor; `None` where none does.

    Args:
        files: Their names, made visible.
    """
    if not files:
        return None
    return ", ".join(files) if len(files) <= NAMED_FILES else f"{len(files)} files"


@dataclass(frozen=True, slots=True)
class Shards:
    """The files that a checkpoint consists of."""

    files: Mapping[str, Path]
    """Each file's name, as the index has it, and its real path; in the order of the names."""
    weight_map: Mapping[str, str] | None
    """For each tensor the file that should hold it, in the index's order; `None` without an index."""
    total_size: int | None
    """Bytes of all tensors as the index has them (`metadata.total_size`); `None` where it doesn't say."""
    metadata: Mapping[str, Any]
    """The index's `metadata` without `total_size`."""
    findings: tuple[Finding, ...]
    """What is wrong with the index."""
    index: str | None = None
    """Name of the index file; `None` without one."""
    refused: int = 0
    """How many more files the index names that are not opened."""

    @property
    def count(self) -> int:
        """How many files there should be."""
        return len(self.files) + self.refused


def find_shards(target: str, kind: str) -> Shards:
    """Find the files of a target.

    Args:
        target: A file, an index or a directory.
        kind: The kind of checkpoint; decides among the files of a directory.

    Raises:
        ParamxError: It is none of these, or the index can't be read.
    """
    path = expanded(target)
    if is_directory(path):
        return _of_directory(target, path, kind)
    if path.name.endswith(INDEX):
        return _of_index(target, path)
    return Shards({path.name: path}, None, None, {}, ())


def _of_directory(target: str, directory: Path, kind: str) -> Shards:
    try:
        names = names_of(directory)
    except OSError as error:
        raise ParamxError(target, (error.strerror or str(error)).lower(), "check its permissions") from None
    wanted = tuple(suffix for suffix, known in SUFFIXES.items() if known == kind)
    indices = [name for name in names if name.endswith(tuple(f"{suffix}{INDEX}" for suffix in wanted))]
    # Some toolkits write `model.index.json` beside the shards.
    indices = indices or [name for name in names if name.endswith(INDEX)]
    if len(several := indices) > 1:
        indices = [name for name in several if name in USUAL_INDICES]
        if not indices:
            raise ParamxError(target, "the directory has several indices", one_of(several))
    if indices:
        if inside(directory, indices[0]) is None:
            raise ParamxError(target, f"{indices[0]} leads out of the directory", "name the index itself")
        return _of_index(target, directory / indices[0])
    files = only_set(names, kind)
    if files is None:
        several = [name for name in names if name.lower().endswith(wanted) and name not in NOT_MODELS]
        raise ParamxError(target, "the directory has several checkpoints", one_of(several))
    paths, findings = _paths(directory, files)
    if not paths:
        raise ParamxError(target, "its files lie outside of the directory", "name one of them")
    if absent := absent_shards(files):
        findings.append(warn("missing-shard", f"{len(absent)} of {len(files) + len(absent)} shards missing", absent))
    return Shards(paths, None, None, {}, tuple(findings), refused=len(files) - len(paths))


def _of_index(target: str, path: Path) -> Shards:
    try:
        with File(path) as file:
            if file.size > MAX_INDEX:
                raise UnreadableError(f"{file.size:,} bytes are too many for an index")
            text = file.read(0, file.size)
            content = parse_json(text, "the index")
            shards = shards_of(target, path, content)
            return replace(shards, findings=(*shards.findings, *_doubled(text, content, path.name)))
    except UnreadableError as error:
        raise ParamxError(target, error.why, error.remedy) from None


def _doubled(text: bytes, content: Any, label: str) -> list[Finding]:
    """Say which keys stand twice in an index: the last counts.

    Asking the parser for pairs triples its time, so the quotes are counted first: a key and its text have four.
    """
    weight_map = content["weight_map"]
    rest = json.dumps({key: value for key, value in content.items() if key != "weight_map"})
    odd = any(not isinstance(file, str) for file in weight_map.values())
    if not odd and b"\\" not in text and text.count(b'"') == 4 * len(weight_map) + rest.count('"') + 2:
        return []
    found = parse_doubled(text)[1]
    return (
        [warn("duplicate-key", f"{label}: {plural(len(found), 'key')} twice; the last counts", found)]
        if found
        else []
    )


def shards_of(target: str, path: Path, content: Any) -> Shards:
    """Say which files an index names.

    Args:
        target: How errors call the checkpoint.
        path: The index; the shards lie beside it.
        content: What the index says, as JSON gives it.

    Raises:
        ParamxError: It is no index of shards.
    """
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict):
        raise ParamxError(target, "the index has no weight_map", "give the index of a checkpoint's shards")
    findings = []
    if set(map(type, weight_map.values())) - {str}:
        odd = [name for name, file in weight_map.items() if not isinstance(file, str)]
        findings.append(warn("bad-entry", f"{path.name}: {tensors(odd)} whose shard is no file name", odd))
        weight_map = {name: file for name, file in weight_map.items() if isinstance(file, str)}
    names = sorted(set(weight_map.values()))
    if len(names) > MAX_SHARDS:
        raise ParamxError(target, f"the index names {len(names):,} shards", "it is damaged, or made to do harm")
    paths, refused = _paths(path.parent, names)
    if names and not paths:
        raise ParamxError(target, refused[0].message, "an index may only name files beside it")
    metadata = content.get("metadata", {})
    if not isinstance(metadata, dict):
        findings.append(warn("bad-metadata", f"{path.name}: metadata is no object"))
        metadata = {}
    total = metadata.get("total_size")
    # Some writers give it as a float: 2.5e9.
    known = isinstance(total, int | float) and type(total) is not bool and 0 <= total < 1 << 62
    if not known and total is not None:
        findings.append(warn("bad-metadata", f"{path.name}: total_size is no number of bytes"))
    return Shards(
        paths,
        weight_map,
        int(total) if known and total is not None else None,
        {key: value for key, value in metadata.items() if key != "total_size"},
        (*findings, *refused),
        path.name,
        len(names) - len(paths),
    )


def _paths(directory: Path, names: list[str]) -> tuple[dict[str, Path], list[Finding]]:
    """Return the real path of each file, and a finding for those that are not opened, by the reason."""
    paths: dict[str, Path] = {}
    refused: dict[str, list[str]] = {}
    for name in names:
        path = inside(directory, name)
        if path is None:
            refused.setdefault(why_not_inside(name), []).append(name)
        else:
            paths[name] = path
    findings = []
    for why, several in refused.items():
        which = f"shard {quoted(several[0])}" if len(several) == 1 else f"{len(several)} shards of {len(names)}"
        findings.append(warn("refused-path", f"{which} not opened: {why}", several))
    return paths, findings


def failures(failed: Mapping[str, UnreadableError], shards: Shards) -> Iterator[Finding]:
    """Tell the shards that could not be read, those with the same reason together, and the tensors they hold."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, error in failed.items():
        reasons.setdefault((error.finding, error.why), []).append(name)
    for (kind, why), names in reasons.items():
        which = f"shard {quoted(names[0])}" if len(names) == 1 else f"{len(names)} shards of {shards.count}"
        message = f"{which}: {why}"
        lost = set(names)
        held = [tensor for tensor, name in (shards.weight_map or {}).items() if name in lost]
        if held:
            message += f"; {tensors(held)} unread"
        yield warn(kind, message, held or names)


def unread(shards: Shards, read: Collection[str]) -> dict[str, str]:
    """Return the tensors that the index puts into files that could not be read, each with its file.

    Args:
        shards: What the index says.
        read: Names of the files that were read.
    """
    return {name: file for name, file in (shards.weight_map or {}).items() if file not in read}


def lone_shard(name: str) -> list[Finding]:
    """Say that a file is one of several, going by its name."""
    match = SHARD.fullmatch(name)
    if match is None or int(match["count"]) < 2:
        return []
    message = f"shard {int(match['number'])} of {int(match['count'])}; open its index, or its directory, for all"
    return [Finding("one-shard", "hint", message)]


def order_of(
    raw: Sequence[str], files: Column[str], shards: Shards, aliases: Collection[str] = ()
) -> tuple[list[int], list[Finding]]:
    """Return the rows to show, in the index's order and then the shards', and where index and shards differ.

    Args:
        raw: Names of the shards' tensors, as the files have them, shard by shard.
        files: For each the name of its file.
        shards: What the index says.
        aliases: Names that are no rows, because their tensors are others' too.
    """
    findings: list[Finding] = []
    rows = dict(zip(raw, range(len(raw)), strict=True))
    weight_map = shards.weight_map
    if len(rows) < len(raw):
        # Of a tensor in two shards the one counts that the index names; without an index the first.
        rows, doubled = {}, []
        for row, name in enumerate(raw):
            if name not in rows:
                rows[name] = row
                continue
            doubled.append(name)
            if weight_map is not None and weight_map.get(name) == files[row]:
                rows[name] = row
        message = f"{tensors(doubled)} in more than one shard; shown once"
        findings.append(warn("duplicate-tensor", message, doubled))
    if weight_map is None:
        return sorted(rows.values()), findings
    if len(weight_map) == len(rows) == len(raw) and rows.keys() == weight_map.keys():
        order = list(each(rows, list(weight_map)))
    else:
        order = [rows[name] for name in weight_map if name in rows]
    alike = len(raw) == len(order) == len(weight_map)
    if alike and all(map(eq, weight_map.values(), rows_of(picked(files, order)))):
        return order, findings  # index and shards say the same
    read = set(files.values)
    shown = rows.keys() | set(aliases)
    if absent := [name for name, file in weight_map.items() if name not in shown and file in read]:
        message = f"{tensors(absent)} that the index names and the shard lacks"
        findings.append(warn("missing-tensor", message, absent))
    if len(order) < len(rows):
        extra = [name for name in rows if name not in weight_map]
        findings.append(warn("extra-tensor", f"{tensors(extra)} in the shards that the index does not name", extra))
        order += map(rows.__getitem__, extra)
    if moved := [raw[row] for row in order if weight_map.get(raw[row], files[row]) != files[row]]:
        findings.append(warn("wrong-shard", f"{tensors(moved)} in another shard than the index says", moved))
    return order, findings
