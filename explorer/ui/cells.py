"""What the terminal shows, cell by cell, and the few bytes that turn it into what it is to show."""

from __future__ import annotations

from functools import lru_cache, partial
from itertools import groupby, product
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len, get_character_cell_size
from rich.color import ColorSystem
from textual.strip import Strip

from explorer.ui.boundary import drawable, link_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.color import Color
    from rich.segment import Segment
    from rich.style import Style

SHORT_GAP = 4
"""So many unchanged cells or fewer are sent again: skipping them would take as many bytes."""

MOVE_BYTES, ERASE_BYTES = 6, 10
"""About what a move of the cursor takes, and to erase a part of a line."""

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


LEVELS = (0, 95, 135, 175, 215, 255)
"""How much red, green and blue the numbered colours from 16 on have, blue changing fastest (xterm's 256)."""

NUMBERED = {rgb: 16 + place for place, rgb in enumerate(product(LEVELS, repeat=3))}
"""The number of each such colour."""


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
        foreground = "" if style.color is None else _code(style.color, colors, foreground=True)
        background = "" if style.bgcolor is None else _code(style.bgcolor, colors, foreground=False)
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

    def with_(self, other: Look) -> Look | None:
        """Return what draws cells of both looks, if anything does: a blank takes any look with its background."""
        if self is other or self.blank is other:
            return self
        return other if other.blank is self else None


def _code(color: Color, colors: ColorSystem, foreground: bool) -> str:
    """Return what selects a colour: its number where it has one, which takes half the bytes."""
    number = NUMBERED.get(color.triplet) if color.triplet and colors is ColorSystem.TRUECOLOR else None
    if number is not None:
        return f"{38 if foreground else 48};5;{number}"
    return ";".join(color.downgrade(colors).get_ansi_codes(foreground))


@lru_cache(MANY_STYLES)
def selection(look: Look, before: Look) -> str:
    """Return what turns the look `before` into `look`, in as few bytes as that takes."""
    sent = ""
    if before.link != look.link:
        sent = look.link or "\x1b]8;;\x1b\\"
    fresh = [*sorted(look.attributes), look.foreground, look.background]
    whole = ";".join(filter(None, ["0" if any(fresh) else "", *fresh]))
    ended = {OFF.get(code, "0") for code in before.attributes - look.attributes}
    begun = {code for code in look.attributes if code not in before.attributes or OFF.get(code, "0") in ended}
    parts = [*sorted(ended), *sorted(begun)]
    if before.foreground != look.foreground:
        parts.append(look.foreground or "39")
    if before.background != look.background:
        parts.append(look.background or "49")
    if not parts:
        return sent
    part = ";".join(parts)
    return f"{sent}\x1b[{whole if '0' in ended or len(whole) < len(part) else part}m"


class Run(NamedTuple):
    """Cells of a line that are sent as one text in one look."""

    start: int
    """Its first column."""
    end: int
    """The column after its last."""
    look: Look
    """How they are drawn."""


class Drawing:
    """What one update sends: all texts of one look before those of the next, for colours take most bytes."""

    def __init__(self, plain: Look) -> None:
        """Start with nothing; the terminal is in the look `plain` before and after."""
        self._plain = plain
        self._texts: dict[Look, list[tuple[int, int, str, int]]] = {}
        self._blanks: dict[Look | None, list[tuple[int, int, str, int]]] = {}

    def text(self, y: int, run: Run, text: str) -> None:
        """Write a text."""
        pieces = self._blanks if run.look.blank is run.look else self._texts
        pieces.setdefault(run.look, []).append((y, run.start, text, run.end))

    def erase(self, y: int, start: int, end: int, blank: Look) -> None:
        """Erase a part of a line, before any text on that background is written."""
        self._blanks.setdefault(blank, []).append((y, start, f"\x1b[{end - start}X", start))

    def sent(self) -> str:
        """Return the bytes."""
        sent, here = [], (-1, -1)
        look = self._plain
        for each in self._ordered():
            now = look.under(each) if each.blank is each else each
            sent.append(selection(now, look))
            look = now
            for y, x, text, end in (*self._blanks.pop(look.blank, ()), *self._texts.get(look, ())):
                if here != (y, x):
                    sent.append(_move(y, x, same_line=here[0] == y))
                sent.append(text)
                here = y, end
        return "".join((*sent, selection(self._plain, look)))

    def _ordered(self) -> list[Look]:
        """Return the looks, each put where it adds the fewest bytes to the selection of all."""
        backgrounds = {look.blank for look in self._texts}
        looks = [*self._texts, *(blank for blank in self._blanks if blank and blank not in backgrounds)]
        order: list[Look] = []

        def added(look: Look, at: int) -> int:
            before = order[at - 1] if at else self._plain
            if at == len(order):
                return len(selection(look, before))
            after = order[at]
            return len(selection(look, before)) + len(selection(after, look)) - len(selection(after, before))

        for look in looks * 2:  # once more when all have a place: that finds the best order nearly always
            if look in order:
                order.remove(look)
            order.insert(min(range(len(order), -1, -1), key=partial(added, look)), look)
        return order


