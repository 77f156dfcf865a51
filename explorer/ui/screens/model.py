"""The main screen: the tree, the groups panel and the lines around them, for one model."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.text import Text
from textual.containers import Container, Vertical
from textual.message import Message

from explorer.core.errors import ParamxError
from explorer.core.loading import Failed, Loaded, OpenSpec, Stage
from explorer.core.param import Finding
from explorer.core.tree import Tree
from explorer.core.view import TreeView
from explorer.core.workbench import Workbench
from explorer.ui import keymap
from explorer.ui.cell_diff import WholeScreen
from explorer.ui.opening import Opening, Ready
from explorer.ui.screens.recovery import Recovery
from explorer.ui.screens.row_commands import RowCommands
from explorer.ui.screens.value_commands import ValueCommands
from explorer.ui.settings import MemorySettings
from explorer.ui.widgets.bars import DetailBar, FilterBar, KeysBar, OriginBar, TitleBar
from explorer.ui.widgets.groups_panel import GroupsPanel
from explorer.ui.widgets.steady import Steady
from explorer.ui.widgets.tree_table import TreeTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events
    from textual.app import ComposeResult
    from textual.geometry import Size
    from textual.timer import Timer

    from explorer.core.draft import Draft
    from explorer.core.loading import Loading
    from explorer.core.param import Model
    from explorer.ui.services import Services

SIDE_BY_SIDE = 120
"""Columns from which the groups panel stands beside the tree; below, it stands under it."""

LOW, SHORT, TINY = 30, 24, 16
"""Rows below which the panel under the tree gets fewer lines; below which the line of the origin goes (`c` tells it
too); and below which panel and detail get the least, so that some of the tree is left."""

TICK = 0.5
"""Seconds between two looks at the clock while a model opens."""


class ModelScreen(Recovery, RowCommands, ValueCommands, WholeScreen):
    """One model: opening it, walking it, trying groups on it."""

    BINDINGS = keymap.bindings("anywhere", "tree")
    AUTO_FOCUS = "#tree"

    @dataclass
    class Happened(Message):
        """The opening, in its thread, reports an event."""

        event: Stage | Failed | Ready
        """What happened."""

    class Shown(Message):
        """The model is on the screen, and its groups have their fields."""

    @dataclass
    class Learning(Message):
        """More of the open model is being read."""

        what: str
        """What is done, for people."""

    @dataclass
    class Learned(Message):
        """More is known of the open model: the same parameters, now with their classes."""

        model: Model
        """The table that knows more."""

    @dataclass
    class CouldNotOpen(Message):
        """The target can't be opened; the app decides whether to leave or to offer another."""

        line: str
        """Why, in one line."""

    class GaveUp(Message):
        """Esc while the model was opening."""

    class OpenAnother(Message):
        """The start screen is asked for."""

    def __init__(
        self,
        spec: OpenSpec,
        services: Services,
        opening: Opening | None = None,
        draft: Draft | None = None,
        before: Ready | None = None,
    ) -> None:
        """Show what is opened.

        Args:
            spec: What.
            services: The outside world.
            opening: What opens it already; `None` has it opened when the screen is mounted.
            draft: What stands in the fields then.
            before: What was shown of it: where its cursor and folds come from, and shown again if it does not open.
        """
        super().__init__()
        self._opening = opening
        self._draft = draft
        self._before = before
        self._ready: Ready | None = None
        self._fresh = True
        self.spec = spec
        self.services = services
        self.memory = MemorySettings(gpu=services.gpu)
        self._loading: Loading | None = None
        self._learning: Loading | None = None
        self._left = False
        self._drawn = threading.Event()
        self._began = time.monotonic()
        self._stage = "starting"
        self._clock: Timer | None = None

    def compose(self) -> ComposeResult:
        """Build the parts; the stylesheet places them by the width of the screen."""
        if self._opening is None:
            self._opening = Opening(self.spec, self.services, self._before)
        self._loading = self._opening.loading
        # A model that is there already is drawn at once: mounting and drawing the waiting screen first takes 60 ms.
        self._ready = self._opening.ready
        self.update_classes(_classes(self.app.size), update=False)
        yield TitleBar(id="title")
        yield OriginBar(id="origin")
        with Container(id="body"):
            with Vertical(id="left"):
                yield FilterBar(id="filter")
                yield TreeTable(self._tell_row, id="tree")
                if self._ready is None:
                    yield Steady(id="waiting")
            yield GroupsPanel(self.on_rule_editor_edited, id="groups")
        yield DetailBar(id="detail")
        yield KeysBar(id="keys")

    def update_node_styles(self, animate: bool = True) -> None:
        """Apply the styles, but not a second time when the new screen is mounted: that takes 15 ms."""
        if self._fresh and not animate:  # as `Screen` asks when it is resumed
            self._fresh = False
        else:
            super().update_node_styles(animate)

    # -- opening ----------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Show the model, or wait for it; the screen is painted and live from here on."""
        if self._ready is not None:
            self._show_model(self._ready)
        else:
            self.query_one(TreeTable).display = False
            self.query_one(GroupsPanel).display = False
            self._clock = self.set_interval(TICK, self._tell_waiting)
            self._tell_waiting()
        # By way of the app: until it has started nothing is drawn.
        self.app.call_later(self._draw if self._ready is not None else self.refresh)
        self.run_worker(self._listen, thread=True, exit_on_error=True)

    def _listen(self) -> None:
        """Pass on what the opening says; runs in a thread and touches no widget."""
        assert self._opening is not None, "the opening is started before its thread"
        for event in self._opening.events():
            if self._ready is None:
                self.post_message(self.Happened(event))
            if isinstance(event, Ready):
                self._drawn.wait()  # all of this would hold the first frame up
                event.view.prepare()
                self.look_for_a_draft()
                self._learn(event.bench.model)

    def _learn(self, model: Model) -> None:
        """Open the model once more where that gives more facts; in the thread, while the model is on the screen."""
        spec = self.services.skeleton(self.spec, model)
        if spec is None or self._left:
            return
        if spec.skeleton:
            self.post_message(self.Learning("reading config.json …"))
        self._learning = learning = self.services.opener(spec)
        if self._left:  # while it was started: nobody else will end it
            learning.cancel()
        for event in learning.events():
            match event:
                case Loaded(more):
                    self.post_message(self.Learned(more))
                case Failed(line) if model.origin.remembered:
                    note = Finding("not-checked", "warning", line, why="the table is what an earlier run built")
                    self.post_message(self.Learned(replace(model, findings=(*model.findings, note))))
                case Failed(line):
                    note = Finding("no-skeleton", "hint", line, why="no module classes are known without it")
                    self.post_message(self.Learned(replace(model, findings=(*model.findings, note))))
        if model.origin.remembered:
            # The one that built the model answers questions about it from here on.
            self._loading, learning = learning, self._loading
        if learning is not None:
            learning.cancel()

    def on_unmount(self) -> None:
        """Stop the opening and whatever serves the model."""
        self.cancel()

    def _decay_names(self) -> Sequence[str] | None:
        if self._loading is None:
            return None
        try:
            names: Sequence[str] | None = self._loading.ask("decay_names", {})
        except ParamxError:
            # A file has no modules, or the model was left meanwhile: the preset's own terms stand alone.
            return None
        return names

    def cancel(self) -> None:
        """Kill what opens or serves the model."""
        self._left = True
        self._drawn.set()
        for loading in (self._loading, self._learning):
            if loading is not None:
                loading.cancel()

    def on_model_screen_happened(self, message: Happened) -> None:
        """Show a stage, or the reason why there is no model."""
        match message.event:
            case Stage(text):
                self._stage = text
                self._tell_waiting()
            case Failed(line) if self._before is not None:
                self._show_again(self._before, line)
            case Failed(line, lost=True):
                self._tell_lost(line)
            case Failed(line):
                self._stop_clock()
                self.post_message(self.CouldNotOpen(line))
            case Ready():
                self._before = None
                self._stop_clock()
                self.run_worker(self._show(message.event), exclusive=True)

    def _watch(self) -> None:
        """Say when what serves the model is gone, whichever does so now; runs in a thread and touches no widget."""
        watched = None
        while not self._left and self._loading is not None and self._loading is not watched:
            watched = self._loading
            line = watched.lost()
            if line is not None and watched is self._loading and not self._left:
                self.post_message(self.Lost(line))

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.stop()
            self._clock = None

    def _tell_waiting(self) -> None:
        if self._clock is None:
            return
        seconds = int(time.monotonic() - self._began)
        self.query_one(TitleBar).tell_loading(self.spec.target, self._stage, seconds)
        text = Text(justify="center")
        text.append(f"{self._stage}…  {seconds} s\n\n", "bold")
        text.append("? help   q quit", "dim")
        self.query_one("#waiting", Steady).update(text)

    def _tell_lost(self, line: str) -> None:
        """Say on the waiting screen that what opened the model died, and the keys that help."""
        self._stop_clock()
        self.gone = line
        text = Text(justify="center")
        text.append(f"{line}\n\n", "bold")
        text.append("r tries again   o another   q quit", "dim")
        self.query_one("#waiting", Steady).update(text)
        # Keys that were pressed ahead were for a model.
        self.post_message(self.Lost(line))

    def _show_again(self, before: Ready, line: str) -> None:
        """Show what was there before: it could not be opened again, for the reason in `line`."""
        self._stop_clock()
        if self._loading is not None:
            self._loading.cancel()
            self._loading = None
        self.run_worker(self._show(before), exclusive=True)
        self.tell_not_reopened(line)

    async def _show(self, ready: Ready) -> None:
        """Show a model in place of what is on the screen, drawn once."""
        with self.app.batch_update():
            await self.query("#waiting").remove()
            panel, table = self.query_one(GroupsPanel), self.query_one(TreeTable)
            panel.display = table.display = True
            self._show_model(ready)
        self._draw()

    def _draw(self) -> None:
        """Draw the model, and mount the groups' fields after that: it takes as long again."""
        self.refresh()
        self.call_after_refresh(self._show_groups)

    def _show_model(self, ready: Ready) -> None:
        self.bench = ready.bench
        self._tell_top(ready.bench.model, ready.view)
        self.query_one(GroupsPanel).reserve(ready.bench)
        self.query_one(TreeTable).show(ready.view, self.marks(ready.view), ready.cursor)
        self.tell_keys()

    async def _show_groups(self) -> None:
        assert self.bench is not None, "a model is shown before its groups"
        with self.app.batch_update():
            await self.query_one(GroupsPanel).show(self.bench)
            self.tell_memory()
            if self.services.filter:
                bar = self.query_one(FilterBar)
                await bar.open()
                bar.field.value = self.services.filter
            if self._draft is not None:
                self.take_draft(self._draft)
                self._draft = None
        if not self.shown:
            self.shown = True
            self.run_worker(self._watch, thread=True, exit_on_error=True)
        self.offer()
        self.post_message(self.Shown())
        self.call_after_refresh(self._settled)
        self.want_first_values()

    def _settled(self) -> None:
        self._drawn.set()
        self.services.shown()

    def on_model_screen_learning(self, message: Learning) -> None:
        """Say that roles, classes and the total may still change."""
        self._tell_pending(message.what)

    def _tell_pending(self, what: str) -> None:
        view = self.query_one(TreeTable).view
        self.query_one(OriginBar).pending = what
        if view is not None and self.bench is not None:
            self._tell_top(self.bench.model, view)

    def on_model_screen_learned(self, message: Learned) -> None:
        """Show the table with more facts; the cursor, the folds, the filter and the groups stay."""
        table, bench, model = self.query_one(TreeTable), self.bench, message.model
        if bench is None or table.view is None:  # it is not drawn yet
            self.set_timer(TICK, lambda: self.post_message(self.Learned(model)))
            return
        self._tell_pending("")
        if list(bench.model.names) != list(model.names):
            if bench.model.origin.remembered:
                self.notify("The remembered table was out of date; this is the model as it is built now.", timeout=6)
                ready = Ready(TreeView(Tree.build(model)), Workbench(model, bench.typed))
                self.run_worker(self._show(ready), exclusive=True)
            return
        bench.learn(model)
        table.view.learn(model)
        table.relayout()  # a tensor may have turned out to be no parameter: sums differ
        self._tell_groups()  # and with them the row under the cursor
        self._tell_top(model, table.view)

    def _tell_top(self, model: Model, view: TreeView) -> None:
        origin = self.query_one(OriginBar)
        self.query_one(TitleBar).tell_loaded(model, "" if origin.display else origin.pending)
        origin.tell(model, view)

    # -- layout -----------------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        """Put the panel beside the tree or under it, and say in the bars what fits now."""
        self.update_classes(_classes(event.size))
        self.call_after_refresh(self._tell_bars)

    def _tell_bars(self) -> None:
        table = self.query_one(TreeTable)
        view = table.view
        self.tell_keys()
        if view is None or self.bench is None:
            self._tell_waiting()
            return
        self._tell_top(self.bench.model, view)
        self.query_one(DetailBar).tell(view, table.cursor, self.bench, self.nothing_found)
        self.query_one(GroupsPanel).tell(self.bench)
        if self.filtering:
            self.query_one(FilterBar).tell(view)

    def on_descendant_focus(self) -> None:
        """Show the keys of the panel that has the focus now."""
        self.tell_keys()

    def tell_keys(self) -> None:
        """Show the keys that help where the focus is."""
        if self.bench is None:
            self.query_one(KeysBar).tell_opening()
            return
        in_groups = self._in_groups
        # Where letters are text, no letter helps.
        hints = {} if in_groups or self.focused is self.query_one(FilterBar).field else self.hints
        self.query_one(KeysBar).tell("groups" if in_groups else "tree", "anywhere", hints=hints)

    @property
    def _in_groups(self) -> bool:
        focused = self.focused
        return focused is not None and any(isinstance(node, GroupsPanel) for node in focused.ancestors)

    # -- the tree ---------------------------------------------------------------------------------------------

    def _tell_row(self, row: int) -> None:
        """Describe the row under the cursor."""
        view = self.query_one(TreeTable).view
        if view is not None and self.bench is not None:
            self.query_one(DetailBar).tell(view, row, self.bench, self.nothing_found)
            self.query_one(OriginBar).tell(self.bench.model, view)

    def on_key(self, event: events.Key) -> None:
        """Esc clears the filter, from its field and from the tree; arrows leave its field for the tree."""
        field = self.query_one(FilterBar).field
        if event.key == "escape":
            if self.filtering and not self._in_groups:
                event.stop()
                self.clear_filter()
            elif self._clock is not None and self._before is not None:
                event.stop()
                self._show_again(self._before, "Opening it again was stopped.")
            elif self._clock is not None or self.gone:
                event.stop()
                self.post_message(self.GaveUp())
        elif event.key in ("down", "up") and self.focused is field:
            event.stop()
            self.query_one(TreeTable).focus()

    # -- other commands ---------------------------------------------------------------------------------------

    async def action_next_panel(self) -> None:
        """Tab goes from the tree to the groups and through their fields."""
        if self.bench is None:
            return
        await self.query_one(GroupsPanel).fill(self.bench)
        if self._in_groups:
            self.focus_next()
            if not self._in_groups:
                self.query_one(TreeTable).focus()
        else:
            self.query_one(GroupsPanel).focus_field()

    def action_previous_panel(self) -> None:
        """Shift+Tab goes back."""
        if self._in_groups:
            self.focus_previous()
            if not self._in_groups:
                self.query_one(TreeTable).focus()
        elif self.bench is not None:
            self.focus_previous()

    def action_counters(self) -> None:
        """Show the other ways to count."""
        from explorer.ui.screens.counters import CountersScreen  # noqa: PLC0415 - not read at the start

        if self.bench is not None:
            self.app.push_screen(CountersScreen(self.bench.model))

    def action_card(self) -> None:
        """Show what is known of the model as a whole."""
        from explorer.ui.screens.card import CardScreen  # noqa: PLC0415 - seldom asked for: not read at the start

        if self.bench is not None:
            self.app.push_screen(CardScreen(self.bench.model))

    def action_open(self) -> None:
        """Choose another model."""
        self.post_message(self.OpenAnother())


def _classes(size: Size) -> dict[str, bool]:
    """Return the classes that the stylesheet needs for a screen of this size."""
    return {
        "narrow": size.width < SIDE_BY_SIDE,
        "low": size.height < LOW,
        "short": size.height < SHORT,
        "tiny": size.height < TINY,
    }
