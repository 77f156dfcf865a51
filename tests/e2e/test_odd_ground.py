"""Strange terminals, locales and streams: it starts, or says why in one line and exits 2 (a target that fails: 1)."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoints import SHOWN, safetensors
from terminal import ENVIRONMENT, ROOT, Terminal, paramx

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's devices")

# --- sizes ----------------------------------------------------------------------------------------------------------


def test_a_storm_of_sizes_ends_in_a_whole_screen(small: Path) -> None:
    rng = random.Random(5)
    with paramx(small.name, directory=small.parent) as terminal:
        terminal.wait_for(SHOWN)
        for _ in range(60):
            columns, rows = rng.choice([(500, 200), (1, 1), (2, 1), (1, 50), (80, 24), (20, 5), (300, 2), (7, 7)])
            terminal.resize(columns, rows)
            terminal.type(rng.choice(["\x1b[B", "\x1b[6~", "\t", "?", "\x1b", "w", "p", "\x10"]))
            terminal.pump(rng.choice([0, 0, 0.02, 0.1]))
        terminal.resize(100, 30)
        terminal.press("escape", "escape", "escape", "escape")
        terminal.wait_for(SHOWN)
        assert "layer" in terminal.text()
        terminal.press("ctrl+q")
        assert terminal.wait() == 0
        terminal.assert_restored()


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (500, 200), (10, 3)])
def test_it_starts_at_any_size(small: Path, columns: int, rows: int) -> None:
    with paramx(small.name, directory=small.parent, columns=columns, rows=rows) as terminal:
        terminal.settle(0.8)
        terminal.resize(100, 30)
        terminal.wait_for(SHOWN)
        terminal.press("q")
        assert terminal.wait() == 0
        terminal.assert_restored()


EXPORTED = {
    "COLUMNS": "160",
    "LINES": "45",
    "TEXTUAL": "debug,headless",
    "TEXTUAL_COLOR_SYSTEM": "zz",
    "TEXTUAL_LOG": "/nonexistent/x",
    "TEXTUAL_PRESS": "q",
}
"""Sizes of another terminal, and switches for who writes an interface with Textual."""

NOISY = """
import sys
import explorer.__main__ as command
command._gpu_memory = lambda: print("noise\\n\\x1b[2J", file=open(2, "w", closefd=False))
sys.exit(command.main(sys.argv[1:]))
"""
"""Runs the command with a library that writes on standard error when the training memory is asked for."""


def test_neither_the_environment_nor_a_library_garbles_the_screen(small: Path) -> None:
    environment = {**ENVIRONMENT, **EXPORTED}
    with Terminal([sys.executable, "-c", NOISY, str(small)], 80, 24, environment, small.parent) as terminal:
        terminal.wait_for(SHOWN)
        terminal.settle()
        terminal.press("t", "escape")
        assert terminal.lines()[-1].endswith("q quit"), "the foot stands in the terminal's last line"
        assert b"noise" not in terminal.raw
        terminal.press("q")
        assert terminal.wait() == 0
        terminal.assert_restored()
        assert b"noise\r\n\\u001b[2J" in bytes(terminal.raw).rpartition(b"\x1b[?1049l")[2]


# --- terminals and locales ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("term", ["linux", "screen", "vt100", "xterm", "ansi", "unknown-terminal", ""])
def test_it_starts_in_any_terminal_that_is_not_dumb(small: Path, term: str) -> None:
    with paramx(small.name, directory=small.parent, TERM=term, COLORTERM="") as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("down", "?", "escape", "q")
        assert terminal.wait() == 0
        terminal.assert_restored()


def test_an_empty_no_color_is_as_good_as_not_set(small: Path) -> None:
    colour = re.compile(rb"\x1b\[(?:[\d:;]*;)?[34]8;[25];")
    seen = {}
    for value in ("", "1"):
        with paramx(small.name, directory=small.parent, NO_COLOR=value) as terminal:
            terminal.wait_for(SHOWN)
            terminal.settle()
            terminal.press("q")
            assert terminal.wait() == 0
            seen[value] = colour.search(bytes(terminal.raw)) is not None
    assert seen == {"": True, "1": False}, "no-color.org: when present and not an empty string"


def test_it_starts_where_no_terminal_is_named(small: Path) -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if name not in ("TERM", "COLORTERM")}
    with Terminal([sys.executable, "-m", "explorer", str(small)], 80, 24, environment, ROOT) as terminal:
        terminal.wait_for("4 tensors")
        terminal.press("q")
        assert terminal.wait() == 0
        terminal.assert_restored()


def test_a_dumb_terminal_gets_the_table(small: Path) -> None:
    with paramx(small.name, directory=small.parent, TERM="dumb") as terminal:
        assert terminal.wait() == 0
        assert SHOWN in terminal.text()
        assert b"\x1b" not in terminal.raw
        terminal.assert_restored()


@pytest.mark.parametrize("locale", ["C", "POSIX", "en_US.ISO-8859-1", "C.UTF-8", "nonsense"])
@pytest.mark.parametrize("utf8", ["0", "1"])
def test_it_starts_in_any_locale(small: Path, locale: str, utf8: str) -> None:
    environment = {"LANG": locale, "LC_ALL": locale, "PYTHONUTF8": utf8, "PYTHONCOERCECLOCALE": "0"}
    with paramx(small.name, directory=small.parent, **environment) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("down", "q")
        assert terminal.wait() == 0
        terminal.assert_restored()
    done = run(small, "--print", "table", **environment)
    assert done.returncode == 0
    assert b"layer.0.weight" in done.stdout


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["latin-1", "ascii"],
)
def test_a_character_that_the_locale_lacks_takes_one_cell(small: Path, environment: dict[str, str]) -> None:
    screens = {}
    for name, more in (("utf-8", {}), ("plain", environment)):
        with paramx(small.name, directory=small.parent, **more) as terminal:
            terminal.wait_for(SHOWN)
            terminal.settle()
            terminal.press("down", "?", "escape", "down")
            terminal.settle()
            screens[name] = terminal.lines()
            assert (b"\\u2" in terminal.raw) is False, "six cells where one was laid out"
            assert (b"\xe2\x96\xbe" in terminal.raw) is (name == "utf-8")
            terminal.press("q")
            assert terminal.wait() == 0
            terminal.assert_restored()
    assert any("v layer" in line for line in screens["plain"])
    for whole, plain in zip(screens["utf-8"], screens["plain"], strict=True):
        # The emulator draws bytes of Latin-1 beyond ASCII as it likes.
        assert [a for a, b in zip(whole, plain, strict=False) if a.isascii() and a != b] == []


@pytest.mark.parametrize("encoding", ["latin-1", "ascii:strict"])
@pytest.mark.parametrize("printed", [["--print", "table"], ["--print", "json"], ["--check"], ["--help"]])
def test_print_escapes_what_the_locale_lacks(small: Path, encoding: str, printed: list[str]) -> None:
    safetensors(small, ["漢字.weight", "b.bias"])
    done = run(small, *printed, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (done.returncode, b"Error" in done.stderr) == (0, False)


# --- standard streams -----------------------------------------------------------------------------------------------


def run(small: Path, *arguments: str, script: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command without a terminal; `script` says where its streams go."""
    command = f'exec "$PYTHON" -m explorer "$@" {script}'
    return subprocess.run(
        ["sh", "-c", command, "sh", small.name, *arguments],
        env={**ENVIRONMENT, "PYTHON": sys.executable, **environment},
        cwd=small.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("redirected", ["<&-", "</dev/null", "<in", ">&-", ">out", "2>&-", "2>/dev/null", "2>err"])
def test_without_a_whole_terminal_it_prints_or_says_why(small: Path, redirected: str) -> None:
    (small.parent / "in").write_text("q\n")
    script = f'cd "$1" && exec "$0" -m explorer small.safetensors {redirected}'
    argv = ["sh", "-c", script, sys.executable, str(small.parent)]
    with Terminal(argv, 80, 24, ENVIRONMENT, ROOT) as terminal:
        status = terminal.wait()
        terminal.assert_restored()
        if redirected == ">&-":
            assert status == 2
            assert "standard output is closed" in terminal.text()
        else:
            assert status == 0
            shown = (small.parent / "out").read_text() if redirected == ">out" else terminal.text()
            assert SHOWN in shown
        assert "Traceback" not in terminal.text()


@pytest.mark.parametrize("redirected", ["<&-", "</dev/null", ">out", "2>/dev/null"])
def test_without_a_target_and_a_whole_terminal_the_usage_is_exit_2(tmp_path: Path, redirected: str) -> None:
    argv = ["sh", "-c", f'cd "$1" && exec "$0" -m explorer {redirected}', sys.executable, str(tmp_path)]
    with Terminal(argv, 80, 24, ENVIRONMENT, ROOT) as terminal:
        assert terminal.wait() == 2
        terminal.assert_restored()
        if redirected != "2>/dev/null":
            assert "TARGET is missing" in terminal.text()


@pytest.mark.parametrize(
    ("redirected", "status"),
    [
        (">/dev/full", 2),
        (">&-", 2),
        ("1</dev/null", 2),
        ("2>/dev/full", 0),
        (">/dev/full 2>/dev/full", 2),
        (">&- 2>&-", 2),
        ("<&- >&- 2>&-", 2),
        (">out", 0),
        ("| cat", 0),
        ("<&-", 0),
        ("2>&-", 0),
    ],
)
@pytest.mark.parametrize("form", ["table", "json"])
def test_streams_that_are_closed_or_full_end_in_one_line(
    small: Path, redirected: str, status: int, form: str
) -> None:
    done = run(small, "--print", form, script=redirected)
    assert b"Traceback" not in done.stdout + done.stderr
    assert b"Exception" not in done.stderr
    assert done.returncode == status
    told = done.stderr.splitlines()
    assert len(told) == (1 if status and "2>" not in redirected else 0)
    assert all(line.startswith(b"paramx: output: ") for line in told)


@pytest.fixture
def never(tmp_path: Path) -> dict[str, str]:
    """An environment in which building a model lasts for ever."""
    os.mkfifo(tmp_path / "never")
    (tmp_path / "trap").mkdir()
    (tmp_path / "trap" / "torch.py").write_text(f"open({str(tmp_path / 'never')!r}).read()\n")
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path / "trap"), ENVIRONMENT["PYTHONPATH"]])}


