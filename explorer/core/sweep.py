"""The statistics of many tensors as one table: its columns, how it sorts, and norms by layer. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from explorer.core.elements import ELEMENTS
from explorer.core.layers import layer_of, stacks
from explorer.core.pictures import sparkline
from explorer.core.statistics import TensorStats, summed
from explorer.core.text import UNKNOWN, plural, share_text

if TYPE_CHECKING:
    from explorer.core.param import Model

FIGURE = 14
"""Most characters of a figure: longer whole numbers get an exponent."""

NAMED = 3
"""Most tensors with NaN or infinities that one line names; the others are counted."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One column of the table."""

    title: str
    """Heading."""
    of: Callable[[TensorStats], float | None]
    """The figure."""
    rank: Callable[[TensorStats], float | None] | None = None
    """What rows are sorted by, the largest first; `None` for a column that can't be sorted by."""


def _share_of_zeros(stats: TensorStats) -> float:
    return stats.zeros / stats.numel if stats.numel else 0.0


FIGURES: tuple[Figure, ...] = (
    Figure("mean", lambda stats: stats.mean),
    Figure("std", lambda stats: stats.std, lambda stats: stats.std),
    Figure("min", lambda stats: stats.least),
    Figure("max", lambda stats: stats.most),
    Figure("absmax", lambda stats: stats.absmax, lambda stats: stats.absmax),
    Figure("norm", lambda stats: stats.norm, lambda stats: stats.norm),
    Figure("zeros", lambda stats: stats.zeros, _share_of_zeros),
    Figure("nan", lambda stats: stats.nans, lambda stats: stats.nans),
    Figure("inf", lambda stats: stats.infs, lambda stats: stats.infs),
)
"""The columns, in order."""

ORDERS: tuple[str, ...] = ("", *(figure.title for figure in FIGURES if figure.rank is not None))
"""What the table can be sorted by, in the order in which a key goes through them; empty is the model's order."""


def short_figure(value: float | None, width: int = FIGURE) -> str:
    """Write a figure in four digits; counts in full, or with an exponent where that takes more than `width`."""
    if value is None:
        return UNKNOWN
    if isinstance(value, int) and len(f"{value:,}") <= width:
        return f"{value:,}"
    written = (f"{value:.{digits}g}" for digits in (4, 3, 2))
    return next((text for text in written if len(text) <= width), f"{value:.1g}")


def whole_numbers(model: Model) -> frozenset[int]:
    """Return the tensors of integers and booleans: indices and masks, which are kept out of sums of norms."""
    kinds = {dtype: ELEMENTS[dtype].kind if dtype in ELEMENTS else "" for dtype in model.dtypes.values if dtype}
    whole = {dtype for dtype, kind in kinds.items() if kind in ("int", "bool")}
    return frozenset(index for index, dtype in enumerate(model.dtypes) if dtype in whole) if whole else frozenset()


def is_complex(dtype: str | None) -> bool:
    """Whether a tensor's figures are of absolute values."""
    return dtype in ELEMENTS and ELEMENTS[dtype].kind == "complex"


def ordered(
    indices: Iterable[int],
    statistics: Mapping[int, TensorStats],
    order: str,
    refused: Container[int] = (),
    whole: Container[int] = (),
) -> list[int]:
    """Return the tensors that are measured or refused, those with the largest figure first.

    Args:
        indices: The tensors in the model's order.
        statistics: What is known of them.
        order: One of `ORDERS`.
        refused: Those that could not be measured; they come last.
        whole: Those of whole numbers; they come after the measured others, which they would else dwarf.
    """
    rows = [index for index in indices if index in statistics or index in refused]
    figure = next((figure for figure in FIGURES if figure.title == order), None)
    rank = figure.rank if figure is not None else None
    if rank is None:
        return rows

    def key(row: int) -> tuple[bool, bool, float]:
        value = rank(statistics[row]) if row in statistics else None
        return row not in statistics, row in whole, math.inf if value is None else -float(value)

    return sorted(rows, key=key)


