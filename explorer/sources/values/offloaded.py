"""Reads the values that accelerate keeps of a module's parameters, from where they are: nothing is moved or kept."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.core.elements import ELEMENTS
from explorer.core.errors import ParamxError
from explorer.core.text import shape_text, visible
from explorer.sources.checkpoint.files import File
from explorer.sources.checkpoint.place import Place
from explorer.sources.checkpoint.safetensors_header import read_header
from explorer.sources.checkpoint.unchanged import unwatched
from explorer.sources.offloading import Offloaded, OnDisk
from explorer.sources.values import CANT_BE_SHOWN, Readable
from explorer.sources.values.in_file import FileTensor, opened
from explorer.sources.values.in_memory import TorchTensor
from explorer.sources.values.in_model import InModel

if TYPE_CHECKING:
    import torch


def read_offloaded(name: str, parameter: torch.Tensor, kept: Offloaded) -> Readable:
    """Return what reads an offloaded parameter.

    A file is read by us, the bytes that are asked for: accelerate maps it into memory and copies the whole.

    Args:
        name: The parameter's name.
        parameter: What stands for it in the module, on the meta device.
        kept: Where it is.

    Raises:
        ParamxError: It can't be read, or is another than the module says.
    """
    place = _place(name, kept.on_disk) if kept.on_disk else None
    found: Readable
    if place is not None:
        found, notes = FileTensor(name, place, _open), [kept.note, f"in {visible(str(place.path))}"]
    elif kept.key in kept.weights:
        found, notes = TorchTensor(name, kept.weights[kept.key]), [kept.note]
    else:
        raise ParamxError(name, f"{CANT_BE_SHOWN}: accelerate has offloaded it, and keeps no {visible(kept.key)}")
    shape, dtype = tuple(parameter.shape), str(parameter.dtype).removeprefix("torch.")
    if found.facts.shape != shape:
        why = f"offloaded as {shape_text(found.facts.shape)}, in the module {shape_text(shape)}"
        raise ParamxError(name, f"{CANT_BE_SHOWN}: it is {why}")
    if found.facts.dtype != dtype:
        notes.append(f"{found.facts.dtype} there, {dtype} in the model")
    return InModel(found, parameter.requires_grad, ", ".join(notes))


def _open(path: Path) -> File:
    with unwatched():
        return File(path)


def _place(name: str, stored: OnDisk) -> Place:
    if stored.name is None:
        size = ELEMENTS[stored.dtype].nbytes if stored.dtype in ELEMENTS else 0
        return Place(stored.path, 0, prod(stored.shape) * size, stored.dtype, stored.shape)
    with opened(_open, stored.path) as file:
        header = read_header(file, visible(stored.path.name))
    try:
        row = header.names.index(stored.name)
    except ValueError:
        why = f"{visible(stored.path.name)} has no {visible(stored.name)}, where accelerate keeps it"
        raise ParamxError(name, f"{CANT_BE_SHOWN}: {why}") from None
    shape = header.shapes[row]
    assert shape is not None
    return Place(stored.path, header.begins[row], header.nbytes[row], header.dtypes[row], shape)
