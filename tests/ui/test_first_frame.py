"""What the first frame costs, in counts: a model that is open already is mounted, laid out and drawn once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fakes import Hands, make_app, running
from tables import kantaibert, model_of, param
from textual.app import App
from textual.css.stylesheet import Stylesheet
from textual.screen import Screen

from explorer.core.param import Model
from explorer.ui.app import ParamxApp
from explorer.ui.screens.model import ModelScreen
from explorer.ui.widgets.field import Field
from explorer.ui.widgets.groups_panel import GroupsPanel
from explorer.ui.widgets.tree_table import TreeTable

LOOKS = 60
"""Most nodes whose styles are looked up until the tree is drawn; mounting all and waiting first took 197."""


def opened_app(model: Model | None = None) -> ParamxApp:
    """An app whose model is open before it runs, as a header is while Textual is imported."""
    app = make_app(model or kantaibert())
    assert app._opening is not None
    until = time.monotonic() + 60
    while app._opening.ready is None and time.monotonic() < until:
        time.sleep(0.001)
    assert app._opening.ready is not None
    return app


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Note down each frame that is drawn, by the rows of the tree in it, and each look into the stylesheet."""
    noted: list[str] = []
    display, apply = App._display, Stylesheet.apply

    def drawn(app: App[Any], screen: Screen[Any], renderable: Any) -> None:
        if renderable is not None and not app._batch_count:
            rows = "▾ roberta" in "".join(
                segment.text for line in screen._compositor.render_strips() for segment in line
            )
            noted.append("tree" if rows and isinstance(screen, ModelScreen) else "other")
        display(app, screen, renderable)

    def looked(sheet: Stylesheet, *arguments: Any, **options: Any) -> None:
        noted.append("look")
        apply(sheet, *arguments, **options)

    monkeypatch.setattr(App, "_display", drawn)
    monkeypatch.setattr(Stylesheet, "apply", looked)
    yield noted


async def test_a_model_that_is_open_already_is_in_the_first_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(monkeypatch) as noted:
        async with running(opened_app()):
            pass
    frames = [note for note in noted if note != "look"]
    assert frames[0] == "tree"
    assert noted.index("tree") <= LOOKS


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 20)])
async def test_the_fields_of_the_groups_do_not_move_the_tree(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    before: list[object] = []
    show = GroupsPanel.show

    async def noted(panel: GroupsPanel, *arguments: Any) -> None:
        before.append(panel.screen.query_one(TreeTable).size)
        await show(panel, *arguments)

    monkeypatch.setattr(GroupsPanel, "show", noted)
    async with running(opened_app(), size) as ui:
        await ui.until(lambda: len(ui.groups.editors) == 2)
        assert before == [ui.tree.size]


async def test_tab_goes_to_the_groups_before_their_fields_are_mounted() -> None:
    app = opened_app()
    async with app.run_test(size=(120, 40)) as pilot:
        ui = Hands(app, pilot)
        await ui.until(lambda: any(isinstance(screen, ModelScreen) for screen in app.screen_stack))
        screen = ui.model_screen
        await screen.query_one(GroupsPanel).query("RuleEditor").remove()
        await screen.run_action("next_panel")
        await ui.settle()
        assert isinstance(app.focused, Field)
        assert len(ui.groups.editors) == 2


async def test_a_model_that_comes_later_takes_the_place_of_the_waiting() -> None:
    async with running(make_app(kantaibert())) as ui:
        await ui.until(lambda: "▾ roberta" in ui.text)
        assert not ui.model_screen.query("#waiting")


async def test_a_module_of_this_process_is_not_named_twice() -> None:
    async with running(make_app(model_of("a.b", "c.d", target="Sequential", class_name="Sequential"))) as ui:
        assert ui.lines[0].count("Sequential") == 1


async def test_a_tensor_that_comes_first_is_described_before_any_layout_and_after_a_resize() -> None:
    app = opened_app(model_of(param("shared.weight", aliases=("encoder.weight", "decoder.weight")), "head.weight"))
    told = "tied to encoder.weight, decoder.weight · decay because no rule above takes"
    async with app.run_test(size=(80, 24)) as pilot:
        ui = Hands(app, pilot)
        await ui.until(lambda: told in ui.text)
        await ui.resize(160, 45)
        assert f"{told} it" in ui.text


async def test_what_is_learned_of_the_tensor_under_the_cursor_is_told_at_once() -> None:
    async with running(opened_app(model_of("shared.weight", "head.weight")), (80, 24)) as ui:
        assert "tied to" not in ui.text
        known = model_of(param("shared.weight", aliases=("encoder.weight",)), "head.weight")
        ui.model_screen.post_message(ModelScreen.Learned(known))
        await ui.until(lambda: "tied to encoder.weight" in ui.text)
