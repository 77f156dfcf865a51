"""Pictures of the screens at three sizes, compared with those in `__snapshots__`.

After a change that is meant, look at `snapshot_report.html`, then make them anew with one command:

    pytest tests/ui/test_snapshots.py --snapshot-update
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fakes import Hands, make_app

from explorer.core.param import Model
from explorer.ui.app import ParamxApp
from explorer.ui.screens.model import ModelScreen

SIZES = [(80, 24), (120, 40), (60, 20)]

Act = Callable[[Hands], Awaitable[None]]


def before(app: ParamxApp, act: Act, model: bool = True) -> Callable[[Any], Awaitable[None]]:
    """Wait for the model, then act."""

    async def run(pilot: Any) -> None:
        ui = Hands(app, pilot)
        if model:
            await ui.until(lambda: any(isinstance(screen, ModelScreen) for screen in app.screen_stack))
            await ui.until(lambda: ui.tree.view is not None and ui.tree.cursor_node > 0)
            await ui.until(lambda: "to train" in ui.text)
        await act(ui)
        await ui.settle()

    return run


async def nothing(ui: Hands) -> None:
    """The first screen as it comes."""


async def type_a_pattern(ui: Hands) -> None:
    await ui.press("tab", "end")
    await ui.type(", layer_norm")
    # The panel tells memory a moment after the keystroke.
    await ui.pilot.pause(0.4)


async def filter_a_layer(ui: Hands) -> None:
    await ui.press("slash")
    await ui.write("layer.3")
    await ui.press("enter")


async def show_help(ui: Hands) -> None:
    await ui.press("question_mark")


async def show_counters(ui: Hands) -> None:
    await ui.press("c")


async def show_export(ui: Hands) -> None:
    await ui.press("e")


async def show_warnings(ui: Hands) -> None:
    await ui.press("w")
    await ui.until(lambda: "1 of 14" in ui.text)


async def walk_to_a_tensor(ui: Hands) -> None:
    await ui.go("roberta.embeddings")
    await ui.press("enter", "enter", "down")


ACTS = {
    "main": nothing,
    "tensor": walk_to_a_tensor,
    "groups": type_a_pattern,
    "filter": filter_a_layer,
    "help": show_help,
    "counters": show_counters,
    "export": show_export,
    "warnings": show_warnings,
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", ACTS)
def test_screen(snap_compare: Any, model: Model, name: str, size: tuple[int, int]) -> None:
    app = make_app(model)
    assert snap_compare(app, terminal_size=size, run_before=before(app, ACTS[name]))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_start_screen(snap_compare: Any, size: tuple[int, int]) -> None:
    async def list_and_choose(ui: Hands) -> None:
        await ui.until(lambda: "gpt2" in ui.text)
        await ui.press("down")

    app = make_app(target="")
    assert snap_compare(app, terminal_size=size, run_before=before(app, list_and_choose, model=False))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_loading(snap_compare: Any, size: tuple[int, int]) -> None:
    async def stop_the_clock(ui: Hands) -> None:
        await ui.until(lambda: "importing torch" in ui.text)
        screen = ui.model_screen
        assert screen._clock is not None
        screen._clock.pause()
        screen._began = time.monotonic() - 3.5
        screen._tell_waiting()

    app = make_app(target="slow")
    assert snap_compare(app, terminal_size=size, run_before=before(app, stop_the_clock, model=False))


@pytest.mark.parametrize("environment", ["no_color", "16_colours"])
@pytest.mark.parametrize("name", ["main", "groups"])
def test_few_colours(
    snap_compare: Any, model: Model, monkeypatch: pytest.MonkeyPatch, name: str, environment: str
) -> None:
    if environment == "no_color":
        monkeypatch.setenv("NO_COLOR", "1")
    else:
        monkeypatch.setenv("TERM", "linux")
        monkeypatch.delenv("COLORTERM")
    app = make_app(model)
    assert snap_compare(app, terminal_size=(80, 24), run_before=before(app, ACTS[name]))
