"""Writes a file so that a failure half-way leaves the old one as it was."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from explorer.core.errors import ParamxError


def save_text(path: Path, text: str, *, overwrite: bool) -> None:
    """Write `text` (UTF-8) to `path`: beside it first, flushed to the disk, then renamed over it.

    Args:
        path: The file; its directory must exist.
        text: What it will hold.
        overwrite: Whether a file that stands there may be replaced.

    Raises:
        FileExistsError: The file is there, and `overwrite` is false.
        ParamxError: It can't be written; what stood there before still does.
    """
    scratch = claimed = None
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            why = "a directory" if target.is_dir() else "not a regular file"
            raise ParamxError(str(path), why, "give another name")
        if target.exists() and not overwrite:
            raise FileExistsError(path)
        handle, scratch = tempfile.mkstemp(prefix=f".{target.name[:32]}.", dir=target.parent)
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files for their owner alone; a new text file gets what the user's umask says.
        Path(scratch).chmod(target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
        if not overwrite:
            # A rename replaces what somebody made meanwhile, so the name is taken first; not every disk has links.
            target.touch(exist_ok=False)
            claimed = target
        Path(scratch).replace(target)
        scratch = claimed = None
    except FileExistsError:
        raise FileExistsError(path) from None
    except (OSError, ValueError) as error:
        if isinstance(error, (FileNotFoundError, NotADirectoryError)) and (missing := _missing_directory(path)):
            raise ParamxError(f"no directory {missing}", f"{path} can't be written", "another path") from error
        why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise ParamxError(str(path), f"can't be written: {why}", "another directory") from error
    finally:
        for left in (scratch, claimed):
            if left is not None:
                with suppress(OSError):
                    Path(left).unlink()


def _missing_directory(path: Path) -> Path | None:
    """Return the first directory of a path that is not there, as it was typed or, behind a link, as it is."""
    try:
        real = Path(os.path.realpath(path))
    except OSError:  # the current directory itself is gone
        return None
    above = (*reversed(path.parents), *reversed(real.parents))
    return next((each for each in above if not each.is_dir()), None)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
