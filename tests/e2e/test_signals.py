"""Whatever ends the program, the shell gets its terminal back, and no process is left.

Nothing here asserts a time: the bounds only end a run that hangs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from checkpoints import SHOWN, safetensors
from terminal import ALTERNATE, CURSOR, ENVIRONMENT, ROOT, WRAP, Terminal, gone, keyboard_modes, paramx, quits

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks at processes through /proc")


def below(terminal: Terminal) -> list[int]:
    """The interface and its worker."""
    terminal.wait_for(SHOWN)
    terminal.settle()
    pids = terminal.descendants()
    assert len(pids) >= 2
    return pids


def takes_keys(terminal: Terminal, *before: str) -> None:
    """See that a key has its effect."""
    terminal.press(*before, "/", "bias", "enter")
    terminal.wait_for("2 of 4")


def shell(script: str, *, interactive: bool = False, **more: str) -> Terminal:
    """Run a shell in a terminal; `$PARAMX` in its script is the command."""
    command = {"PARAMX": f"{sys.executable} -m explorer", "PS1": "prompt> ", "HISTFILE": ""}
    environment = {**ENVIRONMENT, **command, **more}
    argv = ["bash", "--norc", "--noprofile", *(["-i"] if interactive else ["-c", script])]
    return Terminal(argv, 80, 24, environment, ROOT)


def interface_of(terminal: Terminal, above: str = "-m explorer") -> tuple[int, int]:
    """The supervising parent and the interface below a shell."""
    pids = [
        pid for pid in terminal.descendants() if above in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    ]
    return pids[0], pids[1]


@contextmanager
def job(small: Path) -> Iterator[tuple[Terminal, int, int]]:
    """The program as a shell's job, its parent and its interface."""
    with shell("", interactive=True) as terminal:
        terminal.wait_for("prompt>")
        terminal.type(f"$PARAMX {small}\r")
        terminal.wait_for(SHOWN)
        terminal.settle()
        yield terminal, *interface_of(terminal)


def to_front(terminal: Terminal, shown: str = SHOWN) -> None:
    """Have the shell continue its job, and see its screen."""
    terminal.press("clear\r")
    terminal.type("fg\r")
    terminal.wait_for(shown)
    terminal.settle()


# --- signals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
@pytest.mark.parametrize("who", ["parent", "interface"])
def test_a_signal_restores_the_terminal_and_is_the_exit_status(small: Path, number: int, who: str) -> None:
    with paramx(small) as terminal:
        pids = below(terminal)
        os.kill(terminal.pid if who == "parent" else pids[0], number)
        assert terminal.wait() == 128 + number
        terminal.assert_restored()
        assert gone(pids)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS])
def test_an_interface_that_dies_is_told_and_leaves_the_terminal_usable(small: Path, number: signal.Signals) -> None:
    with paramx(small) as terminal:
        pids = below(terminal)
        os.kill(pids[0], number)
        assert terminal.wait() == 128 + number
        terminal.assert_restored()
        assert f"the interface was ended by {number.name}" in bytes(terminal.raw).decode()
        assert gone(pids), "its worker too"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere orphans can't be adopted")
def test_a_worker_that_can_not_notice_is_ended_with_the_interface(small: Path) -> None:
    with paramx(small) as terminal:
        pids = below(terminal)
        os.kill(pids[1], signal.SIGSTOP)  # as one that a library keeps busy: it sees no end of its input
        os.kill(pids[0], signal.SIGKILL)
        assert terminal.wait() == 128 + signal.SIGKILL
        assert gone(pids)


def test_a_killed_parent_takes_the_interface_with_it_and_the_terminal_is_restored(small: Path) -> None:
    with shell(f"$PARAMX {small}; sleep 1; echo status $?; sleep 100") as terminal:
        terminal.wait_for(SHOWN)
        terminal.settle()
        parent, _ = interface_of(terminal)
        pids = [pid for pid in terminal.descendants() if pid != parent]
        os.kill(parent, signal.SIGKILL)
        assert gone(pids)
        # Nothing was typed, nothing is offered. The shell tells of the killed one too, before or after.
        terminal.wait_for(lambda _: b"\rparamx: its parent process was killed\r\n" in terminal.raw)
        terminal.assert_restored()


