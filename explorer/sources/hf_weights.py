"""Lays a skeleton over the header of a checkpoint that lies beside its config: truer than the config alone.

The config of T5 forces tying, the checkpoint may hold two tensors; the checkpoint's dtype may be another. The library
decides, through `from_pretrained`, given tensors on the meta device that we make from the header: its own reader maps
the files and reads every byte of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.core.param import Finding
from explorer.core.text import plural, visible
from explorer.sources.safetensors_header import Entry, HeaderError, read_header

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

WHOLE = "model.safetensors"
"""A checkpoint in one file."""

INDEX = "model.safetensors.index.json"
"""Says which shard holds which tensor: `{"weight_map": {NAME: FILE}}`."""

PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
"""Weights that are pickles: never opened here."""

MAX_INDEX = 64 << 20
"""Longest index that is read, in bytes."""

SAMPLES, SAMPLE_BYTES = 64, 4096
"""How much of two tensors is compared to tell whether one is a copy of the other: blocks, and bytes of each."""

TOLD_NAMES = 1000
"""Most names that a finding carries."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The headers of a directory's weights."""

    entries: Mapping[str, tuple[Path, Entry]]
    """Each tensor: the file that holds it, and where."""
    findings: tuple[Finding, ...]
    """What is wrong with the files."""


def has_weights(directory: Path) -> bool:
    """Whether a directory holds weights whose header can be read."""
    return (directory / WHOLE).exists() or (directory / INDEX).exists()


def has_pickles(directory: Path) -> bool:
    """Whether a directory holds weights that are pickles."""
    return any((directory / name).exists() for name in PICKLES)


def read_checkpoint(directory: Path) -> Checkpoint:
    """Read the headers of a directory's safetensors files.

    Raises:
        HeaderError: No header could be read; the text is the reason.
    """
    findings: list[Finding] = []
    files = [WHOLE]
    if not (directory / WHOLE).exists():
        files, findings = _shards(directory / INDEX)
    entries: dict[str, tuple[Path, Entry]] = {}
    for name in files:
        path = directory / name
        try:
            entries |= {tensor: (path, entry) for tensor, entry in read_header(path).items()}
        except (OSError, HeaderError) as error:
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            if len(files) == 1:
                raise HeaderError(f"{name}: {reason}") from None
            kind = "missing-shard" if isinstance(error, FileNotFoundError) else "unreadable-shard"
            findings.append(Finding(kind, "warning", visible(f"shard {name}: {reason}")))
    if not entries:
        raise HeaderError("no tensor in any shard")
    return Checkpoint(entries, tuple(findings))


