"""A worker that is a copy of this process does what a new interpreter does, and has nothing else of its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from checkpoint_files import entry, safetensors_bytes
from command import alive

from explorer.sources.forked import can_fork

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="copies are made on Linux only")


def script(code, *arguments, **options):
    """Run code in a small process of its own, as the interface is when it opens: pytest has threads."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


OPEN = """
    import os, sys, time
    from explorer.core.loading import Loaded, OpenSpec
    from explorer.sources.worker import open_in_worker
    target = sys.argv[1]
"""


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "x.safetensors"
    header = {"a.weight": entry(0, 24, "F32", [2, 3]), "b.weight": entry(24, 32, "BF16", [4])}
    path.write_bytes(safetensors_bytes(header, bytes(32)))
    return path


def test_a_copy_gives_the_table_of_a_new_interpreter(checkpoint, tmp_path):
    """In a directory that was deleted, too."""
    code = """
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir("../gone")
    for fork in (True, False):
        loading = open_in_worker(OpenSpec(target), fork)
        *_, last = loading.events()
        assert isinstance(last, Loaded), last
        print(type(loading._process).__name__, last.model.names, last.model.total)
        loading.cancel()
    """
    with script(OPEN + code, checkpoint, cwd=tmp_path) as run:
        forked, new = run.stdout.read().splitlines()
    assert forked == "ForkedProcess ['a.weight', 'b.weight'] 10"
    assert new == "Popen ['a.weight', 'b.weight'] 10"


def test_a_copy_answers_questions_about_values(checkpoint):
    code = """
    loading = open_in_worker(OpenSpec(target), True)
    list(loading.events())
    try:
        loading.ask("nonsense", {})
    except Exception as error:
        print(error)
    print(loading.ask("tensor", {"index": 0})["shape"])
    loading.cancel()
    """
    with script(OPEN + code, checkpoint) as run:
        assert run.stdout.read().splitlines() == ["nonsense: this kind of target does not answer that", "[2, 3]"]


def test_a_copy_has_a_session_of_its_own_and_no_file_of_its_parent(checkpoint):
    code = """
    held = os.pipe()[0]
    loading = open_in_worker(OpenSpec(target), True)
    list(loading.events())
    pid = loading._process.pid
    files = [os.readlink(f"/proc/{pid}/fd/{each}") for each in os.listdir(f"/proc/{pid}/fd")]
    print(os.getsid(pid) == pid, os.readlink(f"/proc/self/fd/{held}") in files, len(files))
    loading.cancel()
    """
    with script(OPEN + code, checkpoint) as run:
        # Nothing to read, a pipe for what is printed twice, requests, frames, the lifeline.
        assert run.stdout.read().split() == ["True", "False", "6"]


def test_a_copy_that_is_cancelled_at_once_is_gone(checkpoint):
    code = """
    for _ in range(20):
        loading = open_in_worker(OpenSpec(target), True)
        loading.cancel()
        print(loading._process.pid, loading._process.returncode)
    """
    with script(OPEN + code, checkpoint) as run:
        lines = run.stdout.read().splitlines()
    assert len(lines) == 20
    assert all(line.split()[1] == str(-signal.SIGKILL) and not alive(int(line.split()[0])) for line in lines)


def test_a_copy_that_crashes_tells_how(checkpoint):
    code = """
    loading = open_in_worker(OpenSpec(target), True)
    events = loading.events()
    list(events)
    os.kill(loading._process.pid, 11)
    try:
        loading.ask("tensor", {"index": 0})
    except Exception as error:
        print(error)
    """
    with script(OPEN + code, checkpoint) as run:
        assert "crashed (signal 11) while asked for tensor: SIGSEGV" in run.stdout.read()


def test_an_exception_in_a_copy_is_its_last_word_and_its_status():
    code = """
    import os
    from explorer.sources.forked import ForkedProcess
    copy = ForkedProcess(lambda: 1 / 0, (), dict(os.environ))
    print(copy.stdout.read().decode().splitlines()[-1], copy.wait(10), copy.wait(10))
    """
    with script(code) as run:
        assert run.stdout.read() == "ZeroDivisionError: division by zero 1 1\n"


def test_nothing_of_the_current_directory_is_imported_by_a_copy(tmp_path):
    (tmp_path / "colorsys.py").write_text("print('sprung')")
    code = """
    import os, sys
    from explorer.sources.forked import ForkedProcess
    def tell():
        import colorsys
        print(colorsys.__file__, sys.argv, os.environ["ONLY"], len(os.environ))
    copy = ForkedProcess(tell, (), {"ONLY": "this"})
    print(copy.stdout.read().decode(), end="")
    """
    with script(code, cwd=tmp_path) as run:
        told = run.stdout.read()
    assert "sprung" not in told
    assert str(tmp_path) not in told
    assert told.endswith("['paramx'] this 1\n")


def test_an_empty_entry_of_pythonpath_takes_a_new_interpreter(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}")
    assert can_fork()
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}")
    assert not can_fork()
