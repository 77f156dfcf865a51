"""Every key of the table does what its help says; a new command without a test here fails."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any
from unittest import mock

import pytest
from fakes import FakeOpener, Hands, make_app, running
from textual import events
from textual.screen import Screen

from explorer.core.draft import Draft
from explorer.core.groups import Grouping, Rule
from explorer.core.param import Model
from explorer.ui import keymap
from explorer.ui.screens.card import CardScreen
from explorer.ui.screens.counters import CountersScreen
from explorer.ui.screens.export import ExportScreen
from explorer.ui.screens.findings import FindingsScreen, MovesScreen
from explorer.ui.screens.help import HelpScreen
from explorer.ui.screens.memory import MemoryScreen
from explorer.ui.screens.model import ModelScreen
from explorer.ui.screens.presets import PresetsScreen
from explorer.ui.screens.start import StartScreen
from explorer.ui.screens.sweep import SweepScreen
from explorer.ui.screens.values import ValuesScreen

Check = Callable[[Hands, str], Awaitable[None]]
CHECKS: dict[str, Check] = {}


def does(command: str) -> Callable[[Check], Check]:
    """Register the check of one command; it is run for each of the command's keys."""

    def register(check: Check) -> Check:
        CHECKS[command] = check
        return check

    return register


TYPED_TOO = {"help": "f1", "quit": "ctrl+q"}
"""Commands whose first key is a letter where one types, each with the key that works there as well."""

RUNS = [(command, command.keys[0]) for command in keymap.COMMANDS] + [
    (command, TYPED_TOO[command.id]) for command in keymap.COMMANDS if command.id in TYPED_TOO
]


@pytest.mark.parametrize(("command", "key"), RUNS, ids=[f"{command.id}-{key}" for command, key in RUNS])
async def test_a_key_does_what_its_help_says(command: keymap.Command, key: str, model: Model) -> None:
    async with running(make_app(model)) as ui:
        if command.where == "groups":
            await ui.press("tab")
        await CHECKS[command.id](ui, key)


async def test_every_other_key_of_a_command_leads_to_the_same_action(model: Model) -> None:
    async with running(make_app(model)) as ui:
        active = ui.app.screen.active_bindings
        for command in keymap.COMMANDS:
            for key in command.keys:
                if command.where != "groups" and command.id != "palette":  # Textual has an action of its own for it
                    assert active[key].binding.action.rpartition(".")[2] == command.id, key


def test_every_command_is_tested_and_nothing_else() -> None:
    assert set(CHECKS) == {command.id for command in keymap.COMMANDS}


def test_no_key_means_two_things_in_one_place() -> None:
    for place in ("tree", "groups"):
        keys = [key for command in keymap.COMMANDS if command.where in (place, "anywhere") for key in command.keys]
        assert len(keys) == len(set(keys))


def test_every_command_has_a_label_a_help_and_a_key_for_people() -> None:
    for command in keymap.COMMANDS:
        assert command.label, command.id
        assert command.help, command.id
        assert command.shown, command.id
        assert command.keys, command.id
    assert len({command.id for command in keymap.COMMANDS}) == len(keymap.COMMANDS)


# --- in the tree ----------------------------------------------------------------------------------------------------


@does("cursor_up")
async def _(ui: Hands, key: str) -> None:
    await ui.go("roberta.encoder.layer.0")
    before = ui.tree.cursor
    await ui.press(key)
    assert ui.tree.cursor == before - 1
    await ui.press("home", key)
    assert ui.tree.cursor == 0, "and stays at the first row"


@does("cursor_down")
async def _(ui: Hands, key: str) -> None:
    await ui.press(key)
    assert ui.tree.cursor == 1
    await ui.press("end", key)
    assert ui.tree.cursor == len(ui.names) - 1, "and stays at the last row"


@does("cursor_right")
async def _(ui: Hands, key: str) -> None:
    await ui.press("minus")
    assert ui.names == ["roberta", "lm_head"]
    await ui.press(key)
    assert ui.names == ["roberta", "embeddings", "encoder.layer 0…5", "lm_head"]
    assert ui.at == "roberta"
    await ui.press(key)
    assert ui.at == "embeddings"