@pytest.mark.parametrize("redirected", [">/dev/full", ">&-", "1</dev/null"])
@pytest.mark.parametrize("printed", [["--print", "table"], ["--check"], ["--print", "json"], []])
def test_an_output_that_takes_nothing_is_told_before_anything_is_built(
    small: Path, never: dict[str, str], redirected: str, printed: list[str]
) -> None:
    done = run(Path(small.parent / "gpt2"), *printed, script=redirected, **never)
    assert done.returncode == 2
    assert done.stderr.startswith(b"paramx: output: ")


def test_a_disk_that_is_full_already_is_told_before_anything_is_built(never: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "hook").mkdir()
    code = """
import os
class Full:
    f_blocks, f_bfree = 1000, 0
os.fstatvfs = lambda number: Full
"""
    (tmp_path / "hook" / "sitecustomize.py").write_text(code)
    never["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "hook"), never["PYTHONPATH"]])
    done = run(tmp_path / "gpt2", "--print", "table", script=">out", **never)
    assert done.returncode == 2
    assert done.stderr == b"paramx: output: No space left on device\n"


def test_a_disk_that_fills_up_while_it_is_written_is_exit_2(small: Path, tmp_path: Path) -> None:
    (tmp_path / "hook").mkdir()
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))"
    (tmp_path / "hook" / "sitecustomize.py").write_text(limit)
    path = os.pathsep.join([str(tmp_path / "hook"), ENVIRONMENT["PYTHONPATH"]])
    done = run(small, "--print", "table", script=">out", PYTHONPATH=path)
    assert done.returncode == 2
    assert done.stderr == b"paramx: output: File too large\n"


