"""What these tests share: the terminal beside them, and a checkpoint that opens at once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# pytest's importlib mode gives tests no path to the modules beside them.
sys.path.insert(0, str(Path(__file__).parent))

from checkpoints import safetensors


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A checkpoint that opens at once; `SHOWN` is on the screen then."""
    return safetensors(tmp_path / "small.safetensors")
