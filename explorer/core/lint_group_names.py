"""Lints of the groups' own names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from explorer.core.lint_scene import Scene
from explorer.core.optimizers import MEANT, OPTIMIZERS
from explorer.core.options import OptionError, options_text, parse_options
from explorer.core.param import Finding
from explorer.core.rules import OWN_OPTIONS

_KEY = re.compile(r"(?<![\w.-])([A-Za-z_]\w*)\s*=")


def option_in_name(scene: Scene) -> Iterator[Finding]:
    """`option-in-name`: an option typed into a group's name, where nothing reads it."""
    for i, rule in enumerate(scene.grouping.rules):
        written = _option(rule.name, scene.optimizer(i))
        if not written:
            continue
        fix = ""
        try:
            options = {MEANT.get(key, key): value for key, value in parse_options(written).items()}
        except OptionError:
            pass  # half-typed: told, and left to the user
        else:
            if options.items() <= rule.options.items():
                continue  # a name may say what the options say
            left = rule.name.removesuffix(written).strip(" ,;:([")
            fix = f"{rule.name} -> {scene.grouping.fresh_name(left or 'group')}: {options_text(options)}"
        yield Finding(
            "option-in-name",
            "error",
            f"{rule.name}: the name looks like an option: did you mean options {written}?",
            why="A group's name is a label: what is written there never reaches the optimizer.",
            fix=fix,
        )


def _option(name: str, optimizer: str) -> str:
    """Return a name from its first option on; empty where it has none that the optimizer, or paramx, reads."""
    facts = OPTIMIZERS.get(optimizer)
    known = {*OWN_OPTIONS, *MEANT, *(facts.keys if facts else ("weight_decay", "lr"))}
    return next((name[found.start() :] for found in _KEY.finditer(name) if found[1] in known), "")
