"""Tells whether memory, or processor time, ran out, and only where there is evidence of it."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from explorer.core.text import short_bytes

# Not when it is asked for: a library that memory has no room for can't be loaded to tell why.
try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

SAYS = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "memory allocation still failed",
    "bad_alloc",
    "out of memory",
    "memoryerror",
)
"""What libraries write when an allocation failed: torch's allocators, the C library, OpenBLAS, C++, CUDA, Python."""

WITH_A_LIMIT = (
    "failed to map segment from shared object",
    "can't start new thread",
    "without setting an exception",
    "without exception set",
)
"""What the dynamic linker writes when a library does not fit, and Python when a thread's stack does not, or when a
part of it written in C failed and had no memory to say why; also where a library may not be executed, where there are
too many processes, and where such a part is wrong."""

IMPORT_SECONDS = 60.0
"""Processor time after which an import below a limit of memory is taken for one that never ends; usual are 4 s."""

SEARCHED = signal.SIGPROF
"""What ends a process that looks for memory for ever."""

REMEDY = "free some memory, or open it on a larger machine"
"""What would work."""


CLOCK_SECONDS = 0.1
"""How much less than the limit the system's other clock may say that was used: the limit is held by whole ticks."""


def kills() -> int | None:
    """Return how many processes the system has killed for memory: in this control group, else on this machine.

    `None` where it does not tell (cgroup-v2.rst, memory.events; proc(5), /proc/vmstat).
    """
    with suppress(OSError, ValueError, StopIteration):
        groups = Path("/proc/self/cgroup").read_text(errors="replace").splitlines()
        group = next(line for line in groups if line.startswith("0::")).removeprefix("0::/")
        return _counter(Path("/sys/fs/cgroup", group, "memory.events"))
    with suppress(OSError, ValueError, StopIteration):
        return _counter(Path("/proc/vmstat"))
    return None


def _counter(path: Path) -> int:
    lines = path.read_text(errors="replace").splitlines()
    return int(next(line for line in lines if line.startswith("oom_kill ")).split()[1])


@contextmanager
def importing() -> Iterator[None]:
    """End this process where an import never does: OpenBLAS, which is refused memory, tries again and again.

    Only below `ulimit -v`. The signal's default action works also while native code keeps Python from running.
    """
    if _limit() is None:
        yield
        return
    signal.setitimer(signal.ITIMER_PROF, IMPORT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def was_short(error: BaseException) -> bool:
    """Tell whether an exception says that memory ran out."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return says_so(str(error))


def says_so(text: str) -> bool:
    """Tell whether what a library wrote says that memory ran out."""
    text = text.lower()
    return any(sign in text for sign in SAYS) or (_limit() is not None and any(sign in text for sign in WITH_A_LIMIT))


def shortage() -> str:
    """Say that memory ran out, and the limit of this process where it has one."""
    limit = _limit()
    return "out of memory" + ("" if limit is None else f": a process may have {short_bytes(limit)} here")


def out_of_time() -> int | None:
    """Return the seconds of processor time that a process may use (`ulimit -t`) if one of ours that ended did.

    The system sends SIGXCPU then or, where that is the hard limit too, SIGKILL.
    """
    if resource is None:
        return None
    limit = resource.getrlimit(resource.RLIMIT_CPU)[0]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return limit if 0 <= limit <= used.ru_utime + used.ru_stime + CLOCK_SECONDS else None


def _limit() -> int | None:
    """Return the bytes of address space that this process may have (`ulimit -v`), `None` without a limit."""
    if resource is None:
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit
