"""Lets these tests import what they share; pytest's importlib mode has no such path."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), *(str(Path(__file__).parents[1] / name) for name in ("e2e", "sources"))]
