"""Finds oddities of a `config.json` that transformers accepts silently."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from explorer.core.loading import OpenSpec
from explorer.core.param import Finding
from explorer.core.text import plural, visible
from explorer.sources.checkpoint.files import File, UnreadableError, parse_doubled, warn
from explorer.sources.hub import Found

COUNTS = re.compile(r"(num|n)_\w*(layers?|heads|experts|blocks|labels)$")
"""Keys whose number counts parts: less than none is built as none, or as another number."""

MAX_TEXT = 4 << 20
"""Longest config that is searched for keys that stand twice, in bytes."""


def findings(found: Found, spec: OpenSpec, built: str) -> Iterator[Finding]:
    """Yield what a user should know of the config that a model was built from.

    Args:
        found: The config.
        spec: What was asked for.
        built: Name of the class that was built.
    """
    config = found.config
    named = config.get("architectures")
    fits = isinstance(named, list) and all(isinstance(name, str) and name for name in named)
    if named is not None and not fits and spec.class_name is None:
        yield warn("bad-config", f"the config's architectures are no list of class names; this is {built}")
    if config.get("auto_map") and not spec.trust_remote_code:
        message = f"the config names code of its own (auto_map), which is not run; this is transformers' {built}"
        yield Finding("code-ignored", "hint", visible(message), why="--trust-remote-code would run it")
    if negative := list(_negative(config)):
        yield warn("bad-config", f"the config's {negative[0]} is less than 0", negative)
    if doubled := _doubled(found):
        yield warn("duplicate-key", f"config.json: {plural(len(doubled), 'key')} twice; the last counts", doubled)


def _negative(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of counts that are less than none, of the parts of a composite config too."""
    left: list[Mapping[str, Any]] = [config]
    while left:
        for key, value in left.pop().items():
            if isinstance(value, Mapping):
                left.append(value)
            elif type(value) in (int, float) and value < 0 and COUNTS.match(key):
                yield key


def _doubled(found: Found) -> list[str]:
    if found.path is None:
        return []
    try:
        with File(found.path) as file:
            return parse_doubled(file.read(0, file.size))[1] if file.size <= MAX_TEXT else []
    except (UnreadableError, ValueError, RecursionError):  # it was replaced since it was read
        return []
