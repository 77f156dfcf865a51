"""Finds parameters that are views of one memory without being tied: different tensors that one update changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from explorer.core.param import Finding
from explorer.core.text import plural

if TYPE_CHECKING:
    import torch

NAMED = 4
"""Parameters that a note names; what is more is counted."""


class Shared(NamedTuple):
    """One parameter that has memory in common with another; each such pair is told from both sides."""

    row: int
    """Its position."""
    other: int
    """The other's."""
    inside: bool
    """Whether all of it lies in the other's memory."""


class _Extent(NamedTuple):
    """The bytes of its storage that a parameter covers."""

    begin: int
    end: int
    row: int

    def of(self, other: _Extent) -> Shared:
        return Shared(self.row, other.row, other.begin <= self.begin and self.end <= other.end)


def pairs(parameters: Sequence[torch.Tensor]) -> list[Shared]:
    """Return which different parameters lie in the same memory, by position.

    Pieces of one buffer that do not touch, as the weights of an LSTM on a GPU, share nothing; nor is a view with gaps
    (one column of a matrix) looked at. Each parameter is paired only with the one that reaches furthest of those
    before it in memory. Works on meta: a storage is known by its identity, not its address.
    """
    import torch

    storages: dict[int, list[_Extent]] = {}
    for row, parameter in enumerate(parameters):
        if type(parameter) is not torch.nn.Parameter or parameter.layout is not torch.strided or parameter.is_nested:
            continue
        elements = _covered(parameter)
        if elements:
            itemsize = parameter.dtype.itemsize
            begin = parameter.storage_offset() * itemsize
            extent = _Extent(begin, begin + elements * itemsize, row)
            storages.setdefault(parameter.untyped_storage()._cdata, []).append(extent)
    found: list[Shared] = []
    for extents in storages.values():
        if len(extents) < 2:
            continue
        extents.sort()
        furthest = extents[0]
        for extent in extents[1:]:
            if extent.begin < furthest.end:
                found += (extent.of(furthest), furthest.of(extent))
            furthest = max(furthest, extent, key=lambda each: each.end)
    return sorted(found)


def _covered(parameter: torch.Tensor) -> int:
    """Return how many elements of its storage a parameter covers without gaps; 0 if it has gaps, or no element."""
    if parameter.is_contiguous():
        return int(parameter.numel())
    span = held = 1
    for size, stride in zip(parameter.shape, parameter.stride(), strict=True):
        if stride:  # along a dimension of stride 0 all elements are one
            span, held = span + (size - 1) * stride, held * size
    return span if span == held else 0


def notes(shared: Iterable[Shared], names: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Say of each parameter, by position, with which it shares memory."""
    for row, group in groupby(shared, key=lambda each: each.row):
        of_one = list(group)
        for inside, how in ((True, "lies in the memory of"), (False, "shares memory with")):
            others = [names[each.other] for each in of_one if each.inside is inside]
            more = f" and {len(others) - NAMED:,} more" if len(others) > NAMED else ""
            if others:
                yield row, f"{how} {', '.join(others[:NAMED])}{more}"


def findings(shared: Iterable[Shared], names: Sequence[str]) -> Iterator[Finding]:
    """Warn of parameters that share memory, if there are any."""
    concerned = sorted({each.row for each in shared})
    if concerned:
        yield Finding(
            "shared-memory",
            "warning",
            f"{plural(len(concerned), 'parameter')} share memory without being tied",
            tuple(names[row] for row in concerned),
            "Each is counted, and an optimizer updates the same memory once for each.",
        )
