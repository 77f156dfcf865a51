"""Tells what each tensor of a checkpoint is in a model: a parameter, a part of one, a buffer, a copy, or nothing.

Counts of a file and of its model differ for reasons: older versions saved buffers, tied tensors may be saved twice,
transformers 5 stacks experts that files hold apart. Each is told with its tensors, and they add up to the difference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from explorer.core.arrange import Move
from explorer.core.param import Model, ModuleClass, Param
from explorer.core.text import shape_text, visible
from explorer.sources.live_module import module_class
from explorer.sources.moves import library_moves

if TYPE_CHECKING:
    from transformers import PreTrainedModel

EXPERT = re.compile(r"(?P<stack>.*\bexperts)\.\d+\.")
"""How a file names the parts of a stack of experts: `mlp.experts.7.up_proj.weight`."""

SAME_MODEL = 0.5
"""Share of a file's tensors that a model must have for the two to belong together."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Tensors of the file and parameters of the model that hold the same values in another arrangement."""

    parts: tuple[str, ...]
    """Tensors of the file."""
    params: tuple[str, ...]
    """Parameters of the model."""


@dataclass(slots=True)
class Overlay:
    """A model laid over a file. Names of the file are as the file has them, those of the model as the model has."""

    tensors: int
    """Tensors in the file."""
    params: tuple[str, ...]
    """The model's parameters, tied ones once."""
    homes: dict[str, str] = field(default_factory=dict)
    """For each tensor of the file that is a parameter, or a part of one: the parameter."""
    extra: dict[str, str] = field(default_factory=dict)
    """Tensors whose parameter another tensor of the file is already, with the parameter: tied, and saved twice."""
    buffers: list[str] = field(default_factory=list)
    """Tensors that are buffers of the model, or were in an older version of it."""
    stacks: list[Stack] = field(default_factory=list)
    """What the library puts together, or takes apart, as it loads."""
    ignored: list[str] = field(default_factory=list)
    """Tensors that the class leaves unread, by a list of its own, and silently."""
    unexpected: list[str] = field(default_factory=list)
    """Tensors that the model does not have."""
    missing: list[str] = field(default_factory=list)
    """Parameters that the file does not have."""
    unread: dict[str, str] = field(default_factory=dict)
    """Parameters that are in a shard that could not be read, and its name."""
    shards: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """For each parameter the names of the files that hold it, or parts of it."""
    missing_buffers: list[str] = field(default_factory=list)
    """Buffers that the library saves and the file does not have."""
    shapes: list[tuple[str, str, str]] = field(default_factory=list)
    """Parameters of another shape in the file: the name, the file's shape, the model's."""
    file_shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """The file's shape of each of these."""
    dtypes: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """Parameters of another dtype in the file, by the file's dtype and the model's."""
    moves: Mapping[str, Move] = field(default_factory=dict)
    """What the library does to each tensor of the file as it loads it."""
    beside: list[tuple[str, Param]] = field(default_factory=list)
    """`buffers`, `ignored` and `unexpected`, each tensor with its facts."""
    owners: dict[str, ModuleClass | None] = field(default_factory=dict)
    """Class of the module that owns each tensor of the file that the model has."""

    @property
    def fits(self) -> bool:
        """Whether the file and the model belong together."""
        known = len(self.homes) + len(self.extra) + len(self.buffers)
        return known > 0 and known >= SAME_MODEL * self.tensors


def lay_over(
    model: PreTrainedModel,
    table: Model,
    names: Sequence[str],
    told: Mapping[str, Any],
    unread: Mapping[str, str] | None = None,
) -> Overlay:
    """Work out what each tensor of a file is in a model.

    Args:
        model: The model, as the library loaded it from the file.
        table: The file's table.
        names: Names of the table's rows as the file has them.
        told: What the library says about the loading (`output_loading_info`).
        unread: Tensors that the checkpoint's index puts into files that could not be read, and the file.

    Returns:
        The relation.
    """
    canonical = _canonical(model)
    parameters = dict(model.named_parameters())
    buffers = {name for name, _ in model.named_buffers(remove_duplicate=False)}
    overlay = Overlay(len(names), tuple(parameters))
    rows = {name: row for row, name in enumerate(names)}
    overlay.moves = library_moves(model, names)
    where = _places(overlay.moves)
    stacked: dict[str, list[str]] = {}
    targets: dict[str, tuple[str, ...]] = {}
    left: list[str] = []
    # What is neither here nor there, the library ignores by lists of names: buffers that older versions saved, some
    # of them in other modules (rotary frequencies in each layer), and heads that the class does not have.
    known = {buffer.rpartition(".")[2] for buffer in buffers}
    unexpected = {str(name) for name in told.get("unexpected_keys", ())}
    for name in names:
        place, others = where[name]
        home = canonical.get(place)
        if others:
            held = tuple(dict.fromkeys(canonical[other] for other in others if other in canonical))
            if held:
                stacked.setdefault(held[0], []).append(name)
                targets[held[0]] = held
                continue
        if home is not None:
            overlay.homes[name] = home
        elif place in buffers:
            overlay.buffers.append(name)
        elif place in unexpected:
            left.append(name)
        else:
            (overlay.buffers if place.rpartition(".")[2] in known else overlay.ignored).append(name)
    for first, parts in stacked.items():
        _add_stack(overlay, parts, targets[first])
    _part_copies(overlay, names)
    covered = _covered(overlay)
    overlay.missing = [name for name in parameters if name not in covered]
    _stack_by_shape(overlay, left, table, rows, parameters)
    _take_unread(overlay, _places(library_moves(model, list(unread or ()))), canonical, unread or {})
    overlay.missing_buffers = sorted({str(name) for name in told.get("missing_keys", ())} & buffers)
    _differences(overlay, table, rows, parameters, told)
    _name_owners(overlay, model, where)
    _name_shards(overlay, table, rows)
    overlay.beside = [
        (name, replace(table[rows[name]], apart=what))
        for names_of, what in ((overlay.buffers, "buffer"), (overlay.ignored, ""), (overlay.unexpected, ""))
        for name in names_of
    ]
    return overlay