def _shards(index: Path) -> tuple[list[str], list[Finding]]:
    try:
        with open(os.open(index, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - a descriptor
            weight_map = json.loads(file.read(MAX_INDEX))["weight_map"]
        names = sorted({str(name) for name in weight_map.values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HeaderError(f"{index.name}: {error}") from None
    # An index may name any path; only its own directory is looked into.
    inside = [name for name in names if name not in ("", ".", "..") and not set(name) & {"/", "\\", "\0"}]
    outside = [
        Finding("missing-shard", "warning", visible(f"shard {name} is outside the directory"))
        for name in names
        if name not in inside
    ]
    return inside, outside


def over_checkpoint(
    model_class: type[PreTrainedModel], config: PreTrainedConfig, checkpoint: Checkpoint
) -> tuple[PreTrainedModel, tuple[Finding, ...]]:
    """Build a model as `from_pretrained(directory, device_map="meta")` does, from headers alone.

    Args:
        model_class: The class to build.
        config: Its configuration.
        checkpoint: The headers.

    Returns:
        The model on the meta device, and what the library found missing, unexpected or of another shape.
    """
    model, told = _load(model_class, config, checkpoint.entries)
    if copies := _copies(model, checkpoint.entries):
        # On meta the library can't compare the two tensors and leaves them apart; elsewhere it would tie them.
        entries = {name: place for name, place in checkpoint.entries.items() if name not in copies}
        model, told = _load(model_class, config, entries)
    return model, (*checkpoint.findings, *_told(told))


def _load(
    model_class: type[PreTrainedModel], config: PreTrainedConfig, entries: Mapping[str, tuple[Path, Entry]]
) -> tuple[PreTrainedModel, Mapping[str, Any]]:
    import torch
    from transformers.modeling_utils import str_to_torch_dtype

    state = {
        name: torch.empty(entry.shape, dtype=str_to_torch_dtype[entry.dtype], device="meta")
        for name, (_, entry) in entries.items()
    }
    with _without_accelerate():
        model, told = model_class.from_pretrained(
            None,
            config=config,
            state_dict=state,
            device_map="meta",
            dtype="auto",
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    return model, told


@contextmanager
def _without_accelerate() -> Iterator[None]:
    """Let `device_map="meta"` pass where accelerate is not installed.

    transformers 5.23 demands the package for every device map (integrations/accelerate.py,
    `check_and_set_device_map`), though nothing of it is used when all goes to one device.
    """
    from transformers.integrations import accelerate

    theirs = accelerate.is_accelerate_available
    accelerate.is_accelerate_available = lambda *_, **__: True
    try:
        yield
    finally:
        accelerate.is_accelerate_available = theirs


def _copies(model: PreTrainedModel, entries: Mapping[str, tuple[Path, Entry]]) -> set[str]:
    """Return the tensors that the config ties to another, and that hold the same bytes as the other."""
    copies = set()
    for pair in model.get_expanded_tied_weights_keys(all_submodels=True).items():
        target, source = (_name_in_file(name, model.base_model_prefix, entries) for name in pair)
        if target != source and target and source and _same_bytes(entries[target], entries[source]):
            copies.add(target)
    return copies


def _name_in_file(name: str, prefix: str, entries: Mapping[str, Any]) -> str | None:
    """Return a parameter's name in the file: with or without the prefix of the base model, as transformers allows."""
    names = (name, f"{prefix}.{name}", name.removeprefix(f"{prefix}."))
    return next((name for name in names if name in entries), None)


def _same_bytes(one: tuple[Path, Entry], other: tuple[Path, Entry]) -> bool:
    """Compare blocks spread over two tensors; all of both may be gigabytes on a network drive."""
    (path, entry), (other_path, other_entry) = one, other
    size = entry.end - entry.begin
    if (entry.dtype, entry.shape) != (other_entry.dtype, other_entry.shape):
        return False
    steps = sorted({max(0, (size - SAMPLE_BYTES) * step // SAMPLES) for step in range(SAMPLES + 1)})
    first = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    second = os.open(other_path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        for step in steps:
            length = min(SAMPLE_BYTES, size - step)
            if os.pread(first, length, entry.begin + step) != os.pread(second, length, other_entry.begin + step):
                return False
    finally:
        os.close(first)
        os.close(second)
    return True


def _told(told: Mapping[str, Any]) -> Iterator[Finding]:
    """Say what the library found when it laid the model over the file."""
    missing = sorted(map(str, told.get("missing_keys", ())))
    unexpected = sorted(map(str, told.get("unexpected_keys", ())))
    mismatched = sorted(str(item[0]) for item in told.get("mismatched_keys", ()))
    if mismatched:
        message = f"{plural(len(mismatched), 'tensor')} of another shape in the file than in the model"
        yield Finding("shape-mismatch", "error", message, _names(mismatched), "from_pretrained refuses such a file")
    if missing:
        message = f"{plural(len(missing), 'tensor')} of the model not in the file"
        yield Finding("missing-tensors", "warning", message, _names(missing), "from_pretrained fills them at random")
    if unexpected:
        message = f"{plural(len(unexpected), 'tensor')} of the file not in the model"
        yield Finding("unexpected-tensors", "hint", message, _names(unexpected), "from_pretrained drops them")


def _names(names: list[str]) -> tuple[str, ...]:
    return tuple(map(visible, names[:TOLD_NAMES]))
