"""The screen of a tensor's values, over a real module and over files: what is shown, and what is asked for."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
from fakes import make_app, running
from serving import Two, failing, grid_of, open_values, served, sweep_of, swept
from tables import model_of

from explorer.core.errors import ParamxError
from explorer.ui.screens.values import ValuesScreen
from explorer.ui.widgets.groups_panel import GroupsPanel

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("key", ["v", "S"])
async def test_where_there_is_no_tensor_the_keys_of_values_say_so(key: str) -> None:
    async with running(make_app(model_of()), wait=False) as ui:
        await ui.until(lambda: "0 parameters" in ui.text)
        await ui.press(key)
        assert [note.message for note in ui.app._notifications] == ["There is no tensor here."]
    async with running(make_app(model_of("w"))) as ui:
        await ui.press("slash", *"zzz", "enter", key)
        assert [note.message for note in ui.app._notifications] == ["No name contains the filter's text."]


async def test_v_shows_torchs_print_and_the_grid() -> None:
    module = Two()
    app, _ = served(module)
    async with running(app, (120, 40)) as ui:
        await open_values(ui, "matrix")
        await ui.until(lambda: grid_of(ui).cell is not None)
        for line in repr(module.matrix).splitlines():
            assert line in ui.text
        assert "[0, 0] = 0.0  0x00000000" in ui.text
        rows = [line.split() for line in ui.lines]
        assert ["1", *(str(value) for value in range(30, 38))] in [row[:9] for row in rows]


async def test_v_on_a_module_opens_the_first_row_that_is_shown_and_says_so() -> None:
    module = torch.nn.ModuleDict({"block": torch.nn.Linear(7, 9), "head": torch.nn.Linear(2, 2)})
    module["block"].weight, module["block"].bias = module["block"].bias, module["block"].weight  # the small one first
    app, _ = served(module)
    async with running(app, (80, 24)) as ui:
        await ui.press("s")
        await ui.go("block")
        await ui.press("right", "left", "v")
        await ui.until(lambda: "This is the first of the 2 tensors in block." in ui.text)
        assert "block.bias" in ui.lines[0] + ui.lines[1]


async def test_only_what_is_on_the_screen_is_asked_for() -> None:
    app, loading = served(Two())
    async with running(app, (80, 24)) as ui:
        await open_values(ui, "matrix")
        await ui.until(lambda: grid_of(ui).cell is not None)
        await ui.press("pagedown", "G", "dollar_sign")
        await ui.until(lambda: grid_of(ui).cell is not None)
        assert grid_of(ui).index == (199, 29)
        windows = [arguments["selection"] for request, arguments in loading.asked if request == "values"]
        grid = grid_of(ui)
        for window in windows[1:]:
            counts = [sum(stop - start for start, stop in ranges) for ranges in window]
            assert counts[0] <= grid.size.height
            assert counts[1] <= grid.size.width // 12 + 1


async def test_g_jumps_to_an_index_and_says_when_there_is_none() -> None:
    app, _ = served(Two())
    async with running(app, (80, 24)) as ui:
        await open_values(ui, "matrix")
        await ui.press("g")
        await ui.type("150,7")
        await ui.press("enter")
        await ui.until(lambda: grid_of(ui).cell is not None)
        assert "[150, 7] = 4507.0" in ui.text
        await ui.press("g")
        await ui.type("200,7")
        await ui.press("enter")
        assert grid_of(ui).index == (150, 7)
        assert "index 200 is out of range for dimension 0 of size 200" in ui.text
        assert not ui.app._notifications, "nothing lies over the tabs"
        await ui.type("0")
        assert "out of range" not in ui.text, "it was about another text"
        await ui.press("escape")
        assert "[150, 7] = 4507.0" in ui.text


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("1,3", "index 3 is out of range for dimension 1 of size 3"),
        ("1,2,-5", "index -5 is out of range for dimension 2 of size 4"),
        ("1,2,3,4,0", "too many indices: 5 for 4 dimensions"),
        ("a", "'a' is no index; 12,5 is one"),
    ],
)
@pytest.mark.parametrize("size", [(60, 20), (80, 24)])
async def test_what_is_wrong_with_an_index_stands_under_the_field(
    typed: str, line: str, size: tuple[int, int]
) -> None:
    app, _ = served(Two())
    async with running(app, size) as ui:
        await open_values(ui, "stack")
        await ui.press("g")
        await ui.type(typed)
        await ui.press("enter")
        assert line in ui.text
        at = next(number for number, text in enumerate(ui.lines) if line in text)
        assert typed in ui.lines[at - 1], "right under what was typed"
        assert not app._notifications
        await ui.press("escape", "g")
        assert line not in ui.text
        await ui.type("1")
        await ui.press("enter")
        assert grid_of(ui).index == (1, 0, 0, 0), "as torch: from the first dimension"


async def test_n_goes_to_the_next_element_that_is_nan_or_infinite_from_any_view() -> None:
    app, _ = served(Two())
    async with running(app, (80, 24)) as ui:
        await open_values(ui, "odd")
        await ui.press("n")
        await ui.until(lambda: "[0, 1] = nan" in ui.text)
        await ui.press("n")
        await ui.until(lambda: "[1, 0] = inf" in ui.text)
        await ui.press("tab")
        await ui.until(lambda: "First NaN at [0, 1], first" in ui.text)
        await ui.press("N")
        await ui.until(lambda: "[0, 1] = nan" in ui.text)
        assert "tensor([[1., nan]," in ui.text, "the values again"
        await ui.press("g")
        await ui.type("nan")
        await ui.press("enter")
        assert "'nan' is no index; 12,5 is one; n goes to NaN and Inf" in ui.text


async def test_where_every_element_is_finite_n_says_so_and_reads_once() -> None:
    app, loading = served(Two())
    async with running(app, (80, 24)) as ui:
        await open_values(ui, "vector")
        await ui.press("n")
        await ui.until(lambda: "Every element is finite" in ui.text)
        asked = [request for request, _ in loading.asked]
        await ui.press("tab")
        await ui.until(lambda: "histogram" in ui.text)
        await ui.press("n")
        assert [request for request, _ in loading.asked].count("seek") == asked.count("seek") == 1


async def test_escape_stops_looking_for_nan_and_stays() -> None:
    app, loading = served(Two())

    def slow(arguments: Mapping[str, Any]) -> Any:
        time.sleep(0.01)
        return {"done": 0.25, "result": None}

    loading.answers["seek"] = slow
    async with running(app, (80, 24)) as ui:
        screen = await open_values(ui, "matrix")
        await ui.press("n")
        await ui.until(lambda: "looking for NaN and Inf … 25%   Esc stops" in ui.text)
        await ui.press("escape")
        assert app.screen is screen
        assert "[0, 0] = 0.0" in ui.text
        asked = len(loading.asked)
        await ui.pilot.pause(0.05)
        assert len(loading.asked) <= asked + 1, "the one under way is the last"


async def test_brackets_step_a_leading_dimension_and_d_chooses_it() -> None:
    app, _ = served(Two())
    async with running(app, (100, 30)) as ui:
        await open_values(ui, "stack")
        await ui.press("right_square_bracket", "right_square_bracket")
        await ui.until(lambda: grid_of(ui).cell is not None)
        assert "[0, 2, 0, 0] = 40.0" in ui.text
        await ui.press("d", "right_square_bracket")
        await ui.until(lambda: grid_of(ui).cell is not None)
        assert "[1, 2, 0, 0] = 100.0" in ui.text
        await ui.press("right_square_bracket")
        await ui.until(lambda: grid_of(ui).cell is not None)
        assert "[0, 2, 0, 0] = 40.0" in ui.text, "around the end"


async def test_a_vector_stands_in_rows_of_ten() -> None:
    app, _ = served(Two())
    async with running(app, (140, 30)) as ui:
        await open_values(ui, "vector")
        await ui.until(lambda: grid_of(ui).cell is not None)
        await ui.press("down", "down", "end")
        assert grid_of(ui).index == (24,)
        await ui.until(lambda: grid_of(ui).cell is not None)
        assert "[24] = 24.0" in ui.text


async def test_f_writes_numbers_another_way() -> None:
    app, _ = served(Two())
    async with running(app, (100, 30)) as ui:
        await open_values(ui, "matrix")
        await ui.until(lambda: grid_of(ui).cell is not None)
        seen = []
        for _ in range(4):
            await ui.press("f")
            await ui.until(lambda: "…" not in " ".join(ui.lines[14:26]))
            seen.append(ui.text)
        assert "31.000000" in seen[0]
        assert "3.1000e+01" in seen[1]
        assert "41f80000" in seen[2]
        assert grid_of(ui).form == "auto"


class Long(torch.nn.Module):
    """A vector that torch prints in full, over many lines."""

    def __init__(self) -> None:
        super().__init__()
        self.vector = torch.nn.Parameter(torch.linspace(-1, 1, 384))


async def test_a_print_that_is_cut_says_so_and_p_shows_all_of_it() -> None:
    module = Long()
    app, _ = served(module)
    async with running(app, (80, 24)) as ui:
        await open_values(ui, "vector")
        await ui.until(lambda: grid_of(ui).cell is not None)
        torch.set_printoptions(linewidth=76)  # 80 columns less the screen's margins
        lines = repr(module.vector).splitlines()
        torch.set_printoptions(profile="default")
        shown = sum(line in ui.text for line in lines)
        assert 0 < shown < len(lines)
        assert f"… {len(lines) - shown} more lines: p shows all" in ui.text
        await ui.press("p")
        seen: set[str] = set()
        for _ in range(len(lines)):
            seen |= {line for line in lines if line in ui.text}
            await ui.press("down")
        assert seen == set(lines)
        await ui.press("p")
        assert grid_of(ui).display


async def test_a_line_that_torch_makes_too_long_is_marked_and_takes_one_line() -> None:
    module = torch.nn.Module()
    module.zeros = torch.nn.Parameter(torch.zeros(384))  # torch counts one cell for each `0.`
    app, _ = served(module)
    async with running(app, (80, 24)) as ui:
        await open_values(ui, "zeros")
        await ui.until(lambda: grid_of(ui).cell is not None)
        printed = [line for line in ui.lines if line.count("0.,") > 5]
        assert len(printed) > 1
        assert all(line.rstrip().endswith("…") for line in printed)
        await ui.press("p")
        await ui.until(lambda: ui.text.count("0.,") > 200)


@pytest.mark.parametrize(("width", "across"), [(60, 4), (80, 6), (120, 9), (160, 10), (200, 15)])
async def test_a_vectors_rows_are_as_long_as_the_screen_is_wide(width: int, across: int) -> None:
    app, _ = served(Long())
    async with running(app, (width, 30)) as ui:
        await open_values(ui, "vector")
        await ui.until(lambda: grid_of(ui).cell is not None)
        titles = next(line.split() for line in ui.lines if line.split()[:1] == ["+0"])
        assert titles == [f"+{column}" for column in range(across)]
        await ui.press("down", "right")
        assert grid_of(ui).index == (across + 1,)
        await ui.press("f", "f", "f")
        await ui.until(lambda: grid_of(ui).cell is not None)
        assert grid_of(ui).form == "hex"
        assert grid_of(ui).index == (across + 1,), "narrower cells make longer rows, and the cursor stays"
        assert grid_of(ui).grid.per_row > across
        assert f"[{across + 1}] = " in ui.text


@pytest.mark.parametrize("size", [(60, 20), (80, 24)])
async def test_the_line_of_keys_shows_the_way_out_first_and_only_what_does_something(size: tuple[int, int]) -> None:
    app, _ = served(Two())
    async with running(app, size) as ui:
        for name, slices in (("matrix", False), ("stack", True), ("vector", False)):
            await open_values(ui, name)
            for _ in range(4):
                foot = ui.lines[-1] or ui.lines[-2]
                assert foot.split("  ")[0].strip() == "Esc closes" or "  Esc closes" in foot
                assert "…" not in foot
                if not slices:
                    assert "[ ]" not in foot
                    assert "d dimension" not in foot
                await ui.press("tab")
            await ui.press("escape")


async def test_statistics_are_measured_once_and_kept() -> None:
    app, loading = served(Two())
    async with running(app, (100, 40)) as ui:
        await open_values(ui, "odd")
        await ui.press("tab")
        await ui.until(lambda: "L2 norm" in ui.text)
        assert "1 25.00 %" in ui.text
        assert "of the finite elements" in ui.text
        await ui.press("escape", "v")
        await ui.until(lambda: grid_of(ui).cell is not None)
        await ui.press("tab")
        await ui.until(lambda: "L2 norm" in ui.text)
        assert [request for request, _ in loading.asked].count("statistics") == 1
        await ui.press("l")
        assert "histogram, log" in ui.text


async def test_a_heat_map_marks_what_is_no_number() -> None:
    app, _ = served(Two())
    async with running(app, (100, 40)) as ui:
        await open_values(ui, "odd")
        await ui.press("tab", "tab")
        await ui.until(lambda: "root mean square" in ui.text)
        assert "! holds NaN or an infinity" in ui.text


async def test_leaving_the_statistics_stops_them() -> None:
    app, loading = served(Two())

    def slow(arguments: Mapping[str, Any]) -> Any:
        time.sleep(0.02)
        return {"done": 0.25, "result": None}

    loading.answers["statistics"] = slow
    async with running(app, (100, 40)) as ui:
        await open_values(ui, "matrix")
        await ui.press("tab")
        await ui.until(lambda: "25%" in ui.text)
        await ui.press("escape")
        await ui.pilot.pause(0.1)
        count = len(loading.asked)
        await ui.pilot.pause(0.2)
        assert len(loading.asked) == count


async def test_a_skeleton_says_what_would_load_weights() -> None:
    with torch.device("meta"):
        module = torch.nn.Linear(3, 4)
    app, _ = served(module)
    async with running(app, (120, 30)) as ui:
        await ui.press("v")
        await ui.until(lambda: "no weights here" in ui.text)
        assert "load weights into the module first" in " ".join(ui.text.split())
        assert ui.lines[-1].strip() == "Esc closes  ? help", "no other key does anything"
        await ui.press("escape")
        assert not isinstance(ui.app.screen, ValuesScreen)


async def test_an_error_while_scrolling_is_a_line_and_no_crash() -> None:
    app, loading = served(Two())
    async with running(app, (80, 24)) as ui:
        await open_values(ui, "matrix")
        await ui.until(lambda: grid_of(ui).cell is not None)

        def cut(arguments: Mapping[str, Any]) -> Any:
            raise ParamxError("x.safetensors", "cut short: the file ends in the middle", "download it again")

        values, loading.answers["values"] = loading.answers["values"], cut
        await ui.press("G")
        await ui.until(lambda: "cut short" in ui.text)
        loading.answers["values"] = values
        await ui.press("ctrl+home", "pagedown")
        await ui.until(lambda: grid_of(ui).cell is not None)
        assert "cut short" not in ui.text


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (200, 60)])
async def test_every_view_fits_the_screen(size: tuple[int, int]) -> None:
    app, _ = served(Two())
    async with running(app, size) as ui:
        await open_values(ui, "matrix")
        await ui.until(lambda: grid_of(ui).cell is not None)
        assert grid_of(ui).size.height >= 4
        assert "Esc closes" in ui.text or "[ ] slice" in ui.text
        await ui.press("tab")
        await ui.until(lambda: "L2 norm" in ui.text)
        await ui.press("tab")
        await ui.until(lambda: "root mean square" in ui.text)


@pytest.mark.parametrize("size", [(60, 20), (80, 24)])
async def test_what_is_said_in_passing_stands_whole_above_the_keys_one_at_a_time(
    size: tuple[int, int],
) -> None:
    told = (
        "R brings back the groups of a session that [ended] badly.",
        "The remembered table was out of date; this is the model [/as] it is built now.",
    )
    app, _ = served(Two())
    async with running(app, size) as ui:
        for text in told:
            ui.app.screen.notify(text, timeout=60)
            await ui.until(lambda text=text: text.split()[0] in ui.text)
        (toast,) = ui.app.screen.query("Toast")
        region = toast.region
        assert (region.right, region.bottom) == (size[0], size[1] - 1), "the keys stay"
        rows = [line[region.x : region.right] for line in ui.lines[region.y : region.bottom]]
        assert told[1] in " ".join(" ".join(row.strip("▌ ") for row in rows).split())


# --- many tensors ---------------------------------------------------------------------------------------------------


async def test_a_sweep_measures_what_is_below_the_cursor_and_a_the_rest() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 3))
    app, loading = served(module)
    async with running(app, (120, 30)) as ui:
        await ui.go("0")
        await swept(ui)
        assert "2 tensors · 20 elements" in ui.text
        await ui.press("a")
        await ui.until(lambda: "4 tensors · 35 elements" in ui.text)
        assert [request for request, _ in loading.asked].count("statistics") == 4, "each once"


async def test_a_sweep_sorts_and_leads_back_to_the_tree() -> None:
    app, _ = served(Two())
    async with running(app, (140, 30)) as ui:
        await ui.press("S")
        await ui.press("a")
        await ui.until(lambda: "4 tensors" in ui.text and not sweep_of(ui)._working)
        assert "NaN or Inf in odd" in ui.text
        await ui.press("n")
        assert sweep_of(ui)._chosen == 3, "n goes to it in any order"
        while "nan↓" not in ui.text:
            await ui.press("s")
        assert "⚠ 1" in ui.text
        await ui.press("enter")
        assert ui.path == "odd"
        assert "odd ⚠NaN+Inf" in ui.text


async def test_nan_and_inf_are_lifted_to_the_modules_above_and_to_no_others() -> None:
    module = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.nn.Linear(2, 3))
    with torch.no_grad():
        module[0][0].weight[0, 0] = math.nan
    app, _ = served(module)
    async with running(app, (140, 30)) as ui:
        await ui.go("0.0")
        await swept(ui)
        await ui.press("a")
        await ui.until(lambda: "4 tensors" in ui.text and not sweep_of(ui)._working)
        await ui.press("escape")
        marked = [line.split("⚠NaN")[0].split()[-1] for line in ui.lines if "⚠NaN" in line]
        assert marked == ["0.0", "weight"]


async def test_the_layer_with_nan_is_a_row_of_its_own_and_n_goes_to_it() -> None:
    module = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(4)))
    with torch.no_grad():
        module[2].weight[0, 0] = math.nan
    app, _ = served(module)
    async with running(app, (80, 24)) as ui:
        assert ui.names[0] == "0…3"
        await swept(ui)
        await ui.press("escape")
        assert "n and N go there" in ui.text
        assert ui.names == ["0…1", "weight", "bias", "2", "3"]
        await ui.press("n")
        assert ui.path == "2.weight"
        assert "weight ⚠NaN" in ui.text


async def test_norms_by_layer_are_only_offered_where_there_are_layers() -> None:
    module = torch.nn.Module()
    module.head = torch.nn.Linear(8, 8)
    module.layers = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(5))
    app, _ = served(module)
    async with running(app, (100, 30)) as ui:
        await ui.go("head")
        await swept(ui)
        assert "l by layer" not in ui.text
        await ui.press("l")
        assert "head.weight" in ui.text, "the table stays"
        await ui.press("a")
        await ui.until(lambda: "12 tensors" in ui.text and not sweep_of(ui)._working)
        assert "l by layer" in ui.text


async def test_norms_by_layer_are_a_sparkline() -> None:
    module = torch.nn.Module()
    module.layers = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(5))
    with torch.no_grad():
        for number, layer in enumerate(module.layers):
            layer.weight.fill_(float(number + 1))
    app, _ = served(module)
    async with running(app, (100, 30)) as ui:
        await ui.press("S", "a")
        await ui.until(lambda: "10 tensors" in ui.text and not sweep_of(ui)._working)
        await ui.press("l")
        assert "layers.N.weight" in ui.text
        assert "▁▃▅▇█" in ui.text


async def test_a_sweep_over_a_skeleton_says_why_there_is_nothing() -> None:
    with torch.device("meta"):
        module = torch.nn.Sequential(*(torch.nn.Linear(3, 4) for _ in range(20)))
    app, loading = served(module)
    async with running(app, (120, 30)) as ui:
        await ui.press("S", "a")
        await ui.until(lambda: "no weights here" in ui.text)
        assert len(loading.asked) < 10, "it gives up"


async def test_a_sweep_speaks_only_of_what_is_measured_and_tells_why_a_tensor_is_not() -> None:
    app, loading = served(torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(3))))
    measure, held = loading.answers["statistics"], threading.Event()

    def some(arguments: Mapping[str, Any]) -> Any:
        if arguments["index"] == 1:
            raise ParamxError("0.bias", "cut short: the file ends in the middle", "download it again")
        if arguments["index"] > 2:
            held.wait(20)
        return measure(arguments)

    loading.answers["statistics"] = some
    async with running(app, (80, 24)) as ui:
        await ui.press("S", "a")
        await ui.until(lambda: "2 of 6 tensors measured; in these 18 elements" in ui.text)
        assert "1 could not be measured" in ui.text
        assert "measuring" in ui.text
        await ui.press("down")
        assert "cut short: the file ends in the middle; download it again" in ui.text
        held.set()
        await ui.until(lambda: "5 of 6 tensors measured" in ui.text and not sweep_of(ui)._working)
        assert "measuring" not in ui.text


async def test_a_narrow_sweep_cuts_nothing_of_its_sum() -> None:
    module = torch.nn.Module()
    module.ids = torch.nn.Parameter(torch.arange(900), requires_grad=False)
    module.weight = torch.nn.Parameter(torch.full((400, 300), math.nan))
    module.bias = torch.nn.Parameter(torch.randn(400_000))
    module.cut = torch.nn.Parameter(torch.randn(3))
    app, loading = served(module)
    failing(loading, 3, "cut short: the file ends in the middle")
    async with running(app, (60, 20)) as ui:
        await ui.press("S", "a")
        await ui.until(lambda: "3 of 4 tensors" in ui.text and not sweep_of(ui)._working)
        told = " ".join(" ".join(ui.lines[1:5]).split())
        assert "120,000 NaN, 0 Inf · 1 could not be measured" in told


async def test_before_anything_is_measured_a_sweep_claims_nothing() -> None:
    app, loading = served(Two())
    held, measure = threading.Event(), loading.answers["statistics"]
    loading.answers["statistics"] = lambda arguments: held.wait(20) and measure(arguments)
    async with running(app, (80, 24)) as ui:
        await ui.press("S")
        await ui.until(lambda: "0 of" in ui.text)
        assert "finite" not in ui.text
        assert "no zero" not in ui.text
        held.set()
        await ui.until(lambda: "finite" in ui.text)


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (160, 45)])
async def test_the_column_that_is_sorted_by_is_always_shown(size: tuple[int, int]) -> None:
    app, _ = served(Two())
    async with running(app, size) as ui:
        await ui.press("S", "a")
        await ui.until(lambda: "4 tensors" in ui.text and not sweep_of(ui)._working)
        for order in ("std", "absmax", "norm", "zeros", "nan", "inf"):
            await ui.press("s")
            assert f"{order}↓" in ui.text
            assert "…" not in next(line for line in ui.lines if "mean " in line and "·" in line)


@pytest.mark.parametrize("size", [(60, 20), (80, 24)])
async def test_why_a_skeleton_is_not_measured_is_told_whole(size: tuple[int, int]) -> None:
    with torch.device("meta"):
        module = torch.nn.Linear(3, 4)
    app, _ = served(module)
    async with running(app, size) as ui:
        await ui.press("S")
        await ui.until(lambda: "no weights here" in ui.text)
        told = " ".join(" ".join(ui.lines[1:8]).split())
        assert "load weights into the module first" in told
        assert "s sort" not in ui.text, "a key that would do nothing"
        assert "Esc closes" in ui.text


async def test_whole_numbers_are_marked_and_sorted_after_the_weights() -> None:
    module = torch.nn.Module()
    module.ids = torch.nn.Parameter(torch.arange(900), requires_grad=False)
    module.weight = torch.nn.Parameter(torch.ones(4))
    app, _ = served(module)
    async with running(app, (80, 24)) as ui:
        await ui.press("S", "a")
        await ui.until(lambda: "2 tensors" in ui.text and not sweep_of(ui)._working)
        assert "norm 2 without 1 integer tensor" in ui.text
        while "norm↓" not in ui.text:
            await ui.press("s")
        rows = [line.split()[0] for line in ui.lines if "ids int64" in line or " weight  " in line]
        assert rows[:2] == ["weight", "ids"]


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (200, 50)])
async def test_the_table_keeps_name_and_norm_at_any_width(size: tuple[int, int]) -> None:
    app, _ = served(Two())
    async with running(app, size) as ui:
        await ui.press("S", "a")
        await ui.until(lambda: "matrix" in ui.text and not sweep_of(ui)._working)
        assert "norm" in ui.text
        assert all(len(line) <= size[0] for line in ui.lines)


# --- the groups panel -----------------------------------------------------------------------------------------------


async def test_each_groups_first_member_shows_its_first_values() -> None:
    module = torch.nn.Linear(8, 3)
    with torch.no_grad():
        module.weight[0, :3] = torch.tensor([-0.5, 0.25, 1.0])
    app, _ = served(module)
    async with running(app, (140, 40)) as ui:
        await ui.until(lambda: ui.text.count("tensor([") == 2)
        assert "tensor([[-0.5000,  0.2500,  1.0000, …" in ui.text
        await ui.go("weight")
        app.screen.query_one(GroupsPanel).editors[0].terms.value = "weight"
        await ui.until(lambda: "1 tensor · 24" in ui.text and ui.text.count("tensor([") == 2)
        assert repr(module.bias.detach()) in ui.text, "the whole of a short vector"


async def test_a_narrow_screen_shows_as_many_first_values_as_fit_and_none_cut() -> None:
    module = torch.nn.Linear(8, 3)
    with torch.no_grad():
        module.weight[0, :3] = torch.tensor([-0.5, 0.25, 1.0])
        module.bias[:] = torch.tensor([1.5, 2.5, 3.5])
    app, _ = served(module)
    async with running(app, (80, 24)) as ui:
        await ui.until(lambda: "to train · tensor([[-0.5000,  0.2500, …" in ui.text)
        assert "to train · tensor([1.5000, 2.5000, 3.5000])" in ui.text
    app, _ = served(module)
    async with running(app, (60, 20)) as ui:
        await ui.until(lambda: bool(ui.app.screen.query_one(GroupsPanel).first_values))
        await ui.settle()
        assert "tensor(" not in ui.text, "not one value fits whole"


async def test_a_skeleton_is_asked_for_first_values_once() -> None:
    with torch.device("meta"):
        module = torch.nn.Linear(8, 3)
    app, loading = served(module)
    async with running(app, (140, 40)) as ui:
        await ui.until(lambda: bool(loading.asked))
        app.screen.query_one(GroupsPanel).editors[0].terms.value = "weight"
        await ui.pilot.pause(0.3)
        assert len(loading.asked) == 1
        assert "tensor(" not in ui.text
