"""Opens what `torch.save` writes (`.pt`, `.pth`, `.bin`, `.ckpt`), one file or shards: no torch, nothing executed.

Rows stand in the pickle's own order, nested mappings under dotted names. One tensor under several names, by its
storage, place, shape and stride, is one row with aliases: tied weights, as they were when they were saved. What a
pickle does not say is unknown: a module's class is known only where the whole module was saved.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.param import Column, Finding, Model, ModuleClass, Origin
from explorer.core.text import plural, quoted, short_bytes, visible
from explorer.sources.checkpoint.columns import coded
from explorer.sources.checkpoint.files import UnreadableError, collector_paused, tensors, told, warn
from explorer.sources.checkpoint.limits import MAX_ELEMENTS
from explorer.sources.checkpoint.names import shown_names
from explorer.sources.checkpoint.place import Place
from explorer.sources.checkpoint.shards import Shards, failures, find_shards, lone_shard, order_of
from explorer.sources.checkpoint.torch_contents import Contents, read_file
from explorer.sources.checkpoint.torch_walk import BUFFER, Found

if TYPE_CHECKING:
    from explorer.sources import Report

KIND = "torch"
"""This source's name in the SOURCES table."""

KINDS = ("sparse", "quantized", "nested", "wrapper", "meta")
"""Kinds of tensors that are told: their bytes are not their elements in one piece."""


def open_model(spec: OpenSpec, report: Report) -> Model:
    """Open a file of `torch.save`, an index of such shards, or a directory of them.

    Args:
        spec: What to open.
        report: Called with each stage as it begins.

    Returns:
        The tensors that its pickle describes.

    Raises:
        ParamxError: Nothing of it can be read.
    """
    report("reading the pickle")
    with collector_paused():
        return _open(spec.target)[0]


def locator(target: str) -> Callable[[int], Place]:
    """Return what tells where the bytes of a tensor lie, by its row in the table; the pickles are read once, here.

    What is returned raises a ParamxError where the bytes are not stored as they are.

    Args:
        target: As it was opened.

    Raises:
        ParamxError: It can't be read (any more).
    """
    with collector_paused():
        model, rows = _open(target)

    def place(index: int) -> Place:
        contents, found = rows[range(len(model))[index]]
        try:
            return contents.place(found.tensor)
        except UnreadableError as error:
            raise ParamxError(model.names[index], error.why, error.remedy) from None

    return place


Rows = list[tuple[Contents, Found]]
"""For each row of a table the file and the tensor."""


def _open(target: str) -> tuple[Model, Rows]:
    shards = find_shards(target, KIND)
    files: dict[str, Contents] = {}
    failed: dict[str, UnreadableError] = {}
    findings: list[Finding] = []
    for name, path in shards.files.items():
        try:
            label = quoted(name) if len(shards.files) == 1 else f"shard {quoted(name)}"
            files[name] = read_file(path, label)
            findings += _disguised(name, label, files[name].layout)
        except UnreadableError as error:
            failed[name] = error
    if not files:
        _nothing(target, shards, failed)
    findings = [*shards.findings, *failures(failed, shards), *findings]
    for contents in files.values():
        findings += contents.findings
    if shards.weight_map is None and len(files) == 1:
        findings += lone_shard(next(iter(files)))
    return _table(target, shards, files, findings)


def _disguised(name: str, label: str, layout: str) -> Iterator[Finding]:
    """Warn of a file with the name of a format that can't run code."""
    suffix = Path(name).suffix.lower()
    if suffix in (".safetensors", ".gguf"):
        why = "a pickle may run code where it is loaded; a file of that name is trusted not to"
        yield warn("other-format", f"{label}: named {suffix}, and a torch {layout}", why=why)


def _nothing(target: str, shards: Shards, failed: Mapping[str, UnreadableError]) -> NoReturn:
    if not failed:
        raise ParamxError(target, "the index names no shard", "give the index of a checkpoint's shards")
    name, first = next(iter(failed.items()))
    alone = len(failed) == 1 and shards.index is None
    raise ParamxError(target, first.why if alone else f"no shard can be read: {name}: {first.why}", first.remedy)


@dataclass(slots=True)
class _Row:
    """One tensor, with every name it has."""

    found: Found
    file: str
    aliases: list[str]
    requires_grad: bool | None
    apart: str
    saved: int
    """How many of its names are a state dict's, and no optimizer's."""


def _rows(files: Mapping[str, Contents]) -> tuple[list[_Row], list[str]]:
    """Return the files' tensors, each once, and those that are left out because the sum would pass all bounds."""
    rows: list[_Row] = []
    refused = []
    left = MAX_ELEMENTS
    for name, contents in files.items():
        seen: dict[Any, _Row] = {}
        # What an optimizer lists comes last, so that the name a tensor has elsewhere is its first.
        for found in sorted(contents.walk.found, key=lambda found: found.listed):
            tensor, numel = found.tensor, int(prod(found.tensor.shape))
            key: Any = ("object", found.identity)
            if tensor.storage is not None and numel:
                place = tensor.storage.key, tensor.storage.base, tensor.offset
                key = (*place, tensor.shape, tensor.stride, tensor.dtype)
            row = seen.get(key)
            if row is not None:
                row.requires_grad = row.requires_grad if tensor.requires_grad is None else tensor.requires_grad
                row.apart = row.apart and found.apart  # what is a parameter anywhere is one
                if not found.listed:
                    row.aliases.append(found.name)
                    row.saved += not found.apart
            elif numel > left:
                refused.append(found.name)
            else:
                left -= numel
                seen[key] = row = _Row(found, name, [], tensor.requires_grad, found.apart, int(not found.apart))
                rows.append(row)
    return rows, refused


