"""A few kills at random moments; `kills.py` does as many as one likes."""

from __future__ import annotations

from pathlib import Path

import pytest
from kills import kill_often


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks at processes through /proc")
def test_a_kill_at_any_moment_leaves_the_terminal_restored() -> None:
    kill_often(8, seed=7, tell=print)
