"""Two targets side by side: their differences by kind, each with both of its sides."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, Static

from explorer.core.compare import Comparison
from explorer.core.compare_asking import askers, files_of
from explorer.core.compare_values import Progress, compare_values
from explorer.core.errors import LostError, ParamxError
from explorer.core.loading import Event, Failed, Loaded, OpenSpec, Stage
from explorer.core.pairing import compare
from explorer.ui.screens.compare_dialogs import BothScreen, CompareHelp
from explorer.ui.screens.compare_lines import (
    TITLES,
    Entry,
    detail_text,
    empty_text,
    entries_of,
    entry_text,
    keys_text,
    lost_text,
    sides_text,
    title_text,
    values_text,
)
from explorer.ui.screens.recovery import TOLD_SECONDS
from explorer.ui.widgets.field import Field
from explorer.ui.widgets.line_list import LineList

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from explorer.core.loading import Loading
    from explorer.core.param import Model
    from explorer.ui.services import Services

TICK = 0.5
"""Seconds between two looks at the clock while the two open."""


class CompareScreen(Screen[None]):
    """Two models: opening them at the same time, and walking through what differs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", show=False),
        Binding("v", "values", show=False),
        Binding("r", "reload", show=False),
        Binding("escape", "back", show=False),
        Binding("question_mark,f1", "help", show=False),
        Binding("q,ctrl+q,ctrl+c", "app.quit", show=False),
    ]

    @dataclass
    class Happened(Message):
        """An opening, in its thread, reports an event."""

        side: int
        """0 is A, 1 is B."""
        event: Event
        """What happened."""

    @dataclass
    class Went(Message):
        """The comparison of values, in its thread, is further."""

        progress: Progress
        """How far."""

    @dataclass
    class Compared(Message):
        """A comparison is made, or made more of."""

        comparison: Comparison
        """The comparison."""

    @dataclass
    class CouldNotOpen(Message):
        """A target can't be opened."""

        line: str
        """Why, in one line."""

    @dataclass
    class Lost(Message):
        """What the comparison needs is gone: a worker, or a file that is opened again."""

        line: str
        """How, as far as it is known."""

    @dataclass
    class OpenAgain(Message):
        """Both are to be opened once more."""

        filter: str
        """What the list is narrowed to."""
        values: bool
        """Whether values are to be compared then, as they were."""
        before: Comparison | None
        """What is on the screen, and comes back to it if that fails; `None` where nothing is."""

    def __init__(
        self,
        specs: tuple[OpenSpec, OpenSpec],
        services: Services,
        again: bool = False,
        before: Comparison | None = None,
    ) -> None:
        """Compare two targets, which are opened when the screen is mounted.

        Args:
            specs: A and B.
            services: The outside world.
            again: Whether they are opened once more.
            before: How they differed then: shown again if they do not open.
        """
        super().__init__()
        self._again = again
        self._before = before
        self.specs = specs
        self.services = services
        self.comparison: Comparison | None = None
        self.gone = ""
        """Why there is no comparison where `r` may help; empty otherwise."""
        self._loadings: list[Loading] = []
        self._models: list[Model | None] = [None, None]
        self._stages = ["starting", "starting"]
        self._began = time.monotonic()
        self._open: set[tuple[str, str]] = {*TITLES.items()}
        self._entries: list[Entry] = []
        self._stop = threading.Event()
        self._running = False
        self._lost = ""

    def compose(self) -> ComposeResult:
        """A title, the two sides, what was done to match them, the list, the cursor's line, the keys."""
        yield Static(id="title")
        yield Static(id="compare-sides")
        yield Static(id="compare-told")
        yield Field("", placeholder="text in a name")
        yield LineList(id="compare-list")
        yield Static(id="detail")
        yield Static(keys_text(), id="keys")

    # -- opening ----------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Open both at the same time, each in a worker of its own."""
        self.query_one(Field).display = False
        self.query_one(LineList).focus()
        self._loadings = [self.services.opener(spec) for spec in self.specs]
        for side in (0, 1):
            self.run_worker(partial(self._listen, side), thread=True, exit_on_error=True)
        self._clock = self.set_interval(TICK, self._tell_sides)
        self._tell_sides()

    def _listen(self, side: int) -> None:
        """Pass on what an opening says; in a thread."""
        for event in self._loadings[side].events():
            self.post_message(self.Happened(side, event))

    def on_unmount(self) -> None:
        """Stop both, and what is compared."""
        self._cancel()

    def _cancel(self) -> None:
        self._stop.set()
        for loading in self._loadings:
            loading.cancel()

    def on_compare_screen_happened(self, message: Happened) -> None:
        """Show a stage; with the second model compare the two."""
        if self._lost:  # and this is what was left of the other
            return
        match message.event:
            case Stage(text):
                self._stages[message.side] = text
            case Loaded(model):
                self._models[message.side] = model
                self._stages[message.side] = ""
                a, b = self._models
                if a is not None and b is not None:
                    self.run_worker(partial(self._compare, a, b), thread=True, exit_on_error=True)
            case Failed(line, lost) if lost or self._again:
                self.post_message(self.Lost(line))
            case Failed(line):
                self.post_message(self.CouldNotOpen(line))
        self._tell_sides()

    def _compare(self, a: Model, b: Model) -> None:
        """Compare the two; in a thread, for 100,000 names take half a second."""
        try:
            asked = askers(a, b, *self._loadings), files_of(a, b, *self._loadings)
            comparison = compare(a, b, self.services.grouping, *asked)
        except LostError as error:
            self.post_message(self.Lost(error.line))
            return
        self.post_message(self.Compared(comparison))
        line = self._loadings[0].lost()  # from here on it is the one that is asked
        if line is not None:
            self.post_message(self.Lost(line))

    def on_compare_screen_compared(self, message: Compared) -> None:
        """Show the differences; the first time compare the values, where that is asked for."""
        first = self.comparison is None
        self._show(message.comparison)
        if first and self.services.values:
            self.action_values()

    def _show(self, comparison: Comparison) -> None:
        first = self.comparison is None
        self.comparison = comparison
        if first and self.services.filter:
            field = self.query_one(Field)
            field.display = True
            field.value = self.services.filter
        self._running = False
        if first:
            self.services.shown()
        self._tell_sides()
        self._tell_values()
        self._tell_keys()
        self._fill()

    # -- what was lost ----------------------------------------------------------------------------------------

    def on_compare_screen_lost(self, message: Lost) -> None:
        """Say what is gone, and the key that helps: what was compared stays."""
        if self._lost:  # and this is what was left of the other
            return
        self._lost = "not open" if self.comparison is None else "worker gone"
        if self.comparison is None:
            self._clock.stop()
            self._cancel()
        if self.comparison is None and self._before is not None:
            self._models = [self._before.a, self._before.b]
            self._show(self._before)
        if self.comparison is None:
            self.gone = message.line
            self._tell_sides()
            self.query_one("#detail", Static).update(lost_text(message.line))
        else:
            title = "r opens both again"
            self.notify(message.line, title=title, severity="warning", timeout=TOLD_SECONDS)
        self._tell_keys()

    def action_reload(self) -> None:
        """Open both again."""
        shown = self.comparison
        values = self.services.values or (shown is not None and (shown.compared or shown.known > 0))
        needle = self._needle if shown is not None else self.services.filter
        self.post_message(self.OpenAgain(needle, values, shown or self._before))

    # -- what is told -----------------------------------------------------------------------------------------

    def _tell_sides(self) -> None:
        seconds = int(time.monotonic() - self._began)
        opening = [
            (spec.target, "not open" if self.gone else f"{stage}… {seconds} s")
            for spec, stage in zip(self.specs, self._stages, strict=True)
        ]
        width = self.size.width
        self.query_one("#compare-sides", Static).update(sides_text(self.comparison, self._models, opening, width))
        self.query_one("#title", Static).update(title_text(self.comparison, width))

    def _tell_values(self, progress: Progress | None = None) -> None:
        if self.comparison is not None:
            self.query_one("#compare-told", Static).update(values_text(self.comparison, progress))

    def _tell_keys(self) -> None:
        compared = self.comparison is not None and self.comparison.compared
        self.query_one("#keys", Static).update(keys_text(self._lost, compared))

    def on_resize(self) -> None:
        """Say what fits now."""
        self.call_after_refresh(self._tell_sides)
        self.call_after_refresh(self._tell_values)

    # -- the list ---------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        comparison = self.comparison
        if comparison is None:
            return
        needle = self._needle
        self._entries = entries = entries_of(comparison, needle, self._open)
        listing = self.query_one(LineList)
        listing.show(len(entries), self._draw)
        if not entries:
            self._tell_empty(needle)

    @property
    def _needle(self) -> str:
        """What the list is narrowed to."""
        field = self.query_one(Field)
        return field.value if field.display else ""

    def _tell_empty(self, needle: str) -> None:
        assert self.comparison is not None, "there is something to list"
        self.query_one("#detail", Static).update(empty_text(self.comparison, needle, self._running))

    def _draw(self, line: int, width: int) -> Text:
        """Draw a line of the list."""
        comparison, entry = self.comparison, self._entries[line]
        assert comparison is not None, "lines are those of a comparison"
        return entry_text(comparison, entry, (entry.kind, entry.label) in self._open, width)

    def on_line_list_moved(self, message: LineList.Moved) -> None:
        """Say both sides of what the cursor is on."""
        if self.comparison is not None and self._entries:
            text = detail_text(self.comparison, self._entries[message.line])
            self.query_one("#detail", Static).update(text)

    def on_line_list_chosen(self, message: LineList.Chosen) -> None:
        """Fold or unfold; show both sides of one tensor."""
        comparison, entry = self.comparison, self._entries[message.line]
        if comparison is None:
            return
        if entry.depth == 0 or len(entry.positions) > 1:
            self._open ^= {(entry.kind, entry.label)}
            self._fill()
        else:
            self.app.push_screen(BothScreen(comparison, comparison.pairs[entry.positions[0]]))

    def action_help(self) -> None:
        """Show the keys of this screen."""
        self.app.push_screen(CompareHelp())

    # -- commands ---------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Narrow the list to names that contain a text."""
        if self.comparison is not None:
            field = self.query_one(Field)
            field.display = True
            field.focus()
            self._fill()

    def on_input_changed(self) -> None:
        """Filter with each keystroke."""
        self._fill()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter and go to the list."""
        if event.value:
            self.query_one(LineList).focus()
        else:
            self._clear()

    def action_back(self) -> None:
        """Stop the comparison of values; else clear the filter."""
        if self._running:
            self._stop.set()
        else:
            self._clear()

    def _clear(self) -> None:
        field = self.query_one(Field)
        field.display = False
        with self.prevent(Input.Changed):
            field.value = ""
        self.query_one(LineList).focus()
        self._fill()

    def action_values(self) -> None:
        """Compare the values of what has the same name and shape, in a thread."""
        comparison = self.comparison
        if comparison is None or self._running:
            return
        if comparison.compared:
            self.notify("The values are compared; r opens both again.", timeout=3)
            return
        if self._lost:
            self.notify(f"Values can't be compared: {self._lost}; r opens both again.", timeout=3)
            return
        if not comparison.comparable:
            self.notify("No tensor has the same name and shape on both sides.", timeout=3)
            return
        self._running = True
        self._stop.clear()
        if not self._entries:
            self._tell_empty("")
        self.run_worker(partial(self._values, comparison), thread=True, exit_on_error=True)

    def _values(self, comparison: Comparison) -> None:
        last = 0.0

        def tell(progress: Progress) -> None:
            nonlocal last
            if time.monotonic() - last > TICK / 2:
                last = time.monotonic()
                self.post_message(self.Went(progress))

        done = compare_values(comparison, self.specs[1], self._ask, tell, self._stop.is_set)
        self.post_message(self.Compared(done))

    def _ask(self, request: str, arguments: Mapping[str, Any]) -> Any:
        if self._stop.is_set():
            raise ParamxError("values", "stopped")
        try:
            return self._loadings[0].ask(request, arguments)
        except LostError as error:
            raise LostError("", error.line, "r opens both again") from error

    def on_compare_screen_went(self, message: Went) -> None:
        """Show the progress."""
        if self._running:
            self._tell_values(message.progress)
