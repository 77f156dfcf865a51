"""Tells what kind of checkpoint a target is, from a look at 16 bytes or at a directory's names."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from explorer.core.paths import expanded

SAFETENSORS, TORCH, GGUF, DCP = "safetensors", "torch", "gguf", "dcp"
"""The kinds, as the SOURCES table names them."""

SUFFIXES = {
    ".safetensors": SAFETENSORS,
    ".bin": TORCH,
    ".pt": TORCH,
    ".pth": TORCH,
    ".ckpt": TORCH,
    ".gguf": GGUF,
    ".distcp": DCP,
}
"""What a name's end says, where the content does not say it better."""

INDEX = ".index.json"
"""How the name of an index of shards ends."""

TORCH_INDICES = tuple(f"{suffix}{INDEX}" for suffix in SUFFIXES if SUFFIXES[suffix] == TORCH)
"""Ends of an index of pickled shards."""

CONFIG = "config.json"
"""A directory that has it is a model: transformers opens it, and looks for weights by itself."""

DCP_METADATA = ".metadata"
"""The file of a torch distributed checkpoint that lists its tensors."""

NOT_MODELS = frozenset({"training_args.bin", "optimizer.bin", "scheduler.bin", "optimizer.pt", "scheduler.pt"})
"""Files that a Trainer leaves beside the weights; opened when they are named, not when a directory is."""

USUAL = ("model.safetensors", "pytorch_model.bin", "adapter_model.safetensors", "adapter_model.bin")
"""What transformers and peft call their weights: taken where a directory has others too."""

SHARD = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.(?P<suffix>\w+)", re.DOTALL)
"""How shards are named: `model-00001-of-00003.safetensors`."""

NAMED = 4
"""Most files that a message names."""

MAX_ENTRIES = 20_000
"""Most names of a directory that are looked at."""


def is_directory(path: Path) -> bool:
    """Whether a path is a directory; what can't be a path is not."""
    try:
        return path.is_dir()
    except (OSError, ValueError):  # too long, a NUL in it
        return False


def kind_of(target: str) -> str | None:
    """Return the kind of checkpoint that a target is; `None` for anything else, and for a model with a config."""
    if not target.strip() or "\0" in target:
        return None
    path = expanded(target)
    by_name = TORCH if path.name.endswith(TORCH_INDICES) else None
    by_name = by_name or (SAFETENSORS if path.name.endswith(INDEX) else SUFFIXES.get(path.suffix.lower()))
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - a target may be too long for a path: one way to fail
        if stat.S_ISDIR(mode):
            return _kind_of_directory(path)
    except (OSError, ValueError):
        return by_name  # not there: the source says so, and the hub is not asked for `model.safetensors`
    if path.name == DCP_METADATA or by_name == DCP:
        return DCP  # what is in a `.distcp` is a zip archive for each piece: nothing without the metadata
    if not stat.S_ISREG(mode) or path.suffix.lower() == ".json":
        return by_name
    return kind_of_content(path) or by_name


def kind_of_content(path: Path) -> str | None:
    """Return what a regular file is by its first bytes, `None` where they say nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            head = os.pread(descriptor, 16, 0)
        finally:
            os.close(descriptor)
    except OSError:
        return None
    if head[:4] in (b"GGUF", b"FUGG"):
        return GGUF
    # A pickle starts with PROTO 2 to 5; both of torch's layouts are one, or a zip that holds one.
    if head[:4] == b"PK\x03\x04" or (head[:1] == b"\x80" and head[1:2] in b"\2\3\4\5" and len(head) > 1):
        if int.from_bytes(head[:8], "little") <= size and head[8:9] == b"{":
            return SAFETENSORS
        return TORCH
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= 100_000_000:
        return SAFETENSORS
    return None


def names_of(directory: Path) -> list[str]:
    """Return the names in a directory, sorted; at most `MAX_ENTRIES` of them.

    Raises:
        OSError: It can't be read.
    """
    names = []
    with os.scandir(directory) as scan:
        for entry in scan:
            names.append(entry.name)
            if len(names) >= MAX_ENTRIES:
                break
    return sorted(names)


def _kind_of_directory(directory: Path) -> str | None:
    names = names_of(directory)
    if CONFIG in names:
        return None
    if DCP_METADATA in names:
        return DCP
    found = {SUFFIXES.get(Path(name).suffix.lower()) for name in names if name not in NOT_MODELS}
    if indices := [name for name in names if name.endswith(INDEX)]:
        found.add(TORCH if all(name.endswith(TORCH_INDICES) for name in indices) else SAFETENSORS)
    return next((kind for kind in (SAFETENSORS, TORCH, GGUF) if kind in found), None)


def only_set(names: list[str], kind: str) -> list[str] | None:
    """Return the files of a directory that make up its one checkpoint of a kind; `None` where there are several.

    Args:
        names: The directory's names.
        kind: Only files whose names say this kind are looked at.
    """
    files = [name for name in names if SUFFIXES.get(Path(name).suffix.lower()) == kind and name not in NOT_MODELS]
    sets: dict[str, list[str]] = {}
    for name in files:
        match = SHARD.fullmatch(name)
        sets.setdefault(f"{match['stem']} of {match['count']}" if match else name, []).append(name)
    if len(sets) > 1:
        # Beside the weights as they are saved, people keep others: originals, adapters, optimizer states.
        usual = [name for name in USUAL if name in sets]
        return sets[usual[0]] if usual else None
    return next(iter(sets.values()), None)


def one_of(names: list[str]) -> str:
    """Return what to do where one of several files has to be named; the first few stand there."""
    more = len(names) - NAMED
    told = ", ".join(sorted(names)[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
    return f"name one of its files: {told}"


def absent_shards(files: list[str]) -> list[str]:
    """Return the names that a set of shards should have and has not, going by `-of-00003` in those that are there."""
    match = SHARD.fullmatch(files[0]) if files else None
    if match is None:
        return []
    count, there = int(match["count"]), set(files)
    wanted = (f"{match['stem']}-{number:05}-of-{match['count']}.{match['suffix']}" for number in range(1, count + 1))
    return [name for name in wanted if name not in there]
