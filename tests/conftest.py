"""Settings that every test shares."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import settings

# pytest's importlib mode gives tests no path to the modules beside them.
sys.path.insert(0, str(Path(__file__).parent))

# The machines that run this are small and shared: a slow example is no failure.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


@pytest.fixture(scope="session")
def steps() -> Callable[[Callable[[], object]], int]:
    """Return what counts the lines of Python that a call runs: work that no machine's speed or load changes."""

    def count(call: Callable[[], object]) -> int:
        lines = 0

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal lines
            lines += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            call()
        finally:
            sys.settrace(before)
        return lines

    return count


@pytest.fixture(scope="session")
def seconds() -> Callable[[Callable[[], object]], float]:
    """Return what measures a call's processor time, to be held against another's of the same machine only."""

    def measure(call: Callable[[], object]) -> float:
        began = time.process_time()
        call()
        return max(time.process_time() - began, 1e-4)

    return measure
