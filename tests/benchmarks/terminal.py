"""A program in a pseudo-terminal with a clock: when each byte came, how many they were, how much memory it takes.

What comes is only recorded while a time is taken; the screen is worked out when somebody looks at it.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.terminal import ENVIRONMENT, KEYS, PYTE_CHOKES_ON, Terminal, _but_modes

COLUMNS, ROWS = 120, 40
"""The terminal of every measure."""

PATIENCE = 600.0
"""Seconds after which a program is given up."""


@dataclass(frozen=True)
class Answer:
    """What a program sent after a key."""

    seconds: float
    """From the key to the last byte that came before the terminal was quiet."""
    first: float
    """From the key to the first byte; `seconds` where none came."""
    sent: int
    """Bytes that came."""


class Watched(Terminal):
    """A terminal that records when bytes come."""

    def __init__(self, argv: Sequence[str], directory: Path = Path("/"), **environment: str) -> None:
        self.began = time.perf_counter()
        self.times: list[tuple[float, int]] = []
        """For each read the time since the start, and the bytes read until then."""
        self._fed = 0
        super().__init__(argv, COLUMNS, ROWS, {**ENVIRONMENT, **environment}, directory)

    def pump(self, seconds: float = 0.02) -> bool:
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        self.raw += os.read(self._ours, 1 << 16)
        self.times.append((time.perf_counter() - self.began, len(self.raw)))
        return True

    def lines(self) -> list[str]:
        data = bytes(self.raw[self._fed :])
        # A sequence may have come in part: it waits for its end.
        cut = data.rfind(b"\x1b") if len(data) - data.rfind(b"\x1b") < 40 else len(data)
        cut = len(data) if cut < 0 or data[cut:].rstrip()[-1:].isalpha() else cut
        self._stream.feed(PYTE_CHOKES_ON.sub(_but_modes, data[:cut]))
        self._fed += cut
        return super().lines()

    def await_bytes(self, wanted: bytes | Callable[[bytes], bool], since: int = 0) -> float:
        """Wait until the bytes sent hold `wanted`; return the seconds since the start at which they did."""
        accepts = wanted if callable(wanted) else lambda data: wanted in data
        while not accepts(bytes(self.raw[since:])):
            if not self.pump() and (self._ended() or time.perf_counter() - self.began > PATIENCE):
                raise TimeoutError(f"never sent: {wanted!r}\n{self.text()}")
        return self.times[-1][0] if self.times else 0.0

    def key(self, key: str, quiet: float = 0.5) -> Answer:
        """Press a key and read until nothing has come for `quiet` seconds."""
        before = len(self.raw)
        start = last = time.perf_counter()
        first = 0.0
        os.write(self._ours, KEYS.get(key, key).encode())
        while time.perf_counter() - last < quiet:
            if self.pump(0.005):
                last = self.began + self.times[-1][0]
                first = first or last - start
        return Answer(last - start, first or last - start, len(self.raw) - before)

    def memory(self) -> int:
        """Bytes of the program and of everything below it; a page that several share is divided among them (PSS)."""
        return sum(map(resident, (self.pid, *self.descendants())))

    def cpu(self) -> float:
        """Seconds of processor time that the program and everything below it have used."""
        ticks = 0
        for pid in (self.pid, *self.descendants()):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Bytes of memory that are one process's share; 0 when it is gone."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return 0
