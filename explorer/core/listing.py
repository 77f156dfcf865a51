"""A model as text for pipes and scripts: `--print table`, `loop`, `json` and `csv`."""

from __future__ import annotations

import csv
import io
import json
import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from explorer.core.errors import ParamxError
from explorer.core.groups import Assignment
from explorer.core.param import Finding, Model, Origin, Param
from explorer.core.roles import Roles
from explorer.core.statistics import TensorStats
from explorer.core.sweep import stats_text
from explorer.core.text import plural, share_text, short_bytes
from explorer.core.totals import loop_check, other_counts, tensors_text, totals

JSON_FORMAT = 1
"""Version of the JSON contract; a key is added under the same number, changed or removed under the next."""

UNKNOWN = "–"
"""What a table shows for a fact that is not known."""

WIDEST_COLUMN = 120
"""Columns are padded to at most this width; a longer name is whole, and pushes its own row only.

Without a bound, one name of 5,000 characters would pad each of 150,000 rows to it: 750 MB of spaces.
"""

WIDEST_FIGURE = 24
"""Characters up to which a text that begins with a digit is a figure, and aligned right."""

NAMED = 3
"""Parameters that a finding below the table names."""

NOTES = 12
"""Different notes that are told below the table; most are borne by many tensors."""

BATCH = 1000
"""Rows that are joined into one piece of output."""


@dataclass(frozen=True, slots=True, eq=False)
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
    """Statistics of the parameters that were measured, by index; only `stats` prints them."""

    def rows(self) -> list[int]:
        """Return the indices of the parameters that the filter leaves, in order."""
        names = self.model.names
        return [index for index, name in enumerate(names) if self.filter in name]

    def group(self, index: int) -> str | None:
        """Return the name of a parameter's group; `None` for a tensor that is no parameter."""
        return self.assignment.group(index)


def nothing_contains(text: str) -> ParamxError:
    """Return the error that says that a filter leaves nothing: an empty output could be a model without parameters."""
    return ParamxError(f"--filter {text}", "no name contains it", "it is a plain text, and case counts")


Format = Callable[[Listing], Iterator[str]]
"""Yields a listing's text in pieces, so that 150,000 rows are never held at once."""


def _batched(lines: Iterator[str]) -> Iterator[str]:
    """Join lines into larger pieces: each piece may be a system call, where Python's output is not buffered."""
    while piece := "".join(islice(lines, BATCH)):
        yield piece


# --- table --------------------------------------------------------------------------------------------------------

COLUMNS = ("index", "name", "shape", "numel", "running", "dtype", "device", "requires_grad", "group")
"""Columns of `table`, in order; `csv` has them too."""

RIGHT_ALIGNED = frozenset({"index", "numel", "running"})
"""Columns of numbers."""


def table(listing: Listing) -> Iterator[str]:
    """Aligned columns, then what they sum to, what was opened, how others count it, and what is suspicious."""
    rows = listing.rows()
    running = listing.model.running()
    # Two passes, because widths are known only at the end; holding the cells would cost 100 MB for 150,000 rows.
    widths = [len(column) for column in COLUMNS]
    for index in rows:
        for column, cell in enumerate(_cells(listing, running, index)):
            widths[column] = max(widths[column], _width(cell))
    widths = [min(width, WIDEST_COLUMN) for width in widths]
    yield _line(COLUMNS, widths)
    yield from _batched(_line(_cells(listing, running, index), widths) for index in rows)
    yield "\n"
    yield from (line + "\n" for line in summary(listing))


def _cells(listing: Listing, running: Sequence[int], index: int) -> tuple[str, ...]:
    model = listing.model
    grad = model.requires_grad[index]
    return (
        str(index),
        model.names[index] or UNKNOWN,
        _shape(model.shapes[index]) or UNKNOWN,
        str(model.numels[index]),
        str(running[index]),
        model.dtypes[index] or UNKNOWN,
        model.devices[index] or UNKNOWN,
        UNKNOWN if grad is None else str(grad),
        listing.group(index) or f"({model.apart[index]})",
    )


def _shape(shape: tuple[int, ...] | None) -> str:
    """Write a shape as one word that `cut`, `awk` and every encoding take: `52000x768`; unknown is empty."""
    if shape is None:
        return ""
    return "x".join(map(str, shape)) if shape else "scalar"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = []
    for column, cell, width in zip(COLUMNS, cells, widths, strict=True):
        space = " " * (width - _width(cell))
        padded.append(space + cell if column in RIGHT_ALIGNED else cell + space)
    return "  ".join(padded).rstrip() + "\n"


