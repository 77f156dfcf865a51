"""Walks what a pickle built and lists its tensors under dotted names: nested mappings, lists, and whole modules.

The walk keeps a stack of its own, for a stranger's nesting would overflow Python's; each container on the way down is
remembered, so that one that holds itself ends, and the steps are counted, so that one shared ten times over, ten
levels deep, ends too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from explorer.core.param import ModuleClass
from explorer.sources.checkpoint.limits import MAX_NAME
from explorer.sources.checkpoint.pickle_reader import Global, Opaque, Pairs, Skipped
from explorer.sources.checkpoint.torch_script import Members
from explorer.sources.checkpoint.torch_tensors import Broken, Tensor, resolved

MAX_STEPS = 1_000_000
"""Most values that are looked at; a checkpoint of 100,000 tensors has 150,000."""

MAX_NAMES = 256 << 20
"""Most characters of all names."""

MAX_ALIASES = 10_000
"""Most names of one tensor."""

MAX_DEPTH = 2_000
"""How many levels of nesting are followed."""

MODULE_PARTS = ("_parameters", "_buffers", "_modules")
"""Attributes of `torch.nn.Module` whose entries are named as if they were its own; `state_dict()`'s order."""

BUFFER, ATTRIBUTE, OPTIMIZER, RANDOM = "buffer", "plain attribute", "optimizer state", "random state"
TRAINING = "training state"
"""What a tensor is that is no parameter, as `Model.apart` has it."""

RANDOM_STATE = (5056,)
"""Shape of `torch.get_rng_state()`, in uint8: a generator's state on the CPU (torch 2.13, CPUGeneratorImpl.cpp)."""

NUMPY_STATE = "MT19937"
"""How the tuple of `numpy.random.get_state()` begins: 624 whole numbers follow."""

NUMPY_KEYS = frozenset({"bit_generator", "state"})
"""Keys of the state of numpy's generators, of `RandomState` too (numpy 2.4, `BitGenerator.state`)."""

TRAINER_STATES = frozenset({"python", "numpy", "cpu"})
"""Keys of `rng_state.pth` (transformers 5.23, `Trainer._save_rng_state`), beside one for each kind of device."""

TRAINING_KEYS = {
    "optim": OPTIMIZER,
    "callbacks": TRAINING,
    "loops": TRAINING,
    "scheduler": TRAINING,
    "scaler": TRAINING,
    "grad_scaler": TRAINING,
    "amp_scaler": TRAINING,
}
"""Keys of a training checkpoint below which nothing is the model's, as Lightning, timm and others have them; beside
them those that begin with `optimizer` (also DeepSpeed's and Megatron's, with flat copies of the weights) or
`lr_scheduler`, and those with `rng_state`."""

PACKED = "torch.ScriptObject"
"""Class of what holds the packed weights of torch's quantized modules; it pickles as (what is in it, its class)."""

QUANTIZED = ("torch.ao.nn.quantized.", "torch.ao.nn.intrinsic.quantized.", "torch.nn.quantized.")
"""Where torch's quantized modules are from: their weights are in no `parameters()`."""

CONV_STATE = {10: "weight", 11: "bias"}
"""Places of a quantized convolution's tensors in what `__getstate__` returns (torch 2.13,
ao/nn/quantized/modules/conv.py), and what its `state_dict()` calls them."""

OPTIMIZER_KEYS = frozenset({"state", "param_groups"})
"""Keys of `torch.optim.Optimizer.state_dict()` (torch 2.13, optim/optimizer.py): what it holds is no parameter."""


@dataclass(frozen=True, slots=True)
class Found:
    """One tensor under its name."""

    name: str
    """Dotted name, not yet visible."""
    tensor: Tensor
    """The tensor."""
    module_class: ModuleClass | None
    """Class of the module that has it; `None` outside of modules."""
    apart: str
    """What it is where it is no parameter, as `Model.apart` has it: `buffer`, `optimizer state`."""
    identity: int
    """What is the same for one object under two names."""
    listed: bool
    """Whether a pickled optimizer lists it there, as what it trains: not a name of its own if it has another."""


@dataclass(slots=True)
class Walk:
    """What a walk found."""

    found: list[Found] = field(default_factory=list)
    """The tensors in order."""
    others: int = 0
    """How many values are no tensors."""
    broken: dict[str, list[str]] = field(default_factory=dict)
    """Names of tensors that can't be true, by the reason."""
    stopped: str = ""
    """Why the walk ended early; empty if it did not."""


