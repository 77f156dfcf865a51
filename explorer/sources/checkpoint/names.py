"""Makes the names of a file's tensors visible, and unique."""

from __future__ import annotations

from explorer.core.param import Finding
from explorer.core.text import visible
from explorer.sources.checkpoint.files import tensors, warn


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
