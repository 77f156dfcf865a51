"""Groups in a TOML file: what `paramx TARGET --groups my.toml` reads and the export writes.

```toml
optimizer = "AdamW"

[[groups]]
name = "no_decay"
terms = ["bias", "LayerNorm.weight"]
options = { weight_decay = 0.0 }

[[groups]]
name = "decay"
options = { weight_decay = 0.1 }
```

Groups stand in order, the first that matches wins; the last has no terms and takes the rest. Options are numbers,
strings, true or false, or arrays of those.
"""

from __future__ import annotations

import math
import os
import re
import stat
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from explorer.core.errors import ParamxError
from explorer.core.rules import Grouping, Rule

MAX_BYTES = 1 << 20
"""Largest file that is read."""

MAX_TABLES = 2_000
"""Most `[[groups]]`: the parser takes the square of their number, 29 s for 50,000."""

_STRINGS = re.compile(r"""\"{3}(?:\\[\s\S]|[^\\])*?\"{3}|'{3}[\s\S]*?'{3}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*""")
"""TOML's strings and comments, which may hold anything."""

_LONG_KEY = re.compile(r"""(?<![\w"'-])(?:[\w"'-]+[ \t]*\.[ \t]*){9}""")
"""A key of ten parts. The parser's memory grows with their square: 200 KB of `a.a.a…` took all there was."""

_HEADER = re.compile(r"^[ \t]*\[\[\s*(?:groups|\"groups\"|'groups')\s*\]\]", re.MULTILINE)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def load(path: str | Path) -> Grouping:
    """Read groups from a file.

    Raises:
        ParamxError: It can't be read, is not TOML, or has no groups; the error names the line.
    """
    return loads(read(path), str(path))


def read(path: str | Path) -> str:
    """Read the text of a file of groups.

    Raises:
        ParamxError: It can't be read, is too large, or is not text.
    """
    try:
        # Not blocking: a named pipe would wait for a writer for ever.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise ParamxError(str(path), "not a regular file")
            with open(handle, "rb", closefd=False) as file:
                data = file.read(MAX_BYTES + 1)
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        raise ParamxError(str(path), getattr(error, "strerror", None) or str(error)) from error
    if len(data) > MAX_BYTES:
        raise ParamxError(str(path), f"larger than {MAX_BYTES:,} bytes, which no file of groups is")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ParamxError(f"{path}, line {line}", "not UTF-8 text") from error


def loads(text: str, source: str = "groups") -> Grouping:
    """Read groups from TOML text.

    Args:
        text: The TOML.
        source: What the errors call it.

    Raises:
        ParamxError: It is not TOML, or has no groups; the error names the line.
    """
    if _LONG_KEY.search(_STRINGS.sub('""', text)):
        raise ParamxError(source, "not a file of groups: a key of ten parts", "keys are optimizer and groups")
    if sum(line.lstrip().startswith("[") for line in text.splitlines()) > MAX_TABLES:
        raise ParamxError(source, f"not a file of groups: more than {MAX_TABLES:,} tables")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        told = str(error).replace("end of document", f"line {len(text.splitlines())}, where the file ends")
        raise ParamxError(source, f"not TOML: {told}") from error
    except ValueError as error:  # the one other: Python's bound on the digits of an integer
        limit = sys.get_int_max_str_digits()
        raise ParamxError(source, f"an integer of more than {limit:,} digits") from error
    except RecursionError as error:
        raise ParamxError(source, "not a file of groups: nested too deeply") from error
    for key in table:
        if key not in ("optimizer", "groups", "format"):
            raise ParamxError(_at(source, text, key), f"unknown key {key!r}", "known are optimizer and [[groups]]")
    if table.get("format", 1) != 1:
        raise ParamxError(
            _at(source, text, "format"), f"format {table['format']!r} is not known", "this paramx reads 1"
        )
    optimizer, groups = table.get("optimizer", "AdamW"), table.get("groups")
    if not isinstance(optimizer, str) or not optimizer.isidentifier():
        raise ParamxError(_at(source, text, "optimizer"), 'optimizer must be the name of a class, as in "AdamW"')
    if not isinstance(groups, list) or not groups:
        raise ParamxError(source, "it has no groups", "write at least one [[groups]]")
    lines = [text.count("\n", 0, found.start()) + 1 for found in _HEADER.finditer(text)]
    starts = [f", in the group that starts at line {line}" for line in lines]
    places = [source + start for start in starts] if len(starts) == len(groups) else [source] * len(groups)
    rules = [
        _rule(group, place, i == len(groups) - 1) for i, (group, place) in enumerate(zip(groups, places, strict=True))
    ]
    try:
        grouping = Grouping(tuple(rules), optimizer)
    except ValueError as error:
        raise ParamxError(source, str(error)) from error
    for problem in grouping.problems():
        if problem.kind == "syntax":  # a blank term is left to the lints, which name the fix
            term = rules[problem.rule].terms[problem.term]
            why = f"term {term!r}, column {problem.column + 1}: {problem.message}"
            raise ParamxError(places[problem.rule], why)
    return grouping


