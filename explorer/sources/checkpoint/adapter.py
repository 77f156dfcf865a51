"""Says of a checkpoint's table that it is a LoRA adapter, with what the `adapter_config.json` beside it knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from explorer.core.errors import ParamxError
from explorer.core.lora import KEY, Pair, note, pairs, summary, targets
from explorer.core.param import Finding, Model
from explorer.core.paths import expanded
from explorer.core.text import plural
from explorer.sources.checkpoint.files import inside, told, warn

CONFIG = "adapter_config.json"
"""What PEFT saves beside an adapter's weights."""


def with_adapter(model: Model, target: str) -> Model:
    """Return a file's table with what it says of its adapter: a finding, notes, and the adapter's configuration.

    Args:
        model: The table.
        target: What was opened: a file, or a directory.
    """
    found = pairs(model)
    if not found:
        return model
    config, findings = _config(target)
    if config is not None:
        model = replace(model, origin=replace(model.origin, config={**(model.origin.config or {}), KEY: config}))
    what = summary(model, found)
    return replace(
        model,
        origin=replace(model.origin, description=f"{model.origin.description}, {what}"),
        notes={**_notes(found), **model.notes},
        findings=(*model.findings, *findings, _finding(model, found, what)),
    )


def _notes(found: list[Pair]) -> dict[int, str]:
    return {row: note(pair, row) for pair in found for row in pair.rows}


def _finding(model: Model, found: list[Pair], what: str) -> Finding:
    message = f"{what}: {plural(len(found), 'pair')} beside {targets(found)}"
    why = "each pair adds its product B·A to the weight of the layer that it is named after, in the base model"
    return Finding("lora", "hint", message, told([model.names[row] for pair in found for row in pair.rows]), why)


def _config(target: str) -> tuple[Any, list[Finding]]:
    """Return what the file beside the weights says, `None` without one; and why it can't be read."""
    from explorer.sources.hub import read_config
    from explorer.sources.json_safe import json_safe

    folder = _folder(target)
    if folder is None or not (folder / CONFIG).exists():
        return None, []
    path = inside(folder, CONFIG)
    if path is None:
        return None, [warn("refused-path", f"{CONFIG} leads out of the directory: not read")]
    try:
        return json_safe(read_config(path, CONFIG)), []
    except ParamxError as error:
        return None, [warn("bad-adapter-config", f"{CONFIG}: {error.why}")]


def _folder(target: str) -> Path | None:
    try:
        path = expanded(target)
        return path if path.is_dir() else path.parent
    except (OSError, ValueError):
        return None
