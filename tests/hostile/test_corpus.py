"""Opens every case of the hostile corpus, watched, and holds each to what is expected of it.

Never: a traceback, a death by signal, a hang, code that runs, a prompt, a process, a map, a connection, a file opened
outside the checkpoint's directory, one written, a control character in what is told, silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import misdeeds
import pytest
from cases import ERROR, NAMES, OK, WARN, Case
from checkpoint_files import printable
from corpus_system import patterns
from misdeeds import MISDEEDS, misdeed
from runner import FAMILIES, results_of

from explorer.core.check import check_text
from explorer.core.grouping_file import loads
from explorer.core.groups import Grouper, Grouping
from explorer.core.lints import lint
from explorer.core.listing import FORMATS, Listing
from explorer.core.param import Model, Origin, Param
from explorer.core.text import visible

RUNS = (["safetensors", "index", "gguf", "torch", "dcp", "object"], ["id", "config", "beside"])
"""Families that are opened in one process each run; the second imports transformers."""

CASES: list[Case] = [case for families in RUNS for family in families for case in FAMILIES[family]()]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What came out of each case."""
    folders = [tmp_path_factory.mktemp("corpus") for _ in RUNS]
    found: dict[str, dict[str, Any]] = {}
    with ThreadPoolExecutor() as pool:
        for part in pool.map(results_of, folders, RUNS):
            found |= part
    return found


def wrong(case: Case, result: dict[str, Any]) -> Iterator[str]:
    """Yield what a case did that it must not do."""
    outcome = result["outcome"]
    if outcome not in (OK, WARN, ERROR):
        yield f"{outcome}: {result.get('line')}"
    elif case.expected != outcome:
        yield f"{outcome} instead of {case.expected}: {result.get('line') or result.get('findings')}"
    if result["happened"]:
        yield f"it did {result['happened']}"
    if result["ran"]:
        yield "its code ran"
    if "unsaid" in result:
        yield f"it does not say {result['unsaid']!r}: {result.get('line') or result.get('findings')}"
    if result["megabytes"] > case.megabytes:
        yield f"it took {result['megabytes']} MiB"


@pytest.mark.parametrize("case", CASES, ids=[ascii(case.id) for case in CASES])
def test_a_hostile_case_is_a_table_or_one_line(case: Case, results: dict[str, dict[str, Any]]) -> None:
    assert list(wrong(case, results[case.id])) == []


def test_the_corpus_is_as_large_as_it_says_and_every_case_has_its_own_name() -> None:
    assert len({case.id for case in CASES}) == len(CASES) >= 300


@pytest.mark.parametrize("name", MISDEEDS)
def test_the_watch_sees_what_must_not_happen(name: str, planted: dict[str, dict[str, Any]]) -> None:
    """The runner's own alarms, each set off once: a watch that sees nothing proves nothing."""
    case = next(case for case in misdeed() if case.name == name)
    assert MISDEEDS[name] in " ".join(wrong(case, planted[case.id]))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What is seen of a program that misbehaves."""
    return results_of(tmp_path_factory.mktemp("misdeeds"), ["misdeed"], Path(misdeeds.__file__))


# --- patterns -------------------------------------------------------------------------------------------------------

TERMS = list(patterns())


@pytest.fixture(scope="module")
def grouper() -> Grouper:
    """Groups of a model whose names are hostile, as they are shown."""
    names = dict.fromkeys([*map(visible, NAMES.values()), "a" * 60 + ".weight", "layer.0.bias"])
    params = [Param(i, name, (2,), 2, "float32", 8, None, None, None, (), None) for i, name in enumerate(names)]
    return Grouper(Model.from_params(Origin("hostile", "test", "test"), params))


@pytest.mark.parametrize(
    ("term", "usable"), TERMS, ids=[f"{i}: {ascii(term)[:40]}" for i, (term, _) in enumerate(TERMS)]
)
def test_a_hostile_pattern_groups_or_is_told(grouper: Grouper, term: str, usable: bool) -> None:
    assignment = grouper.assign(Grouping.classic([term, "bias"]))
    assert len(assignment.codes) == len(grouper.model)
    assert bool(assignment.problems) is not usable
    assert all(printable(problem.message) for problem in assignment.problems)
    assert assignment.codes[-1] == int(term.startswith("!") and usable), "the term beside it still works"


# --- groups ---------------------------------------------------------------------------------------------------------


def group_lines(grouper: Grouper, text: str) -> list[list[str]]:
    """Return the lines of each printout of groups that have a text as name, term, option and optimizer."""
    written = '"' + "".join(f"\\U{ord(char):08x}" for char in f"x{text}") + '"'
    options = f"options = {{ {written} = 1, optimizer = {written}, weight_decay_rate = 0 }}"
    toml = f"[[groups]]\nname = {written}\nterms = [{written}, 'bias']\n{options}\n[[groups]]\nname = 'rest'"
    grouping = loads(toml)
    assignment = grouper.assign(grouping)
    listing = Listing(grouper.model, assignment, lint(grouper.model, grouping, assignment))
    return ["".join(form(listing)).split("\n") for form in (check_text, FORMATS["table"], FORMATS["csv"])]


@pytest.mark.parametrize("name", [name for name, text in NAMES.items() if not text.isprintable()])
def test_no_text_of_a_file_of_groups_forges_a_line(grouper: Grouper, name: str) -> None:
    lines = group_lines(grouper, NAMES[name])
    assert [line for part in lines for line in part if not printable(line)] == []
    assert [len(part) for part in lines] == [len(part) for part in group_lines(grouper, visible(NAMES[name]))]
