"""Opens GGUF files, also split ones: tensors and key-value metadata, by a reader of our own.

The `gguf` package builds every string of a vocabulary, and loops on hostile counts. `Origin.config` is
`{"metadata": …}`, the key-value pairs; of a split file those of its first part. Shapes stand in torch's order.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.param import Column, Finding, Model, Origin
from explorer.core.paths import expanded
from explorer.core.text import plural, quoted, short_bytes, visible
from explorer.sources.checkpoint.columns import coded
from explorer.sources.checkpoint.files import File, UnreadableError, collector_paused, inside, warn
from explorer.sources.checkpoint.gguf_header import Header, Info, read_header
from explorer.sources.checkpoint.limits import MAX_ELEMENTS
from explorer.sources.checkpoint.names import shown_names
from explorer.sources.checkpoint.place import Place
from explorer.sources.checkpoint.targets import GGUF, SHARD, is_directory, names_of, one_of, only_set

if TYPE_CHECKING:
    from explorer.sources import Report

KIND = GGUF
"""This source's name in the SOURCES table."""

MAX_PARTS = 10_000
"""Most parts of a split file."""


def open_model(spec: OpenSpec, report: Report) -> Model:
    """Open a GGUF file, any part of a split one, or a directory that has one.

    Args:
        spec: What to open.
        report: Called with each stage as it begins.

    Returns:
        Its tensors, in the file's order.

    Raises:
        ParamxError: Nothing of it can be read.
    """
    report("reading the header")
    with collector_paused():
        return _open(spec.target)[0]


def locator(target: str) -> Callable[[int], Place]:
    """Return what tells where the bytes of a row lie, its headers read once, here.

    Args:
        target: As it was opened.

    Raises:
        ParamxError: It can't be read (any more).
    """
    with collector_paused():
        model, rows = _open(target)

    def place(index: int) -> Place:
        row = rows[range(len(model))[index]]
        if row.info.nbytes is None:
            raise ParamxError(model.names[index], "of a type that is unknown here")
        order = "big" if row.big_endian else "little"
        return Place(row.path, row.info.begin, row.info.nbytes, row.info.dtype, row.info.shape, None, order)

    return place


@dataclass(frozen=True, slots=True)
class _Row:
    """One tensor and its part."""

    info: Info
    path: Path
    big_endian: bool


def _parts(target: str) -> tuple[dict[str, Path], list[Finding]]:
    """Return the files of a target by name, in order, and what is missing.

    Raises:
        ParamxError: There is no GGUF file, or files of several checkpoints.
    """
    path = expanded(target)
    if is_directory(path):
        try:
            names = names_of(path)
        except OSError as error:
            raise ParamxError(target, (error.strerror or str(error)).lower(), "check its permissions") from None
        files = only_set(names, GGUF)
        if not files:
            several = [name for name in names if name.lower().endswith(f".{GGUF}")]
            raise ParamxError(target, "the directory has several GGUF files", one_of(several))
        directory, name, given = path, files[0], None
    else:
        directory, name, given = path.parent, path.name, path
    match = SHARD.fullmatch(name)
    if match is None:
        real = given or inside(directory, name)
        if real is None:
            raise ParamxError(target, f"{name} leads out of the directory", "name the file itself")
        return {name: real}, []
    count = int(match["count"])
    if not 1 <= count <= MAX_PARTS:
        raise ParamxError(target, f"its name tells of {count:,} parts", "rename it")
    names = [f"{match['stem']}-{number:05}-of-{match['count']}.{match['suffix']}" for number in range(1, count + 1)]
    found, missing, refused = {}, [], []
    for part in names:
        real = given if given is not None and part == name else inside(directory, part)
        if real is None:
            refused.append(part)
        elif real.exists() or part == name:
            found[part] = real
        else:
            missing.append(part)
    findings = []
    if missing:
        findings.append(warn("missing-shard", f"{len(missing)} of {count} parts missing", missing))
    if refused:
        findings.append(warn("refused-path", f"{len(refused)} of {count} parts lead out of the directory", refused))
    return found, findings


def _open(target: str) -> tuple[Model, list[_Row]]:
    files, findings = _parts(target)
    headers: dict[str, Header] = {}
    rows: list[_Row] = []
    shards: list[str] = []
    failed: UnreadableError | None = None
    left = MAX_ELEMENTS
    for name, path in files.items():
        label = quoted(name) if len(files) == 1 else f"part {quoted(name)}"
        try:
            with File(path) as file:
                header = read_header(file, label)
            left -= sum(prod(info.shape) for info in header.infos)
            if left < 0:
                raise UnreadableError("more elements than any model has")
        except UnreadableError as error:
            failed = failed or error
            findings.append(warn(error.finding, f"{label}: {error.why}"))
            continue
        headers[name] = header
        findings += header.findings
        rows += (_Row(info, path, header.big_endian) for info in header.infos)
        shards += [visible(name)] * len(header.infos)
    if not headers:
        if failed is None:
            raise ParamxError(target, "no part of it is there", "check the path")
        raise ParamxError(target, failed.why, failed.remedy)
    metadata = next(iter(headers.values())).metadata
    said = metadata.get("split.tensors.count")
    parts = metadata.get("split.count")
    if type(parts) is int and parts > 1 and len(files) == 1 and SHARD.fullmatch(next(iter(files))) is None:
        number = metadata.get("split.no")
        which = f"part {number + 1}" if type(number) is int else "one part"
        message = (
            f"{which} of {parts:,} by its metadata; named as it was, …-00001-of-{parts:05}.gguf, it opens with all"
        )
        findings.append(Finding("one-shard", "hint", message))
    elif type(said) is int and said != len(rows) and len(headers) == len(files) and not findings:
        findings.append(warn("wrong-total", f"split.tensors.count says {said:,}, the parts hold {len(rows):,}"))
    names, notes = shown_names([row.info.name for row in rows])
    findings += notes
    if not rows:
        findings.append(Finding("no-tensors", "warning", "no tensor in the file"))
    model = Model(
        origin=_origin(target, headers, len(files)),
        names=names,
        shapes=coded([row.info.shape for row in rows]),
        numels=array("q", (prod(row.info.shape) for row in rows)),
        nbytes=array("q", (-1 if row.info.nbytes is None else row.info.nbytes for row in rows)),
        dtypes=coded([row.info.dtype for row in rows]),
        devices=Column.constant(None, len(rows)),
        requires_grad=Column.constant(None, len(rows)),
        modules=Column.constant(None, len(rows)),
        shards=coded(shards),
        aliases={},
        findings=tuple(findings),
    )
    return model, rows


def _origin(target: str, headers: dict[str, Header], parts: int) -> Origin:
    first = next(iter(headers.values()))
    architecture = first.metadata.get("general.architecture")
    words = [f"gguf version {first.version}{', big-endian' if first.big_endian else ''}"]
    if isinstance(architecture, str):
        words.append(architecture[:40])
    if parts > 1:
        words.append(f"{len(headers)} of {plural(parts, 'part')}" if len(headers) < parts else plural(parts, "part"))
    words.append(short_bytes(sum(header.size for header in headers.values())))
    return Origin(
        target=visible(target),
        kind=KIND,
        description=", ".join(words),
        config={"metadata": first.metadata} if first.metadata else None,
    )
