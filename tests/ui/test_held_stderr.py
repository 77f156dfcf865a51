"""What is written to descriptor 2 while the interface draws."""

from __future__ import annotations

import os
import subprocess

import pytest

from explorer.ui.held_stderr import MOST, MOST_KEPT, HeldStderr


def test_what_is_written_meanwhile_is_shown_afterwards_and_harmless(capfd: pytest.CaptureFixture[str]) -> None:
    held = HeldStderr()
    os.write(2, b"a warning\n\x1b[2J")
    subprocess.run(["sh", "-c", "echo of a child >&2"], check=True)
    held.terminal.write("a frame ")
    held.terminal.flush()
    assert capfd.readouterr().err == "a frame "
    held.release()
    assert capfd.readouterr().err == "a warning\n\\u001b[2Jof a child\n"
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_what_is_kept_and_shown_is_bounded(capfd: pytest.CaptureFixture[str]) -> None:
    held = HeldStderr()
    for _ in range(40):
        os.write(2, b"x" * MOST)
        held.trim()
        assert os.fstat(2).st_size <= MOST_KEPT
    os.write(2, b"the end")
    held.release()
    shown = capfd.readouterr().err
    assert len(shown) == MOST
    assert shown.endswith("xthe end")