@does("cursor_left")
async def _(ui: Hands, key: str) -> None:
    await ui.go("roberta.embeddings.LayerNorm.weight")
    await ui.press(key)
    assert ui.path == "roberta.embeddings.LayerNorm"
    await ui.press(key)
    assert ui.path == "roberta.embeddings.LayerNorm"
    assert "roberta.embeddings.LayerNorm.weight" not in paths(ui)
    await ui.press(key)
    assert ui.path == "roberta.embeddings"
    await ui.press(key, key, key, key)
    assert ui.path == "roberta"


def paths(ui: Hands) -> list[str]:
    view = ui.tree.view
    assert view is not None
    return [view.tree.path(node) for node in view.rows.nodes]


@does("fold")
async def _(ui: Hands, key: str) -> None:
    before = ui.names
    await ui.go("roberta.embeddings")
    await ui.press(key)
    assert ui.at == "embeddings"
    assert len(ui.names) == len(before) - 6
    await ui.press(key)
    assert ui.names == before


@does("toggle_run")
async def _(ui: Hands, key: str) -> None:
    await ui.press("minus", "right")
    await ui.go("roberta.encoder.layer.0")
    assert ui.at == "encoder.layer 0…5"
    await ui.press(key)
    assert ui.names[2:9] == ["encoder.layer", "0", "1", "2", "3", "4", "5"]
    await ui.go("roberta.encoder.layer.4")
    await ui.press(key)
    assert ui.at == "encoder.layer 0…5"
    await ui.press("home", key)
    assert ui.at == "roberta", "a row without a run only rings"


@does("open_below")
async def _(ui: Hands, key: str) -> None:
    await ui.press("minus", key)
    assert ui.at == "roberta"
    shown = [name for name in paths(ui) if name.endswith(("weight", "bias"))]
    assert len(shown) == 5 + 16, "the embeddings, and the first of six layers alike"
    assert "×6" in ui.text


@does("fold_all")
async def _(ui: Hands, key: str) -> None:
    await ui.go("lm_head.dense")
    await ui.press(key)
    assert ui.names == ["roberta", "lm_head"]
    assert ui.at == "lm_head"


@does("page_up")
async def _(ui: Hands, key: str) -> None:
    await ui.press("minus", "asterisk", "end")
    last = ui.tree.cursor
    await ui.press(key)
    page = ui.tree.size.height - 1
    assert ui.tree.cursor == max(0, last - page)


@does("page_down")
async def _(ui: Hands, key: str) -> None:
    await ui.press("slash", *"layer", "enter", "u", "home")
    await ui.press(key)
    assert ui.tree.cursor == ui.tree.size.height - 1
    assert ui.tree.scroll_offset.y > 0
    assert ui.path.rpartition(".")[2] in ui.text


@does("first")
async def _(ui: Hands, key: str) -> None:
    await ui.press("end", key)
    assert ui.tree.cursor == 0


@does("top_prefix")
async def _(ui: Hands, key: str) -> None:
    await ui.press("end", key)
    assert ui.tree.cursor > 0, "once does nothing"
    await ui.press(key)
    assert ui.tree.cursor == 0
    await ui.press("end", key, "up", key)
    assert ui.tree.cursor > 0, "another key between them ends it"


@does("last")
async def _(ui: Hands, key: str) -> None:
    await ui.press(key)
    assert ui.tree.cursor == len(ui.names) - 1
    assert ui.path == "lm_head.layer_norm.bias"


@does("filter")
async def _(ui: Hands, key: str) -> None:
    await ui.press(key)
    await ui.type("lm_head.")
    assert "5 of 106 tensors" in ui.text
    assert set(paths(ui)) <= {"lm_head", *(name for name in paths(ui) if name.startswith("lm_head."))}
    await ui.press("escape")
    assert "of 106 tensors" not in ui.text
    assert "roberta" in paths(ui)
    await ui.press(key)
    await ui.write("#25")
    assert "1 of 106 tensors" in ui.text
    await ui.press("enter")
    assert "#25 of 106" in ui.text and "1 of 106 tensors" not in ui.text, "in the whole tree"
    await ui.press(key)
    await ui.write("#106")
    assert "0 of 106 tensors" in ui.text, "the last is #105"
    told = "There is no tensor of this number: #0 to #105 are there."
    assert f"{told} Esc clears it." in ui.text
    await ui.press("enter")
    assert [note.message for note in ui.app._notifications] == [told]
    assert ui.field.value == "#106", "to be mended"
    await ui.press("escape")


