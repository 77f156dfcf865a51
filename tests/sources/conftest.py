"""What the tests of sources share: the modules beside them, and a hub that is out of reach."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# pytest's importlib mode gives tests no path to the modules beside them.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def offline_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the network away, and empty the hub's cache."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples."""
    return tmp_path_factory.mktemp("any")
