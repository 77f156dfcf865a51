"""Checkpoints read by hand, with the standard library alone: names, shapes, dtypes and places of their tensors.

One module a format, and what they share. Nothing of a file is ever run, mapped, or trusted to be as long as it says.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from explorer.sources.checkpoint.place import Pieces, Place

LOCATORS = {
    "safetensors": "explorer.sources.checkpoint.safetensors_file",
    "torch": "explorer.sources.checkpoint.torch_file",
    "gguf": "explorer.sources.checkpoint.gguf_file",
    "dcp": "explorer.sources.checkpoint.dcp_dir",
}
"""For each kind the module that has `locator(target)`."""


def locator(kind: str, target: str) -> Callable[[int], Place | Pieces]:
    """Return what tells where the bytes of any row of one target lie, its headers read once.

    Args:
        kind: `Origin.kind` of the table.
        target: `Origin.target` as it was asked for.

    Raises:
        ParamxError: It can't be read (any more).
    """
    return cast("Callable[[int], Place | Pieces]", import_module(LOCATORS[kind]).locator(target))
