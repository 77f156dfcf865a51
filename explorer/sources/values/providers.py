"""Finds the values of each row of a table: in a checkpoint's files, in a module, in the files under a skeleton."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar

from explorer.core.arrange import Fusion, arrange
from explorer.core.errors import ParamxError
from explorer.core.text import shape_text, visible
from explorer.sources.checkpoint import locator
from explorer.sources.checkpoint.files import File
from explorer.sources.checkpoint.place import Pieces, Place
from explorer.sources.offloading import Offloads
from explorer.sources.values import CANT_BE_SHOWN, Readable
from explorer.sources.values.arranged import arranged
from explorer.sources.values.in_file import FileTensor, OpenFile
from explorer.sources.values.in_memory import REMEDY, TorchTensor
from explorer.sources.values.in_model import InModel
from explorer.sources.values.in_pieces import PiecedTensor
from explorer.sources.values.offloaded import read_offloaded

if TYPE_CHECKING:
    import torch

    from explorer.core.param import Model
    from explorer.sources.hf_weights import Weights
    from explorer.sources.overlay import Overlay

Key = TypeVar("Key", int, str)
Spot = TypeVar("Spot", bound="Place | Pieces")

OTHER_FILE = "another file is there now than the one that was opened"
"""Why a row of the table is not in the file any more."""


def at_place(name: str, place: Place | Pieces, open_file: OpenFile = File) -> Readable:
    """Return what reads the tensor at a place, or in pieces.

    Raises:
        ParamxError: It can't be decoded here.
    """
    from explorer.sources.values.gguf_blocks import BLOCKS, BlockTensor

    if isinstance(place, Pieces):
        return PiecedTensor(name, place, open_file)
    if place.dtype in BLOCKS and BLOCKS[place.dtype][1].elements > 1:
        return BlockTensor(name, place, open_file)
    return FileTensor(name, place, open_file)


class Located(Generic[Key, Spot]):
    """Says where tensors lie; the headers are read when the first place is asked for."""

    def __init__(self, read: Callable[[], Callable[[Key], Spot]]) -> None:
        """Read the headers with `read`."""
        self._read: Callable[[], Callable[[Key], Spot]] = read
        self._place: Callable[[Key], Spot] | None = None

    def __call__(self, key: Key) -> Spot:
        """Return where a tensor lies.

        Raises:
            ParamxError: It can't be read (any more).
        """
        if self._place is None:
            self._place = self._read()
        return self._place(key)


class FileValues:
    """The values of a checkpoint's table. The headers are read when the first value is asked for."""

    def __init__(self, model: Model, target: str, open_file: OpenFile = File) -> None:
        """Serve the rows of a checkpoint's own table, opened from `target`."""
        self._model, self._open = model, open_file
        self._located: Located[int, Place | Pieces] = Located(lambda: locator(model.origin.kind, target))

    def __call__(self, index: int) -> Readable:
        """Open the tensor of a row.

        Raises:
            ParamxError: It can't be read, or another file is there now.
        """
        name = self._model.names[index]
        try:
            place = self._located(index)
        except IndexError:
            raise ParamxError(name, OTHER_FILE, "open it again") from None
        if self._model.shapes[index] != place.shape or self._model.dtypes[index] != place.dtype:
            raise ParamxError(name, OTHER_FILE, "open it again")
        return at_place(name, place, self._open)


class ModuleValues:
    """The values of a module's parameters, in the table's order."""

    def __init__(self, module: torch.nn.Module, remedy: str = REMEDY) -> None:
        """Serve the parameters of a module; it is never changed.

        Args:
            module: The module.
            remedy: What would give it values where it has none.
        """
        self._module, self._named, self._remedy = module, list(module.named_parameters()), remedy

    def __call__(self, index: int) -> Readable:
        """Open the tensor of a row.

        Raises:
            ParamxError: It has no values.
        """
        name, parameter = self._named[index]
        kept = self._offloads.find(name, parameter)
        if kept is not None:
            return read_offloaded(name, parameter, kept)
        if parameter.is_meta and not self._is_skeleton:
            raise ParamxError(name, f"{CANT_BE_SHOWN}: it is on the meta device, others are not", self._remedy)
        return TorchTensor(name, parameter, self._remedy)

    @cached_property
    def _offloads(self) -> Offloads:
        return Offloads(self._module.named_modules())

    @cached_property
    def _is_skeleton(self) -> bool:
        """Whether no parameter has values: then one refusal is told for all."""
        return all(parameter.is_meta for _, parameter in self._named)


