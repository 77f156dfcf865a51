"""What does not depend on the machine: bytes a key, modules that are not read, work that a keystroke does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from explorer.core.groups import Grouping
from explorer.core.param import Model, Origin, Param
from explorer.core.tree import Tree
from explorer.core.view import TreeView
from explorer.core.workbench import Workbench

ROOT = Path(__file__).parents[1]

LATER = {
    "explorer.core.memory",
    "explorer.core.roles",
    "explorer.ui.screens.dialog",
    "explorer.ui.screens.help",
    "explorer.ui.screens.lists",
    "explorer.ui.screens.start",
    "explorer.sources.local",
    "explorer.sources.gpu",
    "hashlib",
    "tomllib",
    "explorer.ui.screens.export",
    "explorer.ui.screens.presets",
    "explorer.ui.screens.findings",
    "explorer.ui.screens.counters",
    "rich.syntax",
    "pygments",
    "rich.markdown",
    "torch",
    "transformers",
    "numpy",
}
"""Modules that the first frame does not need."""

DATACLASSES = 20
"""Most dataclasses that are made before the first frame, messages aside: Python takes 0.3 to 0.6 ms for each, and a
quarter of that for a `NamedTuple`. A record that checks its fields, or must not be equal to one of another class, is
a dataclass all the same."""

BYTES = {"group key": 3000, "cursor key": 1200, "page": 6000, "idle": 0}
"""Most bytes of an answer at 120×40, with room for texts that grow; a widget drawn whole takes 5,000 to 50,000."""


def model(layers: int = 8, experts: int = 16) -> Model:
    rows = []
    for layer in range(layers):
        for expert in range(experts):
            for name in ("weight", "bias"):
                path = f"layers.{layer}.experts.{expert}.up_proj.{name}"
                rows.append(Param(len(rows), path, (4, 4), 16, "float32", 64, None, True, None, (), None))
    return Model.from_params(Origin("counts", "test", ""), rows)


def test_the_interface_reads_no_module_that_its_first_frame_does_not_need() -> None:
    tell = "import sys, explorer.core.draft_store, explorer.sources.worker, explorer.ui.app; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", tell], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) & LATER == set()


def test_few_records_before_the_first_frame_are_dataclasses() -> None:
    tell = """
import sys, explorer.core.draft_store, explorer.sources.worker, explorer.ui.app
ours = [module for name, module in sys.modules.items() if name.startswith("explorer.")]
classes = {value for module in ours for value in vars(module).values() if isinstance(value, type)}
made = {each for each in classes if "__dataclass_fields__" in vars(each) and each.__module__.startswith("explorer.")}
print(*(each.__name__ for each in made))
"""
    run = subprocess.run([sys.executable, "-c", tell], cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(run.stdout.split()) <= DATACLASSES, run.stdout


def test_the_interface_starts_without_openssl_and_can_have_it_later() -> None:
    tell = """
import sys
from explorer.starting import import_asyncio_without_tls
import_asyncio_without_tls()
import explorer.ui.app
print("_ssl" in sys.modules, "ssl" in sys.modules)
import ssl
print(ssl.OPENSSL_VERSION_NUMBER > 0)
"""
    run = subprocess.run([sys.executable, "-c", tell], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False", "True"]


def test_the_first_line_needs_neither_textual_nor_the_worker_nor_the_groups() -> None:
    tell = """
import sys
from explorer import __main__, supervisor
__main__.can_show_the_interface = lambda: True
supervisor.supervise = lambda *_: print("\\n".join(sys.modules)) or 0
__main__.main(["x", "--no-decay", "bias"])
"""
    run = subprocess.run([sys.executable, "-c", tell], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "explorer.supervisor" in loaded
    assert (
        loaded & {"textual", "rich", "asyncio", "json", "dataclasses", "explorer.sources", "explorer.core.param"}
        == set()
    )


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="looks at processes through /proc")
def test_the_benchmarks_run_and_a_key_costs_few_bytes() -> None:
    argv = [sys.executable, "-m", "tests.benchmarks", "--small", "keys", "idle", "stall", "growth"]
    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    found = {}
    for line in run.stdout.splitlines():
        measure, figures, *_ = (cell.strip() for cell in line.strip("|").split("|"))
        if "bytes" in measure:
            found[measure] = float(figures.split()[0].replace(",", ""))
    assert len(found) == len(BYTES), run.stdout
    for measure, sent in found.items():
        assert sent <= next(most for name, most in BYTES.items() if measure.startswith(name)), measure


def test_rows_are_not_made_anew_where_no_run_splits() -> None:
    view = TreeView(Tree.build(model()))
    bench = Workbench(view.tree.model, Grouping.classic())
    view.set_groups(bench.assignment.codes)
    view.open_below(0)
    rows = view.rows
    bench.type_rule(0, "no_decay", "weight_decay=0.0", "weight")
    view.set_groups(bench.assignment.codes)
    assert view.rows is rows
    bench.type_rule(0, "no_decay", "weight_decay=0.0", "experts.3.")
    view.set_groups(bench.assignment.codes)
    assert view.rows is not rows


def test_a_row_is_answered_without_walking_its_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    view = TreeView(Tree.build(model()))
    column = view.tree.model.dtypes
    view.common(column, 0)
    view.shares(column, 0)
    monkeypatch.setattr("explorer.core.summaries.Counter", lambda *_: pytest.fail("counted again"))
    monkeypatch.setattr(type(view.tree), "sums", lambda *_: pytest.fail("walked again"))
    assert view.common(column, 0) == (True, "float32")
    assert view.shares(column, 0) == {"float32": view.tree.model.total}
