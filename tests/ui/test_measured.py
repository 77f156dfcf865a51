"""Statistics and heat maps as they are drawn: nothing runs together, breaks or is cut, at any width."""

from __future__ import annotations

import math
import re

import pytest
from fakes import Hands, running
from serving import grid_of, open_values, served

from explorer.core.grid import Grid
from explorer.core.statistics import TensorStats
from explorer.ui.screens.measured import heat_text, measured_text

torch = pytest.importorskip("torch")

SIZES = [(60, 20), (80, 24), (160, 45)]

INT64 = TensorStats(
    3, 0, 0, 0, 3.0e15, 9.2e18, -(2**63), 2**63 - 1, 1.3e19, (-9.2e18, -9.1e18, 0.0, 1.0, 2.0, 9.1e18, 9.2e18), (1, 2)
)


def broken_bars(ui: Hands) -> list[str]:
    """Return the lines of the histogram that do not end in a count."""
    start = next(at for at, line in enumerate(ui.lines) if "histogram," in line)
    bars = [line for line in ui.lines[start + 1 : -3] if line.strip()]
    assert bars
    return [line for line in bars if not re.search(r"^\s*-?[\d.e+-]+ .* [\d,]+\s*[▁-█]?\s*$", line)]


@pytest.mark.parametrize("size", SIZES)
async def test_a_histogram_has_a_line_for_each_bin_the_first_time_and_every_other(size: tuple[int, int]) -> None:
    module = torch.nn.Module()
    torch.manual_seed(3)
    module.weight = torch.nn.Parameter(torch.randn(200, 30))
    app, _ = served(module)
    async with running(app, size) as ui:
        for _ in range(2):
            await open_values(ui, "weight")
            await ui.until(lambda: grid_of(ui).cell is not None)
            await ui.press("tab")
            await ui.until(lambda: "L2 norm" in ui.text)
            await ui.settle()
            text = ui.app.screen.query_one("#value-text")
            drawn = text.render()
            assert max(map(len, str(drawn).splitlines())) <= text.size.width
            assert len(str(drawn).splitlines()) == text.size.height, "no line is broken"
            await ui.press("escape")


async def test_a_histogram_is_drawn_anew_when_the_terminal_changes_its_width() -> None:
    module = torch.nn.Module()
    module.weight = torch.nn.Parameter(torch.linspace(-1, 1, 5000))
    app, _ = served(module)
    async with running(app, (160, 45)) as ui:
        await open_values(ui, "weight")
        await ui.press("tab")
        await ui.until(lambda: "histogram," in ui.text)
        await ui.pilot.resize_terminal(80, 45)
        await ui.settle()
        assert broken_bars(ui) == []


@pytest.mark.parametrize("width", [58, 78, 118, 158])
def test_long_figures_keep_a_gap_and_none_is_cut(width: int) -> None:
    lines = measured_text(INT64, "int64", width, 20, False).plain.splitlines()
    assert all(len(line.rstrip()) <= width for line in lines)
    text = "\n".join(lines) + "\n"
    for name, figure in (("min", f"{-(2**63):,}"), ("max", f"{2**63 - 1:,}"), ("abs max", f"{2**63:,}")):
        assert re.search(rf"(^|\s){name}\s+{figure}\s", text, re.MULTILINE)


def test_a_tensor_without_a_finite_element_has_no_figures_to_speak_of() -> None:
    none = TensorStats(25, 0, 25, 0, None, None, None, None, 0.0)
    assert "finite elements" not in measured_text(none, "float32", 78, 20, False).plain
    some = TensorStats(2, 0, 1, 0, 1.0, None, 1.0, 1.0, 1.0, (1.0,) * 7, (1,))
    assert "finite elements" in measured_text(some, "float32", 78, 20, False).plain


