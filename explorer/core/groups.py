"""Puts every parameter of a model in its optimizer group, fast enough for each keystroke.

The rules are in `explorer.core.rules`; their names are offered here too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, reduce
from itertools import compress, repeat
from operator import or_
from typing import NamedTuple

from explorer.core.classes import FOLD, Classes
from explorer.core.codes import FEW_RULES, first_match, sums_of, sums_of_few
from explorer.core.matcher import SECONDS, RegexMatcher, search_here
from explorer.core.param import Model
from explorer.core.patterns import Glob, Name, PatternError, Regex, Substring, Term, TooSlow, parse
from explorer.core.rules import MAX_RULES, OWN_OPTIONS, Grouping, Problem, Rule, parse_rule, problem_of

__all__ = [
    "MAX_RULES",
    "NO_GROUP",
    "OWN_OPTIONS",
    "Assignment",
    "Grouper",
    "Grouping",
    "Move",
    "Problem",
    "Reason",
    "Rule",
    "moved",
]

NO_GROUP = 255
"""What stands for the position of a rule where a tensor is not a parameter; `MAX_RULES` leaves it free."""

Move = tuple[int, int, int]
"""A parameter's index, the rule it was in, the rule it is in."""

_KEPT_MASKS = 96
"""How many terms' masks are remembered; one of a digit-telling term on 150,000 names takes 150 KB."""
_FAILURE_SECONDS = 30.0
"""How long before a term that was stopped is tried again; by then the machine may be less busy."""
_TIMES_ALL = 5
"""All terms of one assignment together may take this many times the limit of one term."""


class Mask(NamedTuple):
    """What a term matches: one byte a class, or one byte a row where it tells digits apart."""

    bits: bytes
    """1 where the term matches."""
    by_row: bool
    """Whether there is one byte a row (aliases included) rather than one a class."""


class _Failure(NamedTuple):
    """Why a term has no mask, remembered for a while so that other terms can be typed without waiting for it."""

    error: PatternError
    until: float


class Reason(NamedTuple):
    """Why a parameter is in its group."""

    rule: int
    """Position of the rule."""
    group: str
    """Name of the rule."""
    terms: tuple[int, ...]
    """Positions of the positive terms that match; empty in the catch-all and in a rule of `!` terms alone."""
    texts: tuple[str, ...]
    """Those terms as they were written."""
    excluded: tuple[tuple[str, str], ...] = ()
    """Rules above that would have taken it, each with the `!` term that kept it out."""

    @property
    def text(self) -> str:
        """The reason in one line: `no_decay because "bias"`."""
        because = f'because "{self.texts[0]}"' if self.texts else "because no rule above takes it"
        kept_out = "".join(f', kept out of {rule} by "{term}"' for rule, term in self.excluded)
        return f"{self.group} {because}{kept_out}"


class Frozen(NamedTuple):
    """What is frozen of a group: by the model, or by the group's own `freeze`."""

    tensors: int
    """Parameters."""
    parameters: int
    """Their elements."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which rule each parameter fell under."""

    grouping: Grouping
    """The rules that were applied."""
    codes: bytes
    """For every row, in model order, the position of the rule that takes its name, be it a parameter's or not."""
    alias_codes: bytes
    """The same for every alias of a tied parameter, as if it were a parameter of that name."""
    tensors: tuple[int, ...]
    """Number of parameters under each rule."""
    parameters: tuple[int, ...]
    """Elements under each rule."""
    nbytes: tuple[int | None, ...]
    """Bytes under each rule; `None` where the size of a member is unknown."""
    problems: tuple[Problem, ...]
    """Terms that took no part."""
    class_codes: bytes | None = field(repr=False, compare=False)
    """The position of the rule of each class of names; `None` where a term told digits apart."""
    grouper: Grouper = field(repr=False, compare=False)
    """What made it; it remembers what each term matches."""

    def __len__(self) -> int:
        """Return the number of parameters."""
        return len(self.codes)

    @property
    def groups(self) -> bytes:
        """For every row, in model order, the position of its rule; `NO_GROUP` where it is not a parameter."""
        return _without(self.grouper.model, self.codes)

    def group(self, index: int) -> str | None:
        """Return the name of a row's group; `None` where it is not a parameter."""
        # Not `groups`, which is made anew: asked of each row of a file with an optimizer's state, that took minutes.
        return None if index in self.grouper.model.apart else self.grouping.rules[self.codes[index]].name

    def mask(self, rule: int) -> bytes:
        """Return one byte a row: 1 where it is a parameter under `rule`."""
        return self.groups.translate(bytes(code == rule for code in range(256)))

    def members(self, rule: int) -> Iterator[int]:
        """Iterate over the indices of the parameters under `rule`, in model order."""
        return compress(range(len(self.codes)), self.mask(rule))

    def trained(self, rule: int) -> list[int]:
        """Return the parameters under `rule` that an optimizer gets: neither the model nor the rule freezes them."""
        if self.grouping.rules[rule].options.get("freeze"):
            return []
        grads = self.grouper.model.requires_grad
        members = self.members(rule)
        return [index for index in members if grads[index] is not False] if False in grads.values else list(members)

    def frozen(self, rule: int) -> Frozen:
        """Return how much under `rule` no optimizer gets."""
        trained, numels = self.trained(rule), self.grouper.model.numels
        elements = sum(numels[index] for index in trained)
        return Frozen(self.tensors[rule] - len(trained), self.parameters[rule] - elements)

    def reasons(self, index: int) -> Reason:
        """Return why the parameter at `index` is in its group."""
        return self.grouper.reasons(self.grouping, index, self.codes[index])


