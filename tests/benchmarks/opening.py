"""Measures the way to the first screen: first bytes, first paint, memory, of small and large files and of a name."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.data import one_file, one_small_file, shards
from tests.benchmarks.peers import peers
from tests.benchmarks.table import Row, Size, paired
from tests.benchmarks.terminal import Watched

BARE = """
from textual.app import App
from textual.widgets import Static
class Bare(App):
    def compose(self):
        yield Static("bare-screen")
Bare().run()
"""
"""The least that Textual can show."""

SCRIPT = """
import torch, transformers
from transformers import RobertaConfig, RobertaForMaskedLM
config = RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1)
with torch.device("meta"):
    model = RobertaForMaskedLM(config)
for name, parameter in model.named_parameters():
    print(name, tuple(parameter.shape), parameter.numel())
print("the-end", sum(parameter.numel() for parameter in model.parameters()))
"""
"""What people write today."""

TREE = b"Running"
"""A heading of the tree: when it comes, the rows come with it."""


class Opened(NamedTuple):
    """One opening."""

    first: float
    """Seconds to the first byte."""
    frame: float
    """Seconds to the first frame of the alternate screen."""
    shown: float
    """Seconds to what was waited for."""
    memory: int
    """Bytes, once it is quiet."""


def paramx(*arguments: str) -> list[str]:
    """Return the command."""
    return [sys.executable, "-m", "explorer", *arguments]


def opened(argv: Sequence[str], wanted: bytes, settle: float = 0.4, **environment: str) -> Opened:
    """Open something and wait for it."""
    with Watched(argv, **environment) as terminal:
        shown = terminal.await_bytes(wanted)
        alternate = terminal.raw.find(b"\x1b[?1049h")
        # The first frame is the first text on the alternate screen: all before it is modes and questions.
        begin = terminal.raw.find(b"\x1b[1;1H", alternate)
        frame = next((seconds for seconds, count in terminal.times if count > begin), shown) if begin >= 0 else shown
        terminal.settle(settle)
        return Opened(terminal.times[0][0], frame, shown, terminal.memory())


def run_seconds(*argv: str) -> float:
    """Return the seconds that a command takes, from its start to its end."""
    start = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def milliseconds(seconds: Sequence[float]) -> list[float]:
    return [1e3 * each for each in seconds]


def megabytes(openings: Sequence[Opened]) -> list[float]:
    return [each.memory / 1e6 for each in openings]


def small_file(size: Size, folder: Path) -> list[Row]:
    """First bytes and first paint of a file of 200 tensors."""
    path = str(one_file(folder, 200))
    ours, bare, python = paired(
        size.runs,
        lambda: opened(paramx(path), TREE),
        lambda: opened([sys.executable, "-c", BARE], b"bare-screen"),
        lambda: run_seconds(sys.executable, "-c", "pass"),
    )
    floor = milliseconds([each.shown for each in bare])
    return [
        Row(
            "first bytes",
            milliseconds([each.first for each in ours]),
            "ms",
            "`python -c pass`",
            milliseconds(python),
            3,
        ),
        Row(
            "first frame, 200 tensors", milliseconds([each.frame for each in ours]), "ms", "bare Textual", floor, 1.3
        ),
        Row(
            "tree on screen, 200 tensors",
            milliseconds([each.shown for each in ours]),
            "ms",
            "bare Textual",
            floor,
            1.3,
        ),
        Row("memory, 200 tensors", megabytes(ours), "MB", "bare Textual", megabytes(bare), limit=60),
    ]


def named(size: Size, folder: Path) -> list[Row]:
    """A name, the first time and again."""
    # The run that is remembered.
    opened(paramx("roberta-base", "--offline"), TREE, 1.0, XDG_CACHE_HOME=str(folder))
    first, again, script, bare = paired(
        min(size.runs, 5),
        lambda: opened(paramx("roberta-base", "--offline", "--no-cache"), TREE),
        lambda: opened(paramx("roberta-base", "--offline"), TREE, XDG_CACHE_HOME=str(folder)),
        lambda: run_seconds(sys.executable, "-c", SCRIPT),
        lambda: opened([sys.executable, "-c", BARE], b"bare-screen").shown,
    )
    return [
        Row(
            "`paramx roberta-base`, tree on screen",
            milliseconds([each.shown for each in first]),
            "ms",
            "script that builds and prints",
            milliseconds(script),
            1.15,
        ),
        Row(
            "its first frame",
            milliseconds([each.frame for each in first]),
            "ms",
            "bare Textual",
            milliseconds(bare),
            1.3,
        ),
        Row(
            "the same, again",
            milliseconds([each.shown for each in again]),
            "ms",
            "bare Textual",
            milliseconds(bare),
            1.5,
        ),
    ]


def large_files(size: Size, folder: Path) -> list[Row]:
    """Many tensors in one file and in 64."""
    rows = []
    for what, path in (("one file", one_file(folder, size.tensors)), ("64 shards", shards(folder, size.tensors))):
        [ours] = paired(size.runs, lambda path=path: opened(paramx(str(path)), TREE))
        label = f"{size.tensors:,} tensors, {what}"
        rows.append(Row(f"{label}, tree on screen", milliseconds([each.shown for each in ours]), "ms", limit=1200))
        rows.append(Row(f"{label}, memory", megabytes(ours), "MB", limit=250))
    return rows


def beside_peers(size: Size, folder: Path) -> list[Row]:
    """Many tensors in one file, and the same file in each peer that is installed."""
    path = one_small_file(folder, size.tensors)
    rows = []
    for peer in peers():
        try:
            theirs, ours = paired(
                min(size.runs, 2),
                lambda peer=peer: opened(peer.argv(path), peer.shown).shown,
                lambda: opened(paramx(str(path)), TREE).shown,
            )
        except TimeoutError as error:
            print(f"{peer.name}: {error}", file=sys.stderr)
            continue
        label = f"{size.tensors:,} tensors, tree on screen"
        rows.append(Row(label, milliseconds(ours), "ms", peer.name, milliseconds(theirs), 0.5))
    return rows