def test_a_stopped_interface_is_ended_too(small: Path) -> None:
    with paramx(small) as terminal:
        pids = below(terminal)
        os.kill(pids[0], signal.SIGSTOP)
        terminal.settle()
        os.kill(terminal.pid, signal.SIGTERM)
        os.kill(terminal.pid, signal.SIGCONT)
        assert terminal.wait() == 128 + signal.SIGTERM
        terminal.assert_restored()
        assert gone(pids)


# --- suspending -----------------------------------------------------------------------------------------------------


def test_ctrl_z_gives_the_shell_its_terminal_and_fg_repaints(small: Path) -> None:
    with shell("", interactive=True) as terminal:
        terminal.wait_for("prompt>")
        terminal.press(f"$PARAMX {small}\r")
        for _ in range(2):
            terminal.wait_for(SHOWN)
            terminal.settle()
            assert ALTERNATE in terminal.modes()
            terminal.press("\x1a")
            terminal.wait_for("Stopped")
            # The shell's own line editor asks for bracketed paste; all else is off.
            assert terminal.modes() - {2004} == {CURSOR, WRAP}
            terminal.press("clear; echo still $((40 + 2))\r")
            terminal.wait_for("still 42")
            assert SHOWN not in terminal.text()
            terminal.press("fg\r")
        assert "layer" in terminal.wait_for(SHOWN), "the whole screen is there again"
        takes_keys(terminal)
        terminal.press("q")
        terminal.wait_for(lambda _: terminal.modes() - {2004} == {CURSOR, WRAP})
        terminal.settle(1.0)  # keys typed while it ends are dropped: they may be its own
        terminal.press("clear; echo $(jobs | wc -l) jobs\r")
        terminal.wait_for("0 jobs")
        terminal.press("exit\r")
        terminal.wait()


def test_one_stop_for_one_signal_whoever_gets_it(small: Path) -> None:
    with job(small) as (terminal, parent, interface):
        both = -parent
        for whom in [[both], [both], [both], [both, both], [parent], [interface]]:
            for each in whom:
                os.kill(each, signal.SIGTSTP)
            terminal.wait_for("Stopped")
            terminal.settle()
            assert terminal.modes() - {2004} == {CURSOR, WRAP}
            to_front(terminal)
            assert ALTERNATE in terminal.modes(), "it has not stopped again"
        takes_keys(terminal)


def test_a_stop_while_it_goes_on_gives_the_terminal_back_too(small: Path) -> None:
    with job(small) as (terminal, parent, _):
        os.killpg(parent, signal.SIGTSTP)
        terminal.wait_for("Stopped")
        terminal.settle()
        terminal.press("clear\r")
        taken = terminal.raw.count(b"\x1b[?1049h")
        terminal.type("fg\r")
        terminal.wait_for(lambda _: terminal.raw.count(b"\x1b[?1049h") > taken)
        os.killpg(parent, signal.SIGTSTP)
        terminal.wait_for("Stopped")
        terminal.wait_for(lambda _: terminal.modes() - {2004} == {CURSOR, WRAP})
        to_front(terminal)
        takes_keys(terminal)


def test_a_stop_that_nothing_can_precede_has_the_terminal_set_up_anew(small: Path) -> None:
    with job(small) as (terminal, parent, _):
        taken = terminal.raw.count(b"\x1b[?1049h")
        os.killpg(parent, signal.SIGSTOP)
        terminal.wait_for("Stopped")
        terminal.type("fg\r")
        terminal.wait_for(lambda _: terminal.raw.count(b"\x1b[?1049h") > taken)
        terminal.settle()
        takes_keys(terminal)
        terminal.press("q")
        terminal.wait_for(lambda _: terminal.modes() - {2004} == {CURSOR, WRAP})


