"""The pattern language: what terms mean, how lines of terms read, and that no expression runs away."""

from __future__ import annotations

import re
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.core.groups import Grouper
from explorer.core.patterns import Ndim, PatternError, Regex, Substring, TooSlow, Type, join_terms, parse, split_terms
from explorer.core.regex_child import MEMORY
from explorer.core.regexes import digit_blind, steps_bound

NAMES = st.text(alphabet="ab01.2_", min_size=0, max_size=12)


@given(st.lists(st.text(max_size=20)))
def test_a_line_of_terms_reads_back_what_was_written(terms):
    assert [term for term, _ in split_terms(join_terms(terms))] == terms


@given(st.lists(st.text(alphabet="ab,\\\"'{1}! ", max_size=8)))
def test_separators_and_quotes_in_terms_survive_a_round_trip(terms):
    assert [term for term, _ in split_terms(join_terms(terms))] == terms


@given(st.text(alphabet="ab,\\\"'{1} ", max_size=20))
def test_every_line_can_be_read_and_columns_point_into_it(line):
    for _, column in split_terms(line):
        assert 0 <= column <= len(line)


def test_classic_line_splits_at_commas_and_drops_spaces_around():
    assert split_terms("bias,  LayerNorm.weight ") == [("bias", 0), ("LayerNorm.weight", 7)]


def test_blank_between_commas_is_returned_to_be_reported():
    assert split_terms("bias,,x, ") == [("bias", 0), ("", 5), ("x", 6), ("", 9)]
    assert split_terms("   ") == []


def test_a_comma_is_kept_by_backslash_quotes_or_braces():
    assert [term for term, _ in split_terms(r"a\,b, 'c,d', re:x{1,2}y, re:a\.b")] == [
        "a,b",
        "c,d",
        "re:x{1,2}y",
        r"re:a\.b",
    ]


def test_a_pasted_python_list_reads_as_its_strings():
    assert [term for term, _ in split_terms("""'bias', "LayerNorm.weight" """)] == ["bias", "LayerNorm.weight"]


@pytest.mark.parametrize(
    ("term", "test"),
    [
        ("bias", Substring("bias")),
        ("re:a|b", Regex("a|b")),
        ("type:*Norm", Type("*Norm")),
        ("ndim<2", Ndim("<", 2)),
        ("ndim >= 2", Ndim(">=", 2)),
        ("!ndim==1", Ndim("==", 1)),
        ("ndim", Substring("ndim")),
        ("regex:a", Substring("regex:a")),
    ],
)
def test_prefixes_say_the_kind_of_a_term(term, test):
    assert parse(term).test == test
    assert parse(term).excludes == term.startswith("!")


@pytest.mark.parametrize(
    ("term", "column"),
    [
        ("", 0),
        ("  ", 0),
        ("!", 1),
        ("!!a", 1),
        ("re:", 3),
        ("!type:", 6),
        ("re:a(b", 4),
        ("!re:[", 4),
        ("ndim=2", 4),
        ("ndim<x", 4),
        ("ndim<", 4),
        ("re:" + "a" * 3000, 2000),
        ("re:a**", 5),
    ],
)
def test_a_bad_term_is_told_with_its_column(term, column):
    with pytest.raises(PatternError) as caught:
        parse(term)
    assert caught.value.column == column
    assert caught.value.message


@pytest.mark.parametrize(
    ("term", "matching"),
    [
        ("LayerNorm.weight", {"layer.1.LayerNorm.weight"}),
        ("layernorm", set()),
        ("glob:*.ln.*", {"layer.10.ln.weight"}),
        ("glob:ln", set()),
        ("name:scale", {"scale"}),
        ("name:cale", set()),
        (r"re:^layer\.1\.attn", {"layer.1.attn.weight", "layer.1.attn.bias"}),
        ("type:TinyRMSNorm", {"layer.10.ln.weight"}),
        ("type:_BatchNorm", {"layer.10.bn.weight"}),
        ("ndim==0", {"scale"}),
        ("ndim!=1", {"embed.weight", "layer.1.attn.weight", "layer.10.attn.weight", "scale"}),
    ],
)
def test_each_kind_of_term_matches_what_the_table_says(tiny, term, matching):
    mask = Grouper(tiny).matches(term)
    assert {name for name, hit in zip(tiny.names, mask, strict=True) if hit} == matching
    unmatched = Grouper(tiny).matches("!" + term)
    assert [a + b for a, b in zip(mask, unmatched, strict=True)] == [1] * len(tiny)


def test_unknown_class_and_shape_never_match(table):
    model = table([("a", None, None)])
    grouper = Grouper(model)
    assert not any(grouper.matches("type:*")) and not any(grouper.matches("ndim>=0"))


