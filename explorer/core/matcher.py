"""Searches names with a regular expression within a bounded time.

Why a child process and not a timer: a signal works on the main thread only and its handler runs late while `re`
holds the interpreter lock; a child can be killed from any thread, and its memory can be limited too. What is
provably cheap (`regexes.steps_bound`) runs here, without a child.
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

from explorer.core import regex_child
from explorer.core.patterns import PatternError, TooSlow
from explorer.core.regexes import MAX_STEPS, steps_bound

SECONDS = 0.25
"""How long one expression may search all names: a pause that a typing hand hardly feels."""
START_SECONDS = 3.0
"""How long the child may take to start and to take the names, once."""


def search_here(matches: Callable[[str], object], names: Sequence[str], chunk: int, seconds: float) -> bytes:
    """Match `names` in this process, looking at the clock after every `chunk` of them.

    Returns:
        One byte a name: 1 where it matches.

    Raises:
        TooSlow: It took more than `seconds`.
    """
    deadline = time.perf_counter() + seconds
    parts = []
    for start in range(0, len(names), chunk):
        if start and time.perf_counter() > deadline:
            raise TooSlow(f"too slow: stopped after {seconds:g} s")
        parts.append(bytes([matches(name) is not None for name in names[start : start + chunk]]))
    return b"".join(parts)


class RegexMatcher:
    """Searches one or two fixed tables of names; starts the child when it first needs it."""

    def __init__(self, tables: Sequence[Sequence[str]], seconds: float = SECONDS) -> None:
        """Keep the tables; nothing is started yet.

        Args:
            tables: Up to ten tables of names; no name holds a newline.
            seconds: How long one search may take.
        """
        self._tables = tables
        self._longest = [max(map(len, table), default=0) for table in tables]
        self._seconds = seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._sent: set[int] = set()
        self._finalizer: weakref.finalize[..., RegexMatcher] = weakref.finalize(self, _nothing)

    def search(self, pattern: str, table: int, start: int = 0) -> bytes:
        """Search every name of a table.

        Args:
            pattern: The regular expression.
            table: Which of the tables.
            start: Column of the expression in its term, for the errors.

        Returns:
            One byte a name: 1 where the expression is found.

        Raises:
            TooSlow: It was stopped.
            PatternError: It does not compile, or no helper process can be started.
        """
        names = self._tables[table]
        steps = steps_bound(pattern, self._longest[table])
        if steps <= MAX_STEPS:
            try:
                search = re.compile(pattern).search
            except re.error as error:
                raise PatternError(error.msg, start + (error.pos or 0)) from error
            return search_here(search, names, max(1, int(MAX_STEPS / max(steps, 1))), self._seconds)
        try:
            return self._ask(pattern, table, start)
        except OSError as error:
            self.close()
            raise PatternError(f"this expression needs a helper process, which failed: {error}", start) from error

    def close(self) -> None:
        """Kill and reap the child; it is started again when needed."""
        self._finalizer()
        self._child = None
        self._sent.clear()

    def _ask(self, pattern: str, table: int, start: int) -> bytes:
        ready = time.perf_counter() + START_SECONDS
        child = self._started()
        if table not in self._sent:
            names = "\n".join(self._tables[table])
            self._send(child, b"N", table, names, ready)
            # An expression that costs nothing, so that taking in the names is not charged to the first one.
            self._send(child, b"P", table, "", ready)
            self._receive(child, ready, START_SECONDS)
            self._sent.add(table)
        deadline = time.perf_counter() + self._seconds
        self._send(child, b"P", table, pattern, deadline)
        kind, answer = self._receive(child, deadline, self._seconds)
        if kind == b"E":
            message, position = json.loads(answer)
            raise PatternError(message, start + position)
        if kind != b"M" or len(answer) != max(1, len(self._tables[table])):
            self.close()
            raise TooSlow("too large: it needs more memory than a search may take", start)
        return answer[: len(self._tables[table])]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self.close()
            if not sys.executable:
                raise OSError("this Python does not know its own path")
            self._child = subprocess.Popen(  # noqa: S603 - our own file, run by our own interpreter
                [sys.executable, "-I", "-S", str(Path(regex_child.__file__))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
            assert self._child.stdin and self._child.stdout
            os.set_blocking(self._child.stdin.fileno(), False)
            self._finalizer = weakref.finalize(self, _kill, self._child)
        return self._child

    def _send(self, child: subprocess.Popen[bytes], kind: bytes, table: int, text: str, deadline: float) -> None:
        assert child.stdin
        payload = str(table).encode() + text.encode("utf-8", "surrogatepass")
        data = memoryview(kind + len(payload).to_bytes(4, "little") + payload)
        pipe = child.stdin.fileno()
        while data:
            self._wait(pipe, select.POLLOUT, deadline, self._seconds)
            data = data[os.write(pipe, data[: 1 << 16]) :]

    def _receive(self, child: subprocess.Popen[bytes], deadline: float, seconds: float) -> tuple[bytes, bytes]:
        assert child.stdout
        pipe, received = child.stdout.fileno(), bytearray()
        while len(received) < 5 or len(received) < 5 + int.from_bytes(received[1:5], "little"):
            self._wait(pipe, select.POLLIN, deadline, seconds)
            more = os.read(pipe, 1 << 20)
            if not more:
                self.close()
                raise TooSlow("too large or too slow: its search ended before it was done")
            received += more
        return bytes(received[:1]), bytes(received[5:])

    def _wait(self, pipe: int, event: int, deadline: float, seconds: float) -> None:
        poller = select.poll()  # unlike select, it takes descriptors above 1,023: this may be a training process
        poller.register(pipe, event)
        if not poller.poll(max(0.0, 1000 * (deadline - time.perf_counter()))):
            self.close()
            raise TooSlow(f"too slow: stopped after {seconds:g} s")


def _nothing() -> None:
    """Stand in for the finalizer before there is a child."""


def _kill(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    for pipe in (child.stdin, child.stdout):
        if pipe:
            pipe.close()
    child.wait()
