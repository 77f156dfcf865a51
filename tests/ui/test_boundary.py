"""What the last filter lets through draws as wide as before, and holds nothing that a terminal could act on."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, InlineUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from explorer.core.text import HIDDEN_CATEGORIES, harmless, harmless_line, visible
from explorer.ui import boundary
from explorer.ui.boundary import STAND_IN, contained, drawable
from explorer.ui.cells import Cells

CONSOLE = Console(color_system="truecolor", force_terminal=True, width=24)

HOSTILE = st.text(
    st.sampled_from(
        "ab\x1b[31m\x9b\x9d\x07\r\n\x00\x7f\u202e\u2066\u200b\u200d\ud800\ue000\xad漢é\u0301👩\U000e0041 ×"
    ),
    max_size=24,
)

EVIL = "\x1b]52;c;eA==\x07\x9b31m\u202e"


def acts(text: str) -> bool:
    return any(unicodedata.category(char) in HIDDEN_CATEGORIES for char in text)


@settings(max_examples=300)
@given(HOSTILE | st.text(max_size=30))
def test_drawable_text_is_as_wide_and_holds_nothing_that_acts(text: str) -> None:
    drawn = drawable(text)
    assert not acts(drawn)
    assert cell_len(drawn) == cell_len(text)
    assert drawable(drawn) == drawn


ENCODINGS = ["latin-1", "ascii", "koi8-r", "euc-jp", "cp437"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=HOSTILE | st.text(max_size=30) | st.text(st.sampled_from(sorted(boundary.PLAIN)), max_size=9))
def test_what_is_drawn_can_be_sent_in_any_encoding_and_is_as_wide(
    monkeypatch: pytest.MonkeyPatch, encoding: str, text: str
) -> None:
    monkeypatch.setattr(boundary, "_encodable", boundary.encodable_in(encoding))
    drawn = drawable(text)
    drawn.encode(encoding)
    assert cell_len(drawn) == cell_len(text)
    assert drawable(drawn) == drawn
    assert not acts(drawn)


def test_a_character_that_the_encoding_has_is_drawn_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary, "_encodable", boundary.encodable_in("latin-1"))
    assert drawable("▾ ▸ … × é ─ ⚠ Δ ✔ 漢") == "v > . × é - ! d + ??"
    assert all(len(plain) == 1 and plain.isascii() for plain in boundary.PLAIN.values())
    assert boundary.encodable_in("UTF8") is None


@settings(max_examples=100)
@given(st.text(max_size=30).filter(lambda text: not acts(text)))
def test_text_that_acts_on_nothing_is_drawn_as_it_is(text: str) -> None:
    assert drawable(text) == text


@settings(max_examples=300)
@given(HOSTILE | st.text(max_size=30))
def test_what_is_printed_keeps_its_lines_and_nothing_that_acts(text: str) -> None:
    told = harmless(text)
    assert told.count("\n") == text.count("\n")
    assert not any(unicodedata.category(char) in ("Cc", "Cs") for char in told.replace("\n", ""))
    assert not set(told) & set("\u202e\u2066\u200b\u200d\xad\U000e0041\u2028\u2029")
    assert harmless(told) == told
    assert "\n" not in harmless_line(text)


def test_visible_text_is_printed_as_it_is() -> None:
    text = visible("漢字 é × … 👩 " + EVIL)
    assert harmless(text) == text


@pytest.mark.parametrize(
    "style", [None, Style(link=f"https://example.org/{EVIL}"), Style(link="https://example.org/a")]
)
def test_no_update_of_textual_s_carries_what_acts(style: Style | None) -> None:
    strip = Strip([Segment(f"a{EVIL}b", style), Segment("\ud800", style)])
    chops: list[dict[int, Strip | None]] = [{0: strip, 12: None}]
    updates = (
        LayoutUpdate([[strip]], Region(0, 0, 24, 1)),
        ChopsUpdate(chops, [(0, 0, 24)], [[12, 24]]),
        InlineUpdate([strip]),
    )
    for update in updates:
        sent = contained(update).render_segments(CONSOLE)  # type: ignore[union-attr]
        assert EVIL in update.render_segments(CONSOLE)
        assert "]52" in sent, "its harmless part is drawn as text"
        assert not {"\x9b", "\x07", "\u202e", "\ud800"} & set(sent)
        assert STAND_IN in sent


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\nb\r", "\x9b31m", "\u202egnp", "\x1b]52;c;eA==\x07"])
def test_the_cell_diff_draws_what_is_left_of_a_control(text: str) -> None:
    cells = Cells(ColorSystem.TRUECOLOR)
    cells.forget(24, 1)
    evil = Style(link=f"https://example.org/{EVIL}")
    sent = cells.update(iter([(0, 0, [Segment(text), Segment("x", evil)])]))
    assert sent == f"\x1b[1H{drawable(text)}x"
