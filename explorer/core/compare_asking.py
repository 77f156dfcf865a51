"""What a comparison asks of what serves its models: how the other's tensors are loaded, and what files hold. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from explorer.core.arrange import Move
from explorer.core.asking import Ask
from explorer.core.compare_files import Held, ask_held
from explorer.core.errors import LostError, ParamxError
from explorer.core.loading import Loading
from explorer.core.param import Model

MOVES = "moves"
"""What is asked of what serves a model: takes `names` of a file; answers what loading makes of each: see `Move`."""

BUFFERS = "buffers"
"""What is asked of what serves a model: takes `names` of a file; answers which of them are its buffers."""

ASKED_AT_ONCE = 5_000
"""Names that one request carries; a request has at most a megabyte."""


def askers(a: Model, b: Model, one: Loading, other: Loading) -> tuple[Ask | None, Ask | None]:
    """Return what to ask how the other's tensors are loaded: a built model, where the other side is a file.

    Args:
        a: The first model.
        b: The second.
        one: What serves the first.
        other: What serves the second.
    """
    built = a.counters is not None, b.counters is not None
    return (one.ask if built == (True, False) else None, other.ask if built == (False, True) else None)


def files_of(a: Model, b: Model, one: Loading, other: Loading) -> tuple[Held | None, Held | None]:
    """Return how the files of two models differ from their tables; `None` for a model without a directory.

    Args:
        a: The first model.
        b: The second.
        one: What serves the first.
        other: What serves the second.

    Raises:
        LostError: One of the two is gone.
    """
    return ask_held(a, one.ask), ask_held(b, other.ask)


def ask_buffers(ask: Ask, names: Sequence[str]) -> list[str]:
    """Ask which tensors of a file are buffers of a model; empty where that can't be asked."""
    found: list[str] = []
    for start in range(0, len(names), ASKED_AT_ONCE):
        try:
            found += ask(BUFFERS, {"names": list(names[start : start + ASKED_AT_ONCE])}) or ()
        except LostError:
            raise
        except ParamxError:
            return []
    return found


def ask_moves(ask: Ask, names: Sequence[str]) -> dict[str, Move]:
    """Ask what a library makes of tensors of a file; empty where no library can be asked."""
    moves: dict[str, Move] = {}
    for start in range(0, len(names), ASKED_AT_ONCE):
        some = names[start : start + ASKED_AT_ONCE]
        try:
            answer = ask(MOVES, {"names": list(some)})
        except LostError:
            raise
        except ParamxError:  # it holds no model of a library's
            return {}
        if answer is None:
            return {}
        moves |= {name: Move.from_json(move) for name, move in zip(some, answer, strict=True) if move is not None}
    return moves
