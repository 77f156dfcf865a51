"""Finds the classes around each parameter's module in a model of this process, and its configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from explorer.core.param import Place
from explorer.core.text import visible

if TYPE_CHECKING:
    import torch

DEEPEST = 3
"""How deep a configuration's parts are followed."""


def bare_class(kind: type) -> type:
    """Return a module's class without what `fully_shard` puts before it.

    It makes a class `FSDPLinear` of `FSDPModule` and `Linear` (torch 2.13, `distributed/fsdp/_fully_shard`); rules
    decide by the bare model's class.
    """
    if any(base.__name__ == "FSDPModule" for base in kind.__bases__):
        return next(base for base in kind.__bases__ if base.__name__ != "FSDPModule")
    return kind


def places_of(modules: Mapping[str, torch.nn.Module], raw: Sequence[str], plain: Sequence[str]) -> Iterator[Place]:
    """Yield the place of each parameter's module.

    Args:
        modules: The modules by path, `""` the model itself, as `named_modules` has them.
        raw: Names of parameters, as torch has them.
        plain: The same names as the table shows them, without what wrappers add.
    """
    parts: dict[int, tuple[str, ...]] | None = None
    known: dict[tuple[str, str], Place] = {}
    for raw_name, plain_name in zip(raw, plain, strict=True):
        owner = (raw_name.rpartition(".")[0], plain_name.rpartition(".")[0])
        if owner not in known:
            chain = list(_chain(modules, *owner))
            if parts is None:
                parts = _parts(getattr(chain[0], "config", None))
            around = tuple(visible(bare_class(type(module)).__name__) for module in chain[:-1])
            known[owner] = Place(around, _config(chain, parts))
        yield known[owner]


def _chain(modules: Mapping[str, torch.nn.Module], raw: str, plain: str) -> list[torch.nn.Module]:
    """Return the modules on the way to an owner, itself last; of a wrapper and what it wraps, the latter."""
    chain = [modules[""]]
    left = plain.split(".") if plain else []
    path = ""
    for segment in raw.split(".") if raw else ():
        path = f"{path}.{segment}" if path else segment
        if left and left[0] == segment:
            left.pop(0)
            chain.append(modules[path])
        else:
            chain[-1] = modules[path]
    return chain


def _parts(config: Any, path: tuple[str, ...] = ()) -> dict[int, tuple[str, ...]]:
    """Return the keys under which a configuration and its parts stand, by identity."""
    found: dict[int, tuple[str, ...]] = {}
    if _is_config(config) and len(path) <= DEEPEST:
        found[id(config)] = path
        for key, value in vars(config).items():
            for identity, below in _parts(value, (*path, visible(key))).items():
                found.setdefault(identity, below)
    return found


def _is_config(value: Any) -> bool:
    return callable(getattr(value, "to_dict", None)) and isinstance(getattr(value, "model_type", None), str)


def _config(chain: Sequence[torch.nn.Module], parts: Mapping[int, tuple[str, ...]]) -> tuple[str, ...] | None:
    """Return the keys of the configuration that the nearest module has; `None` where it is not one of the model's."""
    root = getattr(chain[0], "config", None)
    for module in reversed(chain):
        config = vars(module).get("config")
        if _is_config(config):
            if id(config) in parts:
                return parts[id(config)]
            # T5 gives its stacks copies of the configuration, which say of themselves which stack they are for.
            return () if type(config) is type(root) else None
    return None