@pytest.mark.parametrize("value", [0.0, 2.5])
def test_a_heat_map_of_one_value_says_which(value: float) -> None:
    lines = heat_text([[value] * 4] * 3, Grid((3, 4)), 78).plain.splitlines()
    assert lines[0] == "▒▒▒▒"
    assert lines[-1] == f"▒ = {value:.3g} everywhere"


def test_one_number_that_differs_is_seen_among_a_hundred_that_do_not() -> None:
    lines = heat_text([[0.0] * 100, [0.0] * 99 + [1.0]], Grid((2, 100)), 120).plain.splitlines()
    assert lines[:2] == [" " * 100, " " * 99 + "█"]


@pytest.mark.parametrize("width", [58, 78, 158])
def test_a_heat_maps_legend_explains_every_sign_and_is_never_cut(width: int) -> None:
    cells = [[1.2345e-12 * at for at in range(40)], [None] * 40]
    lines = heat_text(cells, Grid((2, 40)), width).plain.splitlines()
    legend = " ".join(lines[2:])
    assert all(len(line) <= width for line in lines)
    assert "blank < 8" in legend
    assert all(f"{shade} ≥ " in legend for shade in "·░▒▓█")
    assert "! holds NaN or an infinity" in legend
    assert "signs do not cancel" in legend


@pytest.mark.parametrize("size", SIZES)
async def test_a_heat_map_and_its_legend_are_on_the_screen_together(size: tuple[int, int]) -> None:
    module = torch.nn.Module()
    values = torch.randn(300, 200) * 1e-5
    values[7, 7] = math.nan
    module.weight = torch.nn.Parameter(values)
    app, _ = served(module)
    async with running(app, size) as ui:
        await open_values(ui, "weight")
        await ui.press("tab", "tab")
        await ui.until(lambda: "root mean square" in ui.text)
        assert "! holds NaN or an infinity" in ui.text
        assert "█ ≥" in ui.text


async def test_a_heat_map_is_made_anew_for_another_width() -> None:
    module = torch.nn.Module()
    module.weight = torch.nn.Parameter(torch.rand(300, 200))
    app, loading = served(module)
    async with running(app, (160, 45)) as ui:
        await open_values(ui, "weight")
        await ui.press("tab", "tab")
        await ui.until(lambda: "root mean square" in ui.text)
        await ui.pilot.resize_terminal(80, 24)
        await ui.until(lambda: [asked["columns"] for what, asked in loading.asked if what == "heat"][-1] < 80)
        await ui.until(lambda: "root mean square" in ui.text)


async def test_the_key_of_the_logarithm_is_told_only_where_there_is_a_histogram() -> None:
    module = torch.nn.Module()
    module.nothing = torch.nn.Parameter(torch.full((5, 5), math.nan))
    module.weight = torch.nn.Parameter(torch.rand(5, 5))
    app, _ = served(module)
    async with running(app, (80, 24)) as ui:
        for name, told in (("nothing", False), ("weight", True)):
            await open_values(ui, name)
            await ui.press("tab")
            await ui.until(lambda: "L2 norm" in ui.text)
            assert ("l log" in ui.lines[-1]) == told
            await ui.press("escape")


async def test_what_has_no_matrix_and_what_has_no_element_say_so_and_wait_for_nothing() -> None:
    module = torch.nn.Module()
    module.empty = torch.nn.Parameter(torch.zeros(0, 7))
    module.scalar = torch.nn.Parameter(torch.tensor(3.25))
    app, _ = served(module)
    async with running(app, (80, 24)) as ui:
        await ui.go("empty")
        await ui.press("v")
        await ui.until(lambda: "0 × 7" in ui.text)
        assert "= …" not in ui.text
        for name, said in (("empty", "of shape [0, 7] has no element"), ("scalar", "is one number, no matrix")):
            await ui.press("escape")
            await ui.go(name)
            await ui.press("v")
            await ui.until(lambda: "Tab statistics" in ui.text)
            await ui.press("tab", "tab")
            await ui.until(lambda said=said: said in ui.text)
