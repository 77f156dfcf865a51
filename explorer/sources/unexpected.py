"""Tells what nobody expected, which a stranger's code may raise, as one line."""

from __future__ import annotations

from explorer.core.errors import ParamxError
from explorer.core.text import cut
from explorer.sources import out_of_memory


def unexpected(target: str, error: BaseException) -> ParamxError:
    """Return an exception that nobody expected as an error of one line."""
    if out_of_memory.was_short(error):
        return ParamxError(target, out_of_memory.shortage(), out_of_memory.REMEDY)
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return ParamxError(target, f"{type(error).__name__}: {cut(text)}" if text else type(error).__name__)
