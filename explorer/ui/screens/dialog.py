"""The base of all dialogs: a titled box, closed by Esc, q or the key that opened it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from explorer.ui.paint import keys_line

if TYPE_CHECKING:
    from textual import events

    from explorer.ui.keys_inside import Place


class Body(VerticalScroll, can_focus=True):
    """The scrolling part of a dialog; `j` and `k` scroll it too."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", show=False),
        Binding("k", "scroll_up", show=False),
    ]

    class Resized(Message):
        """The body has another size: what was drawn for its width has to be drawn again."""

    def on_resize(self) -> None:
        """Post the message."""
        self.post_message(self.Resized())


Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer | None], Generic[Answer]):
    """A box over the main screen; closed by Esc or `q` it answers nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "close", show=False),
        Binding("question_mark,f1", "app.help", "help", show=False),
    ]
    HEADING = ""
    """Title of the box."""
    HELP_ON: ClassVar[Place | None] = None
    """The screen whose keys the help begins with; `None` where this one has no section of its own."""
    FOOT = "Esc closes"
    """The keys that work in it; they stand in place of those of the screen below, which do not work now."""

    def compose(self) -> ComposeResult:
        """Put what `content` yields into the box."""
        with Vertical(classes="dialog"):
            yield Static(Text(f" {self.HEADING}", "bold"), classes="dialog-title")
            with Body(classes="dialog-body"):
                yield from self.content()
            yield from self.below()
        yield Static(Text(f" {self.FOOT}", "dim"), classes="dialog-foot")

    def on_mount(self) -> None:
        """Show the keys that scroll, if the body holds more than the screen shows."""
        self.call_after_refresh(self._tell_scrolling)

    def on_resize(self, event: events.Resize) -> None:
        """Check again whether the whole body is shown."""
        self.call_after_refresh(self._tell_scrolling)

    def _tell_scrolling(self) -> None:
        body = self.query(".dialog-body")
        if self.FOOT == Dialog.FOOT and body:
            keys = [self.FOOT, "↑↓ PgUp PgDn scroll"] if body.first().max_scroll_y else [self.FOOT]
            foot = self.query_one(".dialog-foot", Static)
            foot.update(Text(keys_line(keys, foot.size.width), "dim", no_wrap=True))

    def tell_foot(self, text: str) -> None:
        """Show other keys below the box."""
        self.query_one(".dialog-foot", Static).update(Text(f" {text}", "dim"))

    def content(self) -> list[Widget]:
        """Return what the box holds."""
        raise NotImplementedError

    def below(self) -> list[Widget]:
        """Return what stands under the scrolling part."""
        return []
