r"""Cuts what the terminal sends into keys, reports and pastes before Textual's parser sees them.

`KeyboardCutter` is quick, and made for the thread that reads; `KeyboardParser` has Textual's parser make messages of
what was cut, which takes some 50 times as long, and for a flood seconds (see `explorer.ui.typed`).

That parser (Textual 8.2.8, `_xterm_parser.py`) also looks for keys in pasted text, and takes the characters of a
sequence that it does not know, or that is cut in the middle, for keys. So what is pasted, or answered by the
terminal, would act: `ESC`, ` ew` and a newline in a paste write a file. Here it is only given sequences that are
whole, one at a time, and what it does not know is dropped. Leans on its private parts: the generator `_gen`, and
`_timeout_time`.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, TypeAlias

from textual import constants, events
from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START, XTermParser
from textual.keys import Keys

from explorer.ui.screen_size import bounded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textual.message import Message

Cut: TypeAlias = str | events.Paste
"""A sequence, or a paste, which is a message already."""

NO_CHARACTER = "\ufffd"
"""What the decoder puts in the place of bytes that are no UTF-8."""

ESCAPE_SECONDS = min(constants.ESCAPE_DELAY, 1.0)
"""How long after an ESC what belongs to it may come; then it was the key Esc, or Alt with the character behind it."""

SEQUENCE_SECONDS = 1.0
"""How long a sequence that is not whole is waited for: no person types one, and a slow link cuts them."""

LONGEST_KNOWN = 32
"""Characters of the longest sequence that Textual's parser looks at."""

LONGEST_SEQUENCE = 8192
"""Characters of a sequence that are kept until it is whole; of a longer one the beginning alone."""

LONGEST_PASTE = 8192
"""Characters of a paste that are taken: some hundred names. The groups are judged by each term of a field, and the
time for that grows with the square of their number: at 32,768 characters no key is looked at for seconds."""

TOKEN = re.compile(
    r"""
    \x1b\[200~                                             # a paste begins
    | \x1b(?=\x1b)                                         # the key Esc, and another sequence after it
    | \x1b\[\[ (?: [^\x00-\x1f] | (?=[\x00-\x1f]) )        # a function key of Linux's console
    | \x1b\[M (?: [^\x00-\x1f]{3} | [^\x00-\x1f]{0,2}(?=[\x00-\x1f]) )  # a report of old terminals' mouse
    | \x1b\[(?![\[M]) [ -?]* (?: [@-~] | (?=[^ -~]) )      # a control sequence (ECMA-48, 5.4), or what is left of one
    | \x1bO (?: [^\x00-\x1f] | (?=[\x00-\x1f]) )           # a key of the keypad
    | \x1b[P\]X^_] [^\x00-\x07\x0e-\x1f]*                  # a string (ECMA-48, 5.6), up to its end or another control
        (?: \x07 | \x1b\\ | (?=[\x00-\x06\x0e-\x1a\x1c-\x1f]|\x1b[^\\]) )
    | \x1b [^\x1b\[OP\]X^_]                                # Alt with a character
    | [^\x1b]
    """,
    re.VERBOSE | re.DOTALL,
)
"""What is whole; where it does not match, more is to come."""

TYPED = re.compile(r"\x1b[OP\]X^_]?")
"""What a sequence begins with and a person may type: Esc, or Alt with a character."""

BEHIND_ESCAPE = re.compile(r"\[[ -?]*[@-~]")
"""What is a control sequence if it comes in one read after an ESC: the link paused there, nobody types that fast."""

ALT_KEYS = {"alt+b": "ctrl+left", "alt+f": "ctrl+right", "alt+backspace": "ctrl+w"}
"""What Textual makes of Alt with b, f and Backspace from old terminals, for these by kitty's keyboard protocol."""

LEAVES = re.compile(rf"{NO_CHARACTER}?(?:[\x03\x11\x1b]|\x1b\[(?:27|99|113|574[45]\d)(?:;\d+)?u)+")
"""Ctrl+C, Ctrl+Q and Esc, as old terminals send them, and new ones with kitty's keyboard protocol, and Ctrl too.

Before them what was left of a character that is not whole.
"""

LEAVE_SECONDS = 0.5
"""For how long nothing but those keys must come until they end a paste whose end was lost.

No pause alone ends one: behind a link that stalled, the rest of the paste would be keys. A read that has only such
keys is no part of a paste, but by the chance that it was cut just there; then the rest follows sooner.
"""

NOT_PASTED = re.compile(rf"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{NO_CHARACTER}]")
"""Characters that a paste loses: controls, but for tabs and the ends of lines, and what is no character."""


