"""Textual's driver, but for what ends it, freezes it or garbles its screen: odd bytes, sizes, writers and stops.

Bytes that are no UTF-8 come from line noise, from a terminal set to Latin-1, from a paste of a binary file, and in
the mouse reports of old terminals. Leans on private parts of Textual 8.2.8: the loop of `LinuxDriver`, its file, its
size, its writer and its handlers of signals. Those give the terminal back and take it in the handler itself: a second
signal then comes in the middle of the first, and writes for a writer that is gone. Here they only ask for it.
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
from codecs import getincrementaldecoder
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from textual import events
from textual.drivers.linux_driver import LinuxDriver

from explorer.terminal_state import in_background
from explorer.ui.held_stderr import HeldStderr
from explorer.ui.keyboard import NO_CHARACTER, KeyboardCutter, KeyboardParser
from explorer.ui.output import Output
from explorer.ui.screen_size import screen_size
from explorer.ui.typed import Typed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from textual.message import Message

    from explorer.ui.key_order import KeyOrderApp
    from explorer.ui.keyboard import Cut

TAKEN = (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH, signal.SIGTTOU, signal.SIGTTIN)
"""Signals that Textual's driver or this one handles."""

SWITCH_SECONDS = 0.001
"""How long the thread that reads waits for the interpreter before it demands its turn.

With Python's 5 ms it can wait for seconds: a busy loop gives the interpreter up more often than that, for system
calls, and has it back before the other wakes; each time the wait begins anew, and the demand is never made.
"""

CATCH_UP_SECONDS = 0.05
"""How long after a frame that took long the next is drawn: drawn without a pause, they leave no time for keys."""

MOST_READ = 4096
"""Bytes of one read: what a terminal keeps at most."""