EXPRESSIONS = st.recursive(
    st.sampled_from(["a", "b", ".", r"\.", r"\d", r"\w", "[^.]", "[a-z]", "[0-1]", "1", r"\b", "^", "$", "(a)", "_"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{1,2}", "*?"])).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
        inner.map(lambda text: f"(?={text})"),
    ),
    max_leaves=8,
)


@given(EXPRESSIONS, NAMES)
def test_digits_do_not_matter_to_an_expression_that_is_called_digit_blind(pattern, name):
    if digit_blind(pattern):
        folded = re.sub("[0-9]", "0", name)
        assert (re.search(pattern, name) is None) == (re.search(pattern, folded) is None)


@pytest.mark.parametrize("pattern", ["1", "[0-5]", r"(.)(?P=x)", r"\N{DIGIT ONE}", r"(a)\1", r"\x31"])
def test_an_expression_that_may_tell_digits_apart_is_not_called_digit_blind(pattern):
    assert not digit_blind(pattern)


@pytest.fixture(scope="module")
def two_million_steps(seconds):
    """Return how long about as many steps of a search take on this machine."""
    return min(seconds(lambda: re.search("a*a*a*b", "a" * 230)) for _ in range(3))


@given(EXPRESSIONS)
def test_an_expression_with_a_finite_bound_is_quick_on_the_worst_of_names(seconds, two_million_steps, pattern):
    if steps_bound(pattern, 60) <= 2_000_000:

        def search() -> None:
            for name in ("a" * 60, "1" * 60, "a." * 30, "ab" * 29 + "!!"):
                re.search(pattern, name)

        # One that backtracks for ever takes days.
        assert any(seconds(search) < 40 * two_million_steps for _ in range(3))


@pytest.mark.parametrize(
    "pattern", [r"(\w+\.?)+z$", "(a*)*b", "(a|a)*b", "(?x) a", r"(a)\1", "(?:a{1,50}){1,50}", "a*a*a*a*b", "(?:" * 30]
)
def test_an_expression_that_may_backtrack_for_ever_has_no_small_bound(pattern):
    assert steps_bound(pattern, 60) > 2_000_000


@pytest.mark.parametrize(
    "pattern",
    [r"layers\.[0-5]\.", "bias", r"(?:^|\.)norm(?:$|\.)", r"\.\d+\.(q|k|v)_proj", "[]a]x", "a{2}", "(?i)norm"],
)
def test_what_people_write_runs_without_a_child(pattern):
    assert steps_bound(pattern, 100) < 2_000_000


@pytest.fixture
def long_names(table):
    return table([(f"layers.{i}.{'a' * 40}.weight", (2,), None) for i in range(30)])


def test_an_expression_that_backtracks_for_ever_is_stopped_in_time(long_names, monkeypatch):
    grouper = Grouper(long_names, seconds=0.2)
    with pytest.raises(TooSlow):  # else it searches for years
        grouper.matches(r"re:(\w+\.?)+z$")
    # It is remembered, so that the next keystroke does not wait again.
    monkeypatch.setattr(grouper._regexes, "search", lambda *_: pytest.fail("searched again"))
    with pytest.raises(TooSlow):
        grouper.matches(r"re:(\w+\.?)+z$")


def test_the_child_serves_on_after_one_expression_was_killed(long_names):
    grouper = Grouper(long_names, seconds=0.2)
    with pytest.raises(TooSlow):
        grouper.matches("re:(a|a)*b")
    assert grouper.matches("re:(?:a|b)*weight") == b"\1" * 30
    assert sum(grouper.matches(r"re:(?:a|\.)*(?:1|2)\.a")) == 6  # 1, 2, 11, 12, 21, 22
    grouper.close()


def test_what_only_the_child_may_compile_is_told_with_its_column(long_names):
    grouper = Grouper(long_names)
    with pytest.raises(PatternError, match="unterminated") as caught:
        grouper.matches("re:" + "a{9000}b{9000}" + "(")
    assert caught.value.column == 3 + len("a{9000}b{9000}")
    grouper.close()


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="limits are read from /proc")
def test_memory_of_an_expression_is_bounded(long_names):
    grouper = Grouper(long_names)
    grouper.matches("re:(?:a|b)*weight")
    limits = Path(f"/proc/{grouper._regexes._child.pid}/limits").read_text()
    assert int(re.search(r"Max address space +(\d+)", limits)[1]) == MEMORY
    grouper.close()


def test_the_child_ends_with_the_grouper(long_names):
    grouper = Grouper(long_names)
    grouper.matches("re:(?:a|b)*weight")
    child = grouper._regexes._child
    assert child is not None and child.poll() is None
    del grouper
    assert child.poll() is not None


def test_a_stopped_expression_is_tried_again_after_a_while(long_names, monkeypatch):
    import explorer.core.groups as groups

    monkeypatch.setattr(groups, "_FAILURE_SECONDS", 0.0)
    grouper = Grouper(long_names, seconds=2.0)
    with monkeypatch.context() as busy, pytest.raises(TooSlow):
        busy.setattr(grouper._regexes, "search", Mock(side_effect=TooSlow("stopped")))
        grouper.matches("re:(?:a|b)*weight")
    assert grouper.matches("re:(?:a|b)*weight") == b"\1" * 30
    grouper.close()
