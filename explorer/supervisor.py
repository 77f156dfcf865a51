"""A small parent that owns the terminal's state: whatever kills the interface, the shell gets its terminal back.

Textual restores the terminal when it ends by itself, and nothing restores it when a signal ends it. So the command
forks before it imports anything large: the child is the interface, the parent waits. When the child is gone, the
parent writes what undoes the modes, sets the flags as they were, kills what the child left behind, and ends
with the child's exit status; 128 + n after signal n. It reads nothing and costs one fork (see README, "Trust").

The two share two pipes. `life` has no traffic: its end tells the child that the parent is gone. On `word` the child
says when it takes the terminal, whether there are groups to be offered at the next start, and how it ends: `clean`
when the terminal is restored already, otherwise a line to show.

`explore(model)` runs in the user's own process and has no such parent: forking a process that holds a GPU is no
option.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from explorer.terminal_state import Terminal, in_background

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
"""Signals that end the program: the parent passes them on and restores the terminal."""

LEAVE_SECONDS = 0.6
"""How long the interface may take to end after `Child.leave`; then it is ended, whatever hangs."""

KILL_SECONDS = 0.2
"""How long the interface may take to die of a signal before it is killed."""

GIVE_UP_SECONDS = 0.5
"""How long a killed process is waited for; one that hangs in a disk read is left to the system."""

CONTINUE_SECONDS = 0.05
"""How long the interface may take to go on by itself when the parent does: `fg` continues the whole process group,
one after the other. One that stands still for longer is stopped, or has to be told."""

PR_SET_CHILD_SUBREAPER = 36
"""Linux, prctl(2): processes that a dead child leaves behind become ours."""

OFFERED = "groups as typed are offered at the next start"
"""What becomes of them after a bad end (`explorer.core.draft_store`)."""

CLEAN = b"clean"
"""The child's word that the terminal is as it was."""

BEGUN, KEPT, NOT_KEPT = b"\x01", b"\x02", b"\x03"
"""The child's words that it takes the terminal; that something typed is on the disk; that nothing is any more."""

MOST = 32_768
"""Longest last word in bytes: a pipe takes it whole, whether or not it is read. A longer one loses its beginning."""


