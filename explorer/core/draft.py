"""Groups as they stand in the panel's fields, half-typed terms included, and the file that holds them."""

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
    """Groups as typed."""

    grouping: Grouping
    """All of it that can be read."""
    fields: Mapping[int, Fields] = field(default_factory=dict)
    """By position of a group the texts of its fields, for groups that can't be read as a whole."""


def dumps(draft: Draft, target: str) -> str:
    """Return the draft as the text of a file.

    Raises:
        ParamxError: TOML can't hold one of the options.
    """
    from explorer.core import grouping_file  # noqa: PLC0415 - reaches a TOML reader: not before the first frame

    text = f"# paramx: groups of {visible(target)}\n{grouping_file.dumps(draft.grouping)}"
    if draft.fields:
        # ASCII, so that no text that was pasted can end the comment.
        text += f"\n{HALF_TYPED}{json.dumps({str(rule): fields for rule, fields in draft.fields.items()})}\n"
    return text


def loads(text: str, source: str) -> Draft:
    """Read a draft from the text of a file.

    Raises:
        ParamxError: The text has no groups.
    """
    from explorer.core import grouping_file  # noqa: PLC0415 - as above

    grouping = grouping_file.loads(text, source)
    line = next((line for line in reversed(text.splitlines()) if line.startswith(HALF_TYPED)), "")
    return Draft(grouping, _fields(line.removeprefix(HALF_TYPED), len(grouping.rules)) if line else {})


def _fields(text: str, rules: int) -> dict[int, Fields]:
    """Read the texts of fields; damaged ones are left out."""
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
