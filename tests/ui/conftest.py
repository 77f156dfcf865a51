"""What the tests of the interface share: a terminal that is the same everywhere, and models to look at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# pytest's importlib mode gives tests no path to the modules beside them.
sys.path.insert(0, str(Path(__file__).parent))

from tables import kantaibert

from explorer.core.loading import Failed, Loaded, OpenSpec
from explorer.core.param import Model
from explorer.core.wire import decode, encode


@pytest.fixture(autouse=True)
def same_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every machine the same terminal."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TEXTUAL", "TEXTUAL_FILTERS", "COLUMNS", "LINES", "TMUX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")


@pytest.fixture(scope="session")
def model() -> Model:
    """The reference model, from the facts: 106 tensors, 83,504,416 parameters."""
    return kantaibert()


@pytest.fixture(scope="session")
def roberta_block() -> bytes:
    """The encoded roberta-base, built once by transformers in the real worker."""
    from explorer.sources.worker import open_in_worker

    loading = open_in_worker(OpenSpec("roberta-base", offline=True))
    try:
        for event in loading.events():
            assert not isinstance(event, Failed), event
            if isinstance(event, Loaded):
                return encode(event.model)
    finally:
        loading.cancel()
    raise AssertionError("the worker ended without an answer")


@pytest.fixture
def roberta(roberta_block: bytes) -> Model:
    """roberta-base with the classes of its real modules."""
    return decode(roberta_block)