class Child:
    """What the interface knows of its parent."""

    def __init__(self, life: int, word: int, terminal: Terminal, told: Callable[[BaseException], str]) -> None:
        """Keep the child's ends of the pipes, and what makes a line of an exception."""
        self._life = life
        self._word = word
        self._terminal = terminal
        self._told = told
        self._begun = self._kept = self._failed = False

    def begin(self) -> None:
        """Say that the interface takes the terminal now: from here on there are modes to undo."""
        self._begun = True
        self._say(BEGUN)

    def keep(self, kept: bool) -> None:
        """Say whether what was typed is on the disk."""
        if kept is not self._kept:
            self._kept = kept
            self._say(KEPT if kept else NOT_KEPT)

    def fail(self, error: BaseException) -> NoReturn:
        """End this process at once because of an exception; the parent restores the terminal and tells it.

        Nothing of the interface is asked to close: without memory or threads that fails too, or hangs.
        """
        if self._failed:  # another thread is at it
            time.sleep(LEAVE_SECONDS)
            os._exit(1)
        self._failed = True
        text = self._told(error)
        self._say((f"{text}; {OFFERED}" if self._kept else text).encode(errors="backslashreplace")[-MOST:])
        os._exit(1)

    def _say(self, word: bytes) -> None:
        with suppress(OSError):
            os.write(self._word, word)

    def leave(self, error: str | None) -> None:
        """End this process soon, whatever hangs: a thread that waits for a disk can't be told to stop.

        Args:
            error: The line that says why the program leaves, shown if it can't do so itself; `None` if the user left.
        """
        import threading  # noqa: PLC0415 - the parent needs no threads

        def end() -> None:
            time.sleep(LEAVE_SECONDS)
            self._say((error or "").encode(errors="backslashreplace")[-MOST:])
            os._exit(1 if error else 0)

        threading.Thread(target=end, daemon=True).start()

    def watch(self) -> None:
        """End this process when its parent does; returns at once."""
        import threading  # noqa: PLC0415 - as above

        threading.Thread(target=self._wait_for_the_end, daemon=True).start()

    def _wait_for_the_end(self) -> None:
        while os.read(self._life, 1):
            pass
        # Other threads may be drawing: a copy of this process restores the terminal once they are gone.
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.close(writing)
            os.close(self._word)
            os.read(reading, 1)
            self._terminal.restore(drawn=True, begun=self._begun)
            offered = f"; {OFFERED}" if self._kept else ""
            self._terminal.write(f"\rparamx: its parent process was killed{offered}\n")
            os._exit(0)
        os._exit(128 + signal.SIGKILL)

    def end(self, code: int) -> NoReturn:
        """End this process, with the terminal restored already."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        self._say(CLEAN)
        # Not `sys.exit`: the interpreter would wait for threads that may hang. What is left is the parent's to kill.
        os._exit(code)


def _plainly(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def supervise(
    run: Callable[[Child], int],
    told: Callable[[BaseException], str] = _plainly,
    greet: Callable[[], None] = lambda: None,
) -> int:
    """Run the interface in a child process and restore the terminal after it.

    Args:
        run: The interface; it is given what it knows of its parent, handles its own errors, and returns the exit
            status. It says `Child.begin` before it changes the terminal.
        told: Makes a line of an exception that nobody expected; what stands above its last line is shown above it.
        greet: Shows a line until the interface is there; not called in the background.

    Returns:
        The exit status: the interface's own, or 128 + n after signal n.
    """
    # A signal between the fork and the child's own handlers would run the parent's; and from here on there are flags
    # to restore.
    if in_background():
        # As an editor does, before the flags are read: those of now are the shell's line editor's.
        signal.raise_signal(signal.SIGTTOU)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    terminal = Terminal()
    if not in_background():
        greet()
    terminal.listen()
    try:
        life, life_held = os.pipe()
        word, word_given = os.pipe()
        pid = os.fork()
    except OSError:  # no memory for a copy
        terminal.restore(drawn=True, begun=False)
        raise
    if pid == 0:
        os.close(life_held)
        os.close(word)
        _be_child(run, Child(life, word_given, terminal, told), mask)
    os.close(life)
    os.close(word_given)
    parent = _Parent(pid, terminal, word)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    _adopt_orphans()
    status = parent.wait()
    begun, kept, said = parent.words()
    # A clean child has drawn nothing since it said so.
    terminal.restore(drawn=parent.drawn and said != CLEAN, begun=begun)
    _kill_children()
    if said not in (b"", CLEAN):
        above, _, line = said.decode(errors="replace").rpartition("\n")
        terminal.write(f"{above}\nparamx: {line}\n" if above else f"paramx: {line}\n")
    elif parent.asked is None and os.WIFSIGNALED(status) and os.WTERMSIG(status) not in ENDING:
        name = signal.Signals(os.WTERMSIG(status)).name
        terminal.write(f"paramx: the interface was ended by {name}{f'; {OFFERED}' if kept else ''}\n")
    if parent.asked is not None:
        return 128 + parent.asked
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _be_child(run: Callable[[Child], int], child: Child, mask: Iterable[int]) -> NoReturn:
    """Be the interface, from the fork to the end of the process; `mask` has the signals that were blocked before."""
    code = 1
    try:
        for number in ENDING:
            # At once: Python's own handlers wait for the interpreter, and the parent restores the terminal.
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _fail_with_threads(child)
        child.watch()
        code = run(child)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:
        child.fail(error)
    child.end(code)


def _fail_with_threads(child: Child) -> None:
    """End the interface with any of its threads: without the one that draws, or reads keys, it would hang."""
    import threading  # noqa: PLC0415 - the parent needs no threads

    pid = os.getpid()
    usual = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        if os.getpid() == pid and failed.exc_value is not None:
            child.fail(failed.exc_value)
        usual(failed)  # a worker that was forked from here prints into its log

    threading.excepthook = hook


class _Parent:
    """Waits for the interface: its end, its stops, signals, and the end of the terminal."""

    def __init__(self, pid: int, terminal: Terminal, word: int) -> None:
        self._pid = pid
        self._terminal = terminal
        self._word = word
        os.set_blocking(word, False)
        self._said = b""
        self.asked: int | None = None
        """The signal that ended the program; `None` if none came to the parent."""
        self.drawn = True
        """Whether the interface may have the terminal: not while it is stopped."""
        self._killed = 0.0
        self._stopped = False
        self._poller = select.poll()
        self._poller.register(0, 0)  # tells only that the terminal was hung up
        self._woken, waking = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(waking, False)
        self._poller.register(self._woken, select.POLLIN)
        signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        for number in (*ENDING, signal.SIGTSTP, signal.SIGCHLD):
            signal.signal(number, self._take)

    def _take(self, number: int, _: FrameType | None) -> None:
        """Take a signal; `wait` is woken by it."""
        if number in ENDING:
            self.asked = self.asked or number
        elif number == signal.SIGTSTP:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTSTP)  # its stop is ours, see `_stop`

    def wait(self) -> int:
        """Wait until the interface is gone; return its status as `waitpid` has it."""
        while (status := self._look()) is None:
            timeout = self._end() if self.asked is not None else None
            if timeout is not None and timeout <= 0:
                return int(signal.SIGKILL)
            for descriptor, event in self._poller.poll(None if timeout is None else 1000 * timeout):
                if descriptor == self._woken:
                    with suppress(BlockingIOError):
                        os.read(self._woken, 4096)
                elif event & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                    self._poller.unregister(descriptor)
                    self.asked = self.asked or signal.SIGHUP
        return status

    def words(self) -> tuple[bool, bool, bytes]:
        """Return what the child said: whether it took the terminal, whether what is typed is kept, its last word."""
        with suppress(OSError):
            while some := os.read(self._word, 1 << 16):
                self._said += some
        kept = self._said.rfind(KEPT) > self._said.rfind(NOT_KEPT)
        return BEGUN in self._said, kept, self._said.translate(None, BEGUN + KEPT + NOT_KEPT)

    def _look(self) -> int | None:
        """Take what has become of the interface; return its status if it is gone."""
        while True:
            pid, status = os.waitpid(self._pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if not pid:
                if self._stopped and self.asked is None:  # we go on, so does it
                    self._stopped = False
                    self._signal(signal.SIGCONT)
                return None
            if os.WIFCONTINUED(status):
                self.drawn = True
                self._stopped = False
            elif not os.WIFSTOPPED(status):
                return status
            elif self.asked is None and not self._goes_on():
                self._stop(os.WSTOPSIG(status))

    def _end(self) -> float:
        """End the interface, gently first; return for how many seconds to wait for that, 0 to give up."""
        now = time.monotonic()
        if not self._killed:
            self._killed = now
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)
        if now < self._killed + KILL_SECONDS:
            return self._killed + KILL_SECONDS - now
        self._signal(signal.SIGKILL)
        return self._killed + KILL_SECONDS + GIVE_UP_SECONDS - now

    def _goes_on(self) -> bool:
        """Tell whether the interface goes on: a shell that stopped us both continues us both, one after the other."""
        time.sleep(CONTINUE_SECONDS)
        return os.waitid(os.P_PID, self._pid, os.WCONTINUED | os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _stop(self, by: int) -> None:
        """Stop as the interface did, so that the shell takes the terminal; go on when it gives it back.

        Args:
            by: The signal that stopped it. By SIGTSTP it stops itself, and has given the terminal back.
        """
        left = by != signal.SIGTSTP and self.drawn and self.words()[0] and not in_background()
        self._terminal.restore(drawn=left)
        self.drawn = False
        self._stopped = True
        # Not SIGSTOP: where no shell could continue us (`ssh host paramx …`) the system drops this one.
        # Held back at first: one that comes meanwhile is the same, and not a second stop after `fg`.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})
        signal.signal(signal.SIGTSTP, self._take)
        time.sleep(CONTINUE_SECONDS)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._pid, number)


def _adopt_orphans() -> None:
    """Become the parent of what the interface leaves behind: its worker, if it is killed. Linux only.

    Elsewhere a worker ends by itself when its standard input does.
    """
    with suppress(ImportError, OSError, AttributeError, MemoryError):
        import ctypes  # noqa: PLC0415 - 4 ms, while the interface imports its own

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _kill_children() -> None:
    """Kill all processes below this one, and reap them."""
    until = time.monotonic() + GIVE_UP_SECONDS
    while time.monotonic() < until:
        try:
            listed = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY)
            children = os.read(listed, 1 << 16).split()
            os.close(listed)
        except OSError:  # no such thing on this system
            return
        if not children:
            return
        for child in map(int, children):
            with suppress(OSError):
                # A worker leads a session of its own, with what it started.
                os.killpg(child, signal.SIGKILL) if os.getpgid(child) == child else os.kill(child, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.005)
