"""A model as text for pipes and scripts: `--print table`, `loop`, `json` and `csv`."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, Literal, TypeVar

from explorer.core.errors import ParamxError
from explorer.core.groups import Assignment
from explorer.core.listing_table import BATCH, COLUMNS, batched, shape_word, table
from explorer.core.param import Finding, Model, Origin, Param
from explorer.core.parts import PART_COLUMNS, Part, parts_at
from explorer.core.roles import Roles
from explorer.core.statistics import TensorStats
from explorer.core.totals import totals
from explorer.core.tree import Tree

T = TypeVar("T")

Order = Literal["model", "size", "name"]
"""How rows stand: as the model lists them, the most elements first, or by name, as texts compare."""

MORE_COLUMNS = ("module_class", "aliases", "shard", "notes")
"""What `csv` has beside the columns of the table."""

JSON_FORMAT = 1
"""Version of the JSON contract; a key is added under the same number, changed or removed under the next."""


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


Format = Callable[[Listing], Iterator[str]]
"""Yields a listing's text in pieces, so that 150,000 rows are never held at once."""


# --- loop ---------------------------------------------------------------------------------------------------------


def loop(listing: Listing) -> Iterator[str]:
    """Yield what the counting loop prints: index, each dimension, numel; then the sum of the lines, alone.

    What is no parameter has no line, and no index. The loop that people write:
    `for i, (n, p) in enumerate(model.named_parameters()): print(i, *p.shape, p.numel())`.
    """
    model = listing.model
    rows = [index for index in listing.rows() if index not in model.apart]
    places: Mapping[int, int] | range = range(len(model))
    if model.apart:
        places = {row: place for place, row in enumerate(row for row in range(len(model)) if row not in model.apart)}
    yield from batched(
        f"{' '.join(map(str, (places[index], *(model.shapes[index] or ()), model.numels[index])))}\n"
        for index in rows
    )
    yield f"{sum(model.numels[index] for index in rows)}\n"


# --- json ---------------------------------------------------------------------------------------------------------

ENCODER = json.JSONEncoder(allow_nan=False)
"""Strict JSON in ASCII, whatever the terminal's encoding."""


def json_text(listing: Listing) -> Iterator[str]:
    """Yield the contract for scripts, one parameter a line."""
    model = listing.model
    encode = ENCODER.encode
    yield f'{{"format": {JSON_FORMAT},\n "model": {encode(head_of(model.origin))},\n "parameters": ['
    running = model.running()
    roles = Roles(model)
    rows = (
        encode(_parameter(model[index], running[index], listing.group(index), roles)) for index in listing.shown()
    )
    between = "\n  "
    while batch := list(islice(rows, BATCH)):
        yield between + ",\n  ".join(batch)
        between = ",\n  "
    whole = totals(model)
    counters = model.counters
    state = model.state if counters is None else (counters.state_dict_tensors, counters.state_dict_elements)
    sums = {
        "tensors": whole.tensors,
        "parameters": whole.parameters,
        "nbytes": whole.nbytes,
        "trainable": whole.trainable,
        "state_dict_tensors": state[0] if state else None,
        "state_dict_elements": state[1] if state else None,
        "without_embeddings": counters.without_embeddings if counters else None,
    }
    if listing.depth is not None:
        modules = ",\n  ".join(encode(_module(listing, part)) for part in listing.parts)
        yield f'],\n "modules": [\n  {modules}'
    yield f'],\n "totals": {encode(sums)},\n "groups": {encode(groups_of(listing))},'
    yield f'\n "findings": {encode(findings_of(listing.findings))}}}\n'


def head_of(origin: Origin) -> dict[str, Any]:
    """Return what was opened, as the contract has it under `model`."""
    return {
        "target": origin.target,
        "kind": origin.kind,
        "class": origin.class_name,
        "model_type": origin.model_type,
        "origin": origin.description,
        "config": strict(origin.config),
        "versions": dict(origin.versions),
        "remembered": origin.remembered,
    }


