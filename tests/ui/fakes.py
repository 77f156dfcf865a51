"""Small fakes of the outside world, and hands and eyes for an app under test."""

from __future__ import annotations

import io
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from rich.console import Console
from textual.pilot import Pilot
from textual.widgets import Input

from explorer.core.choice import Choice
from explorer.core.errors import ParamxError
from explorer.core.groups import Grouping
from explorer.core.loading import Event, Failed, Loaded, OpenSpec, Stage
from explorer.core.param import Model
from explorer.ui.app import ParamxApp
from explorer.ui.screens.model import ModelScreen
from explorer.ui.services import Services
from explorer.ui.widgets.groups_panel import GroupsPanel
from explorer.ui.widgets.tree_table import TreeTable

# --- the outside world ----------------------------------------------------------------------------------------------


class FakeLoading:
    """Yields events that were made before; without an end it then waits until it is cancelled."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self.cancelled = threading.Event()
        self.gone = threading.Event()
        self.how = ""
        """How it went, once a test sets `gone`."""

    def events(self) -> Iterator[Event]:
        for event in self._events:
            if self.cancelled.is_set():
                return
            yield event
        if not self._events or isinstance(self._events[-1], Stage):
            self.cancelled.wait(60)

    def ask(self, request: str, arguments: Mapping[str, Any]) -> Any:
        raise ParamxError(request, "a made model answers nothing")

    def lost(self) -> str | None:
        self.gone.wait(60)
        return None if self.cancelled.is_set() else self.how

    def cancel(self) -> None:
        self.cancelled.set()
        self.gone.set()


class FakeOpener:
    """Opens models that it was given by target; what it does not know fails, `slow` never ends."""

    def __init__(self, **models: Model) -> None:
        self.models = models
        self.specs: list[OpenSpec] = []
        self.loadings: list[FakeLoading] = []
        self.stays: set[str] = {"slow"}
        """What never opens."""
        self.lost = False
        """Whether what fails does so because its worker is gone."""

    def __call__(self, spec: OpenSpec) -> FakeLoading:
        self.specs.append(spec)
        stages: list[Event] = [Stage("importing torch")]
        if spec.target in self.models:
            events = [*stages, Loaded(self.models[spec.target])]
        elif spec.target in self.stays:
            events = stages
        else:
            events = [*stages, Failed(f"{spec.target}: no such model; try roberta-base", self.lost)]
        self.loadings.append(FakeLoading(events))
        return self.loadings[-1]


CHOICES = (
    Choice("./mine/config.json", "./mine/config.json", "config", "BertModel"),
    Choice("org/cached", "org/cached", "cached", "snapshot abc1234"),
    Choice("roberta-base", "roberta-base", "built-in", "RoBERTa base · 125M · encoder"),
    Choice("kantaibert", "kantaibert", "built-in", "the reference model · 83.5M · encoder"),
    Choice("gpt2", "gpt2", "built-in", "GPT-2 · 124M · decoder"),
)
"""What the fake outside world offers on the start screen."""


def make_app(
    model: Model | None = None,
    *,
    target: str = "model",
    grouping: Grouping | None = None,
    opener: FakeOpener | None = None,
    choices: Callable[[], Sequence[Choice]] = lambda: CHOICES,
    **services: Any,
) -> ParamxApp:
    """An app with fakes around it; without a model, `target` is what the opener makes of it."""
    opener = opener or FakeOpener(**({} if model is None else {"model": model}))
    return ParamxApp(OpenSpec(target), Services(opener, choices, grouping or Grouping.classic(), **services))


# --- hands and eyes -------------------------------------------------------------------------------------------------


class Hands:
    """Types at an app and reads its screen."""

    def __init__(self, app: ParamxApp, pilot: Pilot[Any]) -> None:
        self.app, self.pilot = app, pilot

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settle()

    async def type(self, text: str) -> None:
        """Type a text key by key."""
        names = {" ": "space", ",": "comma", ".": "full_stop", "_": "underscore", ":": "colon", "*": "asterisk"}
        for char in text:
            await self.pilot.press(names.get(char, char))
        await self.settle()

    async def settle(self) -> None:
        """Let messages, workers and refreshes run out; a loading that waits for its cancel may go on."""
        await self.pilot.pause()

    async def resize(self, width: int, height: int) -> None:
        """Change the terminal's size."""
        await self.pilot.resize_terminal(width, height)
        await self.settle()

    async def until(self, what: Callable[[], bool]) -> None:
        """Wait for something that a thread does; the bound only ends a test that hangs."""
        for _ in range(600):
            if what():
                await self.settle()
                return
            await self.pilot.pause(0.02)
        raise AssertionError(f"never came\n{self.text}")

    # -- the screen

    @property
    def text(self) -> str:
        """What is on the screen, without styles."""
        app = self.app
        width, height = app.size
        console = Console(
            width=width,
            height=height,
            file=io.StringIO(),
            force_terminal=True,
            color_system="truecolor",
            record=True,
            legacy_windows=False,
            safe_box=False,
        )
        # The way of `App.export_screenshot`, which can only write SVG.
        console.print(app.screen._compositor.render_update(full=True, screen_stack=app._background_screens))
        return console.export_text(styles=False)

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def tree(self) -> TreeTable:
        return self.model_screen.query_one(TreeTable)

    @property
    def model_screen(self) -> ModelScreen:
        return next(screen for screen in self.app.screen_stack if isinstance(screen, ModelScreen))

    @property
    def groups(self) -> GroupsPanel:
        return self.model_screen.query_one(GroupsPanel)

    @property
    def names(self) -> list[str]:
        """The labels of the tree's rows."""
        view = self.tree.view
        assert view is not None
        return [view.label(row) for row in range(len(view.rows))]

    @property
    def at(self) -> str:
        """The label of the row under the cursor."""
        return self.names[self.tree.cursor]

    @property
    def path(self) -> str:
        """The path of the row under the cursor."""
        assert self.tree.view is not None
        return self.tree.view.tree.path(self.tree.cursor_node)

    @property
    def field(self) -> Input:
        """The field that has the focus."""
        focused = self.app.focused
        assert isinstance(focused, Input)
        return focused

    async def write(self, text: str) -> None:
        """Put a text into the field that has the focus, in one go."""
        self.field.value = text
        await self.settle()

    async def go(self, path: str) -> None:
        """Put the cursor on a row by its path; it must be on the screen's list."""
        view = self.tree.view
        assert view is not None
        rows = [row for row in range(len(view.rows)) if view.tree.path(view.rows.nodes[row]) == path]
        self.tree._move(rows[0])
        await self.settle()


@asynccontextmanager
async def running(app: ParamxApp, size: tuple[int, int] = (120, 40), wait: bool = True) -> AsyncIterator[Hands]:
    """Run an app; with `wait`, from when its model is on the screen."""
    async with app.run_test(size=size, notifications=True) as pilot:
        hands = Hands(app, pilot)
        if wait:
            await hands.until(lambda: any(isinstance(s, ModelScreen) for s in app.screen_stack))
            await hands.until(lambda: hands.tree.view is not None and hands.tree.cursor_node > 0)
        await hands.settle()
        yield hands
