"""Who may import whom: the contracts of `pyproject.toml`, and what fresh interpreters really load."""

from __future__ import annotations

import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import explorer

ROOT = Path(__file__).parents[1]

HEAVY = {"torch", "transformers", "huggingface_hub", "safetensors", "numpy", "tokenizers"}
"""What takes seconds to import, or holds the interpreter lock while it does."""

INTERFACE = {"textual", "rich"}
"""What draws."""


def modules(package: str) -> list[str]:
    """Return a package of ours and every module below it, by name."""
    folder = Path(explorer.__file__).parent.joinpath(*package.split(".")[1:])
    found = pkgutil.walk_packages([str(folder)], f"{package}.")
    return [package, *(module.name for module in found if not module.name.endswith("__main__"))]


def loaded(code: str) -> set[str]:
    """Return the top-level names of the modules, and our own full names, that are loaded once `code` has run."""
    tell = "import sys, json; sys.stdout = sys.__stdout__; print(); print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\n{tell}"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    names = json.loads(run.stdout.splitlines()[-1])
    return {name.partition(".")[0] for name in names} | {name for name in names if name.startswith("explorer")}


def imported(names: list[str]) -> set[str]:
    """Return what is loaded once each of `names` is imported, less what a bare interpreter loads."""
    # Importing all in one interpreter: a hundredth of the time, and no module can hide what another loads.
    return loaded("\n".join(f"import {name}" for name in names)) - loaded("")


def command(*arguments: str) -> set[str]:
    """Return what is loaded once the command has ended, less what a bare interpreter loads."""
    return loaded(f"from explorer.__main__ import main\nmain({list(arguments)!r})") - loaded("")


def test_there_is_something_to_look_at() -> None:
    assert {"explorer.core.param", "explorer.core.listing"} <= set(modules("explorer.core"))
    assert "explorer.sources.worker" in modules("explorer.sources")


def test_core_loads_nothing_but_the_standard_library_and_itself() -> None:
    found = imported(modules("explorer.core"))
    ours = {name for name in found if name.startswith("explorer")}
    assert found - ours - sys.stdlib_module_names == set()
    # The package itself is loaded before anything in it; it reads its version and nothing else.
    assert {name for name in ours if not name.startswith("explorer.core")} <= {"explorer", "explorer.version"}


def test_sources_load_no_heavy_library_and_no_interface_until_they_open() -> None:
    found = imported(modules("explorer.sources"))
    assert found & (HEAVY | INTERFACE) == set()
    assert not {name for name in found if name.startswith("explorer.ui")}


def test_the_interface_loads_neither_sources_nor_heavy_libraries() -> None:
    found = imported(modules("explorer.ui"))
    assert found & HEAVY == set()
    assert not {name for name in found if name.startswith(("explorer.sources", "explorer.__main__"))}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["--print", "nonsense"], ["--no-such-option"]])
def test_the_command_answers_without_loading_what_it_does_not_need(arguments: list[str]) -> None:
    found = command(*arguments)
    assert found & (HEAVY | INTERFACE) == set()
    assert not {name for name in found if name.startswith(("explorer.sources", "explorer.ui"))}
    assert "explorer.__main__" in found


@pytest.mark.parametrize("name", ["explorer", "explorer.api", "explorer.notebook"])
def test_the_public_api_loads_nothing_heavy_until_it_is_used(name: str) -> None:
    found = imported([name])
    assert found & (HEAVY | INTERFACE) == set()
    assert not {each for each in found if each.startswith(("explorer.sources", "explorer.ui"))}


def test_the_import_contracts_hold() -> None:
    pytest.importorskip("importlinter", reason="a tool of developers: pip install -e '.[dev]'")
    run = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"[1-9]\d* kept, 0 broken", run.stdout), run.stdout
