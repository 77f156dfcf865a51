"""The state of trying out groups on one model: what is typed, what it gives, what moved since it was last kept."""

from __future__ import annotations

from dataclasses import dataclass
from operator import ne
from typing import TYPE_CHECKING

from explorer.core.groups import Assignment, Grouper, Grouping, Problem
from explorer.core.lints import lint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from explorer.core.param import Finding, Model


@dataclass(frozen=True, slots=True)
class GroupStats:
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


class Workbench:
    """Groups being tried on a model. Pure: the panel tells it what was typed and shows what it says."""

    FIRST_MEMBERS = 3
    """Members that `stats` names."""

    def __init__(self, model: Model, grouping: Grouping) -> None:
        """Start with `grouping` kept."""
        self.model = model
        self.grouper = Grouper(model)
        self.draft = grouping
        """The groups as typed."""
        self.kept = grouping
        """The groups as last kept."""
        self.problems: tuple[Problem, ...] = ()
        """What is wrong with the terms as typed."""
        self.assigned = grouping
        """The last groups without a bad term; `assignment` is theirs."""
        self.assignment: Assignment = self.grouper.assign(grouping)
        """Which group each parameter falls into."""
        self.findings: tuple[Finding, ...] = ()
        """The lints of the groups as assigned."""
        self._index: dict[str, int] | None = None
        self._judge()
        self._kept_codes = self.assignment.codes
        self._kept_names = self.names

    def edit(self, draft: Grouping) -> None:
        """Take groups as typed; while a term can't be read or is too slow, the last good result stays."""
        self.draft = draft
        assignment = self.grouper.assign(draft)
        self.problems = assignment.problems
        if not self.stale:
            self.assigned, self.assignment = draft, assignment
        self._judge()

    def keep(self) -> None:
        """Make the groups as typed the ones that `restore` comes back to, and that moves are counted from."""
        self.kept = self.draft
        self._kept_codes, self._kept_names = self.assignment.codes, self.names

    def restore(self) -> None:
        """Go back to the groups last kept."""
        self.edit(self.kept)

    @property
    def stale(self) -> bool:
        """Whether what is assigned is older than what is typed, because of a bad term."""
        return any(problem.kind != "blank" for problem in self.problems)

    @property
    def changed(self) -> bool:
        """Whether what is typed differs from what was last kept."""
        return self.draft != self.kept

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the groups, by code."""
        return tuple(rule.name for rule in self.assigned.rules)

    @property
    def moved(self) -> bytes:
        """For each parameter 1 if its group, by name, is another than when the groups were last kept."""
        before, after = self._baseline(), self.assignment.codes
        return bytes(len(after)) if before == after else bytes(map(ne, before, after))

    @property
    def warned(self) -> bytes:
        """For each parameter 1 if a warning names it."""
        mask = bytearray(len(self.model))
        for finding in self.findings:
            if finding.severity != "hint":
                for index in self.indices(finding.names):
                    mask[index] = 1
        return bytes(mask)

    def indices(self, names: Iterable[str]) -> list[int]:
        """Return the parameters with these names; what is no parameter's name is left out."""
        if self._index is None:
            self._index = {name: index for index, name in enumerate(self.model.names)}
        index = self._index
        return [index[name] for name in names if name in index]

    def stats(self, rule: int) -> GroupStats:
        """Return what fell into one group."""
        codes = self.assignment.codes
        before = self._baseline()
        came = left = 0
        if before != codes:
            moves = zip(before, codes, strict=True)
            changes = [(old, new) for old, new in moves if old != new]
            came = sum(new == rule for _, new in changes)
            left = sum(old == rule for old, _ in changes)
        first: list[str] = []
        at = codes.find(rule)
        while at >= 0 and len(first) < self.FIRST_MEMBERS:
            first.append(self.model.names[at])
            at = codes.find(rule, at + 1)
        return GroupStats(self.assignment.tensors[rule], self.assignment.parameters[rule], came, left, tuple(first))

    def _baseline(self) -> bytes:
        """Return the kept assignment in today's codes: groups are the same when their names are."""
        places = {name: code for code, name in enumerate(self.names)}
        table = bytearray(range(256))
        for code, name in enumerate(self._kept_names):
            table[code] = places.get(name, 255)
        return self._kept_codes.translate(bytes(table))

    def _judge(self) -> None:
        self.findings = lint(self.model, self.assigned, self.assignment)
