"""A rule's terms as one Python condition over `name`, `ndim` and `kinds`."""

from __future__ import annotations

from explorer.core.export.sheet import quoted, strings
from explorer.core.patterns import Glob, Name, Ndim, Regex, Substring, Term, Type
from explorer.core.rules import Grouping, parse_rule

MAX_WIDTH = 100
"""Longest line of a condition, in characters, before each alternative gets its own."""


def condition(grouping: Grouping, rule: int) -> str:
    """Return the condition under which a rule takes a parameter; `False` if none of its terms can be read.

    A condition of several lines is indented for an `if` inside a function.
    """
    terms = [term for _, term in parse_rule(grouping, rule)[0]]
    wanted = _parts([term for term in terms if not term.excludes])
    refused = _parts([term for term in terms if term.excludes])
    if not wanted and not (refused and all(text.startswith("!") for text in grouping.rules[rule].terms)):
        return "False"
    for separator in (" or ", "\n        or "):
        text = _both(separator, wanted, refused)
        if len(text) <= MAX_WIDTH:
            break
    return text


def _both(separator: str, wanted: list[str], refused: list[str]) -> str:
    take = _bracketed(separator, wanted, bool(refused))
    leave = f"not {_bracketed(separator, refused, True)}"
    return " and ".join([*[take] * bool(wanted), *[leave] * bool(refused)])


def _bracketed(separator: str, parts: list[str], needed: bool) -> str:
    text = separator.join(parts)
    if "\n" in text:
        return f"(\n        {text}\n    )"
    return f"({text})" if needed and (len(parts) > 1 or " " in text) else text


def plain_substrings(grouping: Grouping, rule: int) -> list[str] | None:
    """Return a rule's texts if all its terms are plain, readable substrings, else nothing."""
    terms, problems = parse_rule(grouping, rule)
    texts = [term.test.text for _, term in terms if isinstance(term.test, Substring) and not term.excludes]
    return texts if texts and len(texts) == len(terms) and all(p.kind == "blank" for p in problems) else None


def _parts(terms: list[Term]) -> list[str]:
    parts: list[str] = []
    substrings = [term.test.text for term in terms if isinstance(term.test, Substring)]
    names = [term.test.text for term in terms if isinstance(term.test, Name)]
    if len(substrings) > 1:
        parts.append(f"any(part in name for part in [{strings(substrings)}])")
    elif substrings:
        parts.append(f"{quoted(substrings[0])} in name")
    if names:
        parts.append(f"name in {{{strings(names)}}}")
    for term in terms:
        test = term.test
        if isinstance(test, Glob):
            parts.append(f"fnmatchcase(name, {quoted(test.pattern)})")
        elif isinstance(test, Regex):
            parts.append(f"re.search({_raw(test.pattern)}, name)")
        elif isinstance(test, Type):
            parts.append(f"any(fnmatchcase(kind, {quoted(test.pattern)}) for kind in kinds)")
        elif isinstance(test, Ndim):
            parts.append(f"ndim {test.comparison} {test.value}")
    return parts


def _raw(pattern: str) -> str:
    plain = pattern.isascii() and pattern.isprintable() and '"' not in pattern and not pattern.endswith("\\")
    return f'r"{pattern}"' if plain and "\\" in pattern else quoted(pattern)
