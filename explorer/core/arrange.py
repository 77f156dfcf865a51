"""Matches tensors of a file with the parameters that hold them: renamed, stacked, joined or cut. Pure.

transformers 5 stacks the experts of a layer as it loads: `experts.0.w1.weight`, … of the file are slices of the
model's `experts.gate_up_proj`. What it does to each tensor is a `Move`; which slice that makes it is worked out here,
from the shapes of both sides. Where no library can be asked, names and shapes of experts are proof enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...] | None
Region = tuple[tuple[int, int], ...]
"""A slice of a tensor: start and stop of the leading dimensions; the other dimensions are whole."""

STACK, JOIN, CUT = "MergeModulelist", "Concatenate", "Chunk"
"""transformers' names (5.23, `core_model_loading.py`) of the operations whose slices are known: tensors become the
elements of a new dimension, are put one behind the other, or one is cut into as many as there are targets."""

EXPERT = re.compile(r"(?P<place>.*)\.experts\.\d+\.(?P<part>\w+)\.weight")
"""Names of the parts of experts in files."""

FUSED = re.compile(r"(?P<place>.*)\.experts\.(?P<param>gate_up_proj|down_proj)")
"""Names of their stacks in transformers 5."""

EXPERT_PARTS: Mapping[str, tuple[str, int, tuple[tuple[str, int], ...]]] = {
    "gate_proj": ("gate_up_proj", 0, ((STACK, 0), (JOIN, 1))),
    "w1": ("gate_up_proj", 0, ((STACK, 0), (JOIN, 1))),
    "up_proj": ("gate_up_proj", 1, ((STACK, 0), (JOIN, 1))),
    "w3": ("gate_up_proj", 1, ((STACK, 0), (JOIN, 1))),
    "down_proj": ("down_proj", 0, ((STACK, 0),)),
    "w2": ("down_proj", 0, ((STACK, 0),)),
}
"""What becomes of each part, as in transformers 5.23, `conversion_mapping.py`, for `qwen2_moe` and `mixtral`."""

_NUMBER = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Move:
    """What the library does to one tensor of a file as it loads it."""

    targets: tuple[str, ...]
    """The model's names of what it becomes, or becomes a part of."""
    order: int = 0
    """Its place among the kinds of tensors that become the same; of one kind the numbers in the names tell."""
    steps: tuple[tuple[str, int | None], ...] = ()
    """The operations by the library's names, each with its dimension; empty for a plain renaming."""

    def to_json(self) -> list[Any]:
        """Return what JSON can hold."""
        return [self.targets, self.order, self.steps]

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Move:
        """Return what `to_json` gave."""
        targets, order, steps = data
        return cls(tuple(targets), order, tuple((name, dimension) for name, dimension in steps))


@dataclass(frozen=True, slots=True)
class Fusion:
    """One tensor of one side, and the tensors of the other side that it is made of."""

    whole: str
    """Name of the one tensor."""
    in_model: bool
    """Whether the model has the one and the file the parts; the other way round otherwise."""
    parts: tuple[str, ...]
    """Names of the tensors it is made of."""
    regions: tuple[Region, ...] = ()
    """The slice of the one tensor that each part is; empty where that is not known."""
    why: str = ""
    """Why the slices are not known."""
    shape: Shape = None
    """What the parts make together; `None` where that is not known."""


def arrange(moves: Mapping[str, Move], of_file: Mapping[str, Shape], of_model: Mapping[str, Shape]) -> list[Fusion]:
    """Work out which tensors of a model and of a file are the same in another arrangement.

    Args:
        moves: What becomes of tensors of the file; plain renamings are skipped.
        of_file: Shapes of the file's tensors.
        of_model: Shapes of the model's parameters.

    Returns:
        The relations between tensors that both have, in the file's order.
    """
    gathered: dict[str, list[str]] = {}
    for name, move in moves.items():
        if move.steps and name in of_file:
            gathered.setdefault(move.targets[0], []).append(name)
    found = []
    for first, names in gathered.items():
        targets = tuple(target for target in moves[names[0]].targets if target in of_model)
        steps = moves[names[0]].steps
        if not targets or (len(names) > 1 < len(targets)):
            continue
        if len(targets) == 1 and first == targets[0]:
            parts = sorted(names, key=lambda name: (moves[name].order, _natural(name)))
            orders = [moves[name].order for name in parts]
            found.append(_joined(first, parts, orders, steps, of_file, of_model[first]))
        elif len(targets) == len(moves[names[0]].targets):
            found.append(_cut(names[0], targets, steps, of_file[names[0]], of_model))
    return found