def sum_line(
    statistics: Mapping[int, TensorStats], indices: Sequence[int], whole: Container[int] = frozenset()
) -> str:
    """Sum up in one line what is measured of some tensors; while some are not, it says of how many it speaks.

    Args:
        statistics: What is measured.
        indices: The tensors.
        whole: Those of whole numbers, which the norm leaves out.
    """
    known = [index for index in indices if index in statistics]
    sums = summed(statistics[index] for index in known)
    if sums.tensors < len(indices):
        head = f"{sums.tensors:,} of {plural(len(indices), 'tensor')} measured"
        if not known:
            return head
        parts = [f"{head}; in these {plural(sums.numel, 'element')}"]
    else:
        parts = [plural(sums.tensors, "tensor"), plural(sums.numel, "element")]
    weights = [index for index in known if index not in whole]
    if weights:
        norm = summed(statistics[index] for index in weights).norm
        without = len(known) - len(weights)
        parts.append(f"norm {norm:.6g}" + (f" without {plural(without, 'integer tensor')}" if without else ""))
    parts.append(f"{plural(sums.zeros, 'zero')} ({share_text(sums.zeros, sums.numel)})" if sums.zeros else "no zero")
    parts.append(f"{sums.nans:,} NaN, {sums.infs:,} Inf" if sums.nans or sums.infs else "all finite")
    return " · ".join(parts)


def not_finite(statistics: Mapping[int, TensorStats], indices: Iterable[int]) -> list[int]:
    """Return the tensors among some that hold NaN or infinities."""
    return [index for index in indices if (stats := statistics.get(index)) is not None and (stats.nans or stats.infs)]


def not_finite_line(statistics: Mapping[int, TensorStats], indices: Iterable[int], names: Sequence[str]) -> str:
    """Name in one line the tensors among some that hold NaN or infinities; empty where none does.

    Args:
        statistics: What is measured.
        indices: The tensors.
        names: The names of all tensors.
    """
    odd = not_finite(statistics, indices)
    if not odd:
        return ""
    told = [f"{names[index]} ({_odd_text(statistics[index])})" for index in odd[:NAMED]]
    if len(odd) > NAMED:
        told.append(f"and {len(odd) - NAMED:,} more")
    return f"NaN or Inf in {plural(len(odd), 'tensor')}: {', '.join(told)}"


def _odd_text(stats: TensorStats) -> str:
    """Say how many elements are not finite, and where the first are."""
    kinds = ((stats.nans, "NaN", stats.first_nan), (stats.infs, "Inf", stats.first_inf))
    told = []
    for count, kind, first in kinds:
        if count:
            where = "" if not first else f" at {list(first)}" if count == 1 else f", first at {list(first)}"
            told.append(f"{count:,} {kind}{where}")
    return "; ".join(told)


# --- by layer -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Series:
    """The norms of the tensors that stand at the same place in each layer of a stack."""

    name: str
    """`encoder.layer.N.attention.self.query.weight`, `N` for the layer's number."""
    indices: tuple[int | None, ...]
    """The tensor of each layer; `None` where a layer lacks it."""
    layers: tuple[int, ...]
    """The layers' numbers."""
    norms: tuple[float | None, ...]
    """The root of the mean square of its elements, for sizes differ; `None` where it is not measured."""

    @property
    def line(self) -> str:
        """The norms as a sparkline."""
        return sparkline(self.norms)


def by_layer(model: Model, statistics: Mapping[int, TensorStats]) -> list[Series]:
    """Return the series of every stack of layers, those without a measured tensor left out."""
    places = [layer_of(name) for name in model.names]
    found = []
    for stack in stacks(model, places):
        slots = {number: slot for slot, number in enumerate(stack.layers)}
        rows: dict[str, list[int | None]] = {}
        for index, place in enumerate(places):
            if place is not None and place[0] == stack.prefix and place[1] in slots:
                tail = model.names[index][len(f"{place[0]}.{place[1]}") :]
                rows.setdefault(tail, [None] * len(slots))[slots[place[1]]] = index
        for tail, indices in rows.items():
            norms = tuple(_by_element(statistics.get(index)) if index is not None else None for index in indices)
            if any(norm is not None for norm in norms):
                found.append(Series(f"{stack.prefix}.N{tail}", tuple(indices), tuple(stack.layers), norms))
    return found


def _by_element(stats: TensorStats | None) -> float | None:
    return stats.norm / math.sqrt(stats.finite) if stats is not None and stats.finite else None
