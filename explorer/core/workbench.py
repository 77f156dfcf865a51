"""The state of editing groups on one model: what is typed, what it gives, what moved since it was last kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress, count
from typing import TYPE_CHECKING, NamedTuple

from explorer.core.draft import Draft
from explorer.core.groups import NO_GROUP, Assignment, Grouper, Grouping, Problem
from explorer.core.lint_names import of_default_groups
from explorer.core.lints import lint, with_sources
from explorer.core.named import Named
from explorer.core.options import OptionError, options_text, parse_options
from explorer.core.patterns import join_terms, split_terms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from explorer.core.draft import Fields
    from explorer.core.param import Finding, Model


class GroupStats(NamedTuple):
    """What fell into one group."""

    tensors: int
    """Parameters in the group."""
    parameters: int
    """Their elements."""
    came: int
    """Tensors that were elsewhere when the groups were last kept."""
    left: int
    """Tensors that were here when the groups were last kept and are elsewhere now."""
    first: tuple[str, ...]
    """Names of its first members."""
    frozen: int = 0
    """Tensors of it that are frozen already: they are in the counts, and the optimizer does not get them."""


@dataclass(frozen=True, slots=True)
class Move:
    """One parameter that changed its group."""

    index: int
    """The parameter."""
    source: str
    """Name of the group it was in when the groups were last kept."""
    target: str
    """Name of the group it is in now."""


_Step = tuple[Grouping, tuple[int, ...]]
"""Groups as they were typed, and the number by which each is known whatever it is called."""

FIRST_MEMBERS = 3
"""Members of a group that `Workbench.stats` names."""


class Workbench:
    """Groups being tried on a model. Pure: the panel tells it what was typed and shows what it says."""

    def __init__(self, model: Model, grouping: Grouping) -> None:
        """Start with `grouping` kept."""
        self.model = model
        self.grouper = Grouper(model)
        self.typed = grouping
        """The groups as typed, as far as they can be read."""
        self.kept = grouping
        """The groups as last kept."""
        self.problems: tuple[Problem, ...] = ()
        """What is wrong with the terms as typed."""
        self.assignment: Assignment = self.grouper.assign(grouping)
        """Which group each parameter falls into, by the last groups without a bad term."""
        self.findings: tuple[Finding, ...] = ()
        """The lints of the groups as assigned."""
        flags = model.requires_grad
        self._frozen = 0
        if False in flags.values:
            frozen = (flags[row] is False and row not in model.apart for row in range(len(model)))
            self._frozen = _members(bytes(frozen), 1)
        self._fields: dict[int, TypedFields] = {}
        self._past: list[_Step] = []
        self._future: list[_Step] = []
        self._typing: tuple[int, str] | None = None
        self._ids = self._assigned_ids = tuple(range(len(grouping.rules)))
        self._fresh = count(len(grouping.rules))
        self._take(grouping, self._ids)
        self._kept_codes, self._kept_names, self._kept_ids = self.assignment.groups, self.names, self._assigned_ids

    def learn(self, model: Model) -> None:
        """Take a table of the same parameters with more facts (classes, ties); what is typed stays."""
        self.grouper.close()
        self.model = model
        self.grouper = Grouper(model)
        self.__dict__.pop("_numbers", None)
        kept = self.grouper.assign(self.kept)
        if not any(problem.kind != "blank" for problem in kept.problems):
            self._kept_codes = kept.groups
        self.assignment = self.grouper.assign(self.assignment.grouping)
        self.findings = self._judged()
        self._take(self.typed, self._ids)

    # -- editing ----------------------------------------------------------------------------------------------

    def type_rule(self, rule: int, name: str, options: str, terms: str) -> None:
        """Take the three fields of one group as typed.

        What can't be read is told by `trouble`, and the last that could be read stays in `typed`.

        Args:
            rule: Position of the group.
            name: Its name.
            options: Its options, as `explorer.core.options` writes them.
            terms: Its terms with commas between; the catch-all's are not read.
        """
        before = self.typed.rules[rule]
        fields = TypedFields((name, options, terms))
        typed = self.typed
        if name != before.name:
            try:
                typed = typed.rename(rule, _name(name))
            except ValueError as error:
                fields.trouble.append(str(error))
        try:
            typed = typed.with_options(rule, parse_options(options))
        except OptionError as error:
            fields.trouble.append(f"options, column {error.column + 1}: {error.message}")
        if rule != typed.catch_all:
            split = split_terms(terms)
            fields.columns = [column for _, column in split]
            typed = typed.with_terms(rule, [term for term, _ in split])
        self._fields[rule] = fields
        now = typed.rules[rule]
        field = "name" if now.name != before.name else "terms" if now.terms != before.terms else "options"
        if typed != self.typed:
            # Keystrokes in one field are one step of undo.
            if self._typing != (rule, field):
                self._remember()
            self._typing = (rule, field)
            self._future.clear()
            self._take(typed, self._ids)

    def change(self, grouping: Grouping) -> None:
        """Take groups that another command made: a preset, a fix, a group added, removed or moved."""
        if grouping != self.typed:
            self._remember()
            self._future.clear()
            self._fields.clear()
            self._take(grouping, self._numbered(grouping))

    def undo(self) -> bool:
        """Go back one step; whether there was one."""
        return self._step(self._past, self._future)

    def redo(self) -> bool:
        """Take back an undo; whether there was one."""
        return self._step(self._future, self._past)

    def keep(self) -> bool:
        """Make the groups as typed the ones that `restore` comes back to, and that moves are counted from.

        Returns:
            Whether they could be kept: what can't be read, or was too slow, is no group to come back to.
        """
        if any(self.trouble(rule) for rule in range(len(self.typed.rules))):
            return False
        self.kept = self.typed
        self._kept_codes, self._kept_names, self._kept_ids = self.assignment.groups, self.names, self._assigned_ids
        self._typing = None
        return True

    def restore(self) -> bool:
        """Go back to the groups last kept.

        Returns:
            Whether `undo` brings back what was typed; what can't be read at all is in no draft.
        """
        differs = self.typed != self.kept
        self._fields.clear()
        if differs:
            self._remember()
            self._future.clear()
            self._take(self.kept, self._kept_ids)
        return differs

    def _numbered(self, grouping: Grouping) -> tuple[int, ...]:
        """Return a number for each group that another command made.

        One that is there by its name keeps its own; so does one that alone has another name, its terms as they were.
        """
        before, after = self.typed.rules, grouping.rules
        known = dict(zip((rule.name for rule in before), self._ids, strict=True))
        if len(before) == len(after):
            renamed = [(old, new) for old, new in zip(before, after, strict=True) if old.name != new.name]
            if len(renamed) == 1 and renamed[0][0].terms == renamed[0][1].terms:
                old, new = renamed[0]
                known[new.name] = known[old.name]
        return tuple(known[rule.name] if rule.name in known else next(self._fresh) for rule in after)

    def _remember(self) -> None:
        self._past.append((self.typed, self._ids))
        self._typing = None

    def _step(self, source: list[_Step], target: list[_Step]) -> bool:
        if not source:
            return False
        target.append((self.typed, self._ids))
        self._typing = None
        self._fields.clear()
        self._take(*source.pop())
        return True

    def _take(self, grouping: Grouping, ids: tuple[int, ...]) -> None:
        """Regroup; while a term can't be read or is too slow, the last good result stays."""
        self.typed, self._ids = grouping, ids
        assignment = self.grouper.assign(grouping)
        self.problems = assignment.problems
        if not self.stale:
            self.assignment, self._assigned_ids = assignment, ids
            self.findings = self._judged()

    def _judged(self) -> tuple[Finding, ...]:
        grouping = self.assignment.grouping
        return of_default_groups(self.model, grouping, lint(self.model, grouping, self.assignment))

    # -- what it gives ----------------------------------------------------------------------------------------

    def trouble(self, rule: int) -> tuple[str, ...]:
        """Return what is wrong with the fields of one group as typed, one line each, with the column."""
        fields = self._fields.get(rule, TypedFields(("", "", "")))
        lines = list(fields.trouble)
        columns = fields.columns or [at for _, at in split_terms(join_terms(self.typed.rules[rule].terms))]
        for problem in self.problems:
            # A blank term is dropped, and a finding says so: the group works.
            if problem.rule == rule and problem.kind != "blank":
                begin = columns[problem.term] if problem.term < len(columns) else 0
                lines.append(f"column {begin + problem.column + 1}: {problem.message}")
        return tuple(lines)

    @property
    def stale(self) -> bool:
        """Whether what is assigned is older than what is typed, because of a bad term."""
        return any(problem.kind != "blank" for problem in self.problems)

    @property
    def changed(self) -> bool:
        """Whether what is typed differs from what was last kept."""
        return self.typed != self.kept or any(fields.trouble for fields in self._fields.values())

    @property
    def draft(self) -> Draft:
        """What stands in the fields: all that can be read, and the texts of what can't."""
        readable, spoiled = self.typed, {rule for rule, fields in self._fields.items() if fields.trouble}
        for rule in {problem.rule for problem in self.problems if problem.kind == "syntax"}:
            bad = {problem.term for problem in self.problems if (problem.rule, problem.kind) == (rule, "syntax")}
            terms = self.typed.rules[rule].terms
            readable = readable.with_terms(rule, [term for place, term in enumerate(terms) if place not in bad])
            spoiled.add(rule)
        texts = {}
        for rule in spoiled:
            shown = self.typed.rules[rule]
            fields = self._fields.get(rule)
            own = (shown.name, options_text(shown.options), join_terms(shown.terms))
            texts[rule] = own if fields is None else fields.texts
        return Draft(readable, texts)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the groups, by code."""
        return tuple(rule.name for rule in self.assignment.grouping.rules)

    @property
    def moved(self) -> bytes:
        """For each parameter 1 if its group is another than when they were last kept; a new name is no move."""
        before, after = self._baseline(), self.assignment.groups
        if before == after:
            return bytes(len(after))
        # One operation on two large numbers, not 150,000 comparisons: this runs at each keystroke.
        changed = int.from_bytes(before, "little") ^ int.from_bytes(after, "little")
        return changed.to_bytes(len(after), "little").translate(b"\0" + b"\1" * 255)

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """The findings to show: of what was opened, then of the groups, then the hints of both."""
        return with_sources(self.model, self.findings)

    @property
    def warned(self) -> bytes:
        """For each parameter 1 if a warning names it."""
        warned = 0
        for finding in self.findings:
            if finding.severity == "hint":
                continue
            if isinstance(finding.names, Named):
                warned |= int.from_bytes(finding.names.rows, "little")
            elif finding.names:
                rows = bytearray(len(self.model))
                for index in self.indices(finding.names):
                    rows[index] = 1
                warned |= int.from_bytes(rows, "little")
        return warned.to_bytes(len(self.model), "little")

    def indices(self, names: Iterable[str]) -> list[int]:
        """Return the parameters with these names; other names are left out."""
        if isinstance(names, Named):
            return list(compress(range(len(names.rows)), names.rows))
        index = self._numbers
        return [index[name] for name in names if name in index]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """Index of every parameter, by its name."""
        return {name: index for index, name in enumerate(self.model.names)}

    def moves(self) -> list[Move]:
        """Return every parameter whose group changed since the groups were last kept, in model order."""
        before, after = self._baseline(), self.assignment.groups
        if before == after:
            return []
        old, new = self._kept_names, self.names
        return [
            Move(index, old[kept], new[came])
            for index, (left, kept, came) in enumerate(zip(before, self._kept_codes, after, strict=True))
            if left != came
        ]

    def stats(self, rule: int) -> GroupStats:
        """Return what fell into one group."""
        codes = self.assignment.groups
        before = self._baseline()
        came = left = 0
        if before != codes:
            was, now = (_members(each, rule) for each in (before, codes))
            came, left = (now & ~was).bit_count(), (was & ~now).bit_count()
        first: list[str] = []
        at = codes.find(rule)
        while at >= 0 and len(first) < FIRST_MEMBERS:
            first.append(self.model.names[at])
            at = codes.find(rule, at + 1)
        frozen = (_members(codes, rule) & self._frozen).bit_count() if self._frozen else 0
        return GroupStats(
            self.assignment.tensors[rule], self.assignment.parameters[rule], came, left, tuple(first), frozen
        )

    def _baseline(self) -> bytes:
        """Return the kept assignment in codes of the present groups; a group that was renamed is the same."""
        places = {number: code for code, number in enumerate(self._assigned_ids)}
        table = bytearray(range(256))
        for code, number in enumerate(self._kept_ids):
            table[code] = places.get(number, NO_GROUP)  # a group that no longer exists
        return self._kept_codes.translate(bytes(table))


@dataclass(slots=True)
class TypedFields:
    """What the fields of one group say that a `Grouping` can't hold."""

    texts: Fields
    """Name, options and terms as they stand there."""
    trouble: list[str] = field(default_factory=list)
    """What could not be read."""
    columns: list[int] = field(default_factory=list)
    """Where each term begins in its line, counted from 0."""


def _members(codes: bytes, rule: int) -> int:
    """Return one large number with a byte for each parameter: 1 where it is in the group."""
    return int.from_bytes(codes.translate(bytes(code == rule for code in range(256))), "little")


def _name(text: str) -> str:
    name = text.strip()
    if not name:
        raise ValueError("a group needs a name")
    return name