@does("next_match")
async def _(ui: Hands, key: str) -> None:
    await ui.press(key)
    assert "Nothing to find yet" in ui.text
    await ui.press("slash")
    await ui.type("query.bias")
    await ui.press("enter", "escape", "home")
    seen = []
    for _ in range(7):
        await ui.press(key)
        seen.append(ui.path)
    layers = [f"roberta.encoder.layer.{layer}.attention.self.query.bias" for layer in range(6)]
    assert seen == [*layers, layers[0]], "each in turn, then the first again"


@does("previous_match")
async def _(ui: Hands, key: str) -> None:
    await ui.press("slash")
    await ui.type("query.bias")
    await ui.press("enter", "escape", "home")
    seen = []
    for _ in range(2):
        await ui.press(key)
        seen.append(ui.path)
    assert seen == [f"roberta.encoder.layer.{layer}.attention.self.query.bias" for layer in (5, 4)]


@does("sort")
async def _(ui: Hands, key: str) -> None:
    await ui.press("minus", "asterisk")
    view = ui.tree.view
    assert view is not None

    def running_of() -> dict[str, int]:
        return {path: view.running(row) for row, path in enumerate(paths(ui))}

    before, order = running_of(), paths(ui)
    await ui.press(key)
    embeddings = [row for row, path in enumerate(paths(ui)) if path.startswith("roberta.embeddings.")]
    sizes = [
        view.numel(row) for row in embeddings if paths(ui)[row].count(".") == 3 or "LayerNorm" not in paths(ui)[row]
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert paths(ui) != order
    assert running_of() == before, "the running total is the model's own order's"
    assert "Params↓" in ui.text
    assert "largest first" in ui.text
    await ui.press(key)
    assert paths(ui) == order


async def opens(ui: Hands, key: str, screen: type[Screen[Any]], *told: str) -> None:
    """Check that a key opens a screen that shows some texts, and that Esc leaves it."""
    await ui.press(key)
    assert isinstance(ui.app.screen, screen)
    await ui.until(lambda: all(text in ui.text for text in told))
    await ui.press("escape")
    assert ui.app.screen is ui.model_screen


@does("card")
async def _(ui: Hands, key: str) -> None:
    await opens(ui, key, CardScreen, "Parameters by role")


@does("sweep")
async def _(ui: Hands, key: str) -> None:
    await ui.go("roberta.embeddings")
    await ui.press(key)
    assert isinstance(ui.app.screen, SweepScreen)
    await ui.until(lambda: "answers nothing" in ui.text)


@does("values")
async def _(ui: Hands, key: str) -> None:
    await ui.go("roberta.embeddings.word_embeddings.weight")
    await ui.press(key)
    assert isinstance(ui.app.screen, ValuesScreen)
    await ui.until(lambda: "answers nothing" in ui.text)


@does("counters")
async def _(ui: Hands, key: str) -> None:
    await opens(ui, key, CountersScreen, "83,504,416", "123,492,416", "43,172,896")


@does("copy_name")
async def _(ui: Hands, key: str) -> None:
    await ui.go("roberta.encoder.layer.0")
    assert ui.at == "encoder.layer 0…5"
    for path in ("roberta.encoder.layer.0", "lm_head.layer_norm.bias"):
        await ui.press(key)
        assert ui.app.clipboard == path
        assert f"clipboard: {path}" in ui.text
        await ui.press("end")


@does("group_row")
async def _(ui: Hands, key: str) -> None:
    bench = ui.model_screen.bench
    assert bench is not None
    await ui.go("lm_head.dense")
    await ui.press(key)
    assert focused_at(ui) == (1, "rule-options")
    assert "dense takes 1 of 2 tensors; groups above keep the rest" in ui.text, "the bias is in no_decay"
    await ui.type("lr=3e-5")
    assert bench.typed.rules[1] == Rule("dense", ("glob:lm_head.dense.*",), {"weight_decay": 0.1, "lr": 3e-5})
    assert [bench.stats(rule).tensors for rule in range(3)] == [65, 1, 40]
    await ui.press("ctrl+underscore", "ctrl+underscore")
    assert bench.typed == Grouping.classic()


@does("presets")
async def _(ui: Hands, key: str) -> None:
    await opens(ui, key, PresetsScreen, "nanoGPT")


@does("findings")
async def _(ui: Hands, key: str) -> None:
    await ui.press(key)
    assert isinstance(ui.app.screen, FindingsScreen)
    await ui.until(lambda: "1 of 14 norm weights decays" in ui.text)
    await ui.press("enter")
    assert ui.app.screen is ui.model_screen
    assert ui.path == "lm_head.layer_norm.weight"


@does("moves")
async def _(ui: Hands, key: str) -> None:
    await ui.press("tab")
    await ui.write("bias, LayerNorm.weight, layer_norm")
    ui.tree.focus()
    await ui.press(key)
    assert isinstance(ui.app.screen, MovesScreen)
    await ui.until(lambda: "decay → no_decay: 1 tensor" in ui.text)
    await ui.press("enter")
    assert ui.path == "lm_head.layer_norm.weight"


@does("memory")
async def _(ui: Hands, key: str) -> None:
    await ui.press(key)
    assert isinstance(ui.app.screen, MemoryScreen)
    await ui.until(lambda: "gradients" in ui.text)
    await ui.press("c", "escape")
    assert "Train" in ui.lines[2], "the size column shows it"


@does("optimizer")
async def _(ui: Hands, key: str) -> None:
    bench = ui.model_screen.bench
    assert bench is not None
    assert bench.typed.optimizer == "AdamW"
    seen = []
    while bench.typed.optimizer not in seen:
        seen.append(bench.typed.optimizer)
        await ui.press(key)
    assert seen[0] == "AdamW"
    assert {"SGD", "Adafactor", "Muon"} < set(seen)
    assert bench.undo(), "an edit like any other"


@does("export")
async def _(ui: Hands, key: str) -> None:
    await opens(ui, key, ExportScreen, "weight_decay")


@does("open")
async def _(ui: Hands, key: str) -> None:
    await ui.press(key)
    assert isinstance(ui.app.screen, StartScreen)
    await ui.press("escape")
    assert ui.app.screen is ui.model_screen, "and back, with everything as it was"
    assert [loading.cancelled.is_set() for loading in ui.app._services.opener.loadings] == [False]


@does("reload")
async def _(ui: Hands, key: str) -> None:
    await ui.press("tab")
    await ui.write("norm")
    await ui.press("enter", "escape")
    typed = ui.model_screen.bench.typed
    assert typed != Grouping.classic()
    await ui.press(key)
    await ui.until(lambda: ui.model_screen.bench is not None)
    assert [loading.cancelled.is_set() for loading in ui.app._services.opener.loadings] == [True, False]
    assert ui.model_screen.bench.typed == typed, "the groups as typed are still there"


@does("recover")
async def _(ui: Hands, key: str) -> None:
    await ui.press(key)
    assert "No groups were left behind" in ui.text
    ui.model_screen.post_message(ui.model_screen.LeftBehind(Draft(Grouping.classic(["lost"]))))
    await ui.until(lambda: "R restores" in ui.lines[-1])
    assert ui.model_screen.bench.typed != Grouping.classic(["lost"]), "never by itself"
    await ui.press(key)
    assert ui.model_screen.bench.typed == Grouping.classic(["lost"])
    assert "R restores" not in ui.text
    await ui.press("ctrl+underscore")
    assert ui.model_screen.bench.typed == Grouping.classic()


# --- in the groups panel --------------------------------------------------------------------------------------------


@does("commit")
async def _(ui: Hands, key: str) -> None:
    await ui.write("bias")
    bench = ui.model_screen.bench
    assert bench is not None
    assert "Δ" in ui.text
    await ui.press(key)
    assert bench.kept == bench.typed == Grouping.classic(["bias"])
    assert "Δ" not in ui.text
    assert bench.moves() == []


@does("restore")
async def _(ui: Hands, key: str) -> None:
    await ui.write("bias")
    await ui.press(key)
    bench = ui.model_screen.bench
    assert bench is not None
    assert bench.typed == Grouping.classic()
    await ui.until(lambda: ui.field.value == "bias, LayerNorm.weight")
    await ui.press(key)
    assert ui.app.focused is ui.tree


def focused_at(ui: Hands) -> tuple[int, str]:
    """The group and the kind of the field that has the focus."""
    (kind,) = {"rule-name", "rule-options", "rule-terms"} & ui.field.classes
    rule = ui.groups.focused_rule
    assert rule is not None
    return rule, kind


@does("rule_up")
async def _(ui: Hands, key: str) -> None:
    assert focused_at(ui) == (0, "rule-terms")
    await ui.press(key)
    assert focused_at(ui) == (0, "rule-name")
    await ui.press(key)
    assert focused_at(ui) == (0, "rule-name")


@does("rule_down")
async def _(ui: Hands, key: str) -> None:
    await ui.press(key)
    assert focused_at(ui) == (0, "rule-options")
    await ui.press(key, key)
    assert focused_at(ui) == (1, "rule-options")


@does("add_group")
async def _(ui: Hands, key: str) -> None:
    await ui.press(key)
    await ui.until(lambda: len(ui.groups.editors) == 3)
    assert focused_at(ui) == (1, "rule-terms")
    await ui.until(lambda: ui.field.value == "")
    await ui.type("lm_head")
    bench = ui.model_screen.bench
    assert bench is not None
    assert [bench.stats(rule).tensors for rule in range(3)] == [65, 2, 39]


@does("remove_group")
async def _(ui: Hands, key: str) -> None:
    await ui.press(key)
    await ui.until(lambda: len(ui.groups.editors) == 1)
    bench = ui.model_screen.bench
    assert bench is not None
    assert bench.names == ("decay",)
    await ui.press(key)
    assert bench.names == ("decay",), "the last can't go"


async def three_groups(ui: Hands) -> None:
    """Two groups with terms above the catch-all, the first with the focus."""
    await ui.press("ctrl+n")
    await ui.until(lambda: len(ui.groups.editors) == 3 and ui.groups.focused_rule == 1)
    await ui.write("lm_head")


@does("raise_group")
async def _(ui: Hands, key: str) -> None:
    await three_groups(ui)
    await ui.press(key)
    bench = ui.model_screen.bench
    assert bench is not None
    await ui.until(lambda: bench.names == ("group", "no_decay", "decay"))
    assert bench.stats(0).tensors == 5, "the first that matches wins"
    await ui.until(lambda: ui.groups.focused_rule == 0)
    await ui.press(key)
    assert bench.names == ("group", "no_decay", "decay")


@does("lower_group")
async def _(ui: Hands, key: str) -> None:
    await three_groups(ui)
    ui.groups.focus_field(0)
    await ui.settle()
    await ui.press(key)
    bench = ui.model_screen.bench
    assert bench is not None
    await ui.until(lambda: bench.names == ("group", "no_decay", "decay"))
    await ui.until(lambda: ui.groups.focused_rule == 1)
    await ui.press(key)
    assert bench.names == ("group", "no_decay", "decay"), "the catch-all stays last"


# --- anywhere -------------------------------------------------------------------------------------------------------


async def edit_and_undo(ui: Hands, undo: str) -> None:
    bench = ui.model_screen.bench
    assert bench is not None
    await ui.press("tab")
    await ui.write("bias")
    assert bench.typed == Grouping.classic(["bias"])
    await ui.press(undo)
    assert bench.typed == Grouping.classic()
    await ui.until(lambda: ui.groups.editors[0].terms.value == "bias, LayerNorm.weight")


@does("undo")
async def _(ui: Hands, key: str) -> None:
    await ui.press(key)
    assert "Nothing to undo" in ui.text
    await edit_and_undo(ui, key)


@does("redo")
async def _(ui: Hands, key: str) -> None:
    await edit_and_undo(ui, "ctrl+underscore")
    await ui.press(key)
    bench = ui.model_screen.bench
    assert bench is not None
    assert bench.typed == Grouping.classic(["bias"])
    await ui.until(lambda: ui.groups.editors[0].terms.value == "bias")


@does("next_panel")
async def _(ui: Hands, key: str) -> None:
    assert ui.app.focused is ui.tree
    seen = []
    for _ in range(5):
        await ui.press(key)
        seen.append(ui.app.focused is ui.tree or focused_at(ui))
    assert seen == [(0, "rule-terms"), (0, "rule-options"), (1, "rule-name"), (1, "rule-options"), True]


@does("previous_panel")
async def _(ui: Hands, key: str) -> None:
    await ui.press("tab", key)
    assert focused_at(ui) == (0, "rule-name")
    await ui.press(key)
    assert ui.app.focused is ui.tree
    await ui.press(key)
    assert focused_at(ui) == (1, "rule-options")


@does("help")
async def _(ui: Hands, key: str) -> None:
    await ui.press(key)
    assert isinstance(ui.app.screen, HelpScreen)
    await ui.press(key)
    assert sum(isinstance(screen, HelpScreen) for screen in ui.app.screen_stack) == 1
    await ui.press("escape")
    assert ui.app.screen is ui.model_screen
    if key == "f1":
        await ui.press("tab", key)
        assert isinstance(ui.app.screen, HelpScreen), "while typing too"


@does("palette")
async def _(ui: Hands, key: str) -> None:
    await ui.press(key)
    await ui.until(lambda: "Search" in ui.text)


@pytest.mark.parametrize("key", ["p", "ctrl+p"])
async def test_a_list_without_room_has_no_pages(model: Model, key: str) -> None:
    async with running(make_app(model)) as ui:
        await ui.press(key, "down")
        shown = ui.app.screen
        await ui.resize(1, 1)
        await ui.press("pagedown", "pageup")
        await ui.resize(80, 24)
        assert ui.app.screen is shown


@does("suspend_process")
async def _(ui: Hands, key: str) -> None:
    sent: list[tuple[int, int]] = []
    with (
        mock.patch.object(type(ui.app._driver), "can_suspend", True),
        mock.patch("textual.app.os.kill", lambda *call: sent.append(call)),
    ):
        await ui.press(key)
    assert sent == [(os.getpid(), signal.SIGTSTP)]


@does("quit")
async def _(ui: Hands, key: str) -> None:
    if key != "q":
        await ui.press("tab")
    await ui.press(key)
    assert ui.app.return_code == 0
    assert ui.app.return_value is None


async def test_keys_that_need_the_model_wait_for_it() -> None:
    app = make_app(target="slow")
    async with running(app, wait=False) as ui:
        await ui.until(lambda: "importing torch" in ui.text)
        foot = ui.lines[-1].split()
        assert foot == ["?", "help", "q", "quit", "Esc", "give", "up"], "no key is named that does nothing yet"
        keys = [c.keys[0] for c in keymap.COMMANDS if c.id not in ("help", "quit", "palette", "open", "restore")]
        await ui.press(*keys)
        assert "importing torch…" in ui.text
        assert app.screen is ui.model_screen


async def test_a_key_waits_for_the_one_before_it_though_the_process_was_held_up(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    filtering = ModelScreen.action_filter

    async def late(screen: ModelScreen) -> None:
        time.sleep(0.6)  # as on a machine that gives the process no processor
        await filtering(screen)

    monkeypatch.setattr(ModelScreen, "action_filter", late)
    async with running(make_app(model)) as ui:
        ui.app.post_message(events.Key("slash", "/"))
        ui.app.post_message(events.Key("b", "b"))
        await ui.until(lambda: " /  b " in ui.text)


async def test_a_key_that_comes_while_the_one_before_it_acts_waits_for_the_focus_to_move(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    filtering = ModelScreen.action_filter

    async def interrupted(screen: ModelScreen) -> None:
        screen.app.post_message(events.Key("b", "b"))
        await filtering(screen)

    monkeypatch.setattr(ModelScreen, "action_filter", interrupted)
    async with running(make_app(model)) as ui:
        await ui.press("slash")
        await ui.until(lambda: " /  b " in ui.text)


async def test_a_loading_is_live_and_esc_cancels_it() -> None:
    opener = FakeOpener()
    app = make_app(target="slow", opener=opener)
    async with running(app, wait=False) as ui:
        await ui.until(lambda: "importing torch…  0 s" in ui.text)
        ui.model_screen._began -= 7
        await ui.until(lambda: "importing torch…  7 s" in ui.text or "importing torch…  8 s" in ui.text)
        await ui.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        await ui.press("escape")
        assert app.return_code is None
        await ui.press("escape")
        assert app.return_code == 0
    assert opener.loadings[0].cancelled.is_set()


@pytest.mark.parametrize(("width", "arrows"), [(60, False), (80, True)])
async def test_the_keys_bar_names_values_at_any_width_and_the_arrows_where_there_is_room(
    model: Model, width: int, arrows: bool
) -> None:
    async with running(make_app(model), (width, 20)) as ui:
        assert "v values" in ui.lines[-1]
        assert "? help  q quit" in ui.lines[-1]
        assert ("↑↓ move" in ui.lines[-1]) == arrows
