"""Takes keys one at a time: each has had its effect before the next is looked at, from the first one on.

Textual posts a key to the widget that has the focus when the key arrives, not when it is its turn. Of `/bias` sent in
one packet, as happens over SSH, it gives `b` to the tree, before `/` has moved the focus; and keys that arrive
before there is a screen go to nobody.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from textual import events

from explorer.ui import keymap
from explorer.ui.cell_diff import CellDiffApp

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.dom import DOMNode

Answer = TypeVar("Answer")

AT_ONCE = ("ctrl+c", "ctrl+q")
"""Keys that quit in every state: they wait for few keys, and not for long."""

FEW, FEW_SECONDS = 16, 0.2
"""How many keys typed before it a key that quits waits for, and for how long: `w`, Enter and Ctrl+Q in one packet, as
`tmux send-keys` sends them, are to write the file."""

TYPES = ("slash", "tab", "shift+tab", "i", "o")
"""Keys that lead into a field: what follows is text, also a `q`."""

BURST_SECONDS = 0.5
"""A key that comes this soon after one that waits for the model belongs to what is being typed there."""

LOOKS, LOOK_SECONDS = 10, 0.05
"""How often, and after how long each, it is seen that a key has not had its effect before the next is looked at all
the same. Not one long wait: a process that got no processor meanwhile, or was stopped, has had no time to do it."""

WITHOUT_MODEL = frozenset(
    key
    for command in keymap.COMMANDS
    if command.where == "anywhere" and command.owner == "app"
    for key in command.keys
) | {"escape"}
"""Keys that do something while a model opens; the others wait for it if they were pressed before the first screen."""


class KeyOrderApp(CellDiffApp[Answer]):
    """An app that takes keys in their order, also those pressed before it was there."""

    _waiting: deque[events.Key | events.Paste]
    _began = math.inf
    _last = _forgotten = 0.0
    _busy: object | None = None

    def __init__(self, *, ansi_color: bool | None = None) -> None:
        """Hold keys until `take_keys`."""
        super().__init__(ansi_color=ansi_color)
        self._waiting = deque()

    @property
    def opening(self) -> bool:
        """Whether the screen waits for a model, and most keys with it."""
        return False

    def take_keys(self) -> None:
        """Look at the keys that wait: there is a screen now, or a model."""
        self._began = min(self._began, events.Event().time)
        self._next()

    def drop_keys(self) -> None:
        """Forget the keys that wait for a model: there will be none."""
        self._waiting.clear()

    def forget_keys(self) -> None:
        """Forget all keys pressed before now, as a terminal forgets what stands before and behind a Ctrl+Z."""
        self._waiting.clear()
        self._forgotten = events.Event().time

    def leave_soon(self) -> None:
        """Take note, in the thread that reads, of a key that quits in every state."""

    async def on_event(self, event: events.Event) -> None:
        """Hold a key until it is its turn."""
        if not isinstance(event, (events.Key, events.Paste)) or event.is_forwarded:
            await super().on_event(event)
            return
        if event.time < self._forgotten:
            return
        if isinstance(event, events.Key) and event.key in AT_ONCE:
            if self.opening or self._busy is None or len(self._waiting) > FEW:
                await super().on_event(event)
            else:
                self._waiting.append(event)
                asyncio.get_running_loop().call_later(FEW_SECONDS, self._wait_no_more, event)
            return
        idle = self._busy is None and event.time > self._began
        if idle and (not self._waiting or event.time > self._last + BURST_SECONDS):
            # What waits for the model goes on waiting: this one was pressed by somebody who sees that.
            await self._deliver(event, self._begin())
            return
        if isinstance(event, events.Key) and event.key == "ctrl+j":
            # Enter, as the terminal wrote it before its flags were set.
            event = events.Key("enter", "\r")
        self._last = event.time
        self._waiting.append(event)
        self._next()

    def _wait_no_more(self, event: events.Key) -> None:
        """Give a key that quits to the app, whatever the keys before it are at."""
        if event in self._waiting:
            self._waiting.remove(event)
            self.call_later(super().on_event, event)

    def _next(self) -> None:
        """Deliver the next key, if it is its turn."""
        if self._began == math.inf or self._busy is not None or not self._waiting:
            return
        if self.opening and not self._acts(self._waiting[0]):
            if self._quits():
                self.exit()
            return
        self.call_later(self._deliver, self._waiting.popleft(), self._begin())

    def _acts(self, event: events.Key | events.Paste) -> bool:
        return isinstance(event, events.Key) and event.key in WITHOUT_MODEL

    def _quits(self) -> bool:
        """Whether the keys that wait for the model quit: that does not wait."""
        typing = False
        for event in self._waiting:
            key = event.key if isinstance(event, events.Key) else ""
            if key == "q" and not typing:
                return True
            typing = key in TYPES or (typing and key not in ("escape", "enter"))
        return False

    def _begin(self) -> object:
        """Let no other key be looked at meanwhile, but not for ever: its way may end in a widget that is removed."""
        self._busy = mark = object()
        self._wait(mark, LOOKS)
        return mark

    def _wait(self, mark: object, looks: int) -> None:
        if looks == 0:
            self._end(mark)
        elif mark is self._busy:
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._wait, mark, looks - 1)

    async def _deliver(self, event: events.Event, mark: object) -> None:
        """Give a key to whom it is for, and follow it."""
        target: DOMNode = self.focused or self.screen
        await super().on_event(event)
        # What the key set off is a step behind it: a field tells that it was submitted, the app moves the focus.
        self._follow(target, lambda: self._follow(target, lambda: self._settle(mark)))

    def _follow(self, node: DOMNode | None, then: Callable[[], None]) -> None:
        """Go the way of the key, from widget to widget up to the app: queues keep their order, so it went before."""
        while node is not None and node is not self:
            above, node = node, node.parent
            if above.call_later(self._follow, node, then):
                return
        self.call_later(then)

    def _settle(self, mark: object) -> None:
        # A screen that was pushed gets its widgets and its focus first.
        if self.focused is None and self.screen.call_after_refresh(self._end, mark):
            return
        self._end(mark)

    def _end(self, mark: object) -> None:
        if mark is self._busy:
            self._busy = None
            self._next()
