"""Which elements of a tensor a part of the grid, or torch's print, needs: few runs out of billions. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, product
from math import prod

Range = tuple[int, int]
"""Indices of one dimension from the first up to, and without, the second."""

Selection = tuple[tuple[Range, ...], ...]
"""For each dimension the ranges that are wanted; the elements are every combination of them, in row-major order."""

THRESHOLD, EDGE = 1000, 3
"""torch's print leaves out the middle above so many elements, and then shows so many at each end of a dimension."""

MAX_SELECTED = 100_000
"""Most elements that are asked for at once."""


@dataclass(frozen=True, slots=True)
class Run:
    """Elements of one row."""

    start: int
    """The first, counted from the tensor's own first element."""
    step: int
    """Distance between two of them; 1 where the row is contiguous."""
    count: int
    """How many."""


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides, in elements, of a tensor whose last dimension is the fastest."""
    steps = list(accumulate(reversed(shape[1:]), lambda a, b: a * max(b, 1), initial=1))
    return tuple(reversed(steps)) if shape else ()


def selected(selection: Selection) -> tuple[int, ...]:
    """Return the shape of what is selected."""
    return tuple(sum(stop - start for start, stop in ranges) for ranges in selection)


def corners(shape: Sequence[int]) -> Selection:
    """Return what torch's print of a tensor shows: all of it or, above `THRESHOLD` elements, its corners."""
    if prod(shape) <= THRESHOLD:
        return tuple(((0, size),) for size in shape)
    return tuple(((0, EDGE), (size - EDGE, size)) if size > 2 * EDGE else ((0, size),) for size in shape)


def runs(shape: Sequence[int], selection: Selection, stride: Sequence[int] | None = None) -> Iterator[Run]:
    """Yield the runs of elements that a selection consists of, in row-major order.

    Args:
        shape: The tensor's.
        selection: Ranges for each of its dimensions.
        stride: Steps of each dimension in elements; `None` is contiguous.
    """
    steps = tuple(stride) if stride is not None else contiguous(shape)
    if not shape:
        yield Run(0, 1, 1)
        return
    leading = [list(chain.from_iterable(range(*part) for part in ranges)) for ranges in selection[:-1]]
    for indices in product(*leading):
        row = sum(index * step for index, step in zip(indices, steps[:-1], strict=True))
        for start, stop in selection[-1]:
            if stop > start:
                yield Run(row + start * steps[-1], steps[-1], stop - start)


def blocks(box: Sequence[Range], most: int, by: int = 1) -> Iterator[Selection]:
    """Cut a box into blocks whose elements follow one another in row-major order.

    Args:
        box: A range of each dimension.
        most: Most elements of a block.
        by: 1, or -1 for the last block first.
    """
    sizes = [stop - start for start, stop in box]
    if not prod(sizes):
        return
    if not box:
        yield ()
        return
    axis = next(at for at in range(len(sizes)) if prod(sizes[at + 1 :]) <= most)
    step = most // prod(sizes[axis + 1 :])
    start, stop = box[axis]
    rest = tuple((part,) for part in box[axis + 1 :])
    # Counted, not a product of ranges: that would keep each of them as a list.
    for number in range(prod(sizes[:axis]))[::by]:
        leading: list[tuple[Range, ...]] = []
        for first, size in zip(reversed([first for first, _ in box[:axis]]), reversed(sizes[:axis]), strict=True):
            number, index = divmod(number, size)  # noqa: PLW2901
            leading.insert(0, ((first + index, first + index + 1),))
        for at in range(start, stop, step)[::by]:
            yield (*leading, ((at, min(at + step, stop)),), *rest)


def expanded(shape: Sequence[int], stride: Sequence[int]) -> tuple[int, ...]:
    """Return the dimensions of stride 0, along which the same elements stand again and again."""
    return tuple(at for at, (size, step) in enumerate(zip(shape, stride, strict=True)) if size > 1 and not step)


def check(shape: Sequence[int], selection: object) -> Selection:
    """Return a selection that crossed a pipe as JSON, checked against the shape.

    Raises:
        ValueError: It is not a selection, leads out of the tensor, or is too large.
    """
    if not isinstance(selection, list | tuple) or len(selection) != len(shape):
        raise ValueError(f"a selection of {len(shape)} dimensions is needed")
    made = tuple(tuple((int(start), int(stop)) for start, stop in ranges) for ranges in selection)
    for size, ranges in zip(shape, made, strict=True):
        if not all(0 <= start <= stop <= size for start, stop in ranges):
            raise ValueError(f"the tensor has no such elements: its shape is {tuple(shape)}")
    if prod(selected(made)) > MAX_SELECTED:
        raise ValueError(f"more than {MAX_SELECTED:,} elements at once")
    return made
