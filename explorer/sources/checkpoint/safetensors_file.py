"""Opens safetensors: one file, shards with an index, a directory of them. Headers only, no library, no data read.

A checkpoint knows names, shapes, dtypes and bytes; requires_grad, module classes and devices are unknown (`None`).
`Origin.config` is `{"metadata": …}`: what the writer said (`__metadata__`, and the index's `metadata`). Rows stand in
the header's own order, or the index's; the tree puts numbered layers in order.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import eq
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.param import Column, Finding, Model, Origin
from explorer.core.text import plural, quoted, short_bytes, visible
from explorer.sources.checkpoint.columns import each, joined, picked
from explorer.sources.checkpoint.files import File, UnreadableError, collector_paused, warn
from explorer.sources.checkpoint.limits import MAX_ELEMENTS
from explorer.sources.checkpoint.names import shown_names
from explorer.sources.checkpoint.place import Place
from explorer.sources.checkpoint.safetensors_header import (
    METADATA_KEYS,
    METADATA_TEXT,
    Header,
    read_header,
)
from explorer.sources.checkpoint.shards import Shards, failures, find_shards, lone_shard, order_of, unread

if TYPE_CHECKING:
    from explorer.sources import Report

T = TypeVar("T")

KIND = "safetensors"
"""This source's name in the SOURCES table."""


def open_model(spec: OpenSpec, report: Report) -> Model:
    """Open a safetensors file, an index of shards, or a directory of them.

    Args:
        spec: What to open.
        report: Called with each stage as it begins.

    Returns:
        The files' tensors.

    Raises:
        ParamxError: Nothing of it can be read.
    """
    report("reading the header")
    return read_checkpoint(spec.target).model


def locator(target: str) -> Callable[[int], Place]:
    """Return what tells where the bytes of a row lie, its headers read once, here.

    Args:
        target: As it was opened.

    Raises:
        ParamxError: It can't be read (any more).
    """
    return read_checkpoint(target).place


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The headers of a checkpoint as one table, and where its bytes lie."""

    model: Model
    """The table."""
    names: list[str]
    """Names as the files have them, not made visible, in the table's order: what other libraries go by."""
    paths: Mapping[str, Path]
    """Each file that was read, by its name."""
    files: Column[str]
    """For each row the name of its file."""
    begins: array[int]
    """For each row where its data begins, in bytes from the start of its file."""
    unread: Mapping[str, str]
    """Tensors that no row stands for, because their file could not be read, and the file."""

    def place(self, index: int) -> Place:
        """Return where the bytes of one row lie."""
        param = self.model[index]
        assert param.shape is not None
        assert param.nbytes is not None
        path = self.paths[self.files[param.index]]
        return Place(path, self.begins[param.index], param.nbytes, param.dtype, param.shape)


def read_checkpoint(target: str) -> Checkpoint:
    """Read the headers of a target; what `open_model` shows, and more for other sources.

    Args:
        target: A file, an index or a directory; also a directory with a config, of which only the weights are read.

    Raises:
        ParamxError: Nothing of it can be read.
    """
    with collector_paused():
        return read_shards(target, find_shards(target, KIND))


def read_shards(target: str, shards: Shards, open_file: Callable[[Path], File] = File) -> Checkpoint:
    """Read the headers of some files.

    Args:
        target: How errors call the checkpoint.
        shards: The files.
        open_file: Opens each; files that are elsewhere are read through another.

    Raises:
        ParamxError: Nothing of it can be read.
    """
    with collector_paused():
        headers, findings = _read_headers(target, shards, open_file)
        if shards.weight_map is None and len(headers) == 1:
            findings += lone_shard(next(iter(headers)))
        return _assemble(target, shards, headers, findings)


