"""Says of a checkpoint's table what in it is no parameter, and why it has more tensors than parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from explorer.core.averages import average_counters, averaged_copies
from explorer.core.norm_buffers import norm_buffers
from explorer.core.param import Finding, Model
from explorer.core.text import plural, quoted
from explorer.sources.checkpoint.files import told
from explorer.sources.checkpoint.torch_walk import ATTRIBUTE, BUFFER, OPTIMIZER, RANDOM, TRAINING

BY_NAME = "buffer by name"
"""Stands here for the buffers that the file does not tell to be some."""

AVERAGE = "averaged copy"
"""What an average of the model is called in `Model.apart`."""

NORM_BUFFERS = "norm-buffers"
"""Id of the finding on these."""

KINDS = {
    BUFFER: ("buffers", "is a buffer", "buffers", "a module's state, which no optimizer trains"),
    BY_NAME: (
        NORM_BUFFERS,
        "is a buffer of a batch norm by name and shape",
        "buffers of batch norms by name and shape",
        "running_mean, running_var and num_batches_tracked are a norm's statistics, which no optimizer trains",
    ),
    ATTRIBUTE: ("attributes", "is a plain attribute", "plain attributes", "a module's, and not in its parameters()"),
    AVERAGE: (
        "averaged-copies",
        "is an averaged copy",
        "averaged copies",
        "an average of the model's weights (EMA) by its name, with the names and shapes of the model's",
    ),
    OPTIMIZER: ("optimizer-state", "is optimizer state", "of optimizer state", "saved to go on with the training"),
    RANDOM: ("random-state", "is a random state", "random states", "saved to go on with the training"),
    TRAINING: ("training-state", "is training state", "of training state", "saved to go on with the training"),
}
"""For each kind of what is no parameter: its finding's id, what one is, what many are, and why it is there."""


def with_apart(model: Model) -> Model:
    """Return a file's table with what its names give away as no parameter set apart, and a finding on each kind.

    Args:
        model: The table as the file's reader made it.
    """
    by_name = norm_buffers(model)
    if by_name:
        model = replace(model, apart={**model.apart, **dict.fromkeys(by_name, BUFFER)})
    if copies := averaged_copies(model):
        model = replace(model, apart={**model.apart, **dict.fromkeys(copies, AVERAGE)})
    if counters := average_counters(model):
        model = replace(model, apart={**model.apart, **dict.fromkeys(counters, BUFFER)})
    return replace(model, findings=(*model.findings, *_findings(model, set(by_name)))) if model.apart else model


def _findings(model: Model, by_name: set[int]) -> Iterator[Finding]:
    """Say why a file has more tensors than parameters: one finding a kind, and the first has the whole sum."""
    names: dict[str, list[str]] = {what: [] for what in KINDS}
    for row, what in sorted(model.apart.items()):
        names[BY_NAME if row in by_name else what].append(model.names[row])
    reasons = {what: _counted(names[what], one, many) for what, (_, one, many, _) in KINDS.items() if names[what]}
    if by_name:
        reasons[BY_NAME] += f" ({plural(sum(model.numels[row] for row in by_name), 'element')})"
    left = plural(len(model) - len(model.apart), "parameter")
    begin = f"{plural(len(model), 'tensor')} in the file, {left}: {', '.join(reasons.values())}"
    for what, reason in reasons.items():
        kind, _, _, why = KINDS[what]
        message = begin or f"{reason} in the file"
        yield Finding(kind, "hint", message, told(names[what]), f"{why}: in no group, and in no sum of parameters")
        begin = ""


def _counted(names: list[str], one: str, many: str) -> str:
    return f"{quoted(names[0])} {one}" if len(names) == 1 else f"{len(names):,} {many}"
