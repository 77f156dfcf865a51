"""Sums over a set of parameters, and why other ways to count the same model differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from explorer.core.param import Counters, Model
from explorer.core.text import plural, short_bytes


class Totals(NamedTuple):
    """Sums over some rows of a table; a tied tensor counts once, as in `named_parameters()`."""

    tensors: int
    """How many rows; of a file that holds buffers too, these as well."""
    parameters: int
    """Elements of the parameters among them."""
    nbytes: int | None
    """Bytes of them all; `None` if any one's are unknown."""
    trainable: int | None
    """Elements of the parameters with `requires_grad`; `None` if any one's flag is unknown, and of a file without."""


def totals(model: Model, rows: Iterable[int] | None = None) -> Totals:
    """Sum the parameters at `rows` (indices, counted from 0); all of them without."""
    chosen = range(len(model)) if rows is None else list(rows)
    sizes = [model.nbytes[row] for row in chosen]
    flags = [model.requires_grad[row] if row not in model.apart else False for row in chosen]
    counted = model.counted
    return Totals(
        tensors=len(chosen),
        parameters=sum(counted[row] for row in chosen),
        nbytes=None if -1 in sizes else sum(sizes),
        trainable=None
        if None in flags or (model.counters is None and len(model.apart) == len(model))
        else sum(counted[row] for row, flag in zip(chosen, flags, strict=True) if flag),
    )


APART_MANY = {
    "buffer": "buffers",
    "plain attribute": "plain attributes",
    "averaged copy": "averaged copies",
    "optimizer state": "of optimizer state",
    "random state": "random states",
    "training state": "of training state",
}
"""The plural of each word of `Model.apart`."""


def tensors_text(model: Model) -> str:
    """Count a table's rows in words, and those that are not parameters: `7 tensors (3 buffers)`."""
    kinds = Counter(model.apart.values())
    words = [f"{count:,} {what if count == 1 else APART_MANY.get(what, what)}" for what, count in kinds.items()]
    return plural(len(model), "tensor") + (f" ({', '.join(words)})" if words else "")


def sums_text(model: Model) -> str:
    """Sum up a table in words: tensors, parameters and, where they are known, bytes and what is trained."""
    whole = totals(model)
    parts = [tensors_text(model), plural(whole.parameters, "parameter")]
    if whole.nbytes is not None:
        parts.append(short_bytes(whole.nbytes))
    if whole.trainable is not None:
        parts.append(f"{whole.trainable:,} trainable")
    return " · ".join(parts)


class OnDevice(NamedTuple):
    """What lies on one device, or is planned to."""

    device: str
    """`cpu`, `cuda:0`, `disk`."""
    tensors: int
    """Parameters."""
    nbytes: int | None
    """Their bytes; `None` if any one's are unknown."""


def by_device(model: Model) -> tuple[OnDevice, ...]:
    """Sum the parameters of each device, in order of appearance; what has no memory (meta, a file) is left out."""
    rows: dict[str, list[int]] = {}
    for index, device in enumerate(model.devices):
        if device is not None and device != "meta":
            rows.setdefault(device, []).append(index)
    return tuple(OnDevice(device, len(own), totals(model, own).nbytes) for device, own in rows.items())


class OtherCount(NamedTuple):
    """A figure that somebody else quotes for the same model."""

    name: str
    """How it is counted: `state_dict()`."""
    tensors: int | None
    """Entries counted; `None` where only elements are."""
    elements: int
    """Elements counted."""
    reason: str
    """Why it differs from the counting loop's figure, or that it equals it."""


def other_counts(model: Model) -> tuple[OtherCount, ...]:
    """Return the library's other counts, each with its difference from the counting loop explained in numbers."""
    counters = model.counters
    if counters is None:
        return tuple(_of_file(model))
    total = counters.loop
    counts: list[OtherCount] = []
    if counters.num_parameters is not None:
        counts.append(
            OtherCount("num_parameters()", None, counters.num_parameters, _difference(counters.num_parameters, total))
        )
    if counters.without_embeddings is not None:
        left_out = total - counters.without_embeddings
        reason = f"leaves out {left_out:,} in embedding tables" if left_out else "the same: no embedding table"
        counts.append(OtherCount("without embeddings", None, counters.without_embeddings, reason))
    if counters.trainable is not None:
        frozen = total - counters.trainable
        reason = f"{frozen:,} frozen (requires_grad is False)" if frozen else "the same: nothing is frozen"
        counts.append(OtherCount("trainable only", None, counters.trainable, reason))
    if counters.state_dict_elements is not None:
        reason = _state_dict_reason(model, counters.state_dict_elements - total)
        counts.append(OtherCount("state_dict()", counters.state_dict_tensors, counters.state_dict_elements, reason))
    if counters.buffer_elements is not None:
        reason = "state, not parameters: the loop leaves them out" if counters.buffer_elements else "none"
        counts.append(OtherCount("buffers", counters.buffer_tensors, counters.buffer_elements, reason))
    return tuple(counts)


