"""Lets these tests import the terminal that they share; pytest's importlib mode has no such path."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
