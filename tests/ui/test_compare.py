"""The screen of two models side by side."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from fakes import FakeLoading, FakeOpener, Hands
from rich.cells import cell_len
from tables import kantaibert, model_of, param

from explorer.core.compare import Values
from explorer.core.errors import LostError, ParamxError
from explorer.core.groups import Grouping
from explorer.core.loading import Event, Failed, Loaded, OpenSpec, Stage
from explorer.core.param import Finding, Model
from explorer.ui.app import ParamxApp
from explorer.ui.screens.compare import CompareScreen
from explorer.ui.screens.compare_dialogs import BothScreen, CompareHelp
from explorer.ui.services import Services
from explorer.ui.widgets.line_list import LineList


def left() -> Model:
    rows = [param(f"layer.{at}.weight", (4, 4)) for at in range(3)]
    return model_of(*rows, param("norm.weight", (4,)), param("head.weight", (2, 4)), target="left")


def right() -> Model:
    rows = [param(f"layer.{at}.weight", (4, 4)) for at in range(6)]
    norm = param("norm.weight", (4,), dtype="bfloat16", nbytes=8)
    return model_of(*rows, norm, param("head.weight", (5, 4)), target="right")


class ValueLoading(FakeLoading):
    """Knows how values differ: those of `layer.1` do, the others not; one waits until it is let go."""

    def __init__(self, events: list[Event]) -> None:
        super().__init__(events)
        self.asked: list[Mapping[str, Any]] = []
        self.go = threading.Event()
        self.go.set()

    def ask(self, request: str, arguments: Mapping[str, Any]) -> Any:
        assert request == "difference"
        self.asked.append(arguments)
        if not self.go.is_set():
            self.go.wait(0.01)
            return {"done": 0.5, "result": None}
        if arguments["index"] == 3:
            raise ParamxError("norm.weight", "no weights here")
        other = arguments["index"] == 1
        return {"done": 1.0, "result": {"differing": 2 if other else 0, "largest": 0.25 if other else 0.0}}


class TwoOpener(FakeOpener):
    """Opens two models with values."""

    def __call__(self, spec: OpenSpec) -> FakeLoading:
        if spec.target not in self.models:
            return super().__call__(spec)
        self.specs.append(spec)
        self.loadings.append(ValueLoading([Stage("reading"), Loaded(self.models[spec.target])]))
        return self.loadings[-1]


def make(opener: FakeOpener | None = None, b: str = "right", **services: Any) -> ParamxApp:
    opener = opener or TwoOpener(left=left(), right=right())
    filled = Services(opener, lambda: (), Grouping.classic(), **services)
    return ParamxApp(OpenSpec("left"), filled, OpenSpec(b))


class Eyes(Hands):
    """Reads the screen."""

    @property
    def shown(self) -> CompareScreen:
        return next(screen for screen in self.app.screen_stack if isinstance(screen, CompareScreen))

    @property
    def list(self) -> list[str]:
        """The lines of the list."""
        count = len(self.shown._entries)
        return [" ".join(self.shown._draw(line, 200).plain.split()) for line in range(count)]

    async def on(self, text: str) -> None:
        """Put the cursor on the first line that contains a text."""
        at = next(line for line, shown in enumerate(self.list) if text in shown)
        self.shown.query_one(LineList).go(at)
        await self.settle()


@asynccontextmanager
async def running(app: ParamxApp, size: tuple[int, int] = (80, 24), wait: bool = True) -> AsyncIterator[Eyes]:
    """Run an app; with `wait`, from when its comparison is on the screen."""
    async with app.run_test(size=size, notifications=True) as pilot:
        eyes = Eyes(app, pilot)
        if wait:
            await eyes.until(lambda: len(app.screen_stack) > 1 and eyes.shown.comparison is not None)
        await eyes.settle()
        yield eyes


LIST = [
    "▾ another shape 1 tensor · 8 elements",
    "head.weight 2x4 → 5x4",
    "▾ another dtype 1 tensor · 4 elements",
    "norm.weight float32 → bfloat16",
    "▾ only in B 3 tensors · 48 elements",
    "▸ layer.3…5.weight ×3 4x4 float32",
]


async def test_differences_stand_under_their_kind_with_counts_and_both_sides() -> None:
    async with running(make()) as ui:
        assert ui.list == LIST
        assert "A  left  5 tensors · 60 parameters" in ui.lines[1]
        assert "B  right  8 tensors · 120 parameters" in ui.lines[2]
        assert "3 tensors alike, values not compared: v" in ui.lines[3]


async def test_alike_differences_unfold_and_kinds_fold() -> None:
    async with running(make()) as ui:
        await ui.press("end", "enter")
        assert ui.list[5:] == [
            "▾ layer.3…5.weight ×3 4x4 float32",
            "layer.3.weight 4x4 float32",
            "layer.4.weight 4x4 float32",
            "layer.5.weight 4x4 float32",
        ]
        await ui.press("enter")
        assert ui.list == LIST
        await ui.press("home", "enter")
        assert ui.list == ["▸ another shape 1 tensor · 8 elements", *LIST[2:]]


async def test_the_line_under_the_list_and_the_dialog_show_both_sides() -> None:
    async with running(make(), size=(100, 30)) as ui:
        await ui.on("head.weight")
        assert "A  2 × 4 = 8 · float32 · 32 B · decay" in ui.text
        assert "B  5 × 4 = 20 · float32 · 80 B · decay" in ui.text
        await ui.press("enter")
        assert isinstance(ui.app.screen, BothScreen)
        rows = [" ".join(line.strip(" │").split()) for line in ui.lines]
        assert "≠ shape 2 × 4 5 × 4" in rows
        assert "dtype float32 float32" in rows
        await ui.press("escape")
        assert isinstance(ui.app.screen, CompareScreen)


@pytest.mark.parametrize("sharded", [False, True])
async def test_the_dialog_names_shards_only_where_a_side_has_several(sharded: bool) -> None:
    files = [replace(param("a.weight", (2,)), shard="a-1"), replace(param("b.weight", (2,)), shard="a-2")]
    a = model_of(*(files if sharded else files[:1]), target="left")
    b = model_of(replace(param("a.weight", (3,)), shard="b"), target="right")
    async with running(make(TwoOpener(left=a, right=b)), size=(100, 30)) as ui:
        await ui.on("a.weight")
        await ui.press("enter")
        rows = [" ".join(line.strip(" │").split()) for line in ui.lines]
        assert ("≠ shard a-1 b" in rows) == sharded
        assert any("shard" in row for row in rows) == sharded


async def test_help_in_the_dialog_is_of_the_comparison_and_comes_back_to_it() -> None:
    async with running(make(), size=(100, 30)) as ui:
        await ui.on("head.weight")
        await ui.press("enter", "question_mark")
        assert isinstance(ui.app.screen, CompareHelp)
        assert "Back to the list" in ui.text
        await ui.press("question_mark")
        assert isinstance(ui.app.screen, BothScreen)


async def test_the_filter_narrows_and_escape_clears_it() -> None:
    async with running(make()) as ui:
        await ui.press("slash")
        await ui.type("norm")
        assert ui.list == LIST[2:4]
        await ui.press("enter", "escape")
        assert ui.list == LIST


async def test_the_command_lines_filter_is_on_at_the_start() -> None:
    async with running(make(filter="head")) as ui:
        assert ui.list == LIST[:2]


async def test_values_are_compared_when_asked_and_what_can_not_be_is_told() -> None:
    app = make()
    async with running(app) as ui:
        assert "v values" in ui.lines[-1]
        await ui.press("v")
        await ui.until(lambda: bool(ui.shown.comparison.compared))
        assert ui.list[0] == "▾ other values 1 tensor · 16 elements", "before what only one side has"
        assert "v values" not in ui.lines[-1], "it is done"
        assert "layer.1.weight 2 elements differ, by at most 0.25" in ui.list
        assert "2 tensors alike, values compared where they could be" in ui.lines[3]
        assert ui.list[-2:] == ["▾ values not compared 1 tensor · 4 elements", "norm.weight no weights here"]
        await ui.on("no weights here")
        assert "not compared: no weights here" in ui.text
        asked = app._services.opener.loadings[0].asked
        assert [arguments["index"] for arguments in asked] == [0, 1, 2, 3], "head has another shape"
        assert {arguments["other"]["target"] for arguments in asked} == {"right"}
        before = ui.list
        await ui.press("r")
        await ui.until(lambda: len(app._services.opener.loadings) == 4 and ui.list == before)


async def test_values_that_the_command_line_asked_for_are_compared_at_once() -> None:
    async with running(make(values=True)) as ui:
        await ui.until(lambda: "▾ other values 1 tensor · 16 elements" in ui.list)


async def test_escape_stops_the_comparison_of_values() -> None:
    app = make()
    async with running(app) as ui:
        app._services.opener.loadings[0].go.clear()
        await ui.press("v")
        await ui.until(lambda: "0 of 4 tensors compared" in ui.text)
        assert "Esc stops" in ui.text
        await ui.press("escape")
        await ui.until(lambda: "values not compared: v" in ui.lines[3])
        assert not ui.shown.comparison.compared
        app._services.opener.loadings[0].go.set()
        await ui.press("v")
        await ui.until(lambda: bool(ui.shown.comparison.compared))


async def test_what_was_stopped_goes_on_where_it_was() -> None:
    app = make()
    async with running(app) as ui:
        a = app._services.opener.loadings[0]
        ask = a.ask

        def once(request: str, arguments: Mapping[str, Any]) -> Any:
            if arguments["index"]:
                a.go.clear()
            return ask(request, arguments)

        a.ask = once
        await ui.press("v")
        await ui.until(lambda: "1 of 4 tensors compared" in ui.text)
        await ui.press("escape")
        await ui.until(lambda: "values of 1 of 4 compared: v goes on" in ui.lines[3])
        a.ask, before = ask, len(a.asked)
        a.go.set()
        await ui.press("v")
        await ui.until(lambda: bool(ui.shown.comparison.compared))
        assert {arguments["index"] for arguments in a.asked[before:]} == {1, 2, 3}


async def test_a_run_of_other_values_tells_their_sum() -> None:
    async with running(make()) as ui:
        found = {0: Values(3, 0.5), 1: Values(2, 0.25)}
        ui.shown.post_message(CompareScreen.Compared(ui.shown.comparison.with_values(found, {}, True)))
        await ui.settle()
        assert "▸ layer.0…1.weight ×2 5 elements differ, by at most 0.5" in ui.list


async def test_how_names_were_matched_and_what_was_left_out_are_lines_of_their_own() -> None:
    state = [param(f"optimizer.state.{at}.exp_avg", (4,)) for at in range(2)]
    rows = [param("model.a.weight", (4, 4)), param("model.b.weight", (4, 4))]
    opener = TwoOpener(
        left=model_of(*rows, *state, target="left"), right=model_of("a.weight", "b.weight", target="right")
    )
    async with running(make(opener), size=(60, 20)) as ui:
        assert "2 tensors · 32 parameters · beside 2 tensors" in ui.lines[1]
        assert ui.lines[4].startswith(" left out: training state that only one side has")
        assert ui.lines[5].startswith(" names are matched without model. of A")


async def test_help_tells_the_keys_of_this_screen_and_the_palette_offers_no_others() -> None:
    app = make()
    async with running(app) as ui:
        await ui.press("question_mark")
        assert "Compare the values too; Esc stops, v goes on" in ui.text
        await ui.press("escape")
        offered = " ".join(command.title for command in app.get_system_commands(app.screen))
        assert "filter" in offered
        assert "export" not in offered


async def test_equal_models_say_so() -> None:
    opener = TwoOpener(left=left(), right=left())
    async with running(make(opener)) as ui:
        assert ui.list == []
        assert "Nothing differs in names, shapes, dtypes and groups. v compares the values." in ui.text
        assert ui.lines[0].rstrip().endswith("  values not compared")
        found = dict.fromkeys(ui.shown.comparison.comparable, Values(0, 0.0))
        ui.shown.post_message(CompareScreen.Compared(ui.shown.comparison.with_values(found, {}, True)))
        await ui.settle()
        assert ui.lines[0].rstrip().endswith("  no difference")


class SlowOpener(FakeOpener):
    """Opens A at once and B never."""


async def test_both_open_at_the_same_time_and_are_ended_when_one_leaves() -> None:
    opener = SlowOpener(left=left())
    async with running(make(opener, b="slow"), wait=False) as ui:
        await ui.until(lambda: "importing torch…" in ui.text)
        assert len(opener.loadings) == 2
        assert "A  left  5 tensors" in ui.text
        await ui.press("q")
    assert [loading.cancelled.is_set() for loading in opener.loadings] == [True, True]


async def test_a_target_that_can_not_be_opened_ends_the_app_with_the_line() -> None:
    app = make(b="nonsense")
    async with running(app, wait=False) as ui:
        await ui.until(lambda: app.return_code is not None)
    assert app.return_value == "nonsense: no such model; try roberta-base"


KILLED = "right: the worker was killed (signal 9) while importing torch"


class OnceLostOpener(TwoOpener):
    """Its second worker dies while it opens, the first time."""

    def __call__(self, spec: OpenSpec) -> FakeLoading:
        loading = super().__call__(spec)
        if len(self.loadings) == 2:
            loading._events = [Failed(KILLED, lost=True)]
        return loading


async def test_a_worker_that_dies_while_it_opens_is_told_and_r_opens_both_again() -> None:
    opener = OnceLostOpener(left=left(), right=right())
    async with running(make(opener), size=(60, 20), wait=False) as ui:
        await ui.until(lambda: "r tries again   q quit" in ui.text)
        assert KILLED in " ".join(ui.text.split())
        assert all(loading.cancelled.is_set() for loading in opener.loadings)
        assert ui.lines[-1].rstrip().endswith("q quit")
        await ui.press("r")
        await ui.until(lambda: ui.shown.comparison is not None)
        await ui.settle()
        assert ui.list == LIST
        assert "tries again" not in ui.text
        await ui.press("q")
    assert ui.app.return_code == 0


async def test_leaving_it_at_a_worker_that_died_is_a_failure() -> None:
    app = make(OnceLostOpener(left=left(), right=right()))
    async with running(app, wait=False) as ui:
        await ui.until(lambda: "r tries again" in ui.text)
        await ui.press("q")
    assert (app.return_code, app.return_value) == (1, KILLED)


async def test_a_worker_that_dies_later_leaves_the_list_and_r_opens_both_again_narrowed_as_it_was() -> None:
    opener = TwoOpener(left=left(), right=right())
    async with running(make(opener)) as ui:
        await ui.press("slash")
        await ui.type("norm")
        await ui.press("enter")
        opener.loadings[0].how = "left: the worker was killed (signal 9)"
        opener.loadings[0].gone.set()
        await ui.until(lambda: opener.loadings[0].how in ui.text)
        assert "r opens both again: worker gone  ? help  q quit" in ui.lines[-1]
        assert ui.list == LIST[2:4]
        await ui.press("r")
        await ui.until(lambda: len(opener.loadings) == 4 and ui.shown.comparison is not None)
        await ui.until(lambda: ui.list == LIST[2:4])
        assert "worker gone" not in ui.text
        del opener.models["right"]
        await ui.press("r")
        await ui.until(lambda: "right: no such model" in ui.text)
        assert "r opens both again: not open" in ui.lines[-1]
        ui.app.clear_notifications()
        await ui.settle()
        assert ui.list == LIST[2:4], "what was compared stays"
        assert "B  right  8 tensors" in ui.lines[2]
        await ui.press("v")
        await ui.until(lambda: "Values can't be compared: not open" in ui.text)
        opener.models["right"] = right()
        await ui.press("r")
        await ui.until(lambda: ui.shown.comparison is not None and "not open" not in ui.text)
        assert ui.list == LIST[2:4]
        await ui.press("q")
    assert ui.app.return_code == 0, "what was compared was shown"


async def test_a_worker_that_dies_before_it_is_asked_for_its_files_is_no_comparison() -> None:
    class Dead(TwoOpener):
        def __call__(self, spec: OpenSpec) -> FakeLoading:
            loading = super().__call__(spec)

            def ask(request: str, arguments: Mapping[str, Any]) -> Any:
                raise LostError("", KILLED)

            loading.ask = ask  # type: ignore[method-assign]
            return loading

    counted = [replace(each, counters=kantaibert().counters) for each in (left(), right())]
    async with running(make(Dead(left=counted[0], right=counted[1])), wait=False) as ui:
        await ui.until(lambda: "r tries again" in ui.text)
        assert ui.shown.comparison is None, "without what the files hold they may look the same"


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (160, 45)])
async def test_no_line_is_wider_than_the_screen_and_the_keys_are_in_reach(size: tuple[int, int]) -> None:
    names = [param(f"very.long.module.name.that.goes.on.{'x' * 90}.layer.{at}.weight") for at in range(2)]
    opener = TwoOpener(left=model_of(*names[:1], target="a" * 200), right=model_of(*names, target="right"))
    async with running(make(opener), size=size) as ui:
        assert len(ui.lines) == size[1]
        assert all(cell_len(line.rstrip()) <= size[0] for line in ui.lines)
        assert "q quit" in ui.lines[-1]
        assert "only in B" in ui.text


async def test_a_long_list_scrolls() -> None:
    names = [f"{chr(97 + at % 26)}{'y' * (at // 26)}.weight" for at in range(500)]
    opener = TwoOpener(left=model_of("one"), right=model_of("one", *names))
    async with running(make(opener)) as ui:
        await ui.press("end")
        assert any(names[-1][:10] in line for line in ui.lines[4:19])
        assert not any(names[0] in line for line in ui.lines)
        await ui.press("pageup", "home")
        assert "only in B  500 tensors" in ui.text


class NanLoading(ValueLoading):
    """Knows one NaN in `layer.1`."""

    def ask(self, request: str, arguments: Mapping[str, Any]) -> Any:
        answer = super().ask(request, {**arguments, "index": 1 if arguments["index"] == 1 else 0})
        if arguments["index"] == 1:
            answer["result"] = {"differing": 1, "largest": None, "nan": 1}
        return answer


async def test_how_values_differ_stands_whole_below_the_list_and_first_in_the_dialog() -> None:
    class NanOpener(TwoOpener):
        def __call__(self, spec: OpenSpec) -> FakeLoading:
            self.loadings.append(NanLoading([Loaded(self.models[spec.target])]))
            return self.loadings[-1]

    long = "encoder.of.many.parts.with.a.long.name." * 2
    models = [
        model_of(param("first", (1,)), param(f"{long}weight", (4, 4)), param("last", (1,)), target=target)
        for target in ("left", "right")
    ]
    async with running(make(NanOpener(left=models[0], right=models[1]))) as ui:
        await ui.press("v")
        await ui.until(lambda: ui.shown.comparison.compared)
        await ui.on("weight")
        assert not any("differs, 1 NaN on one side" in line for line in ui.lines[:-6]), "the list cuts it"
        assert any("values: 1 element differs, 1 NaN on one side" in line for line in ui.lines)
        await ui.press("enter")
        at = {
            word: next(line for line, text in enumerate(ui.lines) if word in text) for word in ("values: 1", "dtype")
        }
        assert at["values: 1"] < at["dtype"]


async def test_what_is_wrong_with_files_is_said_and_never_called_no_difference() -> None:
    odd = tuple(Finding("missing-shard", "warning", f"shard {at} is gone") for at in range(5))
    models = {"left": replace(left(), findings=odd), "right": replace(left(), origin=right().origin)}
    async with running(make(TwoOpener(**models))) as ui:
        assert not ui.list
        assert "not all known" in ui.lines[0]
        assert "files of A: shard 0 is gone (missing-shard)" in ui.text
        assert "and 2 more findings on the files" in ui.text
        assert "Nothing that was read differs" in ui.text
