"""Finds the averaged copy of a model that training loops save beside it: its weights are counted once. Pure.

Also what torch's own average has beside its weights: how often it has averaged, which is no weight.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator

from explorer.core.param import Model

EMA = re.compile(r"(?:^|_)(?:ema|EMA)(?:$|_)")
"""Part of a name below which an exponential moving average stands: `model_ema` (torchvision, CompVis), `ema` and
`ema_model` (ema_pytorch), `state_dict_ema` (timm)."""

DEPTH = 3
"""Parts of a name, from its start, of which one may be such, and that a copy's name may have more than the model's:
`ema.ema_model.module.`."""

SAME = 0.9
"""Share of a copy's elements that the model must have by the same names and shapes: averages have counters too."""

COUNTER, AVERAGED = "n_averaged", "module."
"""The buffer of `AveragedModel`, and how the names of the model in it begin (torch 2.13, `optim/swa_utils.py`)."""

Key = tuple[str, "tuple[int, ...] | None"]
"""A name without its dots, as CompVis's `LitEma` has them, and the shape."""


def averaged_copies(model: Model) -> set[int]:
    """Return the rows that repeat others of the table under a name that says it is their average.

    Args:
        model: The table of a file; what is known to be no parameter is not looked at.
    """
    copies: dict[str, list[int]] = defaultdict(list)
    text = "\n".join(model.names)  # one look at it is a hundredth of a look at each of 93,000 names
    if "ema" not in text and "EMA" not in text:
        return set()
    for row, name in enumerate(model.names):
        head = None if row in model.apart else _head(name)
        # What has another name too is the model's own: the copy of an average that has not begun.
        if head is not None and all(_head(other) for other in model.aliases.get(row, ())):
            copies[head].append(row)
    if not copies:
        return set()
    copied = {row for rows in copies.values() for row in rows}
    known = {
        key
        for row, name in enumerate(model.names)
        if row not in copied
        for each in (name, *model.aliases.get(row, ()))
        for key in _keys(each, model.shapes[row])
    }
    found: set[int] = set()
    for head, rows in copies.items():
        below = len(head) + 1
        same = sum(
            model.numels[row]
            for row in rows
            if not known.isdisjoint(_keys(model.names[row][below:], model.shapes[row]))
        )
        if same and same >= SAME * sum(model.numels[row] for row in rows):
            found.update(rows)
    return found


def average_counters(model: Model) -> list[int]:
    """Return the rows that can only be counters of torch's `AveragedModel`: whole numbers beside a model in it.

    Args:
        model: The table of a file; what is known to be no parameter is not looked at.
    """
    rows = [
        row
        for row, name in enumerate(model.names)
        if name.rpartition(".")[2] == COUNTER
        and row not in model.apart
        and model.shapes[row] == ()
        and (model.dtypes[row] or "").startswith("int")
    ]
    names = sorted(model.names) if rows else []
    found = []
    for row in rows:
        begin = model.names[row].removesuffix(COUNTER) + AVERAGED
        place = bisect_left(names, begin)  # in order, what begins so stands just there
        if place < len(names) and names[place].startswith(begin):
            found.append(row)
    return found


def _head(name: str) -> str | None:
    """Return a name up to the part that says that it is an average; `None` where none does."""
    parts = name.split(".", DEPTH)
    for place, part in enumerate(parts[:-1]):
        if EMA.search(part):
            return ".".join(parts[: place + 1])
    return None


def _keys(name: str, shape: tuple[int, ...] | None) -> Iterator[Key]:
    """Yield what a name may be known by: whole, and without its first parts."""
    parts = name.split(".")
    for left_out in range(min(DEPTH, len(parts) - 1) + 1):
        yield "".join(parts[left_out:]), shape
