"""Paths that the user or the environment writes: `~`, the folders of the XDG Base Directory Specification."""

from __future__ import annotations

import errno
import os
from pathlib import Path

GONE = "a directory that is gone"
"""What the current directory is called where it was deleted."""


def expanded(text: str) -> Path:
    """Return a text as a path, `~` expanded; one of a user whom nobody knows stays as it is, as in a shell."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path's raises where the user is unknown


def own_folder(variable: str, usual: str) -> Path:
    """Return where this program may keep files.

    Args:
        variable: The specification's name for the folder: `XDG_STATE_HOME`. Relative paths in it are ignored.
        usual: Where it is, below the home directory, if the variable says nothing.

    Raises:
        OSError: Nobody knows where home is.
    """
    base = Path(os.environ.get(variable, ""))
    if not base.is_absolute():
        base = expanded(f"~/{usual}")
    if not base.is_absolute():
        raise FileNotFoundError(errno.ENOENT, "no home directory", str(base))
    return base / "paramx"


def current_directory() -> str:
    """Return the current directory; `GONE` where it was deleted."""
    try:
        return os.getcwd()  # noqa: PTH109 - a text is asked for
    except OSError:
        return GONE
