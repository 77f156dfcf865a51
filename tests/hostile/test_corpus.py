"""Opens every case of the hostile corpus, watched, and holds each to what is expected of it.

Never: a traceback, a death by signal, a hang, code that runs, a prompt, a process, a map, a connection, a file opened
outside the checkpoint's directory, a control character in what is told, silence.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cases import ERROR, NAMES, OK, SURVIVES, WARN, Case
from checkpoint_files import printable
from corpus_files import gguf, indices, safetensors
from corpus_pickles import dcp, torch_files
from corpus_system import configs, ids, objects, patterns
from runner import environment

from explorer.core.groups import Grouper, Grouping
from explorer.core.param import Model, Origin, Param

CASES: list[Case] = [
    case
    for family in (safetensors, indices, gguf, torch_files, dcp, objects, ids, configs)
    for case in family()
]  # fmt: skip

RUNS = (("safetensors", "index", "gguf", "torch", "dcp", "object"), ("id", "config"))
"""Families that are opened in one process each run; the second imports transformers."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What came out of each case."""
    runner = str(Path(__file__).with_name("runner.py"))
    running = []
    for families in RUNS:
        folder = tmp_path_factory.mktemp("corpus")
        errors = (folder / "stderr").open("w+")
        argv = [sys.executable, runner, str(folder), *families]
        process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment(folder), cwd=folder
        )
        running.append((process, errors))
    found: dict[str, dict[str, Any]] = {}
    for process, errors in running:
        text, _ = process.communicate()
        lines = [json.loads(line) for line in text.splitlines()]
        found |= {line["id"]: line for line in lines if "id" in line}
        errors.seek(0)
        last = next((line["began"] for line in reversed(lines) if "began" in line), "the start")
        assert process.returncode == 0, f"ended with {process.returncode} during {last}\n{errors.read()[-3000:]}"
        errors.close()
    return found


def wrong(case: Case, result: dict[str, Any]) -> Iterator[str]:
    """Yield what a case did that it must not do."""
    outcome = result["outcome"]
    if outcome not in (OK, WARN, ERROR):
        yield f"{outcome}: {result['line']}"
    elif case.expected not in (outcome, SURVIVES):
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


def test_the_watch_sees_what_must_not_happen(tmp_path: Path) -> None:
    """The runner's own alarms, each set off once: a watch that sees nothing proves nothing."""
    code = """
import json, os, sys
from pathlib import Path
import runner
def misdeed(name):
    def open_source(spec, report):
        (Path(spec.target) / "ran").touch()
        if name == "system": os.system("true")
        if name == "connect":
            import socket
            try: socket.create_connection(("127.0.0.1", 9), 0.1)
            except OSError: pass
        if name == "outside": open("/etc/hostname").close()
        if name == "map":
            import mmap
            mmap.mmap(-1, 10)
        if name == "crash": 1 / 0
        raise runner.ParamxError("x", "y")
    return open_source
root, watch = Path(sys.argv[1]), runner.Watch()
for name in ("system", "connect", "outside", "map", "crash"):
    runner.open_source = misdeed(name)
    (root / name).mkdir()
    case = runner.Case("safetensors", name, "error", lambda folder: folder, told="z")
    print(json.dumps(runner.run(case, root, root / name, watch)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env=environment(tmp_path),
    )
    lines = done.stdout.splitlines()
    results = {result["id"].partition(": ")[2]: result for result in map(json.loads, lines)}
    seen = {name: " ".join(result["happened"]) for name, result in results.items()}
    assert "os.system" in seen["system"]
    assert "socket.connect" in seen["connect"]
    assert "/etc/hostname" in seen["outside"]
    assert "mmap" in seen["map"]
    assert results["crash"]["outcome"] == "traceback"
    assert all(result["ran"] for result in results.values())
    assert results["system"]["unsaid"] == "z"


# --- patterns -------------------------------------------------------------------------------------------------------

TERMS = list(patterns())


@pytest.fixture(scope="module")
def grouper() -> Grouper:
    """Groups of a model whose names are hostile, as they are shown."""
    from explorer.core.text import visible

    names = dict.fromkeys([*map(visible, NAMES.values()), "a" * 60 + ".weight", "layer.0.bias"])
    params = [Param(i, name, (2,), 2, "float32", 8, None, None, None, (), None) for i, name in enumerate(names)]
    return Grouper(Model.from_params(Origin("hostile", "test", "test"), params))


@pytest.mark.parametrize(
    ("term", "usable"), TERMS, ids=[f"{i}: {ascii(term)[:40]}" for i, (term, _) in enumerate(TERMS)]
)
def test_a_hostile_pattern_groups_or_is_told(grouper: Grouper, term: str, usable: bool | None) -> None:
    assignment = grouper.assign(Grouping.classic([term, "bias"]))
    assert len(assignment.codes) == len(grouper.model)
    assert usable is None or bool(assignment.problems) is not usable
    assert all(printable(problem.message) for problem in assignment.problems)
    assert assignment.codes[-1] == int(term.startswith("!") and bool(usable)), "the term beside it still works"
