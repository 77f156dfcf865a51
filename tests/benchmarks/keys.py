"""Measures keys on an open model: seconds to the last byte of the answer, and bytes, at 120×40."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.data import one_file
from tests.benchmarks.opening import TREE, paramx
from tests.benchmarks.table import Row, Size
from tests.benchmarks.terminal import Answer, Watched

DOWN, PAGE = "down", "pagedown"


def keys(size: Size, folder: Path) -> list[Row]:
    """All rows unfolded, and back; sort, filter, groups, the cursor, a page."""
    large, small = f"{size.many:,} tensors", "200 tensors"
    at_large, at_small = one_file(folder, size.many, alike=False), one_file(folder, 200, alike=False)
    taken: dict[str, list[Answer]] = {}

    def press(terminal: Watched, what: str, key: str, quiet: float = 0.4) -> None:
        taken.setdefault(what, []).append(terminal.key(key, quiet))

    with Watched(paramx(str(at_large))) as terminal:
        terminal.await_bytes(TREE)
        terminal.settle(1.0)
        for _ in range(size.runs):
            terminal.key("home")
            press(terminal, "unfold all", "*", 1.0)
            for _ in range(3):
                press(terminal, "cursor", DOWN)
            for _ in range(2):
                press(terminal, "page", PAGE)
            press(terminal, "sort", "s", 1.0)
            press(terminal, "sort", "s", 1.0)
            press(terminal, "fold all", "-", 1.0)
            terminal.key("/")
            for letter in "gate":
                press(terminal, "filter", letter, 1.0)
            terminal.key("escape", 1.0)
        terminal.key("tab")
        terminal.key(",", 1.0)
        for _ in range(size.runs):
            for letter in "norm":
                press(terminal, "group", letter, 0.6)
            for _ in range(4):
                press(terminal, "group", "backspace", 0.6)
    with Watched(paramx(str(at_small))) as terminal:
        terminal.await_bytes(TREE)
        terminal.settle(1.0)
        terminal.key("*")
        for _ in range(3 * size.runs):
            press(terminal, "cursor, small", DOWN)

    def times(what: str) -> list[float]:
        return [1e3 * answer.seconds for answer in taken[what]]

    def sent(what: str) -> list[float]:
        return [float(answer.sent) for answer in taken[what]]

    rows = [
        Row(f"{what} at {large}", times(what), "ms", limit=100)
        for what in ("unfold all", "fold all", "sort", "filter")
    ]
    rows += [
        Row(f"group key at {large}", times("group"), "ms", limit=35),
        Row(f"group key at {large}, bytes", sent("group"), "B", limit=2000),
        Row(f"cursor key at {large}", times("cursor"), "ms", small, times("cursor, small"), 1.5),
        Row(f"cursor key at {large}, bytes", sent("cursor"), "B", limit=400),
        Row(f"page at {large}", times("page"), "ms", limit=20),
        Row(f"page at {large}, bytes", sent("page"), "B", limit=4500),
    ]
    return rows
