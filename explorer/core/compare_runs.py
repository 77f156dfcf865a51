"""Differences that are alike but for numbers in their names, told as one: of 32 layers a line, not 32. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from explorer.core.compare import Comparison, Pair, Values

_DIGITS = re.compile(r"([0-9]+)")


def folded(comparison: Comparison, kind: str, needle: str = "") -> list[tuple[str, list[int]]]:
    """Return the pairs that differ in one way, those that are alike but for numbers in the name together.

    Args:
        comparison: The comparison.
        kind: The way.
        needle: Only names that contain it.

    Returns:
        For each the name, numbers that vary as `0…11`, and the positions in `pairs`.
    """
    alike: dict[tuple[object, ...], list[int]] = {}
    a, b = comparison.a, comparison.b
    for position, pair in enumerate(comparison.pairs):
        if kind in pair.kinds and needle in pair.name:
            facts = tuple(
                None if row is None else (model.shapes[row], model.dtypes[row], groups[row])
                for row, model, groups in ((pair.a, a, comparison.groups_a), (pair.b, b, comparison.groups_b))
            )
            alike.setdefault((_DIGITS.sub("0", pair.name), pair.kinds, facts), []).append(position)
    pairs = comparison.pairs
    return [(spanned([pairs[position].name for position in run]), run) for run in alike.values()]


def unknown(comparison: Comparison, needle: str = "") -> list[tuple[str, list[int]]]:
    """Return the pairs whose values could not be compared, those of one reason together, as `folded` does.

    Args:
        comparison: The comparison.
        needle: Only names that contain it.
    """
    why = {pair.name: reason(comparison, pair) for pair in comparison.pairs if pair.name in comparison.uncompared}
    alike: dict[tuple[str, str], list[int]] = {}
    for position, pair in enumerate(comparison.pairs):
        if pair.name in why and needle in pair.name:
            alike.setdefault((_DIGITS.sub("0", pair.name), why[pair.name]), []).append(position)
    pairs = comparison.pairs
    return [(spanned([pairs[position].name for position in run]), run) for run in alike.values()]


def reason(comparison: Comparison, pair: Pair) -> str:
    """Return why the values of a pair could not be compared, without its own names, which errors begin with."""
    why = comparison.uncompared[pair.name]
    heads = [comparison.a.origin.target, comparison.b.origin.target, pair.name]
    heads += [model.names[row] for model, row in ((comparison.a, pair.a), (comparison.b, pair.b)) if row is not None]
    while head := next((head for head in heads if why.startswith(f"{head}: ")), None):
        why = why.removeprefix(f"{head}: ")
    return why


def together(values: Sequence[Values]) -> Values:
    """Return what was found of several tensors as one."""
    return Values(
        sum(each.differing for each in values),
        _most(each.largest for each in values),
        sum(each.nan for each in values),
        sum(each.inf for each in values),
        _most(each.largest_finite for each in values),
    )


def _most(figures: Iterable[float | None]) -> float | None:
    """Return the largest; `None` where one is not known."""
    most = 0.0
    for figure in figures:
        if figure is None:
            return None
        most = max(most, figure)
    return most


def spanned(names: Sequence[str]) -> str:
    """Return names that differ in numbers only as one: `layer.0…11.weight`."""
    if len(names) == 1:
        return names[0]
    parts = [_DIGITS.split(name) for name in names]
    text = []
    for column in zip(*parts, strict=True):
        values = set(column)
        if len(values) == 1:
            text.append(column[0])
        else:
            numbers = sorted(values, key=lambda number: (len(number.lstrip("0")), number.lstrip("0")))
            text.append(f"{numbers[0]}…{numbers[-1]}")
    return "".join(text)
