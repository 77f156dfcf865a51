"""Columns of a table, made, joined and reordered a whole column at a time."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from explorer.core.param import Column, Model

T = TypeVar("T")


def coded(rows: Sequence[T]) -> Column[T]:
    """Return `Column.of(rows)`, in a quarter of its time because no step of it is Python's own."""
    seen = {value: code for code, value in enumerate(dict.fromkeys(rows))}
    return Column(tuple(seen), array("I", map(seen.__getitem__, rows)))


def joined(columns: Iterable[Column[T]]) -> Column[T]:
    """Return columns one below the other as one."""
    seen: dict[T, int] = {}
    codes = array("I")
    for column in columns:
        new = [seen.setdefault(value, len(seen)) for value in column.values]
        codes.extend(map(new.__getitem__, column.codes))
    return Column(tuple(seen), codes)


def rows_of(column: Column[T]) -> Iterator[T]:
    """Iterate over a column's rows, without a step of Python's own."""
    return map(column.values.__getitem__, column.codes)


def picked(column: Column[T], order: Sequence[int]) -> Column[T]:
    """Return the rows of a column that `order` names, in its order."""
    return Column(column.values, array("I", map(column.codes.__getitem__, order)))


def reordered(model: Model, order: list[int]) -> Model:
    """Return the model with its rows in another order.

    Args:
        model: The table.
        order: For each new row the old one; every old row once.
    """
    new = {old: row for row, old in enumerate(order)}
    return replace(
        model,
        names=[model.names[row] for row in order],
        shapes=picked(model.shapes, order),
        numels=array("q", map(model.numels.__getitem__, order)),
        nbytes=array("q", map(model.nbytes.__getitem__, order)),
        dtypes=picked(model.dtypes, order),
        devices=picked(model.devices, order),
        requires_grad=picked(model.requires_grad, order),
        modules=picked(model.modules, order),
        shards=picked(model.shards, order),
        aliases={new[old]: names for old, names in model.aliases.items()},
        notes={new[old]: note for old, note in model.notes.items()},
        places=None if model.places is None else picked(model.places, order),
    )
