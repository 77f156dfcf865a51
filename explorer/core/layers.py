"""Finds the stacks of numbered layers in a model's names, such as `roberta.encoder.layer.0` to `.11`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from explorer.core.param import Model

SMALLEST_SHARE = 0.05
"""A run of numbered modules with less than this share of the parameters is no stack of layers, unless it is long."""

LONG = 8
"""Modules that are a stack however small: the ViT beside a language model is 4 % of LLaVA-1.5. Projectors and the
convolutions below an encoder (wav2vec 2.0: 7) are shorter."""


@dataclass(frozen=True, slots=True)
class Stack:
    """One stack of layers."""

    prefix: str
    """Name of the list that holds them, `roberta.encoder.layer`."""
    layers: tuple[int, ...]
    """The layers' numbers, in order."""


@dataclass(frozen=True, slots=True)
class Tower:
    """The stacks that one module holds, which follow one another, as `layer1` to `layer4` of a ResNet do."""

    label: str
    """What tells it from the others, `encoder`; empty where it is the only one."""
    root: str
    """Beginning of the names of all that is in it, with the dot; empty where it is the only one."""
    layers: tuple[tuple[str, int], ...]
    """List and number of each layer, from below."""
    first: int
    """Index of the first parameter of its layers."""


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
        if len(own) >= LONG or (len(own) > 1 and sizes[prefix] >= least)
    ]


def towers(model: Model, places: Sequence[tuple[str, int] | None]) -> list[Tower]:
    """Return the stacks by the module that holds them, in order of appearance: an encoder and a decoder are two.

    Args:
        model: The model.
        places: `layer_of` of each name.
    """
    held: dict[str, list[Stack]] = {}
    for stack in stacks(model, places):
        held.setdefault(stack.prefix.rpartition(".")[0], []).append(stack)
    if not held:
        return []
    firsts: dict[str, int] = {}
    for index, place in enumerate(places):
        if place is not None:
            firsts.setdefault(place[0], index)
    paths = [own[0].prefix.split(".") for own in held.values()]
    shared = next((n for n, pieces in enumerate(zip(*paths, strict=False)) if len(set(pieces)) > 1), 0)
    found = []
    for path, own in zip(paths, held.values(), strict=True):
        others = [other for other in paths if other != path]
        # As much of the path as no other begins with.
        depths = (n for n in range(len(path)) if all(other[:n] != path[:n] for other in others))
        depth = next(depths, len(path))
        layers = tuple((stack.prefix, number) for stack in own for number in stack.layers)
        root = "".join(f"{piece}." for piece in path[:depth])
        found.append(Tower(".".join(path[shared:depth]), root, layers, min(firsts[stack.prefix] for stack in own)))
    return found
