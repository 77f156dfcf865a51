"""A list of lines with a cursor, each drawn when it is on the screen: 100,000 cost as much as 20."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

if TYPE_CHECKING:
    from textual import events

MOVES: list[BindingType] = [
    Binding("up,k", "move(-1)", show=False),
    Binding("down,j", "move(1)", show=False),
    Binding("pageup,ctrl+b", "page(-1)", show=False),
    Binding("pagedown,ctrl+f", "page(1)", show=False),
    Binding("home,g", "go(0)", show=False),
    Binding("end,G", "go(-1)", show=False),
    Binding("enter", "choose", show=False),
]
"""The keys of every list of lines."""


class LineList(ScrollView, can_focus=True):
    """Lines that the function given to `show` draws; the keys that fold choose a line, as Enter does."""

    BINDINGS: ClassVar[list[BindingType]] = [*MOVES, Binding("space,right,l,left,h", "choose", show=False)]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"lines--cursor", "lines--cursor-idle"}

    @dataclass
    class Moved(Message):
        """The cursor is on another line."""

        line: int
        """The line, counted from 0."""

    @dataclass
    class Chosen(Message):
        """Enter was pressed on a line, or it was clicked."""

        line: int
        """The line."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        """Start empty; `show` fills it."""
        super().__init__(id=id)
        self.cursor = 0
        self._count = 0
        self._draw: Callable[[int, int], Text] = lambda line, width: Text()

    def show(self, count: int, draw: Callable[[int, int], Text]) -> None:
        """Show other lines; the cursor stays where it is, as far as there are lines.

        Args:
            count: How many.
            draw: Draws a line: takes its number and the cells that it may take.
        """
        self._count, self._draw = count, draw
        self.cursor = max(0, min(self.cursor, count - 1))
        self.virtual_size = Size(self.scrollable_content_region.width, count)
        self._into_view()
        self.refresh()
        self.post_message(self.Moved(self.cursor))

    def on_resize(self) -> None:
        """Keep the cursor on the screen."""
        self.virtual_size = Size(self.scrollable_content_region.width, self._count)
        self._into_view()

    def render_line(self, y: int) -> Strip:
        """Draw one line."""
        width = self.scrollable_content_region.width
        line = self.scroll_offset.y + y
        style = self.rich_style
        if line >= self._count:
            return Strip.blank(width, style)
        if line == self.cursor:
            name = "lines--cursor" if self.has_focus else "lines--cursor-idle"
            style += self.get_component_rich_style(name, partial=True)
        text = self._draw(line, width)
        text.truncate(width, overflow="ellipsis")
        strip = Strip(text.render(self.app.console, end="")).apply_style(style)
        return strip.adjust_cell_length(width, style)

    def _into_view(self) -> None:
        page = max(1, self.scrollable_content_region.height)
        top = self.scroll_offset.y
        wanted = min(max(top, self.cursor - page + 1), self.cursor)
        if wanted != top:
            self.scroll_to(y=wanted, animate=False, immediate=True)

    def go(self, line: int) -> None:
        """Put the cursor on a line; -1 is the last."""
        if self._count:
            self.cursor = max(0, min(self._count - 1, line % self._count if line < 0 else line))
            self._into_view()
            self.refresh()
            self.post_message(self.Moved(self.cursor))

    def action_move(self, by: int) -> None:
        """Move up or down."""
        self.go(max(0, self.cursor + by))

    def action_page(self, by: int) -> None:
        """Move a page up or down."""
        self.go(max(0, self.cursor + by * max(1, self.scrollable_content_region.height)))

    def action_go(self, line: int) -> None:
        """Move to the first or the last line."""
        self.go(line)

    def action_choose(self) -> None:
        """Choose the line under the cursor."""
        if self._count:
            self.post_message(self.Chosen(self.cursor))

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse clicks; a click on the cursor's line chooses it."""
        line = self.scroll_offset.y + event.y
        if line < self._count:
            if line == self.cursor:
                self.action_choose()
            else:
                self.go(line)
