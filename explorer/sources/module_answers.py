"""Answers requests about a built module, in the process that holds it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from explorer.core.compare_asking import BUFFERS, MOVES
from explorer.core.text import visible
from explorer.core.wrapped import unwrapped
from explorer.sources import Answer
from explorer.sources.values.answers import value_answers
from explorer.sources.values.providers import ModuleValues

if TYPE_CHECKING:
    import torch


def answers_of(module: torch.nn.Module) -> dict[str, Answer]:
    """Return what answers each request about a module; it is kept alive by them, and never changed."""
    return {
        "decay_names": partial(decay_names, module),
        MOVES: partial(moves, module),
        BUFFERS: partial(buffers, module),
        **value_answers(ModuleValues(module)),
    }


def moves(module: torch.nn.Module, arguments: Mapping[str, Any]) -> list[Any] | None:
    """Return what transformers would make of the tensors of a file if it loaded them into a module.

    Args:
        module: The module.
        arguments: `names`, the file's.

    Returns:
        For each name `Move.to_json`, `None` where the tensor keeps its name; `None` for all if the module is not
        transformers'.
    """
    library = sys.modules.get("transformers")
    if library is None or not isinstance(module, library.PreTrainedModel):
        return None
    from explorer.sources.moves import library_moves

    found = library_moves(module, arguments["names"])
    return [
        None if not move.steps and move.targets == (name,) else move.to_json()
        for name, move in ((name, found[name]) for name in arguments["names"])
    ]


def buffers(module: torch.nn.Module, arguments: Mapping[str, Any]) -> list[str]:
    """Return which tensors of a file are a module's buffers, or were in an older version of a library's.

    Args:
        module: The module.
        arguments: `names`, the file's.
    """
    every = [name for name, _ in module.named_buffers(remove_duplicate=False)]
    known = {visible(name) for name in unwrapped(every)}
    ends = {name.rpartition(".")[2] for name in known}
    # Buffers that moved or are no longer saved stand in the library's lists of what it leaves unread in old files.
    ignored = [
        re.compile(pattern)
        for part in module.modules()
        for pattern in getattr(part, "_keys_to_ignore_on_load_unexpected", None) or ()
    ]
    return [
        name
        for name in arguments["names"]
        if name in known or (name.rpartition(".")[2] in ends and any(pattern.search(name) for pattern in ignored))
    ]


def decay_names(module: torch.nn.Module, arguments: Mapping[str, Any]) -> list[str] | None:
    """Return what transformers' own Trainer decays, by its own function.

    Its names are those of the module tree, so that a tied tensor is named once for each place it is in; as in the
    table, what wrappers put into names is left out.

    Args:
        module: The module, wrapped or not.
        arguments: None are taken.

    Returns:
        The names; `None` if no part of the module is transformers'.
    """
    library = sys.modules.get("transformers")  # a module of transformers has imported it
    if library is None or not any(isinstance(part, library.PreTrainedModel) for part in module.modules()):
        return None
    from transformers.trainer import Trainer

    # It reads nothing of its instance (transformers 5.23, `trainer.py`), and making one needs accelerate.
    names = Trainer.get_decay_parameter_names(None, module)
    every = [name for name, _ in module.named_parameters(remove_duplicate=False)]
    plain = dict(zip(every, unwrapped(every), strict=True))
    return [visible(plain.get(name, name)) for name in names]
