"""The main screen after something went wrong: opening the model again, offering groups left behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from explorer.ui.opening import Ready
from explorer.ui.screens.group_commands import GroupCommands
from explorer.ui.widgets.rule_editor import RuleEditor
from explorer.ui.widgets.tree_table import TreeTable

if TYPE_CHECKING:
    from explorer.core.draft import Draft
    from explorer.core.loading import OpenSpec

TOLD_SECONDS = 8
"""How long a notice of what went wrong is shown; the key that helps stays in the keys bar."""

DAMAGED = "Groups left behind can't be read"
"""Heads the line that says why."""


class Recovery(GroupCommands):
    """A screen with a model that can be opened again, and groups that a session before may have lost."""

    spec: OpenSpec
    """What is open."""

    @dataclass
    class LeftBehind(Message):
        """Groups of a session that ended badly were found."""

        draft: Draft | None
        """What was typed; `None` where it can't be read."""
        damaged: str = ""
        """Why some of it can't be read; empty where all can."""

    @dataclass
    class Lost(Message):
        """The worker that served the model is gone."""

        line: str
        """How, as far as it is known."""

    @dataclass
    class OpenAgain(Message):
        """The model is to be opened once more, with the groups as typed."""

        spec: OpenSpec
        """What is open."""
        draft: Draft | None
        """What stands in the fields; `None` if it was never shown, and nothing was to be put there."""
        shown: Ready | None
        """What is on the screen: its cursor and folds are taken over, and all of it comes back if that fails; `None`
        where nothing is."""

    def __init__(self) -> None:
        """Start with nothing left behind and nothing lost."""
        super().__init__()
        self.shown = False
        """Whether the model is on the screen."""
        self.gone = ""
        """How what opened the model died before there was one; empty otherwise."""
        self._draft: Draft | None = None
        self._left_behind: Draft | None = None
        self._damaged = ""
        self.hints: dict[str, str] = {}
        """Keys that help now, and what for: they stand first in the keys bar until they are pressed."""

    def tell_keys(self) -> None:
        """Show the keys that help where the focus is."""
        raise NotImplementedError

    # -- groups left behind -----------------------------------------------------------------------------------

    def look_for_a_draft(self) -> None:
        """Look for groups left behind; runs in a thread."""
        drafts = self.services.drafts
        if drafts is None:
            return
        draft, damaged = drafts.left(self.spec.target)
        if draft is not None and not draft.fields and draft.grouping == self.services.grouping:
            draft = None
        if draft is not None or damaged:
            self.post_message(self.LeftBehind(draft, damaged))

    def on_recovery_left_behind(self, message: LeftBehind) -> None:
        """Offer the groups; nothing changes unless the user takes them."""
        self._left_behind, self._damaged = message.draft, message.damaged
        if self._damaged:
            self.notify(self._damaged, title=DAMAGED, severity="warning", timeout=TOLD_SECONDS)
        if self.shown:
            self.offer()

    def offer(self) -> None:
        """Show the key that brings back what was left behind; there must be fields for it."""
        if self._left_behind is not None:
            self._hint("R", "restores last groups")

    def action_recover(self) -> None:
        """Take the groups left behind; undo brings back the present ones."""
        if not self.shown:
            return
        if self._left_behind is None and self._damaged:
            self.notify(self._damaged, title=DAMAGED, severity="warning", timeout=TOLD_SECONDS)
        elif self._left_behind is None:
            self.notify("No groups were left behind.", timeout=3)
        else:
            self.take_draft(self._left_behind)
            self.edited()
            self.notify("The groups of your last session are back.", timeout=4)

    def take_draft(self, draft: Draft) -> None:
        """Put what somebody typed into the fields, also what can't be read."""
        if self.bench is not None:
            self.bench.change(draft.grouping)
            for rule, (name, options, terms) in draft.fields.items():
                self.bench.type_rule(rule, name, options, terms)
            self.run_worker(self._write_fields())

    def edited(self) -> None:
        """Take the offer away, because the user types groups of their own now; `R` still takes the others."""
        self._hint("R", "")

    # -- what was lost ----------------------------------------------------------------------------------------

    def on_recovery_lost(self, message: Lost) -> None:
        """Say at once that nothing serves the model any more: its values are gone, the table and the groups stay."""
        if self.gone:  # the screen shows it
            return
        self.notify(message.line, title="r opens it again", severity="warning", timeout=TOLD_SECONDS)
        self._hint("r", "opens again: worker gone")

    def tell_not_reopened(self, line: str) -> None:
        """Say why what is on the screen could not be opened again."""
        self.notify(line, title="r tries again", severity="warning", timeout=TOLD_SECONDS)
        self._hint("r", "tries again: not open")

    def action_reload(self) -> None:
        """Open the model again: its file changed, or its worker is gone."""
        if self.bench is not None:
            for editor in self.query(RuleEditor):
                editor.flush()
            self.clear_filter()
            table = self.query_one(TreeTable)
            shown = Ready(table.view, self.bench, table.cursor_node) if table.view is not None else None
            self.post_message(self.OpenAgain(self.spec, self.bench.draft, shown))
        elif self.gone:
            self.post_message(self.OpenAgain(self.spec, self._draft, None))

    def _hint(self, key: str, text: str) -> None:
        """Show a key first in the keys bar; without a text, remove it from there."""
        if text:
            self.hints[key] = text
            self.tell_keys()
        elif self.hints.pop(key, None) is not None:
            self.tell_keys()
