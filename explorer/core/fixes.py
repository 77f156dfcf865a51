"""Fixes of findings as edits of a grouping: written in one line, applied by a key.

| Written | Does |
|---|---|
| `GROUP += TERM` | adds a term |
| `GROUP -= TERM` | removes a term; `GROUP -= ""` removes the blank ones |
| `GROUP: TERM -> TERM` | rewrites a term |
| `GROUP.OPTION -> OPTION` | renames an option |
| `GROUP.OPTION = VALUE` | sets an option to a number |
| `GROUP -> NAME: OPTION=VALUE …` | renames the group and sets options |
"""

from __future__ import annotations

from explorer.core.options import parse_options
from explorer.core.param import Finding
from explorer.core.rules import Grouping


def apply_fix(grouping: Grouping, finding: Finding | str) -> Grouping:
    """Return the grouping with a finding's fix applied.

    Raises:
        ValueError: There is no fix, or it is for another grouping.
    """
    fix = finding if isinstance(finding, str) else finding.fix
    # The longest name first: one group's name may begin another's.
    for name in sorted((rule.name for rule in grouping.rules), key=len, reverse=True):
        if fix.startswith(name):
            edited = _apply(grouping, grouping.rule(name), fix[len(name) :])
            if edited is not None:
                return edited
    raise ValueError(f"not a fix of this grouping: {fix!r}")


def _apply(grouping: Grouping, i: int, edit: str) -> Grouping | None:
    rule = grouping.rules[i]
    if edit.startswith(" += "):
        return grouping.with_terms(i, (*rule.terms, edit[4:]))
    if edit.startswith(" -= "):
        term = "" if edit[4:] == '""' else edit[4:]
        return grouping.with_terms(i, [each for each in rule.terms if (each.strip() if not term else each) != term])
    if edit.startswith(" -> "):
        name, _, moved = edit[4:].rpartition(": ")
        return grouping.rename(i, name).with_options(i, {**rule.options, **parse_options(moved)})
    if edit.startswith(": "):
        # A term may hold an arrow itself: the rule's own terms show where the first one ends.
        for term in rule.terms:
            if edit.startswith(f": {term} -> "):
                new = edit[len(term) + 6 :]
                return grouping.with_terms(i, [new if each == term else each for each in rule.terms])
    if edit.startswith("."):
        for key in rule.options:
            if edit.startswith(f".{key} -> "):
                new = edit[len(key) + 5 :]
                options = {new if each == key else each: value for each, value in rule.options.items()}
                return grouping.with_options(i, options)
        key, equals, value = edit[1:].partition(" = ")
        if equals:
            return grouping.with_options(i, {**rule.options, key: float(value)})
    return None
