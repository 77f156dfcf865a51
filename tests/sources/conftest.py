"""Lets the tests of sources import `checkpoint_files`, their writers of strange files."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