@dataclass(slots=True, eq=False)  # not frozen, which would take three times as long to make
class _Step:
    """A value to look at."""

    name: str
    value: Any
    depth: int
    module_class: ModuleClass | None = None
    apart: str = ""
    listed: bool = False


MembersOf = Callable[[Global], Members | None]
"""Says what the attributes of a TorchScript class are."""


def walk(top: Any, members_of: MembersOf | None = None) -> Walk:
    """List the tensors below `top`, in the pickle's order.

    Args:
        top: What the pickle built.
        members_of: Says what the attributes of a TorchScript class are.
    """
    result = Walk()
    on_the_way: set[int] = set()
    # Containers without a tensor, each walked once: lists of lists of texts, shared over and over, cost nothing.
    barren: set[int] = set()
    # A pair is the way back up: the container of that identity has been seen whole, with so much found before it.
    waiting: list[_Step | tuple[int, int]] = [_Step("", top, 0)]
    aliases: dict[int, int] = {}
    steps, room = MAX_STEPS, MAX_NAMES
    while waiting:
        step = waiting.pop()
        if isinstance(step, tuple):
            on_the_way.discard(step[0])
            if step[1] == len(result.found) and not result.broken:
                barren.add(step[0])
            continue
        steps -= 1
        value = resolved(step.value)
        if isinstance(value, Tensor | Broken):
            name = step.name or "tensor"
            room -= len(name)
            if isinstance(value, Broken):
                result.broken.setdefault(value.reason, []).append(name)
            else:
                random = value.shape == RANDOM_STATE and value.dtype == "uint8"
                apart = step.apart or (RANDOM if random else "")
                result.found.append(Found(name, value, step.module_class, apart, id(step.value), step.listed))
                aliases[id(step.value)] = aliases.get(id(step.value), 0) + 1
                if aliases[id(step.value)] > MAX_ALIASES:
                    result.stopped = f"one tensor has more than {MAX_ALIASES:,} names"
                    break
        elif isinstance(value, Pairs | Opaque | list | tuple):
            if not value or id(value) in on_the_way or id(value) in barren:
                continue
            if step.depth >= MAX_DEPTH or len(step.name) > MAX_NAME:
                result.stopped = f"nested more than {MAX_DEPTH:,} levels deep, or under a name without end"
                continue
            children, others = _children(step, value, members_of)
            result.others += others
            if len(children) + len(waiting) > MAX_STEPS:
                steps = 0
            else:
                on_the_way.add(id(value))
                waiting.append((id(value), len(result.found)))
                waiting.extend(reversed(children))
        else:
            result.others += 1
        if steps <= 0 or room <= 0:
            result.stopped = "it holds more values, or longer names, than any checkpoint"
            break
    return result


def _children(step: _Step, value: Any, members_of: MembersOf | None) -> tuple[list[_Step], int]:
    """Return the values below a container that may hold tensors, and how many can't."""
    if isinstance(value, Pairs):
        if _has(value.items, OPTIMIZER_KEYS):
            step = replace(step, apart=OPTIMIZER)
        elif _has(value.items, NUMPY_KEYS) or (not step.depth and _has(value.items, TRAINER_STATES)):
            step = replace(step, apart=RANDOM)
        return _named(step, value.items)
    if isinstance(value, list | tuple):
        if value[0] == NUMPY_STATE:
            step = replace(step, apart=RANDOM)
        return _named(step, list(enumerate(value)))
    if _is_packed(value):
        return [replace(step, value=value.state[0], depth=step.depth + 1)], 0
    state = _attributes(value.state)
    if any(key in MODULE_PARTS for key, _ in state if isinstance(key, str)):
        return _module(step, value, state)
    if isinstance(value.maker, Global) and value.maker.module.startswith(QUANTIZED):
        step = replace(step, apart=step.apart or ATTRIBUTE, module_class=_owner(value))
        state = [(CONV_STATE.get(key, key), item) for key, item in state]
    pairs = [*state, *value.pairs, *enumerate(value.items)]
    if isinstance(value.args, tuple) and not (isinstance(value.maker, Global) and value.maker.path == "numpy.dtype"):
        pairs += enumerate(value.args)
    if isinstance(value.maker, Global) and value.maker.module.startswith("__torch__"):
        # TorchScript: a module's parameters and children are plain attributes of it.
        step = replace(step, module_class=_owner(value))
        return _named(step, pairs, members_of(value.maker) if members_of is not None else None)
    if _has(state, NUMPY_KEYS):
        step = replace(step, apart=RANDOM)
    steps, others = _named(step, pairs)
    if _has(state, OPTIMIZER_KEYS):
        # A whole optimizer: its groups hold the parameters themselves.
        kept, groups = (_under(step.name, key, 0) for key in ("state", "param_groups"))
        for each in steps:
            each.apart = OPTIMIZER if each.name == kept else each.apart
            each.listed = each.name == groups
    return steps, others


