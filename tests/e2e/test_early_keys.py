"""No key is lost: not one pressed before the program is there, none of several in one packet, none after noise."""

from __future__ import annotations

import os
import sys
import termios
import time
from pathlib import Path

import pytest
from checkpoints import SHOWN
from terminal import ENVIRONMENT, Terminal, paramx

GREETED, DRAWN = b" paramx ", b"\x1b[?1049h"
"""Stands in the output when the first line is there, and when Textual has the terminal."""


def never_imported(library: str, folder: Path) -> str:
    """Return a PYTHONPATH with a library whose import lasts for ever."""
    os.mkfifo(folder / "never")
    (folder / f"{library}.py").write_text(f"open({str(folder / 'never')!r}).read()\n")
    return os.pathsep.join([str(folder), ENVIRONMENT["PYTHONPATH"]])


@pytest.fixture
def stuck(tmp_path: Path) -> str:
    """A PYTHONPATH with a `torch` whose import lasts for ever."""
    return never_imported("torch", tmp_path)


def after(terminal: Terminal, milliseconds: int) -> None:
    """Let the program run for so long."""
    until = time.monotonic() + milliseconds / 1000
    while time.monotonic() < until:
        terminal.pump(0.005)


def when(terminal: Terminal, sent: bytes) -> None:
    """Wait until the program has sent something."""
    terminal.wait_for(lambda _: sent in terminal.raw)


def when_ours(terminal: Terminal) -> None:
    """Wait until the terminal's flags are the program's."""
    terminal.wait_for(lambda _: not termios.tcgetattr(terminal._theirs)[3] & termios.ECHO)


@pytest.mark.parametrize("milliseconds", [0, 50, 100, 200, 300])
def test_quit_works_from_the_first_moment(small: Path, milliseconds: int) -> None:
    with paramx(small) as terminal:
        after(terminal, milliseconds)
        terminal.type("q")
        assert terminal.wait() == 0
        terminal.assert_restored()


def test_ctrl_q_is_a_key_as_soon_as_the_flags_are_ours(small: Path) -> None:
    with paramx(small) as terminal:
        when_ours(terminal)
        terminal.type("\x11")  # with the shell's flags it goes on with output that Ctrl+S stopped, and is no key
        assert terminal.wait() == 0
        terminal.assert_restored()


def test_ctrl_c_does_not_wait_for_the_interface(small: Path, tmp_path: Path) -> None:
    with paramx(small, PYTHONPATH=never_imported("textual", tmp_path)) as terminal:
        when_ours(terminal)
        terminal.type("\x03")
        assert terminal.wait() == 130
        terminal.assert_restored()


@pytest.mark.parametrize("key", ["q", "jq"])
def test_quit_pressed_at_the_start_does_not_wait_for_the_model(stuck: str, key: str) -> None:
    with paramx("kantaibert", PYTHONPATH=stuck) as terminal:
        terminal.type(key)
        assert terminal.wait() == 0
        terminal.assert_restored()


def test_keys_that_wait_for_the_model_do_not_keep_a_later_quit(stuck: str) -> None:
    with paramx("kantaibert", PYTHONPATH=stuck) as terminal:
        terminal.type("/query")
        terminal.wait_for("torch…")
        terminal.settle(0.5)  # the clock on the screen moves each second
        assert terminal.status is None, "the q of a name typed into the filter is no quit"
        terminal.type("q")
        assert terminal.wait() == 0
        terminal.assert_restored()


@pytest.mark.parametrize("moment", [b"", GREETED, DRAWN])
def test_a_filter_typed_at_the_start_filters_when_the_model_is_there(small: Path, moment: bytes) -> None:
    with paramx(small) as terminal:
        when(terminal, moment)
        terminal.type("/bias\r")
        terminal.wait_for("2 of 4")
        terminal.press("/", ".0")  # Enter went to the tree
        terminal.wait_for("0 of 4")
        terminal.press("escape", "q")
        assert terminal.wait() == 0


def test_groups_typed_at_the_start_are_typed_when_the_model_is_there(small: Path) -> None:
    with paramx(small) as terminal:
        terminal.type("\t, layer.1")
        terminal.wait_for("LayerNorm.weight, layer.1")
        terminal.press("ctrl+q")
        assert terminal.wait() == 0


def test_what_is_typed_before_the_start_screen_stands_in_its_field(tmp_path: Path) -> None:
    with paramx(directory=tmp_path) as terminal:
        terminal.type("kantai")
        terminal.wait_for(lambda text: "  kantai\n" in text)
        terminal.press("ctrl+q")
        assert terminal.wait() == 0


def test_what_is_typed_at_the_start_is_not_echoed_over_the_screen(small: Path) -> None:
    with paramx(small) as terminal:
        when_ours(terminal)
        terminal.type("zzz")
        terminal.wait_for(SHOWN)
        terminal.settle()
        assert b"zzz" not in terminal.raw
        assert "zzz" not in terminal.text()
        terminal.press("q")
        assert terminal.wait() == 0
        terminal.assert_restored()