class KeyboardCutter:
    """Cuts what was read: yields sequences that are whole, or that nothing follows, and pastes."""

    def __init__(self) -> None:
        """Have read nothing yet."""
        self._held = ""
        """What is not whole yet; of a paste what may be the beginning of its end."""
        self._escaped = False
        """Whether what was read last was an ESC that nothing followed."""
        self._read_at = 0.0
        self._paste: str | None = None
        """What is pasted so far; `None` outside of a paste."""
        self._leaves = ""
        """The keys that may end the paste, and that came last."""
        self._leaves_since = 0.0

    def feed(self, data: str) -> Iterator[Cut]:
        """Cut what was read."""
        self._read_at = time.monotonic()
        if self._paste is not None:
            self._note_leaving(data)
        if self._escaped and BEHIND_ESCAPE.match(data):
            data = f"\x1b{data}"
        self._escaped = False
        data = self._held + data
        self._held = ""
        at = 0
        while at < len(data):
            if self._paste is not None:
                text, end, data = data[at:].partition(BRACKETED_PASTE_END)
                at = 0
                yield from self._pasted(text, whole=bool(end))
            elif (token := TOKEN.match(data, at)) is None:
                # Of a sequence without an end only how it begins is kept, made one that is no key.
                data = data[at:]
                self._held = data if len(data) <= LONGEST_SEQUENCE else f"{data[:2]}?"
                return
            else:
                at = token.end()
                if token[0] == BRACKETED_PASTE_START:
                    self._paste, self._leaves = "", ""
                else:
                    yield token[0]

    def tick(self) -> Iterator[Cut]:
        """Take note of the time, when something was read and when nothing was."""
        now = time.monotonic()
        if self._paste is not None:
            if self._leaves and now >= self._leaves_since + LEAVE_SECONDS:
                self._paste, self._held = None, ""
                yield from self.feed(self._leaves)
        elif self._held and now >= self._read_at + (
            ESCAPE_SECONDS if TYPED.fullmatch(self._held) else SEQUENCE_SECONDS
        ):
            sequence, self._held = self._held, ""
            self._escaped = sequence == "\x1b"
            yield sequence

    def _note_leaving(self, data: str) -> None:
        if LEAVES.fullmatch(data) is None:
            self._leaves = ""
            return
        if not self._leaves:
            self._leaves_since = self._read_at
        self._leaves = (self._leaves + data)[:LONGEST_SEQUENCE]

    def _pasted(self, text: str, *, whole: bool) -> Iterator[Cut]:
        """Keep a part of a paste; pass on what was kept where that was the last."""
        assert self._paste is not None, "a paste has begun"
        if not whole:
            cut = max(0, len(text) - len(BRACKETED_PASTE_END) + 1)
            text, self._held = text[:cut], text[cut:]
        self._paste += NOT_PASTED.sub("", text)[: LONGEST_PASTE - len(self._paste)]
        if whole:
            if self._paste:
                yield events.Paste(self._paste)
            self._paste = None


class KeyboardParser(XTermParser):
    """Textual's parser, given one whole sequence at a time."""

    def understood(self, sequence: Cut) -> Iterator[Message]:
        """Yield what Textual makes of a sequence; nothing if it knows none."""
        if isinstance(sequence, events.Paste):
            yield sequence
            return
        if len(sequence) > LONGEST_KNOWN or "\x1b" in sequence[1:]:  # in the end of a string
            return
        for message in super().feed(sequence):
            if isinstance(message, events.Resize):
                yield events.Resize.from_dimensions(bounded(*message.size), message.pixel_size)
            else:
                yield message
        if self._timeout_time is None:
            return
        if len(sequence) <= 2:  # Esc, or Alt with a character
            self._timeout_time = 0.0
            yield from super().tick()
        else:
            self._gen = self.parse(self._tokens.append)
            self._awaiting = next(self._gen)
            self._timeout_time = None

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterator[events.Key]:
        """Take numbers of keys that no character has for no key, and nothing typed with Alt for text."""
        alt = alt or len(sequence) == 2  # the ESC is the other character
        try:
            for key in super()._sequence_to_key_events(sequence, alt):
                if not (alt and key.is_printable):
                    yield events.Key(ALT_KEYS.get(key.key, key.key), key.character)
        except (ValueError, OverflowError):  # of `chr` and `int`
            yield events.Key(Keys.Ignore, sequence)

    def parse_mouse_code(self, code: str) -> Message | None:
        """Take no report for true whose place can't be told: some terminals report that they have no pixels."""
        try:
            return super().parse_mouse_code(code)
        except ZeroDivisionError:
            return None
