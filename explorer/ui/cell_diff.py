"""Sends the terminal only the cells that changed: Textual writes every line of every widget that it draws anew.

The one file that leans on Textual's private parts (8.2.8: `App._display` and the updates that its compositor makes).
Whatever it does not know it leaves to Textual, and forgets what the terminal shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from rich.cells import cell_len, get_character_cell_size
from rich.color import ColorSystem
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.app import App
from textual.screen import Screen
from textual.strip import Strip

from explorer.ui.boundary import contained, drawable, link_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType
    from rich.segment import Segment
    from rich.style import Style

Answer = TypeVar("Answer")

SHORT_GAP = 4
"""So many unchanged cells or fewer are sent again: skipping them would take as many bytes."""

MANY_STYLES = 4_096
"""So many styles are remembered; those of links and actions are made anew without end."""

OFF = {
    **{"1": "22", "2": "22", "3": "23", "4": "24", "5": "25", "6": "25", "7": "27", "8": "28", "9": "29"},
    **{"21": "24", "51": "54", "52": "54", "53": "55"},
}
"""The code that ends each attribute (ECMA-48, select graphic rendition); `22` ends two."""

ON_BLANKS = frozenset({"4", "7", "9", "21", "51", "52", "53"})
"""Attributes that show on a blank cell; of any other look a blank shows the background alone."""

_UNKNOWN = "\0"
"""Stands in a cell of which nobody knows what the terminal shows."""


class UnknownUpdateError(Exception):
    """An update that the cells can't follow."""


