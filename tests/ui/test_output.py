"""What waits for a terminal that is slow: a frame that would wait is not drawn, and the next one is told of."""

from __future__ import annotations

import io

from explorer.ui.output import MOST_CHARACTERS, MOST_TEXTS, Output


def test_a_frame_waits_for_a_terminal_that_is_behind_and_is_told_of_once() -> None:
    file, told = io.StringIO(), []
    output = Output(file, lambda: told.append(file.getvalue()))
    for texts in (["x"] * MOST_TEXTS, ["x" * MOST_CHARACTERS]):
        assert not output.full()
        for text in texts:
            output.give(text)
        assert output.full()
        for text in texts:
            output.write(text)
        assert output.full(), "it may still be buffered"
        output.flush()
        assert not output.full()
        output.flush()
        assert told.pop() == file.getvalue()
        assert not told


def test_nobody_is_told_where_no_frame_waited() -> None:
    told: list[None] = []
    output = Output(io.StringIO(), lambda: told.append(None))
    output.give("x")
    assert not output.full()
    output.write("x")
    output.flush()
    assert not told
