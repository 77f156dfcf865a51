"""The last look at text before the terminal has it: names are made visible where they enter, and here once more.

Whatever a widget was given, no character of a strip, a link or the clipboard acts on the terminal. The first filter
(`explorer.core.text.visible`) writes such characters out; here they stand in a layout already, so one that has no
width goes, and one that has becomes a mark as wide.
"""

from __future__ import annotations

import codecs
import sys
import unicodedata
from typing import TYPE_CHECKING

from rich.cells import cell_len, get_character_cell_size, set_cell_size
from rich.segment import Segment
from textual._compositor import ChopsUpdate, InlineUpdate, LayoutUpdate
from textual.strip import Strip

from explorer.core.text import HIDDEN_CATEGORIES, REMEMBERED

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.style import Style

STAND_IN = "\ufffd"
"""Drawn in each cell of a character that a terminal could act on."""


PLAIN = {
    **dict.fromkeys("▾▼▿", "v"),
    **dict.fromkeys("▸▶▹→⇒›", ">"),
    **dict.fromkeys("◂◀←⇐‹", "<"),
    **dict.fromkeys("↑▲", "^"),
    "↓": "v",
    **dict.fromkeys("…·•∙⋯", "."),
    **dict.fromkeys("×✗✘✕", "x"),
    **dict.fromkeys("─━–—−═╌", "-"),
    **dict.fromkeys("│┃║▏▎▍▌▋▊▕▐", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯✔✓⊕", "+"),
    **dict.fromkeys("█▉▇▆▅▄▓", "#"),
    **dict.fromkeys("▃▒", "="),
    **dict.fromkeys("▂▁▔░", "-"),
    **dict.fromkeys("●◆■★", "*"),
    **dict.fromkeys("○◇□", "o"),
    **dict.fromkeys("“”„″", '"'),
    **dict.fromkeys("‘’′", "'"),
    **{"⚠": "!", "Δ": "d", "≤": "<", "≥": ">", "≈": "~", "≠": "#", "∞": "8", "↔": "=", "µ": "u", "²": "2", "√": "/"},
}
"""What stands for a character of the interface's own where the encoding lacks it, one cell wide."""


class Encodable(dict[int, str]):
    r"""What is drawn for each character in an encoding, by its code; looked up when it is first met.

    Python would write `\u25be` instead, six cells for one: all that stands right of it would be elsewhere.
    """

    def __init__(self, encoding: str) -> None:
        """Know no character yet."""
        super().__init__()
        self._encoding = encoding

    def __missing__(self, code: int) -> str:
        char = chr(code)
        try:
            char.encode(self._encoding)
            shown = char
        except UnicodeEncodeError:
            size = get_character_cell_size(char)
            shown = PLAIN.get(char, "?" * size)
        if len(self) < REMEMBERED:
            self[code] = shown
        return shown


def encodable_in(encoding: str) -> Encodable | None:
    """Return what to draw in an encoding; `None` where it has every character."""
    try:
        every = codecs.lookup(encoding).name.startswith("utf")
    except LookupError:
        every = True
    return None if every else Encodable(encoding)


_encodable = encodable_in(getattr(sys.__stderr__, "encoding", None) or "utf-8")
"""Textual draws on standard error, as Python opened it."""


def drawable(text: str) -> str:
    """Return text as wide as it was, without characters that a terminal could act on or that it can't be sent.

    Cheap: most text has none.
    """
    if _encodable is None or text.isascii():
        return _drawable(text)
    width = cell_len(text)
    sent = _drawable(text).translate(_encodable)
    return sent if cell_len(sent) == width else set_cell_size(sent, width)


def _drawable(text: str) -> str:
    if text.isprintable():
        return text
    drawn = "".join(
        STAND_IN * get_character_cell_size(char) if unicodedata.category(char) in HIDDEN_CATEGORIES else char
        for char in text
    )
    # Some draw nothing themselves and make one of two characters: a family of emoji falls apart without its joiners.
    width = cell_len(text)
    return drawn if cell_len(drawn) == width else set_cell_size(drawn, width)


def link_of(style: Style | None) -> str:
    """Return the address that a style links to; nothing where it could end the sequence that carries it."""
    link = style.link if style is not None else None
    return link if link and link.isprintable() else ""


def contained(update: RenderableType | None) -> RenderableType | None:
    """Return an update of Textual's with nothing but drawable text in it, whichever of its three kinds it is."""
    if type(update) is LayoutUpdate:
        return LayoutUpdate([[_strip(strip) for strip in line] for line in update.strips], update.region)
    if type(update) is ChopsUpdate:
        chops = [{x: strip and _strip(strip) for x, strip in line.items()} for line in update.chops]
        return ChopsUpdate(chops, update.spans, update.chop_ends)
    if type(update) is InlineUpdate:
        return InlineUpdate([_strip(strip) for strip in update.strips], update.clear)
    return update


def _strip(strip: Strip) -> Strip:
    return Strip([_segment(segment) for segment in strip])


def _segment(segment: Segment) -> Segment:
    text, style, _ = segment
    if style is not None and style.link and not link_of(style):
        style = style.update_link(None)
    return Segment(drawable(text), style)
