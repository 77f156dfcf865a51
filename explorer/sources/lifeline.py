"""A pipe without traffic that a worker dies of: its end, which comes with the parent's, kills whoever is tied to it.

The end of the worker's input tells it too, but only when Python runs. A library that is busy in native code may never
let it run again, and who is killed by SIGKILL can kill nobody. `prctl(PR_SET_PDEATHSIG)` follows the thread that
started the worker, not the process, and the interface opens targets from threads that end.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
from contextlib import suppress


def tie(lifeline: int) -> None:
    """Have the kernel kill this process's group when nobody is left who could write into a pipe.

    Linux only: elsewhere the signal of such a pipe is one that does nothing.

    Args:
        lifeline: The pipe's end for reading. Nothing may ever be written into it: that would kill too.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError):  # not every sandbox has this; the end of the worker's input is left then
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)
    poller = select.poll()
    poller.register(lifeline, 0)
    if poller.poll(0):  # it ended before
        os._exit(0)
