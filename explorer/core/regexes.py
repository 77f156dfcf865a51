r"""What the text of a regular expression shows: how long a search may take, and whether digits matter to it.

Python's `re` backtracks and holds the interpreter lock: `(\w+\.?)+z$` on one name freezes a program for minutes.
So an expression runs in this process only if a bound of its steps can be shown from its text; all others run in a
child that can be killed (`explorer.core.matcher`). Everything here errs on the side of the child.
"""

from __future__ import annotations

import math
import re

MAX_PATTERN = 2000
"""Longest term, in characters."""
MAX_REPEATS = 10_000
"""Largest product of an expression's repeat counts that is compiled in this process."""
MAX_DEPTH = 20
"""Deepest nesting of groups that is analysed or compiled in this process."""
MAX_STEPS = 2_000_000
"""Most steps a search of one name may take in this process: about 20 ms of CPython 3.11."""

_COUNT = re.compile(r"\{([0-9]*)(?:,([0-9]*))?\}")
_CLASS_REST = re.compile(r"\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_FLAGS = re.compile(r"\?([aiLmsu]*)(?:-[ims]+)?([:)])")
_GROUP_OPENINGS = ("?:", "?=", "?!", "?<=", "?<!", "?>")


class _Unsure(Exception):  # noqa: N818 - an answer, not an error
    """The expression is not understood well enough to bound it."""


def safe_to_compile(pattern: str) -> bool:
    """Tell whether `re.compile` is sure to be quick and small.

    Nested repeat counts multiply (`(?:a{65535}){65535}`), and a wide character range without case is tried
    character by character.
    """
    repeats = 1
    for found in _COUNT.finditer(pattern):
        repeats *= max(1, *(int(number[:9]) for number in found.groups() if number), 1)
    wide = not pattern.isascii() or re.search(r"\\[uUNx0-9]", pattern) is not None
    caseless = re.search(r"\(\?[a-zA-Z]*i", pattern) is not None
    return repeats <= MAX_REPEATS and pattern.count("(") <= MAX_DEPTH * 10 and not (wide and caseless)


def steps_bound(pattern: str, longest: int) -> float:
    """Return a bound of the steps that searching one name takes, or infinity where none can be shown.

    The bound is starts × choices × size: a search starts at each character; at each start it tries at most the
    product of what every `?`, `*`, `{m,n}` and `|` offers; each try runs along the expression once.

    Args:
        pattern: The expression.
        longest: Length of the longest name, in characters.
    """
    if not safe_to_compile(pattern):
        return math.inf
    try:
        reader = _Reader(pattern, longest)
        choices = reader.alternatives(0)
        if reader.at != len(pattern):
            return math.inf
    except (_Unsure, OverflowError):
        return math.inf
    return choices * (longest + 1) * (len(pattern) + 1)


def digit_blind(pattern: str) -> bool:
    r"""Tell whether names that differ in the value of digits alone are sure to match alike.

    `\d`, `\w`, `.` and `[^.]` treat all ten digits the same, and so does any range whose ends are no digits, since
    the digits stand together in ASCII. A digit in the text, a back-reference or a character by name may not.
    """
    plain = pattern.replace(r"\d", "")
    if any(char in "0123456789" for char in plain):
        return False
    return "(?P=" not in pattern and r"\N" not in pattern


class _Reader:
    """Walks an expression once and multiplies what could be tried."""

    def __init__(self, pattern: str, longest: int) -> None:
        self.pattern = pattern
        self.at = 0
        self.longest = longest

    def alternatives(self, depth: int) -> float:
        if depth > MAX_DEPTH:
            raise _Unsure
        total = self._sequence(depth)
        while self._take("|"):
            total += self._sequence(depth)
        return total

    def _sequence(self, depth: int) -> float:
        choices = 1.0
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            choices *= self._repeated(self._atom(depth))
        return choices

    def _atom(self, depth: int) -> float:
        char = self.pattern[self.at]
        self.at += 1
        if char == "(":
            return self._group(depth)
        if char == "[":
            rest = _CLASS_REST.match(self.pattern, self.at)
            if not rest:
                raise _Unsure
            self.at = rest.end()
        elif char == "\\":
            follows = self.pattern[self.at : self.at + 1]
            # Back-references and characters by number are left to the child.
            if not follows or follows in "0123456789xuUN":
                raise _Unsure
            self.at += 1
        elif char in "*+?":
            raise _Unsure
        return 1.0

    def _group(self, depth: int) -> float:
        flags = _FLAGS.match(self.pattern, self.at)
        named = re.compile(r"\?P<\w+>").match(self.pattern, self.at)
        if flags:
            self.at = flags.end()
            if flags[2] == ")":
                return 1.0
        elif named:
            self.at = named.end()
        elif self.pattern.startswith("?", self.at):
            opening = next((each for each in _GROUP_OPENINGS if self.pattern.startswith(each, self.at)), None)
            if opening is None:
                raise _Unsure
            self.at += len(opening)
        choices = self.alternatives(depth + 1)
        if not self._take(")"):
            raise _Unsure
        return choices

    def _repeated(self, choices: float) -> float:
        least, most = self._counts()
        if most == 1 and least == 1:
            return choices
        if self._take("?") or self._take("+"):
            pass  # lazy or possessive: the same tries in another order, or fewer
        if self.at < len(self.pattern) and self.pattern[self.at] in "*+?{":
            raise _Unsure
        if choices == 1:
            return min(most, self.longest) - min(least, self.longest) + 1
        return float((most + 1) * choices**most)

    def _counts(self) -> tuple[float, float]:
        for sign, counts in (("*", (0, math.inf)), ("+", (1, math.inf)), ("?", (0, 1))):
            if self._take(sign):
                return counts
        found = _COUNT.match(self.pattern, self.at)
        if not found or found[0] == "{}":  # braces around nothing are text
            return 1, 1
        self.at = found.end()
        least = int(found[1] or 0)
        if found[2] is None:
            return least, least
        return least, int(found[2]) if found[2] else math.inf

    def _take(self, char: str) -> bool:
        if self.pattern.startswith(char, self.at):
            self.at += 1
            return True
        return False
