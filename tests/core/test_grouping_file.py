"""The TOML file of groups: what is written reads back, and mistakes are told with their line."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.core.errors import ParamxError
from explorer.core.grouping_file import dumps, load, loads
from explorer.core.groups import Grouping, Rule

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
scalars = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(0, 1e300), text)
options = st.dictionaries(text.filter(lambda key: key not in ("weight_decay", "lr", "lr_mult")), scalars, max_size=4)
term = st.one_of(
    text.filter(lambda t: ":" not in t and "ndim" not in t and "!" not in t), st.sampled_from(["re:a\\.b", "!ndim<2"])
)
rules = st.lists(st.builds(Rule, text.filter(str.strip), st.lists(term, max_size=3), options), max_size=4)


@given(rules, text.filter(str.strip), options)
def test_what_is_written_reads_back(groups, last, its_options):
    try:
        grouping = Grouping((*groups, Rule(last, (), its_options)))
    except ValueError:  # two names alike
        return
    assert loads(dumps(grouping)) == grouping


def test_tuples_and_optimizers_read_back(tmp_path):
    grouping = Grouping((Rule("a", ("b",), {"betas": (0.9, 0.98), "lr": 1e-5}), Rule("r")), "Adafactor")
    (tmp_path / "g.toml").write_text(dumps(grouping), encoding="utf-8")
    assert load(tmp_path / "g.toml") == grouping


def test_the_example_of_the_documentation_is_the_classic():
    import explorer.core.grouping_file as module

    example = module.__doc__.split("```toml")[1].split("```")[0]
    assert loads(example) == Grouping.classic()


HEAD = '[[groups]]\nname = "a"\n'
TAIL = '\n[[groups]]\nname = "rest"\n'


@pytest.mark.parametrize(
    ("written", "line", "why"),
    [
        ("x = ]", "1", "not TOML"),
        ('optimizer = "SGD"\nx = "', "2", "line 2, where the file ends"),
        (HEAD + 'terms = ["re:("]' + TAIL, "1", "column 4"),
        (HEAD + 'terms = "bias"' + TAIL, "1", "array of strings"),
        (HEAD + "\n\n[[groups]]\n" + 'terms = ["b"]', "5", "needs a name"),
        (HEAD + 'terms = ["b"]', "", "takes what is left"),
        (HEAD + "weight_decay = 0.1", "1", "unknown key 'weight_decay'"),
        (HEAD + "options = { weight_decay = '0.1' }", "1", "number that is not negative"),
        (HEAD + "options = { lr = -1 }", "1", "number that is not negative"),
        (HEAD + "options = { eps = nan }", "1", "finite"),
        (HEAD + f"options = {{ lr = {'9' * 5000} }}", "", "an integer of more than 4,300 digits"),
        ("\n" + HEAD + "\nbar = 2", "2", "in the group that starts at line 2"),
        (HEAD + "options = { when = 2020-01-01 }", "1", "must be a number"),
        ("optimiser = 'SGD'\n" + HEAD, "1", "unknown key"),
        ("\noptimizer = 'a b'\n" + HEAD, "2", "name of a class"),
        ("format = 2\n" + HEAD, "1", "not known"),
        ("", "", "no groups"),
        (HEAD + TAIL + TAIL, "", "two groups"),
        ("groups = [1]", "", "table"),
    ],
)
def test_a_mistake_is_told_with_its_line(written, line, why):
    with pytest.raises(ParamxError) as caught:
        loads(written, "my.toml")
    assert why in caught.value.line
    assert caught.value.line.startswith("my.toml")
    if line:
        assert f"line {line}" in caught.value.line


def test_a_blank_term_is_left_to_the_lints():
    assert loads(HEAD + 'terms = ["bias", ""]' + TAIL).rules[0].terms == ("bias", "")


def test_what_toml_cannot_hold_is_refused():
    with pytest.raises(ParamxError, match="None"):
        dumps(Grouping((Rule("r", (), {"foreach": None}),)))


def test_files_that_are_no_text_files_are_refused_at_once(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    (tmp_path / "big").write_bytes(b"#" * (2 << 20))
    (tmp_path / "bytes").write_bytes(b"\n\n\xff")
    for name, why in (
        ("fifo", "regular"),
        ("big", "larger"),
        ("bytes", "line 3"),
        ("none", "No such"),
        (".", "regular"),
    ):
        with pytest.raises(ParamxError, match=why):
            load(tmp_path / name)
