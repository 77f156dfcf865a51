"""Groups as they stand in their fields, also what is half typed and can't be read yet; and how a file holds them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from explorer.core.rules import Grouping
from explorer.core.text import visible

HALF_TYPED = "# half typed: "
"""Begins the comment that holds what TOML groups can't: to `--groups` the file is what could be read."""

Fields = tuple[str, str, str]
"""A group's name, options and terms as they stand in its fields."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody is typing."""

    grouping: Grouping
    """All of it that can be read."""
    fields: Mapping[int, Fields] = field(default_factory=dict)
    """By a group's place its fields' texts, for those that can't be read as a whole."""


def dumps(draft: Draft, target: str) -> str:
    """Return the text of a file.

    Raises:
        ParamxError: An option is nothing that TOML can hold.
    """
    from explorer.core import grouping_file  # noqa: PLC0415 - reaches a TOML reader: not before the first frame

    text = f"# paramx: groups of {visible(target)}\n{grouping_file.dumps(draft.grouping)}"
    if draft.fields:
        # ASCII, so that no text that was pasted can end the comment.
        text += f"\n{HALF_TYPED}{json.dumps({str(rule): fields for rule, fields in draft.fields.items()})}\n"
    return text


def loads(text: str, source: str) -> Draft:
    """Read a file back.

    Raises:
        ParamxError: It says no groups.
    """
    from explorer.core import grouping_file  # noqa: PLC0415 - as above

    grouping = grouping_file.loads(text, source)
    line = next((line for line in reversed(text.splitlines()) if line.startswith(HALF_TYPED)), "")
    return Draft(grouping, _fields(line.removeprefix(HALF_TYPED), len(grouping.rules)) if line else {})


def _fields(text: str, rules: int) -> dict[int, Fields]:
    """Read the fields' texts; what is spoiled is left out."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    found: dict[int, Fields] = {}
    for key, fields in table.items() if isinstance(table, dict) else ():
        whole = isinstance(fields, list) and len(fields) == len(("name", "options", "terms"))
        known = key.isascii() and key.isdecimal() and len(key) < 4 and int(key) < rules
        if known and whole and all(isinstance(part, str) for part in fields):
            # A draft is a file like any other: what it says enters here.
            name, options, terms = map(visible, fields)
            found[int(key)] = (name, options, terms)
    return found
