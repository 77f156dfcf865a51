"""A list of any length with a cursor, whose lines are made when they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip


class Lines(ScrollView, can_focus=True):
    """Draws `line(row)` for the rows on the screen; Textual's own lists make an object for each."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup,ctrl+b", "page(-1)", show=False),
        Binding("pagedown,ctrl+f", "page(1)", show=False),
        Binding("home,g", "edge(-1)", show=False),
        Binding("end,G", "edge(1)", show=False),
        Binding("enter", "choose", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"lines--cursor"}

    @dataclass
    class Moved(Message):
        """The cursor is on another row."""

        row: int
        """The row, counted from 0."""

    @dataclass
    class Chosen(Message):
        """Enter on a row."""

        row: int
        """The row, counted from 0."""

    def __init__(self, line: Callable[[int], Text], *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        """Draw rows with `line`; `show` says how many there are."""
        super().__init__(id=id)
        self._line = line
        self.count = 0
        self.cursor = 0

    def show(self, count: int) -> None:
        """Draw again, with `count` rows."""
        self.count = count
        self.virtual_size = Size(self.scrollable_content_region.width, count)
        self._go(self.cursor)
        self.refresh()

    def _go(self, row: int) -> None:
        self.cursor = max(0, min(row, self.count - 1))
        page = max(1, self.scrollable_content_region.height)
        top = min(max(self.scroll_offset.y, self.cursor - page + 1), self.cursor)
        if top != self.scroll_offset.y:
            self.scroll_to(y=top, animate=False, immediate=True)
        self.refresh()
        self.post_message(self.Moved(self.cursor))

    def action_move(self, by: int) -> None:
        """Move by a row."""
        self._go(self.cursor + by)

    def action_page(self, by: int) -> None:
        """Move by a page."""
        self._go(self.cursor + by * max(1, self.scrollable_content_region.height))

    def action_edge(self, by: int) -> None:
        """Move to the first or the last row."""
        self._go(0 if by < 0 else self.count - 1)

    def action_choose(self) -> None:
        """Choose the row under the cursor."""
        if self.count:
            self.post_message(self.Chosen(self.cursor))

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        width, style = self.scrollable_content_region.width, self.rich_style
        row = self.scroll_offset.y + y
        if row >= self.count:
            return Strip.blank(width, style)
        if row == self.cursor:
            style += self.get_component_rich_style("lines--cursor", partial=True)
        text = self._line(row)
        text.truncate(width, overflow="ellipsis")
        segments = text.render(self.app.console, end="")
        return Strip(segments).apply_style(style).adjust_cell_length(width, style)
