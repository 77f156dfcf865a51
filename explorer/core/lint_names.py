"""Lints of tables that have names only: what a bare state dict leaves open, and what its names and dtypes say."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from explorer.core.lint_scene import Scene
from explorer.core.param import Finding, Model
from explorer.core.text import plural

NORM_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
"""Buffers of torch's norms that track statistics (torch 2.13, `nn/modules/batchnorm.py`, `_NormBase`)."""

WHOLE = ("int", "uint", "bool")
"""Beginnings of the dtypes that have no gradients: torch refuses `requires_grad` for them."""


def cannot_judge(scene: Scene) -> Iterator[Finding]:
    """`cannot-judge`: where no module classes are known, norms and buffers can't be told from other parameters."""
    count = scene.facts.unjudged
    if count:
        which = (
            "whether the one tensor belongs to a norm, or is a buffer,"
            if count == 1
            else f"which of {count:,} tensors belong to norms, or are buffers,"
        )
        yield Finding(
            "cannot-judge",
            "hint",
            f"{which} is not known",
            why="A checkpoint file holds names, not modules; open the model by its config to have norms checked, and "
            "buffers, which no optimizer trains, told from parameters.",
        )


def norm_buffers(scene: Scene) -> Iterator[Finding]:
    """`norm-buffers`: names that torch's norms give their buffers, beside a weight or a bias."""
    mask = _kept(scene, "norm-buffers", _norm_buffers)
    if mask:
        count = mask.bit_count()
        has = "has a name" if count == 1 else "have names"
        yield Finding(
            "norm-buffers",
            "hint",
            f"{plural(count, 'tensor')} {has} of torch's norm buffers, and stand{'s' * (count == 1)} in groups",
            scene.names(mask),
            "running_mean, running_var and num_batches_tracked are state in torch's norms, which no optimizer "
            "trains; a state dict does not say it, so they count here.",
        )


def whole_numbers(scene: Scene) -> Iterator[Finding]:
    """`whole-numbers`: tensors of integers or booleans in groups, which torch can't train."""
    mask = _kept(scene, "whole-numbers", _whole_numbers)
    if mask:
        count = mask.bit_count()
        yield Finding(
            "whole-numbers",
            "hint",
            f"{plural(count, 'tensor')} of whole numbers can't be trained, and stand{'s' * (count == 1)} in groups",
            scene.names(mask),
            "torch gives gradients to floating point and complex tensors only; these are buffers, or packed weights.",
        )


def _kept(scene: Scene, name: str, look: Callable[[Model], bytearray]) -> int:
    """Return the rows that `look` finds in the table: they depend on no group, so it looks once a model."""
    looks = scene.facts.looks
    if name not in looks:
        looks[name] = int.from_bytes(look(scene.model), "little")
    return looks[name]


def _norm_buffers(model: Model) -> bytearray:
    """Return 1 for each row with such a name, where mean and variance stand together beside a weight or a bias."""
    found = bytearray(len(model))
    there: dict[str, dict[str, int]] = {}
    for row, name in enumerate(model.names):
        path, _, last = name.rpartition(".")
        if last in NORM_BUFFERS:
            there.setdefault(path, {})[last] = row
    if not there:
        return found
    names = {*model.names, *(alias for aliases in model.aliases.values() for alias in aliases)}
    for path, rows in there.items():
        begin = f"{path}." if path else ""
        if rows.keys() >= set(NORM_BUFFERS[:2]) and (f"{begin}weight" in names or f"{begin}bias" in names):
            for row in rows.values():
                found[row] = row not in model.apart and model.modules[row] is None
    return found


def _whole_numbers(model: Model) -> bytearray:
    """Return 1 for each row of such a dtype, unless it is known to be frozen or not to be a parameter."""
    values = model.dtypes.values
    whole = [str(value).startswith(WHOLE) for value in values]
    found = bytearray(len(model))
    if any(whole):
        for row, code in enumerate(model.dtypes.codes):
            found[row] = (
                whole[code]
                and row not in model.apart
                and model.modules[row] is None
                and model.requires_grad[row] is not False
            )
    return found
