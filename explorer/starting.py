"""What is done while the interface is still being imported: a line on the terminal, and the worker is on its way.

Textual takes 0.2 s to import. A person sees the line after 20 ms, and the worker uses the time.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from explorer.core.text import harmless_line

TYPE_CHECKING = False
"""As `typing` has it, whose import takes longer than all that is here."""

if TYPE_CHECKING:
    from explorer.core.loading import Loading, OpenSpec

ERASE_LINE = "\r\x1b[K"
"""The cursor to the first column, and nothing right of it."""

ABOUT_TERMINALS = ("TEXTUAL_DISABLE_KITTY_KEY", "TEXTUAL_SMOOTH_SCROLL")
"""Variables of Textual's that help where a terminal errs; any value of them will do."""


def import_asyncio_without_tls() -> None:
    """Import `asyncio` as Python does where it was built without OpenSSL, which takes 6 ms to load.

    The interface makes no connection; who imports `ssl` later gets it.
    """
    if "ssl" not in sys.modules:
        sys.modules["ssl"] = None  # type: ignore[assignment] # how an import is told that there is none
        try:
            import asyncio  # noqa: F401, PLC0415 - the purpose
        finally:
            del sys.modules["ssl"]


def drop_textuals_switches() -> None:
    """Take Textual's variables out of the environment, but for those about what a terminal can do.

    They are for who writes an interface with it: they press keys, write logs and pictures, import drivers and connect
    to a console; and a value that Textual does not expect is an exception.
    """
    for name in [name for name in os.environ if name.startswith("TEXTUAL") and name not in ABOUT_TERMINALS]:
        del os.environ[name]


class Greeting:
    """One line that stands on the terminal until the interface, or an error, takes its place."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._shown = False

    def show(self, text: str) -> None:
        """Show a line."""
        with suppress(OSError, ValueError):
            columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80  # 0 where nobody has set it
            # The cursor goes back to the first column: a terminal that is taken away now leaves no prompt behind it.
            self._write(f" paramx  {harmless_line(text)}"[: columns - 1] + "\r")
            self._shown = True

    def wipe(self) -> None:
        """Take the line away, if one stands there."""
        if self._shown:
            self._shown = False
            with suppress(OSError, ValueError):
                self._write(ERASE_LINE)

    def _write(self, text: str) -> None:
        assert sys.stderr is not None, "the interface has a terminal"
        # Python would write several cells for a character that the encoding lacks, and the line might wrap.
        encoding = sys.stderr.encoding or "ascii"
        sys.stderr.write(text.encode(encoding, "replace").decode(encoding))
        sys.stderr.flush()


class Started:
    """Opens targets in workers, the first of them before anybody asks."""

    def __init__(self, spec: OpenSpec) -> None:
        """Start to open `spec`; an empty target is left to be chosen."""
        self._spec = spec
        # So early no thread works; and the interface is not imported, which the copy would carry along.
        self._loading = self._open(spec, fork=True) if spec.target else None

    def __call__(self, spec: OpenSpec) -> Loading:
        """Return the opening that is under way if it is of `spec`, otherwise start one."""
        loading, self._loading = self._loading, None
        if loading is not None and spec == self._spec:
            return loading
        if loading is not None:
            loading.cancel()
        return self._open(spec)

    def __enter__(self) -> Started:
        """Return this opener."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the opening that nobody asked for after all."""
        if self._loading is not None:
            self._loading.cancel()

    def _open(self, spec: OpenSpec, fork: bool = False) -> Loading:
        # The worker's module reaches half the standard library: the line is shown before.
        from explorer.sources.worker import open_in_worker  # noqa: PLC0415 - see above

        return open_in_worker(spec, fork)
