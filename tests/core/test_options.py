"""An options line reads back what it writes, and says in which column a mistake stands."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from explorer.core.options import MAX_VALUE, NOT_NEGATIVE, OptionError, options_text, parse_options

KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True).filter(lambda key: key not in NOT_NEGATIVE)
NUMBERS = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
PLAIN = NUMBERS | st.booleans() | st.none() | st.text(max_size=20)
VALUES = PLAIN | st.lists(PLAIN, max_size=4).map(tuple)
FITTING = VALUES.filter(lambda value: len(repr(value)) <= MAX_VALUE)


def error(text: str) -> OptionError:
    with pytest.raises(OptionError) as raised:
        parse_options(text)
    return raised.value


@given(st.dictionaries(KEYS, FITTING, max_size=4))
@example({"a": "it's", "b": 'say "b=1"'})
@example({"a": "' b=1", "c": "\\"})
@example({"a": "'\" c=1", "c": "\\' d=2"})
@example({"betas": (0.9, 0.98), "eps_": 1e-8})
def test_what_is_written_reads_back(options: dict[str, Any]) -> None:
    assert parse_options(options_text(options)) == options


@given(st.sampled_from(sorted(NOT_NEGATIVE)), st.integers(0, 10) | st.floats(0, 10))
def test_the_numbers_of_an_optimizer_read_back(key: str, value: float) -> None:
    assert parse_options(options_text({key: value})) == {key: value}


@given(st.text(max_size=60))
def test_any_text_gives_options_or_says_where_it_can_not(text: str) -> None:
    try:
        options = parse_options(text)
    except OptionError as wrong:
        assert wrong.message
        assert 0 <= wrong.column <= len(text)
    else:
        assert all(key.isidentifier() for key in options)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", {}),
        ("  , ", {}),
        ("weight_decay=0.1", {"weight_decay": 0.1}),
        ("weight_decay = 0.1", {"weight_decay": 0.1}),
        ("weight_decay=0.1 lr=2e-5", {"weight_decay": 0.1, "lr": 2e-5}),
        ("weight_decay=0.1, lr=2e-5,", {"weight_decay": 0.1, "lr": 2e-5}),
        ("betas=(0.9, 0.98) fused=True", {"betas": (0.9, 0.98), "fused": True}),
        ("name='a b=c' lr=1", {"name": "a b=c", "lr": 1}),
        ("foreach=None", {"foreach": None}),
    ],
)
def test_pairs_stand_apart_by_spaces_or_commas(text: str, options: dict[str, Any]) -> None:
    assert parse_options(text) == options


@pytest.mark.parametrize(
    ("text", "column", "part"),
    [
        ("weight_decay", 0, "written weight_decay=0.1"),
        ("lr=1 0.5", 3, "'1 0.5'"),
        ("=1", 0, "written"),
        ("weight_decay=", 13, "no value yet"),
        ("weight_decay= lr=1", 13, "no value yet"),
        ("lr=1 weight_decay=x", 18, "'x'"),
        ("lr=1e", 3, "'1e'"),
        ("lr=-1", 3, "negative"),
        ("lr=True", 3, "is a number"),
        ("lr='1'", 3, "is a number"),
        ("weight_decay=1e999", 13, "finite"),
        ("betas=(0.9, 1e999)", 6, "finite"),
        ("a={1: 2}", 2, "tuple"),
        ("a=__import__('os')", 2, "no number"),
        ("a=((1,),)", 2, "tuple"),
        ("a=1j", 2, "tuple"),
        ("a=(1", 2, "'(1'"),
        ("a='x", 2, "quoted text"),
        (f"a='{'x' * MAX_VALUE}'", 2, "longer"),
    ],
)
def test_a_mistake_is_told_with_its_column(text: str, column: int, part: str) -> None:
    wrong = error(text)
    assert part in wrong.message
    assert wrong.column == column


@pytest.mark.parametrize("text", ["a=" + "(" * 150, "a=" + "-" * 190 + "1", "a=" + "[" * 90 + "]" * 90])
def test_a_deeply_nested_value_is_refused_and_not_followed(text: str) -> None:
    try:
        assert all(map(math.isfinite, parse_options(text).values()))
    except OptionError as wrong:
        assert wrong.column == 2


def test_a_value_is_never_evaluated() -> None:
    assert error("a=print(1)").column == 2
    assert error("a=2**9**9").column == 2


def test_an_option_given_twice_is_told_at_its_second_place() -> None:
    with pytest.raises(OptionError) as caught:
        parse_options("lr=1.0 weight_decay=0.1 lr=2.0")
    assert caught.value.column == len("lr=1.0 weight_decay=0.1 ")
