"""Whatever a file calls its tensors, no control byte of it reaches the terminal, wherever the name is shown."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import time
from pathlib import Path

import pytest
from checkpoints import safetensors
from terminal import ENVIRONMENT, KEYS, Terminal, paramx

sys.path.insert(0, str(Path(__file__).parents[1] / "hostile"))
from cases import NAMES

OURS = re.compile(
    rb"\x1b\[[0-9;:?<>=]*[ -/]*[A-Za-z~]"  # control sequences: what Textual, the supervisor and the cell diff write
    rb"|\x1b\]8;[^\x07\x1b]*;[^\x07\x1b]*\x1b\\"  # links
    rb"|\x1b\]52;c;[A-Za-z0-9+/=]*(?:\x07|\x1b\\)"  # the clipboard, only what was asked for
    rb"|\x1b\]22;[a-z-]*\x07"  # the pointer's shape
    rb"|\x1b[78]|\x1b\\|\x18|[\r\n]"  # the cursor saved, an end of string, CAN, new lines after the end
)
"""All that the program itself sends besides text."""

PAYLOADS = (
    b"\x1b[31mred",
    b"\x1b[2J\x1b[H.",
    b"\x1b]0;owned",
    b"\x1b]52;c;cm0g",
    b"\x1b[6n",
    b"\x1b]11",
    b"\x1b]8;;file:",
    b"\x07.weight",
    "\u202e".encode(),
    "\u2066".encode(),
    "\u200b".encode(),
    "\u2028".encode(),
    "\U000e0041".encode(),
    b"\xc2\x9b",
    b"\xef\xbb\xbf",
)
"""Parts of the names that no screen may have as they are."""


def leaks(sent: bytes) -> list[bytes]:
    """Return control bytes and payloads among what was sent that the program has no reason to send."""
    # The bell is a key that does nothing here; that of a name is seen as a payload.
    rest = OURS.sub(b"", sent).replace(b"\x07", b"")
    found = [
        rest[max(0, m.start() - 20) : m.end() + 20] for m in re.finditer(rb"[\x00-\x1f\x7f]|\xc2[\x80-\x9f]", rest)
    ]
    return found + [payload for payload in PAYLOADS if payload in sent]


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with files whose names, tensors, dtypes and metadata are hostile."""
    names = [name for name in NAMES.values() if len(name) < 2000 and name.isprintable() is False] + [
        name for name in NAMES.values() if len(name) < 300
    ]
    safetensors(tmp_path / "all.safetensors", list(dict.fromkeys(names)))
    evil = NAMES["clipboard"] + NAMES["colour"] + NAMES["bidi override"] + "\n"
    header = {
        "__metadata__": {evil: evil},
        evil: {"dtype": evil, "shape": [6], "data_offsets": [0, 6]},
        "[/foo]" + evil: {"dtype": "U8", "shape": [9], "data_offsets": [0, 6]},
    }
    text = json.dumps(header).encode()
    (tmp_path / "\x1b]0;owned\x07[bold]\n.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(6))
    index = {"weight_map": {evil: "../" + evil, "b": "all.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    return tmp_path


def tour(terminal: Terminal) -> None:
    """Visit every screen that shows names."""
    terminal.settle()
    walk = (
        "* down pagedown G g g u s c escape w down escape i escape v down escape S escape p escape t escape d escape"
    )
    find = "/ e enter n escape tab end , b enter escape escape e tab y c escape ? escape R r"
    for key in (walk + " " + find).split():
        terminal.type(KEYS.get(key, key))
        terminal.settle(0.06)
    terminal.settle()


@pytest.mark.parametrize("columns", [80, 160])
def test_no_control_byte_of_a_name_reaches_the_terminal(hostile: Path, columns: int) -> None:
    with paramx("all.safetensors", columns=columns, rows=40, directory=hostile) as terminal:
        terminal.wait_for("safetensors header")
        tour(terminal)
        terminal.press("escape", "ctrl+q")
        assert terminal.wait() == 0
        assert leaks(bytes(terminal.raw)) == []
        assert "\\x1b[31m" in bytes(terminal.raw).decode(errors="replace"), "it is shown, spelled out"


@pytest.mark.parametrize("target", ["\x1b]0;owned\x07[bold]\n.safetensors", "model.safetensors.index.json"])
def test_hostile_files_dtypes_and_indices_are_shown_spelled_out(hostile: Path, target: str) -> None:
    with paramx(target, columns=120, directory=hostile) as terminal:
        terminal.wait_for("header")
        tour(terminal)
        terminal.press("escape", "ctrl+q")
        assert terminal.wait() == 0
        assert leaks(bytes(terminal.raw)) == []


def test_no_control_byte_of_a_name_reaches_the_terminal_in_a_comparison(hostile: Path) -> None:
    names = [name for name in NAMES.values() if len(name) < 300]
    safetensors(hostile / "half.safetensors", names[::2])
    with paramx("all.safetensors", "half.safetensors", rows=40, directory=hostile) as terminal:
        terminal.wait_for("only in A")
        for key in (*["down", "enter", "escape"] * 8, "v", "end", "enter", "escape", "/", "e", "enter"):
            terminal.type(KEYS.get(key, key))
            terminal.settle(0.06)
        terminal.wait_for("values")
        terminal.press("ctrl+q")
        assert terminal.wait() == 0
        assert leaks(bytes(terminal.raw)) == []
        assert "\\x1b" in bytes(terminal.raw).decode(errors="replace"), "it is shown, spelled out"


def test_the_start_screen_and_error_lines_are_spelled_out(hostile: Path) -> None:
    with paramx(directory=hostile, columns=120) as terminal:
        terminal.wait_for("all.safetensors")
        terminal.settle()
        terminal.press("bold", "enter")
        terminal.wait_for("header")
        terminal.press("o")
        terminal.wait_for("to open here")
        terminal.press("ctrl+q")
        assert terminal.wait() == 0
        assert leaks(bytes(terminal.raw)) == []
    for wrong in ("./\x1b]0;owned\x07\x1b[31mred.safetensors", "a\x1b[2J\x1b[H.b\n/\u202ec"):
        with paramx(wrong, directory=hostile) as terminal:
            assert terminal.wait() == 1
            assert leaks(bytes(terminal.raw)) == []
            terminal.assert_restored()


FORGOTTEN = r"""
import os, re, sys
if any(argument == "explorer" or argument.endswith("/explorer") for argument in sys.orig_argv):
    import explorer.core.text as text
    # But for what ends a name between the processes, and what no encoding has.
    text.visible = lambda text: re.sub("[\n\ud800-\udfff]", lambda match: ascii(match[0])[1:-1], text)
    if os.environ["FORGET"] == "both":
        import explorer.ui.boundary as boundary
        text.harmless = boundary.drawable = lambda text: text
        boundary.contained = lambda update: update
"""
"""Put into the interface's process: a program that forgets its first filter everywhere, or both."""


@pytest.fixture
def forgetful(tmp_path: Path) -> dict[str, str]:
    """An environment for a program that does not make names visible where they enter."""
    folder = tmp_path / "forgetful"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(FORGOTTEN)
    return {"PYTHONPATH": os.pathsep.join([str(folder), ENVIRONMENT["PYTHONPATH"]])}


@pytest.mark.parametrize("target", ["all.safetensors", "\x1b]0;owned\x07[bold]\n.safetensors", "none\x1b[31mred"])
def test_the_second_filter_holds_where_the_first_is_forgotten(
    hostile: Path, forgetful: dict[str, str], target: str
) -> None:
    with paramx(target, columns=120, rows=40, directory=hostile, FORGET="first", **forgetful) as terminal:
        if (hostile / target).exists():
            terminal.wait_for("header")
            tour(terminal)
            terminal.press("escape", "ctrl+q")
        terminal.wait()
        assert leaks(bytes(terminal.raw)) == []


@pytest.mark.parametrize("form", ["table", "json", "csv", "loop"])
def test_what_is_printed_holds_no_control_where_the_first_filter_is_forgotten(
    hostile: Path, forgetful: dict[str, str], form: str
) -> None:
    with paramx("all.safetensors", "--print", form, directory=hostile, FORGET="first", **forgetful) as terminal:
        terminal.wait()
        # The progress line goes back to the first column.
        assert leaks(bytes(terminal.raw)) == []
        assert b"owned" in terminal.raw or form == "loop", "names are in it"


def test_a_program_without_any_filter_leaks(hostile: Path, forgetful: dict[str, str]) -> None:
    """A planted leak: what the tests above look for is there to be seen."""
    with paramx("all.safetensors", columns=120, directory=hostile, FORGET="both", **forgetful) as terminal:
        # Not a word of the screen is waited for: the leak itself may garble any.
        until = time.monotonic() + 30
        while not leaks(bytes(terminal.raw)) and time.monotonic() < until:
            terminal.pump(0.1)
        assert leaks(bytes(terminal.raw)) != []


def test_the_clipboard_is_given_no_control(hostile: Path) -> None:
    with paramx("all.safetensors", columns=120, directory=hostile) as terminal:
        terminal.wait_for("header")
        terminal.settle()
        terminal.press("tab", "enter")
        terminal.settle()
        terminal.type("\x1b[200~,\x1b[31mred\x1b]0;owned\x07\u202e\x1b[201~")
        terminal.settle()
        terminal.press("enter", "escape", "e")
        terminal.wait_for("Export")
        terminal.press("y")
        terminal.wait_for("Sent to")
        terminal.press("escape", "ctrl+q")
        terminal.wait()
        assert leaks(bytes(terminal.raw)) == []
        copied = re.findall(rb"\x1b\]52;c;([A-Za-z0-9+/=]+)", bytes(terminal.raw))
        assert copied
        for text in copied:
            assert "owned" in base64.b64decode(text).decode()
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", base64.b64decode(text).decode())


def test_a_leak_would_be_seen() -> None:
    for name in NAMES.values():
        raw = name.encode("utf-8", "surrogatepass")
        if re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", OURS.sub(b"", raw)):
            assert leaks(b"\x1b[1;1H" + raw + b"\x1b[0m") != [], name
    assert leaks(b"\x1b[2J\x1b[H.weight") != []
    assert leaks("a\u202eb".encode()) != []
    assert leaks(b"\x1b[38;2;1;2;3mplain\x1b[0m\x1b[?1049l") == []