def _rule(group: Any, place: str, last: bool) -> Rule:
    if not isinstance(group, dict):
        raise ParamxError(place, "a group must be a table: [[groups]]")
    unknown = next((key for key in group if key not in ("name", "terms", "options")), None)
    if unknown is not None:
        why = f"unknown key {unknown!r} in a group"
        raise ParamxError(place, why, f"known are name, terms and options = {{ {unknown} = … }}")
    name, terms, options = group.get("name"), group.get("terms", []), group.get("options", {})
    if not isinstance(name, str) or not name.strip():
        raise ParamxError(place, "a group needs a name")
    if not isinstance(terms, list) or not all(isinstance(term, str) for term in terms):
        raise ParamxError(place, f"the terms of {name} must be an array of strings")
    if last and terms:
        why = f"the last group, {name}, has terms, but it takes what is left"
        raise ParamxError(place, why, "add a group without terms after it")
    if not isinstance(options, dict):
        raise ParamxError(place, f"the options of {name} must be a table")
    return Rule(name, tuple(terms), {key: _option(value, f"{name}.{key}", place) for key, value in options.items()})


def _option(value: Any, what: str, place: str) -> Any:
    if isinstance(value, list) and all(isinstance(item, (bool, int, float, str)) for item in value):
        return tuple(value)  # as torch writes them: betas = (0.9, 0.999)
    if isinstance(value, float) and not math.isfinite(value):
        raise ParamxError(place, f"{what} must be finite")
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if what.endswith((".weight_decay", ".lr", ".lr_mult")) and (not number or value < 0):
        raise ParamxError(place, f"{what} must be a number that is not negative")
    if isinstance(value, (bool, int, float, str)):
        return value
    raise ParamxError(place, f"{what} must be a number, a string, true, false or an array of those")


def _at(source: str, text: str, key: str) -> str:
    found = re.search(rf"^\s*[\[\"']*{re.escape(key)}\b", text, re.MULTILINE)
    return f"{source}, line {text.count(chr(10), 0, found.end()) + 1}" if found else source


def dumps(grouping: Grouping) -> str:
    """Return the TOML that `loads` reads back.

    Raises:
        ParamxError: TOML can't hold one of the options (`None`).
    """
    lines = [f"optimizer = {_value(grouping.optimizer, 'optimizer')}"]
    for rule in grouping.rules:
        lines += ["", "[[groups]]", f"name = {_value(rule.name, 'name')}"]
        if rule.terms:
            lines.append(f"terms = {_value(rule.terms, 'terms')}")
        if rule.options:
            lines.append(f"options = {_inline(rule.options, rule.name)}")
    return "\n".join(lines) + "\n"


def _inline(options: Mapping[str, Any], name: str) -> str:
    pairs = (f"{_key(key)} = {_value(value, f'{name}.{key}')}" for key, value in options.items())
    return f"{{ {', '.join(pairs)} }}"


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _value(key, "key")


def _value(value: Any, what: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    if isinstance(value, str):
        return '"' + "".join(map(_escaped, value)) + '"'
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(_value(item, what) for item in value)}]"
    raise ParamxError(what, f"{value!r} can't be written as TOML", "leave the option out")


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char.isprintable():
        return char
    code = ord(char)
    if 0xD800 <= code <= 0xDFFF:
        raise ParamxError("TOML", f"a lone surrogate, {char!a}, can't be written")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
