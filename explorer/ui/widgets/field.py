"""A field of one line, as every screen has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widgets import Input
from textual.widgets.input import Selection

from explorer.ui.paint import fit
from explorer.ui.widgets.steady import laid_out_once

if TYPE_CHECKING:
    from collections.abc import Callable


class Field(Input):
    """A one-line field; its cursor stands still, for a blinking one sends bytes over SSH for ever."""

    virtual_size = laid_out_once()

    def __init__(
        self, value: str, *, placeholder: str = "", classes: str = "", changed: Callable[[], None] | None = None
    ) -> None:
        """Start with `value` and the cursor at its end.

        Args:
            value: The text.
            placeholder: What stands there where there is none.
            classes: Names for the stylesheet.
            changed: Called with each change at once: what a message starts is drawn a frame after the letter.
        """
        self._changed = changed
        super().__init__(value, placeholder=placeholder, compact=True, select_on_focus=False, classes=classes)
        self.cursor_blink = False

    def watch_value(self) -> None:
        """Tell of the change."""
        if self._changed is not None and self.is_attached:
            self._changed()

    def offer(self, text: str, *, selected: bool = False) -> None:
        """Show the field with a text to take or change; its cursor stands at the end.

        Args:
            text: What is offered.
            selected: Whether typing replaces it, unless an arrow key comes first.
        """
        self.display = True
        self.value = text
        self.selection = Selection(0 if selected else len(text), len(text))
        self.focus()

    def on_focus(self) -> None:
        """Show the part of the text where the cursor stands."""
        self._show_cursor()

    def on_resize(self) -> None:
        """Show that part again: another may fit now."""
        if self.has_focus:
            self._show_cursor()

    def _show_cursor(self) -> None:
        at = cell_len(self.value[: self.cursor_position])
        self.scroll_to_region(Region(at, 0, 1, 1), force=True, animate=False)

    def render_line(self, y: int) -> Strip:
        """Draw the text; while another has the focus, what is cut ends in `…`."""
        width = self.scrollable_content_region.width
        if y or self.has_focus or cell_len(self.value) <= width:
            return super().render_line(y)
        return Strip([Segment(fit(self.value, width))]).apply_style(self.rich_style)

    def update_node_styles(self, animate: bool = True) -> None:
        """Look the styles up, once there is a place for them: `Input` asks for it twice before it is mounted."""
        if self.is_attached:
            super().update_node_styles(animate)