def _table(target: str, shards: Shards, files: Mapping[str, Contents], findings: list[Finding]) -> tuple[Model, Rows]:
    rows, refused = _rows(files)
    if refused:
        findings.append(warn("bad-tensor", f"{tensors(refused)} left out: larger than any tensor", refused))
    if len(files) > 1 or shards.weight_map is not None:
        aliases = {alias for row in rows for alias in row.aliases}
        order, notes = order_of([row.found.name for row in rows], coded([row.file for row in rows]), shards, aliases)
        findings += notes
        rows = [rows[index] for index in order]
    nbytes = array("q", (-1 if row.found.tensor.nbytes is None else row.found.tensor.nbytes for row in rows))
    if shards.total_size is not None and len(files) == len(shards.files) and not shards.findings:
        # Writers count a tied tensor once or for each of its names; either is right.
        sums = {sum(nbytes), sum(size * (1 + len(row.aliases)) for size, row in zip(nbytes, rows, strict=True))}
        if shards.total_size not in sums:
            message = f"{shards.index}: total_size says {shards.total_size:,} bytes, the shards hold {min(sums):,}"
            findings.append(warn("wrong-total", message))
    findings += _notes(rows, files)
    if not rows:
        first = next((finding for finding in findings if finding.id == "refused-global"), None)
        if first is not None:
            # Of a lone file the line begins with its name already.
            what = first.message.partition(": ")[2] if len(files) == 1 else first.message
            raise ParamxError(target, f"no tensor in it, only what would run code; {what}", "do not load it")
        findings.append(Finding("no-tensors", "warning", "no tensor in the file"))
    names, notes = shown_names([row.found.name for row in rows])
    findings += notes
    modules: Column[ModuleClass | None] = coded([_shown_class(row.found.module_class) for row in rows])
    described = [files[row.file] for row in rows]
    model = Model(
        origin=_origin(target, shards, files),
        names=names,
        shapes=coded([row.found.tensor.shape for row in rows]),
        numels=array("q", (prod(row.found.tensor.shape) for row in rows)),
        nbytes=nbytes,
        dtypes=coded([row.found.tensor.dtype for row in rows]),
        devices=coded([_shown_device(row.found.tensor.device) for row in rows]),
        requires_grad=coded([None if row.apart == BUFFER else row.requires_grad for row in rows]),
        modules=modules,
        shards=coded([visible(row.file) for row in rows]),
        aliases={index: tuple(map(visible, row.aliases)) for index, row in enumerate(rows) if row.aliases},
        findings=tuple(findings),
        notes=_odd(rows),
        apart={index: row.apart for index, row in enumerate(rows) if row.apart},
        state=_state(rows),
    )
    return model, [(contents, row.found) for contents, row in zip(described, rows, strict=True)]


def _state(rows: list[_Row]) -> tuple[int, int] | None:
    """Return how many names the file's state dict has, and the elements under them."""
    if any(row.apart == BUFFER for row in rows):  # a pickled module: which of its buffers it saves is not known here
        return None
    return sum(row.saved for row in rows), sum(row.saved * prod(row.found.tensor.shape) for row in rows)


def _odd(rows: list[_Row]) -> dict[int, str]:
    """Return what is odd about single tensors, by row."""
    kinds = (row.found.tensor.kind for row in rows)
    return {index: kind for index, kind in enumerate(kinds) if kind in KINDS}


def _shown_class(owner: ModuleClass | None) -> ModuleClass | None:
    return None if owner is None else ModuleClass(visible(owner.name))


def _shown_device(device: str | None) -> str | None:
    return None if device is None else visible(device[:100])


def _notes(rows: list[_Row], files: Mapping[str, Contents]) -> list[Finding]:
    """Say what is worth knowing of the tensors: views of one storage, odd kinds, storages mostly unused."""
    notes = []
    for kind in KINDS:
        odd = [row.found.name for row in rows if row.found.tensor.kind == kind]
        if odd:
            notes.append(Finding(f"{kind}-tensors", "hint", visible(f"{tensors(odd)} saved as {kind}")))
    used: dict[tuple[str, str], list[_Row]] = {}
    for row in rows:
        if row.found.tensor.storage is not None:
            used.setdefault((row.file, row.found.tensor.storage.key), []).append(row)
    views = [row.found.name for group in used.values() if len(group) > 1 for row in group]
    if views:
        message = f"{tensors(views)} are views: they share storages with others, at another place or of another shape"
        notes.append(Finding("views", "hint", message, told(views)))
    held = sum(files[file].rules.storages[key].nbytes for file, key in used if key in files[file].rules.storages)
    shown = sum(sum(row.found.tensor.nbytes or 0 for row in group) for group in used.values())
    if held > 2 * shown + (1 << 20):
        message = f"the storages take {short_bytes(held)} for tensors of {short_bytes(shown)}"
        why = "a slice of a larger tensor is saved with all of it; clone it before saving"
        notes.append(Finding("storage-unused", "hint", message, (), why))
    return notes


def _origin(target: str, shards: Shards, files: Mapping[str, Contents]) -> Origin:
    size = short_bytes(sum(contents.size for contents in files.values()))
    layouts = sorted({contents.layout for contents in files.values()})
    number = f"{len(files)} of " if len(files) < shards.count else ""
    many = f"{number}{plural(shards.count, 'shard')}, " if shards.count > 1 or shards.index else ""
    others = sum(contents.walk.others for contents in files.values())
    parts = [f"{many}{' and '.join(layouts)}", size]
    if others:
        parts.append(f"{plural(others, 'other value')} left out")
    return Origin(target=visible(target), kind=KIND, description=f"torch {', '.join(parts)}")
