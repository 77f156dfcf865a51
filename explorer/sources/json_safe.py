"""Turns a configuration into what JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from explorer.core.text import visible

MAX_CONFIG_DEPTH = 64
"""How deep a configuration is followed; deeper parts are shown as `…`."""


def json_safe(value: Any, depth: int = 0) -> Any:
    """Return a configuration value as JSON holds it, its strings made visible.

    Infinities and NaN, which JSON lacks, become the strings `Infinity`, `-Infinity` and `NaN`; sets become sorted
    lists; a dtype its name; anything else its `str`.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else ("NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity")
    if depth > MAX_CONFIG_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {visible(str(key)): json_safe(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item, depth + 1) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((json_safe(item, depth + 1) for item in value), key=str)
    return visible(str(value).removeprefix("torch."))
