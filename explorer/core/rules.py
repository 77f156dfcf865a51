"""Optimizer groups: ordered rules over parameters, of which the first that matches wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from explorer.core.patterns import PatternError, Term, TooSlow, parse
from explorer.core.text import visible

CLASSIC_TERMS = ("bias", "LayerNorm.weight")
"""What the classic recipe keeps from decay; the groups that everything starts with have these terms."""

MAX_RULES = 255
"""Most rules of a grouping: an assignment holds one byte a parameter."""

OWN_OPTIONS = ("lr_mult", "freeze", "optimizer")
"""Options of a rule that are ours and never reach the optimizer under that name: `lr_mult` multiplies the learning
rate, `freeze` stops training the group, `optimizer` names another optimizer for it."""

ProblemKind = Literal["blank", "syntax", "too-slow"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A named optimizer group: what falls in it, and its options.

    A parameter matches when any positive term does and no `!` term does. A rule whose terms are all `!` matches
    everything that none of them does. A rule without terms matches nothing, unless it is the last of its grouping,
    which takes the rest.

    Its texts enter here, from a file, the command line, a field or a caller, and are made visible, as the names are
    that the terms are matched with. So a regular expression with comments (`(?x)`) has one line.
    """

    name: str
    """The group's name, unique in its grouping, made visible."""
    terms: tuple[str, ...] = ()
    """The terms as they were written, made visible; the catch-all has none."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The group's options in order: `weight_decay`, `lr`, …; see also `OWN_OPTIONS`."""

    def __post_init__(self) -> None:
        """Make the texts visible, and copy the containers, so that nobody else changes them."""
        options = {
            visible(key): visible(value) if isinstance(value, str) else value for key, value in self.options.items()
        }
        object.__setattr__(self, "name", visible(self.name))
        object.__setattr__(self, "terms", tuple(map(visible, self.terms)))
        object.__setattr__(self, "options", options)


class Problem(NamedTuple):
    """A term that takes no part in the assignment, and why."""

    rule: int
    """Position of the rule."""
    term: int
    """Position of the term in the rule."""
    column: int
    """Where in the term's text, counted from 0."""
    message: str
    """One line."""
    kind: ProblemKind = "syntax"
    """`blank` (dropped), `syntax` (can't be read), `too-slow` (stopped)."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """An ordered list of rules; the first match wins and the last rule takes the rest."""

    rules: tuple[Rule, ...]
    """The rules; the last is the catch-all and has no terms."""
    optimizer: str = "AdamW"
    """Name of the optimizer the options are meant for."""

    def __post_init__(self) -> None:
        """Make the optimizer's name visible, and check what everything else relies on.

        Raises:
            ValueError: There is no rule, there are too many, two have one name, or the last has terms.
        """
        object.__setattr__(self, "rules", tuple(self.rules))
        object.__setattr__(self, "optimizer", visible(self.optimizer))
        if not 1 <= len(self.rules) <= MAX_RULES:
            raise ValueError(f"a grouping has 1 to {MAX_RULES} groups, not {len(self.rules)}")
        if self.rules[-1].terms:
            raise ValueError(f"the last group takes the rest and has no terms, but {self.rules[-1].name!r} has some")
        names = [rule.name for rule in self.rules]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"two groups are named {min(twice)!r}")

    @classmethod
    def classic(cls, no_decay: Sequence[str] = CLASSIC_TERMS, weight_decay: float = 0.1) -> Grouping:
        """Return the two groups of the classic recipe: `any(nd in n for nd in no_decay)`.

        Source: `optimizer_grouped_parameters` of transformers' run_glue.py (v2 to v4).
        """
        return cls(
            (
                Rule("no_decay", tuple(no_decay), {"weight_decay": 0.0}),
                Rule("decay", (), {"weight_decay": weight_decay}),
            )
        )

    @property
    def catch_all(self) -> int:
        """Position of the last rule."""
        return len(self.rules) - 1

    def rule(self, name: str) -> int:
        """Return the position of the rule with that name.

        Raises:
            KeyError: No rule has that name.
        """
        for position, rule in enumerate(self.rules):
            if rule.name == name:
                return position
        raise KeyError(name)

    def fresh_name(self, base: str = "group") -> str:
        """Return `base`, or `base_2`, `base_3`, … when it is taken."""
        names = {rule.name for rule in self.rules}
        number, name = 1, base
        while name in names:
            number += 1
            name = f"{base}_{number}"
        return name

    def with_terms(self, i: int, terms: Sequence[str]) -> Grouping:
        """Return the grouping with rule `i`'s terms replaced; the catch-all takes none (ValueError)."""
        return self._with_rule(i, replace(self.rules[i], terms=tuple(terms)))

    def with_options(self, i: int, options: Mapping[str, Any]) -> Grouping:
        """Return the grouping with rule `i`'s options replaced."""
        return self._with_rule(i, replace(self.rules[i], options=options))

    def rename(self, i: int, name: str) -> Grouping:
        """Return the grouping with rule `i` renamed; a name that is taken raises ValueError."""
        return self._with_rule(i, replace(self.rules[i], name=name))

    def add_rule(self, rule: Rule | None = None, at: int | None = None) -> Grouping:
        """Return the grouping with one more rule.

        Args:
            rule: The new rule; an empty one with a fresh name if left out.
            at: Where it goes; before the catch-all if left out, and never after it.
        """
        new = rule or Rule(self.fresh_name())
        at = self.catch_all if at is None else max(0, min(at, self.catch_all))
        return replace(self, rules=(*self.rules[:at], new, *self.rules[at:]))

    def remove(self, i: int) -> Grouping:
        """Return the grouping without rule `i`; its members fall to the rules below. The catch-all stays.

        Raises:
            ValueError: `i` is the catch-all.
        """
        if i % len(self.rules) == self.catch_all:
            raise ValueError("the last group takes the rest and can't be removed")
        return replace(self, rules=(*self.rules[:i], *self.rules[i + 1 :]))

    def move(self, i: int, to: int) -> Grouping:
        """Return the grouping with rule `i` at position `to`, kept above the catch-all.

        Raises:
            ValueError: `i` is the catch-all.
        """
        if i == self.catch_all:
            raise ValueError("the last group takes the rest and can't be moved")
        rules = list(self.rules)
        moving = rules.pop(i)
        rules.insert(max(0, min(to, len(rules) - 1)), moving)
        return replace(self, rules=tuple(rules))

    def problems(self) -> tuple[Problem, ...]:
        """Return what is wrong with the terms, as far as their text alone shows."""
        return tuple(problem for i in range(len(self.rules)) for problem in parse_rule(self, i)[1])

    def _with_rule(self, i: int, rule: Rule) -> Grouping:
        rules = list(self.rules)
        rules[i] = rule
        return replace(self, rules=tuple(rules))


def parse_rule(grouping: Grouping, i: int) -> tuple[list[tuple[int, Term]], list[Problem]]:
    """Read the terms of rule `i`.

    Returns:
        The terms that can be read, each with its position, and a problem for each that can't.
    """
    good: list[tuple[int, Term]] = []
    bad: list[Problem] = []
    for position, text in enumerate(grouping.rules[i].terms):
        try:
            good.append((position, parse(text)))
        except PatternError as error:
            bad.append(problem_of(i, position, text, error))
    return good, bad


def problem_of(rule: int, term: int, text: str, error: PatternError) -> Problem:
    """Return the problem that `error` is for one term."""
    kind: ProblemKind = "too-slow" if isinstance(error, TooSlow) else "syntax" if text.strip() else "blank"
    return Problem(rule, term, error.column, error.message, kind)
