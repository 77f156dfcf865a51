"""A program in a pseudo-terminal: what it draws, what it sends, what state it leaves the terminal in."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import pyte

KEYS = {
    "down": "\x1b[B",
    "up": "\x1b[A",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "enter": "\r",
    "tab": "\t",
    "shift+tab": "\x1b[Z",
    "escape": "\x1b",
    "backspace": "\x7f",
    "pagedown": "\x1b[6~",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "f1": "\x1bOP",
    "ctrl+c": "\x03",
    "ctrl+q": "\x11",
    "ctrl+u": "\x15",
}
"""What a terminal sends for the keys that are no character."""

PATIENCE = 60.0
"""Seconds after which a test gives up; a bound for a hung program, never a claim about speed."""

PRIVATE_MODES = re.compile(rb"\x1b\[\?([\d;]+)([hl])")
"""Set and reset of private modes: alternate screen, cursor, mouse, bracketed paste."""

PYTE_CHOKES_ON = re.compile(rb"\x1b\[[<>=?][\d;]*[a-zA-Z]|\x1b\[\?[\d;]*\$p|\x1b[P_^][^\x1b]*\x1b\\")
"""Private sequences that pyte draws as text: keyboard protocols, queries, device strings."""

ROOT = Path(__file__).parents[2]
"""The checkout."""


class Terminal:
    """One run of a program in a pseudo-terminal of its own."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        columns: int,
        rows: int,
        environment: dict[str, str],
        directory: Path,
    ) -> None:
        self.columns, self.rows = columns, rows
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = bytearray()
        """Every byte that the program has sent."""
        self.status: int | None = None
        """The exit status; `None` while it runs."""
        self._held = b""
        # The test keeps the program's side open too: its state can be read after the program has left.
        self._ours, self._theirs = pty.openpty()
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.flags = termios.tcgetattr(self._theirs)
        """The terminal's flags before the program ran."""
        self.pid = os.fork()
        if self.pid == 0:
            try:
                for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
                    # As a shell's foreground job has them: who runs the tests with `nohup` or `&` ignores them.
                    signal.signal(number, signal.SIG_DFL)
                os.setsid()
                fcntl.ioctl(self._theirs, termios.TIOCSCTTY, 0)
                for number in (0, 1, 2):
                    os.dup2(self._theirs, number)
                os.closerange(3, 256)
                os.chdir(directory)
                os.execvpe(argv[0], list(argv), environment)
            finally:
                os._exit(127)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self.status is None:
            for pid in (*self.descendants(), self.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        for descriptor in {self._ours, self._theirs}:
            os.close(descriptor)

    @property
    def side(self) -> int:
        """The program's side of the terminal."""
        return self._theirs

    # -- reading

    def pump(self, seconds: float = 0.02) -> bool:
        """Read what has come; whether anything did."""
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        data = os.read(self._ours, 1 << 16)
        self.raw += data
        self._held += data
        # A sequence may come in two parts: what could still be the beginning of one waits for the rest.
        cut = len(self._held)
        escape = self._held.rfind(b"\x1b", max(0, cut - 64))
        if escape >= 0 and not re.match(rb"\x1b(\[[0-?]*[ -/]*[@-~]|[^\[P\]_^])", self._held[escape:]):
            cut = escape
        self._stream.feed(PYTE_CHOKES_ON.sub(_but_modes, self._held[:cut]))
        self._held = self._held[cut:]
        return True

    def lines(self) -> list[str]:
        """The screen's lines without the blanks at their ends."""
        return [line.rstrip() for line in self.screen.display]

    def text(self) -> str:
        """The screen."""
        return "\n".join(self.lines())

    def wait_for(self, wanted: str | Callable[[str], bool]) -> str:
        """Read until `wanted` is on the screen, or until a screen is that it accepts; return the screen."""
        accepts = wanted if callable(wanted) else lambda text: wanted in text
        until = time.monotonic() + PATIENCE
        while not accepts(self.text()):
            if not self.pump() and (time.monotonic() > until or self._ended()):
                raise AssertionError(f"never on the screen: {wanted!r}\n{self.text()}")
        return self.text()

    def settle(self, quiet: float = 0.4) -> int:
        """Read until nothing has come for `quiet` seconds in which the program waited; return the bytes that came.

        On a loaded machine it may have something to do, and not get to it.
        """
        before = len(self.raw)
        last = began = time.monotonic()
        while time.monotonic() - last < quiet:
            assert time.monotonic() - began < PATIENCE, f"never quiet for {quiet} s\n{self.text()}"
            if self.pump() or self._works():
                last = time.monotonic()
        return len(self.raw) - before

    def _works(self) -> bool:
        """Whether a thread of the program runs, or would on a free processor; workers lead sessions of their own."""
        for pid in (self.pid, *self.descendants()):
            for task in Path(f"/proc/{pid}/task").glob("*/stat"):
                with suppress(OSError):
                    state, _, _, session = task.read_text().rpartition(")")[2].split()[:4]
                    if state == "R" and int(session) == self.pid:
                        return True
        return False

    # -- writing

    def press(self, *keys: str) -> None:
        """Send keys, by name or as text; each is taken in before the next."""
        for key in keys:
            os.write(self._ours, KEYS.get(key, key).encode())
            self.settle(0.15)

    def type(self, text: str | bytes) -> None:
        """Send text, or bytes that are none, and go on at once."""
        os.write(self._ours, text if isinstance(text, bytes) else text.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Change the size; the program is told by a signal."""
        self.columns, self.rows = columns, rows
        self.screen.resize(rows, columns)
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def hang_up(self) -> None:
        """Take the terminal away, as a lost connection does; nothing can be read after."""
        os.close(self._theirs)
        os.close(self._ours)
        self._ours = self._theirs = os.open(os.devnull, os.O_RDWR)

    def signal(self, number: int) -> None:
        """Send the program a signal."""
        os.kill(self.pid, number)

    # -- how it ends

    def _ended(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def wait(self) -> int:
        """Read until the program ends; return its exit status."""
        until = time.monotonic() + PATIENCE
        while not self._ended():
            self.pump()
            assert time.monotonic() < until, f"never ended\n{self.text()}"
        while self.pump():
            pass
        assert self.status is not None
        return self.status

    def modes(self) -> set[int]:
        """The private modes that are on after all that was sent."""
        on = {CURSOR, WRAP}
        for numbers, what in PRIVATE_MODES.findall(bytes(self.raw)):
            (on.update if what == b"h" else on.difference_update)(map(int, numbers.split(b";")))
        return on

    def descendants(self) -> list[int]:
        """The processes below the program."""
        found: list[int] = []
        todo = [self.pid]
        while todo:
            pid = todo.pop()
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                with suppress(OSError):
                    todo.extend(children := [int(child) for child in task.read_text().split()])
                    found.extend(children)
        return found

    def assert_restored(self) -> None:
        """The shell gets its terminal back as it was."""
        assert self.modes() == {CURSOR, WRAP}, "alternate screen left, cursor shown, mouse and bracketed paste off"
        assert termios.tcgetattr(self._theirs) == self.flags
        assert keyboard_modes(bytes(self.raw)) == {"normal": 1, "alternate": 0}, "the shell's own is not popped"


CURSOR, WRAP, ALTERNATE = 25, 7, 1049
"""The private modes that show the cursor, wrap long lines (both on in a fresh terminal), and switch the screen."""


def _but_modes(match: re.Match[bytes]) -> bytes:
    """Keep the modes that pyte knows, drop what it would print."""
    return match[0] if PRIVATE_MODES.fullmatch(match[0]) else b""


def keyboard_modes(sent: bytes) -> dict[str, int]:
    """Count the modes of kitty's keyboard protocol that each screen has after all that was sent.

    A shell pushed one onto its own screen before. Each screen has a stack of its own, and popping what is not there
    does nothing (sw.kovidgoyal.net/kitty/keyboard-protocol).
    """
    stacks, screen = {"normal": 1, "alternate": 0}, "normal"
    for switched, pushed, popped in re.findall(rb"\x1b\[(?:\?1049([hl])|(>\d*)u|<(\d*)u)", sent):
        if switched:
            screen = "alternate" if switched == b"h" else "normal"
        else:
            stacks[screen] = stacks[screen] + 1 if pushed else max(0, stacks[screen] - int(popped or 1))
    return stacks


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int]) -> bool:
    """Wait for processes to end, as long as a hung one would be waited for."""
    until = time.monotonic() + PATIENCE
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    return not any(map(alive, pids))


def quits(terminal: Terminal, key: str) -> None:
    """Quit with a key, and see that the terminal is restored and nothing is left behind."""
    pids = [terminal.pid, *terminal.descendants()]
    terminal.press(key)
    assert terminal.wait() == 0
    terminal.assert_restored()
    assert gone(pids)


def imported(pid: int, library: str) -> bool:
    """Whether a process has a file of `library` mapped, as one that imported it has."""
    try:
        return f"/{library}/" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


STATE = tempfile.TemporaryDirectory(prefix="paramx-state-")
"""Where the program keeps what is typed; removed with the test run."""

ENVIRONMENT = {
    **{
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST", "TEXTUAL", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TMUX"))
    },
    "HF_HUB_OFFLINE": "1",
    # No folder: a table that one run remembered would keep the next from loading.
    "XDG_CACHE_HOME": os.devnull,
    "XDG_STATE_HOME": STATE.name,
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TERM": "xterm-256color",
    "COLORTERM": "truecolor",
    "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
}
"""What the program sees, the same on every machine."""


def paramx(
    *arguments: str | Path, columns: int = 80, rows: int = 24, directory: Path = ROOT, **environment: str
) -> Terminal:
    """Run the command in a terminal."""
    return Terminal(
        [sys.executable, "-m", "explorer", *arguments], columns, rows, {**ENVIRONMENT, **environment}, directory
    )