def groups_of(listing: Listing) -> list[dict[str, Any]]:
    """Return the groups over the whole model, as the contract has them."""
    return [
        {
            "name": rule.name,
            "terms": list(rule.terms),
            "options": strict(rule.options),
            "tensors": listing.assignment.tensors[code],
            "parameters": listing.assignment.parameters[code],
        }
        for code, rule in enumerate(listing.assignment.grouping.rules)
    ]


def findings_of(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return findings, as the contract has them."""
    return [
        {"id": finding.id, "severity": finding.severity, "message": finding.message, "names": list(finding.names)}
        for finding in findings
    ]


def _parameter(param: Param, running: int, group: str | None, roles: Roles) -> dict[str, Any]:
    return {
        "index": param.index,
        "name": param.name,
        "shape": param.shape,
        "numel": param.numel,
        "dtype": param.dtype,
        "nbytes": param.nbytes,
        "device": param.device,
        "requires_grad": param.requires_grad,
        "module_class": param.module_class.name if param.module_class else None,
        "aliases": param.aliases,
        "running": running,
        "group": group,
        "shard": param.shard,
        "notes": notes_of(param) or None,
        "role": roles.line(param.index),
        "formula": roles.formula(param.index),
    }


def _module(listing: Listing, part: Part) -> dict[str, Any]:
    model, sums = listing.model, part.totals(listing.model)
    return {
        "name": part.name,
        "tensors": sums.tensors,
        "parameters": sums.parameters,
        "nbytes": sums.nbytes,
        "dtypes": part.values(model.dtypes),
        "requires_grad": part.values(model.requires_grad),
        "groups": listing.groups(part),
    }


def notes_of(param: Param) -> str:
    """Return what is odd about a parameter, and what it is where it is none."""
    return ", ".join(filter(None, (param.apart, param.notes)))


def strict(value: Any) -> Any:
    """Return a value with floats that JSON lacks as text: `time_step_limit: [0.0, Infinity]` is in real configs.

    `null` would say that the value is unknown; `float("Infinity")` reads the text back.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return value


# --- csv ----------------------------------------------------------------------------------------------------------


def csv_text(listing: Listing) -> Iterator[str]:
    """Yield comma-separated values with a header line; unknown is empty, aliases are separated by spaces.

    Cells that begin with `=`, `+`, `-` or `@` are written as they are: the rows are for programs, and a quote put
    before a name would make it another name. Import the columns as text if a spreadsheet is to open them.
    """
    if listing.depth is None:
        rows, running = listing.rows(), listing.model.running()
        yield from _csv((*COLUMNS, *MORE_COLUMNS), (_fields(listing, running, index) for index in rows))
    else:
        yield from _csv(PART_COLUMNS, (_part_fields(listing, part) for part in listing.parts))


def _csv(columns: Sequence[str], rows: Iterator[Sequence[object]]) -> Iterator[str]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    while batch := list(islice(rows, BATCH)):
        writer.writerows(batch)
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


def _fields(listing: Listing, running: Sequence[int], index: int) -> tuple[object, ...]:
    param = listing.model[index]
    return (
        index,
        param.name,
        shape_word(param.shape),
        param.numel,
        running[index],
        param.dtype,
        param.device,
        param.requires_grad,
        listing.group(index),
        param.module_class.name if param.module_class else None,
        " ".join(param.aliases),
        param.shard,
        notes_of(param) or None,
    )


def _part_fields(listing: Listing, part: Part) -> tuple[object, ...]:
    model = listing.model
    sums = part.totals(model)
    return (
        part.name,
        sums.tensors,
        sums.parameters,
        sums.nbytes,
        sums.parameters / model.total if model.total else None,
        "+".join(filter(None, part.values(model.dtypes))),
        "+".join(str(value) for value in part.values(model.requires_grad) if value is not None),
        "+".join(listing.groups(part)),
    )


FORMATS: Mapping[str, Format] = {
    "table": table,
    "loop": loop,
    "json": json_text,
    "csv": csv_text,
}
"""What `--print` takes: each format's name and its writer. A new format is one entry."""

PARTS_FORMATS = ("table", "json", "csv")
"""Those that heed `order`, `top` and `depth`: the loop has the model's order, and a row a tensor, by contract."""
