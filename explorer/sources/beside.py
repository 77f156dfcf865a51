"""Lays the skeleton of a `config.json` over the checkpoint file that it lies beside: classes, ties, what is missing.

The file's own table needs no torch and is shown at once; this needs seconds, and what it finds is added afterwards.
"""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.param import Finding, Model
from explorer.core.paths import expanded
from explorer.core.text import plural, visible

if TYPE_CHECKING:
    from explorer.sources import Report

KINDS = ("safetensors", "torch")
"""Kinds of checkpoints whose tensors are called as transformers calls its parameters; llama.cpp has other names."""

LONE_SHARD = "one-shard"
"""Id of the finding that a file is one of several: what it lacks, the others have."""


def skeleton_spec(spec: OpenSpec, model: Model) -> OpenSpec | None:
    """Return how to open a target again with the skeleton of the config beside it, `None` where that adds nothing.

    Cheap: a look at the start of a file.

    Args:
        spec: How it was opened.
        model: What was opened.
    """
    if spec.skeleton or model.origin.kind not in KINDS or None not in model.modules.values:
        return None
    return replace(spec, skeleton=True) if config_beside(spec.target) is not None else None


def config_beside(target: str) -> Path | None:
    """Return the `config.json` of a model that lies beside a checkpoint's file."""
    from explorer.sources.checkpoint.files import inside
    from explorer.sources.checkpoint.targets import CONFIG
    from explorer.sources.local import tells_model

    try:
        path = expanded(target)
        config = path.parent / CONFIG
        regular = (
            not path.is_dir() and stat.S_ISREG(config.stat().st_mode) and inside(path.parent, CONFIG) is not None
        )
    except (OSError, ValueError):
        return None
    return config if regular and tells_model(config) else None


def with_skeleton(spec: OpenSpec, model: Model, report: Report) -> Model:
    """Return a checkpoint's table with what the skeleton of the config beside it knows.

    Where none can be laid over it, the table says why in a finding: the file itself is worth showing.

    Args:
        spec: How the checkpoint was opened.
        model: Its table.
        report: Called with each stage as it begins.
    """
    config = config_beside(spec.target) if model.origin.kind in KINDS else None
    if config is None:
        return model
    try:
        return _laid_over(spec, model, config, report)
    except ParamxError as error:
        reason = error.line.removeprefix(f"{visible(str(config))}: ")
        return _without(model, f"{config.name} beside it was not laid over: {reason}")


def _laid_over(spec: OpenSpec, model: Model, path: Path, report: Report) -> Model:
    from explorer.sources.hf_model import build
    from explorer.sources.hf_weights import read_weights
    from explorer.sources.hub import Found, read_config
    from explorer.sources.overlay_findings import with_classes

    directory = path.parent if spec.trust_remote_code else None
    found = Found(read_config(path, str(path)), "config.json, no weights", path, directory)
    weights = read_weights(spec.target)
    if list(weights.table.names) != list(model.names):  # it has been written anew meanwhile
        return model
    opened, overlay = build(replace(spec, target=str(path)), found, report, weights)
    built = opened.model
    if overlay is None:
        reason = built.findings[0].message if built.findings else "the weights were not read"
        return _without(model, f"{path.name} beside it was not laid over: {reason}")
    if not overlay.fits:
        known = len(overlay.homes) + len(overlay.extra) + len(overlay.buffers)
        which = f"{known:,} of {plural(overlay.tensors, 'tensor')} are in {built.origin.class_name}"
        return _without(model, f"{path.name} beside it is of another model: {which}")
    whole = all(finding.id != LONE_SHARD for finding in model.findings)
    return with_classes(model, weights.names, overlay, built, whole)


def _without(model: Model, message: str) -> Model:
    why = "without it no module classes are known"
    return replace(model, findings=(*model.findings, Finding("no-skeleton", "hint", visible(message), why=why)))
