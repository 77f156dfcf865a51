"""The tree on the screen: filter, order, mouse, columns, and names from strangers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import Hands, make_app, running
from rich.cells import cell_len
from tables import model_of, param

from explorer.core.groups import Grouping, Rule
from explorer.core.param import Column, Model, ModuleClass
from explorer.core.text import visible
from explorer.core.tree import Tree
from explorer.core.view import TreeView
from explorer.ui.widgets.columns import LEAVING, NAME_MIN, TRAINING, layout
from explorer.ui.widgets.tree_table import TreeTable

# --- filter ---------------------------------------------------------------------------------------------------------


async def test_the_filter_is_live_and_tells_the_count_and_the_sum(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.press("slash")
        needle = ""
        for char in "r.3":
            needle += char
            await ui.type(char)
            hits = [index for index, name in enumerate(model.names) if needle in name]
            total = sum(model.numels[index] for index in hits)
            assert f"{len(hits)} of 106 tensors · {total:,}" in ui.text
        assert ui.names[:3] == ["roberta", "encoder.layer", "3"]


async def test_a_filter_matches_as_python_does(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.press("slash")
        await ui.write("layer.3")
        assert "16 of 106 tensors · 7,087,872" in ui.text, "'layer.3' in n"
        await ui.write("LAYERNORM")
        assert "0 of 106 tensors · 0" in ui.text, "case-sensitive"
        assert "No name contains" in ui.text
        await ui.write("")
        assert "106 of 106 tensors" in ui.text


async def test_escape_clears_the_filter_and_keeps_the_place(model: Model) -> None:
    async with running(make_app(model)) as ui:
        before = ui.names
        await ui.press("slash")
        await ui.write("layer.3")
        await ui.press("enter")
        assert ui.app.focused is ui.tree
        await ui.go("roberta.encoder.layer.3.output.dense.bias")
        await ui.press("escape")
        assert ui.path == "roberta.encoder.layer.3.output.dense.bias"
        assert "of 106 tensors" not in "\n".join(ui.lines[1:4])
        assert len(ui.names) > len(before), "and shows it among its siblings"
        assert ui.path in ui.text, "the detail names it"


async def test_n_steps_through_the_matches_while_the_filter_is_on(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.press("slash")
        await ui.write("lm_head.layer_norm")
        await ui.press("enter")
        await ui.press("n")
        first = ui.path
        await ui.press("n")
        second = ui.path
        await ui.press("N")
        assert [first, second, ui.path] == [f"lm_head.layer_norm.{leaf}" for leaf in ("weight", "bias", "weight")]


async def test_the_running_total_stays_while_sorted_and_filtered(model: Model) -> None:
    async with running(make_app(model)) as ui:
        view = ui.tree.view
        assert view is not None
        expected = dict(zip(model.names, model.running(), strict=True))
        await ui.press("s", "slash")
        await ui.write("LayerNorm")
        for row in range(len(view.rows)):
            path = view.tree.path(view.rows.nodes[row])
            if path in expected and view.rows.counts[row] == 1:
                assert view.running(row) == expected[path]


async def test_the_detail_is_the_counting_loops_own_line(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.go("roberta.embeddings.position_embeddings.weight")
        line = next(line for line in ui.lines if "#4 of 106" in line)
        counted, np = line.split("  np = ")
        assert (counted.strip(), np.strip()) == ("#4 of 106  514 × 768 = 394,752", "40,333,056 of 83,504,416")
        await ui.press("end")
        last = next(other for other in ui.lines if "np = 83,504,416 of 83,504,416" in other)
        assert last.index(" of 83,504,416") == line.index(" of 83,504,416"), "what stays the same stays where it is"


async def test_a_tied_tensor_is_told_in_the_detail(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.go("roberta.embeddings.word_embeddings.weight")
        assert "tied to lm_head.decoder.weight" in ui.text


NOTE = "sparse (COO), 12 of 4,096 elements are not zero"


@pytest.mark.parametrize("width", [80, 160])
async def test_the_detail_keeps_notes_and_shards_that_no_column_shows(width: int) -> None:
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    model = model_of(
        param("head.weight", (64, 64), shard=shards[0], module_class=ModuleClass("Linear")),
        param("head.bias", (64,), shard=shards[1], notes=NOTE, device="cpu", requires_grad=True),
    )
    async with running(make_app(model), size=(width, 24)) as ui:
        await ui.go("head.weight")
        assert shards[0] in ui.text
        await ui.go("head.bias")
        told = "".join(ui.text.split())  # it may go on in the next line
        assert "".join(NOTE.split()) in told and shards[1] in told
        await ui.press("home")
        assert "in2of2files" in "".join(ui.text.split())


async def test_a_tensor_that_is_in_no_file_is_not_counted_as_a_file() -> None:
    lone, first, second = (replace(param("w"), name=f"m.{name}") for name in "abc")
    one = model_of(replace(lone, shard="x.safetensors"), replace(first, shard=None))
    two = model_of(*(replace(p, shard=s) for p, s in ((lone, "x.st"), (first, "y.st"), (second, None))))
    for model, told in ((one, "x.safetensors · 6"), (two, "in 2 of 2 files · 6")):
        async with running(make_app(model), size=(160, 24)) as ui:
            await ui.press("home")
            assert f"{told} parameters in no file" in ui.text


@pytest.mark.parametrize("width", [60, 80])
async def test_a_long_path_leaves_the_total_in_the_title(width: int) -> None:
    model = model_of(param("weight", (64, 64)))
    target = "/data/checkpoints/" + "run/" * 30 + "model.safetensors"
    model = replace(model, origin=replace(model.origin, target=target))
    async with running(make_app(model), size=(width, 20)) as ui:
        title = ui.text.splitlines()[0]
        assert title.rstrip().endswith(" 4,096 parameters")
        assert " /data/" in title and "…" in title and ".safetensors " in title


async def test_the_file_of_a_lone_file_gives_way_to_facts() -> None:
    model = model_of(param("weight", (64, 64), shard="model.safetensors", module_class=ModuleClass("Linear")))
    async with running(make_app(model), size=(60, 20)) as ui:
        await ui.go("weight")
        assert "decay because no rule above takes it" in ui.text
        assert "model.safetensors" not in ui.text


async def test_what_is_no_parameter_says_so_in_its_row_the_detail_and_the_head() -> None:
    model = model_of(
        param("norm.weight", (8,), module_class=ModuleClass("BatchNorm1d")),
        param("norm.running_mean", (8,), module_class=ModuleClass("BatchNorm1d"), apart="buffer"),
        param("state.exp_avg", (8,), apart="optimizer state"),
    )
    async with running(make_app(model), size=(80, 24)) as ui:
        assert "8 parameters" in ui.text
        assert "3 tensors (1 buffer, 1 optimizer state)" in ui.text
        line = next(line for line in ui.text.splitlines() if "running_mean" in line)
        assert line.split()[-1] == "buffer" and "(8)" in line
        await ui.go("norm.running_mean")
        assert "buffer: in no group, in no sum" in ui.text and "np = 8 of 8" in ui.text
        await ui.go("norm")
        assert "2 tensors · 8 parameters" in ui.text and "1 in no group" in ui.text
        await ui.press("c")
        assert "all tensors of the file · 3 tensors" in ui.text and "+16 that are no parameters" in ui.text


async def test_what_differs_below_a_module_is_mixed_with_shares_in_the_detail() -> None:
    model = model_of(
        param("a.x", (3,), dtype="float32", requires_grad=True),
        param("a.y", (1,), dtype="bfloat16", nbytes=2, requires_grad=False, device="cpu"),
        param("b.x", (3,)),
    )
    async with running(make_app(model), size=(160, 40)) as ui:
        assert ui.path == "a"
        row = next(line for line in ui.lines if "▾ a" in line or "▸ a" in line)
        assert row.count("mixed") == 3
        for part in (
            "float32 75.00 %",
            "bfloat16 25.00 %",
            "meta 75.00 %",
            "cpu 25.00 %",
            "requires_grad False 25.00 %",
        ):
            assert part in ui.text


# --- the first screen -----------------------------------------------------------------------------------------------


async def test_the_first_screen_is_unfolded_as_far_as_it_fits(model: Model) -> None:
    for height in (20, 24, 40):
        async with running(make_app(model), size=(80, height)) as ui:
            assert "roberta" in ui.names
            assert "embeddings" in ui.names or len(ui.names) + 3 > ui.tree.size.height - 1
            assert len(ui.names) <= ui.tree.size.height - 1, "nothing to scroll yet"


# --- the mouse ------------------------------------------------------------------------------------------------------


async def test_a_click_selects_and_a_second_click_folds(model: Model) -> None:
    async with running(make_app(model)) as ui:
        rows = ui.names
        assert rows[1] == "embeddings"
        await ui.pilot.click(TreeTable, offset=(10, 2))
        assert (ui.at, ui.names) == ("embeddings", rows)
        await ui.pilot.click(TreeTable, offset=(10, 2))
        assert len(ui.names) < len(rows)
        await ui.pilot.click(TreeTable, offset=(10, 0))
        assert ui.at == "embeddings", "the headings are no row"
        await ui.pilot.click(TreeTable, offset=(10, ui.tree.size.height - 1))
        assert ui.at == "embeddings", "nor is the empty place below"


async def test_a_click_in_the_panel_takes_the_focus(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.pilot.click(".rule-terms")
        assert "rule-terms" in ui.field.classes
        await ui.pilot.click(TreeTable, offset=(5, 1))
        assert ui.app.focused is ui.tree


# --- columns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("names", [("no_decay", "decay"), ("x" * 40, "y")])
@pytest.mark.parametrize("name_width", [10, 40, 200])
def test_columns_leave_in_the_stated_order_and_the_name_never(
    model: Model, training: bool, names: tuple[str, ...], name_width: int
) -> None:
    from array import array

    view = TreeView(Tree.build(model))
    order = LEAVING
    if training:
        view.set_training(array("q", [16 * numel for numel in model.numels]))
        order = TRAINING
    gone = 0
    for width in range(260, 39, -1):
        chosen = layout(view, width, names, name_width)
        left = [column.title for column, _ in chosen]
        assert set(left) == set(order[len(order) - len(left) :])
        assert len(order) - len(left) >= gone, "a column that left does not come back"
        gone = len(order) - len(left)
        assert width - sum(size + 1 for _, size in chosen) >= NAME_MIN
    assert gone >= 5


@pytest.mark.parametrize("mixed", [False, True])
def test_counts_stay_exact_until_all_that_tells_less_has_made_room(model: Model, mixed: bool) -> None:
    dtypes = Column.of(["float32"] * 105 + ["int8" if mixed else "float32"])
    view = TreeView(Tree.build(replace(model, dtypes=dtypes)))
    seen = []
    for width in range(140, 70, -1):
        chosen = {column.title: (column, size) for column, size in layout(view, width, ("no_decay", "decay"), 34)}
        exact = chosen["Running"][0].cell(view, len(view.rows) - 1) == f"{model.total:,}"
        told = ("exact " * exact + "dtype " * ("dtype" in chosen) + "names" * (chosen["Group"][1] > 5)).strip()
        seen += [told] * (told not in seen)
    assert seen == ["exact dtype names", *(["exact dtype"] if mixed else ["exact names", "exact"]), "names"]


@pytest.mark.parametrize(("width", "told"), [(80, "5 groups"), (56, "1…5")])
async def test_a_row_of_many_groups_tells_how_many_or_from_which_to_which(
    model: Model, width: int, told: str
) -> None:
    rules = [Rule(f"layer_{number}", (f"layer.{number}.",)) for number in range(4)]
    grouping = Grouping((*rules, Rule("rest_of_them")))
    async with running(make_app(model, grouping=grouping), size=(width, 24)) as ui:
        await ui.press("minus")
        assert told in next(line for line in ui.lines if "roberta " in line)


def test_grad_takes_no_more_than_its_values_need(model: Model) -> None:
    frozen = model_of(*(replace(row, requires_grad=index > 0) for index, row in enumerate(model)))
    for shown, size in ((model, len("Grad")), (frozen, len("mixed"))):
        columns = layout(TreeView(Tree.build(shown)), 160, ("no_decay", "decay"), NAME_MIN)
        assert size in [cells for column, cells in columns if column.title == "Grad"]


async def test_every_line_fits_at_any_width_and_shows_names(model: Model) -> None:
    async with running(make_app(model), size=(160, 24)) as ui:
        for width in (120, 119, 100, 80, 60, 50, 40, 160):
            await ui.resize(width, 24)
            assert all(cell_len(line) <= width for line in ui.lines)
            assert any("roberta" in line for line in ui.lines[1:])
            assert any("embeddings" in line for line in ui.lines)
            headings = next(line for line in ui.lines if line.startswith(" Name"))
            assert width < 60 or "Params" in headings


async def test_the_whole_name_of_200_characters_is_readable_at_60_columns() -> None:
    name = ".".join(f"module_{level:02}" for level in range(20)) + ".a_long_weights_name"
    assert len(name) >= 200
    async with running(make_app(model_of(name, "short.weight")), size=(60, 20)) as ui:
        assert ui.path == name
        assert name in "".join(line.strip() for line in ui.lines)


# --- names from strangers -------------------------------------------------------------------------------------------

STRANGE = [
    "[/foo].weight",
    "[@click=app.bell]x[/].weight",
    "[bold red]b[/bold red].weight",
    "a\\[b.weight",
    visible("esc\x1b]52;c;QUJD\x07.weight"),
    visible("bidi\u202e.weight"),
    "$accent {braces} %s.weight",
]


async def walk(ui: Hands) -> list[str]:
    """Every row's detail, from the first to the last."""
    seen = []
    await ui.press("home")
    for _ in ui.names:
        seen.append(ui.text)
        await ui.press("down")
    return seen


