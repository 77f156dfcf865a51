"""A comparison as text for pipes and scripts: `--print table`, `json` and `csv` of two targets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

from explorer.core.compare import KINDS, Comparison, Facts, Pair, Values
from explorer.core.compare_files import warnings
from explorer.core.compare_runs import reason
from explorer.core.listing.contract import findings_of
from explorer.core.text import plural

JSON_FORMAT = 1
"""Version of the JSON contract, counted apart from that of a single model."""

WIDEST_COLUMN = 100
"""Columns are padded to at most this width."""


def table(comparison: Comparison) -> Iterator[str]:
    """Yield a line a difference, then what they sum to."""
    rows = [
        (", ".join(KINDS[kind] for kind in pair.kinds), pair.name, *sides(comparison, pair), _values_text(pair))
        for pair in comparison.differences
    ]
    valued = any(row[-1] for row in rows)
    rows = [("difference", "name", "A", "B", "values" if valued else ""), *rows] if rows else []
    widths = [min(WIDEST_COLUMN, max(map(len, column))) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
    if rows:
        yield "\n"
    yield from (line + "\n" for line in summary(comparison))


def sides(comparison: Comparison, pair: Pair) -> tuple[str, str]:
    """Say of both sides what differs."""
    a, b = (_side(comparison.facts(pair, of_a), pair) for of_a in (True, False))
    return a or "–", b or "–"


def _values_text(pair: Pair) -> str:
    """Say how the values of a pair differ, if they do."""
    return "" if pair.values is None or pair.values.equal else difference_text(pair.values)


def _side(facts: Facts | None, pair: Pair) -> str:
    if facts is None:
        return ""
    shape, kinds = facts.shape, pair.kinds
    told = []
    alone = "only_a" in kinds or "only_b" in kinds
    if alone or "shape" in kinds:
        told.append("?" if shape is None else "x".join(map(str, shape)) or "scalar")
    if alone or "dtype" in kinds:
        told.append(facts.dtype or "?")
    if "group" in kinds:
        told.append(facts.group_text)
    if "tied" in kinds and not facts.name.endswith(pair.name):
        told.append(f"= {facts.name}")
    if "unread" in kinds:
        told.append(f"in {facts.unread}, which can't be read" if facts.unread else "readable")
    if alone and facts.apart:
        told.append(f"({facts.apart})")
    if told and facts.parts:
        told.append(f"in {len(facts.parts):,} parts")
    return " ".join(told)


def difference_text(values: Values) -> str:
    """Say how values differ."""
    if values.equal:
        return "the same values"
    told = f"{plural(values.differing, 'element')} differ{'s' * (values.differing == 1)}, "
    odd = [f"{count:,} {word}" for count, word in ((values.nan, "NaN"), (values.inf, "infinite")) if count]
    others = values.differing > values.nan + values.inf
    if odd:
        told += f"{' and '.join(odd)} on one side" + (", the others " if others else "")
    if others:
        most = values.largest_finite if odd else values.largest
        told += "by more than a float64 holds" if most is None else f"by at most {most:.3g}"
    return told


def summary(comparison: Comparison) -> Iterator[str]:
    """Yield the lines that say what was compared, how, and the sums."""
    for letter, model in (("A", comparison.a), ("B", comparison.b)):
        origin = model.origin
        parts = (origin.target, origin.class_name, origin.description, headline(comparison, letter == "A"))
        yield f"{letter}  {' · '.join(filter(None, parts))}"
    yield from matching(comparison)
    yield from wrong(comparison)
    counts = [f"{count:,} {KINDS[kind]}" for kind, count in comparison.counts.items() if count]
    told = " (values compared)" if comparison.compared else ""
    if comparison.uncompared:
        told = " (values compared, where they could be)" if comparison.known else " (no values could be compared)"
    yield " · ".join([f"{alike(comparison)}{told}", *counts])
    if comparison.uncompared:
        pair = next(pair for pair in comparison.pairs if pair.name in comparison.uncompared)
        told = f"values of {plural(len(comparison.uncompared), 'tensor')} not compared: {pair.name}"
        yield f"{told}: {reason(comparison, pair)}"
    elif not comparison.compared:
        yield "values not compared; --values compares them"


def alike(comparison: Comparison) -> str:
    """Say how many tensors are alike, and how many are in all but their values, which could not be compared."""
    otherwise = comparison.same_but_for_values
    if otherwise and not comparison.same:
        return f"{plural(otherwise, 'tensor')} alike in all but values"
    told = f"{plural(comparison.same, 'tensor')} alike" if comparison.same else "no tensor alike"
    return f"{told}, {otherwise:,} more in all but values" if otherwise else told


def headline(comparison: Comparison, of_a: bool) -> str:
    """Say what a side holds: its parameters, and beside them the state of an optimizer."""
    tensors, parameters = comparison.counts_of(of_a)
    state = list(comparison.side(of_a)[1].state.values())
    buffers = comparison.buffers_of(of_a)
    beside = f" ({plural(buffers, 'buffer')})" if buffers else ""
    told = f"{plural(tensors, 'tensor')}{beside} · {plural(parameters, 'parameter')}"
    return f"{told} · beside {plural(len(state), 'tensor')} of {_state_text(state)}" if state else told


def _state_text(kinds: Iterable[str]) -> str:
    """Return a word for what is not the model's, by what `Side.state` says of each row."""
    attributes = {what == "plain attribute" for what in kinds}
    words = ["training state"] * (False in attributes) + ["plain attributes"] * (True in attributes)
    return " and ".join(words)


