"""Lists what can be opened from here: the current directory, the local hub cache, the built-in names.

Standard library only, and of files no more than the start of a config: the start screen waits for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from explorer.core.choice import Choice
from explorer.core.text import plural, short_bytes, short_count, visible
from explorer.sources.checkpoint.files import File, UnreadableError
from explorer.sources.checkpoint.targets import CONFIG, DCP, DCP_METADATA, INDEX, NOT_MODELS, SUFFIXES
from explorer.sources.hub_cache import SHORT_COMMIT, cached_models

MAX_DEPTH = 2
"""How many folders below the start are looked into."""

MAX_ENTRIES = 5_000
"""How many directory entries are looked at, so that a home directory on a network drive costs little."""

MAX_FOUND = 500
"""How many files of the current directory are listed."""

MAX_PEEK = 1 << 20
"""How much of a `config.json` is searched for its model type, in bytes."""

CHECKPOINT_SUFFIXES = (*(suffix for suffix, kind in SUFFIXES.items() if kind != DCP), INDEX)
"""How the names of checkpoints end; a distributed one is a folder."""

SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "env"})
"""Folders that hold many files and no models of the user's; hidden folders are skipped too."""

SHARD = re.compile(r"-\d{5}-of-\d{5}\.\w+$")
"""How a shard's name ends: its index is listed instead, or the first part of a split `.gguf`, which has no index."""

FIRST_PART = re.compile(r"-00001-of-(\d{5})\.gguf$")
"""How the name of the first part of a split `.gguf` ends; any part opens all."""

DCP_DATA = "__0_0.distcp"
"""The first file of a distributed checkpoint's data: other programs have a `.metadata` too."""

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""Names under which transformers keeps weights beside a config."""


def choices(start: Path | None = None) -> tuple[Choice, ...]:
    """Return everything that can be opened from here, the nearest first.

    Args:
        start: The folder to look into; the current directory when `None`.
    """
    return (*files_below(start or Path()), *cached(), *built_in())


def files_below(start: Path) -> Iterator[Choice]:
    """Yield configs and checkpoints in a folder and two levels below; links to folders are not followed."""
    found = 0
    for path, status in _walk(start):
        if found >= MAX_FOUND:
            return
        choice = _choice(start, path, status)
        if choice is not None:
            found += 1
            yield choice


def cached() -> Iterator[Choice]:
    """Yield the models of the local hub cache that have a `config.json`."""
    for repo_id, snapshot in cached_models():
        weights = "" if _has_weights(snapshot) else ", no weights"
        yield Choice(
            repo_id, visible(repo_id), "cached", f"snapshot {visible(snapshot.name[:SHORT_COMMIT])}{weights}"
        )


def built_in() -> Iterator[Choice]:
    """Yield the built-in architectures in the catalogue's order."""
    from explorer.sources import builtin

    for known in builtin.catalogue():
        detail = f"{visible(known.title)} · {short_count(known.total)} · {known.family}"
        yield Choice(known.name, visible(known.name), "built-in", detail)


def _choice(start: Path, path: Path, status: os.stat_result) -> Choice | None:
    name = path.name
    # `./` keeps a target from being taken for a hub id.
    target = os.path.join(os.curdir, path) if not start.is_absolute() else str(path)  # noqa: PTH118 - Path drops `./`
    shown = visible(str(path.relative_to(start)))
    if name == CONFIG:
        if not tells_model(path):
            return None
        weights = "with weights" if _has_weights(path.parent) else "no weights"
        if path.parent == start:
            return Choice(target if weights == "no weights" else str(start), shown, "config", weights)
        folder = os.path.dirname(target)  # noqa: PTH120 - Path drops `./`
        return Choice(folder, visible(str(path.parent.relative_to(start))) + "/", "config", weights)
    if name == DCP_METADATA:
        if not (path.parent / DCP_DATA).exists():
            return None
        folder = os.path.dirname(target)  # noqa: PTH120 - Path drops `./`
        return Choice(folder, visible(str(path.parent.relative_to(start))) + "/", "checkpoint", "distributed")
    if first := FIRST_PART.search(name):
        return Choice(target, shown, "checkpoint", plural(int(first[1]), "part"))
    if not SHARD.search(name):
        detail = "shards" if name.endswith(INDEX) else short_bytes(status.st_size)
        return Choice(target, shown, "checkpoint", detail)
    return None


def _walk(start: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the regular files below a folder with their status, folder by folder, in order of name."""
    left = MAX_ENTRIES
    folders = [(start, 0)]
    while folders:
        folder, depth = folders.pop(0)
        try:
            with os.scandir(folder) as scan:
                entries = []
                for entry in scan:
                    left -= 1
                    if left < 0:
                        break
                    entries.append(entry)
        except OSError:
            continue
        for entry in sorted(entries, key=lambda entry: entry.name):
            try:
                if entry.is_dir(follow_symlinks=False):
                    hidden = entry.name.startswith(".") or entry.name in SKIPPED_FOLDERS
                    if depth < MAX_DEPTH and not hidden:
                        folders.append((folder / entry.name, depth + 1))
                elif _is_wanted(entry.name) and entry.is_file():
                    yield folder / entry.name, entry.stat()
            except OSError:
                continue


def _is_wanted(name: str) -> bool:
    return name in (CONFIG, DCP_METADATA) or (name.endswith(CHECKPOINT_SUFFIXES) and name not in NOT_MODELS)


def tells_model(config: Path) -> bool:
    """Whether a `config.json` is a model's: pooling layers, adapters and web tools have files of that name too."""
    try:
        with File(config) as file:  # never waits, should it be a pipe by now
            text = file.read(0, min(MAX_PEEK, file.size))
    except UnreadableError:
        return False
    return b'"model_type"' in text or b'"architectures"' in text


def _has_weights(folder: Path) -> bool:
    return any((folder / name).exists() for name in WEIGHTS)
