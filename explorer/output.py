"""What the command writes to the terminal and to pipes, and with which exit status it ends when that fails."""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress

from explorer.core.terminal import is_terminal
from explorer.core.text import harmless, harmless_line
from explorer.starting import Greeting

EXIT_FAILED = 1
"""What was asked can't be done: one line on stderr says why. Of `--check`: an error is among the findings."""

EXIT_NO_OUTPUT = 2
"""Standard output is closed or full: not what 1 says of a target, of findings or of a comparison."""

EXIT_TROUBLE = 2
"""Two targets could not be compared: as with `diff` and `cmp`, 1 says that they differ."""

EXIT_PIPE_CLOSED = 141
"""The reader of the output went away, as shells write it: 128 + SIGPIPE."""

FULL_DEVICE = os.makedev(1, 7)
"""`/dev/full` of Linux (Documentation/admin-guide/devices.txt): the disk that is always full."""

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
        return fail(f"output: {error.strerror or error}", EXIT_NO_OUTPUT)
    return 0


def ready() -> int:
    """Look whether stdout takes anything before seconds are spent on what to write; return 0, or the exit status.

    A disk may fill up later: then `write` says so.
    """
    if sys.stdout is None:
        return fail("output: standard output is closed", EXIT_NO_OUTPUT)
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError, AttributeError):  # a program that calls `main` has put something else there
        return 0
    try:
        os.write(number, b"")  # fails where it may not be written, and writes nothing
        poller = select.poll()
        poller.register(number, select.POLLOUT)
        if any(event & select.POLLERR for _, event in poller.poll(0)) and _is_pipe(number):
            drop_output()
            return EXIT_PIPE_CLOSED
        full = _is_full(number)
    except OSError as error:
        drop_output()
        why = "standard output is only read from" if error.errno == errno.EBADF else error.strerror or error
        return fail(f"output: {why}", EXIT_NO_OUTPUT)
    return fail(f"output: {os.strerror(errno.ENOSPC)}", EXIT_NO_OUTPUT) if full else 0


def _is_pipe(number: int) -> bool:
    mode = os.fstat(number).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _is_full(number: int) -> bool:
    """Tell whether a descriptor is a device or a file that takes no byte more; neither refuses an empty write."""
    status = os.fstat(number)
    if stat.S_ISCHR(status.st_mode):
        return sys.platform.startswith("linux") and status.st_rdev == FULL_DEVICE
    if not stat.S_ISREG(status.st_mode):
        return False
    disk = os.fstatvfs(number)
    return disk.f_blocks > 0 and disk.f_bfree == 0


def fail(line: str, status: int = EXIT_FAILED, above: str = "") -> int:
    """Tell in one line what can't be done, below what was asked for, and return the exit status that says so."""
    greeting.wipe()
    text = f"{above}{above and chr(10)}paramx: {harmless_line(line)}\n"
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()
            return status
    # Closed or full: the terminal is told, if another stream still leads there.
    for stream in filter(is_terminal, (sys.stdout, sys.stdin)):
        with suppress(OSError, ValueError):
            os.write(stream.fileno(), text.encode(errors="backslashreplace"))
            break
    return status


def drop_output() -> None:
    """Let nothing more be written to stdout: Python flushes it once more while ending, and would complain."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