def test_an_interface_that_is_stopped_by_others_has_its_terminal_given_back_by_the_parent(small: Path) -> None:
    with job(small) as (terminal, _, interface):
        os.kill(interface, signal.SIGSTOP)
        terminal.wait_for("Stopped")
        terminal.settle()
        assert terminal.modes() - {2004} == {CURSOR, WRAP}
        to_front(terminal)
        takes_keys(terminal)
        assert keyboard_modes(bytes(terminal.raw))["normal"] == 1, "the shell's own is not popped"


def test_ctrl_z_stops_over_a_dialog_too_and_what_is_typed_behind_it_is_for_nobody(small: Path) -> None:
    with job(small) as (terminal, _, _):
        terminal.press("?")
        terminal.wait_for("Fold everything")
        terminal.press("\x1a\x1a\x1a\x1bq")
        terminal.wait_for("Stopped")
        terminal.settle()
        to_front(terminal, "Fold everything")
        assert ALTERNATE in terminal.modes(), "it has not stopped again"
        takes_keys(terminal, "escape")


PLAIN_SHELL = """
import os, signal, sys, time
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
pid = os.fork()
if pid == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-m", "explorer", sys.argv[1]])
os.waitpid(pid, os.WUNTRACED)
os.tcsetpgrp(0, os.getpgrp())
input("job stopped")
os.tcsetpgrp(0, pid)
exec(sys.argv[2])
os.waitpid(pid, 0)
os.tcsetpgrp(0, os.getpgrp())
print("job over")
"""
"""A shell with job control that leaves the terminal's flags alone, as dash does; bash sets its own again."""

TOGETHER = "os.killpg(pid, signal.SIGCONT)"


def test_a_shell_gets_the_terminal_s_flags_back_while_the_program_is_stopped(small: Path) -> None:
    with Terminal([sys.executable, "-c", PLAIN_SHELL, small, TOGETHER], 80, 24, ENVIRONMENT, ROOT) as terminal:
        terminal.wait_for(SHOWN)
        terminal.settle()
        terminal.press("\x1a")
        terminal.wait_for("job stopped")
        terminal.assert_restored()
        terminal.press("\n")
        terminal.wait_for(lambda _: ALTERNATE in terminal.modes())  # what it drew before it stopped still stands
        terminal.settle()
        takes_keys(terminal)
        terminal.press("q")
        terminal.wait_for("job over")
        assert terminal.wait() == 0
        terminal.assert_restored()


PARENT_FIRST = """
interface = int(open(f"/proc/{pid}/task/{pid}/children").read().split()[0])
os.kill(pid, signal.SIGCONT)
time.sleep(0.3)
os.kill(interface, signal.SIGCONT)
"""
"""How a shell may continue the two that it stopped: one after the other."""


def test_a_parent_that_goes_on_before_its_interface_does_not_stop_again(small: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import explorer.supervisor as s\ns.CONTINUE_SECONDS = 2.0\n")
    environment = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(tmp_path), ENVIRONMENT["PYTHONPATH"]])}
    with Terminal([sys.executable, "-c", PLAIN_SHELL, small, PARENT_FIRST], 80, 24, environment, ROOT) as terminal:
        terminal.wait_for(SHOWN)
        terminal.settle()
        (parent,) = [pid for pid in terminal.descendants() if os.getpgid(pid) == pid and os.getsid(pid) != pid]
        os.killpg(parent, signal.SIGSTOP)
        terminal.wait_for("job stopped")
        taken = terminal.raw.count(b"\x1b[?1049h")
        terminal.type("\n")
        terminal.wait_for(lambda _: terminal.raw.count(b"\x1b[?1049h") > taken)
        terminal.settle()
        assert Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[0] == "S"
        takes_keys(terminal)


def test_ctrl_z_where_nothing_could_bring_it_back_is_survived(small: Path) -> None:
    with paramx(small) as terminal:  # the leader of its session: nobody's job
        below(terminal)
        terminal.press("\x1a")
        terminal.wait_for(lambda _: terminal.raw.count(b"\x1b[?1049h") == 2)
        terminal.settle()
        takes_keys(terminal)
        terminal.press("q")
        assert terminal.wait() == 0
        terminal.assert_restored()


