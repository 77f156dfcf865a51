"""A small parent that owns the terminal's state: whatever kills the interface, the shell gets its terminal back.

Textual restores the terminal when it ends by itself, and nothing restores it when a signal ends it. So the command
forks before it imports anything large: the child is the interface, the parent waits. When the child is gone, the
parent writes what undoes the modes, sets the flags as they were, kills what the child left behind, and ends
with the child's exit status; 128 + n after signal n. It reads nothing and costs one fork (see README, "Trust").

The two share two pipes. `life` has no traffic: its end tells the child that the parent is gone. On `word` the child
says how it ends: `clean` when the terminal is restored already, otherwise a line to show.

`explore(model)` runs in the user's own process and has no such parent: forking a process that holds a GPU is no
option.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
"""Signals that end the program: the parent passes them on and restores the terminal."""

RESTORE = (
    # An escape sequence may have been cut in the middle: CAN ends it, ST a string.
    "\x18\x1b\\"
    "\x1b[?2026l"  # synchronized output
    "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l"  # mouse
    "\x1b[?1004l\x1b[?2004l\x1b[?2048l"  # focus reports, bracketed paste, resize reports
    "\x1b[<9u"  # kitty's keyboard protocol, as often as it was entered; each screen has its own, so before the switch
    "\x1b[?7h\x1b[0m"  # long lines wrap, no colour
    "\x1b[?1049l\x1b[?25h"  # the normal screen, the cursor
)
"""What undoes all that Textual 8.2.8 turns on (linux_driver.py), in its order."""

SAVE_CURSOR = "\x1b7"
"""Leaving the alternate screen goes to the cursor that was saved last, also where nobody had entered it yet."""

LEAVE_SECONDS = 0.7
"""How long the interface may take to end after `Child.leave`; then it is ended, whatever hangs."""

KILL_SECONDS = 0.2
"""How long the interface may take to die of a signal before it is killed."""

GIVE_UP_SECONDS = 0.5
"""How long a killed process is waited for; one that hangs in a disk read is left to the system."""

CONTINUE_SECONDS = 0.05
"""How long after a stop the interface may take to go on by itself: `fg` continues the whole process group, and an
interface that is told twice starts twice."""

DRAW_SECONDS = 0.3
"""How long a terminal that takes no output is waited for."""

IFLAG, LFLAG, CC = 0, 3, 6
"""Places in what `termios.tcgetattr` returns: input modes, local modes, special characters."""

PR_SET_CHILD_SUBREAPER = 36
"""Linux, prctl(2): processes that a dead child leaves behind become ours."""

OFFERED = "groups as typed are offered at the next start"
"""What becomes of them after a bad end (`explorer.core.drafts`)."""

CLEAN = b"clean"
"""The child's word that the terminal is as it was."""


