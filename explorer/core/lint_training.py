"""Lints of what a group's learning rate and frozen members make of its training."""

from __future__ import annotations

from collections.abc import Iterator

from explorer.core.lint_scene import Scene
from explorer.core.optimizers import largest_lr
from explorer.core.param import Finding
from explorer.core.text import plural


def trains_nothing(scene: Scene) -> Iterator[Finding]:
    """`trains-nothing`: all tensors of a group are frozen, or its learning rate is 0; `freeze` says it is meant."""
    for i, (rule, count) in enumerate(zip(scene.grouping.rules, scene.assignment.tensors, strict=True)):
        if not count or scene.frozen(i):
            continue
        still = next((key for key in ("lr", "lr_mult") if rule.options.get(key) == 0), "")
        if not still and not scene.facts.frozen:
            continue
        own = scene.where([i])
        trained = own & ~scene.facts.frozen
        if not trained:
            whole = "its tensor is" if count == 1 else f"all its {count:,} tensors are"
            yield Finding(
                "trains-nothing",
                "warning",
                f"{rule.name}: {whole} frozen, so no optimizer has this group",
                scene.names(own),
                "The model froze them (requires_grad is False): the group's options reach nothing.",
            )
        elif still and scene.optimizer(i) != "Rprop":  # whose lr is the first step alone: it grows from 1e-6
            yield Finding(
                "trains-nothing",
                "warning",
                f"{rule.name}: {still}=0 holds {plural(trained.bit_count(), 'tensor')} still",
                scene.names(trained),
                "A schedule multiplies the rate, and 0 stays 0. freeze=True says it, and saves gradients and states.",
            )


def large_lr(scene: Scene) -> Iterator[Finding]:
    """`large-lr`: a learning rate above any that the optimizer is known to train with."""
    for i, (rule, count) in enumerate(zip(scene.grouping.rules, scene.assignment.tensors, strict=True)):
        largest = largest_lr(scene.optimizer(i))
        rate, factor = rule.options.get("lr"), rule.options.get("lr_mult", 1)
        if not count or scene.frozen(i) or largest is None or not _number(rate) or not _number(factor):
            continue
        if rate * factor > largest:
            yield Finding(
                "large-lr",
                "warning",
                f"{rule.name}: a learning rate of {rate * factor:g} is too large for {scene.optimizer(i)}",
                why=f"No training that is known uses it above {largest:g}; an exponent may be missing, as in 5e-5.",
            )


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