def matching(comparison: Comparison) -> Iterator[str]:
    """Say how names were matched, and what was not compared at all; nothing where names are the same."""
    left_out = zip("AB", comparison.left_out, strict=True)
    told = [f"{plural(count, 'tensor')} of {letter}" for letter, count in left_out if count]
    if told:
        sides_of = (comparison.side_a, comparison.side_b)
        kinds = [side.state[row] for side in sides_of for row in side.left_out]
        yield f"left out: {_state_text(kinds)} that only one side has ({', '.join(told)})"
    for letter in "AB":
        if count := len(comparison.side(letter == "A")[1].aside):
            other = "B" if letter == "A" else "A"
            yield f"left out: {plural(count, 'buffer')} only in {letter} ({other} lists parameters only)"
    sides = (("A", comparison.prefix_a), ("B", comparison.prefix_b))
    if told := [f"{prefix} of {letter}" for letter, prefix in sides if prefix]:
        yield f"names are matched without {' and '.join(told)}"
    sides = (("A", comparison.side_a.state_prefix), ("B", comparison.side_b.state_prefix))
    if told := [f"{prefix} of {letter}" for letter, prefix in sides if prefix]:
        yield f"training state is matched without {' and '.join(told)}"
    if comparison.renamed:
        yield f"{plural(comparison.renamed, 'tensor')} matched under another name, as transformers loads it"
    for letter in "AB":
        if again := sum(pair.stored_again == letter.lower() for pair in comparison.pairs):
            other = "B" if letter == "A" else "A"
            again_told = f"tied in {other}, stored again in {letter}, whose format records no ties"
            yield f"{again_told}: {plural(again, 'tensor')}"
        fused = [
            pair.fused for pair in comparison.pairs if pair.fused is not None and pair.fused.of_a == (letter == "A")
        ]
        if fused:
            parts, whole = sum(len(each.rows) for each in fused), "B" if letter == "A" else "A"
            yield f"fused: {plural(parts, 'tensor')} of {letter} are {len(fused):,} of {whole}"


def wrong(comparison: Comparison) -> Iterator[str]:
    """Yield what is wrong with the files of each side, a line each."""
    for letter in "AB":
        for finding in warnings(comparison.side(letter == "A")[0]):
            yield f"files of {letter}: {finding.message} ({finding.id})"


