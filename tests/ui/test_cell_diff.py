"""What the cell diff sends draws the screen that Textual's own bytes draw, whatever is written and however often."""

from __future__ import annotations

import os
import subprocess
import sys
from unittest.mock import patch

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip
from wcwidth import wcwidth

from explorer.ui.cell_diff import _of_chops, _of_layout
from explorer.ui.cells import Cells, UnknownUpdateError

WIDTH, HEIGHT = 24, 3
CUTS = (0, 9, 15)
"""Where the widgets of a line begin."""

CONSOLE = Console(color_system="truecolor", force_terminal=True, width=WIDTH)

TEXTS = st.text(st.sampled_from("aab  ▸×…é漢字é\u0301\U0001f600"), max_size=WIDTH)

STYLES = st.one_of(
    st.none(),
    st.builds(
        Style,
        color=st.sampled_from([None, "red", "#7aa2f7", "default"]),
        bgcolor=st.sampled_from([None, "blue", "#16181f"]),
        bold=st.sampled_from([None, True, False]),
        italic=st.sampled_from([None, True]),
        underline=st.sampled_from([None, True]),
        reverse=st.sampled_from([None, True]),
        link=st.sampled_from([None, "https://example.org/a", "https://example.org/b"]),
    ),
)

SEGMENTS = st.tuples(TEXTS, STYLES).map(lambda both: Segment(*both))


@st.composite
def strips(draw: st.DrawFn, width: int) -> Strip:
    """A line of exactly so many cells."""
    segments = draw(st.lists(SEGMENTS, max_size=3))
    # A combining character needs something before it, as in any text of the interface.
    return Strip([Segment("."), *segments]).adjust_cell_length(width)


@st.composite
def updates(draw: st.DrawFn) -> LayoutUpdate | ChopsUpdate:
    widths = [end - start for start, end in zip(CUTS, (*CUTS[1:], WIDTH), strict=True)]
    if draw(st.booleans()):
        lines = [[draw(strips(width)) for width in widths] for _ in range(HEIGHT)]
        return LayoutUpdate(lines, Region(0, 0, WIDTH, HEIGHT))
    parts = st.tuples(st.integers(0, 2), st.integers(0, 2)).map(sorted)
    chosen = draw(st.dictionaries(st.integers(0, HEIGHT - 1), parts, min_size=1))
    ends = [*CUTS[1:], WIDTH]
    chops: list[dict[int, Strip | None]] = [dict.fromkeys(CUTS) for _ in range(HEIGHT)]
    spans = []
    for y, (first, last) in sorted(chosen.items()):
        for part in range(first, last + 1):
            chops[y][CUTS[part]] = draw(strips(widths[part]))
        spans.append((y, CUTS[first], ends[last] - draw(st.integers(0, 3))))
    return ChopsUpdate(chops, spans, [ends for _ in range(HEIGHT)])


class Drawn:
    """A terminal, with lines that do not wrap, as Textual sets it."""

    def __init__(self, junk: str = "") -> None:
        self.screen = pyte.Screen(WIDTH, HEIGHT)
        self.stream = pyte.Stream(self.screen)
        self.stream.feed(f"\x1b[?7l{junk}")

    def shown(self) -> list[list[tuple[object, ...]]]:
        """Return the cells of each line, as a person sees them.

        Half of a wide character is a blank, unlike in pyte; and nobody sees in which colour a blank is written.
        """
        lines = []
        for y in range(HEIGHT):
            cells = [self.screen.buffer[y][x] for x in range(WIDTH)]
            widths = [wcwidth(cell.data[0]) if cell.data else 0 for cell in cells] + [1]
            line = []
            for x, cell in enumerate(cells):
                second = x > 0 and widths[x - 1] == 2 and widths[x] == 0
                half = (widths[x] == 2 and widths[x + 1] != 0) or (widths[x] == 0 and not second)
                shown = cell._replace(data=" ") if half else cell
                if shown.data == " " and not (shown.reverse or shown.underscore or shown.strikethrough):
                    shown = shown._replace(fg="default", bold=False, italics=False)
                line.append(tuple(shown))
            lines.append(line)
        return lines


def strips_of(update: LayoutUpdate | ChopsUpdate) -> list[tuple[int, int, list[Segment]]]:
    return list(_of_layout(update) if isinstance(update, LayoutUpdate) else _of_chops(update))


def cells(erases: bool = False) -> Cells:
    made = Cells(ColorSystem.TRUECOLOR, lambda: erases)
    made.forget(WIDTH, HEIGHT)
    return made


@settings(max_examples=60, deadline=None)
@given(st.lists(updates(), min_size=1, max_size=6), st.booleans())
def test_the_screen_is_the_one_that_textual_draws(done: list[LayoutUpdate | ChopsUpdate], erases: bool) -> None:
    whole, changed, diff = Drawn(), Drawn(), cells(erases)
    with patch("explorer.ui.cells.ERASE_BYTES", 2):  # these lines are short
        for update in done:
            whole.stream.feed(update.render_segments(CONSOLE))
            changed.stream.feed(diff.update(iter(strips_of(update))))
            assert changed.shown() == whole.shown()


@settings(max_examples=20, deadline=None)
@given(updates())
def test_the_same_update_again_sends_nothing(update: LayoutUpdate | ChopsUpdate) -> None:
    diff = cells()
    diff.update(iter(strips_of(update)))
    assert diff.update(iter(strips_of(update))) == ""


