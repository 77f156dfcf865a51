"""The real program in a terminal, from start to quit: what a person sees, and the terminal that is left behind.

Nothing here asserts a time: the bounds only end a run that hangs.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from terminal import ALTERNATE, ENVIRONMENT, Terminal, gone, imported, paramx, quits

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks at processes through /proc")

COLOUR = re.compile(rb"\x1b\[(?:[\d:;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:[;:]\d+)*m")
"""A select-graphic-rendition sequence that sets a colour."""


def loaded(text: str) -> bool:
    """Whether the tree is there."""
    return "83,504,416" in text and "word_embeddings.weight" in text


def workers_of(terminal: Terminal) -> list[int]:
    """The processes that open models for the program; the others draw, and hold the terminal."""
    found = []
    for pid in terminal.descendants():
        with suppress(OSError):
            if os.getsid(pid) == pid:  # a session of its own: it may be a copy, which has the command's name
                found.append(pid)
    return found


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[str]:
    """A PYTHONPATH entry whose `torch` never finishes importing: a loading that lasts."""
    (tmp_path / "trap").mkdir()
    os.mkfifo(tmp_path / "trap" / "never")
    (tmp_path / "trap" / "torch.py").write_text(f"open({str(tmp_path / 'trap' / 'never')!r}).read()\n")
    yield str(tmp_path / "trap")


def with_trap(trap: str) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([trap, ENVIRONMENT["PYTHONPATH"]])}


# --- from start to quit ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (160, 45)])
def test_a_session_from_start_to_quit(columns: int, rows: int, tmp_path: Path) -> None:
    with paramx("kantaibert", columns=columns, rows=rows, directory=tmp_path) as terminal:
        # Opened.
        text = terminal.wait_for(loaded)
        assert "83,504,416 parameters ✔" in text.splitlines()[0]
        assert ALTERNATE in terminal.modes()
        terminal.settle()
        everyone, workers = [terminal.pid, *terminal.descendants()], workers_of(terminal)
        with_torch = [pid for pid in everyone if imported(pid, "torch")]
        assert with_torch
        assert set(with_torch) <= set(workers), "the interface never imports torch, its worker does"

        # Walked: to the last row and the first, and into the run of six layers.
        terminal.press("G")
        terminal.wait_for("np = 83,504,416")
        terminal.press("g", "g")
        assert "×6" in terminal.wait_for("99.23 %")
        terminal.press("-")
        assert "token_type" not in terminal.text().replace("▊", "\n")[: terminal.text().index("lm_head")]
        terminal.press("right", "right")
        assert "embeddings" in terminal.text()

        # Filtered.
        terminal.press("/", "attention.self.query")
        assert "12 of 106 tensors" in terminal.wait_for("12 of 106")
        terminal.press("escape")
        terminal.wait_for(lambda text: "of 106 tensors" not in text)

        # Regrouped: the one norm weight that decays is caught by one more pattern.
        terminal.wait_for("1 of 14 norm weights decays")
        terminal.press("tab", "end", ", layer_norm")
        text = terminal.wait_for(lambda text: "norm weights decays" not in text and "66 tensors" in text)
        assert "40 tensors" in text

        # Taken home.
        terminal.press("escape", "escape", "e")
        terminal.wait_for("weight_decay")
        terminal.press("w")
        terminal.press("ctrl+u", "mine.py", "enter")
        terminal.wait_for("Written: mine.py")
        assert '"weight_decay"' in (tmp_path / "mine.py").read_text()
        terminal.press("escape")
        terminal.wait_for("83,504,416 parameters ✔")

        # Left.
        terminal.press("q")
        assert terminal.wait() == 0
        terminal.assert_restored()
        assert gone(everyone)


@pytest.mark.parametrize(
    ("arguments", "said", "status"),
    [
        (("--no-decay", "re:("), "paramx: argument --no-decay: 're:('", 2),
        (("--groups", "missing.toml"), "paramx: missing.toml: ", 1),
    ],
)
def test_groups_that_can_not_be_read_give_the_terminal_back(
    arguments: tuple[str, str], said: str, status: int, tmp_path: Path
) -> None:
    with paramx("kantaibert", *arguments, directory=tmp_path) as terminal:
        assert terminal.wait() == status
        assert terminal.lines()[0].startswith(said)
        assert ALTERNATE not in terminal.modes()
        assert not terminal.descendants(), "the worker was on its way"
        terminal.assert_restored()


# --- while loading --------------------------------------------------------------------------------------------------


def test_the_screen_is_painted_and_live_before_torch_is_imported(stuck: str) -> None:
    with paramx("kantaibert", **with_trap(stuck)) as terminal:
        terminal.wait_for("torch…")
        terminal.press("?")
        terminal.wait_for("In the tree")
        terminal.press("escape")
        text = terminal.wait_for(lambda text: "In the tree" not in text)
        assert "torch…" in text
        assert "quit" in text
        terminal.press("-", "*", "/", "e", "tab")
        assert "torch…" in terminal.text(), "keys that need the model wait for it"
        terminal.press("q")
        assert terminal.wait() == 0


@pytest.mark.parametrize("key", ["q", "ctrl+c", "ctrl+q", "escape"])
def test_leaving_while_loading_ends_everything(stuck: str, key: str) -> None:
    with paramx("kantaibert", **with_trap(stuck)) as terminal:
        terminal.wait_for("torch…")
        assert workers_of(terminal)
        quits(terminal, key)


def test_a_worker_that_is_killed_while_it_opens_is_told_and_may_be_tried_again(stuck: str) -> None:
    with paramx("kantaibert", **with_trap(stuck)) as terminal:
        terminal.wait_for("torch…")
        for pid in workers_of(terminal):
            os.kill(pid, signal.SIGKILL)
        terminal.wait_for("kantaibert: the worker was killed (signal 9) while importing torch")
        terminal.wait_for("r tries again")
        terminal.press("q")
        assert terminal.wait() == 1, "it was never open"
        said = bytes(terminal.raw).rpartition(b"\x1b[?1049l")[2]
        assert b"paramx: kantaibert: the worker was killed (signal 9) while importing torch" in said
        terminal.assert_restored()


# --- failure --------------------------------------------------------------------------------------------------------


def test_a_target_that_can_not_be_opened_is_one_line_and_exit_1(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{ this is not JSON")
    with paramx("config.json", columns=200, directory=tmp_path) as terminal:
        assert terminal.wait() == 1
        terminal.assert_restored()
        after = bytes(terminal.raw).rpartition(b"\x1b[?1049l")[2].decode()
        line = re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[78=>]|\x1b\([AB0]", "", after).strip("\r\n")
        assert line.startswith("paramx: config.json: "), "what"
        assert "JSON" in line, "why"
        assert "\n" not in line


# --- other terminals ------------------------------------------------------------------------------------------------


def test_no_color_sends_no_colour() -> None:
    with paramx("kantaibert", NO_COLOR="1") as terminal:
        terminal.wait_for(loaded)
        terminal.press("down", "tab", "x", "escape", "escape", "?", "escape", "e")
        terminal.wait_for("weight_decay")
        terminal.press("escape", "q")
        assert terminal.wait() == 0
        assert COLOUR.findall(bytes(terminal.raw)) == []


def test_the_sign_of_colour_would_be_seen() -> None:
    assert COLOUR.findall(b"\x1b[1;38;2;1;2;3m \x1b[31m \x1b[7;44m \x1b[97m") != []
    assert COLOUR.findall(b"\x1b[0m \x1b[1m \x1b[7;4m \x1b[m \x1b[39;49m") == []


@pytest.mark.parametrize("term", ["linux", "screen"])
def test_it_runs_in_other_terminals(term: str) -> None:
    with paramx("kantaibert", TERM=term, COLORTERM="") as terminal:
        terminal.wait_for(loaded)
        terminal.press("down", "q")
        assert terminal.wait() == 0
        terminal.assert_restored()


# --- what goes over the line ----------------------------------------------------------------------------------------


def test_a_key_costs_few_bytes_and_idling_none() -> None:
    with paramx("kantaibert", columns=120, rows=40) as terminal:
        terminal.wait_for(loaded)
        terminal.press("*")
        terminal.settle(1.0)
        costs = []
        for key in 12 * ("down",):
            before = len(terminal.raw)
            terminal.press(key)
            costs.append(len(terminal.raw) - before)
        assert min(costs) > 0, costs
        assert sum(costs) <= 12 * 440, costs
        before = len(terminal.raw)
        until = time.monotonic() + 1
        while time.monotonic() < until:
            terminal.pump()
        assert len(terminal.raw) == before, "nothing moves, nothing is sent"
        terminal.press("tab")
        terminal.settle(1.0)
        before = len(terminal.raw)
        until = time.monotonic() + 1
        while time.monotonic() < until:
            terminal.pump()
        assert len(terminal.raw) == before, "a field's cursor does not blink"
        terminal.press("ctrl+c")
        assert terminal.wait() == 0
