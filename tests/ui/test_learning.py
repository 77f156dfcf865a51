"""A file is on the screen before its classes are known; when they come, nothing moves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fakes import FakeLoading, FakeOpener, make_app, running
from tables import model_of, param

from explorer.core.loading import Event, Failed, Loaded, OpenSpec
from explorer.core.param import Column, Finding, Model, ModuleClass
from explorer.ui.widgets.bars import OriginBar, TitleBar

NAMES = ("norm.weight", "norm.bias", "layer.0.weight", "layer.1.weight", "position_ids")


def bare() -> Model:
    """A file's table: names and shapes."""
    rows = [param(name, (4, 4) if "layer" in name else (4,), requires_grad=None, device=None) for name in NAMES]
    return model_of(*rows, target="model", kind="safetensors")


def known() -> Model:
    """The same with the classes of a skeleton."""
    table = bare()
    return replace(
        table,
        origin=replace(table.origin, class_name="BertModel", description="with the classes of config.json"),
        modules=Column.of(ModuleClass("LayerNorm" if "norm" in name else "Linear") for name in NAMES),
        requires_grad=Column.of(False if name == "position_ids" else None for name in NAMES),
        findings=(Finding("buffers-in-file", "hint", "5 tensors in the file, 4 in the model"),),
    )


def of_buffer() -> Model:
    """A file whose first tensor is no parameter, which only the skeleton knows."""
    rows = [param(name, (100,), requires_grad=None, device=None) for name in ("a.ids", "a.weight", "b.weight")]
    return model_of(*rows, target="model", kind="safetensors")


class Later(FakeLoading):
    """Says what comes when it is told to."""

    def __init__(self, event: Event) -> None:
        super().__init__([event])
        self.now = threading.Event()

    def events(self) -> Iterator[Event]:
        self.now.wait(60)
        yield from super().events()

    def cancel(self) -> None:
        super().cancel()
        self.now.set()


class TwiceOpener(FakeOpener):
    """Opens a file at once, and its skeleton when it is told to."""

    def __init__(self, event: Event, first: Model | None = None) -> None:
        super().__init__(model=first or bare())
        self.later = Later(event)

    def __call__(self, spec: OpenSpec) -> FakeLoading:
        if spec.skeleton:
            self.specs.append(spec)
            return self.later
        return super().__call__(spec)


def learns(spec: OpenSpec, model: Model) -> OpenSpec | None:
    return None if spec.skeleton else replace(spec, skeleton=True)


@pytest.mark.parametrize("size", [(80, 24), (80, 20), (60, 20), (60, 15)])
async def test_that_classes_are_still_to_come_is_told_at_every_size(size: tuple[int, int]) -> None:
    opener = TwiceOpener(Loaded(known()))
    async with running(make_app(opener=opener, skeleton=learns), size=size) as ui:
        await ui.until(lambda: "reading config.json …" in ui.text)
        assert ui.text.count("reading config.json …") == 1
        assert "parameters" in ui.lines[0]
        opener.later.now.set()
        await ui.until(lambda: "reading config.json" not in ui.text)
        assert " model" in ui.lines[0]


async def test_classes_come_later_and_cursor_folds_filter_and_groups_stay() -> None:
    opener = TwiceOpener(Loaded(known()))
    async with running(make_app(opener=opener, skeleton=learns)) as ui:
        assert {finding.id for finding in ui.model_screen.bench.findings} >= {"cannot-judge"}
        await ui.until(lambda: "reading config.json …" in ui.text)
        await ui.press("end", "up")
        await ui.press("minus")
        await ui.press("tab")
        await ui.write("position")
        rows, before = ui.names, (ui.path, ui.tree.view.rows.nodes[:])
        opener.later.now.set()
        await ui.until(lambda: ui.model_screen.bench.model.origin.class_name == "BertModel")
        assert "reading config.json" not in ui.text
        assert ui.names == rows
        assert (ui.path, ui.tree.view.rows.nodes[:]) == before
        assert ui.field.value == "position"
        bench = ui.model_screen.bench
        assert bench.typed.rules[0].terms == ("position",)
        ids = {finding.id for finding in bench.findings}
        assert "norm-decays" in ids
        assert "cannot-judge" not in ids
        assert "BertModel" in str(ui.model_screen.query_one(TitleBar).render())
        assert "classes of config.json" in str(ui.model_screen.query_one(OriginBar).render())
        await ui.press("escape", "escape", "w")
        assert "5 tensors in the file, 4 in the model" in ui.text
    assert opener.later.cancelled.is_set(), "its worker has nothing left to do"


async def test_sums_of_every_row_are_drawn_anew_when_a_tensor_turns_out_to_be_no_parameter() -> None:
    learned = replace(of_buffer(), apart={0: "buffer"}, origin=replace(of_buffer().origin, class_name="BertModel"))
    opener = TwiceOpener(Loaded(learned), of_buffer())
    async with running(make_app(opener=opener, skeleton=learns), size=(160, 45)) as ui:

        def row(name: str) -> str:
            return next(line[:110] for line in ui.lines if f" {name}" in line[:40])

        assert "300" in row("b.weight")
        opener.later.now.set()
        await ui.until(lambda: bool(ui.model_screen.bench.model.apart))
        await ui.settle()
        assert "200" in row("b.weight")
        assert "300" not in ui.text


async def test_moves_are_still_counted_from_the_groups_last_kept() -> None:
    opener = TwiceOpener(Loaded(known()))
    async with running(make_app(opener=opener, skeleton=learns)) as ui:
        await ui.press("tab")
        await ui.write("layer")
        moved = ui.model_screen.bench.moved
        assert sum(moved) > 0
        opener.later.now.set()
        await ui.until(lambda: ui.model_screen.bench.model.origin.class_name == "BertModel")
        assert ui.model_screen.bench.moved == moved
        await ui.press("escape")
        assert sum(ui.model_screen.bench.moved) == 0


async def test_a_skeleton_that_fails_leaves_the_file_and_a_finding() -> None:
    opener = TwiceOpener(Failed("model: the worker was killed"))
    async with running(make_app(opener=opener, skeleton=learns)) as ui:
        opener.later.now.set()
        await ui.until(lambda: bool(ui.model_screen.bench.model.findings))
        assert ui.model_screen.bench.model.findings[0].id == "no-skeleton"
        assert ui.names


async def test_leaving_cancels_what_is_still_learned() -> None:
    opener = TwiceOpener(Loaded(known()))
    async with running(make_app(opener=opener, skeleton=learns)) as ui:
        await ui.until(lambda: len(opener.specs) == 2)
        assert not opener.later.cancelled.is_set()
        await ui.press("q")
    assert opener.later.cancelled.is_set()


async def test_a_model_of_which_no_more_is_known_is_opened_once() -> None:
    opener = TwiceOpener(Loaded(known()))
    async with running(make_app(opener=opener)):
        pass
    assert [spec.skeleton for spec in opener.specs] == [False]
