"""What the command writes to the terminal and to pipes, and with which exit status it ends when that fails."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from contextlib import suppress

from explorer.core.text import harmless, harmless_line
from explorer.starting import Greeting

EXIT_FAILED = 1
"""What was asked can't be done: one line on stderr says why. Of `--check`: an error is among the findings."""

EXIT_PIPE_CLOSED = 141
"""The reader of the output went away, as shells write it: 128 + SIGPIPE."""


greeting = Greeting()
"""Stands on the terminal until the interface is there; whoever else writes to it wipes it first."""


def take_any_name() -> None:
    """Let stdout take names in any locale: one in Japanese is printed escaped in Latin-1, rather than not at all."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def write(pieces: Iterable[str]) -> int:
    """Write to stdout and flush, so that what goes wrong is told here and not by the interpreter as it ends."""
    try:
        sys.stdout.writelines(map(harmless, pieces))
        sys.stdout.flush()
    except BrokenPipeError:  # `paramx gpt2 | head` has read enough
        drop_output()
        return EXIT_PIPE_CLOSED
    except OSError as error:
        drop_output()
        return fail(f"output: {error.strerror or error}")
    return 0


def fail(line: str) -> int:
    """Tell in one line what can't be done, and return the exit status that says so."""
    greeting.wipe()
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"paramx: {harmless_line(line)}", file=sys.stderr)
    return EXIT_FAILED


def drop_output() -> None:
    """Let nothing more be written to stdout: Python flushes it once more while ending, and would complain."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
