"""Measures how long Ctrl+C takes to end the program behind a flood of what was typed or moved."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from tests.benchmarks.data import one_file
from tests.benchmarks.opening import TREE, paramx
from tests.benchmarks.table import Row, Size
from tests.benchmarks.terminal import Watched

FLOODS = {
    "20,000 keys": b"j" * 20_000,
    "20,000 keys into a pattern": b"\t" + b"a" * 20_000,
    "50,000 moves of the mouse": b"".join(b"\x1b[<35;%d;%dM" % (1 + n % 120, 1 + n % 40) for n in range(50_000)),
    "50,000 turns of its wheel": b"\x1b[<65;10;10M" * 50_000,
    "50,000 clicks": b"\x1b[<0;10;10M\x1b[<0;10;10m" * 25_000,
}


def ended(path: Path, flood: bytes) -> float:
    """Return the milliseconds from Ctrl+C, which the terminal took last, to the end of the program."""
    with Watched(paramx(str(path))) as terminal:
        terminal.await_bytes(TREE)
        terminal.settle(1.0)
        sent: list[float] = []

        def send() -> None:
            rest = flood + b"\x03"
            with suppress(OSError):  # it has ended, and the terminal with it
                while rest:
                    rest = rest[os.write(terminal._ours, rest[:4096]) :]
                sent.append(time.perf_counter())

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        terminal.wait()
        end = time.perf_counter()
        sender.join(1.0)
        return 1e3 * (end - sent[0])


def flood(size: Size, folder: Path) -> list[Row]:
    """Floods of genuine input, each beside Ctrl+C with nothing before it."""
    path = one_file(folder, 200)
    alone = [ended(path, b"") for _ in range(size.runs)]
    return [
        Row(
            f"Ctrl+C behind {what}",
            [ended(path, keys) for _ in range(size.runs)],
            "ms",
            "Ctrl+C alone",
            alone,
            limit=1000,
        )
        for what, keys in FLOODS.items()
    ]
