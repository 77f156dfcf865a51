"""What is printed of a model: its table, its groups, and which rows were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Literal, TypeVar

from explorer.core.errors import ParamxError
from explorer.core.groups import Assignment
from explorer.core.param import Finding, Model, Param
from explorer.core.parts import Part, parts_at
from explorer.core.statistics import TensorStats
from explorer.core.tree import Tree

T = TypeVar("T")

BATCH = 1000
"""Rows that are joined into one piece of output."""

Order = Literal["model", "size", "name"]
"""How rows stand: as the model lists them, the most elements first, or by name, as texts compare."""


@dataclass(frozen=True, eq=False)  # without slots: `parts` is worked out once and kept
class Listing:
    """What is printed: a model, its groups, and which rows were asked for."""

    model: Model
    """The table."""
    assignment: Assignment
    """The rules, which one each parameter fell under, and the sums of each over the whole model."""
    findings: tuple[Finding, ...] = ()
    """What the source noticed and what the lints of the grouping say."""
    filter: str = ""
    """Only parameters whose name contains it, as `'layer.3' in n` does, upper and lower case apart; empty: all."""
    statistics: Mapping[int, TensorStats] = field(default_factory=dict)
    """Statistics of the parameters that were measured, by index; see `explorer.core.stats_text`."""
    figure: str = ""
    """What rows of statistics are sorted by, one of `explorer.core.sweep.ORDERS`; empty: as `order` says."""
    order: Order = "model"
    """How rows stand."""
    top: int | None = None
    """Only so many rows, the first in that order; `None`: all."""
    depth: int | None = None
    """Rows are modules so many levels below the root, and tensors that stand above; `None`: rows are tensors."""

    def rows(self) -> list[int]:
        """Return the indices of the parameters that are asked for, in order."""
        names, numels = self.model.names, self.model.numels
        rows = (index for index, name in enumerate(names) if self.filter in name)
        return self._first(rows, names.__getitem__, numels.__getitem__)

    @cached_property
    def parts(self) -> list[Part]:
        """The modules of `depth` that are asked for, in order, each with the tensors that the filter leaves."""
        assert self.depth is not None, "rows are tensors"
        names, numels = self.model.names, self.model.numels
        found = parts_at(Tree.build(self.model), self.depth, bytes(self.filter in name for name in names))
        return self._first(found, lambda part: part.name, lambda part: sum(map(numels.__getitem__, part.rows)))

    def _first(self, rows: Iterable[T], name: Callable[[T], str], size: Callable[[T], int]) -> list[T]:
        if self.order == "name":
            rows = sorted(rows, key=name)
        elif self.order == "size":
            rows = sorted(rows, key=size, reverse=True)
        return list(islice(rows, self.top))

    def shown(self) -> list[int]:
        """Return the indices of the tensors that the rows stand for, in the order of the rows."""
        return self.rows() if self.depth is None else [row for part in self.parts for row in part.rows]

    @property
    def limits(self) -> list[str]:
        """In words what leaves rows out; empty where nothing does."""
        limits = [f"names with '{self.filter}'"] if self.filter else []
        if self.top is not None:
            limits.append(f"the first {self.top:,}" + (f" by {self.order}" if self.order != "model" else ""))
        return limits

    def group(self, index: int) -> str | None:
        """Return the name of a parameter's group; `None` for a tensor that is no parameter."""
        return self.assignment.group(index)

    def groups(self, part: Part) -> list[str]:
        """Return the groups of a part's tensors, in the order of the groups, then what is in none, as `(buffer)`."""
        found = {self.group(row) or f"({self.model.apart[row]})" for row in part.rows}
        names = [rule.name for rule in self.assignment.grouping.rules if rule.name in found]
        return [*names, *sorted(found.difference(names))]


def nothing_contains(text: str) -> ParamxError:
    """Return the error that says that a filter leaves nothing: no rows could be a model without parameters."""
    return ParamxError(f"--filter {text}", "no name contains it", "it is a plain text, and case counts")


def notes_of(param: Param) -> str:
    """Return what is odd about a parameter, and what it is where it is none."""
    return ", ".join(filter(None, (param.apart, param.notes)))


def shape_word(shape: tuple[int, ...] | None) -> str:
    """Write a shape as one word that `cut`, `awk` and every encoding take: `52000x768`; unknown is empty."""
    if shape is None:
        return ""
    return "x".join(map(str, shape)) if shape else "scalar"


def batched(lines: Iterator[str]) -> Iterator[str]:
    """Join lines into larger pieces: each piece may be a system call, where Python's output is not buffered."""
    while piece := "".join(islice(lines, BATCH)):
        yield piece