def test_keys_that_come_in_one_packet_have_their_effect_in_order(small: Path) -> None:
    with paramx(small) as terminal:
        terminal.wait_for(SHOWN)
        terminal.settle()
        terminal.type("/weight")
        terminal.wait_for(" /  weight ")
        terminal.type("\x1b")
        terminal.settle()
        terminal.type("\tw, layer.1")
        terminal.wait_for("LayerNorm.weightw, layer.1")
        terminal.type("\x1b")
        terminal.settle()
        terminal.type("\x1b")
        terminal.settle()
        terminal.type("?")
        terminal.wait_for("In the tree")
        terminal.type("\x1b")
        terminal.settle()
        terminal.type("eq")  # q does not reach the app through the dialog
        terminal.type("\x11")
        assert terminal.wait() == 0


def test_text_that_comes_with_an_undo_goes_into_a_group_that_is_left(small: str) -> None:
    with paramx(small) as terminal:
        terminal.wait_for(SHOWN)
        terminal.settle()
        terminal.type("\t\x0e\x1fx")  # to the groups, a new one, and back
        terminal.wait_for("weight_decay=0.1x")
        terminal.type("\x11")
        assert terminal.wait() == 0


NO_TEXT = {
    "noise": b"\x82",
    "latin-1": b"\xe9",
    "surrogate": b"\xed\xa0\x80",
    "truncated": b"\xf0\x9f",
    "paste": b"\x1b[200~\xff\xfe\x1b[201~",
    "mouse": b"\x1b[M\x20\xa0\x20",
    "key": b"\x1b[9999999u",
}
"""What may come in and is no text; the mouse is in a column beyond 95, the key's number beyond Unicode."""


def test_what_is_no_text_is_no_key(small: Path) -> None:
    with paramx(small) as terminal:
        terminal.type(b"\x82")
        terminal.wait_for(SHOWN)
        terminal.settle()
        shown = terminal.text()
        for name, sent in NO_TEXT.items():
            terminal.type(sent)
            terminal.settle(0.2)  # a sequence that is not whole waits for half of that
            assert terminal.text() == shown, name
        terminal.type("/")
        for count, sent in enumerate(NO_TEXT.values(), 1):
            terminal.type(sent + b"a")
            terminal.wait_for(" /  " + "a" * count + " ")
        terminal.type(b"\xf0\x9f\x11")
        assert terminal.wait() == 0
        terminal.assert_restored()


def test_what_is_pasted_is_no_key(small: str, tmp_path: Path) -> None:
    with paramx(small, directory=tmp_path) as terminal:
        terminal.wait_for(SHOWN)
        terminal.settle()
        shown = terminal.text()
        terminal.type("\x1b[200~\x1b ew\r\x03\x1b[31mq\x1b[201~")
        terminal.settle()
        assert terminal.text() == shown
        assert list(tmp_path.iterdir()) == [Path(small)]
        terminal.type("/\x1b[200~la\x1byer\nq\x1b[201~")
        terminal.wait_for(" /  layer ")
        terminal.type("\x1b[200~and no end")
        terminal.settle()
        terminal.type("\x03")
        assert terminal.wait() == 0
        terminal.assert_restored()


EXPLORES = """
import os, signal, sys, torch, explorer
numbers = [signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH, signal.SIGTTOU, signal.SIGTTIN, signal.SIGINT]
for number in numbers:
    signal.signal(number, lambda *_: None)
pipe = os.pipe()[1]
os.set_blocking(pipe, False)
signal.set_wakeup_fd(pipe)
state = lambda: [sys.getswitchinterval(), *(signal.getsignal(number) for number in numbers)]
before = state()
explorer.explore(torch.nn.Linear(4, 5))
assert state() == before
assert signal.set_wakeup_fd(-1) == pipe
print("went", "on")
"""
"""A process with signal handlers of its own."""


def test_the_process_that_explores_is_as_it_was_afterwards_and_no_text_ends_it(tmp_path: Path) -> None:
    with Terminal([sys.executable, "-c", EXPLORES], 80, 24, ENVIRONMENT, tmp_path) as terminal:
        terminal.wait_for("25 parameters")
        terminal.type(b"\xff\x11")
        assert terminal.wait() == 0
        assert b"went on" in terminal.raw
        terminal.assert_restored()


@pytest.mark.parametrize("quits", ["\x03", "\x11"])
def test_a_key_that_quits_lets_the_few_before_it_have_their_effect(small: Path, tmp_path: Path, quits: str) -> None:
    (tmp_path / "here").mkdir()
    with paramx(small, directory=tmp_path / "here") as terminal:
        terminal.wait_for(SHOWN)
        terminal.settle()
        terminal.type(f"ew\r{quits}")
        assert terminal.wait() == 0
        terminal.assert_restored()
    (written,) = (tmp_path / "here").iterdir()
    assert "no_decay" in written.read_text()
