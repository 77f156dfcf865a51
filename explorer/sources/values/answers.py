"""Answers requests about values: a tensor's facts, the elements of a window, statistics, cells of a heat map."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Any

from explorer.core.errors import ParamxError
from explorer.core.statistics import TensorStats
from explorer.core.windows import check
from explorer.sources import Answer
from explorer.sources.unexpected import unexpected
from explorer.sources.values import CANT_BE_SHOWN, OpenTensor
from explorer.sources.values.measuring import measure

SLICE = 0.15
"""Seconds that one answer works on a slow request: then it returns the share that is done, and is asked again."""

MOST_WORK = 4
"""Half-done works that are kept of each request: a sweep and a screen over it must not end each other's."""


def value_answers(open_tensor: OpenTensor) -> dict[str, Answer]:
    """Return what answers requests about values.

    `tensor` {"index"} tells the facts; `values` {"index", "selection"} gives the bytes of the selected elements;
    `statistics` {"index"}, `heat` {"index", …} and `seek` {"index", "start", "by"} (the next element that is NaN or
    infinite) do a slice of the work and answer {"done": share, "result": …}: they are asked until `result` is not
    null; not to ask again cancels. None raises anything but `ParamxError`.
    """
    answers: dict[str, Answer] = {
        "tensor": partial(_tensor, open_tensor),
        "values": partial(_values, open_tensor),
        "statistics": in_slices(partial(_statistics, open_tensor), MOST_WORK),
        "heat": in_slices(partial(_heat, open_tensor), MOST_WORK),
        "seek": in_slices(partial(_seek, open_tensor), MOST_WORK),
    }
    return {request: partial(_or_refused, answer) for request, answer in answers.items()}


def _or_refused(answer: Answer, arguments: Mapping[str, Any]) -> Any:
    try:
        return answer(arguments)
    except ParamxError:
        raise
    except Exception as error:  # a tensor subclass may raise on anything that it is asked
        raise unexpected(CANT_BE_SHOWN, error) from error


def _tensor(open_tensor: OpenTensor, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return open_tensor(arguments["index"]).facts.to_json()


def _values(open_tensor: OpenTensor, arguments: Mapping[str, Any]) -> bytes:
    tensor = open_tensor(arguments["index"])
    try:
        selection = check(tensor.facts.shape, arguments["selection"])
    except ValueError as error:
        raise ParamxError("values", str(error)) from None
    return tensor.take(selection)


def _statistics(open_tensor: OpenTensor, wanted: Mapping[str, Any]) -> Generator[float, None, Any]:
    stats: TensorStats = yield from measure(open_tensor(wanted["index"]))
    return stats.to_json()


def _heat(open_tensor: OpenTensor, wanted: Mapping[str, Any]) -> Generator[float, None, Any]:
    from explorer.sources.values.shading import shade

    tensor = open_tensor(wanted["index"])
    return (yield from shade(tensor, wanted["leading"], wanted["rows"], wanted["columns"]))


def _seek(open_tensor: OpenTensor, wanted: Mapping[str, Any]) -> Generator[float, None, Any]:
    from explorer.sources.values.seeking import seek

    return (yield from seek(open_tensor(wanted["index"]), wanted["start"], wanted["by"]))


def in_slices(begin: Callable[[Mapping[str, Any]], Generator[float, None, Any]], most: int) -> Answer:
    """Return what answers a request by a slice of its work, and goes on with it when it is asked the same again.

    Args:
        begin: Begins the work that the arguments ask for: yields the share that is done, returns the result.
        most: How many works are kept half done; the oldest is dropped for a new one.
    """
    work: dict[str, Generator[float, None, Any]] = {}

    def answer(arguments: Mapping[str, Any]) -> dict[str, Any]:
        key = repr(sorted(arguments.items()))
        going = work.pop(key, None)
        if going is None:
            while len(work) >= most:
                del work[next(iter(work))]
            going = begin(arguments)
        until = time.monotonic() + SLICE
        try:
            while True:
                done = next(going)
                if time.monotonic() > until:
                    work[key] = going
                    return {"done": done, "result": None}
        except StopIteration as end:
            return {"done": 1.0, "result": end.value}

    return answer