class LenientDriver(LinuxDriver):
    """Reads the keyboard, knows the size of the screen, and has the terminal or gives it back."""

    def __init__(
        self, app: KeyOrderApp[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        """Have the size at once: without one the app would look for it itself, in COLUMNS and LINES first."""
        self._stop_asked = self._retaking = self._over = False
        self._usual = {number: signal.getsignal(number) for number in TAKEN}
        self._usual_wakeup = signal.set_wakeup_fd(-1)
        self._usual_interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        # For the loop to be woken: Python notes a signal that another thread gets, and looks when this one does.
        self._loop.add_signal_handler(signal.SIGCONT, _nothing)
        signal.signal(signal.SIGCONT, self._sigcont_application)
        self._size = size or self._get_terminal_size()
        self._held: HeldStderr | None = None
        self._shown = app
        self._parser = KeyboardParser(debug)
        self._typed = Typed(app, self._loop, self._take)

    def _get_terminal_size(self) -> tuple[int, int]:
        """Return the size to draw in; Textual would believe COLUMNS and LINES first."""
        return screen_size(self.fileno)

    def start_application_mode(self) -> None:
        """Have the terminal, and have it alone; while another job has it, stop until `fg`."""
        while self._writer_thread is None:
            if self._stop_asked or in_background():
                self._stop()
                continue
            if self._held is None:
                with suppress(OSError):  # without room for a file the interface works all the same
                    self._held = HeldStderr()
            terminal = self._held.terminal if self._held is not None else sys.__stderr__
            assert terminal is not None, "the interface is for a terminal"
            self._shown.output = self._output = Output(terminal, self._caught_up)
            self._file = self._output  # type: ignore[assignment] # as much of a file as the writer needs
            super().start_application_mode()  # type: ignore[no-untyped-call] # Textual's lacks its annotation

    def _stop(self) -> None:
        """Stop until `fg`; keys pressed before are for nobody."""
        # SIGTSTP tells the parent that the terminal was given back. In the background nothing was taken yet, and
        # where no shell could continue us the system drops that signal.
        by = signal.SIGTSTP if self._stop_asked else signal.SIGSTOP
        self._stop_asked = False
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(by)
        signal.signal(signal.SIGTSTP, self._sigtstp_application)
        self._typed.clear()
        self._shown.forget_keys()

    def _caught_up(self) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._loop.call_later, CATCH_UP_SECONDS, self._shown.catch_up)

    def write(self, data: str) -> None:
        """Give a text to the thread that writes."""
        self._output.give(data)
        super().write(data)

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
        self._loop.remove_signal_handler(signal.SIGCONT)
        signal.set_wakeup_fd(self._usual_wakeup)
        sys.setswitchinterval(self._usual_interval)
        for number, handler in self._usual.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def _release(self) -> None:
        """Close the terminal, and show after that what was written meanwhile."""
        super().close()
        self._shown.output = None
        if self._held is not None:
            self._held.release()
            self._held = None

    def _sigtstp_application(self, *_: object) -> None:
        """Stop soon, once for all signals that come until then: the parent passes on one that came to both."""
        self._stop_asked = True
        self._ask()

    def _sigcont_application(self, *_: object) -> None:
        """Draw anew where a SIGSTOP was the reason: a shell has had the terminal meanwhile."""
        if self._writer_thread is not None:
            self._ask()

    def _ask(self) -> None:
        if not self._retaking:
            self._retaking = True
            self._loop.call_soon_threadsafe(self._retake)

    def _retake(self) -> None:
        """Give the terminal back and take it again, with a stop in between if one is asked for."""
        drawn = not self._over and self._writer_thread is not None
        if drawn:
            if not self._stop_asked:
                # After a SIGSTOP the parent may have given the terminal back: what is popped is of this screen.
                self.write("\x1b[?1049h")
            self.suspend_application_mode()
        self._retaking = False
        if drawn:
            self.start_application_mode()

    def run_input_thread(self) -> None:
        """Read until the interface is closed, as Textual's method does.

        A byte that can't be decoded is replaced here, and dropped only as a key: the parser counts the characters of
        a mouse report, and would take a key for the one that is missing.
        """
        self._parser = KeyboardParser(self._debug)
        cutter = KeyboardCutter()
        decoder = getincrementaldecoder("utf-8")("replace")

        with self._reading() as fileno, selectors.SelectSelector() as selector:
            selector.register(fileno, selectors.EVENT_READ)
            closing = False
            while not closing:
                closing = self.exit_event.is_set()  # what has come by then is read, or the shell would get it
                if selector.select(0.1):
                    with suppress(BlockingIOError):  # a shell has read it, while we were stopped
                        data = os.read(fileno, MOST_READ)
                        self._typed.put(cutter.feed(decoder.decode(data)))
                        if not data:  # the terminal is gone
                            self.exit_event.wait(0.1)
                self._typed.put(cutter.tick())
                if self._held is not None:
                    self._held.trim()

    @contextmanager
    def _reading(self) -> Iterator[int]:
        """Open the terminal for reads that do not wait: one that does can't be ended, nor can its thread be joined.

        A description of our own, or the shell's reads would not wait either.
        """
        fileno = self.fileno
        with suppress(OSError):  # no name for it here, as in some containers, or it is another user's
            fileno = os.open(os.ttyname(self.fileno), os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            yield fileno
        finally:
            if fileno != self.fileno:
                os.close(fileno)

    def _take(self, cut: Cut, read_at: float) -> None:
        """Make messages of what was read."""
        if self._over or self._writer_thread is None:
            return
        for message in self._parser.understood(cut):
            message.time = read_at
            self.process_message(message)

    def process_message(self, message: Message) -> None:
        """Pass on what was read, without what stands for no character."""
        if not isinstance(message, events.Key) or message.character != NO_CHARACTER:
            super().process_message(message)

    def send_message(self, message: Message) -> None:
        """Put a message into the app's queue, at once: `_typed` looks at its length."""
        self._app.post_message(message)


def _nothing() -> None:
    """Be woken."""
