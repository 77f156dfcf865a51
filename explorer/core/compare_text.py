"""A comparison as text for pipes and scripts: `--print table`, `json` and `csv` of two targets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from explorer.core.compare import KINDS, Comparison, Pair, Values
from explorer.core.param import Model
from explorer.core.text import plural

JSON_FORMAT = 1
"""Version of the JSON contract, counted apart from that of a single model."""

WIDEST_COLUMN = 100
"""Columns are padded to at most this width."""


def table(comparison: Comparison) -> Iterator[str]:
    """Yield a line a difference, then what they sum to."""
    rows = [
        (", ".join(KINDS[kind] for kind in pair.kinds), pair.name, *sides(comparison, pair))
        for pair in comparison.differences
    ]
    rows = [("difference", "name", "A", "B"), *rows] if rows else []
    widths = [min(WIDEST_COLUMN, max(map(len, column))) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
    if rows:
        yield "\n"
    yield from (line + "\n" for line in summary(comparison))


def sides(comparison: Comparison, pair: Pair) -> tuple[str, str]:
    """Say of both sides what differs."""
    a = _side(comparison.a, pair.a, comparison.groups_a, pair)
    b = _side(comparison.b, pair.b, comparison.groups_b, pair)
    if pair.values is not None and not pair.values.equal:
        b = f"{b} {difference_text(pair.values)}".strip()
    return a or "–", b or "–"


def _side(model: Model, row: int | None, groups: Any, pair: Pair) -> str:
    if row is None:
        return ""
    shape, kinds = model.shapes[row], pair.kinds
    told = []
    alone = "only_a" in kinds or "only_b" in kinds
    if alone or "shape" in kinds:
        told.append("?" if shape is None else "x".join(map(str, shape)) or "scalar")
    if alone or "dtype" in kinds:
        told.append(model.dtypes[row] or "?")
    if "group" in kinds:
        told.append(groups[row])
    if "tied" in kinds and not model.names[row].endswith(pair.name):
        told.append(f"= {model.names[row]}")
    return " ".join(told)


def difference_text(values: Values) -> str:
    """Say how values differ."""
    if values.equal:
        return "the same values"
    largest = "" if values.largest is None else f", by at most {values.largest:.3g}"
    return f"{plural(values.differing, 'element')} differ{'s' * (values.differing == 1)}{largest}"


def summary(comparison: Comparison) -> Iterator[str]:
    """Yield the lines that say what was compared, how, and the sums."""
    for letter, model in (("A", comparison.a), ("B", comparison.b)):
        origin = model.origin
        parts = (origin.target, origin.class_name, origin.description, plural(len(model), "tensor"))
        yield f"{letter}  {' · '.join(filter(None, parts))} · {plural(model.total, 'parameter')}"
    if told := aligned(comparison):
        yield told
    counts = [f"{count:,} {KINDS[kind]}" for kind, count in comparison.counts.items() if count]
    told = "values compared" if comparison.compared else "values not compared"
    told += ", where they could be" if comparison.uncompared else ""
    yield " · ".join([f"{plural(comparison.same, 'tensor')} alike ({told})", *counts])
    if comparison.uncompared:
        name, why = next(iter(comparison.uncompared.items()))
        yield f"values of {plural(len(comparison.uncompared), 'tensor')} not compared: {name}: {why}"


def aligned(comparison: Comparison) -> str:
    """Say what was left out of names to match them; nothing if nothing was."""
    sides = (("A", comparison.prefix_a), ("B", comparison.prefix_b))
    told = [f"{prefix} of {letter}" for letter, prefix in sides if prefix]
    return f"names are matched without {' and '.join(told)}" if told else ""


def json_text(comparison: Comparison) -> Iterator[str]:
    """Yield the contract for scripts, one difference a line."""
    encode = json.JSONEncoder(allow_nan=False).encode
    head: dict[str, Any] = {
        "a": _model(comparison.a, comparison.prefix_a),
        "b": _model(comparison.b, comparison.prefix_b),
        "equal": comparison.equal,
        "values_compared": comparison.compared,
        "same": comparison.same,
        "counts": comparison.counts,
        "uncompared": dict(comparison.uncompared),
    }
    yield f'{{"format": {JSON_FORMAT},\n "compare": {encode(head)[:-1]},\n  "differences": ['
    between = "\n   "
    for pair in comparison.differences:
        yield between + encode(_pair(comparison, pair))
        between = ",\n   "
    yield "]}}\n"


def _model(model: Model, prefix: str) -> dict[str, Any]:
    origin = model.origin
    return {
        "target": origin.target,
        "kind": origin.kind,
        "class": origin.class_name,
        "origin": origin.description,
        "tensors": len(model),
        "parameters": model.total,
        "prefix": prefix,
    }


def _pair(comparison: Comparison, pair: Pair) -> dict[str, Any]:
    values = pair.values
    return {
        "name": pair.name,
        "kinds": list(pair.kinds),
        "a": _facts(comparison.a, pair.a, comparison.groups_a),
        "b": _facts(comparison.b, pair.b, comparison.groups_b),
        "values": None if values is None else {"differing": values.differing, "largest": values.largest},
    }


def _facts(model: Model, row: int | None, groups: Any) -> dict[str, Any] | None:
    if row is None:
        return None
    return {
        "index": row,
        "name": model.names[row],
        "shape": model.shapes[row],
        "numel": model.numels[row],
        "dtype": model.dtypes[row],
        "group": groups[row],
        "shard": model.shards[row],
    }


CSV_COLUMNS = (
    "kinds",
    "name",
    *(f"{fact}_{side}" for fact in ("name", "shape", "numel", "dtype", "group") for side in "ab"),
)
"""Columns of `csv`, before those of values."""


def csv_text(comparison: Comparison) -> Iterator[str]:
    """Yield comma-separated values with a header line; what a side does not have is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*CSV_COLUMNS, "differing", "largest"))
    for pair in comparison.differences:
        facts = _facts(comparison.a, pair.a, comparison.groups_a), _facts(comparison.b, pair.b, comparison.groups_b)
        cells = [
            "" if side is None else _cell(side[fact])
            for fact in ("name", "shape", "numel", "dtype", "group")
            for side in facts
        ]
        values = ("", "") if pair.values is None else (pair.values.differing, _cell(pair.values.largest))
        writer.writerow((" ".join(pair.kinds), pair.name, *cells, *values))
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return "x".join(map(str, value)) or "scalar" if isinstance(value, tuple) else str(value)


Format = Callable[[Comparison], Iterator[str]]

FORMATS: Mapping[str, Format] = {"table": table, "json": json_text, "csv": csv_text}
"""What `--print` takes with two targets."""
