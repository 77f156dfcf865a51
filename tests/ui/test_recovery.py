"""After something went wrong: what is offered, how long it stands there, and that nothing typed is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import FakeOpener, Hands, make_app, running
from rich.cells import cell_len

from explorer.core.draft import Draft
from explorer.core.draft_store import DraftStore, Left
from explorer.core.groups import Grouping
from explorer.core.param import Model

LEFT = Draft(Grouping.classic(["lost", "bias"]), {0: ("no_decay", "weight_decay=0.0 lr=", "lost, bias, re:(")})
"""Groups of a session that ended while a term and an option were half typed."""

SIZES = [(60, 20), (80, 24), (160, 45)]


def leave_behind(ui: Hands) -> None:
    ui.model_screen.post_message(ui.model_screen.LeftBehind(LEFT))


@pytest.mark.parametrize("size", SIZES)
async def test_the_offer_is_whole_and_stays_and_covers_nothing(model: Model, size: tuple[int, int]) -> None:
    async with running(make_app(model), size) as ui:
        before = ui.lines
        leave_behind(ui)
        await ui.until(lambda: " R restores last groups " in ui.lines[-1])
        assert ui.lines[:-1] == before[:-1], "only the line of the keys is another"
        for key in ("/ filter", "v values", "? help", "q quit"):  # Enter, Tab and the arrows everybody tries
            assert key in ui.lines[-1]
        assert cell_len(ui.lines[-1].rstrip()) <= size[0]
        await ui.press("down")
        assert "R restores" in ui.lines[-1], "it stays"
        await ui.press("slash")
        assert "R restores" not in ui.lines[-1], "there R is a letter"
        await ui.press("escape")
        assert "R restores" in ui.lines[-1]


async def test_groups_that_can_not_be_read_or_kept_are_told_with_their_path(model: Model, tmp_path: Path) -> None:
    class Spoiled(DraftStore):
        def left(self, target: str) -> Left:
            return Left(None, "/drafts/a.toml: not UTF-8 text")

    (tmp_path / "file").touch()
    async with running(make_app(model, drafts=Spoiled(tmp_path / "file" / "drafts"))) as ui:
        await ui.until(lambda: "/drafts/a.toml: not UTF-8 text" in ui.text)
        ui.app.clear_notifications()
        await ui.press("R")
        await ui.until(lambda: "/drafts/a.toml: not UTF-8 text" in ui.text)
        await ui.press("tab", "x")
        await ui.until(lambda: "A crash would lose what you type" in ui.text and "/file/drafts: Not a" in ui.text)


@pytest.mark.parametrize("edit", ["R", "typing", "O"])
async def test_the_offer_goes_when_it_is_taken_or_other_groups_are_made(model: Model, edit: str) -> None:
    async with running(make_app(model)) as ui:
        leave_behind(ui)
        await ui.until(lambda: "R restores" in ui.lines[-1])
        if edit == "typing":
            await ui.press("tab", "x", "escape", "escape")
        else:
            await ui.press(edit)
        assert "R restores" not in ui.text


async def test_what_was_half_typed_comes_back_into_its_fields(model: Model) -> None:
    async with running(make_app(model)) as ui:
        leave_behind(ui)
        await ui.until(lambda: "R restores" in ui.lines[-1])
        await ui.press("R")
        await ui.until(lambda: "re:(" in ui.text)
        bench, editor = ui.model_screen.bench, ui.groups.editors[0]
        assert bench is not None
        assert editor.terms.value == "lost, bias, re:("
        assert "weight_decay=0.0 lr=" in ui.text
        assert "✖" in ui.text
        assert bench.draft == LEFT, "kept again as it came"
        ui.model_screen.query_one("#groups")
        await ui.press("tab")
        await ui.write("lost, bias, re:(a)")
        assert bench.typed.rules[0].terms == ("lost", "bias", "re:(a)"), "and typing goes on from there"


async def test_a_worker_that_goes_is_told_at_once_and_r_opens_it_again_with_all_that_is_typed(model: Model) -> None:
    opener = FakeOpener(model=model)
    async with running(make_app(opener=opener)) as ui:
        await ui.press("tab")
        await ui.write("bias, re:(")
        await ui.press("tab")
        await ui.write("weight_decay=")
        ui.tree.focus()
        await ui.settle()
        opener.loadings[0].how = "model: the worker was killed (signal 9)"
        opener.loadings[0].gone.set()
        await ui.until(lambda: "the worker was killed (signal 9)" in ui.text)
        assert " r opens again: worker gone " in ui.lines[-1]
        await ui.press("r")
        await ui.until(lambda: len(opener.loadings) == 2 and ui.model_screen.shown)
        await ui.until(lambda: "re:(" in ui.text)
        assert ui.groups.editors[0].terms.value == "bias, re:("
        assert "worker gone" not in ui.lines[-1]


@pytest.mark.parametrize("ends", ["failed", "lost", "Esc"])
async def test_what_does_not_open_again_stays_as_it_is_and_r_tries_once_more(model: Model, ends: str) -> None:
    opener = FakeOpener(model=model)
    async with running(make_app(opener=opener)) as ui:
        await ui.press("tab")
        await ui.write("bias, re:(")
        ui.tree.focus()
        await ui.press("slash")
        await ui.write("lm_head")
        await ui.press("escape", "home")
        before = [line[:60] for line in ui.lines[1:20]]
        del opener.models["model"]
        if ends == "Esc":
            opener.stays.add("model")
        opener.lost = ends == "lost"
        await ui.press("r")
        if ends == "Esc":
            await ui.until(lambda: "importing torch" in ui.text)
            await ui.press("escape")
        await ui.until(lambda: "r tries again: not open" in ui.lines[-1])
        await ui.until(lambda: "re:(" in ui.text)
        ui.app.clear_notifications()
        await ui.until(lambda: [line[:60] for line in ui.lines[1:20]] == before)
        await ui.press("v")
        await ui.until(lambda: "could not be opened again; r tries once more" in ui.text)
        assert "r opens again" in ui.lines[-1]
        opener.models["model"] = model
        await ui.press("r")
        await ui.until(lambda: ui.model_screen.shown and "re:(" in ui.text and "r tries" not in ui.text)
    assert not ui.app.return_code


@pytest.mark.parametrize("opens", [True, False])
async def test_the_cursor_and_the_folds_are_the_same_after_opening_again(model: Model, opens: bool) -> None:
    opener = FakeOpener(model=model)
    async with running(make_app(opener=opener), (80, 24)) as ui:
        await ui.press("minus", "enter", "down", "down", "enter", "down", "u", "down", "down", "s")
        before = ui.names, ui.path, ui.tree.view.order
        assert ui.tree.cursor > 2
        if not opens:
            del opener.models["model"]
        await ui.press("r")
        await ui.until(lambda: len(opener.loadings) == 2 and ui.model_screen.shown)
        assert (ui.names, ui.path, ui.tree.view.order) == before


async def test_two_hints_leave_room_for_help_and_quit(model: Model) -> None:
    for size in SIZES:
        opener = FakeOpener(model=model)
        async with running(make_app(opener=opener), size) as ui:
            leave_behind(ui)
            await ui.until(lambda: "R restores" in ui.lines[-1])
            opener.loadings[0].gone.set()
            await ui.until(lambda: "r opens again" in ui.lines[-1])
            assert ("R restores" in ui.lines[-1]) == (size[0] > 60), "the latest first, the other if it fits"
            assert ui.lines[-1].rstrip().endswith("? help  q quit")


async def test_a_worker_that_is_ended_is_not_told(model: Model) -> None:
    opener = FakeOpener(model=model)
    async with running(make_app(opener=opener)) as ui:
        opener.loadings[0].how = "model: the worker was killed (signal 9)"
        await ui.press("r")
        await ui.until(lambda: len(opener.loadings) == 2 and ui.model_screen.shown)
        await ui.settle()
        assert opener.loadings[0].cancelled.is_set()
        assert "worker" not in ui.text
