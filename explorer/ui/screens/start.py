"""The start screen: what can be opened here; typing narrows it, Enter opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from explorer.core.text import plural
from explorer.ui import keys_inside
from explorer.ui.paint import cut_middle, fit
from explorer.ui.widgets.field import Field

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from explorer.core.choice import Choice
    from explorer.ui.keys_inside import Place
    from explorer.ui.services import Services


TITLE = 24
"""Cells of the column of titles; a longer title takes more where its line has room."""


class StartScreen(Screen[None]):
    """A list to choose from, with a field that narrows it or names something else."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *keys_inside.bindings("start", "screen"),
        Binding("ctrl+q,ctrl+c", "app.quit", show=False),
        Binding("f1", "app.help", show=False),
    ]
    HELP_ON: ClassVar[Place] = "start"

    @dataclass
    class Chosen(Message):
        """A target is to be opened."""

        target: str
        """What was chosen or typed."""
        typed: str
        """The text of the field, which is shown again if this does not open."""

    @dataclass
    class Listed(Message):
        """The thread that looks around is done."""

        choices: Sequence[Choice]
        """What can be opened here."""

    def __init__(self, services: Services, error: str = "", typed: str = "", *, way_back: bool = False) -> None:
        """Offer what `services` lists.

        Args:
            services: The outside world.
            error: Why the last choice did not open.
            typed: What stood in the field then.
            way_back: Whether a model lies under this screen, to which Esc leads.
        """
        super().__init__()
        self._services = services
        self._error = error
        self._choices: Sequence[Choice] = ()
        self._shown: list[Choice] = []
        self._way_back = way_back
        self._field = Field(typed, placeholder="type to narrow, or a path, or a hub id")

    def compose(self) -> ComposeResult:
        """A title, the field, the list, the keys."""
        title = Text(" paramx ", "bold reverse")
        title.append("  every parameter of a model", "bold")
        yield Static(title, id="title")
        error = Static(Text(self._error), id="error")
        error.display = bool(self._error)
        yield error
        yield self._field
        yield OptionList(id="choices", markup=False, compact=True)
        yield Static(id="start-count")
        keys = Text()
        for key, label in (
            ("Enter", "open"),
            ("↑↓", "choose"),
            ("Esc", "back" if self._way_back else "clear"),
            ("F1", "help"),
            ("Ctrl+Q", "quit"),
        ):
            keys.append(f"  {key}", "bold")
            keys.append(f" {label}")
        yield Static(keys, id="keys")

    def on_mount(self) -> None:
        """Look around in a thread, for a hub cache can be large and its disk slow."""
        self.query_one(OptionList).can_focus = False
        self._field.focus()
        self.run_worker(self._look_around, thread=True)

    def _look_around(self) -> None:
        self.post_message(self.Listed(self._services.choices()))

    def on_start_screen_listed(self, message: Listed) -> None:
        """Show what was found."""
        self._choices = message.choices
        self._narrow()

    def on_resize(self) -> None:
        """Cut the lines to the new width."""
        self._narrow()

    def on_input_changed(self) -> None:
        """Narrow the list with each keystroke."""
        self._narrow()

    def _narrow(self) -> None:
        words = self._field.value.lower().split()
        self._shown = [
            choice
            for choice in self._choices
            if all(word in f"{choice.title} {choice.kind} {choice.detail}".lower() for word in words)
        ]
        options = self.query_one(OptionList)
        options.clear_options()
        width = max(20, self.size.width - 3)
        kind = max((len(choice.kind) for choice in self._shown), default=0)
        options.add_options([Option(_line(choice, kind, width)) for choice in self._shown])
        if self._shown:
            options.highlighted = 0
        count = f" {plural(len(self._shown), 'thing')} to open here" if self._choices else " looking around…"
        if self._choices and not self._shown:
            count = f" nothing here is called that; Enter opens {self._field.value.strip()!r} as a path or hub id"
        self.query_one("#start-count", Static).update(Text(count, "dim"))

    def action_move(self, by: int) -> None:
        """Move the highlight; the field keeps the focus, so typing goes on narrowing."""
        options = self.query_one(OptionList)
        if self._shown:
            options.highlighted = max(0, min(len(self._shown) - 1, (options.highlighted or 0) + by))

    def action_clear(self) -> None:
        """Empty the field; when it is empty, go back to the model under this screen."""
        if self._way_back and not self._field.value:
            self.dismiss()
        self._field.value = ""

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Open what is highlighted; if nothing is, what was typed."""
        highlighted = self.query_one(OptionList).highlighted
        if self._shown and highlighted is not None:
            self.post_message(self.Chosen(self._shown[highlighted].target, event.value))
        elif event.value.strip():
            self.post_message(self.Chosen(event.value.strip(), event.value))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Open what the mouse clicked."""
        self.post_message(self.Chosen(self._shown[event.option_index].target, self._field.value))


def _line(choice: Choice, kind: int, width: int) -> Text:
    """Return a choice's line; what follows the title leaves its column, to either side, where that saves a cut.

    Args:
        choice: What can be opened.
        kind: Cells of the column of kinds.
        width: Cells of the line.
    """
    needed, room = cell_len(choice.title), width - kind - 2 - cell_len(choice.detail)
    if room < needed:  # one of the two is cut: of titles it is only long ones
        room = max(TITLE, room)
    title = min(room, max(TITLE, needed))
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(fit(cut_middle(choice.title, title), title), "bold")
    text.append(f" {fit(choice.kind, kind)} ", "dim")
    text.append(choice.detail)
    text.truncate(width, overflow="ellipsis")
    return text
