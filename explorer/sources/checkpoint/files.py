"""Reads strangers' files: with `pread`, each length checked against the file first, and never a path outside.

A mapped file that another process cuts short kills the reader (SIGBUS); `open` of a named pipe blocks for ever.
"""

from __future__ import annotations

import gc
import json
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from explorer.core.param import Finding
from explorer.core.text import plural, quoted, short_bytes, visible
from explorer.sources.checkpoint.unchanged import watching

LFS_POINTER = b"version https://git-lfs"
"""How a file starts that git-lfs has not downloaded yet (git-lfs, docs/spec.md)."""

LFS_LENGTH = 1024
"""Longest pointer in bytes, by the same text."""

MAX_CONTAINERS = 3_100_000
"""Most objects and lists in one JSON text, those of a million tensors: an empty list is 2 bytes of text and 56 of
memory."""

MAX_VALUES = 8_000_000
"""Most values in one JSON text: a number is 2 bytes of text and up to 40 of memory."""

MAX_QUOTES = 12_000_000
"""Most quotes in one JSON text, those of a million tensors: a key and its text are 6 bytes, and 200 of memory."""

TOLD_NAMES = 1000
"""Most names that a finding carries."""


class UnreadableError(Exception):
    """One file can't be read as what it should be.

    Of a whole target it becomes a `ParamxError`; of one shard among others a finding, and the rest is shown.
    """

    def __init__(self, why: str, remedy: str = "", finding: str = "unreadable-shard") -> None:
        """Keep the parts.

        Args:
            why: The reason, without a full stop.
            remedy: What would work; empty when nothing would.
            finding: Id of the finding that tells it of a shard.
        """
        super().__init__(why)
        self.why = why
        self.remedy = remedy
        self.finding = finding


class File:
    """A regular file, or a part of one, open for reading at any offset. A context manager."""

    def __init__(self, path: Path, begin: int = 0, length: int | None = None) -> None:
        """Open it.

        Args:
            path: The file.
            begin: Where the part begins that is read as if it were the file, in bytes.
            length: Bytes of that part; `None` is all that follows.

        Raises:
            UnreadableError: It is missing, not a regular file, a git-lfs pointer, or may not be read.
            ChangedError: It is not as it was when the target was opened, of which more is read here.
        """
        self.path = path
        self._watch = watching()
        self._begin = 0
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise UnreadableError("no such file", "check the path", "missing-shard") from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise UnreadableError(reason.lower(), "check the path and its permissions") from None
        try:
            status = os.fstat(self._descriptor)
            if self._watch is not None:
                self._watch.note(path, status)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError("not a regular file", "give a checkpoint file or a directory of shards")
            self.size: int = status.st_size
            if 0 < self.size <= LFS_LENGTH and (head := self.read(0, self.size)).startswith(LFS_POINTER):
                raise _pointer(head)
            whole, self._begin = self.size, begin
            self.size = whole - begin if length is None else length
            if begin < 0 or self.size < 0 or begin + self.size > whole:
                raise UnreadableError("cut short: the file ends in the middle", "download it again", "truncated")
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> File:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def read(self, offset: int, nbytes: int) -> bytes:
        """Return exactly `nbytes` bytes from `offset`.

        Raises:
            UnreadableError: The file has not that many, or stopped having them while it was read.
            ChangedError: As it is opened.
        """
        if nbytes < 0 or offset < 0 or offset + nbytes > self.size:
            raise UnreadableError("cut short: the file ends in the middle", "download it again", "truncated")
        parts = []
        offset += self._begin
        while nbytes > 0:
            try:
                part = os.pread(self._descriptor, min(nbytes, 1 << 30), offset)
            except OSError as error:
                raise UnreadableError((error.strerror or str(error)).lower()) from None
            if not part:
                raise UnreadableError("it was cut short while it was read", "try again", "truncated")
            parts.append(part)
            offset += len(part)
            nbytes -= len(part)
        if self._watch is not None:
            self._watch.note(self.path, os.fstat(self._descriptor))
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _pointer(head: bytes) -> UnreadableError:
    """Tell a git-lfs pointer: lines `KEY VALUE`, of which `size` has the bytes of the real file."""
    sizes = [line[5:] for line in head.decode(errors="replace").splitlines() if line.startswith("size ")]
    known = sizes and sizes[0].isascii() and sizes[0].isdecimal() and len(sizes[0]) < 19
    real = f" of {short_bytes(int(sizes[0]))}" if known else ""
    why = f"a git-lfs pointer, not the file{real} that it stands for"
    return UnreadableError(why, "run `git lfs pull`", "lfs-pointer")