def _move(y: int, x: int, same_line: bool) -> str:
    """Return what moves the cursor: to a column by its number, for terminals differ in how wide they draw a text."""
    if same_line:
        return f"\x1b[{x + 1}G"
    return f"\x1b[{y + 1};{x + 1}H" if x else f"\x1b[{y + 1}H"


class Cells:
    """What the terminal shows, cell by cell. Knows strips of segments, no app."""

    def __init__(self, colors: ColorSystem, erases: Callable[[], bool] = lambda: False) -> None:
        """Know nothing yet.

        Args:
            colors: The colours that the terminal has.
            erases: Whether what the terminal erases takes the background of the moment; asked when that would help.
        """
        self.colors = colors
        self._erases = erases
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
        drawing = Drawing(self._plain)
        for y, (before, before_looks) in sorted(self._changed.items()):
            if self._chars[y] != before or self._looks[y] != before_looks:
                self._draw(drawing, y, self._differing(y, before, before_looks))
        return drawing.sent()

    def _differing(self, y: int, before: list[str], before_looks: list[Look]) -> list[bool]:
        """Return which cells of a line have to be sent."""
        chars, looks = self._chars[y], self._looks[y]
        if not (all(map(_is_single, before)) and all(map(_is_single, chars))):
            # Terminals differ in how they treat half of a wide character: such a line is sent whole.
            return [char != _UNKNOWN for char in chars]
        return [
            char != _UNKNOWN and (char != was or look is not was_look)
            for char, was, look, was_look in zip(chars, before, looks, before_looks, strict=True)
        ]

    def _draw(self, drawing: Drawing, y: int, differs: list[bool]) -> None:
        """Draw what differs in a line, part by part of one background; blanks are erased where that is shorter."""
        chars, looks = self._chars[y], self._looks[y]

        def background(x: int) -> Look | None:
            return looks[x].blank if chars[x] != _UNKNOWN else None

        for blank, part in groupby(range(self.width), background):
            columns = [x for x in part if differs[x]]
            runs = _runs(columns, chars, looks)
            blanks = [x for x in columns if chars[x] == " "]
            if blank is not None and len(blanks) > ERASE_BYTES and self._erases():
                start, end = blanks[0], blanks[-1] + 1
                words = [x for x in range(start, end) if chars[x] != " "]
                beside = [x for x in columns if not start <= x < end]
                others = _runs(sorted(words + beside), chars, looks)
                if _length(others) + ERASE_BYTES < _length(runs):
                    drawing.erase(y, start, end, blank)
                    runs = others
            for run in runs:
                drawing.text(y, run, "".join(chars[run.start : run.end]))

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


def _runs(columns: list[int], chars: list[str], looks: list[Look]) -> list[Run]:
    """Return the runs that hold these columns of a line; what is between two is sent again where that is shorter."""
    runs: list[Run] = []
    start = end = 0
    look: Look | None = None
    for x in columns:
        joined: Look | None = None
        if look is not None and x == end and looks[x] is look:  # as most are
            joined = look
        elif look is not None and x - end <= SHORT_GAP and _UNKNOWN not in chars[end:x]:
            joined = _joined(look, looks[end : x + 1])
        if joined is None:
            if look is not None:
                runs.append(Run(start, end, look))
            start, joined = x, looks[x]
        end, look = x + 1, joined
    if look is not None:
        runs.append(Run(start, end, look))
    return runs


def _joined(look: Look, looks: list[Look]) -> Look | None:
    """Return what draws cells of all these looks, if anything does."""
    joined: Look | None = look
    for each in looks:
        joined = joined and joined.with_(each)
    return joined


def _length(runs: list[Run]) -> int:
    """Return about how many bytes some runs take, but for their looks."""
    return sum(MOVE_BYTES + run.end - run.start for run in runs)
