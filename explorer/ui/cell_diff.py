"""Sends the terminal only the cells that changed: Textual writes every line of every widget that it draws anew.

Leans on private parts of Textual 8.2.8 as only `driver` does too: `App._display` and its compositor's updates.
Whatever it does not know it leaves to Textual, and forgets what the terminal shows.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, TypeVar

from rich.color import ColorSystem
from rich.segment import Segment
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.app import App
from textual.screen import Screen
from textual.widgets import Input

from explorer.ui.boundary import contained
from explorer.ui.cells import Cells, UnknownUpdateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from explorer.ui.output import Output

Answer = TypeVar("Answer")


class _Ready:
    """An update whose bytes are known already."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Segment(self.text)


class WholeScreen(Screen[None]):
    """A screen that is not drawn while updates are held back: nothing of it would be sent."""

    def _compositor_refresh(self) -> None:
        if not self.app._batch_count:
            super()._compositor_refresh()


class CellDiffApp(App[Answer]):
    """An app that sends only what changed."""

    _cells: Cells | None = None
    _whole: LayoutUpdate | None = None
    """What was sent as it is and is not in `_cells` yet."""
    output: Output | None = None
    """What the driver writes to, while it has the terminal."""
    _cursor_sent: tuple[int, int] | None = None
    """Where the terminal's cursor was left for an input method."""

    async def on_mount(self) -> None:
        """Know that another program had the terminal when this one is resumed."""
        self.app_resume_signal.subscribe(self, lambda _: self.action_redraw())

    def on_resize(self) -> None:
        """A terminal that is resized shows nobody knows what."""
        self._cells = None

    def action_redraw(self) -> None:
        """Send the whole screen again."""
        self._cells = None
        self.screen.refresh(layout=True)

    def catch_up(self) -> None:
        """Draw what could not be drawn while the terminal was behind."""
        if self._running and self.screen_stack:
            self.screen.refresh()

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        update = renderable
        shown = self._running and not self._closed and not self._batch_count and not self.is_headless
        if shown and renderable is not None and self._driver is not None:
            if self.output is not None and self.output.full():
                return
            try:
                if self._driver.is_inline:
                    raise UnknownUpdateError("not the whole screen is ours")
                update = self._difference(screen, renderable)
            except Exception:
                # Private parts that changed, or an update that is none of the two: Textual knows what to do with it.
                self._cells, update = None, contained(renderable)
        super()._display(screen, update)

    def _difference(self, screen: Screen[object], renderable: RenderableType) -> RenderableType | None:
        """Return what is left of an update; `None` if the terminal shows it all already."""
        width, height = self.size
        cells = self._cells
        if cells is None or (cells.width, cells.height) != (width, height):
            cells = self._cells = Cells(self.console._color_system or ColorSystem.TRUECOLOR, erases)
            cells.forget(width, height)
            if type(renderable) is LayoutUpdate:
                # There is nothing to compare it with: it is looked at once it is drawn.
                self._whole = renderable
                return contained(renderable)
        elif self._whole is not None:
            cells.update(_of_layout(self._whole))
        self._whole = None
        if type(renderable) is LayoutUpdate:
            text = cells.update(_of_layout(renderable))
        elif type(renderable) is ChopsUpdate:
            text = cells.update(_of_chops(renderable))
        else:
            raise UnknownUpdateError(type(renderable).__name__)
        if isinstance(self.focused, Input):
            # Where an input method shows what is being typed; the terminal's own cursor is hidden everywhere.
            x, y = screen.outer_size.clamp_offset(self.cursor_position)
            if text or (x, y) != self._cursor_sent:
                text += f"\x1b[{y + 1};{x + 1}H"
            self._cursor_sent = x, y
        return _Ready(text) if text else None


@cache
def erases() -> bool:
    """Whether the terminal's description says that what is erased takes the background of the moment (`bce`)."""
    try:
        import curses  # noqa: PLC0415 - not read before the first frame; not every Python has it
    except ImportError:
        return False
    try:
        curses.setupterm(fd=2)  # where Textual draws
    except curses.error:
        return False
    return curses.tigetflag("bce") > 0 and curses.tigetstr("ech") == b"\x1b[%p1%dX"


def _of_layout(update: LayoutUpdate) -> Iterator[tuple[int, int, list[Segment]]]:
    """Yield the strips of a whole screen, as `LayoutUpdate.render_segments` writes them."""
    for y, line in enumerate(update.strips, update.region.y):
        x = update.region.x
        for strip in line:
            yield x, y, list(strip)
            x += strip.cell_length


def _of_chops(update: ChopsUpdate) -> Iterator[tuple[int, int, list[Segment]]]:
    """Yield the strips of a part of the screen, as `ChopsUpdate.render_segments` writes them."""
    for y, x1, x2 in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is None or x > x2 or end <= x1:
                continue
            whole = x2 > x >= x1 and end <= x2
            yield x, y, list(strip if whole else strip.crop(0, min(end, x2) - x))