# --- a terminal that goes -------------------------------------------------------------------------------------------


HOLD = "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [1]); os.execv(sys.executable, sys.argv[1:])"
"""Runs a program that no hang-up signal reaches."""


@pytest.mark.parametrize("hangup", ["told", "not told"])
def test_a_vanished_terminal_ends_the_program(small: Path, hangup: str) -> None:
    argv = [sys.executable, "-m", "explorer", small]
    if hangup == "not told":
        argv = [sys.executable, "-c", HOLD, *argv]
    with Terminal(argv, 80, 24, ENVIRONMENT, ROOT) as terminal:
        pids = below(terminal)
        terminal.hang_up()
        assert gone(pids)
        assert gone([terminal.pid])


def stall(terminal: Terminal) -> None:
    """Have more drawn than a terminal's buffer takes, and read nothing of it."""
    for _ in range(60):
        terminal.type("?")
        time.sleep(0.02)
        terminal.type("\x1b[6~\x1b")
        time.sleep(0.02)


@pytest.mark.parametrize("end", ["SIGTERM", "\x03", "\x11"])
def test_a_terminal_that_takes_no_output_does_not_hold_up_the_end(small: Path, end: str) -> None:
    with paramx(small, columns=200, rows=60) as terminal:
        pids = below(terminal)
        stall(terminal)
        if end == "SIGTERM":
            os.kill(terminal.pid, signal.SIGTERM)
        else:
            terminal.type(end)
        assert gone([terminal.pid])
        assert gone(pids)
        assert terminal.wait() == (128 + signal.SIGTERM if end == "SIGTERM" else 0)
        terminal.assert_restored()


def test_a_terminal_that_took_no_output_shows_what_is_now_and_not_how_it_came(small: Path) -> None:
    with paramx(small, columns=200, rows=60) as terminal:
        below(terminal)
        terminal.press("?")
        terminal.settle()
        whole = len(terminal.raw)
        terminal.press("\x1b")
        before = len(terminal.raw)
        stall(terminal)
        terminal.type("?")
        terminal.wait_for("Fold everything")
        terminal.settle()
        assert len(terminal.raw) - before < 4 * whole, "not 60 times the help"
        takes_keys(terminal, "escape")


# --- quitting -------------------------------------------------------------------------------------------------------


def test_quit_while_a_thread_waits_for_a_disk(tmp_path: Path) -> None:
    refs = tmp_path / "hub" / "models--a--b" / "refs"
    refs.mkdir(parents=True)
    os.mkfifo(refs / "main")  # reading it never ends, as on a network drive whose server is gone
    with paramx(HF_HUB_CACHE=str(tmp_path / "hub"), directory=tmp_path) as terminal:
        terminal.wait_for("looking around")
        quits(terminal, "ctrl+q")