def holds_too_much(data: bytes) -> bool:
    """Whether a JSON text has more in it than any checkpoint's, so that what is made of it would fill the memory."""
    large = len(data) > 2 * MAX_CONTAINERS  # shorter text can't hold that many
    return large and (
        data.count(b"{") + data.count(b"[") > MAX_CONTAINERS
        or data.count(b",") > MAX_VALUES
        or data.count(b'"') > MAX_QUOTES
    )


def parse_json(data: bytes, what: str) -> Any:
    """Parse JSON text from a stranger.

    Args:
        data: UTF-8 text.
        what: How an error calls it: `the header`.

    Raises:
        UnreadableError: It is not JSON, or would fill the memory.
    """
    if holds_too_much(data):
        raise UnreadableError(f"{what} lists more than any checkpoint holds", "it is damaged, or made to do harm")
    if not data.strip():
        raise UnreadableError(f"{what} is empty", "download it again")
    try:
        # Bytes would let `json.loads` guess at UTF-16 and UTF-32, which the formats do not allow.
        return json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        reason = f"{what} is not UTF-8 (byte {error.start})"
    except RecursionError:
        reason = f"{what} is nested too deeply"
    except json.JSONDecodeError as error:
        reason = f"{what} is not JSON: {error}"
    except ValueError:  # the one other: Python's bound on the digits of an integer
        limit = sys.get_int_max_str_digits()
        raise UnreadableError(
            f"{what} has an integer of more than {limit:,} digits", "it is damaged, or made to do harm"
        ) from None
    raise UnreadableError(reason, "download it again")


def parse_doubled(data: bytes) -> tuple[Any, list[str]]:
    """Parse a JSON text that `parse_json` has taken; return also the keys that stand twice in one object."""
    doubled: dict[str, None] = {}

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            doubled.update((key, None) for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return made

    return json.loads(data.decode("utf-8"), object_pairs_hook=build), list(doubled)


def inside(directory: Path, name: str) -> Path | None:
    """Return the real path of a shard that an index names, `None` where it leads out of the directory.

    Links that lead out are refused as well, but for those of the hub's cache, from `snapshots/COMMIT/` into `blobs/`.
    """
    if not name or "\0" in name or "\\" in name or name.startswith(("/", "~")) or ".." in name.split("/"):
        return None
    try:
        root = Path(os.path.realpath(directory))
        path = Path(os.path.realpath(root / name))
    except (OSError, ValueError):
        return None
    if path == root:
        return None
    if path.is_relative_to(root):
        return path
    if root.parent.name == "snapshots" and path.parent == root.parent.parent / "blobs":
        return path
    return None


def why_not_inside(name: str) -> str:
    """Return why `inside` takes no path of the name of a shard."""
    if "\0" in name or "\\" in name:
        return "a character in the name that no shard's has"
    parts = name.split("/")
    if not any(part.strip(".") for part in parts) and ".." not in parts:
        return "no name of a file"
    if ".." in parts and not os.path.normpath(name).startswith(("..", "/")):
        return "'..' in the path"
    return "the path leads out of the checkpoint's directory"


def told(names: list[str]) -> tuple[str, ...]:
    """Return the first names of a list as a finding carries them."""
    return tuple(map(visible, names[:TOLD_NAMES]))


def warn(kind: str, message: str, names: list[str] | None = None, why: str = "") -> Finding:
    """Make a warning about a file; `message` is made visible."""
    return Finding(kind, "warning", visible(message), told(names or []), why)


def bytes_after(label: str, last: str, nbytes: int) -> list[Finding]:
    """Say that bytes follow what a file of torch ends with, if any do.

    Args:
        label: How findings call the file.
        last: What it ends with.
        nbytes: How many follow.
    """
    if nbytes <= 0:
        return []
    message = f"{label}: {plural(nbytes, 'byte')} after {last}, not read"
    return [warn("bytes-after", message, why="torch writes nothing there, and does not read it")]


def tensors(names: list[str]) -> str:
    """Count tensors in words, naming one where there is only one."""
    return f"tensor {quoted(names[0])}" if len(names) == 1 else plural(len(names), "tensor")


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector: walking 300,000 young objects again and again doubles the time to parse them."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
