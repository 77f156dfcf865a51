"""The statistics of many tensors for pipes and scripts: `--print stats` and `stats-json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from explorer.core.listing import Format, Listing
from explorer.core.listing.contract import ENCODER, head_of, strict
from explorer.core.statistics import QUANTILES, TensorStats, summed
from explorer.core.sweep import (
    FIGURES,
    is_complex,
    not_finite,
    not_finite_line,
    ordered,
    sum_line,
    whole_numbers,
)
from explorer.core.text import UNKNOWN, plural, shape_text

JSON_FORMAT = 1
"""Version of the JSON contract, counted apart from that of the parameters."""

REASONS_TOLD = 3
"""Most reasons for unmeasured tensors that one line gives; the others are counted."""


def wanted(listing: Listing) -> list[int]:
    """Return the tensors that are measured: those that the filter leaves, in the model's order."""
    return replace(listing, order="model", top=None).rows()


def _rows(listing: Listing) -> list[int]:
    """Return the tensors that have a row, in the order that is asked for."""
    if not listing.figure:
        return listing.rows()
    every = wanted(listing)
    rows = ordered(every, listing.statistics, listing.figure, every, whole_numbers(listing.model))
    return list(islice(rows, listing.top))


def stats_text(listing: Listing) -> Iterator[str]:
    """Yield the statistics as aligned columns, one tensor a line, then the sums of all that are measured.

    Figures have nine digits, which tell float32 values apart; a tensor that could not be measured has `–`, and
    `unmeasured_line` says why.
    """
    model, statistics = listing.model, listing.statistics
    rows, every = _rows(listing), wanted(listing)
    head = ("index", "name", "shape", "dtype", *(figure.title for figure in FIGURES))
    table: list[Sequence[str]] = [head]
    for index in rows:
        stats = statistics.get(index)
        shape = shape_text(model.shapes[index]).replace(" × ", "x")
        figures = (UNKNOWN if stats is None else _precise(figure.of(stats)) for figure in FIGURES)
        table.append((str(index), model.names[index], shape, model.dtypes[index] or UNKNOWN, *figures))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        cells = [
            cell.ljust(width) if column in (1, 2, 3) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip() + "\n"
    yield f"\n{sum_line(statistics, every, whole_numbers(model))}\n"
    if any(is_complex(model.dtypes[index]) for index in rows):
        yield "Figures of complex tensors are of the absolute values.\n"
    if odd := not_finite_line(statistics, every, model.names):
        yield f"{odd}\n"


def _precise(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return str(value) if isinstance(value, int) else f"{value:.9g}"


def stats_json(listing: Listing) -> Iterator[str]:
    """Yield the contract for scripts, one tensor a line; a figure that is no float64 is the text `Infinity`."""
    model, statistics = listing.model, listing.statistics
    encode = ENCODER.encode
    yield f'{{"format": {JSON_FORMAT},\n "model": {encode(head_of(model.origin))},\n "tensors": ['
    between = "\n  "
    for index in _rows(listing):
        yield between + encode(strict(_tensor(listing, index)))
        between = ",\n  "
    every = wanted(listing)
    known = [statistics[index] for index in every if index in statistics]
    whole = whole_numbers(model)
    weights = [statistics[index] for index in every if index in statistics and index not in whole]
    sums = summed(known)
    totals = {
        "tensors": len(every),
        "measured": sums.tensors,
        "numel": sums.numel,
        "norm": summed(weights).norm,
        "zeros": sums.zeros,
        "nan": sums.nans,
        "inf": sums.infs,
    }
    odd = [model.names[index] for index in not_finite(statistics, every)]
    yield f'],\n "totals": {encode(strict(totals))},\n "not_finite": {encode(odd)}}}\n'


def _tensor(listing: Listing, index: int) -> dict[str, Any]:
    """Return a tensor's line; every figure of one that is not measured is `None`."""
    model, stats = listing.model, listing.statistics.get(index)
    return {
        "index": index,
        "name": model.names[index],
        "shape": model.shapes[index],
        "dtype": model.dtypes[index],
        "numel": stats and stats.numel,
        **{figure.title: stats and figure.of(stats) for figure in FIGURES},
        "first_nan": stats and stats.first_nan,
        "first_inf": stats and stats.first_inf,
        "quantiles": stats and _quantiles(stats),
    }


def _quantiles(stats: TensorStats) -> dict[str, float]:
    return {str(at): value for at, value in zip(QUANTILES, stats.quantiles, strict=False)}


def unmeasured_line(unmeasured: Mapping[str, Sequence[int]], of: int, names: Sequence[str]) -> str:
    """Say in one line how many of some tensors could not be measured, which, and why; empty where all were.

    Args:
        unmeasured: The tensors by reason.
        of: How many were to be measured.
        names: The names of all tensors.
    """
    if not unmeasured:
        return ""
    told = []
    for reason, indices in unmeasured.items():
        others = f" and {len(indices) - 1:,} more" if len(indices) > 1 else ""
        told.append(f"{names[indices[0]]}{others}: {reason}")
    if len(told) > REASONS_TOLD:
        told[REASONS_TOLD:] = [f"and {plural(len(told) - REASONS_TOLD, 'other reason')}"]
    missed = sum(map(len, unmeasured.values()))
    return f"{missed:,} of {plural(of, 'tensor')} not measured: {'; '.join(told)}"


FORMATS: Mapping[str, Format] = {"stats": stats_text, "stats-json": stats_json}
"""What `--print` takes beside `explorer.core.listing.FORMATS`: these need the values, not the table alone."""