def test_quit_while_the_worker_waits_for_a_disk_and_ignores_signals(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never")
    code = "import signal\nfor n in (1, 2, 3, 15): signal.signal(n, signal.SIG_IGN)\n"
    (tmp_path / "torch.py").write_text(f"{code}open({str(tmp_path / 'never')!r}).read()\n")
    path = os.pathsep.join([str(tmp_path), ENVIRONMENT["PYTHONPATH"]])
    with paramx("kantaibert", PYTHONPATH=path) as terminal:
        terminal.wait_for("torch…")
        quits(terminal, "q")


def test_quit_while_a_pattern_runs_away(tmp_path: Path) -> None:
    small = safetensors(tmp_path / "long.safetensors", ["a" * 60 + ".weight", "b.bias"])
    with paramx(small) as terminal:
        terminal.wait_for("b.bias")
        terminal.press("tab")
        terminal.type(r"re:(\w+\.?)+z$" + "\x11")
        assert terminal.wait() == 0
        terminal.assert_restored()


def test_a_failure_is_told_even_if_the_interface_hangs() -> None:
    code = """
import sys, time
from explorer.supervisor import supervise
def run(child):
    child.begin()
    sys.stderr.write("\\x1b[?1049h\\x1b[?25l")
    sys.stderr.flush()
    child.leave("x.safetensors: no such file")
    time.sleep(1000)
sys.exit(supervise(run))
"""
    with Terminal([sys.executable, "-c", code], 80, 24, ENVIRONMENT, ROOT) as terminal:
        assert terminal.wait() == 1
        terminal.assert_restored()
        assert b"paramx: x.safetensors: no such file" in bytes(terminal.raw).rpartition(b"\x1b[?1049l")[2]


BROKEN = """
import sys
import textual.drivers._writer_thread as output
from explorer.__main__ import main
from explorer.ui.screens.model import ModelScreen
def fail(*_):
    secret = "a local variable"
    raise {error}
{where} = fail
sys.exit(main(sys.argv[1:]))
"""
"""Runs the command with a part of the interface that raises an exception; `c` calls the counters."""

PLACES = ["ModelScreen.action_counters", "output.WriterThread.run", "ModelScreen.on_mount"]
"""A key's action, a thread that only draws, and what comes before the first frame."""


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("TypeError('no \\x1b[31m')", "internal error: TypeError: no \\x1b[31m ("),
        ("MemoryError", "out of memory; free some memory, or open it on a larger machine"),
        ('RuntimeError("can\'t start new thread")', "the system starts no more threads: memory or processes"),
    ],
)
def test_an_exception_of_the_interface_is_one_line_and_restores_the_terminal(
    small: Path, where: str, error: str, told: str
) -> None:
    code = BROKEN.format(where=where, error=error)
    with Terminal([sys.executable, "-c", code, small], 80, 24, ENVIRONMENT, ROOT) as terminal:
        if where == PLACES[0]:
            terminal.wait_for(SHOWN)
            terminal.settle()
            terminal.type("c")
        assert terminal.wait() == 1
        terminal.assert_restored()
        after = bytes(terminal.raw).decode().rpartition("\x1b[?1049l\x1b[?25h")[2]
        assert after.startswith(f"paramx: {told}"), "Textual's pages with the values of variables are not"
        assert after.count("\r\n") == 1


def test_the_traceback_of_an_exception_is_shown_when_asked_for(small: Path) -> None:
    code = BROKEN.format(where=PLACES[0], error="TypeError('no')")
    environment = {**ENVIRONMENT, "PARAMX_TRACEBACK": "1"}
    with Terminal([sys.executable, "-c", code, small], 80, 60, environment, ROOT) as terminal:
        terminal.wait_for(SHOWN)
        terminal.settle()
        terminal.type("c")
        assert terminal.wait() == 1
        terminal.assert_restored()
        lines = bytes(terminal.raw).decode().rpartition("\x1b[?1049l\x1b[?25h")[2].splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert lines[-1].startswith("paramx: internal error: TypeError: no (")


def test_what_was_typed_is_kept_when_the_interface_fails(small: Path, tmp_path: Path) -> None:
    code = BROKEN.format(where=PLACES[0], error="TypeError('no')")
    environment = {**ENVIRONMENT, "XDG_STATE_HOME": str(tmp_path)}
    with Terminal([sys.executable, "-c", code, small], 200, 24, environment, ROOT) as terminal:
        terminal.wait_for(SHOWN)
        terminal.settle()
        terminal.press("tab", "end", ", layer.1", "enter", "escape")
        terminal.type("c")
        assert terminal.wait() == 1
        assert "; groups as typed are offered at the next start" in terminal.text()
    assert "layer.1" in next((tmp_path / "paramx" / "drafts").glob("*.toml")).read_text()


