"""Finds parameters that are views of one memory without being tied: different tensors that one update changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from explorer.core.param import Finding
from explorer.core.text import plural

if TYPE_CHECKING:
    import torch

NAMED = 4
"""Parameters that a note names; what is more is counted."""


MOST_WORK = 10_000
"""Steps of numpy's search for an element that two views with gaps have in common; it may take any number."""

TRIED = 16
"""Parameters before it in memory that one is compared with, those that reach furthest: there may be many columns."""


class How(Enum):
    """What one parameter has to do with the memory of another, and how a note says it."""

    INSIDE = "lies in the memory of"
    """All of it is the other's too."""
    COMMON = "shares memory with"
    """They have an element in common."""
    UNKNOWN = "may share memory with"
    """Their elements lie between one another, in ways too many to try."""


class Shared(NamedTuple):
    """One parameter that has memory in common with another; each such pair is told from both sides."""

    row: int
    """Its position."""
    other: int
    """The other's."""
    how: How
    """What they have in common."""


class _Extent(NamedTuple):
    """The bytes of its storage that a parameter reaches over."""

    begin: int
    end: int
    row: int
    is_dense: bool
    """Whether it has all of them."""

    def of(self, other: _Extent, how: How) -> Shared:
        inside = other.is_dense and other.begin <= self.begin and self.end <= other.end
        return Shared(self.row, other.row, How.INSIDE if inside else how)


def pairs(parameters: Sequence[torch.Tensor]) -> list[Shared]:
    """Return which different parameters lie in the same memory, by position.

    Pieces of one buffer that do not touch, as the weights of an LSTM on a GPU, share nothing, nor do two columns of a
    matrix. Each parameter is paired only with one of those before it in memory, the one that reaches furthest. Works
    on meta: a storage is known by its identity, not its address.
    """
    import torch

    storages: dict[int, list[_Extent]] = {}
    for row, parameter in enumerate(parameters):
        if type(parameter) is not torch.nn.Parameter or parameter.layout is not torch.strided or parameter.is_nested:
            continue
        if parameter.numel():
            extents = storages.setdefault(parameter.untyped_storage()._cdata, [])
            extents.append(_extent(row, parameter))
    found: list[Shared] = []
    for extents in storages.values():
        if len(extents) < 2:
            continue
        before: list[_Extent] = []
        for extent in sorted(extents):
            before = [each for each in before if each.end > extent.begin]
            for each in before:
                how = _common(extent, each, parameters)
                if how is not None:
                    found += (extent.of(each, how), each.of(extent, how))
                    break
            before = sorted([*before, extent], key=lambda each: -each.end)[:TRIED]
    return sorted(found, key=lambda each: each[:2])


def _extent(row: int, parameter: torch.Tensor) -> _Extent:
    span = held = 1
    if parameter.is_contiguous():
        span = held = parameter.numel()
    else:
        for size, stride in zip(parameter.shape, parameter.stride(), strict=True):
            if stride:  # along a dimension of stride 0 all elements are one
                span, held = span + (size - 1) * stride, held * size
    begin, itemsize = parameter.storage_offset(), parameter.dtype.itemsize
    return _Extent(begin * itemsize, (begin + span) * itemsize, row, span == held)


def _common(one: _Extent, other: _Extent, parameters: Sequence[torch.Tensor]) -> How | None:
    """Return what two parameters whose extents overlap have in common; `None`: nothing."""
    if one.is_dense and other.is_dense:
        return How.COMMON
    import numpy as np

    share: Any = np.shares_memory  # its annotation has no number for `max_work`
    views = [np.asarray(_View(parameters[each.row])) for each in (one, other)]
    try:
        return How.COMMON if share(*views, max_work=MOST_WORK) else None
    except np.exceptions.TooHardError:
        return How.UNKNOWN


class _View:
    """A parameter as numpy would see it, were its storage at address 1: only asked where it lies, never read."""

    def __init__(self, parameter: torch.Tensor) -> None:
        itemsize = parameter.dtype.itemsize
        self.__array_interface__ = {
            "version": 3,
            "typestr": f"|V{itemsize}",
            "shape": tuple(parameter.shape),
            "strides": tuple(stride * itemsize for stride in parameter.stride()),
            "data": (1 + parameter.storage_offset() * itemsize, True),  # 0 would be no address
        }


def notes(shared: Iterable[Shared], names: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Say of each parameter, by position, with which it shares memory."""
    for row, group in groupby(shared, key=lambda each: each.row):
        of_one = list(group)
        for how in How:
            others = [names[each.other] for each in of_one if each.how is how]
            more = f" and {len(others) - NAMED:,} more" if len(others) > NAMED else ""
            if others:
                yield row, f"{how.value} {', '.join(others[:NAMED])}{more}"


def findings(shared: Iterable[Shared], names: Sequence[str]) -> Iterator[Finding]:
    """Warn of parameters that share memory, if there are any."""
    concerned = sorted({each.row for each in shared if each.how is not How.UNKNOWN})
    if concerned:
        yield Finding(
            "shared-memory",
            "warning",
            f"{plural(len(concerned), 'parameter')} share memory without being tied",
            tuple(names[row] for row in concerned),
            "Each is counted, and an optimizer updates the same memory once for each.",
        )