async def test_strange_names_stand_literally_in_tree_detail_and_lists() -> None:
    from explorer.core.param import ModuleClass

    norm = ModuleClass("LayerNorm")
    model = model_of(*(param(name, (8,), module_class=norm) for name in STRANGE), target="[/target]")
    async with running(make_app(model), size=(160, 45)) as ui:
        assert "[/target]" in ui.lines[0]
        assert "\x1b" not in "".join(model.names)
        for name, screen in zip(STRANGE, await walk(ui), strict=True):
            assert screen.count(name) >= 2, "in the tree and in the detail"
        await ui.press("w")
        await ui.until(lambda: "norm weights decay" in ui.text)
        await ui.press("down")
        assert all(name in ui.text for name in STRANGE[:6])
        await ui.press("escape", "tab")
        await ui.write("[/foo], [@click=app.quit]x[/]")
        ui.tree.focus()
        await ui.press("d")
        await ui.until(lambda: "Moved" in ui.text)
        assert "[/foo].weight" in ui.text
        await ui.press("enter")
        await ui.press("e")
        await ui.until(lambda: "weight_decay" in ui.text)
        assert "[/foo]" in ui.text
        await ui.press("escape", "slash")
        await ui.write("[/foo]")
        assert "1 of 7 tensors" in ui.text