def test_a_command_that_fails_without_the_interface_is_one_line_too(small: Path) -> None:
    code = BROKEN.format(where="from explorer import printing; printing._print_listing", error="TypeError('no')")
    done = subprocess.run(
        [sys.executable, "-c", code, small, "--print", "table"], env=ENVIRONMENT, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(b"paramx: internal error: TypeError: no (")
    assert done.stderr.count(b"\n") == 1


def test_a_fork_that_fails_leaves_the_terminal_as_it_was(small: Path) -> None:
    code = "import os, sys\ndef fork(): raise OSError(12, 'Cannot allocate memory')\nos.fork = fork\n"
    code += "from explorer.__main__ import main\nsys.exit(main(sys.argv[1:]))"
    with Terminal([sys.executable, "-c", code, small], 80, 24, ENVIRONMENT, ROOT) as terminal:
        assert terminal.wait() == 1
        terminal.assert_restored()
        assert terminal.lines()[0] == "paramx: out of memory; free some memory, or open it on a larger machine"


# --- who has the terminal -------------------------------------------------------------------------------------------


UNBEGUN = """
import os, signal, sys, time
from explorer.supervisor import supervise
def run(child):
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(supervise(run, greet=lambda: os.write(2, b" paramx  hello\\r")))
"""


def test_before_the_first_frame_only_the_greeting_is_taken_away() -> None:
    with Terminal([sys.executable, "-c", UNBEGUN], 80, 24, ENVIRONMENT, ROOT) as terminal:
        assert terminal.wait() == 128 + signal.SIGKILL
        terminal.assert_restored()
        assert b"\x1b[<" not in terminal.raw, "flags that were never pushed are the shell's"
        assert b"\x1b[?1049" not in terminal.raw
        assert terminal.lines()[0] == "paramx: the interface was ended by SIGKILL", "nothing was typed"


LATE = """
import os, time
from explorer.terminal_state import Terminal
restore = Terminal.restore
def late(self, **how):
    while not os.path.exists({go!r}):
        time.sleep(0.01)
    restore(self, **how)
Terminal.restore = late
"""
"""Has the terminal restored only when a file is there."""


def test_a_shell_that_took_the_terminal_back_keeps_its_flags(small: Path, tmp_path: Path) -> None:
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(LATE.format(go=str(tmp_path / "go")))
    path = os.pathsep.join([str(tmp_path / "hook"), ENVIRONMENT["PYTHONPATH"]])
    with shell("", interactive=True, PYTHONPATH=path) as terminal:
        terminal.wait_for("prompt>")
        terminal.settle()
        at_prompt = termios.tcgetattr(terminal.side)
        terminal.type(f"$PARAMX {small}\r")
        terminal.wait_for(SHOWN)
        terminal.settle()
        parent, _ = interface_of(terminal)
        os.kill(parent, signal.SIGKILL)
        terminal.wait_for("Killed")
        terminal.settle()
        (tmp_path / "go").touch()
        terminal.wait_for(lambda _: b"its parent process was killed" in terminal.raw)
        assert terminal.modes() - {2004} == {CURSOR, WRAP}
        assert termios.tcgetattr(terminal.side) == at_prompt


def test_a_background_job_draws_nothing_and_fg_brings_it(small: Path) -> None:
    with shell("", interactive=True) as terminal:
        terminal.wait_for("prompt>")
        before = len(terminal.raw)
        terminal.type(f"$PARAMX {small} &\r")
        terminal.settle(1.0)
        assert b" paramx  " not in terminal.raw[before:]
        assert b"\x1b[?1049h" not in terminal.raw
        terminal.type("fg\r")
        terminal.wait_for(SHOWN)
        terminal.press("q")
        terminal.settle()
        assert terminal.modes() - {2004} == {CURSOR, WRAP}


def test_an_exception_of_the_interface_is_shown_and_exit_1() -> None:
    code = "import sys; from explorer.supervisor import supervise; sys.exit(supervise(lambda child: 1 // 0))"
    with Terminal([sys.executable, "-c", code], 80, 24, ENVIRONMENT, ROOT) as terminal:
        assert terminal.wait() == 1
        assert "ZeroDivisionError" in terminal.text()
        terminal.assert_restored()
