"""Saves the groups being typed to disk, so that a crash, a kill or a lost connection does not lose them.

One small TOML file a session and target, in `$XDG_STATE_HOME/paramx/drafts` (`~/.local/state/…`), replaced as a
whole at each keystroke; the format is that of `--groups`, with what can't be read yet in a comment. A session removes
its own if it ends well. One that is found later is offered, never applied by itself.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from explorer.core.errors import ParamxError
from explorer.core.paths import own_folder
from explorer.core.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from explorer.core.draft import Draft

MOST = 32
"""Most files that are kept; the oldest are removed first."""

SETTLE_SECONDS = 0.3
"""Longest wait for the last keystroke's file where the program ends by itself."""


def drafts_folder() -> Path:
    """Return where drafts are kept.

    Raises:
        OSError: Nobody knows where home is.
    """
    return own_folder("XDG_STATE_HOME", ".local/state") / "drafts"


class Left(NamedTuple):
    """What a session that ended badly left behind on a target."""

    draft: Draft | None
    """The latest groups that can be read."""
    damaged: str = ""
    """Why those after them can't be read, in a line with their path; empty where there are none."""


class DraftStore:
    """The drafts of one session: its own, and those that others left behind. A failing disk is told, once."""

    def __init__(self, folder: Path | None = None, tell: Callable[[bool], None] = lambda kept: None) -> None:
        """Keep drafts in `folder`; nothing is written or read yet.

        Args:
            folder: Where; `None` is the user's own.
            tell: Called after each write with whether any draft of this session is on the disk.
        """
        self._folder = folder
        self._tell = tell
        self._kept: set[Path] = set()
        self._lock = threading.Lock()
        self._wanted: dict[str, str | None] = {}
        self._due = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._failed: Callable[[str], object] = lambda why: None
        self._own: set[Path] = set()
        self._left: set[Path] = set()
        self._over = self._writing = self._told = False

    def keep(self, target: str, draft: Draft | None, failed: Callable[[str], object] = lambda why: None) -> None:
        """Have a thread write the groups at once: a slow disk gets the latest of them, and does not slow typing.

        Args:
            target: What they are tried on, as the user named it.
            draft: The groups; `None` if they are as at the start, and nothing has to be kept.
            failed: Called the first time that something can't be kept, with the reason, maybe by the thread.
        """
        from explorer.core import draft as drafting  # noqa: PLC0415 - needed when something was typed
        from explorer.core import grouping_file  # noqa: PLC0415 - reaches a TOML reader: not before the first frame

        try:
            text = None if draft is None else drafting.dumps(draft, target)
        except ParamxError as error:  # an option that TOML does not have
            self._tell_failed(error.line, failed)
            return
        if text is not None and len(text.encode()) > grouping_file.MAX_BYTES:
            self._tell_failed(f"more than {grouping_file.MAX_BYTES:,} bytes", failed)
            return
        with self._due:
            self._failed = failed
            self._wanted[target] = text
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_on, daemon=True)
                self._thread.start()
            self._due.notify_all()

    def left(self, target: str) -> Left:
        """Return what a session left on a target when it ended badly."""
        from explorer.core import draft as drafting  # noqa: PLC0415 - as above
        from explorer.core import grouping_file  # noqa: PLC0415 - as above

        damaged = ""
        with contextlib.suppress(OSError):
            mark, here = _mark(target), _mark(os.uname().nodename)
            found: list[tuple[float, Path]] = []
            for path in self._path().glob(f"{mark}-{here}-*.toml"):
                pid, _, birth = path.stem.split("-", 2)[2].partition("-")
                if pid.isdecimal() and not _alive(int(pid), birth):
                    found.append((path.lstat().st_mtime, path))
            for _, path in sorted(found, reverse=True):
                try:
                    draft = drafting.loads(grouping_file.read(path), str(path))
                except ParamxError as error:  # it stays where it is: somebody may mend it
                    damaged = damaged or error.line
                else:
                    self._left.add(path)
                    return Left(draft, damaged)
        return Left(None, damaged)

    def settle(self) -> None:
        """Wait for the last write, but not long: the program ends, and a disk may hang."""
        with self._due:
            self._due.wait_for(lambda: not self._wanted and not self._writing, SETTLE_SECONDS)

    def clear(self) -> None:
        """Remove this session's drafts, and those that it offered, because it ended well."""
        with self._lock:
            self._over = True
            for path in (*self._own, *self._left):
                with contextlib.suppress(OSError):
                    path.unlink()

    def _path(self) -> Path:
        return self._folder or drafts_folder()

    def _write_on(self) -> None:
        """Write what is wanted, the latest of each target, for as long as the process lives."""
        while True:
            with self._due:
                while not self._wanted:
                    self._due.wait()
                wanted, self._wanted = self._wanted, {}
                failed = self._failed
                self._writing = True
            for target, text in wanted.items():
                try:
                    self._write(target, text)
                except OSError as error:  # full, read-only, no home: typing goes on
                    self._tell_failed(": ".join(filter(None, (error.filename, error.strerror or str(error)))), failed)
            with self._due:
                self._writing = False
                self._due.notify_all()

    def _tell_failed(self, why: str, failed: Callable[[str], object]) -> None:
        if not self._told and not self._over:
            self._told = True
            failed(visible(why))

    def _write(self, target: str, text: str | None) -> None:
        import tempfile  # noqa: PLC0415 - as above

        folder = self._path()
        path = folder / f"{_mark(target)}-{_mark(os.uname().nodename)}-{os.getpid()}-{_birth(os.getpid())}.toml"
        if text is None:
            path.unlink(missing_ok=True)
            self._kept.discard(path)
            self._tell(bool(self._kept))
            return
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path not in self._own:
            _prune(folder)
        handle, scratch = tempfile.mkstemp(prefix=".draft", dir=folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
            with self._lock:
                if self._over:
                    raise OSError("the session is over")
                # Not flushed to the disk: it is to outlive this program, not the machine.
                Path(scratch).replace(path)
                self._own.add(path)
                self._kept.add(path)
                self._tell(True)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(scratch).unlink()
            raise


def _mark(text: str) -> str:
    """Return a short file name for a target or a machine; a path has the same one from every directory."""
    import hashlib  # noqa: PLC0415 - reaches OpenSSL: not before the first frame

    if os.path.lexists(text):
        text = str(Path(text).resolve())
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def _alive(pid: int, birth: str) -> bool:
    """Tell whether a draft's writer runs. Its number alone may be another's by now: a restarted container's is."""
    if birth:
        return _birth(pid) == birth
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _birth(pid: int) -> str:
    """Return the boot and the tick at which a running process was started (proc(5)); nothing where there is no /proc.

    One that has ended has none either, also while its parent has not taken notice.
    """
    try:
        # The name before these fields may have spaces and brackets in it.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode().split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return ""
    state, started = fields[0], fields[19]
    return "" if state in "ZX" else f"{boot[:8]}{started}"


def _prune(folder: Path) -> None:
    """Remove the oldest files, so that no more than `MOST` are left with the next."""
    files = sorted(((path.stat().st_mtime, path) for path in folder.iterdir() if path.is_file()), reverse=True)
    for _, path in files[MOST - 1 :]:
        path.unlink(missing_ok=True)
