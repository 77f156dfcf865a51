"""The keys of the screens that look inside: the table, what they bind, and the help."""

from __future__ import annotations

import pytest
from fakes import running
from serving import Two, grid_of, open_values, served, swept

from explorer.ui import keys_inside
from explorer.ui.keys_inside import INSIDE, TITLES, Place
from explorer.ui.screens.help import HelpScreen
from explorer.ui.screens.sweep import SweepScreen
from explorer.ui.screens.values import ValuesScreen
from explorer.ui.widgets.line_list import LineList

pytest.importorskip("torch")


@pytest.mark.parametrize("place", list(INSIDE))
async def test_every_key_of_the_table_runs_its_action_on_that_screen(place: Place) -> None:
    app, _ = served(Two())
    async with running(app, (80, 24)) as ui:
        if place == "values":
            await open_values(ui, "stack")
        else:
            await swept(ui)
        screen = app.screen
        assert isinstance(screen, ValuesScreen if place == "values" else SweepScreen)
        bound = {key: list(bindings) for key, bindings in screen._bindings.key_to_bindings.items()}
        for node in [*screen.query(LineList), *screen.query("ValueGrid")]:
            for key, bindings in node._bindings.key_to_bindings.items():
                bound.setdefault(key, []).extend(bindings)
        for entry in INSIDE[place]:
            for keys, action in entry.runs:
                for key in keys.split(","):
                    mine = {"0": "0"}.get(key, key)
                    upper = f"upper_{key.lower()}" if len(key) == 1 and key.isupper() else mine
                    assert any(b.action == action for name in (mine, upper) for b in bound.get(name, [])), key


@pytest.mark.parametrize("size", [(60, 20), (80, 24)])
@pytest.mark.parametrize("key", ["question_mark", "f1"])
@pytest.mark.parametrize("place", list(INSIDE))
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


async def test_the_main_help_has_every_key_of_both_screens() -> None:
    app, _ = served(Two())
    async with running(app, (120, 200)) as ui:
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
