"""Throws junk at the program as a broken terminal does; it must do nothing on its own, and end when it is asked to.

`python tests/hostile/junk.py --rounds 200` does it as often as one likes. A round is made from its seed alone.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1] / "e2e")]

from checkpoints import safetensors
from terminal import paramx

NUMBERS = ["", "-1", "0", "1", "35", "64", "200", "201", "2026", "2048", "999999", "9" * 20, "1:2", "1::3"]
"""What stands between semicolons."""

HARMLESS = [byte for byte in range(256) if byte not in b"\x03\x11\x1a\n\rq"]
"""Bytes that may be keys: not those that quit and suspend, and not Enter, without which nothing writes a file."""

WRITES = " ew\r\r"
"""Would write a file if it were keys."""


def some_bytes(rng: random.Random) -> bytes:
    return bytes(rng.choices(HARMLESS, k=rng.randint(1, 300)))


def numbers(rng: random.Random, count: int) -> str:
    return ";".join(rng.choices(NUMBERS, k=count))


def control_sequence(rng: random.Random) -> bytes:
    private, end = rng.choice(["", "?", "<", ">", "="]), chr(rng.randint(0x40, 0x7E))
    return f"\x1b[{private}{numbers(rng, rng.randint(0, 20))}{rng.choice(['', '', '$', ' '])}{end}".encode()


def mouse(rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return b"\x1b[M" + bytes(rng.choices(range(0x20, 0x100), k=3))
    return f"\x1b[<{numbers(rng, 3)}{rng.choice('Mm')}".encode()


def resize(rng: random.Random) -> bytes:
    return f"\x1b[48;{numbers(rng, 4)}t".encode()


def key(rng: random.Random) -> bytes:
    code = rng.choice([rng.randint(0xD800, 0xDFFF), rng.randint(0x20, 0x70), 27, 57441, 1114112, 9999999])
    return f"\x1b[{code};{rng.choice([1, 2, 3, 999])};{rng.choice(['', code, '1:2', '-'])}u".encode()


def string(rng: random.Random) -> bytes:
    return f"\x1b{rng.choice('P]X^_')}{numbers(rng, 2)}{WRITES}{rng.choice([chr(7), chr(27) + chr(92)])}".encode()


def paste(rng: random.Random) -> bytes:
    pasted = rng.choice([WRITES, f"\x1b{WRITES}", f"\x1b[31m{WRITES}", f"\x1b]0;{WRITES}"]).encode()
    return b"\x1b[200~" + rng.choice([pasted, rng.randbytes(6000)]) + b"\x1b[201~"


def focus(rng: random.Random) -> bytes:
    return rng.choice([b"\x1b[I", b"\x1b[O"])


KINDS = [some_bytes, control_sequence, mouse, resize, key, string, paste, focus]
"""What is thrown; it may be cut at any place."""


def burst(rng: random.Random) -> bytes:
    """Return some things at once; of some the end is lost."""
    things = [kind(rng) for kind in rng.choices(KINDS, k=rng.randint(1, 8))]
    return b"".join(thing[: rng.randrange(len(thing))] if rng.random() < 0.3 else thing for thing in things)


def throw(seed: int, target: Path) -> float:
    """Throw junk at one run of the program, and press Ctrl+C.

    Returns:
        How long it took to end, in seconds.

    Raises:
        AssertionError: It ended by itself or not at all, wrote something, or left the terminal in another state.
    """
    rng = random.Random(seed)
    with paramx(str(target), directory=target.parent) as terminal:
        # Until the flags are the program's, some bytes are signals.
        terminal.wait_for("parameters" if rng.random() < 0.8 else lambda _: b"\x1b[?2004h" in terminal.raw)
        for _ in range(rng.randint(1, 8)):
            terminal.type(burst(rng))
            terminal.pump(rng.choice([0, 0.02, 0.3]))
        terminal.settle()
        pressed = time.monotonic()
        terminal.type("\x03")
        status = terminal.wait()
        seconds = time.monotonic() - pressed
        assert status == 0, f"seed {seed}: status {status}\n{terminal.text()}"
        terminal.assert_restored()
        found = list(target.parent.iterdir())
        assert found == [target], f"seed {seed}: {found}"
    return seconds


def throw_often(rounds: int, seed: int, tell: Callable[[str], object]) -> None:
    """Throw junk `rounds` times."""
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        target = safetensors(Path(folder) / "model.safetensors")
        for number in range(seed, seed + rounds):
            seconds = throw(number, target)
            slowest = max(slowest, seconds)
            tell(f"seed {number}: ended in {seconds:.2f} s")
    tell(f"{rounds} rounds, ended by Ctrl+C in {slowest:.2f} s at most: the terminal restored, nothing written")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    throw_often(arguments.rounds, arguments.seed, print)
