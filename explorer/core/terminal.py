"""Tells whether the standard streams are a terminal that the interface can be drawn on."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def can_show_the_interface() -> bool:
    """Tell whether all three standard streams are a terminal that can draw; Textual draws on stderr."""
    if os.environ.get("TERM", "") == "dumb":  # it can't move the cursor: an editor's shell buffer
        return False
    return all(map(is_terminal, (sys.stdin, sys.stdout, sys.stderr)))


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a standard stream is a terminal; one closed by the shell (`<&-`) is `None`."""
    try:
        return stream is not None and stream.isatty()
    except (ValueError, AttributeError):  # closed since; or put there by a program that has no isatty
        return False