class Grouper:
    """Assigns the parameters of one model to rules, again and again."""

    def __init__(self, model: Model, seconds: float = SECONDS) -> None:
        """Fold the names once.

        Args:
            model: The model; it must not change.
            seconds: How long one regular expression may search.
        """
        self.model = model
        self.classes = Classes(model)
        self._regexes = RegexMatcher((self.classes.folded, self.classes.names), seconds)
        self._seconds = seconds
        self._masks: dict[str, Mask | _Failure] = {}

    def assign(self, grouping: Grouping) -> Assignment:
        """Put every parameter under the first rule that matches. A bad term never raises; it becomes a `Problem`."""
        codes, by_row, problems = self._resolve(grouping)
        classes, rules = self.classes, len(grouping.rules)
        by_class = None if by_row else codes
        if not by_row:
            sums = sums_of(codes, rules, classes.tensors, classes.numels, classes.nbytes)
            codes = classes.expand(codes)
        elif rules <= FEW_RULES and min(classes.nbytes, default=0) >= 0:
            whole = sum(classes.numels), sum(classes.nbytes)
            sums = sums_of_few(_without(self.model, codes[: classes.rows]), rules, *self._row_sizes, whole)
        else:
            counts: Iterable[int] = repeat(1)
            if self.model.apart:
                counts = map(classes.apart.translate(_OPPOSITE).__getitem__, classes.ids)
            sums = sums_of(codes[: classes.rows], rules, counts, *self._row_sizes)
        own, others = codes[: classes.rows], codes[classes.rows :]
        return Assignment(grouping, own, others, *sums, tuple(problems), class_codes=by_class, grouper=self)

    @cached_property
    def _row_sizes(self) -> tuple[list[int], list[int]]:
        """Elements and bytes of each parameter as Python numbers: an array would make them anew at each sum."""
        nbytes = list(self.model.nbytes)
        for index in self.model.apart:
            nbytes[index] = 0
        return list(self.model.counted), nbytes

    def codes(self, grouping: Grouping) -> bytes:
        """Return only `Assignment.groups`, which is cheaper than `assign` with its sums."""
        codes, by_row, _ = self._resolve(grouping)
        return _without(self.model, (codes if by_row else self.classes.expand(codes))[: self.classes.rows])

    def _resolve(self, grouping: Grouping) -> tuple[bytes, bool, list[Problem]]:
        """Return each class's rule (or each row's, if a term tells digits apart), which of the two, and problems."""
        problems: list[Problem] = []
        positives: list[list[Mask]] = []
        negatives: list[list[Mask]] = []
        slow = 0
        for i, rule in enumerate(grouping.rules[:-1]):
            good, bad = parse_rule(grouping, i)
            positives.append([])
            negatives.append([])
            for position, term in good:
                try:
                    if slow >= _TIMES_ALL and term.key not in self._masks:
                        raise TooSlow("too slow: other terms took all the time")
                    (negatives if term.excludes else positives)[i].append(self.mask(term))
                except PatternError as error:
                    slow += isinstance(error, TooSlow)
                    bad.append(problem_of(i, position, rule.terms[position], error))
            if rule.terms and all(text.startswith("!") for text in rule.terms) and negatives[i]:
                positives[i].append(Mask(b"\1" * self.classes.size, by_row=False))
            problems += sorted(bad, key=lambda problem: problem.term)
        by_row = any(mask.by_row for masks in (*positives, *negatives) for mask in masks)
        codes = first_match(
            [self._united(masks, by_row) for masks in positives],
            [self._united(masks, by_row) for masks in negatives],
            len(self.classes.ids) if by_row else self.classes.size,
        )
        return codes, by_row, problems

    def matches(self, term: str | Term) -> bytes:
        """Return one byte a parameter: 1 where the term matches (a `!` term: where it does not).

        Raises:
            PatternError: The term can't be read.
            TooSlow: It was stopped.
        """
        read = parse(term) if isinstance(term, str) else term
        mask = self.mask(read)
        bits = (mask.bits if mask.by_row else self.classes.expand(mask.bits))[: self.classes.rows]
        return bits.translate(_OPPOSITE) if read.excludes else bits

    def containing(self, text: str) -> bytes:
        """Return one byte a parameter: 1 where its name contains a text, which is no term: `!` is a character."""
        classes = self.classes
        if Substring(text).digit_blind:
            return classes.expand([text in name for name in classes.folded])[: classes.rows]
        return bytes([text in name for name in self.model.names])

    def reasons(self, grouping: Grouping, index: int, code: int) -> Reason:
        """Return why the parameter at `index` fell under rule `code` of `grouping`."""
        excluded: list[tuple[str, str]] = []
        hits: list[tuple[int, Term]] = []
        for i in range(code + 1):
            hits = [(at, term) for at, term in parse_rule(grouping, i)[0] if self._matches_row(term, index)]
            out = [term.source for _, term in hits if term.excludes]
            hits = [(at, term) for at, term in hits if not term.excludes]
            if i < code and hits and out:
                excluded.append((grouping.rules[i].name, out[0]))
        return Reason(
            code,
            grouping.rules[code].name,
            tuple(at for at, _ in hits),
            tuple(term.source for _, term in hits),
            tuple(excluded),
        )

    def mask(self, term: Term) -> Mask:
        """Return what a term matches, its `!` aside, remembered from the last time.

        Raises:
            PatternError: It does not compile, or was stopped (TooSlow); that is remembered too.
        """
        known = self._masks.pop(term.key, None)
        if known is None or (isinstance(known, _Failure) and time.monotonic() > known.until):
            try:
                known = self._compute(term)
            except PatternError as error:
                known = _Failure(error, time.monotonic() + _FAILURE_SECONDS)
        self._masks[term.key] = known  # the last used stand last
        if len(self._masks) > _KEPT_MASKS:
            del self._masks[next(iter(self._masks))]
        if isinstance(known, _Failure):
            raise known.error.with_traceback(None)  # it would grow by a frame at each keystroke
        return known

    def close(self) -> None:
        """End the helper process, if one runs."""
        self._regexes.close()

    def _compute(self, term: Term) -> Mask:
        test, classes = term.test, self.classes
        if isinstance(test, (Substring, Name)) and not test.digit_blind:
            return Mask(_find(test, classes), by_row=True)
        by_row = not test.digit_blind
        names = classes.names if by_row else classes.folded
        if isinstance(test, Regex):
            start = len(term.source) - len(test.pattern)
            return Mask(self._regexes.search(test.pattern, int(by_row), start), by_row)
        if isinstance(test, Glob):
            return Mask(search_here(test.search(), names, 256, self._seconds), by_row)
        each = zip(names, classes.modules, classes.ndims, strict=True)
        return Mask(bytes([test.accepts(*row) for row in each]), by_row=False)

    def _matches_row(self, term: Term, row: int) -> bool:
        try:
            mask = self.mask(term)
        except PatternError:
            return False
        return bool(mask.bits[row if mask.by_row else self.classes.ids[row]])

    def _united(self, masks: Iterable[Mask], by_row: bool) -> int:
        """Return where any of the masks is set, as one large number of one byte a class or row."""
        bits = (self.classes.expand(mask.bits) if by_row and not mask.by_row else mask.bits for mask in masks)
        return reduce(or_, (int.from_bytes(each, "little") for each in bits), 0)