@settings(max_examples=20, deadline=None)
@given(updates().filter(lambda update: isinstance(update, LayoutUpdate)), updates())
def test_what_was_forgotten_is_sent_again(whole: LayoutUpdate, last: LayoutUpdate | ChopsUpdate) -> None:
    diff = cells()
    diff.update(iter(strips_of(whole)))
    diff.update(iter(strips_of(last)))
    diff.forget(WIDTH, HEIGHT)
    after, expected = Drawn("\x1b[41mjunk of another program\x1b[0m"), Drawn()
    after.stream.feed(diff.update(iter(strips_of(whole))))
    expected.stream.feed(whole.render_segments(CONSOLE))
    assert after.shown() == expected.shown()


def line(*segments: tuple[str, Style | None]) -> list[tuple[int, int, list[Segment]]]:
    return [(0, 0, list(Strip([Segment(*segment) for segment in segments]).adjust_cell_length(WIDTH)))]


def test_one_changed_cell_takes_a_move_and_the_cell() -> None:
    diff = cells()
    diff.update(iter(line(("a number: 1", None))))
    assert diff.update(iter(line(("a number: 2", None)))) == "\x1b[1;11H2"


def test_a_blank_takes_the_colour_of_what_is_beside_it() -> None:
    diff, red, blue = cells(), Style(color="red"), Style(color="blue", bold=True)
    diff.update(iter(line(("." * WIDTH, None))))
    sent = diff.update(iter(line(("a", red), (" ", blue), ("b", red), ("." * (WIDTH - 3), None))))
    assert sent == "\x1b[31m\x1b[1Ha b\x1b[m"


def test_what_begins_and_ends_is_told_alone() -> None:
    diff, colors = cells(), Style(color="#7aa2f7", bgcolor="#16181f")
    diff.update(iter(line(("." * WIDTH, colors))))
    bold = colors + Style(bold=True)
    sent = diff.update(iter(line(("a", bold), ("b", colors), ("." * (WIDTH - 2), colors))))
    assert sent == "\x1b[38;2;122;162;247;48;2;22;24;31m\x1b[1;2Hb\x1b[1m\x1b[1Ga\x1b[m"
    sent = diff.update(iter(line(("." * WIDTH, bold))))
    assert sent == f"\x1b[1;38;2;122;162;247;48;2;22;24;31m\x1b[1H{'.' * WIDTH}\x1b[m"


def test_each_look_is_selected_once() -> None:
    diff, red, blue = cells(), Style(color="red"), Style(color="blue")
    diff.update(iter(line(("." * WIDTH, None))))
    sent = diff.update(iter(line(("a", red), ("b", blue), ("c", red), ("." * (WIDTH - 3), None))))
    assert sent == "\x1b[31m\x1b[1Ha\x1b[3Gc\x1b[34m\x1b[2Gb\x1b[m"


def test_one_of_the_256_colours_is_told_by_its_number() -> None:
    diff = cells()
    assert diff.update(iter([(0, 0, [Segment("a", Style(color="#d7d7ff", bgcolor="#d7d7fe"))])])) == (
        "\x1b[38;5;189;48;2;215;215;254m\x1b[1Ha\x1b[m"
    )


@pytest.mark.parametrize("erases", [True, False])
def test_long_blanks_are_erased_where_the_terminal_can(erases: bool) -> None:
    diff, blue = cells(erases), Style(bgcolor="blue")
    diff.update(iter(line(("." * WIDTH, None))))
    sent = diff.update(iter(line(("a" + " " * (WIDTH - 2) + "b", blue))))
    row = f"\x1b[1;2H\x1b[{WIDTH - 2}X\x1b[1Ga\x1b[{WIDTH}Gb" if erases else f"\x1b[1Ha{' ' * (WIDTH - 2)}b"
    assert sent == f"\x1b[44m{row}\x1b[m"


@pytest.mark.parametrize(
    ("term", "told"), [("xterm-256color", True), ("screen-256color", False), ("no-such-terminal", False)]
)
def test_what_erases_is_asked_of_the_terminals_own_description(term: str, told: bool) -> None:
    code = "from explorer.ui.cell_diff import erases; print(erases())"
    environment = {**os.environ, "TERM": term}
    sent = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert sent == f"{told}\n"


def test_a_blank_in_another_colour_is_no_change() -> None:
    diff = cells()
    diff.update(iter(line(("a b", Style(color="red")))))
    red, blue = Style(color="red"), Style(color="blue", bold=True)
    assert diff.update(iter(line(("a", red), (" ", blue), ("b", red)))) == ""


def test_a_link_is_opened_where_it_changed_and_closed_at_the_end() -> None:
    diff = cells()
    link = Style(link="https://example.org/")
    diff.update(iter(line(("see here", None))))
    sent = diff.update(iter(line(("see ", None), ("here", link))))
    assert sent == f"\x1b]8;id={link.link_id};https://example.org/\x1b\\\x1b[1;5Hhere\x1b]8;;\x1b\\"


def test_a_strip_that_is_too_wide_is_left_to_textual() -> None:
    with pytest.raises(UnknownUpdateError):
        cells().update(iter([(0, 0, [Segment("x" * (WIDTH + 1))])]))


def test_a_line_outside_the_screen_is_left_to_textual() -> None:
    with pytest.raises(UnknownUpdateError):
        cells().update(iter([(0, HEIGHT, [Segment("x")])]))
