"""The keys of the screens that look inside: the table, what they bind, and the help."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest
from fakes import Hands, running
from serving import Two, grid_of, open_values, served, swept
from textual.screen import Screen
from textual.widgets import OptionList

from explorer.ui import keys_inside, screens
from explorer.ui.keys_inside import INSIDE, TITLES, Place
from explorer.ui.screens.help import HelpScreen
from explorer.ui.widgets.line_list import LineList

pytest.importorskip("torch")


KEYS = {"findings": "w", "presets": "p", "memory": "t", "export": "e", "card": "i", "start": "o"}
"""The key that opens each screen that needs no values."""


async def opened(ui: Hands, place: Place) -> Screen[Any]:
    """Open the screen of a place."""
    if place == "values":
        await open_values(ui, "stack")
    elif place == "sweep":
        await swept(ui)
    else:
        await ui.press(KEYS[place])
    assert getattr(ui.app.screen, "HELP_ON", None) == place
    return ui.app.screen


@pytest.mark.parametrize("place", list(INSIDE))
async def test_every_key_of_the_table_runs_its_action_on_that_screen(place: Place) -> None:
    app, _ = served(Two())
    async with running(app, (80, 24)) as ui:
        screen = await opened(ui, place)
        bound = {key: list(bindings) for key, bindings in screen._bindings.key_to_bindings.items()}
        for node in [*screen.query(LineList), *screen.query("ValueGrid"), *screen.query(OptionList)]:
            for key, bindings in node._bindings.key_to_bindings.items():
                bound.setdefault(key, []).extend(bindings)
        for entry in INSIDE[place]:
            for keys, action in entry.runs:
                for key in keys.split(","):
                    mine = {"0": "0"}.get(key, key)
                    upper = f"upper_{key.lower()}" if len(key) == 1 and key.isupper() else mine
                    assert any(b.action == action for name in (mine, upper) for b in bound.get(name, [])), key


def test_no_screen_binds_a_key_that_no_table_lists() -> None:
    leaving = {"escape", "q", "question_mark", "f1", "ctrl+q", "ctrl+c"}
    for module in iter_modules(screens.__path__, f"{screens.__name__}."):
        import_module(module.name)
    seen, left = set(), [Screen]
    while left:
        kind = left.pop()
        left += kind.__subclasses__()
        if kind.__module__.startswith(screens.__name__) and kind.__name__ not in ("ModelScreen", "CompareScreen"):
            place = getattr(kind, "HELP_ON", None)
            listed = {key for entry in INSIDE.get(place, ()) for keys, _ in entry.runs for key in keys.split(",")}
            opens = {KEYS.get(place, "")}
            assert {
                each for b in vars(kind).get("BINDINGS", ()) for each in b.key.split(",")
            } <= listed | leaving | opens
            seen.add(place)
    assert seen == {None, *INSIDE}


@pytest.mark.parametrize("size", [(60, 20), (80, 24)])
@pytest.mark.parametrize("key", ["question_mark", "f1"])
@pytest.mark.parametrize("place", ["values", "sweep"])
async def test_help_on_a_screen_that_looks_inside_begins_with_its_keys(
    place: Place, key: str, size: tuple[int, int]
) -> None:
    app, _ = served(Two())
    async with running(app, size) as ui:
        if place == "values":
            await open_values(ui, "stack")
        else:
            await swept(ui)
        under = app.screen
        assert "? help" in ui.text
        await ui.press(key)
        assert isinstance(app.screen, HelpScreen)
        assert TITLES[place] in ui.text
        lines = [" ".join(line.split()) for line in ui.lines]
        first = INSIDE[place][0]
        assert any(f"{first.shown} {first.help.split()[0]}" in line for line in lines)
        await ui.press("escape")
        assert app.screen is under


@pytest.mark.parametrize("place", list(KEYS))
async def test_the_help_of_every_screen_begins_with_its_own_keys(place: Place) -> None:
    app, _ = served(Two())
    async with running(app, (80, 24)) as ui:
        await opened(ui, place)
        await ui.press("f1")
        assert isinstance(app.screen, HelpScreen)
        at = next(number for number, line in enumerate(ui.lines) if TITLES[place] in line)
        assert at < 5
        assert all(entry.help[:40] in "\n".join(ui.lines[at:]) for entry in INSIDE[place])


async def test_the_main_help_has_every_key_of_the_other_screens() -> None:
    app, _ = served(Two())
    async with running(app, (120, 240)) as ui:
        await ui.press("question_mark")
        for place, entries in INSIDE.items():
            assert TITLES[place] in ui.text
            for entry in entries:
                assert entry.help.split()[-1] in ui.text, entry.shown
                assert entry.shown in ui.text


async def test_at_80_columns_the_foot_names_the_slice_of_three_dimensions_and_the_choice_of_four() -> None:
    app, _ = served(Two())
    async with running(app, (80, 24)) as ui:
        await open_values(ui, "stack")
        await ui.until(lambda: grid_of(ui).cell is not None)
        for word in ("[ ] slice", "d dimension", "? help"):
            assert word in ui.text


def test_no_key_means_two_things_in_one_part() -> None:
    for place in INSIDE:
        for part in ("screen", "grid"):
            bound = [binding.key for binding in keys_inside.bindings(place, part)]  # type: ignore[union-attr]
            keys = [key for several in bound for key in several.split(",")]
            assert len(keys) == len(set(keys))


async def test_a_box_names_the_keys_that_scroll_it_only_where_there_is_more() -> None:
    app, _ = served(Two())
    async with running(app, (60, 20)) as ui:
        await ui.press("c")
        await ui.until(lambda: "PgUp PgDn scroll" in ui.text)
    app, _ = served(Two())
    async with running(app, (120, 60)) as ui:
        await ui.press("c")
        await ui.settle()
        assert "Esc closes" in ui.text
        assert "scroll" not in ui.text
