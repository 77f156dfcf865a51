"""The terminal as the thread that writes to it has it, and how much waits for a link that is slow.

Textual's writer (8.2.8, `_writer_thread.py`) lets 30 texts wait, and then the loop of the app until the terminal
takes one: no key is looked at meanwhile, and what is drawn is of seconds ago. Here a frame that would wait is not
drawn; the next one has all that changed since the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_TEXTS = 12
"""Texts that may wait, three or four a frame: the rest of Textual's 30 is for what is no frame."""

MOST_CHARACTERS = 16_384
"""Characters that may wait: a whole screen, and what changes while it is sent."""


class Output:
    """A file that counts what is given to its writer and what that has written."""

    def __init__(self, file: TextIO, caught_up: Callable[[], None]) -> None:
        """Write to `file`; tell `caught_up`, in the writer's thread, when a frame that had to wait can be drawn."""
        self._file = file
        self._caught_up = caught_up
        self._given = self._taken = self._written = (0, 0)
        self._missed = False

    def give(self, text: str) -> None:
        """Count what is put into the writer's queue."""
        self._given = _more(self._given, text)

    def full(self) -> bool:
        """Tell whether a frame has to wait; if so, `caught_up` is told later."""
        self._missed = True  # first, or the writer may be done in between and tell nobody
        texts, characters = (given - written for given, written in zip(self._given, self._written, strict=True))
        self._missed = texts >= MOST_TEXTS or characters >= MOST_CHARACTERS
        return self._missed

    def write(self, text: str) -> None:
        """Write, which takes as long as the terminal does."""
        self._file.write(text)
        self._taken = _more(self._taken, text)

    def flush(self) -> None:
        """Write what is buffered: nothing waits now."""
        self._file.flush()
        self._written = self._taken
        if self._missed:
            self._missed = False
            self._caught_up()

    def fileno(self) -> int:
        """Return the file's descriptor."""
        return self._file.fileno()


def _more(count: tuple[int, int], text: str) -> tuple[int, int]:
    return count[0] + 1, count[1] + len(text)