def _width(text: str) -> int:
    """Return how many terminal columns `text` takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(char) in ("Mn", "Me") else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def summary(listing: Listing) -> Iterator[str]:
    """Yield the lines below the table: sums, origin, the check, other counts, groups, findings."""
    model = listing.model
    whole = totals(model)
    if listing.filter:
        shown = totals(model, listing.rows())
        yield (
            f"{shown.tensors:,} of {tensors_text(model)} · "
            f"{shown.parameters:,} of {plural(whole.parameters, 'parameter')} · "
            f"{short_bytes(shown.nbytes)} of {short_bytes(whole.nbytes)} · "
            f"names with '{listing.filter}'; running counts every tensor"
        )
    else:
        trainable = UNKNOWN if whole.trainable is None else f"{whole.trainable:,}"
        yield (
            f"{tensors_text(model)} · {plural(whole.parameters, 'parameter')} · "
            f"{short_bytes(whole.nbytes)} · {trainable} trainable"
        )
    origin = model.origin
    yield " · ".join(part for part in (origin.target, origin.class_name, origin.description) if part)
    yield loop_check(model)[1]
    yield from _section(
        "Other counts",
        [
            (
                other.name,
                f"{other.elements:,}",
                "" if other.tensors is None else plural(other.tensors, "tensor"),
                other.reason,
            )
            for other in other_counts(model)
        ],
    )
    yield from _section("Notes", list(_notes(listing)))
    assignment = listing.assignment
    yield from _section(
        "Groups",
        [
            (
                rule.name,
                f"{assignment.parameters[code]:,}",
                plural(assignment.tensors[code], "tensor"),
                share_text(assignment.parameters[code], whole.parameters),
                " ".join(f"{key}={value}" for key, value in rule.options.items()),
            )
            for code, rule in enumerate(listing.assignment.grouping.rules)
        ],
    )
    yield from _section(
        "Findings",
        [(finding.severity, finding.id, finding.message, _some(finding.names)) for finding in listing.findings],
    )


def _notes(listing: Listing) -> Iterator[tuple[str, ...]]:
    """Yield what is odd about the shown tensors, each note once with how many bear it and the first of them."""
    notes, names = listing.model.notes, listing.model.names
    bearers: dict[str, list[str]] = {}
    for index in listing.rows() if notes else ():
        if index in notes:
            bearers.setdefault(notes[index], []).append(names[index])
    for note, held in islice(bearers.items(), NOTES):
        yield plural(len(held), "tensor"), note, _some(held)
    if len(bearers) > NOTES:
        left = sum(map(len, islice(bearers.values(), NOTES, None)))
        yield plural(left, "tensor"), f"{plural(len(bearers) - NOTES, 'other note')}: --print json has them all", ""


def _some(names: Sequence[str]) -> str:
    """Name the first few; the rest is in the JSON."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _section(title: str, rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield a titled block of aligned rows; nothing when there are none. Figures are aligned right."""
    if not rows:
        return
    yield ""
    yield title
    columns = list(zip(*rows, strict=True))
    widths = [max(map(_width, column)) for column in columns]
    figures = [
        all(len(cell) <= WIDEST_FIGURE and cell[:1] in "0123456789<>–" for cell in column) for column in columns
    ]
    for row in rows:
        cells = [
            " " * (width - _width(cell)) + cell if figure else cell + " " * (width - _width(cell))
            for cell, width, figure in zip(row, widths, figures, strict=True)
        ]
        yield ("  " + "  ".join(cells)).rstrip()


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
    yield from _batched(
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
    rows = (encode(_parameter(model[index], running[index], listing.group(index), roles)) for index in listing.rows())
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
        "config": _strict(origin.config),
        "versions": dict(origin.versions),
    }


def groups_of(listing: Listing) -> list[dict[str, Any]]:
    """Return the groups over the whole model, as the contract has them."""
    return [
        {
            "name": rule.name,
            "terms": list(rule.terms),
            "options": _strict(rule.options),
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


def notes_of(param: Param) -> str:
    """Return what is odd about a parameter, and what it is where it is none."""
    return ", ".join(filter(None, (param.apart, param.notes)))


def _strict(value: Any) -> Any:
    """Return a value with floats that JSON lacks as text: `time_step_limit: [0.0, Infinity]` is in real configs.

    `null` would say that the value is unknown; `float("Infinity")` reads the text back.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return value


# --- csv ----------------------------------------------------------------------------------------------------------


def csv_text(listing: Listing) -> Iterator[str]:
    """Yield comma-separated values with a header line; unknown is empty, aliases are separated by spaces.

    Cells that begin with `=`, `+`, `-` or `@` are written as they are: the rows are for programs, and a quote put
    before a name would make it another name. Import the columns as text if a spreadsheet is to open them.
    """
    model = listing.model
    running = model.running()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*COLUMNS, "module_class", "aliases", "shard", "notes"))
    rows = iter(listing.rows())
    while batch := list(islice(rows, BATCH)):
        for index in batch:
            param = model[index]
            writer.writerow(
                (
                    index,
                    param.name,
                    _shape(param.shape),
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
            )
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


FORMATS: Mapping[str, Format] = {
    "table": table,
    "loop": loop,
    "json": json_text,
    "csv": csv_text,
    "stats": stats_text,
}
"""What `--print` takes: each format's name and its writer. A new format is one entry."""