def _of_file(model: Model) -> Iterator[OtherCount]:
    """Yield what a file holds in all, if that is more than parameters, and what else it holds."""
    rows = [row for row in range(len(model)) if model.apart.get(row, "buffer") == "buffer"]
    if model.state is not None and model.state[0] > len(rows):
        names, elements = model.state
        once = sum(model.numels[row] for row in rows)
        parts = [f"{elements - once:+,} for {plural(names - len(rows), 'tied name')}, counted again"]
        if once > model.total:
            parts.append(f"{once - model.total:+,} in saved buffers")
        yield OtherCount("state_dict()", names, elements, "; ".join(parts))
    if not model.apart:
        return
    more = sum(model.numels) - model.total
    kinds: dict[str, list[int]] = {}
    for row, what in model.apart.items():
        kinds.setdefault(APART_MANY.get(what, what), []).append(model.numels[row])
    yield OtherCount("all tensors of the file", len(model), sum(model.numels), f"{more:+,} that are no parameters")
    for what, numels in kinds.items():
        reason = "state, not parameters: the loop leaves them out"
        yield OtherCount(what.removeprefix("of "), len(numels), sum(numels), reason)


def _difference(count: int, total: int) -> str:
    return "the same" if count == total else f"{count - total:+,} against the loop"


def _state_dict_reason(model: Model, more: int) -> str:
    if not more:
        return "the same"
    tied_names = sum(map(len, model.aliases.values()))
    tied = sum(model.numels[row] * len(names) for row, names in model.aliases.items())
    parts = []
    if tied:
        parts.append(f"{tied:+,} for {tied_names:,} tied name{'s' if tied_names != 1 else ''}, counted again")
    rest = more - tied
    buffers = model.counters.buffer_elements if model.counters else None
    if rest < 0:
        parts.append(f"{rest:,} that it does not save")
    elif rest:
        known = buffers is not None and rest <= buffers
        parts.append(f"{rest:+,} in saved buffers" if known else f"{rest:+,} in entries that are no parameters")
    return "; ".join(parts)


def loop_check(model: Model) -> tuple[bool | None, str]:
    """Compare the table's sum with the counting loop that the source ran on the real object.

    Returns:
        Whether they agree (`None`: no library has counted, as for a file, or the loop raises), and one line that says
        it.
    """
    counters = model.counters
    if counters is None:
        return None, "summed from the file's own header; no counting loop to compare with"
    if counters.raising:
        return None, _raising(model, counters)
    if counters.loop != model.total and model.notes:
        odd = plural(len(model.notes), "tensor")
        reason = f"the counting loop gives {counters.loop:,}, what torch holds here of {odd} with a note"
        return False, f"✘ {reason}; these rows, whole and unpacked, {model.total:,}"
    if counters.loop != model.total:
        return False, f"✘ the counting loop gives {counters.loop:,}, these rows {model.total:,}"
    if counters.num_parameters not in (None, counters.loop):
        return True, f"✔ equals the counting loop; num_parameters() gives {counters.num_parameters:,}"
    return True, "✔ equals the counting loop"


def _raising(model: Model, counters: Counters) -> str:
    """Say which parameters the loop's figure leaves out, where the loop that people write raises."""
    rows = "" if counters.loop == model.total else f"; these rows {model.total:,}"
    if counters.lazy == counters.raising:
        without, until = f"lazy parameter{'s' if counters.lazy != 1 else ''}", " until they have shapes"
        until = until if counters.lazy != 1 else " until it has a shape"
    else:
        without, until = f"parameter{'s' if counters.raising != 1 else ''} with a note", ""
    return f"{counters.loop:,} without {counters.raising:,} {without}; the loop itself raises{until}{rows}"
