"""The sweep's table: every figure is told whole at any width, and a long measurement says how far it is."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import pytest
from fakes import running
from serving import failing, served, sweep_of, swept

from explorer.core.statistics import TensorStats
from explorer.core.sweep import FIGURES, Series
from explorer.ui.paint import cut_name
from explorer.ui.screens.sweep_lines import TITLED, grown, layer_line, tensor_line

torch = pytest.importorskip("torch")

SIZES = [(60, 20), (80, 24), (160, 45)]


@pytest.mark.parametrize("size", SIZES)
async def test_every_figure_of_the_row_under_the_cursor_is_told(size: tuple[int, int]) -> None:
    module = torch.nn.Module()
    numbers = torch.randint(-(2**62), 2**62, (120, 90))
    module.ids = torch.nn.Parameter(numbers, requires_grad=False)
    odd = torch.randn(300, 400) * 1.2345e-12
    odd[:200] = math.nan
    odd[200:210] = -math.inf
    module.weight = torch.nn.Parameter(odd)
    module.turns = torch.nn.Parameter(torch.randn(9, 9, dtype=torch.complex64))
    app, _ = served(module)
    async with running(app, size) as ui:
        await ui.press("S", "a")
        await ui.until(lambda: "3 tensors" in ui.text and not sweep_of(ui)._working and not sweep_of(ui)._stale)
        rows = []
        for _ in range(3):
            rows.append(" ".join(" ".join(ui.lines[size[1] - 7 :]).split()))
            await ui.press("down")
        for told in rows:
            assert all(f"{figure.title} " in told for figure in FIGURES), told
            assert "…" not in told
        assert sum("not in the sum's norm" in told for told in rows) == 1
        assert sum("absolute values" in told for told in rows) == 1


@pytest.mark.parametrize("width", [58, 78, 158])
def test_a_row_of_the_table_cuts_no_figure(width: int) -> None:
    large = TensorStats(10**12, 10**11, 123_456_789, 10**10, -1.2345e-300, 1.2e-300, -(2**63), 2**63 - 1, 1.2e300)
    for order in ("", "min", "zeros", "nan", "inf"):
        text = tensor_line("a", large, "", width, order, grown(TITLED, large)).plain
        assert "…" not in text
        assert len(text) == width
    assert "-9.223e+18" in tensor_line("a", large, "", 158, "", grown(TITLED, large)).plain
    assert "⚠ 1.23e+08" in tensor_line("a", large, "", 158, "", grown(TITLED, large)).plain


def test_the_name_gets_what_short_figures_leave() -> None:
    small = TensorStats(1536, 0, 0, 0, 0.01234, 0.4567, -1.234, 1.345, 17.89)
    names = ("encoder.layer.0.attention.output.LayerNorm.bias", "encoder.layer.0.output.LayerNorm.bias")
    lines = [tensor_line(name, small, "", 78, "", grown(TITLED, small)).plain for name in names]
    assert [line.split()[0] for line in lines] == list(names)
    series = [Series(name.replace("0", "N"), (0,) * 6, range(6), (0.123456,) * 6) for name in names]
    first, second = (layer_line(each, 58).plain.split()[0] for each in series)
    assert first != second


def test_a_cut_name_keeps_its_end_and_the_layers_number() -> None:
    query = "encoder.layer.11.attention.self.query.weight"
    assert cut_name(query, 50) == query
    assert cut_name(query, 40) == "…layer.11.attention.self.query.weight"
    assert cut_name(query, 24) == "…11…self.query.weight"
    assert cut_name("embeddings.word_embeddings.weight", 24) == "…word_embeddings.weight"
    for width in range(1, 50):
        assert len(cut_name(query, width)) <= width


@pytest.mark.parametrize("size", SIZES)
async def test_the_heading_of_the_layers_is_told_whole(size: tuple[int, int]) -> None:
    module = torch.nn.Module()
    module.layers = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(5))
    app, _ = served(module)
    async with running(app, size) as ui:
        await ui.press("S", "a")
        await ui.until(lambda: "10 tensors" in ui.text and "l by layer" in ui.text)
        await ui.press("l")
        heading = next(line for line in ui.lines if "Root mean square" in line)
        assert heading.rstrip().endswith("least … largest")
        assert " 0: 0." in ui.text and " 4: 0." in ui.text, "each layer's norm stands behind its number"


async def test_one_large_tensor_shows_the_share_that_is_measured() -> None:
    app, loading = served(torch.nn.Linear(30, 10, bias=False))

    def slow(arguments: Mapping[str, Any]) -> Any:
        time.sleep(0.05)
        return {"done": 0.37, "result": None}

    loading.answers["statistics"] = slow
    async with running(app, (80, 24)) as ui:
        await ui.press("S")
        await ui.until(lambda: "measuring 37%" in ui.text)
        await ui.press("escape")


async def test_the_share_is_of_the_elements_of_all_tensors() -> None:
    app, loading = served(torch.nn.Linear(9, 10))
    measure = loading.answers["statistics"]

    def some(arguments: Mapping[str, Any]) -> Any:
        time.sleep(0.05)
        return measure(arguments) if arguments["index"] == 0 else {"done": 0.5, "result": None}

    loading.answers["statistics"] = some
    async with running(app, (80, 24)) as ui:
        await ui.press("S", "a")
        await ui.until(lambda: "measuring 95%" in ui.text)
        await ui.press("escape")


async def test_after_one_tensor_failed_the_others_are_still_offered() -> None:
    app, loading = served(torch.nn.Linear(3, 3))
    failing(loading, 0, "cut short: the file ends in the middle")
    async with running(app, (80, 24)) as ui:
        await ui.go("weight")
        await ui.press("S")
        await ui.until(lambda: "cut short" in ui.text)
        assert "a all tensors" in ui.lines[-1]
        await ui.press("a")
        await ui.until(lambda: "1 of 2 tensors measured" in ui.text)


async def test_infinities_sort_by_a_column_of_their_own() -> None:
    module = torch.nn.Module()
    module.first = torch.nn.Parameter(torch.tensor([math.nan, 1.0, 2.0]))
    module.second = torch.nn.Parameter(torch.tensor([math.inf, math.inf, 1.0]))
    app, _ = served(module)
    async with running(app, (80, 24)) as ui:
        await ui.press("S", "a")
        await swept_all(ui)
        for order, first in (("nan", "first"), ("inf", "second")):
            while f"{order}↓" not in ui.text:
                await ui.press("s")
            rows = [line.split()[0] for line in ui.lines[4:9] if line.split()[:1] in (["first"], ["second"])]
            assert rows[0] == first


async def swept_all(ui: Any) -> None:
    await ui.until(lambda: "2 tensors" in ui.text and not ui.app.screen._working)


async def test_one_tensor_on_meta_does_not_end_the_sweep_of_the_others() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4, device="meta"), torch.nn.Linear(3, 4))
    app, loading = served(module)
    async with running(app, (80, 24)) as ui:
        await ui.press("S", "a")
        await ui.until(lambda: "could not be measured" in ui.text and not sweep_of(ui)._working)
        assert {request["index"] for name, request in loading.asked if name == "statistics"} == {0, 1, 2, 3}


@pytest.mark.parametrize("key", ["l", "tab"])
async def test_where_there_are_no_layers_their_key_says_so(key: str) -> None:
    app, _ = served(torch.nn.Linear(3, 4))
    async with running(app, (80, 24)) as ui:
        await swept(ui)
        await ui.press(key)
        await ui.until(lambda: "No layers here." in ui.text)
