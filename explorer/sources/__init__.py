"""Everything that yields a model: one file a kind. Heavy libraries are imported inside functions only."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from explorer.core.errors import ParamxError
from explorer.core.param import Finding

if TYPE_CHECKING:
    from explorer.core.loading import OpenSpec
    from explorer.core.param import Model
    from explorer.sources.values import OpenTensor

Report = Callable[[str], None]
"""Takes the text of the stage that begins: `importing torch`."""

Answer = Callable[[Mapping[str, Any]], Any]
"""Answers one kind of request about an open model: takes its arguments, returns what JSON can hold, or bytes, or
`None` where the question does not apply; raises `ParamxError` for every expected failure."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A model that is open, and what can still be asked about it."""

    model: Model
    """The table."""
    answers: Mapping[str, Answer] = field(default_factory=dict)
    """What answers each request, by the request's name; they may hold the built module, or a file's place."""
    values: OpenTensor | None = None
    """Opens the tensor of a row, for those in the same process; `None` where nothing has values."""


OpenModel = Callable[["OpenSpec", Report], "Model | Opened"]
"""What each source's module offers as `open_model`; raises `ParamxError` for every expected failure. A source that
answers requests about the open model returns `Opened`, one that does not the bare table."""


class Source(NamedTuple):
    """One kind of thing that holds parameters."""

    name: str
    """Name of the kind, as `Origin.kind` and `--print json` tell it."""
    module: str
    """Module that has `open_model`, an `OpenModel`; imported only when this source is chosen."""
    matches: Callable[[OpenSpec], bool]
    """Whether this source opens the target; cheap: a `stat`, the names of a directory, 16 bytes of a file."""


SOURCES: tuple[Source, ...] = (
    Source("hub", "explorer.sources.hub_weights", lambda spec: spec.weights and _is_afar(spec.target)),
    Source("factory", "explorer.sources.factory", lambda spec: _is_factory(spec.target)),
    Source("safetensors", "explorer.sources.checkpoint.safetensors_file", lambda spec: _is("safetensors", spec)),
    Source("torch", "explorer.sources.checkpoint.torch_file", lambda spec: _is("torch", spec)),
    Source("gguf", "explorer.sources.checkpoint.gguf_file", lambda spec: _is("gguf", spec)),
    Source("dcp", "explorer.sources.checkpoint.dcp_dir", lambda spec: _is("dcp", spec)),
    Source("transformers", "explorer.sources.hf_model", lambda spec: True),
)
"""Every source; the first that matches opens. A new kind is one entry; transformers stays last, it takes the rest."""


def _is_afar(target: str) -> bool:
    """Whether a target can only be a repository of the hub."""
    from explorer.sources.hub_weights import is_repository

    return is_repository(target)


def _is_factory(target: str) -> bool:
    """Whether a target is `package.module:factory`."""
    from explorer.sources.factory import is_factory

    return ":" in target and is_factory(target)


def _is(kind: str, spec: OpenSpec) -> bool:
    """Whether a target is a checkpoint of a kind."""
    from explorer.sources.checkpoint.targets import kind_of

    return kind_of(spec.target) == kind


def open_served(spec: OpenSpec, report: Report) -> Opened:
    """Open a target with the source that fits it, in this process, and keep what answers requests about it.

    Args:
        spec: What to open, and how.
        report: Called with the text of each stage as it begins.

    Returns:
        The table of its parameters, and what can be asked.

    Raises:
        ParamxError: The target can't be opened; the message says why and what would work.
    """
    from explorer.sources.checkpoint.unchanged import OpenedFiles
    from explorer.sources.values.watched import watched_answers, watched_values

    files = OpenedFiles()
    with files.watched():
        opened = _open(spec, report)
    files.close()
    values = opened.values and watched_values(files, opened.values)
    answers = watched_answers(files, opened.answers)
    if values is not None:
        from explorer.sources.values.difference import difference_answers

        answers |= difference_answers(values)
    return replace(opened, answers=answers, values=values)


def _open(spec: OpenSpec, report: Report) -> Opened:
    """Open a target with the source that fits it."""
    spec = _without_address(spec)
    source = next(source for source in SOURCES if source.matches(spec))
    if (spec.load or spec.device_map is not None) and source.name != "transformers":
        what = "--load" if spec.load else "--device-map"
        raise ParamxError(
            what, f"not for a {source.name} target", "name a model: a hub id, or a directory with its config"
        )
    open_model: OpenModel = import_module(source.module).open_model
    found = open_model(spec, report)
    opened = found if isinstance(found, Opened) else _with_file_values(spec, found)
    if spec.weights and source.name != "hub":
        message = "--weights changes nothing: it reads a hub repository's headers, and this is none"
        why = "weights beside a local config are laid over without it"
        note = Finding("idle-weights", "hint", message, why=why)
        opened = replace(opened, model=replace(opened.model, findings=(*opened.model.findings, note)))
    if opened.model.counters is None:  # a file's own table
        from explorer.sources.checkpoint.adapter import with_adapter
        from explorer.sources.checkpoint.apart import with_apart

        opened = replace(opened, model=with_adapter(with_apart(opened.model), spec.target))
    if spec.skeleton:
        from explorer.sources.beside import with_skeleton

        opened = replace(opened, model=with_skeleton(spec, opened.model, report))
    return opened


def _without_address(spec: OpenSpec) -> OpenSpec:
    """Return a spec that names a repository by its id where it had the address of its page.

    Raises:
        ParamxError: It is an address of something else.
    """
    if "://" not in spec.target or os.path.lexists(spec.target):
        return spec
    from explorer.sources.hub_cache import repository_at

    name = repository_at(spec.target)
    if name is None:
        raise ParamxError(spec.target, "an address, not a name or a path", "give a model of the hub as ORG/NAME")
    return replace(spec, target=name)


def _with_file_values(spec: OpenSpec, model: Model) -> Opened:
    """Add what answers about the values of a checkpoint's files."""
    from explorer.sources.checkpoint import LOCATORS

    if model.origin.kind not in LOCATORS:
        return Opened(model)
    from explorer.sources.values.answers import value_answers
    from explorer.sources.values.providers import FileValues

    values = FileValues(model, spec.target)
    return Opened(model, value_answers(values), values)
