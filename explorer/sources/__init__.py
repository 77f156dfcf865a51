"""Everything that yields a model: one file a kind. Heavy libraries are imported inside functions only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from explorer.core.loading import OpenSpec
    from explorer.core.param import Model

Report = Callable[[str], None]
"""Takes the text of the stage that begins: `importing torch`."""

OpenModel = Callable[["OpenSpec", Report], "Model"]
"""What each source's module offers as `open_model`; raises `ParamxError` for every expected failure."""


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of thing that holds parameters."""

    name: str
    """Name of the kind, as `Origin.kind` and `--print json` tell it."""
    module: str
    """Module that has `open_model(spec, report) -> Model`; imported only when this source is chosen."""
    matches: Callable[[OpenSpec], bool]
    """Whether this source opens the target; cheap, at most a `stat`."""


SOURCES: tuple[Source, ...] = (
    Source("safetensors", "explorer.sources.checkpoint.safetensors_file", lambda spec: _is("safetensors", spec)),
    Source("transformers", "explorer.sources.hf_model", lambda spec: True),
)
"""Every source; the first that matches opens. A new kind is one entry; transformers stays last, it takes the rest."""


def _is(kind: str, spec: OpenSpec) -> bool:
    """Whether a target is a checkpoint of a kind."""
    from explorer.sources.checkpoint.targets import kind_of

    return kind_of(spec.target) == kind


def open_source(spec: OpenSpec, report: Report) -> Model:
    """Open a target with the source that fits it, in this process.

    Args:
        spec: What to open, and how.
        report: Called with the text of each stage as it begins.

    Returns:
        The table of its parameters.

    Raises:
        ParamxError: The target can't be opened; the message says why and what would work.
    """
    source = next(source for source in SOURCES if source.matches(spec))
    open_model = cast(OpenModel, import_module(source.module).open_model)
    return open_model(spec, report)
