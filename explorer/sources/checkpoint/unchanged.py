"""Notices that a file is no longer the one that was opened: its offsets would show other bytes as numbers.

While a target is opened, each of its files is noted as it was then. Whatever is asked later reads those files alone,
and every read looks at the file once more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from explorer.core.errors import ParamxError
from explorer.core.text import visible

Signature = tuple[int, int, int, int, int]
"""What tells a file from another in its place, and from itself written anew: device, inode, size, and the times of
its last writing, which anybody may set, and of its last change, which nobody may."""

TICK_NS = 10_000_000
"""Longest step of the clock that a system writes such times by, in nanoseconds: Linux has 1, 4 or 10 ms. Who writes
twice within one leaves the same time."""


class ChangedError(ParamxError):
    """A file is not as it was when it was opened. Of one shard too it is no finding: no row can be trusted then."""

    def __init__(self, path: Path) -> None:
        """Name the file."""
        super().__init__("", f"{visible(path.name)} changed since it was opened", "r opens it again")

    def __reduce__(self) -> tuple[type[ParamxError], tuple[str, str, str]]:
        """Pickle as the line that it is."""
        return ParamxError, (self.what, self.why, self.remedy)


class OpenedFiles:
    """The files of one open target, as they were when it was opened."""

    def __init__(self) -> None:
        """Begin to note files; `close` ends it."""
        self._known: dict[str, Signature] = {}
        self._closed = False

    def close(self) -> None:
        """Take no further file: the target is open."""
        self._closed = True

    def note(self, path: Path, status: os.stat_result) -> None:
        """Note a file while the target is opened, the first time; later compare it.

        Raises:
            ChangedError: It is another than the one that was opened, or was written to since.
        """
        now = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        if not self._closed:
            if str(path) not in self._known:
                self._known[str(path)] = now
                _let_pass(status.st_ctime_ns + TICK_NS)
        elif self._known.get(str(path)) != now:
            raise ChangedError(path)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note, or compare, each file that is read within."""
        before = _WATCH.set(self)
        try:
            yield
        finally:
            _WATCH.reset(before)


def _let_pass(moment: int) -> None:
    """Wait until a moment of the clock has passed, for a tick at most: nothing of the file is read before."""
    left = moment - time.time_ns()
    if 0 < left <= TICK_NS:  # a file from the future is another clock's
        time.sleep(left / 1e9)


_WATCH: ContextVar[OpenedFiles | None] = ContextVar("watch", default=None)


def watching() -> OpenedFiles | None:
    """Return what files that are opened here are noted in, or compared with."""
    return _WATCH.get()


@contextmanager
def unwatched() -> Iterator[None]:
    """Open files as they are now: those that are not the target's, but read by a module as it runs."""
    before = _WATCH.set(None)
    try:
        yield
    finally:
        _WATCH.reset(before)
