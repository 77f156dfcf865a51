r"""The pattern language of groups and filters: what one term means, and how a line of terms is read and written.

| Term | Matches a parameter when |
|---|---|
| `bias` | its name contains the text, case-sensitive: the classic semantics |
| `glob:*.norm?.weight` | its whole name matches the shell pattern (`*` crosses dots) |
| `re:layers\.[0-5]\.` | the regular expression is found in its name |
| `name:lm_head.weight` | its name is exactly that |
| `type:*Norm` | the class of the module that owns it, or one of its bases, matches the shell pattern |
| `ndim<2` | its number of dimensions compares like that (`<`, `<=`, `==`, `!=`, `>=`, `>`) |
| `!term` | never: what the term matches is excluded |
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate
from typing import ClassVar, NamedTuple

from explorer.core.param import ModuleClass
from explorer.core.regexes import MAX_PATTERN, digit_blind, safe_to_compile

COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
"""The comparisons of an `ndim` term, longest first, as they are looked for."""


class PatternError(ValueError):
    """A term can't be read."""

    def __init__(self, message: str, column: int = 0) -> None:
        """Keep what is wrong and where.

        Args:
            message: One line, without a full stop.
            column: Position of the mistake in the term's text, counted from 0.
        """
        super().__init__(message)
        self.message = message
        self.column = column


class TooSlow(PatternError):  # noqa: N818 - a state, not a mistake of the user
    """A regular expression took longer, or more memory, than a keystroke may; it was stopped."""


@dataclass(frozen=True, slots=True)
class Substring:
    """A literal, case-sensitive part of the name: `any(nd in n for nd in no_decay)`."""

    text: str
    """What the name must contain; never empty."""

    def accepts(self, name: str, module: ModuleClass | None, ndim: int | None) -> bool:
        """Tell whether the parameter matches."""
        return self.text in name

    @property
    def digit_blind(self) -> bool:
        """Whether names that differ in the value of digits alone always match alike."""
        return not _has_digit(self.text)


@dataclass(frozen=True, slots=True)
class Name:
    """The whole name, literally."""

    text: str
    """The name; never empty."""

    def accepts(self, name: str, module: ModuleClass | None, ndim: int | None) -> bool:
        """Tell whether the parameter matches."""
        return self.text == name

    @property
    def digit_blind(self) -> bool:
        """Whether names that differ in the value of digits alone always match alike."""
        return not _has_digit(self.text)


@dataclass(frozen=True, slots=True)
class Glob:
    """A shell pattern over the whole name.

    Python translates `*` to an atomic group, so a glob never backtracks over what it has passed.
    """

    pattern: str
    """The pattern with `*`, `?`, `[abc]`, `[!abc]`."""

    def accepts(self, name: str, module: ModuleClass | None, ndim: int | None) -> bool:
        """Tell whether the parameter matches."""
        return fnmatchcase(name, self.pattern)

    def search(self) -> Callable[[str], object]:
        """Return the compiled matcher of a whole name."""
        return re.compile(translate(self.pattern)).match

    @property
    def digit_blind(self) -> bool:
        """Whether names that differ in the value of digits alone always match alike."""
        return not _has_digit(self.pattern)


@dataclass(frozen=True, slots=True)
class Regex:
    """A regular expression, searched in the name."""

    pattern: str
    """Python's `re` syntax."""

    def accepts(self, name: str, module: ModuleClass | None, ndim: int | None) -> bool:
        """Tell whether the parameter matches. Unbounded in time: `Grouper` is the bounded way."""
        return re.search(self.pattern, name) is not None

    @property
    def digit_blind(self) -> bool:
        """Whether names that differ in the value of digits alone always match alike."""
        return digit_blind(self.pattern)


@dataclass(frozen=True, slots=True)
class Type:
    """The class of the owning module, or one of its bases."""

    pattern: str
    """Shell pattern over a class name without its module."""
    digit_blind: ClassVar[bool] = True
    """The name plays no part."""

    def accepts(self, name: str, module: ModuleClass | None, ndim: int | None) -> bool:
        """Tell whether the parameter matches; one whose module is unknown never does."""
        if module is None:
            return False
        return any(fnmatchcase(each, self.pattern) for each in (module.name, *module.bases))


@dataclass(frozen=True, slots=True)
class Ndim:
    """The number of dimensions."""

    comparison: str
    """A key of `COMPARISONS`."""
    value: int
    """What the number is compared with."""
    digit_blind: ClassVar[bool] = True
    """The name plays no part."""

    def accepts(self, name: str, module: ModuleClass | None, ndim: int | None) -> bool:
        """Tell whether the parameter matches; one whose shape is unknown never does."""
        return ndim is not None and COMPARISONS[self.comparison](ndim, self.value)


Test = Substring | Name | Glob | Regex | Type | Ndim
"""What a term asks of a parameter."""


class Term(NamedTuple):
    """One term, read."""

    source: str
    """The text as it was written."""
    excludes: bool
    """Whether it was written with `!`."""
    test: Test
    """What it asks, `!` aside."""

    @property
    def key(self) -> str:
        """The source without `!`: terms with equal keys match the same parameters."""
        return self.source[1:] if self.excludes else self.source


_KINDS: dict[str, Callable[[str], Test]] = {"glob": Glob, "re": Regex, "type": Type, "name": Name}


def parse(term: str) -> Term:
    """Read one term.

    Args:
        term: The text of one term, as `split_terms` returns it.

    Raises:
        PatternError: It can't be read; `column` says where. A regular expression too large to compile safely is
            read here and checked by the `Grouper`'s helper process.
    """
    if not term.strip():
        raise PatternError("a blank term would match everything")
    if len(term) > MAX_PATTERN:
        raise PatternError(f"longer than {MAX_PATTERN:,} characters", MAX_PATTERN)
    excludes = term.startswith("!")
    body, start = (term[1:], 1) if excludes else (term, 0)
    if not body.strip():
        raise PatternError("nothing to exclude after !", start)
    if body.startswith("!"):
        raise PatternError("excluded twice: write one !", start)
    return Term(term, excludes, _parse_test(body, start))


def _parse_test(body: str, start: int) -> Test:
    kind, colon, rest = body.partition(":")
    if colon and kind in _KINDS:
        at = start + len(kind) + 1
        if not rest:
            raise PatternError(f"nothing after {kind}:", at)
        if kind == "re":
            _check_regex(rest, at)
        return _KINDS[kind](rest)
    if re.match(r"ndim\s*[<>=!]", body):
        found = re.fullmatch(r"ndim\s*(<=|>=|==|!=|<|>)\s*([0-9]{1,3})\s*", body)
        if not found:
            raise PatternError("ndim is compared as in ndim<2, ndim<=1, ndim==1, ndim>=2 or ndim>1", start + 4)
        return Ndim(found[1], int(found[2]))
    return Substring(body)


def _check_regex(pattern: str, start: int) -> None:
    if not safe_to_compile(pattern):
        return
    try:
        re.compile(pattern)
    except re.error as error:
        raise PatternError(error.msg, start + (error.pos or 0)) from error
    except (RecursionError, OverflowError) as error:
        raise PatternError("too deeply nested", start) from error


def _has_digit(text: str) -> bool:
    return any(char in "0123456789" for char in text)


_QUANTIFIER = re.compile(r"\{[0-9]*,[0-9]*\}")


def split_terms(text: str) -> list[tuple[str, int]]:
    r"""Split an editor's line, `bias, LayerNorm.weight`, into terms.

    Terms stand between commas; spaces around them are dropped. A comma that belongs to a term is written `\,`, or
    the whole term in single or double quotes (a quote inside is doubled; a Python list's inside pastes as it is).
    The comma of a repeat count, `{1,3}`, needs neither. All other backslashes are kept as they are.

    Returns:
        Each term with the column at which it begins, counted from 0. A blank between commas is returned as `""`,
        to be reported; a line of nothing but spaces has no terms.
    """
    terms: list[tuple[str, int]] = []
    at, size = 0, len(text)
    if not text.strip():
        return terms
    while True:
        while at < size and text[at].isspace():
            at += 1
        begin = at
        if at < size and text[at] in "\"'":
            term, at = _quoted(text, at)
            tail, at = _bare(text, at)
            terms.append((term + tail, begin))
        else:
            term, at = _bare(text, at)
            terms.append((term, begin))
        if at >= size:
            return terms
        at += 1  # the comma


def _quoted(text: str, at: int) -> tuple[str, int]:
    quote = text[at]
    kept: list[str] = []
    at += 1
    while at < len(text):
        if text[at] == quote:
            if text[at + 1 : at + 2] != quote:
                return "".join(kept), at + 1
            at += 1
        kept.append(text[at])
        at += 1
    return "".join(kept), at  # not closed yet: somebody is typing


def _bare(text: str, at: int) -> tuple[str, int]:
    kept: list[str] = []
    while at < len(text) and text[at] != ",":
        if text[at] == "\\" and text[at + 1 : at + 2] == ",":
            kept.append(",")
            at += 2
        elif found := _QUANTIFIER.match(text, at):
            kept.append(found[0])
            at = found.end()
        else:
            kept.append(text[at])
            at += 1
    return "".join(kept).rstrip(), at


def join_terms(terms: Sequence[str]) -> str:
    """Write terms as a line that `split_terms` reads back."""
    return ", ".join(map(_written, terms))


def _written(term: str) -> str:
    plain = term == term.strip() and "," not in term and term[:1] not in ('"', "'") and not term.endswith("\\")
    return term if plain and term else '"' + term.replace('"', '""') + '"'
