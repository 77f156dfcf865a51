"""Lints of tables that have names only: what a bare state dict leaves open, and what its names and dtypes say."""

from __future__ import annotations

from collections.abc import Iterator

from explorer.core.lint_scene import Scene
from explorer.core.param import Finding, Model
from explorer.core.rules import CLASSIC_TERMS, Grouping
from explorer.core.text import plural

WHOLE = ("int", "uint", "bool")
"""Beginnings of the dtypes that have no gradients: torch refuses `requires_grad` for them."""


def no_parameters(model: Model) -> tuple[Finding, ...]:
    """`no-parameters`: what a file holds instead, as that of an optimizer; nothing is said of an empty one."""
    if not len(model):
        return ()
    kinds = ", ".join(dict.fromkeys(model.apart.values()))
    message = f"no parameter to group among {plural(len(model), 'tensor')}: {kinds}"
    why = "Groups are of a model's parameters; open the model's own file, or its config."
    return (Finding("no-parameters", "error", message, why=why),)


def of_default_groups(model: Model, grouping: Grouping, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return the findings of groups that nobody chose: one hint where an adapter gives the classic ones nothing.

    Args:
        model: The model.
        grouping: Its groups; others than the classic ones were chosen by somebody.
        findings: What the lints say.
    """
    first = grouping.rules[0]
    about = [each for each in findings if each.id in ("empty-group", "dead-pattern")]
    if first.terms != CLASSIC_TERMS or not about or not all("lora_" in name for name in model.names):
        return findings
    hint = Finding(
        "empty-group",
        "hint",
        f"{first.name} is empty: an adapter (LoRA) is matrices alone",
        why="These are the groups that paramx starts with; the adapter's model has the biases and norms they spare.",
    )
    return (*(each for each in findings if each not in about), hint)


def cannot_judge(scene: Scene) -> Iterator[Finding]:
    """`cannot-judge`: where no module classes are known, norms and buffers can't be told from other parameters."""
    count = scene.facts.unjudged
    if count:
        yield Finding(
            "cannot-judge",
            "hint",
            f"no module classes: norms and buffers among {plural(count, 'tensor')} can't be told from the rest",
            why="A checkpoint file holds names, not modules; open the model by its config to have norms checked, and "
            "buffers, which no optimizer trains, told from parameters.",
        )


def whole_numbers(scene: Scene) -> Iterator[Finding]:
    """`whole-numbers`: tensors of integers or booleans in groups, which torch can't train."""
    facts = scene.facts
    if facts.whole_numbers is None:
        facts.whole_numbers = int.from_bytes(_whole_numbers(scene.model), "little")
    mask = facts.whole_numbers
    if mask:
        count = mask.bit_count()
        yield Finding(
            "whole-numbers",
            "hint",
            f"{plural(count, 'integer tensor')} in groups can't be trained",
            scene.names(mask),
            "torch gives gradients to floating point and complex tensors only; these are buffers, or packed weights.",
        )


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