def _without(model: Model, codes: bytes) -> bytes:
    """Return the rows' codes with `NO_GROUP` for what is not a parameter."""
    if not model.apart:
        return codes
    marked = bytearray(codes)
    for index in model.apart:
        marked[index] = NO_GROUP
    return bytes(marked)


_OPPOSITE = b"\1\0" + bytes(254)
"""Turns 0 and 1 into each other."""


def _find(test: Substring | Name, classes: Classes) -> bytes:
    """Find a text with digits in it: look at the folded names first, then only at the rows of those that match."""
    fold: Callable[[str], str] = lambda text: text.translate(FOLD)  # noqa: E731 - one expression
    folded = type(test)(fold(test.text))
    likely = bytes([folded.accepts(name, None, None) for name in classes.folded])
    text = test.text
    bits = bytearray(len(classes.ids))
    if isinstance(test, Name):
        for row in compress(range(len(bits)), classes.expand(likely)):
            bits[row] = classes.names[row] == text
    else:
        for row in compress(range(len(bits)), classes.expand(likely)):
            bits[row] = text in classes.names[row]
    return bytes(bits)


def moved(before: Assignment, after: Assignment) -> list[Move]:
    """Return the parameters whose rule's position changed, in model order.

    Args:
        before: An assignment of a model.
        after: Another of the same model; its rules must stand in the same order for the positions to be comparable.
    """
    size = len(before.codes)
    if size != len(after.codes):
        raise ValueError("assignments of different models")
    if before.codes == after.codes:
        return []
    changed = int.from_bytes(before.codes, "little") ^ int.from_bytes(after.codes, "little")
    rows = compress(range(size), changed.to_bytes(size, "little"))
    return [(row, before.codes[row], after.codes[row]) for row in rows]
