"""Opening: what is shown meanwhile, what becomes of a failure, and the start screen."""

from __future__ import annotations

import pytest
from fakes import CHOICES, FakeLoading, FakeOpener, Hands, make_app, running
from textual.widgets import Input, OptionList

from explorer.core.errors import ParamxError
from explorer.core.loading import Failed, OpenSpec
from explorer.core.param import Model
from explorer.core.rules import Grouping, Rule
from explorer.ui.screens.help import HelpScreen
from explorer.ui.screens.model import ModelScreen
from explorer.ui.screens.start import StartScreen


async def listed(ui: Hands) -> None:
    await ui.until(lambda: CHOICES[0].title in ui.text)


def shown(ui: Hands) -> list[str]:
    """The titles on the start screen."""
    return [choice.title for choice in CHOICES if choice.title in "\n".join(ui.lines[3:-2])]


# --- a target of the command line -----------------------------------------------------------------------------------


async def test_a_target_that_can_not_be_opened_ends_the_app_with_the_line_and_1() -> None:
    app = make_app(target="nonsense")
    async with running(app, wait=False) as ui:
        await ui.until(lambda: app.return_code is not None)
    assert app.return_code == 1
    assert app.return_value == "nonsense: no such model; try roberta-base"


async def test_a_recipe_makes_the_groups_of_the_model_or_is_the_line_that_ends_the_app(roberta: Model) -> None:
    def refuse(model: Model) -> Grouping:
        raise ParamxError("recipe layerwise", f"{len(model)} tensors are too many")

    async with running(make_app(roberta, recipe=lambda model: Grouping((Rule(f"all_{len(model)}"),)))) as ui:
        assert f"all_{len(roberta)}" in ui.text
    app = make_app(roberta, recipe=refuse)
    async with running(app, wait=False) as ui:
        await ui.until(lambda: app.return_code is not None)
    assert (app.return_code, app.return_value) == (1, f"recipe layerwise: {len(roberta)} tensors are too many")


async def test_the_loading_names_the_target_the_stage_and_the_seconds() -> None:
    async with running(make_app(target="slow"), wait=False) as ui:
        await ui.until(lambda: "importing torch…  0 s" in ui.text)
        assert "slow" in ui.lines[0]
        assert "? help   q quit" in ui.text


@pytest.mark.parametrize("key", ["q", "ctrl+q", "ctrl+c", "escape"])
async def test_leaving_while_loading_cancels_it(key: str) -> None:
    opener = FakeOpener()
    app = make_app(target="slow", opener=opener)
    async with running(app, wait=False) as ui:
        await ui.until(lambda: "importing torch" in ui.text)
        await ui.press(key)
        assert app.return_code == 0
        assert app.return_value is None
    assert [loading.cancelled.is_set() for loading in opener.loadings] == [True]


@pytest.mark.parametrize("key", ["q", "ctrl+q", "escape"])
async def test_leaving_it_at_a_worker_that_died_is_a_failure(key: str) -> None:
    line = "slow: the worker was killed (signal 9) while importing torch"

    class Dying(FakeOpener):
        def __call__(self, spec: OpenSpec) -> FakeLoading:
            return FakeLoading([Failed(line, lost=True)])

    app = make_app(target="slow", opener=Dying())
    async with running(app, wait=False) as ui:
        await ui.until(lambda: "r tries again" in ui.text)
        await ui.press(key)
    assert (app.return_code, app.return_value) == (1, line)


async def test_leaving_a_loaded_model_cancels_its_worker(model: Model) -> None:
    opener = FakeOpener(model=model)
    async with running(make_app(opener=opener)) as ui:
        assert not opener.loadings[0].cancelled.is_set(), "it serves values until then"
        await ui.press("q")
    assert opener.loadings[0].cancelled.is_set()


async def test_the_filter_of_the_command_line_is_on(model: Model) -> None:
    async with running(make_app(model, filter="layer.3")) as ui:
        await ui.until(lambda: "16 of 106 tensors · 7,087,872" in ui.text)


# --- the start screen -----------------------------------------------------------------------------------------------


async def test_the_start_screen_lists_what_can_be_opened() -> None:
    async with running(make_app(target=""), wait=False) as ui:
        await listed(ui)
        assert shown(ui) == [choice.title for choice in CHOICES]
        assert all(choice.detail in ui.text for choice in CHOICES)
        assert "5 things to open here" in ui.text


async def test_no_line_of_a_built_in_is_cut_at_80_columns() -> None:
    from explorer.sources.local import choices

    built_in = [choice for choice in choices() if choice.kind == "built-in"]
    async with running(make_app(target="", choices=lambda: built_in), (80, 24), wait=False) as ui:
        await ui.until(lambda: f"{len(built_in)} things to open here" in ui.text)
        lines = [option.prompt.plain for option in ui.app.screen.query_one(OptionList).options]
        for choice, line in zip(built_in, lines, strict=True):
            assert choice.title in line and line.endswith(choice.detail)
        assert max(map(len, lines)) <= ui.app.screen.query_one(OptionList).scrollable_content_region.width


