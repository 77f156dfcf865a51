"""Kills the program at random moments, and looks at the terminal that is left.

`python tests/hostile/kills.py --kills 100` does it as often as one likes.
A fixed seed makes a run repeatable up to what the system does; each kill prints what was sent, to whom, and when.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1] / "e2e")]

from checkpoints import safetensors
from terminal import gone, paramx

SIGNALS = [
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGKILL,
    signal.SIGSEGV,
    signal.SIGBUS,
]
"""What is sent; the last three go to the interface only: nothing could restore a terminal after its owner's."""

KEYS = ["\x1b[B", "\x1b[A", "?", "\x1b", "/", "bias", "\r", "\t", "x", "e", "w", "p", "*", "-", "G", "\x1b[6~"]
"""What is typed meanwhile."""

LATEST = 2.5
"""Latest moment of a kill, in seconds after the start: loading, loaded, on another screen, quitting."""


def kill(number: int, rng: random.Random, target: str) -> str:
    """Run the program once, kill it, check what is left; return what was done.

    Raises:
        AssertionError: The terminal is not as it was, the status is wrong, or a process is left.
    """
    # An export that the keys may write goes beside the target.
    with paramx(target, directory=Path(target).parent) as terminal:
        at = time.monotonic() + rng.uniform(0, LATEST)
        quitting = rng.random() < 0.1
        while (left := at - time.monotonic()) > 0:
            terminal.pump(min(left, 0.05))
            if rng.random() < 0.3:
                terminal.type(rng.choice(KEYS))
        if quitting:
            terminal.type("\x11")
            terminal.pump(rng.uniform(0, 0.3))
        below = terminal.descendants()
        sent = rng.choice(SIGNALS)
        who = "interface" if sent not in SIGNALS[:4] or rng.random() < 0.5 else "parent"
        if who == "interface" and not below:
            who, sent = "parent", signal.SIGTERM
        with suppress(ProcessLookupError):
            os.kill(below[0] if who == "interface" else terminal.pid, sent)
        done = f"{number}: {sent.name} to the {who}, {len(below)} below, {len(terminal.raw)} bytes drawn"
        try:
            status = terminal.wait()
        except AssertionError as error:
            raise AssertionError(f"{done}: {error}") from None
        # Before the program has set itself up, a signal ends it as it ends any. A quit may have been quicker, and Esc
        # while the model opens is one.
        left_by_itself = status == 0 and (quitting or not below)
        # Python itself ends with 1 if it is interrupted while it starts.
        too_early = status == 1 and sent == signal.SIGINT and not below
        assert status in (128 + sent, -sent) or left_by_itself or too_early, f"{done}: status {status}"
        try:
            terminal.assert_restored()
        except AssertionError as error:
            raise AssertionError(f"{done}: {error}: {terminal.modes()}") from error
        assert gone(below), f"{done}: left behind"
    return f"{done}: {status}"


def kill_often(kills: int, seed: int, tell: Callable[[str], object]) -> None:
    """Kill the program `kills` times."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        names = [f"layer.{i}.{part}" for i in range(50) for part in ("attention.weight", "norm.weight", "bias")]
        target = str(safetensors(Path(folder) / "model.safetensors", names))
        for number in range(kills):
            tell(kill(number, rng, target))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    kill_often(arguments.kills, arguments.seed, print)
    print(f"{arguments.kills} kills: the terminal restored after each, no process left")
