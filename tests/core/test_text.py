"""Strangers' text is harmless once made visible, and counts never read as another unit's."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.core.text import (
    DEFAULT_IGNORABLE,
    HIDDEN_CATEGORIES,
    plural,
    quoted,
    shape_text,
    share_text,
    short_bytes,
    short_count,
    visible,
)

EVERYTHING = st.text(st.characters())
"""Text of any code points, lone surrogates included."""

HOSTILE = {
    "\x1b[2J": r"\x1b[2J",
    "\x1b]52;c;aGk=\x07": r"\x1b]52;c;aGk=\x07",
    "\x9b31m": r"\x9b31m",
    "\x9d52;c;aGk=\x9c": r"\x9d52;c;aGk=\x9c",
    "a\u202egpj": r"a\u202egpj",
    "a\u2066b\u2069": r"a\u2066b\u2069",
    "zero\u200bwidth": r"zero\u200bwidth",
    "bom\ufeff": r"bom\ufeff",
    "soft\xadhyphen": r"soft\xadhyphen",
    "variation\ufe0f": r"variation\ufe0f",
    "tag\U000e0041": r"tag\U000e0041",
    "filler\u3164": r"filler\u3164",
    "\ud800lone": r"\ud800lone",
    "private\ue000": r"private\ue000",
    "two\nlines\r\tthree": r"two\nlines\r\tthree",
    "line\u2028para\u2029": r"line\u2028para\u2029",
    "nul\x00del\x7f": r"nul\x00del\x7f",
}


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_a_terminal_would_act_on_is_written_out(text: str) -> None:
    assert visible(text) == HOSTILE[text]


@pytest.mark.parametrize(
    "text", ["layer.0.attn_q.weight", "größe", "重み", "é", "🤗", "a b", "\\x1b", "[@click=quit]x[/]"]
)
def test_text_that_a_terminal_only_draws_is_left_as_it_is(text: str) -> None:
    assert visible(text) == text


@given(EVERYTHING)
def test_no_hidden_character_is_left(text: str) -> None:
    shown = visible(text)
    assert not {unicodedata.category(char) for char in shown} & HIDDEN_CATEGORIES
    assert not set(shown) & DEFAULT_IGNORABLE


@given(EVERYTHING)
def test_making_visible_twice_changes_nothing(text: str) -> None:
    assert visible(visible(text)) == visible(text)


@given(EVERYTHING)
def test_visible_text_is_one_line_that_any_unicode_encoding_takes(text: str) -> None:
    assert len(visible(text).splitlines()) <= 1
    visible(text).encode("utf-8")


@given(st.text(st.sampled_from("ab\x1b\n\u202e\ud800"), min_size=1))
def test_different_hidden_characters_stay_different(text: str) -> None:
    table = {"\x1b": r"\x1b", "\n": r"\n", "\u202e": r"\u202e", "\ud800": r"\ud800"}
    assert visible(text) == "".join(table.get(char, char) for char in text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1.00K"),
        (9_994, "9.99K"),
        (9_995, "10.0K"),
        (99_949, "99.9K"),
        (99_950, "100K"),
        (999_499, "999K"),
        (999_500, "1.00M"),
        (38_597_376, "38.6M"),
        (124_697_433, "125M"),
        (999_499_999, "999M"),
        (999_500_000, "1.00B"),
        (1_235_814_400, "1.24B"),
        (671_026_419_200, "671B"),
        (2**63 - 1, "9.22E"),
    ],
)
def test_short_counts_round_into_the_right_unit(count: int, text: str) -> None:
    assert short_count(count) == text


@given(st.integers(0, 2**63 - 1))
def test_a_short_count_is_short_and_within_half_a_percent(count: int) -> None:
    text = short_count(count)
    assert len(text) <= 6
    unit = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}.get(text[-1])
    value = float(text[:-1]) * unit if unit else int(text)
    assert abs(value - count) <= 0.0051 * count


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (10 * 1024, "10.0 KiB"),
        (int(999.4 * 1024), "999 KiB"),
        (1000 * 1024, "0.98 MiB"),
        (1024**2, "1.00 MiB"),
        (498_789_732, "476 MiB"),
        (1024**3, "1.00 GiB"),
        (1024**4, "1.00 TiB"),
        (2**63 - 1, "8.00 EiB"),
    ],
)
def test_short_sizes_use_binary_units(nbytes: int | None, text: str) -> None:
    assert short_bytes(nbytes) == text


@given(st.integers(1024, 2**63 - 1))
def test_a_short_size_is_within_a_percent(nbytes: int) -> None:
    number, unit = short_bytes(nbytes).split()
    power = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].index(unit) + 1
    assert abs(float(number) * 1024**power - nbytes) <= 0.01 * nbytes


@pytest.mark.parametrize(
    ("shape", "text"),
    [(None, "?"), ((), "scalar"), ((768,), "768"), ((0,), "0"), ((50265, 768), "50265 × 768")],
)
def test_shapes_read_as_products(shape: tuple[int, ...] | None, text: str) -> None:
    assert shape_text(shape) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, "–"),
        (0, 7, "0.00 %"),
        (7, 7, "100.00 %"),
        (1, 3, "33.33 %"),
        (1, 20_000, "0.01 %"),
        (1, 20_001, "< 0.01 %"),
        (19_999, 20_000, "> 99.99 %"),
        (1, 10**12, "< 0.01 %"),
        (10**12 - 1, 10**12, "> 99.99 %"),
        (114_976, 83_504_416, "0.14 %"),
    ],
)
def test_shares_have_two_decimals(part: int, whole: int, text: str) -> None:
    assert share_text(part, whole) == text


@given(st.integers(1, 2**63), st.data())
def test_only_nothing_reads_as_zero_and_only_all_reads_as_a_hundred(whole: int, data: st.DataObject) -> None:
    part = data.draw(st.integers(0, whole))
    assert (share_text(part, whole) == "0.00 %") == (part == 0)
    assert (share_text(part, whole) == "100.00 %") == (part == whole)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 tensors"), (1, "1 tensor"), (2, "2 tensors"), (124_697_433, "124,697,433 tensors")]
)
def test_one_is_singular(count: int, text: str) -> None:
    assert plural(count, "tensor") == text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a.weight", "a.weight"),
        ("", '""'),
        ("..", '".."'),
        (" a", '" a"'),
        ("a\n", "a\\n"),
        ("n" * 5000, "n" * 60 + "…" + "n" * 59),
    ],
)
def test_a_name_in_a_sentence_is_seen_and_not_too_long(name: str, shown: str) -> None:
    assert quoted(name) == shown