class OverlaidValues:
    """The values of a skeleton's parameters, which lie in the files that it was laid over."""

    def __init__(self, model: Model, overlay: Overlay, read: Callable[[], Weights]) -> None:
        """Serve the parameters of a model that was built over a checkpoint's headers.

        Behind them it serves what else the files hold, in the order of `Overlay.beside`.

        Args:
            model: The skeleton's table.
            overlay: What each tensor of the checkpoint is in the model.
            read: Reads the checkpoint's headers (again).
        """
        self._model, self._names = model, overlay.params
        stacked = {part for stack in overlay.stacks for part in stack.parts}
        self._homes = {home: name for name, home in overlay.homes.items() if name not in stacked}
        self._located: Located[str, Place] = Located(lambda: _by_name(read()))
        self._missing = frozenset(overlay.missing)
        self._unread = {name: visible(shard) for name, shard in overlay.unread.items()}
        self._stacks = {param: len(stack.parts) for stack in overlay.stacks for param in stack.params}
        self._moves, self._read = overlay.moves, read
        self._fused: dict[str, Fusion] | None = None
        self._beside = [raw for raw, _ in overlay.beside]

    def __call__(self, index: int) -> Readable:
        """Open the tensor of a row.

        Raises:
            ParamxError: No one tensor of the files holds it.
        """
        if index >= len(self._names):  # a comparison counts on over what the files hold beside the parameters
            raw = self._beside[index - len(self._names)]
            return at_place(visible(raw), self._located(raw))
        name, raw = self._model.names[index], self._names[index]
        held = self._homes.get(raw)
        if held is None:
            if raw in self._unread:
                raise ParamxError(name, f"its shard can't be read: {self._unread[raw]}", "fetch the shard again")
            if raw in self._missing:
                raise ParamxError(name, "the file has no such tensor: from_pretrained fills it at random")
            if (fusion := self._fusion(raw)) is not None:
                return arranged(name, fusion, raw, lambda part: at_place(name, self._located(part)))
            parts = self._stacks.get(raw)
            made = f"made of {parts:,} tensors of the file" if parts else "not stored as one tensor of the file"
            raise ParamxError(
                name, f"its values are {made} as it is loaded", "open it with --load, or the file itself"
            )
        place = self._located(held)
        found = at_place(name, place)
        shape = self._model.shapes[index]
        if shape is not None and shape != place.shape:
            why = f"the file holds it as {shape_text(place.shape)}, the model as {shape_text(shape)}"
            raise ParamxError(name, why, "open it with --load, or the file itself")
        notes = [f"in the file as {held}"] if held != raw else []
        if place.dtype != self._model.dtypes[index]:
            notes.append(f"{place.dtype} in the file, {self._model.dtypes[index]} in the model")
        return InModel(found, self._model.requires_grad[index], ", ".join(notes))

    def _fusion(self, name: str) -> Fusion | None:
        """Return how a parameter is made of tensors of the files, if it is."""
        if self._fused is None:
            table, names = (weights := self._read()).table, weights.names
            of_file = {each: table.shapes[row] for row, each in enumerate(names)}
            of_model = {each: self._model.shapes[row] for row, each in enumerate(self._names)}
            self._fused = {}
            for fusion in arrange(self._moves, of_file, of_model):
                self._fused |= dict.fromkeys((fusion.whole,) if fusion.in_model else fusion.parts, fusion)
        return self._fused.get(name)


def _by_name(weights: Weights) -> Callable[[str], Place]:
    """Return what tells the place of a checkpoint's tensor by its name."""
    rows, place = weights.rows, weights.place

    def located(name: str) -> Place:
        if place is None or name not in rows:
            raise ParamxError(visible(name), OTHER_FILE if place else "its bytes are out of reach", "open it again")
        return place(rows[name])

    return located
