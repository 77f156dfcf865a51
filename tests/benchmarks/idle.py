"""Measures what an open model costs while nobody touches it."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.benchmarks.data import one_file
from tests.benchmarks.opening import BARE, TREE, paramx
from tests.benchmarks.table import Row, Size
from tests.benchmarks.terminal import Watched

SECONDS = 5.0
"""How long it is watched."""


def watched(argv: list[str], wanted: bytes, seconds: float) -> tuple[float, float]:
    """Return bytes and milliseconds of processor time, a second."""
    with Watched(argv) as terminal:
        terminal.await_bytes(wanted)
        terminal.settle(1.5)
        before, used = len(terminal.raw), terminal.cpu()
        terminal.settle(seconds)
        return (len(terminal.raw) - before) / seconds, 1e3 * (terminal.cpu() - used) / seconds


def idle(size: Size, folder: Path) -> list[Row]:
    """Bytes and processor time a second."""
    seconds = SECONDS if size.runs > 1 else 0.5
    ours = watched(paramx(str(one_file(folder, size.many))), TREE, seconds)
    bare = watched([sys.executable, "-c", BARE], b"bare-screen", seconds)
    return [
        Row("idle, bytes a second", [ours[0]], "B", "bare Textual", [bare[0]], limit=0.5),
        Row("idle, processor a second", [ours[1]], "ms", "bare Textual", [bare[1]], limit=5),
    ]