def _places(moves: Mapping[str, Move]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return where the library puts each tensor of a file: one name, and all of them where it converts."""
    return {name: (move.targets[0], move.targets if move.steps else ()) for name, move in moves.items()}


def _canonical(model: PreTrainedModel) -> dict[str, str]:
    """Return for every name of every parameter the one name under which it is listed."""
    first: dict[int, str] = {}
    return {
        name: first.setdefault(id(parameter), name)
        for name, parameter in model.named_parameters(remove_duplicate=False)
    }


def _add_stack(overlay: Overlay, parts: list[str], params: tuple[str, ...]) -> None:
    """Take parts of some parameters; one part that is one parameter is that parameter, perhaps transposed."""
    overlay.homes |= dict.fromkeys(parts, params[0])
    if (len(parts), len(params)) != (1, 1):
        overlay.stacks.append(Stack(tuple(parts), params))


def _part_copies(overlay: Overlay, names: Sequence[str]) -> None:
    """Part the tensors of the file that are a parameter from those that are the same parameter once more."""
    parts = {part for stack in overlay.stacks for part in stack.parts}
    ones = [name for name in names if name in overlay.homes and name not in parts]
    # The tensor that is called as the parameter is goes before another that is tied to it.
    taken: set[str] = set()
    for name in sorted(ones, key=lambda name: overlay.homes[name] != name):
        home = overlay.homes[name]
        if home in taken:
            overlay.extra[name] = home
            del overlay.homes[name]
        taken.add(home)


def _covered(overlay: Overlay) -> set[str]:
    return {*overlay.homes.values(), *(name for stack in overlay.stacks for name in stack.params)}


def _stack_by_shape(
    overlay: Overlay, left: list[str], table: Model, rows: Mapping[str, int], parameters: Mapping[str, Any]
) -> None:
    """Recognise experts that the library's own mapping does not: as many elements apart as the model has stacked."""
    parts: dict[str, list[str]] = {}
    for name in left:
        if match := EXPERT.match(name):
            parts.setdefault(match["stack"], []).append(name)
    taken: set[str] = set()
    for stack, names in parts.items():
        params = tuple(name for name in overlay.missing if name.rpartition(".")[0].endswith(stack))
        held = sum(table.numels[rows[name]] for name in names)
        if params and held == sum(parameters[name].numel() for name in params):
            _add_stack(overlay, names, params)
            taken |= {*names, *params}
    overlay.unexpected = [name for name in left if name not in taken]
    overlay.missing = [name for name in overlay.missing if name not in taken]


def _take_unread(
    overlay: Overlay,
    where: Mapping[str, tuple[str, tuple[str, ...]]],
    canonical: Mapping[str, str],
    unread: Mapping[str, str],
) -> None:
    """Part what the file lacks from what only can't be read."""
    missing = set(overlay.missing)
    for name, (place, others) in where.items():
        for home in (canonical.get(place), *(canonical.get(other) for other in others)):
            if home in missing:
                overlay.unread[home] = unread[name]
    overlay.missing = [name for name in overlay.missing if name not in overlay.unread]


def _name_shards(overlay: Overlay, table: Model, rows: Mapping[str, int]) -> None:
    """Note which files hold each parameter."""
    files: dict[str, dict[str, None]] = {}
    stacked = {part for stack in overlay.stacks for part in stack.parts}
    pairs = [(name, home) for name, home in overlay.homes.items() if name not in stacked]
    pairs += [(part, param) for stack in overlay.stacks for part in stack.parts for param in stack.params]
    for name, home in pairs:
        shard = table.shards[rows[name]]
        if shard is not None:
            files.setdefault(home, {})[shard] = None
    overlay.shards = {home: tuple(held) for home, held in files.items()}
    overlay.shards |= {home: (visible(shard),) for home, shard in overlay.unread.items()}


def _differences(
    overlay: Overlay,
    table: Model,
    rows: Mapping[str, int],
    parameters: Mapping[str, Any],
    told: Mapping[str, Any],
) -> None:
    """Compare shapes, as the library did, and dtypes."""
    for name, ours, theirs in sorted(told.get("mismatched_keys", ()), key=lambda item: str(item[0])):
        overlay.shapes.append((str(name), shape_text(tuple(ours)), shape_text(tuple(theirs))))
        overlay.file_shapes[str(name)] = tuple(ours)
    for name, home in overlay.homes.items():
        dtype = table.dtypes[rows[name]] or ""
        built = str(parameters[home].dtype).removeprefix("torch.")
        if dtype != built:
            overlay.dtypes.setdefault((dtype, built), []).append(name)


def _name_owners(overlay: Overlay, model: PreTrainedModel, where: Mapping[str, tuple[str, tuple[str, ...]]]) -> None:
    """Find the class of the module that owns each tensor."""
    modules = dict(model.named_modules(remove_duplicate=False))
    classes: dict[type, ModuleClass] = {}
    places = {**overlay.homes, **overlay.extra, **{name: where[name][0] for name in overlay.buffers}}
    for name, place in places.items():
        overlay.owners[name] = module_class(modules.get(place.rpartition(".")[0]), classes)
