"""What the terminal sends: keys are keys, and what is pasted, answered or cut off is none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fakes import make_app, running
from textual import events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import XTermParser
from textual.message import Message

from explorer.core.param import Model
from explorer.ui import keyboard
from explorer.ui.keyboard import LONGEST_PASTE, LONGEST_SEQUENCE, KeyboardCutter, KeyboardParser
from explorer.ui.screen_size import HIGHEST, WIDEST

START, END = "\x1b[200~", "\x1b[201~"


class Keyboard:
    """A cutter, a parser, a clock, and what came of what was read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._now = 0.0
        monkeypatch.setattr(keyboard, "time", SimpleNamespace(monotonic=lambda: self._now))
        self._cutter = KeyboardCutter()
        self._parser = KeyboardParser()
        self.messages: list[Message] = []

    def read(self, *reads: str, pause: float = 0.0) -> list[str]:
        """Read, with a pause after each; return all keys and pastes so far."""
        for data in reads:
            cuts = list(self._cutter.feed(data)) if data else []
            self._now += pause
            for cut in (*cuts, *self._cutter.tick()):
                self.messages += self._parser.understood(cut)
        return [
            message.key if isinstance(message, events.Key) else f"pasted {message.text!r}"
            for message in self.messages
            if isinstance(message, (events.Key, events.Paste))
        ]

    @property
    def kept(self) -> int:
        """Characters that are waited with."""
        return len(self._cutter._held) + len(self._cutter._paste or "")


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Keyboard:
    return Keyboard(monkeypatch)


# --- keys -----------------------------------------------------------------------------------------------------------


def test_every_key_that_textual_knows_is_that_key(keys: Keyboard) -> None:
    for sequence in [*ANSI_SEQUENCES_KEYS, *(f"\x1b{chr(code)}" for code in range(0x20, 0x7F)), "\x1bé"]:
        textual = XTermParser()
        wanted = list(textual.feed(sequence))
        if textual._timeout_time is not None:
            textual._timeout_time = 0.0  # nothing follows
            wanted += textual.tick()
        if sequence[0] == "\x1b" and len(sequence) == 2:  # Alt types nothing
            wanted = [key for key in wanted if isinstance(key, events.Key) and not key.is_printable]
        keys.messages.clear()
        keys.read(sequence, pause=1.0)
        assert list(map(repr, keys.messages)) == list(map(repr, wanted)), sequence


def test_alt_with_a_character_types_nothing_and_edits_as_it_does_in_a_shell(keys: Keyboard) -> None:
    assert keys.read("a", "\x1bx", "\x1b/\x1b1\x1b ", "\x1b\x1bj", pause=1.0) == ["a", "escape"]
    keys.messages.clear()
    assert keys.read("\x1bb", "\x1bf", "\x1b\x7f") == ["ctrl+left", "ctrl+right", "ctrl+w"]
    keys.messages.clear()
    kitty = keys.read("\x1b[98;3u", "\x1b[102;131u", "\x1b[127;3u", "\x1b[120;3u")  # 131: with Num Lock
    assert kitty == ["ctrl+left", "ctrl+right", "ctrl+w", "alt+x"]


def test_escape_is_a_key_as_soon_as_nothing_can_follow(keys: Keyboard) -> None:
    assert keys.read("\x1b") == []
    assert keys.read("\x1b", pause=keyboard.ESCAPE_SECONDS) == ["escape", "escape"]


# --- pastes ---------------------------------------------------------------------------------------------------------

HOSTILE = "a\x1b[31m\x1b ew\r\tq\x03\x1b[A\x9b\ufffd"


@pytest.mark.parametrize("pause", [0.0, 0.9])
def test_a_paste_is_text_wherever_the_link_cuts_it_or_pauses(monkeypatch: pytest.MonkeyPatch, pause: float) -> None:
    sent = START + HOSTILE + END
    for cut in range(len(sent) + 1):
        found = Keyboard(monkeypatch).read(sent[:cut], sent[cut:], pause=pause)
        if cut == 1 and pause:
            assert found.pop(0) == "escape", "that one can't be told from the key"
        assert found == [r"pasted 'a[31m ew\r\tq[A'"], cut


