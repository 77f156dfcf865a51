"""Training memory: weights, gradients and optimizer states, for each group and in total.

Activations, buffers, temporary copies and the allocator's own waste are not in it. A tied tensor is counted once,
since the model's table holds it once; a frozen one has its weights only.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from explorer.core.errors import ParamxError
from explorer.core.groups import Assignment
from explorer.core.rules import Grouping

STEP_BYTES = 4
"""The `step` counter of Adam, AdamW and Adafactor: one float32 scalar a parameter (torch 2.13,
`optim/optimizer.py`, `_get_scalar_dtype`; 8 bytes if the default dtype is float64)."""
BLOCK = 256
"""Elements that share one float32 scale in an 8-bit state (bitsandbytes 0.45, `optim/optimizer.py`, `init_state`)."""
SMALLEST_8BIT = 4096
"""Tensors with fewer elements keep 32-bit states (bitsandbytes 0.45, `min_8bit_size`)."""

Shape = tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Precision:
    """How many bytes an element of each kind takes; `None` is the width it is stored at now."""

    title: str
    """What people call it."""
    weights: int | None
    """Bytes of a weight."""
    gradients: int | None
    """Bytes of a gradient."""
    states: int | None
    """Bytes of an element of an optimizer state that is not 8-bit."""
    master: int = 0
    """Bytes of the optimizer's own copy of a weight."""


PRECISIONS: dict[str, Precision] = {
    "fp32": Precision("float32, also with autocast", 4, 4, 4),
    "bf16": Precision("pure bfloat16", 2, 2, 2),
    "bf16-master": Precision("bfloat16 with float32 master weights", 2, 2, 4, 4),
    "stored": Precision("as the model is stored", None, None, None),
}
"""By name. With AdamW they come to 16, 8, 16 and 4 × the stored width bytes an element; the master copy is the
layout of Megatron-LM's and DeepSpeed's bf16 optimizers (2 weight + 2 gradient + 4 master + 8 states)."""

States = Callable[[Shape, int, int, Mapping[str, Any]], int]
"""Bytes of one tensor's states: shape, elements, bytes of a state's element, the group's options."""


def adam_states(shape: Shape, numel: int, width: int, options: Mapping[str, Any]) -> int:
    """2 N w + 4: `exp_avg`, `exp_avg_sq`, `step`; 3 N w + 4 with amsgrad (torch 2.13, `optim/adam.py`)."""
    return (3 if options.get("amsgrad") else 2) * numel * width + STEP_BYTES


def sgd_states(shape: Shape, numel: int, width: int, options: Mapping[str, Any]) -> int:
    """N w with momentum, else nothing (torch 2.13, `optim/sgd.py`: `momentum_buffer`)."""
    return numel * width if options.get("momentum") else 0


def momentum_states(shape: Shape, numel: int, width: int, options: Mapping[str, Any]) -> int:
    """N w: `momentum_buffer`, unless the group sets momentum to 0 (torch 2.13, `optim/sgd.py`)."""
    return numel * width if options.get("momentum", True) else 0


def adafactor_states(shape: Shape, numel: int, width: int, options: Mapping[str, Any]) -> int:
    """(N / c + N / r) w + 4 for r rows and c columns, else N w + 4 (torch 2.13, `optim/_adafactor.py`).

    `row_var` has the shape with its last size 1, `col_var` with its last but one size 1.
    """
    if shape is None or len(shape) < 2:
        return numel * width + STEP_BYTES
    rows, columns = shape[-2], shape[-1]
    matrices = 1
    for size in shape[:-2]:
        matrices *= size
    return matrices * (rows + columns) * width + STEP_BYTES


def muon_states(shape: Shape, numel: int, width: int, options: Mapping[str, Any]) -> int:
    """N w for a matrix: `momentum_buffer` (torch 2.13, `optim/_muon.py`); Muon refuses the rest: AdamW."""
    if shape is not None and len(shape) == 2:
        return numel * width
    return adam_states(shape, numel, width, options)


