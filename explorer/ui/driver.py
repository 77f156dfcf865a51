"""Textual's driver, but for what ends it, freezes it or garbles its screen: odd bytes, sizes, writers and stops.

Bytes that are no UTF-8 come from line noise, from a terminal set to Latin-1, from a paste of a binary file, and in
the mouse reports of old terminals. Leans on private parts of Textual 8.2.8: the loop of `LinuxDriver`, its file, its
size, its writer and its handlers of signals. Those give the terminal back and take it in the handler itself: a second
signal then comes in the middle of the first, and writes for a writer that is gone. Here they only ask for it.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import signal
import sys
from codecs import getincrementaldecoder
from contextlib import suppress
from typing import TYPE_CHECKING

from textual import events
from textual.drivers.linux_driver import LinuxDriver

from explorer.supervisor import in_background
from explorer.ui.held_stderr import HeldStderr
from explorer.ui.keyboard import NO_CHARACTER, KeyboardParser
from explorer.ui.screen_size import screen_size

if TYPE_CHECKING:
    from typing import Any

    from textual.app import App
    from textual.message import Message


class LenientDriver(LinuxDriver):
    """Reads the keyboard, knows the size of the screen, and has the terminal or gives it back."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        """Have the size at once: without one the app would look for it itself, in COLUMNS and LINES first."""
        self._usual = {number: signal.getsignal(number) for number in (signal.SIGTSTP, signal.SIGCONT)}
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._stop_asked = self._over = False
        self._size = size or self._get_terminal_size()
        self._held: HeldStderr | None = None

    def _get_terminal_size(self) -> tuple[int, int]:
        """Return the size to draw in; Textual would believe COLUMNS and LINES first."""
        return screen_size(self.fileno)

    def start_application_mode(self) -> None:
        """Have the terminal, and have it alone; while another job has it, stop until `fg`."""
        while self._writer_thread is None:
            if self._stop_asked or in_background():
                self._stop_asked = False
                os.kill(os.getpid(), signal.SIGSTOP)
                continue
            if self._held is None:
                with suppress(OSError):  # without room for a file the interface works all the same
                    self._held = HeldStderr()
                    self._file = self._held.terminal
            super().start_application_mode()  # type: ignore[no-untyped-call] # Textual's lacks its annotation

    def suspend_application_mode(self) -> None:
        """Give the terminal back for a while; a shell may have it already, which must not stop us half-way."""
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        super().stop_application_mode()
        self._release()
        self._writer_thread = None

    def disable_input(self) -> None:
        """Stop reading; Textual sets the terminal's flags next, and where a shell has it they are the shell's."""
        super().disable_input()
        if in_background():
            self.attrs_before = None

    def stop_application_mode(self) -> None:
        """Give the terminal back for good: nothing stops the program any more, it is about to end."""
        self._over = True
        super().stop_application_mode()

    def close(self) -> None:
        """Close what draws; signals are again whose they were: the process may go on without an interface."""
        self._release()
        for number, handler in self._usual.items():
            signal.signal(number, handler)

    def _release(self) -> None:
        """Close the terminal, and show after that what was written meanwhile."""
        super().close()
        if self._held is not None:
            self._held.release()
            self._held = None
            self._file = sys.__stderr__

    def _sigtstp_application(self, *_: object) -> None:
        """Stop soon, once for all signals that come until then: the parent passes on one that came to both."""
        if not self._stop_asked:
            self._stop_asked = True
            asyncio.get_running_loop().call_soon_threadsafe(self._retake)

    def _sigcont_application(self, *_: object) -> None:
        """Draw anew where a SIGSTOP was the reason: a shell has had the terminal meanwhile."""
        if self._writer_thread is not None:
            asyncio.get_running_loop().call_soon_threadsafe(self._retake)

    def _retake(self) -> None:
        """Give the terminal back and take it again, with a stop in between if one is asked for."""
        if not self._over and self._writer_thread is not None:
            self.suspend_application_mode()
            self.start_application_mode()

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
                # Twice: what was there before a stop the shell may have read since, and a read of nothing waits.
                if selector.select(0.1) and selector.select(0):
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
