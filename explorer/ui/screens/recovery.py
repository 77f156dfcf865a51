"""What the main screen does after something went wrong: it opens the model again, and offers groups left behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from explorer.ui.screens.group_commands import GroupCommands

if TYPE_CHECKING:
    from explorer.core.groups import Grouping
    from explorer.core.loading import OpenSpec

OFFER_SECONDS = 12
"""How long the offer of groups left behind is shown."""


class Recovery(GroupCommands):
    """A screen with a model that can be opened again, and groups that a session before may have lost."""

    spec: OpenSpec
    """What is open."""

    @dataclass
    class LeftBehind(Message):
        """Groups of a session that ended badly were found."""

        grouping: Grouping
        """The groups."""

    @dataclass
    class OpenAgain(Message):
        """The model is to be opened once more, with the groups as typed."""

        spec: OpenSpec
        """What is open."""

    def __init__(self) -> None:
        """Start with nothing left behind."""
        super().__init__()
        self._left_behind: Grouping | None = None

    def look_for_a_draft(self) -> None:
        """Look for groups left behind; runs in a thread."""
        drafts = self.services.drafts
        found = drafts.left(self.spec.target) if drafts is not None else None
        if found is not None and found != self.services.grouping:
            self.post_message(self.LeftBehind(found))

    def on_recovery_left_behind(self, message: LeftBehind) -> None:
        """Offer them; nothing is changed without being asked."""
        self._left_behind = message.grouping
        text = "R brings back the groups of a session that ended badly."
        self.notify(text, timeout=OFFER_SECONDS, markup=False)

    def action_recover(self) -> None:
        """Take the groups left behind; undo brings back what was."""
        if self.bench is None:
            return
        if self._left_behind is None:
            self.notify("No groups were left behind.", timeout=3)
        else:
            self._change_groups(self._left_behind)
            self.notify("The groups of your last session are back.", timeout=4)

    def action_reload(self) -> None:
        """Open the model again: its file changed, or what served it is gone."""
        if self.bench is not None:
            self.post_message(self.OpenAgain(self.spec))
