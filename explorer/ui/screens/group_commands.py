"""The commands of the main screen on groups: typing, undo, keeping, and the dialogs about groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textual.message import Message

from explorer.core.errors import ParamxError
from explorer.core.groups import Rule
from explorer.core.text import plural, sentence
from explorer.ui.screens.filter_commands import FilterCommands
from explorer.ui.settings import MemorySettings
from explorer.ui.widgets.groups_panel import GroupsPanel
from explorer.ui.widgets.rule_editor import RuleEditor
from explorer.ui.widgets.tree_table import Marks, TreeTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from explorer.core.draft import Draft
    from explorer.core.groups import Grouping
    from explorer.core.view import TreeView
    from explorer.ui.screens.lists import ShowTensors, UseGroups
    from explorer.ui.services import Services


class GroupCommands(FilterCommands):
    """A screen with a tree, a groups panel and a workbench that joins them."""

    services: Services
    """The outside world."""

    @dataclass
    class GroupsChanged(Message):
        """The groups have changed."""

        grouping: Grouping
        """The last groups without a bad term."""
        draft: Draft
        """What stands in the fields, bad terms too."""

    def __init__(self) -> None:
        """Start with the usual assumptions on memory."""
        super().__init__()
        self.memory = MemorySettings()

    def edited(self) -> None:
        """React to a change of the groups by the user."""

    # -- editing ----------------------------------------------------------------------------------------------

    def on_rule_editor_edited(self, message: RuleEditor.Edited) -> None:
        """Regroup with what was typed."""
        if self.bench is None or message.rule >= len(self.bench.typed.rules):
            return  # the group is gone, its field not yet
        editor = next((e for e in self.query_one(GroupsPanel).editors if e.position == message.rule), None)
        if editor is not None and editor.fields != (message.name, message.options, message.terms):
            return  # older than what stands there: another message is under way, or a command has written since
        before = self.bench.draft
        self.bench.type_rule(message.rule, message.name, message.options, message.terms)
        self._tell_groups()
        if self.bench.draft != before:  # fields say what stands in them when they are made, too
            self.edited()

    def _tell_groups(self) -> None:
        table, bench = self.query_one(TreeTable), self.bench
        if bench is None or table.view is None:
            return
        table.regroup(bench.assignment.groups, self.marks(table.view))
        self.tell_memory()
        self.post_message(self.GroupsChanged(bench.assignment.grouping, bench.draft))

    async def _change_groups(self, grouping: Grouping, focus: int | None = None) -> None:
        """Take groups that a command made, and put their text into the fields."""
        if self.bench is not None:
            self.bench.change(grouping)
            await self._write_fields(focus)
            self.edited()

    async def _write_fields(self, focus: int | None = None, *, options: bool = False) -> None:
        """Put the groups' own text into the fields, and the focus into a group's terms, or its options.

        A key waits for it: the next may be text for a field, and come in one burst with it over a slow line.
        """
        bench, panel = self.bench, self.query_one(GroupsPanel)
        if bench is None:
            return
        focused = panel.focused_rule
        await panel.write(bench)
        self._tell_groups()
        if focus is None and focused is not None and panel.focused_rule is None:
            # Fields that were made anew have lost it, and what is typed next would be the tree's commands.
            focus = min(focused, bench.typed.catch_all)
        if focus is not None:
            await panel.reveal(bench, focus, options=options)

    async def action_undo(self) -> None:
        """Take back the last edit of the groups."""
        if self.bench is not None:
            if self.bench.undo():
                await self._write_fields()
            else:
                self.notify("Nothing to undo.", timeout=2)

    async def action_redo(self) -> None:
        """Take back an undo."""
        if self.bench is not None:
            if self.bench.redo():
                await self._write_fields()
            else:
                self.notify("Nothing to redo.", timeout=2)

    async def action_optimizer(self) -> None:
        """Give the groups the next optimizer of those whose memory is known."""
        from explorer.core.memory import OPTIMIZER_STATES  # noqa: PLC0415 - not read at the start
        from explorer.core.optimizers import OPTIMIZERS  # noqa: PLC0415 - as above

        if self.bench is not None:
            typed = self.bench.typed
            names = [name for name in OPTIMIZERS if name in OPTIMIZER_STATES]
            at = names.index(typed.optimizer) if typed.optimizer in names else -1
            optimizer = names[(at + 1) % len(names)]
            await self._change_groups(replace(typed, optimizer=optimizer))
            self.notify(f"Optimizer: {optimizer}; Ctrl+/ takes it back", timeout=3)

    async def action_add_group(self) -> None:
        """Add a group above the one that takes the rest, after the one that has the focus."""
        bench = self.bench
        if bench is None:
            return
        focused = self.query_one(GroupsPanel).focused_rule
        typed = bench.typed
        at = typed.catch_all if focused is None else min(focused + 1, typed.catch_all)
        options = {"weight_decay": 0.0}
        try:
            added = typed.add_rule(Rule(typed.fresh_name(), (), options), at)
        except ValueError as error:
            self.notify(sentence(str(error)), severity="warning")
        else:
            bench.change(added)
            await self._write_fields(at)

    async def action_remove_group(self) -> None:
        """Remove the group that has the focus; its parameters fall to the groups below."""
        bench, focused = self.bench, self.query_one(GroupsPanel).focused_rule
        if bench is not None and focused is not None:
            name = bench.typed.rules[focused].name
            try:
                await self._change_groups(bench.typed.remove(focused), focused)
            except ValueError as error:
                self.notify(sentence(str(error)), severity="warning")
            else:
                self.notify(f"Removed: {name}. Ctrl+/ brings it back.", timeout=3)

    async def action_raise_group(self) -> None:
        """Move the group that has the focus up: the first that matches wins."""
        await self._move_group(-1)

    async def action_lower_group(self) -> None:
        """Move the group that has the focus down."""
        await self._move_group(1)

    async def _move_group(self, by: int) -> None:
        bench, focused = self.bench, self.query_one(GroupsPanel).focused_rule
        if bench is not None and focused is not None:
            try:
                to = max(0, min(focused + by, bench.typed.catch_all - 1))
                await self._change_groups(bench.typed.move(focused, to), to)
            except ValueError as error:
                self.notify(sentence(str(error)), severity="warning")

    def marks(self, view: TreeView) -> Marks:
        """Return what the groups say about each parameter, in the order of the tree's leaves."""
        bench = self.bench
        assert bench is not None, "marks are made of groups"
        tree = view.tree
        return Marks(bench.names, tree.in_leaf_order(bench.warned), tree.in_leaf_order(bench.moved))

    async def on_groups_panel_beyond(self, message: GroupsPanel.Beyond) -> None:
        """Show the fields of the groups above or below."""
        if self.bench is not None and 0 <= message.rule < len(self.bench.typed.rules):
            await self._write_fields(message.rule)

    def on_groups_panel_kept(self) -> None:
        """Make what is typed the groups that Esc comes back to."""
        if self.bench is not None:
            if self.bench.keep():
                self._tell_groups()
                self.notify("Groups kept: moves count from here.", timeout=2)
            else:
                self.notify("Not kept: ✖ marks what can't be read; Esc goes back.", severity="warning", timeout=4)

    async def on_groups_panel_restore(self) -> None:
        """Bring back the groups last kept; with nothing to bring back, go to the tree."""
        bench = self.bench
        if bench is None:
            return
        if bench.changed:
            told = "Discarded: Ctrl+/ brings it back." if bench.restore() else "Discarded what could not be read."
            await self._write_fields()
            self.notify(told, timeout=3)
        else:
            self.query_one(TreeTable).focus()

    # -- screens over this one --------------------------------------------------------------------------------

    def action_export(self) -> None:
        """Show the code for the groups."""
        from explorer.ui.screens.export import ExportScreen  # noqa: PLC0415 - not read at the start

        if self.bench is not None:
            self.app.push_screen(ExportScreen(self.bench))

    def action_findings(self) -> None:
        """List what is wrong with the groups."""
        from explorer.ui.screens.findings import FindingsScreen  # noqa: PLC0415 - not read at the start

        if self.bench is not None:
            self.app.push_screen(FindingsScreen(self.bench), self._after_list)

    def action_moves(self) -> None:
        """List what changed group."""
        from explorer.ui.screens.findings import MovesScreen  # noqa: PLC0415 - not read at the start

        if self.bench is not None:
            self.app.push_screen(MovesScreen(self.bench), self._after_list)

    def action_presets(self) -> None:
        """Show known recipes side by side."""
        from explorer.ui.screens.presets import PresetsScreen  # noqa: PLC0415 - not read at the start

        if self.bench is not None:
            self.app.push_screen(PresetsScreen(self.bench, self._decay_names), self._after_list)

    def action_memory(self) -> None:
        """Show what training would need."""
        from explorer.ui.screens.memory import MemoryScreen  # noqa: PLC0415 - not read at the start

        if self.bench is not None:
            self.app.push_screen(MemoryScreen(self.bench, self.memory, self.services.gpu_memory), self._after_memory)

    def _after_memory(self, settings: MemorySettings | None) -> None:
        """Take the settings that the memory screen was left with."""
        if settings is not None:
            self.memory = settings
            self.tell_memory()

    def tell_memory(self) -> None:
        """Show what the groups give and training memory in the panel and, if asked for, in the tree."""
        table, bench, settings = self.query_one(TreeTable), self.bench, self.memory
        if bench is None or table.view is None:
            return
        from explorer.core.memory import memory_column, training_memory  # noqa: PLC0415 - told after the first frame

        arguments = (bench.assignment, settings.optimizer, settings.precision)
        try:
            report = training_memory(*arguments)
            column = memory_column(*arguments) if settings.in_tree else None
        except ParamxError:
            # An optimizer that the formulas do not know, as typed: the screen behind `t` says so.
            report, column = None, None
        self.query_one(GroupsPanel).tell_memory(bench, report, settings.title(bench.assignment.grouping.optimizer))
        if column is not None or table.view.shows_training:
            table.view.set_training(column)
            table.relayout()

    def _decay_names(self) -> Sequence[str] | None:
        """Ask the source for transformers' own decay list; called in a thread. `None` where it is not at hand."""
        raise NotImplementedError

    def _after_list(self, answer: ShowTensors | UseGroups | None) -> None:
        """Do what was chosen in a list over this screen."""
        from explorer.ui.screens.lists import ShowTensors, UseGroups  # noqa: PLC0415 - not read at the start

        match answer:
            case ShowTensors(indices, what):
                self._show_tensors(indices, what)
            case UseGroups(grouping, what):
                self.run_worker(self._change_groups(grouping))
                self.notify(what)

    def _show_tensors(self, indices: Sequence[int], what: str) -> None:
        """Go to the first of some tensors; `n` and `N` then step through them."""
        table, bench = self.query_one(TreeTable), self.bench
        if bench is None or table.view is None or not indices:
            return
        self.clear_filter()
        table.go_to(indices[0])
        table.focus()
        if len(indices) > 1:
            mask = bytearray(len(bench.model))
            for index in indices:
                mask[index] = 1
            self._mask = bytes(mask)
            self.notify(f"{plural(len(indices), 'tensor')} ({what}): n and N step through them.")
