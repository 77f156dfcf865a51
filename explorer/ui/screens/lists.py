"""The dialogs that are lists, and what choosing from one asks of the main screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from explorer.core.text import plural
from explorer.ui.screens.dialog import Dialog

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult

    from explorer.core.groups import Grouping


ABOUT_LINES = (4, 12)
"""Fewest and most lines of the text about a line of a list."""

LIST_LINES = 6
"""Lines that the list keeps beside that text, if it has so many."""


@dataclass(frozen=True, slots=True)
class ShowTensors:
    """Answer: go to these tensors in the tree."""

    indices: Sequence[int]
    """Parameters, the one to go to first."""
    what: str
    """What they have in common, for the notice on the screen."""


@dataclass(frozen=True, slots=True)
class UseGroups:
    """Answer: take these groups as typed."""

    grouping: Grouping
    """The groups."""
    what: str
    """What was done, for the notice."""


class Rows(OptionList):
    """A list without markup, walked with `j` and `k` too."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
        Binding("space", "screen.more", show=False),
    ]

    def __init__(self) -> None:
        """Start empty."""
        super().__init__(markup=False, compact=True)

    def on_resize(self) -> None:
        """Keep the highlighted line on the screen: the text below takes more lines for some than for others."""
        self.scroll_to_highlight()

    def _move_page(self, direction: Literal[-1, 1]) -> None:
        if self.scrollable_content_region:  # without room Textual 8.2.8 fails at this
            super()._move_page(direction)


class ListDialog(Dialog[ShowTensors | UseGroups]):
    """A list, and under it what the highlighted line is about."""

    EMPTY = "Nothing here."
    """What stands in place of an empty list."""

    def __init__(self) -> None:
        """Start with no line."""
        super().__init__()
        self.rows = Rows()
        self._head = Static(classes="list-head")
        self._about = Static(classes="list-about")
        self._page = 0
        """The part of the text that is shown, where it is longer than its lines on the screen."""

    def compose(self) -> ComposeResult:
        """Put the list and its text into the box."""
        with Vertical(classes="dialog"):
            yield Static(Text(f" {self.HEADING}", "bold"), classes="dialog-title")
            yield self._head
            yield self.rows
            yield self._about
        yield Static(Text(f" {self.FOOT}", "dim"), classes="dialog-foot")

    def on_mount(self) -> None:
        """Take the keys."""
        self.rows.focus()

    def fill(self) -> None:
        """Show the lines, keeping the highlight where it is."""
        head, lines = self.head(), self.lines()
        self._head.display = head is not None
        if head is not None:
            self._head.update(head)
        at = self.rows.highlighted or 0
        self.rows.clear_options()
        self.rows.add_options([Option(line) for line in lines])
        self.rows.display = bool(lines)
        if lines:
            self.rows.highlighted = min(at, len(lines) - 1)
        else:
            self._about.update(Text(self.EMPTY))
            self.tell_foot(Dialog.FOOT)  # the other keys are of its lines

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Say what the line is about."""
        self._page = 0
        self._tell_about(event.option_index)

    def action_more(self) -> None:
        """Show the next part of the text, and after the last the first."""
        if self.rows.highlighted is not None:
            self._page += 1
            self._tell_about(self.rows.highlighted)

    def on_resize(self, event: events.Resize) -> None:
        """Fill the list for the size that there is now."""
        super().on_resize(event)
        self.call_after_refresh(self.fill)

    def _tell_about(self, line: int) -> None:
        """Say what a line is about, in the lines that the list leaves."""
        text = self.about(line)
        text.rstrip()
        both = self.rows.size.height + self._about.content_size.height
        room = both - min(self.rows.option_count, LIST_LINES)
        most = max(ABOUT_LINES[0], min(ABOUT_LINES[1], room))
        width = self._about.content_size.width or self.size.width - 4
        lines = text.wrap(self.app.console, width)
        if len(lines) > most:
            first = self._page * (most - 1)
            if first >= len(lines):
                self._page = first = 0
            left = len(lines) - first - (most - 1)
            told = f"… {plural(left, 'more line')}: Space" if left > 0 else "Space goes back to the beginning"
            text = Text("\n").join([*lines[first : first + most - 1], Text(told, "dim")])
        self._about.update(text)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Answer with what the line stands for."""
        answer = self.choose(event.option_index)
        if answer is not None:
            self.dismiss(answer)

    def head(self) -> Text | None:
        """Return a line above the list; `None` for none."""
        return None

    def lines(self) -> list[Text]:
        """Return the list's lines."""
        raise NotImplementedError

    def about(self, line: int) -> Text:
        """Return the text about one line."""
        raise NotImplementedError

    def choose(self, line: int) -> ShowTensors | UseGroups | None:
        """Return what Enter on one line asks for."""
        raise NotImplementedError
