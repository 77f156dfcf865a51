"""The keys that optimizers read of a parameter group, and their default weight decay.

An optimizer copies every key of a group and reads only its own: a misspelt one is accepted silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class OptimizerFacts(NamedTuple):
    """One optimizer's parameter groups."""

    keys: frozenset[str]
    """Keys of a group that it reads."""
    weight_decay: float | None
    """Weight decay of a group that sets none; `None` for an optimizer without weight decay."""
    module: str = "torch.optim"
    """Where the class is imported from."""
    matrices_only: bool = False
    """Whether it refuses parameters that are not 2-D."""
    one_group: bool = False
    """Whether it refuses more than one group."""


def _torch(
    keys: str, weight_decay: float | None, *, matrices_only: bool = False, one_group: bool = False
) -> OptimizerFacts:
    return OptimizerFacts(frozenset(keys.split()), weight_decay, matrices_only=matrices_only, one_group=one_group)


_ADAM = "lr betas eps weight_decay amsgrad maximize foreach capturable differentiable fused decoupled_weight_decay"

OPTIMIZERS: Mapping[str, OptimizerFacts] = {
    "AdamW": _torch(_ADAM, 0.01),
    "Adam": _torch(_ADAM, 0.0),
    "SGD": _torch("lr momentum dampening weight_decay nesterov maximize foreach differentiable fused", 0.0),
    "Adafactor": _torch("lr beta2_decay eps d weight_decay foreach maximize", 0.0),
    "Muon": _torch(
        "lr weight_decay momentum nesterov ns_coefficients eps ns_steps adjust_lr_fn",
        0.1,
        matrices_only=True,
    ),
    "Adadelta": _torch("lr rho eps weight_decay maximize foreach capturable differentiable", 0.0),
    "Adagrad": _torch(
        "lr lr_decay eps weight_decay initial_accumulator_value maximize foreach differentiable fused", 0.0
    ),
    "Adamax": _torch("lr betas eps weight_decay maximize foreach capturable differentiable", 0.0),
    "ASGD": _torch("lr lambd alpha t0 weight_decay maximize foreach capturable differentiable", 0.0),
    "NAdam": _torch(
        "lr betas eps weight_decay momentum_decay decoupled_weight_decay maximize foreach capturable differentiable",
        0.0,
    ),
    "RAdam": _torch(
        "lr betas eps weight_decay decoupled_weight_decay maximize foreach capturable differentiable", 0.0
    ),
    "RMSprop": _torch("lr momentum alpha eps centered weight_decay maximize foreach capturable differentiable", 0.0),
    "Rprop": _torch("lr etas step_sizes maximize foreach capturable differentiable", None),
    "SparseAdam": _torch("lr betas eps maximize", None),
    "LBFGS": _torch(
        "lr max_iter max_eval tolerance_grad tolerance_change history_size line_search_fn", None, one_group=True
    ),
    # bitsandbytes 0.45, optim/adamw.py and optim/optimizer.py (Optimizer2State): the keys its update reads.
    "AdamW8bit": OptimizerFacts(frozenset({"lr", "betas", "eps", "weight_decay"}), 0.01, "bitsandbytes.optim"),
}
"""By class name: all of torch 2.13's (`defaults` and signature of each class; the tests compare), and one more."""

ANY_KEYS = frozenset({"name"})
"""Keys that no optimizer reads but others do: Lightning's LearningRateMonitor labels by `name`."""

MEANT: Mapping[str, str] = {
    "weight_decay_rate": "weight_decay",
    "wd": "weight_decay",
    "decay": "weight_decay",
    "l2": "weight_decay",
    "learning_rate": "lr",
    "lr_scale": "lr_mult",
}
"""Keys that old recipes and other libraries use, and what is meant. `weight_decay_rate` comes from BERT's TensorFlow
optimizer (google-research/bert, optimization.py) and was copied into PyTorch recipes, where nothing reads it."""

_LARGEST_LR: Mapping[str, float] = {"SGD": 30.0, "ASGD": 30.0}
"""Largest learning rate in published training, where it is more than 1: salesforce/awd-lstm-lm, main.py, `--lr 30`,
for both. All others of torch default to 1 (Adadelta) or less, and divide by the gradients' own size: a step of Adam
moves a weight by about lr (Kingma and Ba 2015, section 2.1), and weights are well below 1."""


def largest_lr(optimizer: str) -> float | None:
    """Return the largest learning rate that is known to train; `None` for an optimizer that is not known."""
    return _LARGEST_LR.get(optimizer, 1.0) if optimizer in OPTIMIZERS else None


def default_weight_decay(optimizer: str) -> float:
    """Return the weight decay of a group that sets none; 0 for an optimizer that is not known."""
    facts = OPTIMIZERS.get(optimizer)
    return (facts.weight_decay or 0.0) if facts else 0.0