def adam8bit_states(shape: Shape, numel: int, width: int, options: Mapping[str, Any]) -> int:
    """2 N + 8 ⌈N / 256⌉, or 8 N below 4,096 elements (bitsandbytes 0.45, `optim/optimizer.py`, `init_state`)."""
    if numel < SMALLEST_8BIT:
        return 8 * numel
    return 2 * numel + 2 * 4 * -(-numel // BLOCK)


@dataclass(frozen=True, slots=True)
class OptimizerStates:
    """One optimizer's states."""

    title: str
    """What people call it."""
    states: States
    """The formula."""


OPTIMIZER_STATES: dict[str, OptimizerStates] = {
    "AdamW": OptimizerStates("AdamW", adam_states),
    "Adam": OptimizerStates("Adam", adam_states),
    "SGD": OptimizerStates("SGD", sgd_states),
    "SGD-momentum": OptimizerStates("SGD with momentum", momentum_states),
    "Adafactor": OptimizerStates("Adafactor", adafactor_states),
    "Muon": OptimizerStates("Muon, AdamW for what is no matrix", muon_states),
    "AdamW8bit": OptimizerStates("8-bit AdamW", adam8bit_states),
}
"""By the name of the optimizer; `SGD-momentum` is SGD whose momentum the groups do not say."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of training memory."""

    weights: int = 0
    """Weights."""
    gradients: int = 0
    """Gradients of what is trained."""
    states: int = 0
    """Optimizer states, and the optimizer's copy of the weights where it keeps one."""

    @property
    def total(self) -> int:
        """All three."""
        return self.weights + self.gradients + self.states

    def __add__(self, other: Memory) -> Memory:
        """Add field by field."""
        return Memory(self.weights + other.weights, self.gradients + other.gradients, self.states + other.states)

    def times(self, count: int) -> Memory:
        """Return the memory of so many alike."""
        return Memory(self.weights * count, self.gradients * count, self.states * count)


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """Training memory of a grouping."""

    rules: tuple[Memory, ...]
    """Of each rule's members."""
    total: Memory
    """Of all."""

    def fits(self, nbytes: int) -> bool:
        """Tell whether it is within one device's `nbytes`; activations come on top."""
        return self.total.total <= nbytes


def training_memory(assignment: Assignment, optimizer: str | None = None, precision: str = "fp32") -> MemoryReport:
    """Estimate training memory.

    Args:
        assignment: The groups, and which parameters are in each.
        optimizer: A key of `OPTIMIZER_STATES` for all groups; `None` takes the grouping's and its rules' own.
        precision: A key of `PRECISIONS`.

    Raises:
        ParamxError: The optimizer or precision is not known.
    """
    one = _one_of_each(assignment, optimizer, precision)
    classes = assignment.grouper.classes
    if assignment.class_codes is not None:
        kinds = {key: classes.tensors[key[1]] for key in _by_class(assignment.class_codes)}
    else:
        kinds = Counter(zip(assignment.codes, classes.ids, strict=False))  # the ids of aliases come last
    rules = [Memory() for _ in assignment.grouping.rules]
    for (code, number), count in kinds.items():
        if count:
            rules[code] += one(code, number).times(count)
    return MemoryReport(tuple(rules), sum(rules, Memory()))


def memory_column(assignment: Assignment, optimizer: str | None = None, precision: str = "fp32") -> array[int]:
    """Return the bytes of training memory of each parameter (typecode `q`); see `training_memory`."""
    one = _one_of_each(assignment, optimizer, precision)
    ids = assignment.grouper.classes.ids
    if assignment.class_codes is not None:
        totals = [one(*key).total for key in _by_class(assignment.class_codes)]
        return array("q", map(totals.__getitem__, ids[: len(assignment)]))
    pairs = zip(assignment.codes, ids, strict=False)
    return array("q", (one(code, number).total for code, number in pairs))


def _by_class(codes: bytes) -> Iterable[tuple[int, int]]:
    """Iterate over the rule and number of each class."""
    return zip(codes, range(len(codes)), strict=True)


def _one_of_each(assignment: Assignment, optimizer: str | None, precision: str) -> Callable[[int, int], Memory]:
    """Return what gives the memory of one parameter, from its rule and its class of names.

    A class holds parameters of one shape, so 150,000 of them are a few hundred sums.
    """
    grouping = assignment.grouping
    formulas, widths = _formulas(grouping, optimizer), _precision(precision)
    classes = assignment.grouper.classes

    @cache
    def one(code: int, number: int) -> Memory:
        if classes.apart[number]:  # buffers are not in it
            return Memory()
        numel, nbytes = classes.numel[number], classes.nbyte[number]
        stored = 4 if nbytes < 0 or not numel else max(1, nbytes // numel)
        weights = (nbytes if nbytes >= 0 else 4 * numel) if widths.weights is None else widths.weights * numel
        options = grouping.rules[code].options
        if not classes.trained[number] or options.get("freeze"):
            return Memory(weights)
        width = stored if widths.states is None else widths.states
        gradient = stored if widths.gradients is None else widths.gradients
        states = formulas[code](classes.shapes[number], numel, width, options)
        return Memory(weights, gradient * numel, states + widths.master * numel)

    return one


def _formulas(grouping: Grouping, optimizer: str | None) -> list[States]:
    names = [optimizer or str(rule.options.get("optimizer", grouping.optimizer)) for rule in grouping.rules]
    for name in names:
        if name not in OPTIMIZER_STATES:
            known = f"known are {', '.join(OPTIMIZER_STATES)}"
            raise ParamxError(name, "the memory of this optimizer is not known", known)
    return [OPTIMIZER_STATES[name].states for name in names]


def _precision(name: str) -> Precision:
    if name not in PRECISIONS:
        raise ParamxError(name, "not a precision", f"known are {', '.join(PRECISIONS)}")
    return PRECISIONS[name]
