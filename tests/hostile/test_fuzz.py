"""A short run of the fuzzer over every format, and round trips of what hypothesis makes; `fuzz.py` runs longer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from checkpoint_files import Gguf, opened, outcome, safetensors_bytes, written
from corpus_pickles import mapping, storage, tensor, zipped
from fuzz import SEEDS, fuzz
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.core.errors import ParamxError
from explorer.core.grouping_file import dumps, loads
from explorer.core.param import Model
from explorer.core.patterns import PatternError, parse
from explorer.core.rules import Grouping
from explorer.core.text import visible

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30), unique=True, max_size=8)
SIZES = st.lists(st.integers(0, 9), max_size=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("name", SEEDS)
def test_a_mutated_file_raises_only_the_project_s_error(name: str, tmp_path: Path) -> None:
    assert fuzz(name, 1500, 1, tmp_path).total() == 1500


def shown(names: list[str]) -> bool:
    """Whether no two of the names look alike once they are visible."""
    return len({visible(name) for name in names}) == len(names)


@settings(max_examples=60)
@given(NAMES.filter(shown), SIZES)
def test_safetensors_names_and_shapes_come_back(folder: Path, names: list[str], sizes: list[int]) -> None:
    numel = 1
    for size in sizes:
        numel *= size
    names = [name for name in names if name != "__metadata__"]
    header = {
        name: {"dtype": "U8", "shape": sizes, "data_offsets": [i * numel, (i + 1) * numel]}
        for i, name in enumerate(names)
    }
    model = opened(written(folder / "x.safetensors", safetensors_bytes(header, bytes(numel * len(names)))))
    assert list(model.names) == [visible(name) for name in names]
    assert all(shape == tuple(sizes) for shape in model.shapes)


@settings(max_examples=60)
@given(NAMES.filter(shown), SIZES)
def test_gguf_names_and_shapes_come_back(folder: Path, names: list[str], sizes: list[int]) -> None:
    made = Gguf()
    for name in names:
        made.tensor(name, tuple(sizes), 0, 0)
    model = outcome(written(folder / "x.gguf", made.done(bytes(4096))))
    assert isinstance(model, Model)
    assert list(model.names) == [visible(name) for name in names]
    assert all(shape == tuple(reversed(sizes)) for shape in model.shapes)


@settings(max_examples=60)
@given(NAMES.filter(shown))
def test_pickled_names_come_back(folder: Path, names: list[str]) -> None:
    # Each its own storage: tensors that share one are one tensor with two names.
    pairs = [(name, tensor(data=storage(key=b"V%d\n" % i))) for i, name in enumerate(names)]
    model = outcome(written(folder / "x.pt", zipped(mapping(*pairs))))
    assert isinstance(model, Model)
    assert list(model.names) == [visible(name) for name in names]


@settings(max_examples=100)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=9),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner),
    )
)
def test_any_json_is_an_index_or_one_line(folder: Path, content: object) -> None:
    outcome(written(folder / "x.safetensors.index.json", json.dumps({"weight_map": content}).encode()))


COSTLY = {
    "dots": ".".join(["a"] * 100_000) + "=1",
    "dots in a table": "a={" + " . ".join(["'a'"] * 100_000) + "=1}",
    "dots in a header": "x=1\n[" + ".".join(["a"] * 100_000) + "]",
    "dots after a text": 'x="""\\""""""\n' + ".".join(["a"] * 100_000) + "=1",
    "tables": "[[groups]]\n" * 50_000,
    "lists": "a=" + "[" * 100_000,
    "digits": "a=" + "9" * 100_000,
}
"""TOML of which the parser takes the square, too deep, or more than Python reads."""


@pytest.mark.parametrize("name", COSTLY)
def test_a_file_of_groups_that_would_cost_too_much_is_one_line(name: str) -> None:
    with pytest.raises(ParamxError):
        loads(COSTLY[name])


def test_names_of_many_parts_may_stand_in_terms_and_comments() -> None:
    name = ".".join(["block"] * 40)
    text = f"# {name}\n[[groups]]\nname = 'x'\nterms = ['{name}', \"{name}\"]\n[[groups]]\nname = 'rest'\n"
    assert loads(text).rules[0].terms == (name, name)


@settings(max_examples=60)
@given(st.lists(st.text(min_size=1, max_size=20).filter(str.strip), min_size=1, max_size=5))
def test_groups_come_back_from_their_file(terms: list[str]) -> None:
    grouping = Grouping.classic(terms)
    try:
        back = loads(dumps(grouping))
    except ParamxError:  # a term that is no pattern is told
        assert grouping.problems()
    else:
        assert back.rules == grouping.rules


@settings(max_examples=100)
@given(st.text(max_size=40))
def test_any_text_is_a_term_or_told(text: str) -> None:
    try:
        parse(text)
    except PatternError as error:
        assert str(error)
