"""Textual's driver, but for what ends it, freezes it or garbles its screen: odd bytes, odd sizes, other writers.

Bytes that are no UTF-8 come from line noise, from a terminal set to Latin-1, from a paste of a binary file, and in
the mouse reports of old terminals. Leans on private parts of Textual 8.2.8: the loop of `LinuxDriver`, its file and
its size.
"""

from __future__ import annotations

import os
import selectors
import sys
from codecs import getincrementaldecoder
from contextlib import suppress
from typing import TYPE_CHECKING

from textual import events
from textual.drivers.linux_driver import LinuxDriver

from explorer.ui.held_stderr import HeldStderr
from explorer.ui.keyboard import NO_CHARACTER, KeyboardParser
from explorer.ui.screen_size import screen_size

if TYPE_CHECKING:
    from typing import Any

    from textual.app import App
    from textual.message import Message


class LenientDriver(LinuxDriver):
    """Reads the keyboard and knows the size of the screen."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        """Have the size at once: without one the app would look for it itself, in COLUMNS and LINES first."""
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._size = size or self._get_terminal_size()
        self._held: HeldStderr | None = None

    def _get_terminal_size(self) -> tuple[int, int]:
        """Return the size to draw in; Textual would believe COLUMNS and LINES first."""
        return screen_size(self.fileno)

    def start_application_mode(self) -> None:
        """Have the terminal, and have it alone."""
        if self._held is None:
            with suppress(OSError):  # without room for a file the interface works all the same
                self._held = HeldStderr()
                self._file = self._held.terminal
        super().start_application_mode()  # type: ignore[no-untyped-call] # Textual's lacks its annotation

    def close(self) -> None:
        """Give the terminal back, and after that what was written meanwhile."""
        super().close()
        if self._held is not None:
            self._held.release()
            self._held = None
            self._file = sys.__stderr__

    def run_input_thread(self) -> None:
        """Read until the interface is closed, as Textual's method does.

        A byte that can't be decoded is replaced here, and dropped only as a key: the parser counts the characters of
        a mouse report, and would take a key for the one that is missing.
        """
        parser = KeyboardParser(self._debug)
        decoder = getincrementaldecoder("utf-8")("replace")

        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            closing = False
            while not closing:
                closing = self.exit_event.is_set()  # what has come by then is read, or the shell would get it
                if selector.select(0.1):
                    for event in parser.feed(decoder.decode(os.read(self.fileno, 4096))):
                        self.process_message(event)
                for event in parser.tick():
                    self.process_message(event)
                if self._held is not None:
                    self._held.trim()

    def process_message(self, message: Message) -> None:
        """Pass on what was read, without what stands for no character."""
        if not isinstance(message, events.Key) or message.character != NO_CHARACTER:
            super().process_message(message)