def _read_headers(
    target: str, shards: Shards, open_file: Callable[[Path], File]
) -> tuple[dict[str, Header], list[Finding]]:
    """Read every shard's header; a shard that can't be read is a finding as long as another can."""
    headers: dict[str, Header] = {}
    failed: dict[str, UnreadableError] = {}
    lone = len(shards.files) == 1
    left = MAX_ELEMENTS
    for name, path in shards.files.items():
        try:
            with open_file(path) as file:
                header = read_header(file, quoted(name) if lone else f"shard {quoted(name)}")
            left -= sum(header.numels)
            if left < 0:
                raise UnreadableError("more elements than any model has")
            headers[name] = header
        except UnreadableError as error:
            failed[name] = error
    if not headers:
        if not failed:
            raise ParamxError(target, "the index names no shard", "give the index of a checkpoint's shards")
        name, first = next(iter(failed.items()))
        alone = len(failed) == 1 and shards.index is None
        raise ParamxError(target, first.why if alone else f"no shard can be read: {name}: {first.why}", first.remedy)
    findings = [*shards.findings, *failures(failed, shards)]
    findings += chain.from_iterable(header.findings for header in headers.values())
    return headers, findings


def _assemble(target: str, shards: Shards, headers: Mapping[str, Header], findings: list[Finding]) -> Checkpoint:
    """Put the headers' columns one after the other, then into the index's order."""
    parts = headers.values()
    raw = [name for header in parts for name in header.names]
    files = joined(Column.constant(name, len(header)) for name, header in headers.items())
    order: Sequence[int] = range(len(raw))
    if len(headers) > 1 or shards.weight_map is not None:
        order, notes = order_of(raw, files, shards)
        findings += notes
    if not raw:
        findings.append(Finding("no-tensors", "warning", "no tensor in the file"))
    same = len(order) == len(raw) and all(map(eq, order, range(len(raw))))

    def ordered(column: Column[T]) -> Column[T]:
        return column if same else picked(column, order)

    def numbers(columns: Iterable[array[int]]) -> array[int]:
        whole = array("q")
        for column in columns:
            whole.extend(column)
        return whole if same else array("q", each(whole, order))

    names = raw if same else list(each(raw, order))
    shown, notes = shown_names(names)
    files = ordered(files)
    nbytes = numbers(header.nbytes for header in parts)
    complete = len(headers) == len(shards.files) and not shards.findings
    if complete and shards.total_size not in (None, sum(nbytes)):
        message = f"{shards.index}: total_size says {shards.total_size:,} bytes, the shards hold {sum(nbytes):,}"
        findings.append(warn("wrong-total", message))
    numels = numbers(header.numels for header in parts)
    model = Model(
        origin=_origin(target, shards, headers),
        names=shown,
        shapes=ordered(joined(header.shapes for header in parts)),
        numels=numels,
        nbytes=nbytes,
        dtypes=ordered(joined(header.dtypes for header in parts)),
        devices=Column.constant(None, len(order)),
        requires_grad=Column.constant(None, len(order)),
        modules=Column.constant(None, len(order)),
        shards=Column(tuple(map(visible, files.values)), files.codes),
        aliases={},
        findings=(*findings, *notes),
        state=(len(shown), sum(numels)),
    )
    begins = numbers(header.begins for header in parts)
    return Checkpoint(model, names, shards.files, files, begins, unread(shards, headers))


def _origin(target: str, shards: Shards, headers: Mapping[str, Header]) -> Origin:
    metadata: dict[str, Any] = {}
    for header in headers.values():
        metadata |= header.metadata
    for key, value in list(shards.metadata.items())[:METADATA_KEYS]:
        if isinstance(value, str | int | float | bool) or value is None:
            shown = visible(value[:METADATA_TEXT]) if isinstance(value, str) else value
            metadata[visible(key[:METADATA_TEXT])] = shown
    size = short_bytes(sum(header.size for header in headers.values()))
    number = plural(shards.count, "shard")
    if len(headers) < shards.count:
        number = f"{len(headers)} of {number}"
    what = "header" if len(shards.files) == 1 and shards.index is None else f"headers of {number}"
    return Origin(
        target=visible(target),
        kind=KIND,
        description=f"safetensors {what}, {size}",
        config={"metadata": metadata} if metadata else None,
    )
