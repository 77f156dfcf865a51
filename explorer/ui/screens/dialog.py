"""What the screens that lie over the main one have in common: a titled box, closed by Esc, q or their own key."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static


class Body(VerticalScroll, can_focus=True):
    """The scrolling part of a dialog; `j` and `k` scroll it too."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", show=False),
        Binding("k", "scroll_up", show=False),
    ]

    class Resized(Message):
        """It has another size: what is drawn to its width is to be drawn anew."""

    def on_resize(self) -> None:
        """Say so."""
        self.post_message(self.Resized())


Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer | None], Generic[Answer]):
    """A box over the main screen; closed by Esc or `q` it answers nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss", "close", show=False)]
    HEADING = ""
    """Title of the box."""
    FOOT = "Esc closes"
    """Line under the box: the keys that work in it."""

    def compose(self) -> ComposeResult:
        """Put what `content` yields into the box."""
        with Vertical(classes="dialog"):
            yield Static(Text(f" {self.HEADING}", "bold"), classes="dialog-title")
            with Body(classes="dialog-body"):
                yield from self.content()
            yield from self.below()
            yield Static(Text(f" {self.FOOT}", "dim"), classes="dialog-foot")

    def content(self) -> list[Widget]:
        """Return what the box holds."""
        raise NotImplementedError

    def below(self) -> list[Widget]:
        """Return what stands under the scrolling part."""
        return []