def _is_packed(value: Any) -> bool:
    """Whether a value holds packed weights of a quantized module."""
    known = isinstance(value, Opaque) and isinstance(value.maker, Global) and value.maker.path == PACKED
    return known and isinstance(value.state, tuple) and len(value.state) == 2


def _owner(value: Opaque) -> ModuleClass | None:
    """Return the class of a module."""
    return ModuleClass(value.maker.name[:1000]) if isinstance(value.maker, Global) else None


def _has(pairs: list[tuple[Any, Any]], keys: frozenset[str]) -> bool:
    """Whether a mapping, or an object, has such entries; a wrapper may have put further ones into it."""
    return len(pairs) < 100 and keys.issubset(key for key, _ in pairs if isinstance(key, str))


def _of_training(key: str) -> str:
    """Return what is below a key of a file's outermost mapping, in lower case; empty where it may be the model."""
    if key.startswith("optimizer"):
        return OPTIMIZER
    if "rng_state" in key:
        return RANDOM
    return TRAINING if key.startswith("lr_scheduler") else TRAINING_KEYS.get(key, "")


def _attributes(state: Any) -> list[tuple[Any, Any]]:
    """Return an object's attributes from its state: a mapping, or a pair of it and one of the slots."""
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    pairs: list[tuple[Any, Any]] = []
    for part in parts:
        if isinstance(part, Pairs):
            pairs += part.items
    if not pairs and isinstance(state, list | tuple | Opaque):
        return list(enumerate(state)) if isinstance(state, list | tuple) else [("state", state)]
    return pairs


def _named(step: _Step, pairs: list[tuple[Any, Any]], members: Members | None = None) -> tuple[list[_Step], int]:
    steps = []
    for index, (key, value) in enumerate(pairs):
        # Numbers and texts can't hold a tensor: a list of a million of them costs no step each.
        if isinstance(value, str | int | float | bytes | Skipped | Global) or value is None:
            continue
        apart = step.apart
        if not step.depth and isinstance(key, str) and isinstance(value, Pairs | list | tuple):
            apart = apart or _of_training(key.lower())
        if members is not None and isinstance(value, Tensor) and key not in members.parameters:
            apart = BUFFER if key in members.buffers else ATTRIBUTE
        name = _under(step.name, key, index)
        steps.append(_Step(name, value, step.depth + 1, step.module_class, apart, step.listed))
    return steps, len(pairs) - len(steps)


def _module(step: _Step, value: Opaque, state: list[tuple[Any, Any]]) -> tuple[list[_Step], int]:
    """Return a module's parameters, buffers and children, then its plain attributes that are tensors or packed."""
    owner = _owner(value)
    parts = {key: part for key, part in state if isinstance(key, str)}
    steps = []
    for part in MODULE_PARTS:
        entries = parts.get(part)
        for index, (key, item) in enumerate(entries.items if isinstance(entries, Pairs) else ()):
            if item is not None:
                name = _under(step.name, key, index)
                steps.append(_Step(name, item, step.depth + 1, owner, BUFFER if part == "_buffers" else step.apart))
    for key, item in state:
        if isinstance(key, str) and key not in MODULE_PARTS and (isinstance(item, Tensor) or _is_packed(item)):
            steps.append(_Step(_under(step.name, key, 0), item, step.depth + 1, owner, step.apart or ATTRIBUTE))
    return steps, 0


def _under(name: str, key: Any, index: int) -> str:
    """Return the name of an entry; a key that is no text or number is shown by its place."""
    if not isinstance(key, str):
        if isinstance(key, bytes):
            key = key.decode("latin-1")
        elif isinstance(key, int | float) and abs(key) < 1e300:
            key = str(key)
        else:
            key = f"[{index}]"
    return f"{name}.{key}" if name else key
