"""What an exception that nobody expected is told as: one line, never a traceback unless it is asked for."""

from __future__ import annotations

import errno
import os
from pathlib import Path

ASK = "PARAMX_TRACEBACK"
"""Environment variable that, set to anything, has the whole traceback written above the line."""

NO_THREAD = "can't start new thread"
"""What Python says where the system gives it no thread."""

NO_FILE = "too many open files; raise the limit of open files (ulimit -n)"
"""What the system's refusal to open another file is told as."""

LONGEST = 300
"""Longest text taken from an exception, in characters."""

HERE = Path(__file__).parent
"""The package: the innermost frame in it is where to look."""


def describe(error: BaseException) -> str:
    """Return an exception as a line; above it the traceback, if the environment asks for that."""
    try:
        line = _line(error)
        if os.environ.get(ASK):
            import traceback  # noqa: PLC0415 - seldom wanted

            from explorer.core.text import harmless  # noqa: PLC0415 - as above

            line = harmless("".join(traceback.format_exception(error))) + line
    except (MemoryError, SystemError, ImportError, OSError):  # too little memory is left to import what tells more
        return "out of memory"
    return line


def _line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        return NO_FILE  # before an import, which opens files
    from explorer.core.errors import ParamxError  # noqa: PLC0415 - only who fails pays for it
    from explorer.core.text import visible  # noqa: PLC0415 - as above
    from explorer.sources import out_of_memory  # noqa: PLC0415 - as above

    if isinstance(error, ParamxError):
        return error.line
    if out_of_memory.was_short(error):
        return f"{out_of_memory.shortage()}; {out_of_memory.REMEDY}"
    if str(error) == NO_THREAD:
        return f"the system starts no more threads: memory or processes are limited here; {out_of_memory.REMEDY}"
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:LONGEST]
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return visible(f"internal error: {what}{_place(error)}; please report it ({ASK}=1 shows the traceback)")


def _place(error: BaseException) -> str:
    """Return where an exception came from: the innermost line of this package, else the innermost of all."""
    places: list[tuple[Path, int]] = []
    step = error.__traceback__
    while step is not None:
        places.append((Path(step.tb_frame.f_code.co_filename), step.tb_lineno))
        step = step.tb_next
    for path, number in reversed(places):
        if path.is_relative_to(HERE) and path != HERE / "__main__.py":
            return f" ({path.relative_to(HERE.parent)}:{number})"
    return f" ({places[-1][0].name}:{places[-1][1]})" if places else ""