async def test_a_groups_name_in_markup_stands_literally(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.press("tab", "up", "up")
        await ui.write("[/x]")
        bench = ui.model_screen.bench
        assert bench is not None
        assert bench.names[0] == "[/x]"
        assert ui.text.count("[/x]") >= 2, "in its field and in the tree"
        ui.tree.focus()
        for key in ("t", "w", "d", "p", "e"):
            await ui.press(key)
            await ui.press("escape")
        assert ui.app.screen is ui.model_screen


async def test_wide_characters_keep_the_columns_aligned() -> None:
    model = model_of("名前.重み.weight", "ascii.name.weight", "한국어" * 12 + ".bias", "e\u0301.combining.weight")
    async with running(make_app(model), size=(100, 30)) as ui:
        for width in (160, 120, 80, 60):
            await ui.resize(width, 30)
            headings = next(line for line in ui.lines if line.startswith(" Name"))
            edge = cell_len(headings[: headings.index("Params") + len("Params")])
            rows = [line for line in ui.lines if "2 × 3" in line]
            assert len(rows) >= 4
            for line in rows[:4]:
                cells = "".join(char + "\0" * (cell_len(char) - 1) for char in line if cell_len(char))
                assert cells[edge - 1] == "6", (width, line)
                assert cells[edge] == " "


async def test_a_name_without_letters_has_a_row() -> None:
    async with running(make_app(model_of("", ".", "a"))) as ui:
        assert len(ui.names) == 3
        assert '""' in ui.text


async def test_a_model_without_parameters_opens() -> None:
    app = make_app(model_of())
    async with running(app, wait=False) as ui:
        await ui.until(lambda: "0 parameters" in ui.text)
        for key in ("down", "up", "right", "left", "enter", "u", "asterisk", "minus", "s", "n", "G", "g", "pagedown"):
            await ui.press(key)
        for key in ("c", "w", "d", "t", "p", "e"):
            await ui.press(key)
            await ui.press("escape")
        await ui.press("tab")
        await ui.write("bias")
        await ui.press("escape", "escape", "slash")
        await ui.write("x")
        await ui.press("escape", "q")
        assert app.return_code == 0


async def test_the_detail_of_a_filtered_module_counts_what_is_left(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.press("slash")
        await ui.write("layer.3")
        await ui.press("enter", "home")
        assert "16 tensors · 7,087,872 parameters" in ui.text
        assert "no_decay 10 · decay 6" in ui.text
