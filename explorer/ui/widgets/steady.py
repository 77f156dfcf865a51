"""A text that is updated at every key but seldom changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.geometry import Size
from textual.reactive import Reactive
from textual.widgets import Static

if TYPE_CHECKING:
    from textual.visual import VisualType


def laid_out_once() -> Reactive[Size]:
    """Return a `virtual_size` for a widget whose scrollbar does not come and go; Textual's has all laid out again."""
    return Reactive(Size(0, 0), layout=False)


class Steady(Static):
    """Draws only when its text changes, and has the screen laid out only when that changes its size.

    A layout of the screen takes as long as the rest of a keystroke; Textual's own `Static` asks for one each time.
    """

    virtual_size = laid_out_once()

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        """Show another text."""
        if content == self.content:
            return
        before = self._room() if layout and self.styles.auto_dimensions else None
        super().update(content, layout=False)
        self.clear_cached_dimensions()
        if before is not None and (0 in before or before != self._room()):
            self.refresh(layout=True)

    def _room(self) -> tuple[int, int]:
        """Return the cells that the text takes: its width where that is its own, its height at the width it has."""
        rules, width = self.styles.get_rules(), self.content_size.width
        height = self.visual.get_height(rules, width) if width else 0
        return self.visual.get_optimal_width(rules, width) if self.styles.is_auto_width else width, height
