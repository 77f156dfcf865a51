"""A worker without a new interpreter: a copy of this process, made while it is small and does nothing else.

To start Python and import what this process has already takes 45 ms of the processor time that the first frame needs.
The copy lives as the other kind does: a session of its own, its own pipes, nothing else of this process open, and no
current directory to import from.
"""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import BinaryIO, NoReturn

from explorer.core.paths import current_directory

POLL_SECONDS = 0.002
"""Between two looks at a copy that is ending."""


def can_fork() -> bool:
    """Whether a copy can do what a new interpreter would do.

    Linux only: the libraries of macOS refuse to work in a copy. An empty entry of `PYTHONPATH` means the current
    directory, which only a new interpreter leaves out for sure.
    """
    path = os.environ.get("PYTHONPATH")
    return sys.platform == "linux" and (not path or all(path.split(os.pathsep)))


class ForkedProcess:
    """A running copy of this process: as much of `subprocess.Popen` as a worker needs."""

    def __init__(self, run: Callable[[], object], keep: Iterable[int], environment: Mapping[str, str]) -> None:
        """Start it. No thread may hold a lock: call it before any works.

        Args:
            run: What the copy does; it ends when this does.
            keep: The file descriptors that stay open in it beside its standard streams.
            environment: Its environment.
        """
        requests, stdin = os.pipe()
        stdout, prints = os.pipe()
        self.returncode: int | None = None
        """Exit status, minus the signal's number after a signal; `None` while it runs or nobody has waited."""
        self._reaping = threading.Lock()
        self.pid = os.fork()
        """Its number, and its session's."""
        if self.pid == 0:
            _be_copy(run, requests, prints, keep, environment)
        os.close(requests)
        os.close(prints)
        self.stdin: BinaryIO = open(stdin, "wb", buffering=0)  # noqa: SIM115, PTH123 - lives as long as the copy
        """What it reads."""
        self.stdout: BinaryIO = open(stdout, "rb", buffering=0)  # noqa: SIM115, PTH123 - as above
        """What it prints, errors too."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, however long without a `timeout`, and return its status.

        Raises:
            subprocess.TimeoutExpired: It runs on after `timeout` seconds.
        """
        until = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            with self._reaping:
                if self.returncode is None:
                    pid, status = os.waitpid(self.pid, os.WNOHANG)
                    if pid:
                        self.returncode = os.waitstatus_to_exitcode(status)
                if self.returncode is not None:
                    return self.returncode
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired("worker", timeout or 0.0)
            time.sleep(POLL_SECONDS)


def _be_copy(
    run: Callable[[], object], requests: int, prints: int, keep: Iterable[int], environment: Mapping[str, str]
) -> NoReturn:
    """Be the copy, to the end of the process."""
    status = 1
    try:
        os.setsid()
        os.dup2(requests, 0)
        os.dup2(prints, 1)
        os.dup2(prints, 2)
        # The supervisor's pipes are among the rest: held open here, they would not end when the interface does.
        for kept, next_kept in pairwise([2, *sorted(keep), os.sysconf("SC_OPEN_MAX")]):
            os.closerange(kept + 1, next_kept)
        # Not the parent's: they may think that they can seek.
        sys.stdout = sys.stderr = open(1, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["paramx"]
        if not sys.flags.safe_path and sys.path and sys.path[0] in ("", current_directory()):
            del sys.path[0]  # as `-P` leaves it out: a `torch.py` may lie there
        gc.enable()
        run()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
