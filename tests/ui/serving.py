"""A model of this process behind the interface, which answers about its values, and the screens that ask."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fakes import FakeLoading, FakeOpener, Hands, make_app

from explorer.core.errors import ParamxError
from explorer.core.loading import Loaded, OpenSpec
from explorer.core.param import Model
from explorer.ui.app import ParamxApp
from explorer.ui.screens.sweep import SweepScreen
from explorer.ui.screens.values import ValuesScreen
from explorer.ui.widgets.value_grid import ValueGrid

torch = pytest.importorskip("torch")

Answers = Mapping[str, Callable[[Mapping[str, Any]], Any]]


class Serving(FakeLoading):
    """A loading that answers, and keeps what it was asked."""

    def __init__(self, model: Model, answers: Answers) -> None:
        super().__init__([Loaded(model)])
        self.model = model
        self.answers, self.asked = dict(answers), list[tuple[str, dict[str, Any]]]()
        self.lock = threading.Lock()

    def ask(self, request: str, arguments: Mapping[str, Any]) -> Any:
        with self.lock:
            self.asked.append((request, dict(arguments)))
            if request not in self.answers:
                raise ParamxError(request, "nothing here answers that")
            return self.answers[request](arguments)


class ServingOpener(FakeOpener):
    """Opens one model that answers."""

    def __init__(self, loading: Serving) -> None:
        super().__init__()
        self.loading = loading

    def __call__(self, spec: OpenSpec) -> Serving:
        return self.loading


def served(module: torch.nn.Module) -> tuple[ParamxApp, Serving]:
    from explorer.sources.live_module import live_origin, table_of
    from explorer.sources.module_answers import answers_of

    loading = Serving(table_of(module, live_origin(module, "live")), answers_of(module))
    return make_app(opener=ServingOpener(loading)), loading


class Two(torch.nn.Module):
    """A matrix, a stack of matrices and a vector whose values say where they are."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = torch.nn.Parameter(torch.arange(200.0 * 30).reshape(200, 30))
        self.stack = torch.nn.Parameter(torch.arange(2.0 * 3 * 4 * 5).reshape(2, 3, 4, 5))
        self.vector = torch.nn.Parameter(torch.arange(25.0))
        self.odd = torch.nn.Parameter(torch.tensor([[1.0, math.nan], [math.inf, 0.0]]))


async def open_values(ui: Hands, name: str) -> ValuesScreen:
    await ui.go(name)
    await ui.press("v")
    screen = ui.app.screen
    assert isinstance(screen, ValuesScreen)
    await ui.until(
        lambda: bool(screen.query_one(ValueGrid).cell) or "Esc closes" not in ui.text or bool(screen._failed)
    )
    await ui.settle()
    return screen


def grid_of(ui: Hands) -> ValueGrid:
    return ui.app.screen.query_one(ValueGrid)


def sweep_of(ui: Hands) -> SweepScreen:
    screen = ui.app.screen
    assert isinstance(screen, SweepScreen)
    return screen


async def swept(ui: Hands) -> SweepScreen:
    await ui.press("S")
    await ui.until(lambda: "finite" in ui.text or " NaN," in ui.text)
    await ui.until(lambda: not sweep_of(ui)._working and not sweep_of(ui)._stale)
    return sweep_of(ui)


def failing(loading: Serving, index: int, why: str) -> None:
    """Have the statistics of one tensor refused."""
    measure = loading.answers["statistics"]

    def answer(arguments: Mapping[str, Any]) -> Any:
        if arguments["index"] == index:
            raise ParamxError(loading.model.names[index], why)
        return measure(arguments)

    loading.answers["statistics"] = answer
