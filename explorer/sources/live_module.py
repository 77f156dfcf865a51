"""A module in this process as a table: names, shapes, owners and ties from the objects, totals from real loops."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from explorer.core.param import Column, Counters, Finding, Model, ModuleClass, Origin
from explorer.core.text import visible

if TYPE_CHECKING:
    import torch

UNTOLD_BASES = frozenset({"Module", "object"})
"""Base classes that every module has, so that naming them says nothing."""


def table_of(module: torch.nn.Module, origin: Origin, findings: tuple[Finding, ...] = ()) -> Model:
    """Return the table of a module's parameters, in `named_parameters()` order, each tensor once.

    Args:
        module: The module as it is; it is read, never changed.
        origin: Where it came from.
        findings: What the source noticed while opening it.

    Returns:
        The table, with the library's own counters.

    Raises:
        RuntimeError: The table does not add up to the counting loop over `module.parameters()`; a bug of this file.
    """
    named = list(module.named_parameters())
    index_of = {id(parameter): index for index, (_, parameter) in enumerate(named)}
    aliases: dict[int, tuple[str, ...]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        index = index_of[id(parameter)]
        if name != named[index][0]:
            aliases[index] = (*aliases.get(index, ()), visible(name))
    owners = dict(module.named_modules(remove_duplicate=False))
    classes: dict[type, ModuleClass] = {}
    parameters = [parameter for _, parameter in named]
    numels = array("q", (_numel(parameter) for parameter in parameters))
    model = Model(
        origin=origin,
        names=[visible(name) for name, _ in named],
        shapes=Column.of(_shape(parameter) for parameter in parameters),
        numels=numels,
        nbytes=array("q", (n * p.dtype.itemsize for n, p in zip(numels, parameters, strict=True))),
        dtypes=Column.of(str(parameter.dtype).removeprefix("torch.") for parameter in parameters),
        devices=Column.of(str(parameter.device) for parameter in parameters),
        requires_grad=Column.of(parameter.requires_grad for parameter in parameters),
        modules=Column.of(_module_class(owners.get(name.rpartition(".")[0]), classes) for name, _ in named),
        shards=Column.constant(None, len(named)),
        aliases=aliases,
        counters=_count(module),
        findings=findings,
    )
    if model.counters is None or model.counters.loop != model.total:
        raise RuntimeError(f"the table adds up to {model.total:,}, the counting loop to {model.counters}")
    return model


def _shape(parameter: torch.Tensor) -> tuple[int, ...] | None:
    from torch.nn.parameter import is_lazy

    # `.shape` of an uninitialized lazy parameter raises: it has none yet.
    return None if is_lazy(parameter) else tuple(parameter.shape)


def _numel(parameter: torch.Tensor) -> int:
    from torch.nn.parameter import is_lazy

    return 0 if is_lazy(parameter) else parameter.numel()


def _module_class(owner: torch.nn.Module | None, classes: dict[type, ModuleClass]) -> ModuleClass | None:
    if owner is None:
        return None
    kind = type(owner)
    if kind not in classes:
        bases = (base.__name__ for base in kind.__mro__[1:] if base.__name__ not in UNTOLD_BASES)
        classes[kind] = ModuleClass(visible(kind.__name__), tuple(map(visible, bases)))
    return classes[kind]


def _count(module: torch.nn.Module) -> Counters:
    """Run the loops that people write, on the real object."""
    np = 0
    for p in module.parameters():
        np += _numel(p)
    state = _tensors(module.state_dict().values())
    buffers = list(module.buffers())
    return Counters(
        loop=np,
        num_parameters=_num_parameters(module),
        without_embeddings=_num_parameters(module, exclude_embeddings=True),
        trainable=sum(_numel(p) for p in module.parameters() if p.requires_grad),
        state_dict_tensors=len(state),
        state_dict_elements=sum(map(_numel, state)),
        buffer_tensors=len(buffers),
        buffer_elements=sum(map(_numel, buffers)),
    )


def _tensors(values: Iterable[Any]) -> list[torch.Tensor]:
    import torch

    # `get_extra_state` may put anything into a state dict; only tensors have elements.
    return [value for value in values if isinstance(value, torch.Tensor)]


def _num_parameters(module: torch.nn.Module, **options: bool) -> int | None:
    """Ask transformers' own counter; `None` where the module has none, or where it fails on this model."""
    method = getattr(module, "num_parameters", None)
    if not callable(method):
        return None
    try:
        count = method(**options)
    except Exception:  # one counter that fails must not keep the model from opening
        return None
    return count if isinstance(count, int) else None
