"""The terminal's state before the interface had it, and what brings it back.

The parent, which is to stay small (`explorer.supervisor`), is made of this: the standard library alone.
"""

from __future__ import annotations

import os
import select
import signal
import termios
import time
from contextlib import suppress
from typing import Any

RESTORE = (
    # An escape sequence may have been cut in the middle: CAN ends it, ST a string.
    "\x18\x1b\\"
    "\x1b[?2026l"  # synchronized output
    "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l"  # mouse
    "\x1b[?1004l\x1b[?2004l\x1b[?2048l"  # focus reports, bracketed paste, resize reports
    # Kitty's keyboard protocol, as often as it was entered. Each screen has its own, and the normal one's is the
    # shell's: the interface may have ended before it entered the alternate screen, or after it left it.
    "\x1b[?1049h\x1b[<9u"
    "\x1b[?7h\x1b[0m"  # long lines wrap, no colour
    "\x1b[?1049l\x1b[?25h"  # the normal screen, the cursor
)
"""What undoes all that Textual 8.2.8 turns on (linux_driver.py), in its order."""

ERASE_LINE = "\r\x1b[K"
"""Takes the greeting away, which stands there until the interface takes the terminal."""

DRAW_SECONDS = 0.3
"""How long a terminal that takes no output is waited for."""

IFLAG, LFLAG, CC = 0, 3, 6
"""Places in what `termios.tcgetattr` returns: input modes, local modes, special characters."""


class Terminal:
    """The terminal's state before the interface had it."""

    def __init__(self) -> None:
        """Remember it. Standard input gives the flags, standard error is drawn on: both are a terminal."""
        self._flags: list[Any] | None = None
        self._output = 2
        with suppress(termios.error):
            self._flags = termios.tcgetattr(0)
        with suppress(OSError):
            # A description of our own: not blocking, without making the shell's so.
            self._output = os.open(os.ttyname(2), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)

    def listen(self) -> None:
        r"""Keep what is typed for the interface, as it is typed: no echo, no line to be ended first.

        Nothing is flushed (TCSANOW): keys pressed already are the interface's too. Signals stay on until it is there:
        Ctrl+C, Ctrl+Z and Ctrl+\ work from the first moment.
        """
        if self._flags is None:
            return
        flags = list(self._flags)
        flags[IFLAG] &= ~(termios.IXON | termios.IXOFF | termios.ICRNL | termios.INLCR | termios.IGNCR)
        flags[LFLAG] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
        flags[CC] = list(flags[CC])
        flags[CC][termios.VMIN] = 1
        with suppress(termios.error):
            termios.tcsetattr(0, termios.TCSANOW, flags)

    def restore(self, *, drawn: bool, begun: bool = True) -> None:
        """Bring it back.

        Args:
            drawn: Whether modes may still be on; otherwise only the flags are looked at.
            begun: Whether the interface took it; before that a greeting stands there, and there is nothing to undo.
        """
        # The shell may have the terminal already: then writing to it must not stop us.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        if drawn:
            if not in_background():
                with suppress(termios.error):  # what a slow link has not taken yet is of a screen that goes
                    termios.tcflush(self._output, termios.TCOFLUSH)
            self.write(RESTORE if begun else ERASE_LINE)
        # Where a shell has taken it back its flags are the shell's: ours would echo what its line editor draws.
        if self._flags is None or in_background():
            return
        with suppress(termios.error):
            if drawn:  # mouse reports, answers of the terminal: not for the shell to run
                termios.tcflush(0, termios.TCIFLUSH)
            if termios.tcgetattr(0) != self._flags:
                # Not TCSADRAIN: that waits for ever for a terminal that takes no output.
                termios.tcsetattr(0, termios.TCSANOW, self._flags)

    def write(self, text: str) -> None:
        """Write text as far as the terminal takes it within `DRAW_SECONDS`."""
        rest = text.encode(errors="backslashreplace")
        until = time.monotonic() + DRAW_SECONDS
        while rest and time.monotonic() < until:
            poller = select.poll()
            poller.register(self._output, select.POLLOUT)
            try:
                if poller.poll(1000 * DRAW_SECONDS):
                    rest = rest[os.write(self._output, rest) :]
            except BlockingIOError:
                continue
            except OSError:  # it is gone
                return


def in_background() -> bool:
    """Tell whether another job has the terminal: a shell's `&`, or the shell itself."""
    try:
        return os.tcgetpgrp(0) != os.getpgrp()
    except OSError:  # it is not the terminal that this session is controlled from
        return False