def json_text(comparison: Comparison) -> Iterator[str]:
    """Yield the contract for scripts, one difference a line."""
    encode = json.JSONEncoder(allow_nan=False).encode
    head: dict[str, Any] = {
        "a": _model(comparison, True),
        "b": _model(comparison, False),
        "equal": comparison.equal,
        "values_compared": comparison.compared,
        "same": comparison.same,
        "counts": comparison.counts,
        "uncompared": dict(comparison.uncompared),
        "renamed": comparison.renamed,
        "stored_again": {pair.name: pair.stored_again for pair in comparison.pairs if pair.stored_again},
        "fused": {pair.name: _parts(comparison, pair) for pair in comparison.pairs if pair.fused is not None},
    }
    yield f'{{"format": {JSON_FORMAT},\n "compare": {encode(head)[:-1]},\n  "differences": ['
    between = "\n   "
    for pair in comparison.differences:
        yield between + encode(_pair(comparison, pair))
        between = ",\n   "
    yield "]}}\n"


def _model(comparison: Comparison, of_a: bool) -> dict[str, Any]:
    model, side = comparison.side(of_a)
    tensors, parameters = comparison.counts_of(of_a)
    elements = sum(model.numels[row] for row in side.state)
    origin = model.origin
    return {
        "target": origin.target,
        "kind": origin.kind,
        "class": origin.class_name,
        "origin": origin.description,
        "tensors": tensors + len(side.state),
        "parameters": parameters + elements,
        "training_state": {
            "tensors": len(side.state),
            "elements": elements,
            "left_out": comparison.left_out[0 if of_a else 1] > 0,
        },
        "prefix": comparison.prefix_a if of_a else comparison.prefix_b,
        "state_prefix": side.state_prefix,
        "buffers": {"tensors": comparison.buffers_of(of_a), "left_out": len(side.aside) > 0},
        "warnings": findings_of(list(warnings(model))),
    }


def _pair(comparison: Comparison, pair: Pair) -> dict[str, Any]:
    values = pair.values
    return {
        "name": pair.name,
        "kinds": list(pair.kinds),
        "a": _facts(comparison, pair, True),
        "b": _facts(comparison, pair, False),
        "values": None if values is None else asdict(values),
    }


def _parts(comparison: Comparison, pair: Pair) -> dict[str, Any]:
    """Return which side has a fused tensor in parts, and these."""
    assert pair.fused is not None, "it is asked for what is fused"
    facts = comparison.facts(pair, pair.fused.of_a)
    return {"parts_in": "a" if pair.fused.of_a else "b", "parts": list(facts.parts) if facts else []}


def _facts(comparison: Comparison, pair: Pair, of_a: bool) -> dict[str, Any] | None:
    facts = comparison.facts(pair, of_a)
    if facts is None:
        return None
    return {
        "index": facts.index,
        "name": facts.name,
        "shape": facts.shape,
        "numel": facts.numel,
        "dtype": facts.dtype,
        "group": facts.group,
        "shard": facts.shard,
    }


CSV_COLUMNS = (
    "kinds",
    "name",
    *(f"{fact}_{side}" for fact in ("name", "shape", "numel", "dtype", "group") for side in "ab"),
)
"""Columns of `csv`, before those of values."""

VALUE_COLUMNS = tuple(fact.name for fact in fields(Values))
"""Columns of values."""


def csv_text(comparison: Comparison) -> Iterator[str]:
    """Yield comma-separated values with a header line; what a side does not have is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*CSV_COLUMNS, *VALUE_COLUMNS))
    for pair in comparison.differences:
        facts = _facts(comparison, pair, True), _facts(comparison, pair, False)
        cells = [
            "" if side is None else _cell(side[fact])
            for fact in ("name", "shape", "numel", "dtype", "group")
            for side in facts
        ]
        found = {} if pair.values is None else asdict(pair.values)
        values = (_cell(found.get(column)) for column in VALUE_COLUMNS)
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