class Child:
    """What the interface knows of its parent."""

    def __init__(self, life: int, word: int, terminal: Terminal) -> None:
        """Keep the child's ends of the pipes."""
        self._life = life
        self._word = word
        self._terminal = terminal

    def leave(self, error: str | None) -> None:
        """End this process soon, whatever hangs: a thread that waits for a disk can't be told to stop.

        Args:
            error: The line that says why the program leaves, shown if it can't do so itself; `None` if the user left.
        """
        import threading  # noqa: PLC0415 - the parent needs no threads

        def end() -> None:
            time.sleep(LEAVE_SECONDS)
            with suppress(OSError):
                os.write(self._word, (error or "").encode(errors="backslashreplace")[: select.PIPE_BUF])
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
            self._terminal.restore(drawn=True)
            self._terminal.write(f"\rparamx: its parent process was killed; {OFFERED}\n")
            os._exit(0)
        os._exit(128 + signal.SIGKILL)

    def end(self, code: int) -> NoReturn:
        """End this process, with the terminal restored already."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        with suppress(OSError):
            os.write(self._word, CLEAN)
        # Not `sys.exit`: the interpreter would wait for threads that may hang. What is left is the parent's to kill.
        os._exit(code)


class Terminal:
    """The terminal's state before the interface had it."""

    def __init__(self) -> None:
        """Remember it. Standard input gives the flags, standard error is drawn on: both are a terminal."""
        self._flags: list[Any] | None = None
        self._output = 2
        with suppress(termios.error):
            self._flags = termios.tcgetattr(0)
        with suppress(OSError):
            # A description of our own: not blocking, without making the shell's so.
            self._output = os.open(os.ttyname(2), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        self.write(SAVE_CURSOR)

    def listen(self) -> None:
        r"""Keep what is typed for the interface, as it is typed: no echo, no line to be ended first.

        Nothing is flushed (TCSANOW): keys pressed already are the interface's too. Signals stay on until it is there:
        Ctrl+C, Ctrl+Z and Ctrl+\ work from the first moment.
        """
        if self._flags is None:
            return
        flags = list(self._flags)
        flags[IFLAG] &= ~(termios.IXON | termios.IXOFF | termios.ICRNL | termios.INLCR | termios.IGNCR)
        flags[LFLAG] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
        flags[CC] = list(flags[CC])
        flags[CC][termios.VMIN] = 1
        with suppress(termios.error):
            termios.tcsetattr(0, termios.TCSANOW, flags)

    def restore(self, *, drawn: bool) -> None:
        """Bring it back.

        Args:
            drawn: Whether modes may still be on; otherwise only the flags are looked at.
        """
        # The shell may have the terminal already: then writing to it must not stop us.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        if drawn:
            self.write(RESTORE)
        if self._flags is None:
            return
        with suppress(termios.error):
            if drawn:  # mouse reports, answers of the terminal: not for the shell to run
                termios.tcflush(0, termios.TCIFLUSH)
            if termios.tcgetattr(0) != self._flags:
                # Not TCSADRAIN: that waits for ever for a terminal that takes no output.
                termios.tcsetattr(0, termios.TCSANOW, self._flags)

    def write(self, text: str) -> None:
        """Write text as far as the terminal takes it within `DRAW_SECONDS`."""
        rest = text.encode(errors="backslashreplace")
        until = time.monotonic() + DRAW_SECONDS
        while rest and time.monotonic() < until:
            poller = select.poll()
            poller.register(self._output, select.POLLOUT)
            try:
                if poller.poll(1000 * DRAW_SECONDS):
                    rest = rest[os.write(self._output, rest) :]
            except BlockingIOError:
                continue
            except OSError:  # it is gone
                return


def supervise(run: Callable[[Child], int]) -> int:
    """Run the interface in a child process and restore the terminal after it.

    Args:
        run: The interface; it is given what it knows of its parent, handles its own errors, and returns the exit
            status.

    Returns:
        The exit status: the interface's own, or 128 + n after signal n.
    """
    # A signal between the fork and the child's own handlers would run the parent's; and from here on there are flags
    # to restore.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    terminal = Terminal()
    terminal.listen()
    life, life_held = os.pipe()
    word, word_given = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(life_held)
        os.close(word)
        _be_child(run, Child(life, word_given, terminal), mask)
    os.close(life)
    os.close(word_given)
    parent = _Parent(pid, terminal)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    _adopt_orphans()
    status = parent.wait()
    with suppress(OSError):
        os.set_blocking(word, False)
    said = b""
    with suppress(OSError):
        said = os.read(word, select.PIPE_BUF)
    # A clean child has drawn nothing since it said so.
    terminal.restore(drawn=parent.drawn and said != CLEAN)
    _kill_children()
    if said not in (b"", CLEAN):
        terminal.write(f"paramx: {said.decode(errors='replace')}\n")
    elif parent.asked is None and os.WIFSIGNALED(status) and os.WTERMSIG(status) not in ENDING:
        name = signal.Signals(os.WTERMSIG(status)).name
        terminal.write(f"paramx: the interface was ended by {name}; {OFFERED}\n")
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
        child.watch()
        code = run(child)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        child.end(code)


class _Parent:
    """Waits for the interface: its end, its stops, signals, and the end of the terminal."""

    def __init__(self, pid: int, terminal: Terminal) -> None:
        self._pid = pid
        self._terminal = terminal
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
            elif self.asked is None:
                self._stop()

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

    def _stop(self) -> None:
        """Stop as the interface did, so that the shell takes the terminal; go on when it gives it back."""
        self.drawn = False  # Textual restores the terminal before it stops
        self._stopped = True
        self._terminal.restore(drawn=False)
        # Not SIGSTOP: where no shell could continue us (`ssh host paramx …`) the system drops this one.
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._take)
        time.sleep(CONTINUE_SECONDS)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._pid, number)


def _adopt_orphans() -> None:
    """Become the parent of what the interface leaves behind: its worker, if it is killed. Linux only.

    Elsewhere a worker ends by itself when its standard input does.
    """
    with suppress(ImportError, OSError, AttributeError):
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
