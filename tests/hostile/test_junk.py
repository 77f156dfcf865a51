"""A round of junk from the terminal; `junk.py` does as many as one likes."""

from __future__ import annotations

from pathlib import Path

import pytest
from junk import throw_often


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks at processes through /proc")
def test_junk_from_the_terminal_does_nothing_and_keeps_nobody_from_leaving() -> None:
    throw_often(1, seed=17, tell=print)  # this one removes a group and types on: it ended the program once
