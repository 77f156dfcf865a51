"""The main screen: the tree, the groups panel and the lines around them, for one model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text
from textual.containers import Container, Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, Static

from explorer.core.errors import ParamxError
from explorer.core.groups import Rule
from explorer.core.loading import Event, Failed, Loaded, OpenSpec, Stage
from explorer.core.memory import memory_column, training_memory
from explorer.core.tree import Tree
from explorer.core.view import TreeView
from explorer.core.workbench import Workbench
from explorer.ui import keymap
from explorer.ui.screens.counters import CountersScreen
from explorer.ui.screens.export import ExportScreen
from explorer.ui.screens.findings import FindingsScreen, MovesScreen
from explorer.ui.screens.lists import ShowTensors, UseGroups
from explorer.ui.screens.memory import MemoryScreen, MemorySettings
from explorer.ui.screens.presets import PresetsScreen
from explorer.ui.widgets.bars import DetailBar, FilterBar, KeysBar, OriginBar, TitleBar
from explorer.ui.widgets.groups_panel import GroupsPanel, RuleEditor
from explorer.ui.widgets.tree_table import Marks, TreeTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events
    from textual.app import ComposeResult
    from textual.timer import Timer

    from explorer.core.groups import Grouping
    from explorer.core.loading import Loading
    from explorer.core.param import Model
    from explorer.ui.services import Services

SIDE_BY_SIDE = 120
"""Columns from which the groups panel stands beside the tree; below, it stands under it."""

LOW, SHORT = 30, 24
"""Rows below which the panel under the tree gets fewer lines, and below which the line of the origin goes (`c` tells
it too)."""

TICK = 0.5
"""Seconds between two looks at the clock while a model opens."""


MEMORY_LATER = 0.15
"""Seconds after a keystroke at which training memory is worked out again."""


class ModelScreen(Screen[None]):
    """One model: opening it, walking it, trying groups on it."""

    BINDINGS = keymap.bindings("anywhere", "tree")

    @dataclass
    class Happened(Message):
        """The opening, in its thread, reports an event."""

        event: Event
        """What happened."""

    @dataclass
    class CouldNotOpen(Message):
        """The target can't be opened; the app decides whether to leave or to offer another."""

        line: str
        """Why, in one line."""

    @dataclass
    class GroupsChanged(Message):
        """The groups that the tree shows are others."""

        grouping: Grouping
        """The last groups without a bad term."""

    @dataclass
    class GaveUp(Message):
        """Esc while the model was opening."""

    @dataclass
    class OpenAnother(Message):
        """The start screen is asked for."""

    def __init__(self, spec: OpenSpec, services: Services) -> None:
        """Show `spec`; it is opened when the screen is mounted."""
        super().__init__()
        self.spec = spec
        self.services = services
        self.bench: Workbench | None = None
        self._loading: Loading | None = None
        self._began = time.monotonic()
        self._stage = "starting"
        self._clock: Timer | None = None
        self._memory_timer: Timer | None = None
        self._mask: bytes | None = None
        self.memory = MemorySettings()

    def compose(self) -> ComposeResult:
        """Build the parts; the stylesheet places them by the width of the screen."""
        yield TitleBar(id="title")
        yield OriginBar(id="origin")
        with Container(id="body"):
            with Vertical(id="left"):
                yield FilterBar(id="filter")
                yield TreeTable(id="tree")
                yield Static(id="waiting")
            yield GroupsPanel(id="groups")
        yield DetailBar(id="detail")
        yield KeysBar(id="keys")

    # -- opening ----------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Start to open the model; the screen is painted and live from here on."""
        self.query_one(FilterBar).display = False
        self.query_one(GroupsPanel).display = False
        self.query_one(TreeTable).focus()
        self._loading = self.services.opener(self.spec)
        self._clock = self.set_interval(TICK, self._tell_waiting)
        self._tell_waiting()
        self.run_worker(self._listen, thread=True, exit_on_error=True)

    def _listen(self) -> None:
        """Pass on what the opening says; runs in a thread and touches no widget."""
        assert self._loading is not None, "the opening is started before its thread"
        for event in self._loading.events():
            self.post_message(self.Happened(event))

    def on_unmount(self) -> None:
        """Stop the opening and whatever serves the model."""
        self.cancel()

    def cancel(self) -> None:
        """Kill what opens or serves the model."""
        if self._loading is not None:
            self._loading.cancel()

    def on_model_screen_happened(self, message: Happened) -> None:
        """Show a stage, the model, or the reason why there is none."""
        match message.event:
            case Stage(text):
                self._stage = text
                self._tell_waiting()
            case Loaded(model):
                self._stop_clock()
                self.run_worker(self._show(model), exclusive=True)
            case Failed(line):
                self._stop_clock()
                self.post_message(self.CouldNotOpen(line))

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
        self.query_one("#waiting", Static).update(text)

    async def _show(self, model: Model) -> None:
        tree = TreeView(Tree.build(model))
        self.bench = Workbench(model, self.services.grouping)
        tree.set_groups(self.bench.assignment.codes)
        self.query_one("#waiting").display = False
        panel = self.query_one(GroupsPanel)
        panel.display = True
        await panel.show(self.bench)
        table = self.query_one(TreeTable)
        table.display = True
        self._tell_top(model, tree)
        self.call_after_refresh(self._show_tree, tree)

    def _show_tree(self, view: TreeView) -> None:
        self.query_one(TreeTable).show(view, self._marks(view))
        self._tell_memory()
        if self.services.filter:
            bar = self.query_one(FilterBar)
            bar.display = True
            bar.field.value = self.services.filter

    def _tell_top(self, model: Model, view: TreeView) -> None:
        self.query_one(TitleBar).tell_loaded(model)
        self.query_one(OriginBar).tell(model, view)

    # -- layout -----------------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        """Put the panel beside the tree or under it, and say in the bars what fits now."""
        self.set_class(event.size.width < SIDE_BY_SIDE, "narrow")
        self.set_class(event.size.height < LOW, "low")
        self.set_class(event.size.height < SHORT, "short")
        self.call_after_refresh(self._tell_bars)

    def _tell_bars(self) -> None:
        view = self.query_one(TreeTable).view
        self._tell_keys()
        if view is None or self.bench is None:
            self._tell_waiting()
            return
        self._tell_top(self.bench.model, view)
        self.query_one(GroupsPanel).tell(self.bench)
        if self._filtering:
            self.query_one(FilterBar).tell(view)

    def on_descendant_focus(self) -> None:
        """Show the keys of the panel that has the focus now."""
        self._tell_keys()

    def _tell_keys(self) -> None:
        self.query_one(KeysBar).tell("groups" if self._in_groups else "tree", "anywhere")

    @property
    def _in_groups(self) -> bool:
        focused = self.focused
        return focused is not None and any(isinstance(node, GroupsPanel) for node in focused.ancestors)

    # -- the tree ---------------------------------------------------------------------------------------------

    def on_tree_table_cursor_moved(self, message: TreeTable.CursorMoved) -> None:
        """Describe the row under the cursor."""
        view = self.query_one(TreeTable).view
        if view is not None and self.bench is not None:
            self.query_one(DetailBar).tell(view, message.row, self.bench)
            self.query_one(OriginBar).tell(self.bench.model, view)

    @property
    def _filtering(self) -> bool:
        return self.query_one(FilterBar).display

    def action_filter(self) -> None:
        """Open the filter's field."""
        if self.bench is not None:
            bar = self.query_one(FilterBar)
            bar.display = True
            bar.field.focus()
            self._filter(bar.field.value)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter with each keystroke; the groups panel keeps its own fields' messages."""
        if event.input is self.query_one(FilterBar).field:
            self._filter(event.value)

    def _filter(self, needle: str) -> None:
        table, bench = self.query_one(TreeTable), self.bench
        if bench is None or table.view is None:
            return
        self._mask = bytes(needle in name for name in bench.model.names) if needle else None
        table.filter(needle, self._mask)
        self.query_one(FilterBar).tell(table.view)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in the filter keeps it and goes to the tree."""
        if event.input is self.query_one(FilterBar).field:
            if not event.value:
                self._clear_filter()
            self.query_one(TreeTable).focus()

    def on_key(self, event: events.Key) -> None:
        """Esc clears the filter, from its field and from the tree; arrows leave its field for the tree."""
        field = self.query_one(FilterBar).field
        if event.key == "escape":
            if self._filtering and not self._in_groups:
                event.stop()
                self._clear_filter()
            elif self._clock is not None:
                event.stop()
                self.post_message(self.GaveUp())
        elif event.key in ("down", "up") and self.focused is field:
            event.stop()
            self.query_one(TreeTable).focus()

    def _clear_filter(self) -> None:
        bar, table = self.query_one(FilterBar), self.query_one(TreeTable)
        bar.display = False
        with self.prevent(Input.Changed):
            bar.field.value = ""
        table.filter("", None)
        table.focus()

    def action_next_match(self) -> None:
        """Go to the next tensor that the filter finds, or found when it was last on."""
        self._match(1)

    def action_previous_match(self) -> None:
        """Go to the tensor before that the filter finds."""
        self._match(-1)

    def _match(self, by: int) -> None:
        table = self.query_one(TreeTable)
        if table.view is None or self._mask is None:
            self.notify("Nothing to find yet: / sets a text.", timeout=3)
        elif not table.go_to_match(self._mask, by):
            self.notify("No tensor's name contains the text.", timeout=3)

    # -- the groups -------------------------------------------------------------------------------------------

    def on_rule_editor_edited(self, message: RuleEditor.Edited) -> None:
        """Regroup with what was typed."""
        if self.bench is not None:
            self.bench.type_rule(message.rule, message.name, message.options, message.terms)
            self._tell_groups()

    def _tell_groups(self) -> None:
        table, bench = self.query_one(TreeTable), self.bench
        if bench is None or table.view is None:
            return
        self.query_one(GroupsPanel).tell(bench)
        table.regroup(bench.assignment.codes, self._marks(table.view))
        self.post_message(self.GroupsChanged(bench.assigned))
        # Memory changes with the groups only where they freeze or name an optimizer: it may follow a moment later.
        if self._memory_timer is not None:
            self._memory_timer.stop()
        self._memory_timer = self.set_timer(MEMORY_LATER, self._tell_memory)

    def _change_groups(self, draft: Grouping, focus: int | None = None) -> None:
        """Take groups that a command made, and put their text into the fields."""
        if self.bench is not None:
            self.bench.change(draft)
            self._rewrite(focus)

    def _rewrite(self, focus: int | None = None) -> None:
        async def rewrite() -> None:
            bench, panel = self.bench, self.query_one(GroupsPanel)
            if bench is None:
                return
            await panel.write(bench)
            self._tell_groups()
            if focus is not None:
                panel.focus_field(focus)

        self.run_worker(rewrite(), exclusive=True, group="rewrite")

    def action_undo(self) -> None:
        """Take back the last edit of the groups."""
        if self.bench is not None:
            if self.bench.undo():
                self._rewrite()
            else:
                self.notify("Nothing to undo.", timeout=2)

    def action_redo(self) -> None:
        """Take back an undo."""
        if self.bench is not None:
            if self.bench.redo():
                self._rewrite()
            else:
                self.notify("Nothing to redo.", timeout=2)

    def action_add_group(self) -> None:
        """Add a group above the one that takes the rest, after the one that has the focus."""
        bench = self.bench
        if bench is None:
            return
        focused = self.query_one(GroupsPanel).focused_rule
        draft = bench.draft
        at = draft.catch_all if focused is None else min(focused + 1, draft.catch_all)
        options = {"weight_decay": 0.0}
        try:
            added = draft.add_rule(Rule(draft.fresh_name(), (), options), at)
        except ValueError as error:
            self.notify(str(error), severity="warning", markup=False)
        else:
            self._change_groups(added, at)

    def action_remove_group(self) -> None:
        """Remove the group that has the focus; its parameters fall to the groups below."""
        bench, focused = self.bench, self.query_one(GroupsPanel).focused_rule
        if bench is not None and focused is not None:
            try:
                self._change_groups(bench.draft.remove(focused), focused)
            except ValueError as error:
                self.notify(str(error), severity="warning", markup=False)

    def action_raise_group(self) -> None:
        """Move the group that has the focus up: the first that matches wins."""
        self._move_group(-1)

    def action_lower_group(self) -> None:
        """Move the group that has the focus down."""
        self._move_group(1)

    def _move_group(self, by: int) -> None:
        bench, focused = self.bench, self.query_one(GroupsPanel).focused_rule
        if bench is not None and focused is not None:
            try:
                to = max(0, min(focused + by, bench.draft.catch_all - 1))
                self._change_groups(bench.draft.move(focused, to), to)
            except ValueError as error:
                self.notify(str(error), severity="warning", markup=False)

    def _marks(self, view: TreeView) -> Marks:
        bench = self.bench
        assert bench is not None, "marks are made of groups"
        tree = view.tree
        return Marks(bench.names, tree.in_leaf_order(bench.warned), tree.in_leaf_order(bench.moved))

    def on_groups_panel_kept(self) -> None:
        """Make what is typed the groups that Esc comes back to."""
        if self.bench is not None:
            self.bench.keep()
            self._tell_groups()
            self.notify("Groups kept: moves count from here.", timeout=2)

    def on_groups_panel_restore(self) -> None:
        """Bring back the groups last kept; with nothing to bring back, go to the tree."""
        bench = self.bench
        if bench is None:
            return
        if bench.changed:
            bench.restore()
            self._rewrite()
        else:
            self.query_one(TreeTable).focus()

    # -- other commands ---------------------------------------------------------------------------------------

    def action_next_panel(self) -> None:
        """Tab goes from the tree to the groups and through their fields."""
        if self.bench is None:
            return
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
        if self.bench is not None:
            self.app.push_screen(CountersScreen(self.bench.model))

    def action_export(self) -> None:
        """Show the code for the groups."""
        if self.bench is not None:
            self.app.push_screen(ExportScreen(self.bench))

    def action_findings(self) -> None:
        """List what is wrong with the groups."""
        if self.bench is not None:
            self.app.push_screen(FindingsScreen(self.bench), self._after_list)

    def action_moves(self) -> None:
        """List what changed group."""
        if self.bench is not None:
            self.app.push_screen(MovesScreen(self.bench), self._after_list)

    def action_presets(self) -> None:
        """Show known recipes side by side."""
        if self.bench is not None:
            self.app.push_screen(PresetsScreen(self.bench, self._decay_names), self._after_list)

    def action_memory(self) -> None:
        """Show what training would need."""
        if self.bench is not None:
            self.app.push_screen(MemoryScreen(self.bench, self.memory, self.services.gpu_memory), self._after_memory)

    def _after_memory(self, settings: MemorySettings | None) -> None:
        """Take what the memory screen was left with."""
        if settings is not None:
            self.memory = settings
            self._tell_memory()

    def _tell_memory(self) -> None:
        """Show training memory in the panel and, if asked for, in the tree."""
        table, bench, settings = self.query_one(TreeTable), self.bench, self.memory
        if bench is None or table.view is None:
            return
        arguments = (bench.model, bench.assigned, bench.assignment, settings.optimizer, settings.precision)
        try:
            report = training_memory(*arguments)
            column = memory_column(*arguments) if settings.in_tree else None
        except ParamxError:
            # An optimizer that the formulas do not know, as typed: the screen behind `t` says so.
            report, column = None, None
        self.query_one(GroupsPanel).tell_memory(bench, report, settings.title(bench.assigned.optimizer))
        table.view.set_training(column)
        table.relayout()

    def _decay_names(self) -> Sequence[str] | None:
        """Ask the source for transformers' own decay list; called in a thread."""
        return None

    def _after_list(self, answer: ShowTensors | UseGroups | None) -> None:
        """Do what was chosen in a list over this screen."""
        match answer:
            case ShowTensors(indices, what):
                self._show_tensors(indices, what)
            case UseGroups(grouping, what):
                self._change_groups(grouping)
                self.notify(what, timeout=4, markup=False)

    def _show_tensors(self, indices: Sequence[int], what: str) -> None:
        """Go to the first of some tensors; `n` and `N` then step through them."""
        table, bench = self.query_one(TreeTable), self.bench
        if bench is None or table.view is None or not indices:
            return
        if self._filtering:
            self._clear_filter()
        mask = bytearray(len(bench.model))
        for index in indices:
            mask[index] = 1
        self._mask = bytes(mask)
        table.go_to(indices[0])
        table.focus()
        if len(indices) > 1:
            self.notify(f"{what}: n and N step through {len(indices):,}", timeout=4, markup=False)

    def action_open(self) -> None:
        """Choose another model."""
        self.post_message(self.OpenAnother())
