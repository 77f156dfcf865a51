"""The groups panel and the screens around it: what a keystroke shows, and what is taken home."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import get_args
from unittest.mock import patch

import pytest
from fakes import Hands, make_app, running
from rich.cells import cell_len
from tables import model_of, param
from textual.screen import Screen
from textual.widgets import OptionList

from explorer.core.export import EXPORTS
from explorer.core.groups import Grouping, Rule
from explorer.core.param import Finding, Model, ModuleClass
from explorer.core.patterns import Test, parse
from explorer.core.presets import PRESETS
from explorer.core.workbench import Workbench
from explorer.ui import keymap
from explorer.ui.screens.export import ExportScreen
from explorer.ui.screens.help import READING, TERMS


def bench_of(ui: Hands) -> Workbench:
    bench = ui.model_screen.bench
    assert bench is not None
    return bench


# --- keystrokes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_layer_norm_moves_one_tensor_of_roberta_base_and_its_warning_goes(
    roberta: Model, size: tuple[int, int]
) -> None:
    async with running(make_app(roberta), size=size) as ui:
        assert "124,697,433 parameters ✔" in ui.lines[0]
        assert "1 of 26 norm weights decays" in ui.text
        assert "lm_head.layer_norm.weight" in ui.text
        await ui.press("tab", "end")
        await ui.type(", layer_norm")
        bench = bench_of(ui)
        assert [(roberta.names[move.index], move.source, move.target) for move in bench.moves()] == [
            ("lm_head.layer_norm.weight", "decay", "no_decay")
        ]
        assert "Δ +1" in ui.text
        assert "Δ −1" in ui.text
        assert "norm weights decay" not in ui.text
        await ui.press("enter")
        assert "Δ" not in ui.text


async def test_what_is_wrong_with_the_file_stands_before_what_is_wrong_with_the_groups() -> None:
    refused = Finding("refused-global", "warning", "mal.pt: not run: posix.system", ("posix.system",))
    damaged = replace(model_of("w"), findings=(Finding("views", "hint", "a view"), refused))
    async with running(make_app(damaged), size=(80, 24)) as ui:
        assert "⚠ mal.pt: not run: posix.system" in ui.text
        assert "✖ 5 more findings" in ui.text, "the worst of them is the empty group's error"
        told = [finding.id for finding in bench_of(ui).all_findings]
        assert told == ["refused-global", "empty-group", "dead-pattern", "dead-pattern", "views", "cannot-judge"]


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (160, 45)])
async def test_tab_walks_the_fields_as_they_stand_and_the_panel_says_which_has_the_cursor(
    model: Model, size: tuple[int, int]
) -> None:
    async with running(make_app(model), size=size) as ui:
        heading = ui.groups.region.y
        assert "groups" in ui.lines[heading]
        seen = []
        for told in ("terms of no_decay", "options of no_decay", "name of group 2", "options of decay"):
            await ui.press("tab")
            assert told in ui.lines[heading]
            seen.append((ui.field.region.y, ui.field.region.x))
        assert seen == sorted(seen)
        await ui.press("tab")
        assert "decay" not in ui.lines[heading]


async def test_an_option_that_is_typed_as_a_name_is_told_and_moved_by_its_fix(model: Model) -> None:
    async with running(make_app(model), size=(80, 24)) as ui:
        await ui.press("tab", "tab", "tab", "end")
        await ui.write("decay lr=3e-5")
        assert "decay lr=3e-5: the name looks like an option: did you mean options lr=3" in ui.text
        ui.tree.focus()
        await ui.press("w")
        await ui.until(lambda: "f takes the fix" in ui.lines[-1])
        await ui.press("f")
        assert bench_of(ui).typed.rules[1] == Rule("decay", (), {"weight_decay": 0.1, "lr": 3e-5})
        assert "Δ" not in ui.text


async def test_the_panel_keeps_the_keys_where_an_undo_or_esc_makes_its_fields_anew(model: Model) -> None:
    async with running(make_app(model), size=(80, 24)) as ui:
        await ui.press("tab", "ctrl+n")
        await ui.until(lambda: len(ui.groups.editors) == 3)
        for key, groups in (("ctrl+underscore", 2), ("ctrl+y", 3), ("escape", 2)):
            await ui.press(key)
            await ui.until(lambda groups=groups: len(ui.groups.editors) == groups)
            assert ui.groups.focused_rule == 1, key
        await ui.press("ctrl+n", "ctrl+r", "q")
        assert bench_of(ui).typed.rules[1].options == {"weight_decay": 0.1}, "typed there, and no command"
        assert ui.app.return_code is None


async def test_what_is_half_typed_is_already_shown(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.press("tab")
        await ui.write("")
        for char, tensors in (("b", 104), ("i", 52), ("a", 52), ("s", 52)):
            await ui.type(char)
            hits = sum(ui.field.value in name for name in model.names)
            assert hits == tensors
            assert f"{hits} tensors" in ui.text
            assert f"{106 - hits} tensors" in ui.text


async def test_a_letter_has_the_screen_laid_out_once_and_only_where_a_text_takes_other_room(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.press("tab")
        with patch.object(Screen, "_refresh_layout", autospec=True, side_effect=Screen._refresh_layout) as layout:
            await ui.press("end", "comma", "x")
            layout.reset_mock()
            await ui.press("y")
            assert not layout.called, "the finding about xy has the lines of the one about x"
            await ui.press("backspace", "backspace")
            layout.reset_mock()
            await ui.press("backspace")
            assert layout.call_count == 1, "there is no finding about a term any more"


async def test_a_letter_and_its_effect_are_drawn_in_one_frame_but_for_expressions_that_may_take_long(
    model: Model,
) -> None:
    async with running(make_app(model)) as ui:
        await ui.press("tab")
        await ui.write("")
        table, detail = ui.app.screen.query_one("#tree"), ui.app.screen.query_one("#detail")
        ui.field.value = "bias"  # as a key does; nothing is awaited before the effect is looked at
        assert bench_of(ui).stats(0).tensors == 52
        ui.field.value = "re:norm"
        assert bench_of(ui).stats(0).tensors == 52
        await ui.settle()
        assert bench_of(ui).stats(0).tensors != 52
        before = str(detail.content)
        table.action_cursor_down()
        assert str(detail.content) != before


async def test_a_bad_term_is_told_beside_the_field_and_the_last_result_stays(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.press("tab")
        await ui.write("bias, re:(")
        assert "column 10" in ui.text
        assert "65 tensors" in ui.text, "as before"
        await ui.write("bias, re:(x)")
        assert "column" not in ui.text
        assert "52 tensors" in ui.text


async def test_a_blank_pattern_is_dropped_with_a_notice(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.press("tab")
        await ui.write("bias, LayerNorm.weight, ")
        assert "blank term" in ui.text
        assert "65 tensors" in ui.text


async def test_a_long_field_shows_its_cursor_after_the_terminal_was_resized(model: Model) -> None:
    async with running(make_app(model), (200, 45)) as ui:
        await ui.press("tab")
        await ui.write(", ".join(f"layer.{number}." for number in range(12)))
        await ui.press("end")
        for width in (200, 80, 60, 200):
            await ui.resize(width, 24)
            assert ".10., layer.11." in ui.text, width
        await ui.press("home")
        for width in (80, 60):
            await ui.resize(width, 24)
            assert "layer.0., layer" in ui.text, width


async def test_wrong_options_are_told_beside_the_field(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.press("tab", "tab")
        await ui.write("weight_decay=x")
        assert "column 14" in ui.text
        await ui.press("escape")
        assert "column 14" not in ui.text


async def test_escape_restores_what_was_kept_and_then_leads_to_the_tree(model: Model) -> None:
    async with running(make_app(model)) as ui:
        before = ui.text
        await ui.press("tab")
        await ui.write("weight, nonsense")
        assert "nonsense" in ui.text
        await ui.press("escape")
        await ui.until(lambda: ui.field.value == "bias, LayerNorm.weight")
        assert bench_of(ui).typed == Grouping.classic()
        assert "Discarded: Ctrl+/ brings it back." in ui.text
        await ui.press("ctrl+underscore")
        await ui.until(lambda: ui.field.value == "weight, nonsense")
        await ui.press("escape")
        await ui.until(lambda: ui.field.value == "bias, LayerNorm.weight")
        await ui.press("escape")
        assert ui.app.focused is ui.tree
        await ui.until(lambda: ui.text == before)


async def test_the_group_column_follows_each_keystroke(model: Model) -> None:
    async with running(make_app(model), size=(160, 45)) as ui:

        def row() -> str:
            at = next(number for number, line in enumerate(ui.lines) if "▾ layer_norm " in line)
            return ui.lines[at + 1].split("▊")[0]

        assert "2 decay" in row()
        assert "⚠" in row()
        await ui.press("tab")
        await ui.write("bias, LayerNorm.weight, layer_norm")
        assert "1 no_decay" in row()
        assert "Δ" in row()
        assert "⚠" not in row()


async def test_a_group_that_differs_splits_a_run_on_the_screen(model: Model) -> None:
    async with running(make_app(model)) as ui:
        assert "×6" in ui.text
        await ui.press("tab")
        await ui.write("layer.2.")
        assert "×6" not in ui.text
        assert {"0…1", "2", "3…5"} <= set(ui.names)


async def test_the_apps_groups_are_the_last_ones_without_a_bad_term(model: Model) -> None:
    app = make_app(model)
    async with running(app) as ui:
        await ui.press("tab")
        await ui.write("bias")
        await ui.write("bias, re:(")
        await ui.press("ctrl+q")
    assert app.grouping == Grouping.classic(["bias"])


# --- warnings and presets -------------------------------------------------------------------------------------------


async def test_the_fix_of_a_warning_is_taken_and_can_be_undone(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.press("w")
        await ui.until(lambda: "1 of 14 norm weights decays" in ui.text)
        assert "f takes the fix" in ui.lines[-1]
        await ui.press("f")
        await ui.until(lambda: "norm weights decay" not in "\n".join(ui.lines[3:]))
        assert "type:*Norm" in bench_of(ui).typed.rules[0].terms
        await ui.press("ctrl+underscore")
        assert bench_of(ui).typed == Grouping.classic()


async def test_a_preset_is_taken_and_can_be_undone(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.press("p")
        await ui.until(lambda: "nanoGPT" in ui.text)
        options = ui.app.screen.query_one(OptionList)
        titles = [str(option.prompt) for option in options.options]
        options.highlighted = next(at for at, title in enumerate(titles) if "nanoGPT" in title)
        await ui.settle()
        assert "source: " in ui.text
        await ui.press("enter", "enter")
        await ui.until(lambda: ui.app.screen is ui.model_screen)
        bench = bench_of(ui)
        flat = sum(len(shape or ()) < 2 for shape in model.shapes)
        assert flat in bench.assignment.tensors
        await ui.press("ctrl+underscore")
        assert bench.typed == Grouping.classic()


async def test_the_text_about_a_warning_has_the_lines_that_a_short_list_leaves(roberta: Model) -> None:
    async with running(make_app(roberta), size=(60, 20)) as ui:
        await ui.press("w")
        await ui.until(lambda: "Fix: no_decay += type:*Norm" in ui.text)
        assert "  lm_head.layer_norm.weight" in ui.text and "more line" not in ui.text
        assert "Esc closes" in ui.text


async def test_a_fix_that_would_empty_a_group_is_not_offered() -> None:
    async with running(make_app(model_of(param("norm", (4,)), param("w", (2, 2)))), size=(80, 24)) as ui:
        await ui.press("tab")
        await ui.write("norm")
        await ui.press("tab")
        await ui.write("optimizer='Muon' weight_decay=0")
        await ui.press("enter", "escape", "w")
        await ui.until(lambda: "Muon takes matrices only and refuses 1 parameter" in ui.text)
        assert "f: fix" not in next(line for line in ui.lines if "refuses" in line)
        options = ui.app.screen.query_one(OptionList)
        options.highlighted = next(
            at for at in range(options.option_count) if "refuses" in str(options.options[at].prompt)
        )
        await ui.until(lambda: "f takes the fix" not in ui.lines[-1])


async def test_a_long_warning_keeps_the_mark_of_its_fix() -> None:
    norm = ModuleClass("LayerNorm")
    model = model_of(param("layernorm_after.weight", (8,), module_class=norm), param("layernorm_pre.bias", (8,)))
    async with running(make_app(model), size=(80, 24)) as ui:
        await ui.press("w")
        await ui.until(lambda: "Enter shows" in ui.text)
        line = next(line for line in ui.lines if "LayerNorm.weight matches nothing; near" in line)
        assert "…  f: fix" in line


@pytest.mark.parametrize("size", [(80, 24), (60, 20)])
async def test_the_chosen_recipe_stays_on_the_screen_and_what_is_cut_says_so(
    roberta: Model, size: tuple[int, int]
) -> None:
    async with running(make_app(roberta), size=size) as ui:
        await ui.press("p")
        await ui.until(lambda: f"{len(PRESETS)} recipes" in ui.text)
        await ui.press("end")
        title = "layer-wise learning-rate decay"
        await ui.until(lambda: sum(title in line for line in ui.lines) == 2)
        assert "more lines: Space" in ui.text
        assert "Esc closes" in ui.text
        beginning, told = ui.text, ""
        while "Space goes back" not in ui.text:
            await ui.press("space")
            told += ui.text
        assert "16 layer_7" in told or "more group" in told, "the end of the text"
        await ui.press("space")
        assert ui.text == beginning
        await ui.press("enter")
        assert "rate=0.9 weight_decay=0.05" in ui.text
        assert sum(title in line for line in ui.lines) == 2, "in the list, and below it"
        assert "Enter takes it   Esc does not" in ui.text


async def test_under_the_tree_too_the_optimizer_is_told_and_a_step_to_the_next_names_its_undo(model: Model) -> None:
    async with running(make_app(model), size=(80, 24)) as ui:
        await ui.until(lambda: "AdamW, fp32 (t)" in ui.text)
        await ui.press("O")
        await ui.until(lambda: "groups · Adam, fp32 (t)" in ui.text)
        assert "Optimizer: Adam; Ctrl+/ takes it back" in ui.text


async def test_what_is_cut_in_a_field_without_the_focus_ends_in_a_mark(model: Model) -> None:
    async with running(make_app(model), size=(80, 24)) as ui:
        await ui.press("tab", "end")
        await ui.type(", type:*Norm, !ndim>=2")
        assert "!ndim>=2" in ui.text, "the cursor's part of it"
        await ui.press("tab")
        assert "bias, LayerNorm.weight, typ…" in ui.text
        await ui.press("shift+tab")
        assert "!ndim>=2" in ui.text


async def test_the_verdict_on_a_gpu_is_of_what_was_counted(model: Model) -> None:
    async with running(make_app(model), size=(80, 24)) as ui:
        await ui.press("t", "g")
        await ui.write("80GiB")
        await ui.press("enter")
        await ui.until(lambda: "80.0 GiB: weights, gradients and states fit, " in ui.text)
        assert "c: training memory in the tree's Size column" in ui.text
        await ui.press("c", "g")
        await ui.write("1MiB")
        await ui.press("enter")
        await ui.until(lambda: "weights, gradients and states do not fit" in ui.text)
        assert "c: the stored size in the tree's Size column" in ui.text


@pytest.mark.parametrize("width", [60, 80, 160])
async def test_each_column_of_the_disagreements_is_named_whole(model: Model, width: int) -> None:
    async with running(make_app(model), size=(width, 24)) as ui:
        await ui.press("p")
        await ui.until(lambda: "x where they disagree" in ui.lines[-1])
        await ui.press("x")
        await ui.until(lambda: "Enter goes to the tensor" in ui.lines[-1])
        assert all(f"{place} {name}" in ui.text for place, name in enumerate(PRESETS, 1))
        assert " ".join(map(str, range(1, len(PRESETS) + 1))) in ui.text


async def test_where_there_is_nothing_to_list_no_key_of_a_list_is_offered() -> None:
    agreed = model_of(param("w", (8, 8)), param("v", (8, 8)))
    async with running(make_app(agreed), size=(80, 24)) as ui:
        await ui.press("p")
        await ui.until(lambda: "all agree on what decays" in ui.text)
        assert "disagree" not in ui.lines[-1]
        await ui.press("x")
        assert "All recipes decay the same tensors" in ui.text
        await ui.press("escape", "d")
        assert ui.lines[-1].strip() == "Esc closes"
        assert not ui.app.screen.query_one(OptionList).display


# --- export ---------------------------------------------------------------------------------------------------------


async def test_every_form_of_the_export_is_shown(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.press("e")
        seen = set()
        for _ in EXPORTS:
            seen.add(next(spec.title for spec in EXPORTS.values() if spec.title in ui.text))
            await ui.press("right")
        assert seen == {spec.title for spec in EXPORTS.values()}
        await ui.press("left")
        assert isinstance(ui.app.screen, ExportScreen)


async def test_the_code_is_readable_to_the_end_of_its_lines_on_a_small_screen(model: Model) -> None:
    async with running(make_app(model), size=(60, 20)) as ui:
        await ui.press("e")
        screen = ui.app.screen
        assert isinstance(screen, ExportScreen)
        seen = ""
        for _ in range(40):
            seen += "".join(line[2:-3].rstrip() for line in ui.lines[3:14])
            screen.query_one(".dialog-body").scroll_relative(y=2, animate=False)
            await ui.settle()
        for line in screen._text.splitlines():
            assert line[-20:].replace(" ", "") in seen.replace(" ", ""), line


async def test_writing_asks_before_it_replaces(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text("precious")
    async with running(make_app(model)) as ui:
        await ui.press("e", "w")
        await ui.write("mine.py")
        await ui.press("enter")
        await ui.until(lambda: "mine.py is there already" in ui.text)
        assert path.read_text() == "precious"
        await ui.press("escape")
        assert "Nothing written" in ui.text
        assert path.read_text() == "precious"
        await ui.press("w")
        await ui.write("mine.py")
        await ui.press("enter")
        await ui.until(lambda: "is there already" in ui.text)
        await ui.write("other.py")
        await ui.press("enter")
        await ui.until(lambda: "Written: other.py" in ui.text)
        assert path.read_text() == "precious", "another name is another question"
        await ui.press("w")
        await ui.write("mine.py")
        await ui.press("enter")
        await ui.until(lambda: "is there already" in ui.text)
        await ui.press("enter")
        await ui.until(lambda: "Written: mine.py" in ui.text)
        assert path.read_text() == (tmp_path / "other.py").read_text()
        compile(path.read_text(), "mine.py", "exec")


async def test_each_form_s_own_name_is_offered_to_be_replaced_or_edited_and_the_foot_has_the_field_s_keys(
    model: Model,
) -> None:
    async with running(make_app(model)) as ui:
        await ui.press("e")
        foot = ui.lines[-1]
        for form in EXPORTS.values():
            await ui.press("w")
            assert ui.field.value == form.file
            assert "Enter writes   Esc cancels" in ui.lines[-1] and "copy" not in ui.lines[-1]
            await ui.type("x")
            assert ui.field.value == "x"
            await ui.press("escape", "w", "right", "x")
            assert ui.field.value == f"{form.file}x"
            await ui.press("escape")
            assert ui.lines[-1] == foot
            await ui.press("right")


async def test_where_two_forms_are_the_same_the_form_says_so(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.press("e")
        assert "PyTorch, two groups" in ui.text and "the same as" not in ui.text
        await ui.press("escape", "tab")
        await ui.write("bias, type:*Norm")
        await ui.press("enter", "escape", "e")
        assert "PyTorch, any number of groups" in ui.text
        await ui.press("left")
        assert "PyTorch, two groups · for these groups the same as torch-groups" in ui.text


async def test_the_question_names_what_a_link_leads_to(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "precious.txt").write_text("precious")
    (tmp_path / "mine.py").symlink_to("precious.txt")
    async with running(make_app(model)) as ui:
        await ui.press("e", "w")
        await ui.write("mine.py")
        await ui.press("enter")
        await ui.until(lambda: "mine.py is a link" in ui.text)
        screen = ui.app.screen
        assert isinstance(screen, ExportScreen)
        assert f"Enter again replaces {tmp_path.resolve()}/precious.txt," in str(screen._told.content)
        assert (tmp_path / "precious.txt").read_text() == "precious"


async def test_a_file_that_can_not_be_written_is_told(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    async with running(make_app(model)) as ui:
        await ui.press("e")
        for name, told in (
            ("groups.py", "can't be written"),
            (f"{tmp_path}/missing/groups.py", f"no directory {tmp_path}/missing: "),
            (f"{tmp_path}/{'x' * 300}", "can't be written"),
            ("~no such user/groups.py", "can't be written"),
        ):
            await ui.press("w")
            assert "Into a directory that is gone" in ui.text
            await ui.write(name)
            await ui.press("enter")
            await ui.until(lambda told=told: told in ui.text)
            await ui.press("escape")
        assert list(tmp_path.iterdir()) == []


async def test_copying_sends_the_whole_text_to_the_clipboard(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.press("e")
        while "toml" not in ui.text or "[[" not in ui.text:
            await ui.press("right")
        await ui.press("y")
        assert "clipboard" in ui.text
        assert tomllib.loads(ui.app.clipboard)


# --- help, palette, keys --------------------------------------------------------------------------------------------


async def test_the_help_derives_from_the_key_table(model: Model) -> None:
    async with running(make_app(model), size=(120, 160)) as ui:
        await ui.press("question_mark")
        for command in keymap.COMMANDS:
            assert any(command.shown in line and command.help in line for line in ui.lines), command.id
        for line in (*READING.splitlines(), *TERMS.splitlines()):
            assert line.rstrip() in ui.text


def test_the_help_has_every_kind_of_term_and_no_key_twice() -> None:
    kinds = {line.split()[0] for line in TERMS.splitlines()}
    assert {type(parse(kind).test) for kind in kinds if not kind.startswith("!")} == set(get_args(Test))
    shown = [command.shown for command in keymap.COMMANDS if command.where == "tree"]
    assert not [(a, b) for a in shown for b in shown if a != b and len(a) > 1 and a in b]


async def test_the_help_scrolls_to_its_end_on_a_small_screen(model: Model) -> None:
    async with running(make_app(model), size=(60, 20)) as ui:
        await ui.press("question_mark", "end")
        assert TERMS.splitlines()[-1].split()[-1] in ui.text


async def test_the_keys_of_a_dialog_stand_in_place_of_those_that_do_nothing_in_it(model: Model) -> None:
    async with running(make_app(model), size=(80, 24)) as ui:
        assert "Tab groups" in ui.lines[-1]
        await ui.press("w")
        assert "Esc closes" in ui.lines[-1]
        assert "Tab groups" not in ui.text


async def test_a_refusal_is_a_sentence(model: Model) -> None:
    async with running(make_app(model)) as ui:
        await ui.press("tab", "tab", "tab", "ctrl+r")
        (note,) = ui.app._notifications
        assert note.message == "The last group takes the rest and can't be removed."


async def test_the_palette_lists_the_table_and_runs_what_is_chosen(model: Model) -> None:
    app = make_app(model)
    async with running(app) as ui:
        listed = {entry.help for entry in app.get_system_commands(app.screen)}
        wanted = {c.shown for c in keymap.COMMANDS if c.id != "palette" and c.id not in keymap.MOVES}
        assert wanted <= listed
        assert not {c.shown for c in keymap.COMMANDS if c.id in keymap.MOVES} & listed
        await ui.press("ctrl+p")
        await ui.until(lambda: "Search" in ui.text)
        await ui.write("Largest first")
        await ui.until(lambda: "Largest first, the" in ui.text)
        await ui.press("down", "enter")
        await ui.until(lambda: "Params↓" in ui.text)


async def test_help_and_quit_are_on_the_keys_bar_at_any_width(model: Model) -> None:
    widths = (160, 120, 100, 80, 70, 60)
    async with running(make_app(model), size=(160, 24)) as ui:
        for width in widths:
            await ui.resize(width, 24)
            assert "? help" in ui.lines[-1]
            assert "q quit" in ui.lines[-1]
            assert cell_len(ui.lines[-1].rstrip()) <= width
        await ui.press("tab")
        for width in widths:
            await ui.resize(width, 24)
            assert "F1 help" in ui.lines[-1], "a letter would be typed"
            assert "Ctrl+Q quit" in ui.lines[-1]
            assert "Enter keep" in ui.lines[-1]
    async with running(make_app(target="slow"), size=(60, 24), wait=False) as ui:
        await ui.until(lambda: "importing torch" in ui.text)
        assert "? help" in ui.lines[-1]
        assert "q quit" in ui.lines[-1]
    async with running(make_app(target=""), size=(60, 24), wait=False) as ui:
        await ui.until(lambda: "gpt2" in ui.text)
        assert "F1 help" in ui.lines[-1]
        assert "Ctrl+Q quit" in ui.lines[-1]


# --- terminals without colours --------------------------------------------------------------------------------------


def plain(ui: Hands) -> list[str]:
    """The styles on the screen's first lines, colours left out."""
    lines = ui.app.screen._compositor.render_strips()
    return [
        " ".join(
            f"{segment.text!r}:{int(bool(segment.style and segment.style.reverse))}"
            f"{int(bool(segment.style and segment.style.underline))}"
            for segment in strip
        )
        for strip in lines
    ]


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "linux", "COLORTERM": ""}])
async def test_without_colours_the_cursor_the_field_and_the_choice_are_seen(
    model: Model, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with running(make_app(model)) as ui:
        before = plain(ui)
        await ui.press("down")
        changed = [line for line, now in enumerate(plain(ui)) if now != before[line]]
        assert {3, 4} <= set(changed), "the rows that the cursor left and reached look different"
        focus = plain(ui)
        await ui.press("tab")
        assert plain(ui) != focus, "the field that has the focus looks different"
        before = plain(ui)
        await ui.press("left")
        assert plain(ui) != before, "its cursor is seen"
    async with running(make_app(target=""), wait=False) as ui:
        await ui.until(lambda: "gpt2" in ui.text)
        before = plain(ui)
        await ui.press("down")
        assert len([line for line, now in enumerate(plain(ui)) if now != before[line]]) == 2


async def test_a_warning_is_told_by_a_sign_and_not_by_colour_alone() -> None:
    norm = ModuleClass("LayerNorm")
    model = model_of(param("a.scale", (8,), module_class=norm), param("b.bias", (8,)))
    async with running(make_app(model)) as ui:
        assert "⚠" in next(line for line in ui.lines if "a.scale" in line)
        assert "⚠" not in next(line for line in ui.lines if "b.bias" in line).split("▊")[0]


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_a_group_that_is_frozen_as_a_whole_is_held_and_not_trained(size: tuple[int, int]) -> None:
    rows = param("w", (2, 2)), param("x", (2, 2), requires_grad=False), param("b.bias", (2,), requires_grad=False)
    async with running(make_app(model_of(*rows)), size=size) as ui:
        await ui.until(lambda: "frozen" in ui.text)
        text = " ".join(ui.text.split())
        assert "1 tensor · 2 · 20.00 % all frozen" in text
        assert "8 B held" in text
        assert "1 frozen" in text
        assert text.count("to train") == 1