def _natural(name: str) -> list[tuple[int, str]]:
    """Return the sort key of a name: numbers by value, as the library sorts them."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _NUMBER.split(name)]


def _joined(
    whole: str,
    parts: Sequence[str],
    orders: Sequence[int],
    steps: tuple[tuple[str, int | None], ...],
    shapes: Mapping[str, Shape],
    shape: Shape,
) -> Fusion:
    """Return what parts of the file make in the model."""
    kinds = [list(range(orders.index(order), len(orders) - orders[::-1].index(order))) for order in sorted({*orders})]
    sizes = [shapes[part] for part in parts]
    known = [size for size in sizes if size is not None]
    regions: dict[int, Region] = {}
    if len(known) < len(sizes) or not all(known):
        return Fusion(whole, True, tuple(parts), why="a part has no shape")
    if steps == ((STACK, 0),) and len(kinds) == 1 and len({*known}) == 1:
        regions = {at: ((at, at + 1),) for at in range(len(parts))}
        made: Shape = (len(parts), *known[0])
    elif steps == ((STACK, 0), (JOIN, 1)) and _alike(kinds, known):
        offset = 0
        for kind in kinds:
            rows = known[kind[0]][0]
            regions |= {at: ((nth, nth + 1), (offset, offset + rows)) for nth, at in enumerate(kind)}
            offset += rows
        made = (len(kinds[0]), offset, *known[0][1:])
    elif len(steps) == 1 and steps[0][0] == JOIN and (dimension := steps[0][1]) is not None:
        if dimension >= len(known[0]) or len({(*size[:dimension], *size[dimension + 1 :]) for size in known}) > 1:
            return Fusion(whole, True, tuple(parts), why="the parts do not fit together")
        offset, before = 0, tuple((0, size) for size in known[0][:dimension])
        for at, size in enumerate(known):
            regions[at] = (*before, (offset, offset + size[dimension]))
            offset += size[dimension]
        made = (*known[0][:dimension], offset, *known[0][dimension + 1 :])
    else:
        names = ", ".join(name for name, _ in steps)
        unknown = steps[0][0] not in (STACK, JOIN) or len(steps) > 2
        why = f"transformers converts it as it loads ({names})" if unknown else "the parts do not fit together"
        return Fusion(whole, True, tuple(parts), why=why)
    if made != shape:
        return Fusion(whole, True, tuple(parts), why="the parts make another shape", shape=made)
    return Fusion(whole, True, tuple(parts), tuple(regions[at] for at in range(len(parts))), shape=made)


def _alike(kinds: Sequence[Sequence[int]], sizes: Sequence[tuple[int, ...]]) -> bool:
    """Whether each kind has as many tensors, of one shape, and kinds differ in the first dimension only."""
    within = all(len({sizes[at] for at in kind}) == 1 for kind in kinds)
    return within and len({len(kind) for kind in kinds}) == 1 and len({size[1:] for size in sizes}) == 1


def _cut(
    whole: str,
    targets: tuple[str, ...],
    steps: tuple[tuple[str, int | None], ...],
    shape: Shape,
    shapes: Mapping[str, Shape],
) -> Fusion:
    """Return what parameters of the model are cut from one tensor of the file."""
    sizes = [shapes[target] for target in targets]
    known = [size for size in sizes if size]
    if steps != ((CUT, 0),):
        names = ", ".join(name for name, _ in steps)
        return Fusion(whole, False, targets, why=f"transformers converts it as it loads ({names})")
    if len(known) < len(sizes) or len({size[1:] for size in known}) > 1:
        return Fusion(whole, False, targets, why="the parts do not fit together")
    regions, offset = [], 0
    for size in known:
        regions.append(((offset, offset + size[0]),))
        offset += size[0]
    made = (offset, *known[0][1:])
    if made != shape:
        return Fusion(whole, False, targets, why="the parts make another shape", shape=made)
    return Fusion(whole, False, targets, tuple(regions), shape=made)


def expert_moves(apart: Iterable[str], stacked: Iterable[str]) -> dict[str, Move]:
    """Say what becomes of the parts of experts, by their names alone.

    A stack and its parts stand in the same layer: what comes before `experts` is the same up to its last number, and
    no other stack of that layer has that name.

    Args:
        apart: Names of the side that may have the parts.
        stacked: Names of the side that may have the stacks.
    """
    stacks: dict[tuple[str, str], list[str]] = {}
    for name in stacked:
        if match := FUSED.fullmatch(name):
            stacks.setdefault((_layer(match["place"]), match["param"]), []).append(name)
    if not stacks:
        return {}
    moves, places, there = {}, dict[str, str](), {*stacked}
    apart = list(apart)
    for name in apart:
        match = EXPERT.fullmatch(name)
        if match is None or match["part"] not in EXPERT_PARTS:
            continue
        param, order, steps = EXPERT_PARTS[match["part"]]
        targets = stacks.get((_layer(match["place"]), param), [])
        exact = [target for target in targets if target.startswith(f"{match['place']}.experts.")]
        if len(targets) == 1 or exact:
            moves[name] = Move(((exact or targets)[0],), order, steps)
            places[match["place"]] = (exact or targets)[0].rpartition(".experts.")[0]
    for name in apart:  # the router beside the experts is renamed with them
        for depth in range(name.count("."), 0, -1):
            place = ".".join(name.split(".")[:depth])
            if place in places and (beside := places[place] + name[len(place) :]) in there and name not in moves:
                moves[name] = Move((beside,))
    return moves


def _layer(place: str) -> str:
    """Return a path up to its last number."""
    parts = place.split(".")
    last = max((at for at, part in enumerate(parts) if part.isdecimal()), default=len(parts) - 1)
    return ".".join(parts[: last + 1])
