"""Compares names of two sides: prefixes that one side lacks, and tensors that belong to no model. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

PREFIX_SHARE = 0.5
"""Share of a side's names that a prefix must have to be a candidate for being left out."""

PREFIX_DEPTH = 3
"""Most segments of such a prefix: `base_model.model.model.` is PEFT's."""

SAMPLED = 1000
"""Names that are looked at for prefixes that most of them have; these are then counted over all."""

TRAINING = frozenset(
    {
        "optim",
        "lr_scheduler",
        "lr_schedulers",
        "scheduler",
        "scaler",
        "grad_scaler",
        "cuda_rng_state",
        "callbacks",
        "loops",
    }
)
"""First parts of names under which training loops keep what is not the model's, beside those that begin with
`optimizer` or `rng_state`."""

MOMENTS = frozenset(
    {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "square_avg", "sum"}
)
"""Last parts of the names of an optimizer's state, which stand below `state` (torch 2.13, `optim/*.py`)."""


def training_state(names: Sequence[str]) -> frozenset[int]:
    """Return which rows of a training checkpoint are its optimizer's and scheduler's state, not the model's.

    Empty where the file holds nothing else: it is then the optimizer's own file.
    """
    heads: dict[str, bool] = {}
    rows = []
    for row, name in enumerate(names):
        head = name.partition(".")[0]
        if head not in heads:
            low = head.lower()
            heads[head] = low in TRAINING or low.startswith(("optimizer", "rng_state"))
        if heads[head] or (name.rpartition(".")[2] in MOMENTS and ".state." in f".{name}"):
            rows.append(row)
    return frozenset(rows) if len(rows) < len(names) else frozenset()


def set_apart(names: Sequence[str], apart: Mapping[int, str]) -> dict[int, str]:
    """Return which rows of a checkpoint are not the model's, and what each is.

    Args:
        names: The rows' names: by these the training state is known where a file does not say what it holds.
        apart: What a source knows to be no parameter; buffers are the model's.

    Returns:
        By row `optimizer state`, `random state`, …; none where nothing else is in the file: it is then compared.
    """
    found = dict.fromkeys(training_state(names), "optimizer state")
    found |= {row: what for row, what in apart.items() if what != "buffer"}
    return found if len(found) < len(names) else {}


def align(names_a: Sequence[str], names_b: Sequence[str]) -> tuple[str, str]:
    """Return the prefix to leave out of each side's names so that most of them match; empty for none.

    A prefix is a candidate if half of a side's names have it, and if leaving it out makes no two names equal.
    """
    sides = names_a, names_b
    known: dict[tuple[int, str], set[str]] = {}

    def known_names(side: int, prefix: str) -> set[str]:
        if (side, prefix) not in known:
            known[side, prefix] = set(stripped(sides[side], prefix))
        return known[side, prefix]

    best, most = ("", ""), -1
    if len(known_names(0, "") & known_names(1, "")) == min(map(len, sides)):
        return best  # nothing more can match
    for prefixes in sorted(product(_prefixes(names_a), _prefixes(names_b)), key=lambda both: len("".join(both))):
        matches = len(known_names(0, prefixes[0]) & known_names(1, prefixes[1]))
        if matches > most:  # of equals the shortest prefixes
            best, most = prefixes, matches
        if most == min(map(len, sides)):
            break
    return best


def _prefixes(names: Sequence[str]) -> list[str]:
    """Return the prefixes that may be left out, none among them."""
    found = [""]
    some = names[:: max(1, len(names) // SAMPLED)]
    for depth in range(1, PREFIX_DEPTH + 1):
        heads = Counter(".".join(parts[:depth]) for name in some if len(parts := name.split(".", depth)) > depth)
        if not heads:
            break
        prefix = f"{heads.most_common(1)[0][0]}."
        if not prefix.startswith(found[-1]) or len(set(stripped(names, prefix))) < len(set(names)):
            break
        if sum(name.startswith(prefix) for name in names) < PREFIX_SHARE * len(names):
            break
        found.append(prefix)
    return found


def stripped(names: Iterable[str], prefix: str) -> list[str]:
    """Return names without a prefix, where they have it."""
    return [name.removeprefix(prefix) for name in names] if prefix else list(names)
