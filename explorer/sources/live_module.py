"""Reads a module of this process as a table: names, shapes, owners and ties from objects, totals from real loops."""

from __future__ import annotations

import platform
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from explorer.core.param import Column, Counters, Finding, Model, ModuleClass, Origin
from explorer.core.text import plural, visible
from explorer.core.wrapped import unwrapped
from explorer.sources import shared_memory
from explorer.sources.json_safe import json_safe
from explorer.sources.odd_parameters import facts_of, fsdp_shapes, said_numel
from explorer.sources.offloading import Offloads
from explorer.sources.places import bare_class, places_of

if TYPE_CHECKING:
    import torch

UNTOLD_BASES = frozenset({"Module", "object"})
"""Base classes that every module has, so that naming them says nothing."""

ADAPTED = frozenset({"BaseTunerLayer", "AuxiliaryTrainingWrapper"})
"""PEFT's classes of layers that hold an adapter beside the original."""

WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Under which name a wrapper keeps its only child."""


def table_of(module: torch.nn.Module, origin: Origin, findings: tuple[Finding, ...] = ()) -> Model:
    """Return the table of a module's parameters, in `named_parameters()` order, each tensor once.

    What wrappers put into names (`module.`, `_orig_mod.`, `_fsdp_wrapped_module.`) is left out of the table, for
    display and for matching alike: groups tried on a wrapped model are those of the bare one, and exported code and
    `param_groups` clean names in the same way. A finding says so.

    Args:
        module: The module as it is; it is read, never changed.
        origin: Where it came from.
        findings: What the source noticed while opening it.

    Returns:
        The table, with the library's own counters; `notes` say what is odd about a parameter.

    Raises:
        RuntimeError: The table does not add up to the counting loop over `module.parameters()`; a bug of this file.
    """
    named = list(module.named_parameters())
    every = list(module.named_parameters(remove_duplicate=False))
    raw = [name for name, _ in every]
    plain = dict(zip(raw, unwrapped(raw), strict=True))
    index_of = {id(parameter): index for index, (_, parameter) in enumerate(named)}
    aliases: dict[int, tuple[str, ...]] = {}
    for name, parameter in every:
        index = index_of[id(parameter)]
        if name != named[index][0]:
            aliases[index] = (*aliases.get(index, ()), visible(plain[name]))
    owners = dict(module.named_modules(remove_duplicate=False))
    flat = fsdp_shapes(list(owners.values()))
    holders = [owners.get(name.rpartition(".")[0]) for name, _ in named]
    facts = [facts_of(parameter, flat) for _, parameter in named]
    classes: dict[type, ModuleClass] = {}
    names = [visible(plain[name]) for name, _ in named]
    parameters = [parameter for _, parameter in named]
    notes = {index: each.note for index, each in enumerate(facts) if each.note}
    shared = [] if flat else shared_memory.pairs(parameters)  # FSDP's parameters are pieces of one buffer
    raw_names = [name for name, _ in named]
    told = shared_memory.notes(shared, names)
    offloads = Offloads(owners.items())
    kept = [(index, where.note) for index, each in enumerate(named) if (where := offloads.find(*each)) is not None]
    for index, note in (*told, *kept, *_adapters(raw_names, owners), *_reparametrized(raw_names, owners)):
        _add(notes, index, note)
    model = Model(
        origin=origin,
        names=names,
        shapes=Column.of(each.shape for each in facts),
        numels=array("q", (each.numel for each in facts)),
        nbytes=array("q", (each.nbytes for each in facts)),
        dtypes=Column.of(each.dtype for each in facts),
        devices=Column.of(each.device for each in facts),
        requires_grad=Column.of(parameter.requires_grad for parameter in parameters),
        modules=Column.of(module_class(owner, classes) for owner in holders),
        shards=Column.constant(None, len(named)),
        aliases=aliases,
        counters=_count(module, is_fsdp=bool(flat) or any(name.endswith("_flat_param") for name in raw)),
        findings=(*findings, *_wrapping(raw, plain), *shared_memory.findings(shared, names), *_packed(owners)),
        notes=notes,
        places=Column.of(places_of(owners, [name for name, _ in named], [plain[name] for name, _ in named])),
    )
    said = sum(map(said_numel, parameters))
    if model.counters is None or model.counters.loop != said:
        raise RuntimeError(f"the table adds up to {said:,}, the counting loop to {model.counters}")
    return model


def live_origin(module: torch.nn.Module, kind: str) -> Origin:
    """Return where a module of this process came from: its class, its configuration, what wraps it."""
    import torch

    inner, wrappers = module, []
    while len(children := dict(inner.named_children())) == 1 and next(iter(children)) in WRAPPERS:
        wrappers.append(type(inner).__name__)
        inner = next(iter(children.values()))
    if bare_class(type(inner)) is not type(inner):
        wrappers.append("FSDP2")
    config = getattr(inner, "config", None)
    to_dict = getattr(config, "to_dict", None)
    library = sys.modules.get("transformers")
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    if library is not None and isinstance(inner, library.PreTrainedModel):
        versions["transformers"] = library.__version__
    name = visible(bare_class(type(inner)).__name__)
    model_type = getattr(config, "model_type", None)
    return Origin(
        target=name,
        kind=kind,
        description="a module of this process" + f", in {visible(' in '.join(reversed(wrappers)))}" * bool(wrappers),
        class_name=name,
        model_type=visible(model_type) if isinstance(model_type, str) and model_type else None,
        config=_config(to_dict) if callable(to_dict) else None,
        versions=versions,
    )


def _config(to_dict: Any) -> Mapping[str, Any] | None:
    try:
        found = json_safe(to_dict())
    except Exception:  # a stranger's method
        return None
    return {key: item for key, item in found.items() if key != "_name_or_path"} if isinstance(found, dict) else None


def _add(notes: dict[int, str], index: int, text: str) -> None:
    notes[index] = f"{notes[index]}; {text}" if index in notes else text


def _packed(owners: Mapping[str, torch.nn.Module]) -> Iterable[Finding]:
    """Say which modules hold weights that are in no `parameters()`: quantized ones pack them elsewhere."""
    import torch

    # A scripted module is of a class derived from it, and hides nothing.
    names = [
        visible(name)
        for name, owner in owners.items()
        if any(type(value) is torch.ScriptObject for value in vars(owner).values())
        or any(_is_packed(buffer) for buffer in owner._buffers.values())
    ]
    if names:
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        message = f"{plural(len(names), 'module')} with packed weights, which are no parameters: {names[0]}{more}"
        why = "torch's quantized modules keep them in objects of their own, GPTQ's and AWQ's in integer buffers: no "
        yield Finding(
            "packed-weights", "hint", message, tuple(names), f"{why}counting loop, and no size here, has them"
        )


def _is_packed(buffer: torch.Tensor | None) -> bool:
    """Whether a buffer is a matrix of packed weights, as `qweight`: indices and positions are of 8 bytes."""
    import torch

    return buffer is not None and buffer.ndim > 1 and buffer.dtype in (torch.int32, torch.int8, torch.uint8)


def _wrapping(raw: Sequence[str], plain: Mapping[str, str]) -> Iterable[Finding]:
    """Say which parts of names are not shown."""
    parts = {part for name in raw if plain[name] != name for part in name.split(".")} & set(WRAPPERS)
    if parts:
        told = ", ".join(f"{part}." for part in sorted(parts))
        yield Finding(
            "wrapped",
            "hint",
            f"names are shown without {told}, which wrappers add",
            why="Groups are decided on the names of the bare model, so that they hold before and after wrapping.",
        )


def _adapters(raw: Sequence[str], owners: Mapping[str, torch.nn.Module]) -> Iterable[tuple[int, str]]:
    """Say what PEFT added and what it wraps (PEFT 0.21: `tuners/tuners_utils.py` and `utils/other.py`)."""
    tuned = {
        path for path, module in owners.items() if any(kind.__name__ in ADAPTED for kind in type(module).__mro__)
    }
    if not tuned:
        return
    for index, name in enumerate(raw):
        parts = name.split(".")
        for at in range(len(parts) - 1, 0, -1):
            if ".".join(parts[:at]) in tuned:
                layer = owners[".".join(parts[:at])]
                merged = [str(adapter) for adapter in getattr(layer, "merged_adapters", None) or ()]
                if parts[at] in ("base_layer", "original_module"):
                    inside = f"; adapter {visible(', '.join(merged))} is merged into it" if merged else ""
                    yield index, f"PEFT: of the layer that an adapter wraps{inside}"
                else:
                    yield index, _of_adapter(layer, parts[at], parts[at + 1] if at + 1 < len(parts) else "", merged)
                break


def _of_adapter(layer: object, part: str, adapter: str, merged: Sequence[str]) -> str:
    """Say which adapter a parameter is of, and whether that takes part as things stand."""
    if not adapter:
        return f"PEFT: {visible(part)}"
    active = getattr(layer, "active_adapters", None)
    state = ""
    if adapter in merged:
        state = ", merged into the layer that it wraps"
    elif getattr(layer, "disable_adapters", False) is True:
        state = ", disabled"
    elif isinstance(active, list | tuple) and adapter not in active:
        state = ", not active"
    return f"PEFT: {visible(part)} of adapter {visible(adapter)}{state}"


def _reparametrized(raw: Sequence[str], owners: Mapping[str, torch.nn.Module]) -> Iterable[tuple[int, str]]:
    """Say which tensors the module computes anew from a parameter before each use.

    By `torch.nn.utils.parametrize`, and by hooks as those before it and of `prune` do (torch 2.13,
    `nn/utils/parametrize.py`, `nn/utils/weight_norm.py`, `nn/utils/spectral_norm.py`, `nn/utils/prune.py`).
    """
    for index, name in enumerate(raw):
        path, _, attribute = name.rpartition(".")
        head, found, tensor = path.rpartition("parametrizations.")
        if found and (not head or head.endswith(".")):
            made = [
                visible(type(part).__name__.lstrip("_")) for part in getattr(owners.get(path), "children", list)()
            ]
            yield index, f"parametrized: {visible(tensor)} is computed from it by {', '.join(made)}"
            continue
        hooks = getattr(owners.get(path), "_forward_pre_hooks", None) or {}
        for hook in hooks.values():
            made_of = getattr(hook, "_tensor_name", None) or getattr(hook, "name", None)
            if isinstance(made_of, str) and attribute in {f"{made_of}_{end}" for end in ("orig", "g", "v")}:
                maker = visible(type(hook).__name__)
                yield index, f"parametrized: {visible(made_of)} is computed from it by {maker}"
                break


def module_class(owner: torch.nn.Module | None, classes: dict[type, ModuleClass]) -> ModuleClass | None:
    """Return the class of a module, made once for each type and kept in `classes`; `None` of no module."""
    if owner is None:
        return None
    kind = bare_class(type(owner))
    if kind not in classes:
        bases = (base.__name__ for base in kind.__mro__[1:] if base.__name__ not in UNTOLD_BASES)
        classes[kind] = ModuleClass(visible(kind.__name__), tuple(map(visible, bases)))
    return classes[kind]


def _count(module: torch.nn.Module, is_fsdp: bool) -> Counters:
    """Run the loops that people write, on the real object."""
    from torch.nn.parameter import is_lazy

    np = raising = lazy = 0
    for p in module.parameters():
        try:
            np += int(p.numel())
        except Exception:  # uninitialized, or ragged with a symbolic size
            raising += 1
            lazy += is_lazy(p)
    # FSDP1 gathers all ranks' parts for a state dict: with one rank asking, it would wait for the others for ever.
    state = None if is_fsdp else _state(module)
    buffers = list(module.buffers())
    return Counters(
        loop=np,
        num_parameters=_num_parameters(module),
        without_embeddings=_num_parameters(module, exclude_embeddings=True),
        trainable=sum(said_numel(p) for p in module.parameters() if p.requires_grad),
        state_dict_tensors=None if state is None else len(state),
        state_dict_elements=None if state is None else sum(map(said_numel, state)),
        buffer_tensors=len(buffers),
        buffer_elements=sum(map(said_numel, buffers)),
        raising=raising,
        lazy=lazy,
    )


def _state(module: torch.nn.Module) -> list[torch.Tensor] | None:
    import torch

    try:
        values = module.state_dict().values()
    except Exception:  # hooks of strangers; one counter that fails must not keep the model from opening
        return None
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
