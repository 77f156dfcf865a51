"""Asks an open model for slow answers slice by slice, so that progress can be shown and the work stopped. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Ask = Callable[[str, Mapping[str, Any]], Any]
"""`Loading.ask`: a request's name and arguments, answered or refused with a `ParamxError`."""

NO_WEIGHTS = "no weights here"
"""Start of the error of a skeleton, which is the same for every tensor."""


def ask_to_the_end(
    ask: Ask,
    request: str,
    arguments: Mapping[str, Any],
    progress: Callable[[float], bool] = lambda done: True,
) -> Any:
    """Ask until there is a result.

    Args:
        ask: Answers `{"done": share, "result": …}`, `result` being `None` until it is done.
        request: `statistics`, `heat`.
        arguments: The request's.
        progress: Called with the share that is done; an answer of `False` stops.

    Returns:
        The result; `None` if it was stopped.

    Raises:
        ParamxError: It can't be answered.
    """
    while True:
        answer = ask(request, arguments)
        if answer["result"] is not None:
            return answer["result"]
        if not progress(float(answer["done"])):
            return None
