"""Finds the stacks of numbered layers in a model's names, such as `roberta.encoder.layer.0` to `.11`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from explorer.core.param import Model

SMALLEST_SHARE = 0.05
"""A run of numbered modules with less than this share of the parameters is no stack of layers."""


@dataclass(frozen=True, slots=True)
class Stack:
    """One stack of layers."""

    prefix: str
    """Name of the list that holds them, `roberta.encoder.layer`."""
    layers: tuple[int, ...]
    """The layers' numbers, in order."""


def layer_of(name: str) -> tuple[str, int] | None:
    """Return the list and number of the outermost numbered module in a name, or `None`."""
    pieces = name.split(".")
    for at, piece in enumerate(pieces):
        if at and piece.isascii() and piece.isdigit() and len(piece) < 5:
            return ".".join(pieces[:at]), int(piece)
    return None


def stacks(model: Model, places: Sequence[tuple[str, int] | None]) -> list[Stack]:
    """Return the stacks of at least two layers, in order of appearance.

    Args:
        model: The model.
        places: `layer_of` of each name.
    """
    numbers: dict[str, set[int]] = {}
    sizes: dict[str, int] = {}
    for place, numel in zip(places, model.numels, strict=True):
        if place is not None:
            numbers.setdefault(place[0], set()).add(place[1])
            sizes[place[0]] = sizes.get(place[0], 0) + numel
    least = SMALLEST_SHARE * model.total
    return [
        Stack(prefix, tuple(sorted(own)))
        for prefix, own in numbers.items()
        if len(own) > 1 and sizes[prefix] >= least
    ]