class Look:
    """A style as the terminal takes it; equal looks of text are one object."""

    __slots__ = ("attributes", "background", "blank", "foreground", "link")

    def __init__(self, attributes: frozenset[str], foreground: str, background: str, link: str = "") -> None:
        """Take the codes that select it."""
        self.attributes = attributes
        """Select-graphic-rendition codes of bold, underline, reverse, …"""
        self.foreground, self.background = foreground, background
        """Codes of the colours; empty is the terminal's own."""
        self.link = link
        """What opens the hyperlink; empty without one."""
        self.blank: Look | None = None
        """The look of a blank in this look: one object for all that differ only in what a blank does not show.

        Itself for the look of blanks; `None` where a blank shows all of it.
        """

    @classmethod
    def of(cls, style: Style | None, colors: ColorSystem) -> Look:
        """Read a style's attributes, colours and link, the colours as `colors` has them."""
        if style is None:
            return cls(frozenset(), "", "")
        attributes = frozenset(filter(None, Strip.render_ansi(style.without_color, colors).split(";")))
        foreground = background = ""
        if style.color is not None:
            foreground = ";".join(style.color.downgrade(colors).get_ansi_codes())
        if style.bgcolor is not None:
            background = ";".join(style.bgcolor.downgrade(colors).get_ansi_codes(foreground=False))
        link = link_of(style)
        return cls(attributes, foreground, background, f"\x1b]8;id={style.link_id};{link}\x1b\\" if link else "")

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two looks the same."""
        return self.attributes, self.foreground, self.background, self.link

    def under(self, blank: Look) -> Look:
        """Return what shows a blank as `blank` and is closest to this look."""
        look = Look(self.attributes - ON_BLANKS, self.foreground, blank.background)
        look.blank = blank
        return look

    def after(self, other: Look) -> str:
        """Return what turns `other` into this look, in as few bytes as that takes."""
        sent = ""
        if other.link != self.link:
            sent = self.link or "\x1b]8;;\x1b\\"
        fresh = [*sorted(self.attributes), self.foreground, self.background]
        whole = ";".join(filter(None, ["0" if any(fresh) else "", *fresh]))
        ended = {OFF.get(code, "0") for code in other.attributes - self.attributes}
        begun = {code for code in self.attributes if code not in other.attributes or OFF.get(code, "0") in ended}
        parts = [*sorted(ended), *sorted(begun)]
        if other.foreground != self.foreground:
            parts.append(self.foreground or "39")
        if other.background != self.background:
            parts.append(self.background or "49")
        if not parts:
            return sent
        part = ";".join(parts)
        return f"{sent}\x1b[{whole if '0' in ended or len(whole) < len(part) else part}m"


class Cells:
    """What the terminal shows, cell by cell. Knows strips of segments, no app."""

    def __init__(self, colors: ColorSystem) -> None:
        """Know nothing yet."""
        self.colors = colors
        self.width = self.height = 0
        self._chars: list[list[str]] = []
        self._looks: list[list[Look]] = []
        self._by_style: dict[Style | None, Look] = {}
        self._by_key: dict[tuple[object, ...], Look] = {}
        self._blanks: dict[str, Look] = {}
        self._plain = self._look(None)
        self._changed: dict[int, tuple[list[str], list[Look]]] = {}

    def forget(self, width: int, height: int) -> None:
        """Start from a terminal of this size that may show anything."""
        self.width, self.height = width, height
        self._chars = [[_UNKNOWN] * width for _ in range(height)]
        self._looks = [[self._plain] * width for _ in range(height)]

    def update(self, strips: Iterator[tuple[int, int, list[Segment]]]) -> str:
        """Take strips, each with its column and line, and return what makes the terminal show them.

        Raises:
            UnknownUpdateError: They can't be followed; what the terminal shows is then no longer known.
        """
        self._changed = {}
        for x, y, segments in strips:
            self._write(x, y, segments)
        sent: list[str] = []
        look = self._plain
        for y in sorted(self._changed):
            before, before_looks = self._changed[y]
            chars, looks = self._chars[y], self._looks[y]
            if chars == before and looks == before_looks:
                continue
            at = -1
            for start, end in self._runs(before, before_looks, chars, looks):
                sent.append(f"\x1b[{y + 1};{start + 1}H" if at < 0 else f"\x1b[{start - at}C")
                begin = start
                while begin < end:
                    now = looks[begin]
                    stop = begin + 1
                    while stop < end and looks[stop] is now:
                        stop += 1
                    if now.blank is now and look.blank is not now:
                        # A blank takes the look of the text behind it, which has to be sent anyway.
                        behind = looks[stop] if stop < end else now
                        now = behind if behind is not now and behind.blank is now else look.under(now)
                    if now is not look and now is not look.blank:
                        sent.append(now.after(look))
                        look = now
                    sent.append("".join(chars[begin:stop]))
                    begin = stop
                at = end
        if look is not self._plain:
            sent.append(self._plain.after(look))
        return "".join(sent)

    def _write(self, x: int, y: int, segments: list[Segment]) -> None:
        if not 0 <= y < self.height:
            raise UnknownUpdateError("a line outside the screen")
        chars, looks = self._chars[y], self._looks[y]
        if y not in self._changed:
            self._changed[y] = chars.copy(), looks.copy()
        begin, last = x, self._plain
        for text, style, control in segments:
            if control:
                raise UnknownUpdateError("a control code among the text")
            look = self._by_style.get(style) or self._look(style)
            blank = look.blank
            if text.isascii() and text.isprintable():
                cells = list(text)
            else:
                lead, cells = _cells(drawable(text))
                if lead:
                    if x == begin:
                        raise UnknownUpdateError("a combining character with nothing before it")
                    at = x - 1 if chars[x - 1] else x - 2
                    chars[at] += lead
                    looks[at] = last  # what was a blank is none any more
            end = x + len(cells)
            if end > self.width:
                raise UnknownUpdateError("a strip that is wider than the screen")
            # Half of a wide character that is written over leaves a blank.
            if cells and not chars[x]:
                chars[x - 1] = " "
            if end < self.width and not chars[end]:
                chars[end] = " "
            chars[x:end] = cells
            if blank is None or " " not in cells:
                looks[x:end] = [look] * len(cells)
            else:
                looks[x:end] = [blank if cell == " " else look for cell in cells]
            x, last = end, look if cells else last

    def _runs(
        self, before: list[str], before_looks: list[Look], chars: list[str], looks: list[Look]
    ) -> Iterator[tuple[int, int]]:
        """Yield the ranges of a line that have to be sent."""
        if not (all(map(_is_single, before)) and all(map(_is_single, chars))):
            # Terminals differ in how they treat half of a wide character: such a line is sent whole.
            before = [_UNKNOWN] * self.width
        start = end = -1
        for x, (old, new, old_look, look) in enumerate(zip(before, chars, before_looks, looks, strict=True)):
            if new == _UNKNOWN or (old == new and old_look is look):
                continue
            if start < 0:
                start = x
            elif (
                x - end > SHORT_GAP
                or _UNKNOWN in chars[end:x]
                or any(each is not looks[end - 1] and each is not looks[end - 1].blank for each in looks[end:x])
            ):
                yield start, end
                start = x
            end = x + 1
        if start >= 0:
            yield start, end

    def _look(self, style: Style | None) -> Look:
        if len(self._by_style) > MANY_STYLES:
            self._by_style.clear()
        look = Look.of(style, self.colors)
        if look.key not in self._by_key and not look.link and not look.attributes & ON_BLANKS:
            blank = self._blanks.setdefault(look.background, Look(frozenset(), "", look.background))
            look.blank = blank.blank = blank
        look = self._by_style[style] = self._by_key.setdefault(look.key, look)
        return look


def _is_single(cell: str) -> bool:
    return len(cell) == 1


def _cells(text: str) -> tuple[str, list[str]]:
    """Return a text's cells, and before them what combines with the text to the left.

    A wide character is followed by an empty cell, a combining one joins the cell before.
    """
    lead, cells = "", list[str]()
    for char in text:
        size = get_character_cell_size(char)
        if size:
            cells += [char, ""][:size]
        elif cells:
            cells[-1 if cells[-1] else -2] += char
        else:
            lead += char
    width = cell_len(text)
    if len(cells) != width:
        # A sequence that is drawn as one, such as a family of emoji: the whole text stands in its first cell.
        return "", [text, *[""] * (width - 1)]
    return lead, cells


class _Ready(CompositorUpdate):
    """An update whose bytes are known already."""

    def __init__(self, text: str) -> None:
        self.text = text

    def render_segments(self, console: Console) -> str:
        """Return the bytes."""
        return self.text


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
    _cursor_sent: object = None

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

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        update = renderable
        shown = self._running and not self._closed and not self._batch_count and not self.is_headless
        if shown and renderable is not None and self._driver is not None:
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
            cells = self._cells = Cells(self.console._color_system or ColorSystem.TRUECOLOR)
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
        cursor = screen.outer_size.clamp_offset(self.cursor_position)
        if not text and cursor == self._cursor_sent:
            return None
        self._cursor_sent = cursor
        return cast("RenderableType", _Ready(text))


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
