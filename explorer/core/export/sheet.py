"""What an export is made from, and how values and comments are written so that no name becomes code."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from explorer.core.errors import ParamxError
from explorer.core.groups import Assignment
from explorer.core.optimizers import OPTIMIZERS
from explorer.core.param import Finding, Model
from explorer.core.rules import Grouping
from explorer.core.text import plural, visible

MAX_COMMENTS = 8
"""Most findings that are written into a file."""
LEARNING_RATE = 5e-5
"""The rate written where the groups say none; a comment asks for the user's own."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A grouping tried on a model."""

    model: Model
    """The model."""
    grouping: Grouping
    """The groups."""
    assignment: Assignment
    """Where each parameter fell."""
    findings: tuple[Finding, ...]
    """What the lints say."""

    def optimizer(self, rule: int) -> str:
        """Return the name of the optimizer of a rule.

        Raises:
            ParamxError: It is not a class name, so it can't be written as code.
        """
        name = str(self.grouping.rules[rule].options.get("optimizer", self.grouping.optimizer))
        if not name.isidentifier() or not name.isascii():
            raise ParamxError(name, "not the name of an optimizer class", "write it as in AdamW")
        return name

    def frozen(self, rule: int) -> bool:
        """Tell whether a rule stops training its members."""
        return bool(self.grouping.rules[rule].options.get("freeze"))

    def comments(self) -> list[str]:
        """Return what the groups are and what the lints say, as comment lines."""
        origin = self.model.origin
        lines = [f"# Groups for {visible(origin.target)}" + f" ({origin.class_name})" * bool(origin.class_name)]
        lines += [f"#   {rule.name}: {self._counts(i)}" for i, rule in enumerate(self.grouping.rules)]
        worth = [finding for finding in self.findings if finding.severity != "hint"]
        lines += [f"# {finding.severity}: {finding.message}" for finding in worth[:MAX_COMMENTS]]
        if len(worth) > MAX_COMMENTS:
            lines.append(f"# and {plural(len(worth) - MAX_COMMENTS, 'more finding')}")
        return [visible(line) for line in lines]

    def _counts(self, rule: int) -> str:
        """Return what a rule holds, and what of it the optimizer does not get."""
        tensors, elements = self.assignment.tensors[rule], self.assignment.parameters[rule]
        counts = f"{plural(tensors, 'tensor')}, {plural(elements, 'parameter')}"
        frozen, numel = self.assignment.frozen(rule)
        if frozen:
            counts += ", all frozen: not in the optimizer" if frozen == tensors else f", of which {numel:,} frozen"
        return counts


def literal(value: Any) -> str:
    """Return a value as a Python literal.

    Raises:
        ParamxError: There is no literal for it.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return repr(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f'float("{value}")'
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(literal, value))
        return f"({inner}{',' * (len(value) == 1)})" if isinstance(value, tuple) else f"[{inner}]"
    raise ParamxError(repr(value), "can't be written as Python", "use numbers, strings, True, False, None or tuples")


def strings(values: Sequence[str]) -> str:
    """Return string literals with commas between, as a list literal holds them."""
    return ", ".join(map(quoted, values))


def quoted(text: str) -> str:
    """Return a string literal: in double quotes, or as `repr` writes it if something needs an escape."""
    plain = text.isascii() and text.isprintable() and not set(text) & {'"', "\\"}
    return f'"{text}"' if plain else repr(text)


def options_items(sheet: Sheet, rule: int) -> Iterator[tuple[str, str]]:
    """Iterate over what a rule's group holds beside its parameters, as key and code; `lr_mult` becomes `lr`."""
    options = sheet.grouping.rules[rule].options
    if "params" in options:
        raise ParamxError("params", "not an option: it holds the group's parameters", "rename it")
    scaled = "lr_mult" in options
    for key, value in options.items():
        if key == "lr_mult":
            base = literal(options["lr"]) if "lr" in options else "lr"
            yield "lr", f"{base} * {literal(value)}"
        elif key in ("freeze", "optimizer") or (key == "lr" and scaled):
            continue
        else:
            yield key, literal(value)


def import_of(optimizer: str) -> str:
    """Return the line that imports an optimizer, or nothing for torch's own, which `import torch` brings."""
    facts = OPTIMIZERS.get(optimizer)
    if facts is None:
        return f"# from … import {optimizer}: it is none of torch's optimizers; say where you have it."
    return "" if facts.module == "torch.optim" else f"from {facts.module} import {optimizer}"


def class_of(optimizer: str) -> str:
    """Return how code names an optimizer's class: `torch.optim.AdamW`."""
    facts = OPTIMIZERS.get(optimizer)
    return f"torch.optim.{optimizer}" if facts is not None and facts.module == "torch.optim" else optimizer
