"""Hands what was typed to the interface a little at a time: however much waits, a key that quits is there soon.

Textual makes messages of all that was read, and puts each into the app's queue at once. After 20,000 keys pasted into
a terminal without bracketed paste, or a mouse that was moved over a link that stalled, Ctrl+C would wait for seconds
in the thread that makes them, in the loop that passes them on, and in the queue. Here they wait as they were read,
for free, and what quits overtakes them.
"""

from __future__ import annotations

import re
from collections import deque
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

from explorer.ui.keyboard import Cut

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from explorer.ui.key_order import KeyOrderApp

AT_A_TIME = 16
"""Messages that wait in the app's queue at most; as many keys a person types ahead keep their order in any case."""

PAUSE_SECONDS = 0.002
"""After how long it is seen whether the app has taken them."""

MOST = 100_000
"""Keys and reports that wait at most. Nobody types that many: what comes after them is dropped."""

QUITS = re.compile(r"\x1b?[\x03\x11]|\x1b\[(?:99|113)[\d:]*;(\d{1,3})[\d:;]*u")
"""Ctrl+C and Ctrl+Q as old terminals send them, with Esc before them too; in kitty's keyboard protocol also C and Q
with other modifiers."""

CTRL, MODIFIERS = 4, 63
"""Bits of that protocol's second number less one: Ctrl, and all that are held, without Caps Lock and Num Lock."""

MOVED = re.compile(r"\x1b\[<(3[2-9]|[45]\d|6[0-3]);\d+;\d+M")
"""The mouse was moved, with the buttons and modifiers of the first number."""


class Typed:
    """What was read and not yet handed over. Filled by the thread that reads, emptied in the app's loop."""

    def __init__(
        self, app: KeyOrderApp[Any], loop: asyncio.AbstractEventLoop, take: Callable[[Cut, float], None]
    ) -> None:
        """Hand over with `take`: a key, report or paste, and when it was read in seconds of the monotonic clock."""
        self._app = app
        self._loop = loop
        self._take = take
        self._waiting: deque[tuple[Cut, float]] = deque()
        self._lock = Lock()
        self._later: asyncio.TimerHandle | None = None

    def put(self, cuts: Iterable[Cut]) -> None:
        """Add what was read; from any thread."""
        now = monotonic()
        added = False
        for cut in cuts:
            with self._lock:
                self._add(cut, now)
            added = True
        if added:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._hand_over)

    def _add(self, cut: Cut, now: float) -> None:
        if _quits(cut):
            self._waiting.insert(AT_A_TIME, (cut, now))
            self._app.leave_soon()
        elif self._waiting and _moved_on(self._waiting[-1][0], cut):
            self._waiting[-1] = cut, now
        elif len(self._waiting) < MOST:
            self._waiting.append((cut, now))

    def clear(self) -> None:
        """Forget what waits."""
        with self._lock:
            self._waiting.clear()

    def _hand_over(self) -> None:
        """Hand over what the app has room for, one at least, and come back for the rest."""
        room = max(1, AT_A_TIME - self._app.message_queue_size)
        with self._lock:
            some = [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]
            left = bool(self._waiting)
        for cut, at in some:
            self._take(cut, at)
        if left and self._later is None:
            self._later = self._loop.call_later(PAUSE_SECONDS, self._come_back)

    def _come_back(self) -> None:
        self._later = None
        self._hand_over()


def _quits(cut: Cut) -> bool:
    """Tell whether a key quits in every state."""
    if not isinstance(cut, str) or (match := QUITS.fullmatch(cut)) is None:
        return False
    return match[1] is None or (int(match[1]) - 1) & MODIFIERS == CTRL


def _moved_on(last: Cut, cut: Cut) -> bool:
    """Tell whether the mouse was moved again, with the same buttons: only where it is now matters."""
    if not isinstance(last, str) or not isinstance(cut, str):
        return False
    before, after = MOVED.fullmatch(last), MOVED.fullmatch(cut)
    return before is not None and after is not None and before[1] == after[1]
