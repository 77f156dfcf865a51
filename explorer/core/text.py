"""Text for people: makes control characters of strangers' text visible, and writes counts, bytes and shapes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that a terminal may act on or not show: controls, format and bidi marks, lone
surrogates, private use, unassigned, and the line and paragraph separators."""

DEFAULT_IGNORABLE = frozenset("\u115f\u1160\u17b4\u17b5\u3164\uffa0\u034f") | {
    chr(code) for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), *range(0x180B, 0x1810))
}
"""Characters of other categories that draw nothing (Unicode's Default_Ignorable_Code_Point)."""

UNKNOWN = "–"
"""What stands for a fact or figure that is not known."""

MAX_NAME = 120
"""Most characters of a name that a sentence quotes: a stranger's file may have names of any length."""

QUOTED = 300
"""Most characters of an exception's text that an error line quotes."""


def visible(text: str) -> str:
    r"""Return `text` with every character that a terminal could act on, or not show, written out.

    ESC becomes the four characters `\x1b`, a newline `\n`, U+202E `\u202e`. Called once, where text enters
    from a file, a hub or an exception; names are shown, matched and exported in this form.
    """
    if text.isascii() and text.isprintable():
        return text
    return text.translate(_SHOWN)


class _Shown(dict[int, str]):
    """What each character is shown as, by its code; looked up when it is first met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        shown = _escape(char) if _is_hidden(char) else char
        if len(self) < REMEMBERED:
            self[code] = shown
        return shown


REMEMBERED = 10_000
"""Most characters whose shown form is remembered: a stranger's text may have all 1.1 million."""

_SHOWN = _Shown()

_ACTING = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]"
)
"""Characters that a terminal may act on, but for the newline."""


def harmless(text: str) -> str:
    r"""Return whole lines of text on their way out, with every character that a terminal could act on written out.

    The second filter: what entered was made `visible`, so this finds nothing unless that was forgotten somewhere.
    Always `\u001b`, never `\x1b`: the text may be JSON.
    """
    return _ACTING.sub(lambda match: _escape_long(match[0]), text)


def harmless_line(text: str) -> str:
    """Return `harmless` text in one line."""
    return harmless(text).replace("\n", "\\n")


def _escape_long(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _is_hidden(char: str) -> bool:
    return unicodedata.category(char) in HIDDEN_CATEGORIES or char in DEFAULT_IGNORABLE


def _escape(char: str) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char)
    if short:
        return short
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return _escape_long(char)


def short_count(count: int) -> str:
    """Write a count in at most six characters: `768`, `38.6M`, `1.24B`, `671B`.

    Three significant digits above a thousand; units are powers of 1,000 (K, M, B, T).
    """
    return str(count) if count < 1000 else _in_units(count, 1000, ("K", "M", "B", "T", "P", "E"))


def short_bytes(nbytes: int | None) -> str:
    """Write a size as people read memory: `512 B`, `146 MiB`, `1.24 GiB`; unknown is `–`."""
    if nbytes is None:
        return UNKNOWN
    if nbytes < 1024:
        return f"{nbytes} B"
    return _in_units(nbytes, 1024, (" KiB", " MiB", " GiB", " TiB", " PiB", " EiB"))


def _in_units(amount: int, base: int, units: Sequence[str]) -> str:
    """Write an amount of `base` or more in the largest unit that leaves three digits, each `base` times the last."""
    value, power = float(amount) / base, 0
    # 999.5 would be written 1000, so it belongs to the next unit.
    while value >= 999.5 and power < len(units) - 1:
        value, power = value / base, power + 1
    return f"{_three_digits(value)}{units[power]}"


_UNITS = {"": 2**30, "b": 1} | {
    f"{letter}{tail}": base**power
    for power, letter in enumerate("kmgt", 1)
    for tail, base in (("", 1024), ("ib", 1024), ("b", 1000))
}


def parse_bytes(text: str) -> int:
    """Read a size of memory: `80GiB`, `24 GB`, `512 MiB`; a bare number is GiB, as people say "an 80".

    Raises:
        ValueError: It is not a positive size.
    """
    compact = text.strip().lower().replace(" ", "").replace(",", "")
    digits = compact.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = compact[len(digits) :]
    try:
        number = float(digits)
    except ValueError:
        number = -1.0
    if unit not in _UNITS or not 0 < number < 1e9:
        raise ValueError(f"{text.strip()!r} is no size of memory; 80GiB is one")
    return int(number * _UNITS[unit])


def _three_digits(value: float) -> str:
    if value < 9.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def shape_text(shape: Sequence[int] | None) -> str:
    """Write a shape as `50265 × 768`; a scalar is `scalar`, an unknown shape `?`."""
    if shape is None:
        return "?"
    return " × ".join(map(str, shape)) if shape else "scalar"


def share_text(part: int, whole: int) -> str:
    """Write `part` of `whole` in percent with two decimals; what is not zero never reads as `0.00 %`."""
    if not whole:
        return UNKNOWN
    percent = 100 * part / whole
    if part and percent < 0.005:
        return "< 0.01 %"
    if part != whole and percent >= 99.995:
        return "> 99.99 %"
    return f"{percent:.2f} %"


def cut(text: str, length: int = QUOTED) -> str:
    """Return a text of at most `length` characters; an ellipsis ends one that was longer."""
    return text if len(text) <= length else text[: length - 1] + "…"


def shortened(text: str, length: int) -> str:
    """Return a text of at most `length` characters; an ellipsis stands in the middle of one that was longer."""
    return text if len(text) <= length else f"{text[: length // 2]}…{text[1 - length // 2 :]}"


def quoted(name: str) -> str:
    """Return a name as it stands in a sentence: cut if it is long, quoted if it is blank or has spaces around it."""
    shown = shortened(visible(name), MAX_NAME)
    return f'"{shown}"' if shown != shown.strip() or not shown.strip(".") else shown


def some_names(names: Sequence[str], most: int) -> str:
    """Write the first names of a list, and how many more there are."""
    more = len(names) - most
    return ", ".join(map(quoted, names[:most])) + (f" and {more:,} more" if more > 0 else "")


def sentence(text: str) -> str:
    """Return the reason of an error as a sentence by itself."""
    return f"{text[:1].upper()}{text[1:]}."


def plural(count: int, noun: str) -> str:
    """Write `1 tensor`, `2 tensors`, `124,697,433 parameters`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}{'es' * noun.endswith('s') or 's'}"
