"""What is typed survives: files that change while they are open, full disks, workers and programs that die."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpoints import SHOWN, safetensors
from command import wait_for
from terminal import ENVIRONMENT, Terminal, alive, gone, paramx

from explorer.core import grouping_file

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks at processes through /proc")


def type_a_term(terminal: Terminal, term: str = "layer.1") -> None:
    """Put a term into the first group, and go back to the tree."""
    terminal.wait_for(SHOWN)
    terminal.settle()
    terminal.press("tab", "end", f", {term}", "enter", "escape")
    terminal.wait_for(term)


def takes_back(terminal: Terminal) -> None:
    """Restore the groups that a session left behind, with the term that was half typed."""
    terminal.wait_for("R restores last groups")
    terminal.type("R")
    terminal.wait_for("LayerNorm.weight, layer.1, re:(w")
    terminal.wait_for("missing ), unterminated")


def drafts(state: Path) -> list[Path]:
    return list((state / "paramx" / "drafts").glob("*.toml"))


# --- after a crash --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_what_was_typed_is_offered_after_a_crash_and_never_taken_by_itself(
    small: Path, tmp_path: Path, number: int
) -> None:
    state = tmp_path / "state"
    with paramx(small.name, directory=small.parent, XDG_STATE_HOME=str(state)) as terminal:
        type_a_term(terminal)
        wait_for(lambda: drafts(state) and "layer.1" in drafts(state)[0].read_text())
        os.kill(terminal.descendants()[0], number)
        assert terminal.wait() == 128 + number
    with paramx(small.name, directory=small.parent, XDG_STATE_HOME=str(state), columns=120) as terminal:
        terminal.wait_for("R restores last groups")
        terminal.settle()
        terminal.wait_for("R restores last groups")  # it stays
        assert "layer.1" not in terminal.text().replace("layer.1.", ""), "only offered"
        terminal.press("R")
        terminal.wait_for("are back")
        assert ", layer.1" in terminal.text()
        terminal.press("q")
        assert terminal.wait() == 0
    assert drafts(state) == [], "a session that ends well leaves nothing"
    with paramx(small.name, directory=small.parent, XDG_STATE_HOME=str(state)) as terminal:
        terminal.wait_for(SHOWN)
        terminal.settle()
        assert "R restores" not in terminal.text()


def test_what_is_half_typed_survives_a_kill_too(small: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with paramx(small.name, directory=small.parent, XDG_STATE_HOME=str(state)) as terminal:
        terminal.wait_for(SHOWN)
        terminal.settle()
        terminal.type("\t, layer.1, re:(w")
        terminal.wait_for("re:(w")
        wait_for(lambda: drafts(state) and "re:(w" in drafts(state)[0].read_text())
        assert "layer.1" in grouping_file.load(drafts(state)[0]).rules[0].terms, "--groups reads what can be read"
        os.kill(terminal.descendants()[0], signal.SIGKILL)
        assert terminal.wait() == 128 + signal.SIGKILL
    with paramx(small.name, directory=small.parent, XDG_STATE_HOME=str(state), columns=100) as terminal:
        takes_back(terminal)
        terminal.type("\t\x1b[Feight)")
        terminal.wait_for("re:(weight)")
        terminal.press("ctrl+q")
        assert terminal.wait() == 0


def test_a_reload_that_fails_loses_nothing_that_was_typed(small: Path) -> None:
    content = small.read_bytes()
    with paramx(small.name, directory=small.parent, columns=100) as terminal:
        terminal.wait_for(SHOWN)
        terminal.settle()
        terminal.type("\t, layer.1, re:(w")
        terminal.wait_for("re:(w")
        small.unlink()
        # Escape would go back to the groups last kept: Shift+Tab leaves the panel with what is typed.
        terminal.press("shift+tab", "shift+tab", "r")
        terminal.wait_for("small.safetensors: no such file")
        terminal.wait_for("r tries again: not open")
        terminal.wait_for("LayerNorm.weight, layer.1, re:(w")
        small.write_bytes(content)
        terminal.press("r")
        wait_for(lambda: "tries again" not in terminal.text())
        terminal.wait_for("LayerNorm.weight, layer.1, re:(w")
        terminal.wait_for("missing ), unterminated")
        terminal.press("q")
        assert terminal.wait() == 0


def test_another_model_s_groups_are_not_offered(small: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with paramx(small.name, directory=small.parent, XDG_STATE_HOME=str(state)) as terminal:
        type_a_term(terminal)
        wait_for(lambda: drafts(state))
        os.kill(terminal.descendants()[0], signal.SIGKILL)
        terminal.wait()
    other = safetensors(tmp_path / "other.safetensors")
    with paramx(other.name, directory=other.parent, XDG_STATE_HOME=str(state)) as terminal:
        terminal.wait_for(SHOWN)
        terminal.settle()
        assert "R restores" not in terminal.text()


# --- while it is open -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["truncated", "deleted", "replaced", "a pipe now", "a directory now"])
def test_a_file_that_changes_while_it_is_open_harms_nothing(small: Path, fault: str) -> None:
    with paramx(small.name, directory=small.parent, columns=100) as terminal:
        type_a_term(terminal)
        if fault == "truncated":
            os.truncate(small, 9)
        else:
            small.unlink()
        if fault == "replaced":
            safetensors(small, [f"other.{i}.weight" for i in range(9)])
        elif fault == "a pipe now":
            os.mkfifo(small)
        elif fault == "a directory now":
            small.mkdir()
        terminal.press("G", "*", "w")
        terminal.settle()
        terminal.press("escape")
        terminal.wait_for(", layer.1")  # the dialog is gone, and what was typed is there
        terminal.press("r")
        if fault == "replaced":
            terminal.wait_for("54 parameters")
            terminal.wait_for(", layer.1")  # it is tried on the new file
        else:
            terminal.wait_for("r tries again: not open")
            terminal.wait_for(", layer.1")
        terminal.press("q")
        assert terminal.wait() == 0
        terminal.assert_restored()


def test_a_killed_worker_leaves_the_model_and_the_groups_on_the_screen(small: Path) -> None:
    with paramx(small.name, directory=small.parent) as terminal:
        type_a_term(terminal)
        workers = terminal.descendants()[1:]
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        assert gone(workers)
        # At once: nothing was asked of it.
        terminal.wait_for("r opens again: worker gone")
        terminal.wait_for("was killed (signal 9)")
        assert "memory" not in terminal.text(), "nothing shows that it was"
        terminal.press("down", "up")
        terminal.press("down", "v")
        terminal.wait_for("opens it again")
        assert "was killed" in terminal.text()
        terminal.press("escape")
        terminal.wait_for("safetensors header")
        assert ", layer.1" in terminal.text()
        terminal.press("r")
        wait_for(lambda: len([pid for pid in terminal.descendants() if alive(pid)]) > 1)
        terminal.wait_for(SHOWN)
        assert ", layer.1" in terminal.wait_for(", layer.1")
        terminal.press("q")
        assert terminal.wait() == 0


def test_a_worker_killed_while_it_opens_is_told_and_the_key_tries_again(small: Path, tmp_path: Path) -> None:
    # As a library that takes for ever to import, the first time.
    os.mkfifo(tmp_path / "never")
    trap = f"import os\nif os.path.exists({str(tmp_path / 'never')!r}): open({str(tmp_path / 'never')!r}).read()\n"
    (tmp_path / "trap").mkdir()
    (tmp_path / "trap" / "torch.py").write_text(trap + "raise ImportError('no torch here')\n")
    path = os.pathsep.join([str(tmp_path / "trap"), ENVIRONMENT["PYTHONPATH"]])
    with paramx("kantaibert", PYTHONPATH=path) as terminal:
        terminal.wait_for("torch…")
        terminal.settle()
        for _ in range(2):
            os.kill(terminal.descendants()[-1], signal.SIGKILL)
            terminal.wait_for("r tries again   o another   q quit")
            assert "the worker was killed (signal 9) while importing torch" in terminal.text()
            terminal.press("r")
            terminal.wait_for("torch…")
            terminal.settle()
        os.kill(terminal.descendants()[-1], signal.SIGKILL)
        terminal.wait_for("r tries again")
        terminal.press("o")
        terminal.wait_for("to open here")
        terminal.press("escape")
        terminal.wait_for("r tries again")
        (tmp_path / "never").unlink()
        terminal.press("r")
        assert terminal.wait() == 1, "an error that is no death ends the program, as before"
        assert b"kantaibert: " in bytes(terminal.raw).rpartition(b"\x1b[?1049l")[2]
        terminal.assert_restored()


def test_memory_that_runs_out_while_it_opens_is_told(tmp_path: Path) -> None:
    code = """
