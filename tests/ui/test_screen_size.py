"""How large the screen is taken to be."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios

import pytest

from explorer.ui.screen_size import HIGHEST, WIDEST, screen_size


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ((100, 30), (100, 30)),
        ((65535, 65535), (WIDEST, HIGHEST)),
        ((0, 0), (160, 45)),
        ((0, 30), (160, 30)),
    ],
)
def test_what_the_terminal_says_counts_more_than_what_is_exported(
    monkeypatch: pytest.MonkeyPatch, said: tuple[int, int], taken: tuple[int, int]
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("LINES", "45")
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", said[1], said[0], 0, 0))
        assert screen_size(theirs) == taken
    finally:
        os.close(ours)
        os.close(theirs)


def test_what_is_exported_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "99999")
    monkeypatch.setenv("LINES", "99999")
    with open(os.devnull) as no_terminal:  # noqa: PTH123 - a descriptor
        assert screen_size(no_terminal.fileno()) == (WIDEST, HIGHEST)