async def test_typing_narrows_the_list_and_enter_opens() -> None:
    from tables import kantaibert

    opener = FakeOpener(**{"roberta-base": kantaibert()})
    async with running(make_app(target="", opener=opener), wait=False) as ui:
        await listed(ui)
        await ui.type("rob base")
        assert shown(ui) == ["roberta-base"], "words in any order, each somewhere in the line"
        await ui.press("enter")
        await ui.until(lambda: isinstance(ui.app.screen, ModelScreen))
        await ui.until(lambda: "83,504,416 parameters ✔" in ui.text)
        assert [spec.target for spec in opener.specs] == ["roberta-base"]


async def test_what_is_not_listed_is_opened_as_typed() -> None:
    opener = FakeOpener()
    async with running(make_app(target="", opener=opener), wait=False) as ui:
        await listed(ui)
        await ui.write("  my/own-Model ")
        assert "my/own-Model" in ui.text
        await ui.press("enter")
        await ui.until(lambda: bool(opener.specs))
        assert opener.specs[0].target == "my/own-Model"


async def test_arrows_choose_and_the_field_keeps_the_focus() -> None:
    opener = FakeOpener()
    async with running(make_app(target="", opener=opener), wait=False) as ui:
        await listed(ui)
        await ui.press("up", "down", "down", "up", "down")
        assert isinstance(ui.app.focused, Input)
        await ui.press("enter")
        await ui.until(lambda: bool(opener.specs))
        assert opener.specs[0].target == CHOICES[2].target


async def test_a_click_opens() -> None:
    opener = FakeOpener()
    async with running(make_app(target="", opener=opener), wait=False) as ui:
        await listed(ui)
        await ui.pilot.click(OptionList, offset=(5, 3))
        await ui.until(lambda: bool(opener.specs))
        assert opener.specs[0].target == CHOICES[3].target


async def test_escape_clears_the_field() -> None:
    async with running(make_app(target=""), wait=False) as ui:
        await listed(ui)
        await ui.write("gpt2")
        assert shown(ui) == ["gpt2"]
        await ui.press("escape")
        assert len(shown(ui)) == len(CHOICES)


async def test_a_failure_comes_back_to_the_start_screen_with_the_reason() -> None:
    app = make_app(target="")
    async with running(app, wait=False) as ui:
        await listed(ui)
        await ui.write("nonsense")
        await ui.press("enter")
        await ui.until(lambda: "nonsense: no such model; try roberta-base" in ui.text)
        await ui.until(lambda: "Enter opens 'nonsense'" in ui.text)
        assert isinstance(app.screen, StartScreen)
        assert app.return_code is None
        assert not any(isinstance(screen, ModelScreen) for screen in app.screen_stack)


async def test_giving_up_a_choice_comes_back_to_the_start_screen() -> None:
    opener = FakeOpener()
    app = make_app(target="", opener=opener)
    async with running(app, wait=False) as ui:
        await listed(ui)
        await ui.write("slow")
        await ui.press("enter")
        await ui.until(lambda: "importing torch" in ui.text)
        await ui.press("escape")
        await listed(ui)
        assert opener.loadings[0].cancelled.is_set()
        assert app.return_code is None


async def test_letters_are_typed_and_help_and_quit_have_keys_of_their_own() -> None:
    app = make_app(target="")
    async with running(app, wait=False) as ui:
        await listed(ui)
        await ui.press("q", "e")
        assert ui.field.value == "qe"
        await ui.press("f1")
        assert isinstance(app.screen, HelpScreen)
        await ui.press("escape", "ctrl+q")
        assert app.return_code == 0


async def test_another_model_is_opened_after_the_first(model: Model) -> None:
    opener = FakeOpener(model=model, gpt2=model)
    app = make_app(opener=opener)
    async with running(app) as ui:
        await ui.press("o")
        await listed(ui)
        assert not opener.loadings[0].cancelled.is_set(), "Esc would lead back to it"
        await ui.write("gpt2")
        await ui.press("enter")
        await ui.until(lambda: opener.loadings[0].cancelled.is_set())
        await ui.until(lambda: "83,504,416 parameters ✔" in ui.text)
        assert [spec.target for spec in opener.specs] == ["model", "gpt2"]
        assert len([screen for screen in app.screen_stack if isinstance(screen, ModelScreen)]) == 1


async def test_an_empty_place_still_offers_to_type() -> None:
    opener = FakeOpener()
    async with running(make_app(target="", opener=opener, choices=lambda: ()), wait=False) as ui:
        await ui.settle()
        await ui.press("enter")
        assert opener.specs == [], "nothing typed, nothing opened"
        await ui.write("roberta-base")
        await ui.press("enter")
        await ui.until(lambda: bool(opener.specs))
