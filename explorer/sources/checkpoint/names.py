"""The names of a file's tensors: made visible, told apart, and sorted by layer number."""

from __future__ import annotations

import re

from explorer.core.param import Finding, Model
from explorer.core.text import visible
from explorer.sources.checkpoint.columns import reordered
from explorer.sources.checkpoint.files import tensors, warn

_DIGITS = re.compile(r"([0-9]+)")

Key = tuple[tuple[str, int, str], ...]
"""What names are sorted by: for each part before a number the text, the number's length, and its digits."""


def shown_names(raw: list[str]) -> tuple[list[str], list[Finding]]:
    r"""Return names as they are shown, no two the same, and what is to be told about them.

    Two names of a file may look the same once they are visible (`a\x1b` as a control byte and as four characters),
    or be the same (`{"a.b": …}` beside `{"a": {"b": …}}`): the later one is shown with ` (2)` after it.
    """
    text = "".join(raw)
    # One look at 10 MB instead of 93,000 calls.
    names = list(raw) if text.isascii() and text.isprintable() else [visible(name) for name in raw]
    if len(set(names)) == len(names):
        return names, []
    taken: set[str] = set()
    copies: dict[str, int] = {}
    renamed = []
    for index, name in enumerate(names):
        shown = name
        while shown in taken:
            copies[name] = copies.get(name, 1) + 1
            shown = f"{name} ({copies[name]})"
        taken.add(shown)
        if shown != name:
            names[index] = shown
            renamed.append(shown)
    return names, [warn("same-name", f"{tensors(renamed)} with another's name, told apart by a number", renamed)]


def layer_key(name: str) -> Key:
    """Return what sorts `layers.2` before `layers.10`; numbers of any length, and never by `int`."""
    parts = _DIGITS.split(name)
    texts, numbers = parts[::2], [*parts[1::2], ""]
    stripped = [number.lstrip("0") for number in numbers]
    return tuple(zip(texts, map(len, stripped), stripped, strict=True))


def ordered_by_layer(model: Model) -> Model:
    """Return the model with its rows sorted by name, numbers by value: headers list `layers.10` before `layers.2`."""
    keys = [layer_key(name) for name in model.names]
    return reordered(model, sorted(range(len(model)), key=keys.__getitem__))
