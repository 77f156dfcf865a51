"""Says which files a target consists of: one file, the shards of an index, or those of a directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer.core.errors import ParamxError
from explorer.core.param import Finding
from explorer.sources.checkpoint.files import File, UnreadableError, inside, parse_json, tensors, warn
from explorer.sources.checkpoint.targets import INDEX, absent_shards, names_of, only_set, path_of

MAX_INDEX = 100_000_000
"""Longest index in bytes: as long as the longest header."""

USUAL_INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
"""What transformers calls an index: taken where a directory has others too."""

MAX_SHARDS = 10_000
"""Most shards of an index."""


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


def find_shards(target: str, kind: str) -> Shards:
    """Find the files of a target.

    Args:
        target: A file, an index or a directory.
        kind: The kind of checkpoint; decides among the files of a directory.

    Raises:
        ParamxError: It is none of these, or the index can't be read.
    """
    path = path_of(target)
    if path.is_dir():
        return _of_directory(target, path, kind)
    if path.name.endswith(INDEX):
        return _of_index(target, path)
    return Shards({path.name: path}, None, None, {}, ())


def _of_directory(target: str, directory: Path, kind: str) -> Shards:
    try:
        names = names_of(directory)
    except OSError as error:
        raise ParamxError(target, (error.strerror or str(error)).lower(), "check its permissions") from None
    wanted = (".safetensors",) if kind == "safetensors" else (".bin", ".pt", ".pth", ".ckpt")
    indices = [name for name in names if name.endswith(tuple(f"{suffix}{INDEX}" for suffix in wanted))]
    # Some toolkits write `model.index.json` beside the shards.
    indices = indices or [name for name in names if name.endswith(INDEX)]
    if len(indices) > 1:
        indices = [name for name in indices if name in USUAL_INDICES]
        if not indices:
            raise ParamxError(target, "the directory has several indices", "name one of them")
    if indices:
        return _of_index(target, directory / indices[0])
    files = only_set(names, kind)
    if files is None:
        raise ParamxError(target, "the directory has several checkpoints", "name one of its files")
    paths, findings = _paths(directory, files)
    if not paths:
        raise ParamxError(target, "its files lie outside of the directory", "name one of them")
    if absent := absent_shards(files):
        findings.append(warn("missing-shard", f"{len(absent)} of {len(files) + len(absent)} shards missing", absent))
    return Shards(paths, None, None, {}, tuple(findings))


def _of_index(target: str, path: Path) -> Shards:
    try:
        with File(path) as file:
            if file.size > MAX_INDEX:
                raise UnreadableError(f"{file.size:,} bytes are too many for an index")
            content = parse_json(file.read(0, file.size), "the index")
        weight_map = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(weight_map, dict):
            raise UnreadableError("the index has no weight_map", "give the index of a checkpoint's shards")
    except UnreadableError as error:
        raise ParamxError(target, error.why, error.remedy) from None
    findings = []
    odd = [name for name, file in weight_map.items() if not isinstance(file, str)]
    if odd:
        findings.append(warn("bad-entry", f"{path.name}: {tensors(odd)} whose shard is no file name", odd))
        weight_map = {name: file for name, file in weight_map.items() if isinstance(file, str)}
    names = sorted(set(weight_map.values()))
    if len(names) > MAX_SHARDS:
        raise ParamxError(target, f"the index names {len(names):,} shards", "it is damaged, or made to do harm")
    paths, refused = _paths(path.parent, names)
    if names and not paths:
        raise ParamxError(target, refused[0].message, "an index may only name files beside it")
    metadata = content.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    total = metadata.get("total_size")
    return Shards(
        paths,
        weight_map,
        # Some writers give it as a float: 2.5e9.
        int(total) if isinstance(total, int | float) and 0 <= total < 1 << 62 else None,
        {key: value for key, value in metadata.items() if key != "total_size"},
        (*findings, *refused),
        path.name,
    )


def _paths(directory: Path, names: list[str]) -> tuple[dict[str, Path], list[Finding]]:
    """Return the real path of each file, and a finding for those that lead out of the directory."""
    paths, refused = {}, []
    for name in names:
        path = inside(directory, name)
        if path is None:
            refused.append(name)
        else:
            paths[name] = path
    if not refused:
        return paths, []
    which = f"shard {refused[0]}" if len(refused) == 1 else f"{len(refused)} shards"
    message = f"{which} not opened: the path leads out of the checkpoint's directory"
    return paths, [warn("refused-path", message, refused)]
