"""Keeps off the screen what a process writes to its standard error while the interface draws there.

That is warnings, asyncio's debugging, loggers of a process that calls `explore`, and native libraries, which know no
`sys.stderr`.
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from contextlib import suppress

from explorer.core.text import harmless

MOST = 65_536
"""Bytes that are shown in the end, the last ones."""

MOST_KEPT = 16 * MOST
"""Bytes that are kept; then it begins anew."""


class HeldStderr:
    """Takes the place of descriptor 2.

    With a file and not a pipe: nobody who writes has to wait for a reader, or fails when it is gone, as children that
    outlive the interface would.
    """

    def __init__(self) -> None:
        """Take it.

        Raises:
            OSError: There is no room for a file; descriptor 2 is as it was.
        """
        self._kept = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed in `release`
        fcntl.fcntl(self._kept, fcntl.F_SETFL, os.O_APPEND)  # so that it may be cut while others write
        encoding = sys.__stderr__.encoding if sys.__stderr__ is not None else "utf-8"
        self.terminal = os.fdopen(os.dup(2), "w", encoding=encoding, errors="backslashreplace")
        """What descriptor 2 was: here the interface draws."""
        os.dup2(self._kept.fileno(), 2)

    def trim(self) -> None:
        """Forget what was written where it is much."""
        with suppress(OSError):
            if os.fstat(self._kept.fileno()).st_size > MOST_KEPT:
                os.ftruncate(self._kept.fileno(), 0)

    def release(self) -> None:
        """Make descriptor 2 what it was, and show what was written meanwhile."""
        os.dup2(self.terminal.fileno(), 2)
        with suppress(OSError), self.terminal, self._kept:
            self._kept.seek(max(0, self._kept.seek(0, os.SEEK_END) - MOST))
            self.terminal.write(harmless(self._kept.read().decode(errors="replace")))