def test_no_pause_ends_a_paste(keys: Keyboard) -> None:
    keys.read(f"{START}x", "\x03y", "\x03", pause=0.4)
    assert keys.read(" ew\r", pause=1000) == []
    assert keys.read(END) == [r"pasted 'xy ew\r'"]


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ("\x03", "ctrl+c"),
        ("\ufffd\x03", "ctrl+c"),
        ("\x11", "ctrl+q"),
        ("\x1b", "escape"),
        ("\x1b[57442;5u\x1b[99;5u", "ctrl+c"),
    ],
)
def test_a_paste_whose_end_is_lost_is_left_by_a_key_alone(keys: Keyboard, sent: str, key: str) -> None:
    assert keys.read(f"{START}rm", "q", pause=9) == []
    assert keys.read(sent, sent, "", "", pause=0.3)[-1] == key
    assert keys.read("q")[-1] == "q"
    assert not any(isinstance(message, events.Paste) for message in keys.messages)


def test_an_end_without_a_beginning_is_nothing(keys: Keyboard) -> None:
    assert keys.read(END, "q") == ["q"]


def test_what_has_no_end_is_bounded(keys: Keyboard) -> None:
    for begin, most in ((START, LONGEST_PASTE), ("\x1b]", LONGEST_SEQUENCE), ("\x1b[", LONGEST_SEQUENCE)):
        keys.read(begin, *["1" * 4096] * 40)
        assert 0 < keys.kept <= most + len(END)
        keys.read(END, "\x03")
    assert keys.read()[1:] == ["ctrl+c"] * 3


async def test_a_paste_that_is_cut_is_told(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.press("slash")
        for length in (LONGEST_PASTE - 1, LONGEST_PASTE):
            ui.app.post_message(events.Paste("a" * length))
            await ui.settle()
            assert ("Of what is pasted, 8,192 characters are taken." in ui.text) == (length == LONGEST_PASTE)


# --- what is no key -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        "\x1b[?62;22c",
        "\x1b[>0;276;0c",
        "\x1b[?1;2$y",
        "\x1b[1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16w",
        "\x1b[8;24;80t",
        "\x1b]11;rgb:0000/0000/0000\x07",
        "\x1b]52;c;cXF3ZQ==\x1b\\",
        "\x1bP1+r544e=71\x1b\\",
        "\x1b_Gi=31;OK\x1b\\",
        "\x1b^q\x1b\\",
        "\x1b[<0;-5;10M",
        "\x1b[99999999u",
    ],
)
def test_what_a_terminal_answers_is_no_key(monkeypatch: pytest.MonkeyPatch, sent: str) -> None:
    assert Keyboard(monkeypatch).read(sent, "x") == ["x"]
    for cut in range(3, len(sent)):
        assert Keyboard(monkeypatch).read(sent[:cut], sent[cut:], "x", pause=0.9) == ["x"], cut
        assert Keyboard(monkeypatch).read(sent[:cut], pause=2.0) == [], "nor is what is cut off"
        assert Keyboard(monkeypatch).read(sent[:cut], "\x03") == ["ctrl+c"], "which keeps nobody from leaving"


# --- sizes ----------------------------------------------------------------------------------------------------------


def test_no_report_makes_the_screen_larger_than_can_be_drawn(keys: Keyboard) -> None:
    keys.read("\x1b[48;999999;999999;1;1t\x1b[48;24;80;480;640t\x1b[48;-1;-1;1;1t")
    assert [message.size for message in keys.messages if isinstance(message, events.Resize)] == [
        (WIDEST, HIGHEST),
        (80, 24),
    ]


def test_a_terminal_that_reports_no_pixels_has_no_mouse(keys: Keyboard) -> None:
    assert keys.read("\x1b[48;24;80;0;0t\x1b[48;0;0;480;640t\x1b[<35;3;3Mx") == ["x"]
