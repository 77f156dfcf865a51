"""A group's options as one editable line: `weight_decay=0.1 lr=2e-5 betas=(0.9, 0.98)`."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from typing import Any

MAX_VALUE = 200
"""Longest text of one value, in characters."""

NOT_NEGATIVE = frozenset({"weight_decay", "lr", "lr_mult", "eps", "momentum"})
"""Options for which torch.optim raises on a negative number (torch 2.13, `optim/adamw.py`, `optim/sgd.py`)."""

_PADDED_EXPONENT = re.compile(r"(?<=\d)e-0(?=\d)")
_KEY = re.compile(r"\s*,?\s*([A-Za-z_]\w*)\s*=")


class OptionError(ValueError):
    """An options line can't be read."""

    def __init__(self, message: str, column: int) -> None:
        """Keep what is wrong and where (position in the line, counted from 0)."""
        super().__init__(message)
        self.message = message
        self.column = column


def parse_options(text: str) -> dict[str, Any]:
    """Read `key=value` pairs, apart by spaces or commas.

    Values are Python literals: numbers, `True`, `False`, `None`, quoted text, tuples of those.

    Raises:
        OptionError: A pair is incomplete, a value is no such literal, or a number can't be right.
    """
    options: dict[str, Any] = {}
    at = 0
    while text[at:].strip(" ,"):
        match = _KEY.match(text, at)
        if match is None:
            raise OptionError("options are written weight_decay=0.1", at)
        if match[1] in options:
            raise OptionError(f"{match[1]} is given twice", match.start(1))
        begin, stop = match.end(), _value_end(text, match.end())
        options[match[1]] = _value(match[1], text[begin:stop].strip().rstrip(",").strip(), begin)
        at = stop
    return options


def _value_end(text: str, begin: int) -> int:
    """Return where a value ends: before the next `key=`, outside brackets and quotes."""
    depth, quote, escaped = 0, "", False
    for at in range(begin, len(text)):
        char = text[at]
        if escaped:
            escaped = False
        elif quote:
            escaped = char == "\\"
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif depth <= 0 and char in " ," and _KEY.match(text, at):
            return at
    return len(text)


def _value(key: str, text: str, column: int) -> Any:
    if not text:
        raise OptionError(f"{key} has no value yet", column)
    if len(text) > MAX_VALUE:
        raise OptionError(f"the value of {key} is longer than {MAX_VALUE} characters", column)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise OptionError(f"{text!r} is no number, True, False, None or quoted text", column) from None
    if not _plain(value):
        raise OptionError(f"{text!r} is no number, True, False, None, quoted text or tuple", column)
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, (int, float)) and not isinstance(number, bool) and not math.isfinite(number):
            raise OptionError(f"{key} must be finite", column)
    if key in NOT_NEGATIVE:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise OptionError(f"{key} is a number", column)
        if value < 0:
            raise OptionError(f"{key} can't be negative", column)
    return value


def _plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(isinstance(item, (int, float, str, bool)) or item is None for item in value)
    return isinstance(value, (int, float, str, bool)) or value is None


def options_text(options: Mapping[str, Any]) -> str:
    """Write options so that `parse_options` reads them back."""
    return " ".join(f"{key}={_value_text(value)}" for key, value in options.items())


def _value_text(value: Any) -> str:
    """Write a value; floats as people do: `3e-5`, where Python writes `3e-05`."""
    text = repr(value)
    return _PADDED_EXPONENT.sub("e-", text) if isinstance(value, float | tuple) else text