import os, resource
forks = []
def forked():
    forks.append(None)
    if len(forks) == 2:  # the interface, then its worker
        resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
os.register_at_fork(after_in_child=forked)
"""
    (tmp_path / "sitecustomize.py").write_text(code)
    path = os.pathsep.join([str(tmp_path), ENVIRONMENT["PYTHONPATH"]])
    with paramx("kantaibert", columns=160, PYTHONPATH=path) as terminal:
        assert terminal.wait() == 1
        terminal.assert_restored()
        assert "out of memory: a process may have 400 MiB here; free some memory" in terminal.text()


def test_memory_that_runs_out_later_is_told_and_the_key_tries_again(small: Path) -> None:
    with paramx(small.name, directory=small.parent, columns=120) as terminal:
        type_a_term(terminal)
        worker = terminal.descendants()[1]
        limit = resource.prlimit(worker, resource.RLIMIT_AS)
        size = int(Path(f"/proc/{worker}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(worker, resource.RLIMIT_AS, (size + (1 << 20), limit[1]))
        terminal.press("S")
        terminal.wait_for("out of memory: a process may have")
        terminal.press("escape")
        resource.prlimit(worker, resource.RLIMIT_AS, limit)
        terminal.press("S")
        terminal.wait_for("all finite")
        terminal.press("escape")
        assert ", layer.1" in terminal.wait_for(", layer.1")
        terminal.press("ctrl+q")
        assert terminal.wait() == 0


def test_an_export_to_a_full_disk_keeps_the_old_file(small: Path, tmp_path: Path) -> None:
    old = tmp_path / "groups.py"
    old.write_text("old")
    # A file may have so many bytes and no more: what a full disk looks like to who writes.
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))"  # Python ignores SIGXFSZ
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(code)
    path = f"{tmp_path / 'hook'}{os.pathsep}{Path(__file__).parents[2]}"
    with paramx(small.name, directory=tmp_path, PYTHONPATH=path) as terminal:
        type_a_term(terminal)
        terminal.press("e")
        terminal.wait_for("weight_decay")
        terminal.press("w", "ctrl+u", "groups.py", "enter")
        terminal.settle()
        if "exists" in terminal.text() or "again" in terminal.text():
            terminal.press("enter")
        terminal.wait_for("can't be written")
        assert old.read_text() == "old"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["groups.py", "hook", "small.safetensors"]
        terminal.press("escape", "escape", "ctrl+q")
        assert terminal.wait() == 0


# --- a hub that stalls ----------------------------------------------------------------------------------------------


@pytest.fixture
def stalled() -> Iterator[str]:
    """A hub that takes connections and never answers."""
    server = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def hold() -> None:
        while True:
            try:
                held.append(server.accept()[0])
            except OSError:
                return

    threading.Thread(target=hold, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.close()
    for connection in held:
        connection.close()


def test_a_stalled_hub_is_told_within_a_deadline(stalled: str, tmp_path: Path) -> None:
    with paramx("someone/something", HF_ENDPOINT=stalled, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="0") as terminal:
        assert terminal.wait() == 1
        terminal.assert_restored()
        assert b"did not answer" in bytes(terminal.raw)


def test_a_stalled_hub_can_be_left_at_once(stalled: str, tmp_path: Path) -> None:
    with paramx("someone/something", HF_ENDPOINT=stalled, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="0") as terminal:
        terminal.wait_for("hub")
        pids = terminal.descendants()
        terminal.press("q")
        assert terminal.wait() == 0
        assert gone(pids)


def test_a_draft_is_a_file_of_groups(small: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with paramx(small.name, directory=small.parent, XDG_STATE_HOME=str(state)) as terminal:
        type_a_term(terminal)
        wait_for(lambda: drafts(state))
        assert "layer.1" in grouping_file.load(drafts(state)[0]).rules[0].terms