def test_a_reader_that_has_read_enough_is_no_error(small: Path) -> None:
    names = [f"layer.{number}.weight" for number in range(3000)]
    safetensors(small, names)
    for reader in ("head -n 1", "true"):
        script = (
            f'"$PYTHON" -m explorer small.safetensors --print table | {reader}; echo "${{PIPESTATUS[0]}}" >status'
        )
        done = subprocess.run(
            ["bash", "-c", script],
            env={**ENVIRONMENT, "PYTHON": sys.executable},
            cwd=small.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=60,
        )
        assert done.stderr == b"", reader
        assert (small.parent / "status").read_text() == "141\n", "128 + SIGPIPE, as shells write it"
        assert len(done.stdout.splitlines()) == (reader != "true")


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
def test_the_terminal_is_told_where_standard_error_is_lost(small: Path, redirected: str) -> None:
    script = f'cd "$1" && exec "$0" -m explorer none.safetensors --print table {redirected}'
    with Terminal(["sh", "-c", script, sys.executable, str(small.parent)], 80, 24, ENVIRONMENT, ROOT) as terminal:
        assert terminal.wait() == 1
        assert "paramx: none.safetensors: " in terminal.text()


@pytest.mark.parametrize("asked", ["--help", "--version"])
@pytest.mark.parametrize(
    ("script", "why"),
    [
        (">/dev/full", b"No space left on device"),
        (">&-", b"standard output is closed"),
        ("1</dev/null", b"standard output is only read from"),
        ("2>/dev/full", None),
        ("2>&-", None),
    ],
)
def test_help_and_version_say_where_they_can_not_be_written(
    small: Path, asked: str, script: str, why: bytes | None
) -> None:
    done = run(small, asked, script=script)
    assert done.returncode == (0 if why is None else 2)
    assert done.stderr == (b"" if why is None else b"paramx: output: " + why + b"\n")
    assert bool(done.stdout) is (why is None)


def test_usage_survives_closed_and_full_streams(small: Path) -> None:
    for script in ("2>/dev/full", "2>&-", ">&- 2>&-"):
        done = run(small, "--nonsense", script=script)
        assert (done.returncode, done.stdout) == (2, b""), script
