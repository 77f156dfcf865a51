"""Looking into a file of ten gigabytes in a terminal: what is read of it, and what happens when it is cut short."""

from __future__ import annotations

import json
import os
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from terminal import Terminal, paramx

pytestmark = pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts what is read through /proc")

ROWS, COLUMNS = 2_500_000, 1024
"""The tensor's shape: 10.24 GB of float32."""

MARKS = {(0, 0): 0.5, (1_234_567, 890): 42.5, (ROWS - 1, COLUMNS - 1): -7.25}
"""The elements that are not zero."""

SCREENFULS = 1 << 20
"""Bytes that many screens may take: 60 keys of some kilobytes, and what goes through pipes and the terminal."""


@pytest.fixture
def huge(tmp_path: Path) -> Path:
    """A file of 10 GB that takes no room."""
    path = tmp_path / "huge.safetensors"
    nbytes = ROWS * COLUMNS * 4
    text = json.dumps({"w": {"dtype": "F32", "shape": [ROWS, COLUMNS], "data_offsets": [0, nbytes]}}).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + nbytes)
        for (row, column), value in MARKS.items():
            file.seek(8 + len(text) + 4 * (row * COLUMNS + column))
            file.write(struct.pack("<f", value))
    if path.stat().st_blocks * 512 > 1 << 20:
        pytest.skip("this file system has no sparse files")
    return path


def read_so_far(terminal: Terminal) -> int:
    """Return the bytes that the program and its worker have read, from files and pipes alike."""
    total = 0
    for pid in (terminal.pid, *terminal.descendants()):
        with suppress(OSError):
            fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
            total += int(fields["rchar"])
    return total


def into_the_values(terminal: Terminal) -> None:
    terminal.wait_for("2,560,000,000")
    terminal.settle()
    terminal.press("v")
    terminal.wait_for("[0, 0] = 0.5")


def test_ten_gigabytes_scroll_without_being_read(huge: Path) -> None:
    with paramx(huge.name, directory=huge.parent, columns=160, rows=45) as terminal:
        into_the_values(terminal)
        terminal.press("f", "f", "f", "f")  # what is imported once is imported now
        before = read_so_far(terminal)
        for key in ("pagedown", "L", "down", "right"):
            terminal.press(*[key] * 10)
        terminal.press("G", "end")
        terminal.wait_for("[2499999, 1023] = -7.25")
        terminal.press("g", "1234567,890", "enter")
        terminal.wait_for("[1234567, 890] = 42.5")
        terminal.press("pagedown", "pagedown", "\x1b[1;5H")
        assert 0 < read_so_far(terminal) - before < SCREENFULS
        terminal.press("escape", "q")
        assert terminal.wait() == 0


def test_a_file_cut_short_under_the_grid_is_a_line_on_the_screen(huge: Path) -> None:
    with paramx(huge.name, directory=huge.parent) as terminal:
        into_the_values(terminal)
        os.truncate(huge, 1_000_000)
        terminal.press("G")
        terminal.wait_for("huge.safetensors changed since it was opened; r opens it again")
        terminal.press("escape", "S")
        terminal.wait_for("changed since it was opened")
        assert "finite" not in terminal.text(), "nothing is measured"
        terminal.press("escape")
        terminal.wait_for("2,560,000,000")
        terminal.press("q")
        assert terminal.wait() == 0
        terminal.assert_restored()
