"""A sample of the corpus through the whole command, each process of it watched: `--print json`, and the screen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cases import ERROR, OK, WARN, Case
from corpus_files import gguf, indices, safetensors
from corpus_pickles import dcp, torch_files
from corpus_system import configs, objects
from runner import environment
from terminal import paramx

SAMPLE = (
    "safetensors: good",
    "safetensors: name of clipboard",
    "safetensors: header of 9,223,372,036,854,775,808 bytes",
    "safetensors: deep objects",
    "safetensors: all at one place",
    "index: only a shard of /etc/passwd",
    "index: a link that leads out",
    "index: a shard that is a pipe",
    "torch: good zip",
    "torch: os.system alone, zip",
    "torch: os.system beside a tensor, zip",
    "torch: doubling lists, zip",
    "archive: a bomb that says it is small",
    "gguf: good, version 3, little-endian",
    "gguf: arrays in arrays",
    "dcp: a tensor without a file",
    "dcp: os.system before the metadata",
    "object: a pipe model.safetensors",
    "object: a link model.pt to a device",
    "object: a directory loop",
    "config: good",
    "config: a billion layers",
    "config: auto_map",
    "config: model_type '../../evil'",
)
"""Cases that are opened by the command, in its worker."""

CASES = {
    case.id: case
    for family in (safetensors, indices, gguf, torch_files, dcp, objects, configs)
    for case in family()
    if case.id in SAMPLE
}

HOOK = """
import os, sys
_log = open(os.environ["AUDIT_LOG"], "a", buffering=1)
def _note(event, args):
    if event in ("mmap.__new__", "socket.connect", "socket.getaddrinfo", "os.system", "pty.spawn", "builtins.input"):
        print(os.getpid(), event, repr(args)[:200], file=_log)
    elif event == "subprocess.Popen" and "explorer" not in str(args[1]):
        print(os.getpid(), event, repr(args)[:200], file=_log)
sys.addaudithook(_note)
"""
"""Put into every Python process of the command: the parent, the worker, the helpers."""


@pytest.fixture
def watched(tmp_path: Path) -> dict[str, str]:
    """An environment in which each process writes what it must not do to `AUDIT_LOG`."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    (tmp_path / "outside").mkdir()
    made = environment(tmp_path)
    made["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "hook"), made["PYTHONPATH"]])
    return made | {"AUDIT_LOG": str(tmp_path / "log"), "XDG_STATE_HOME": str(tmp_path / "state")}


def test_every_case_of_the_sample_is_in_the_corpus() -> None:
    assert set(CASES) == set(SAMPLE)


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_hostile_target_is_json_or_one_line(case: Case, tmp_path: Path, watched: dict[str, str]) -> None:
    folder = tmp_path / "case"
    folder.mkdir()
    target = str(case.make(folder))
    argv = [sys.executable, "-m", "explorer", target, "--print", "json"]
    done = subprocess.run(argv, env=watched, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert not (folder / "ran").exists()
    assert (tmp_path / "log").read_text() == "", "no map, no connection, no process, no prompt"
    assert done.returncode in (0, 1)
    if done.returncode == 0:
        assert case.expected != ERROR
        told = json.loads(done.stdout)
        assert done.stdout.isascii() or b"\x1b" not in done.stdout
        ids = {finding["id"] for finding in told["findings"]}
        # Lints of the groups are told too; what a source noticed is not one of them.
        assert case.expected != OK or not ids & {"refused-global", "refused-path", "bad-entry", "truncated"}
        assert case.expected != WARN or ids
    else:
        assert case.expected not in (OK, WARN)
        line = done.stderr.decode()
        assert line.startswith("paramx: ")
        assert len(line.splitlines()) == 1
        assert line.rstrip("\n").isprintable()


def test_the_watch_reaches_the_worker(tmp_path: Path, watched: dict[str, str]) -> None:
    code = "import socket\ntry: socket.create_connection(('127.0.0.1', 9))\nexcept OSError: pass\n"
    (tmp_path / "torch.py").write_text(code)
    watched["PYTHONPATH"] = os.pathsep.join([str(tmp_path), watched["PYTHONPATH"]])
    argv = [sys.executable, "-m", "explorer", "kantaibert", "--print", "json"]
    subprocess.run(argv, env=watched, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert "socket.connect" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    "name", ["torch: os.system beside a tensor, zip", "index: a link that leads out", "gguf: arrays in arrays"]
)
def test_a_hostile_target_on_the_screen(name: str, tmp_path: Path, watched: dict[str, str]) -> None:
    folder = tmp_path / "case"
    folder.mkdir()
    target = os.path.relpath(CASES[name].make(folder), folder)
    wanted = {key: watched[key] for key in ("PYTHONPATH", "AUDIT_LOG", "XDG_STATE_HOME", "HF_HOME")}
    with paramx(target, directory=folder, **wanted) as terminal:
        if CASES[name].expected == ERROR:
            assert terminal.wait() == 1
        else:
            terminal.wait_for("tensor")
            terminal.settle()
            terminal.press("*", "w", "escape", "v", "escape", "q")
            assert terminal.wait() == 0
        terminal.assert_restored()
    assert not (folder / "ran").exists()
    assert (tmp_path / "log").read_text() == ""
