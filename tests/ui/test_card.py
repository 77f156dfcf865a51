"""The model's card and the roles in the detail: what stands there, at which sizes, and what typing finds."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fakes import make_app, running
from tables import model_of, param

from explorer.core.param import Model
from explorer.ui.screens.card import CardScreen
from explorer.ui.widgets.bars import DetailBar


async def opened(ui) -> None:
    await ui.press("i")
    assert isinstance(ui.app.screen, CardScreen)
    await ui.until(lambda: ui.app.screen._sums is not None)


async def through(ui) -> str:
    """All that the card says, from its first line to its last."""
    seen = [ui.text]
    for _ in range(60):
        await ui.press("pagedown")
        if ui.text == seen[-1]:
            return "\n".join(seen)
        seen.append(ui.text)
    raise AssertionError("the card never ends")


async def test_the_card_tells_the_architecture_in_the_configurations_own_names(roberta: Model) -> None:
    async with running(make_app(roberta), size=(120, 40)) as ui:
        await opened(ui)
        for words in (
            ("d_k = d_model / heads", "64", "hidden_size / num_attention_heads"),
            ("layers", "12", "num_hidden_layers"),
            ("vocabulary", "50,265", "vocab_size"),
            ("context", "512", "max_position_embeddings - 2 reserved"),
        ):
            assert any(all(word in line for word in words) for line in ui.lines), words


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (160, 45)])
async def test_the_percentages_on_the_card_add_up(roberta: Model, size: tuple[int, int]) -> None:
    async with running(make_app(roberta), size=size) as ui:
        await opened(ui)
        text = await through(ui)
        found = re.findall(r"(embeddings|attention|MLP|norms|heads) +[█▏▎▍▌▋▊▉]+ +([\d.]+) %", text)
        shares = {part: float(percent) for part, percent in found}
        assert len(shares) == 5
        assert round(sum(shares.values()), 2) == 100


async def test_the_card_says_why_counters_differ(roberta: Model) -> None:
    async with running(make_app(roberta), size=(120, 40)) as ui:
        await opened(ui)
        text = await through(ui)
        assert "163,351,218" in text
        assert "+38,653,785 for 2 tied names" in text


async def test_what_is_typed_searches_keys_and_values(roberta: Model) -> None:
    async with running(make_app(roberta), size=(80, 24)) as ui:
        await opened(ui)
        await ui.type("HEADS")
        assert "num_attention_heads" in ui.text
        assert "Architecture" not in ui.text
        await ui.write("gelu")
        assert "hidden_act" in ui.text
        await ui.write("no such thing")
        assert "Nothing in the configuration contains this" in ui.text


async def test_esc_clears_the_search_and_then_closes(roberta: Model) -> None:
    async with running(make_app(roberta)) as ui:
        await opened(ui)
        assert "Esc closes" in ui.text
        await ui.type("q")  # a letter as any other here
        assert "Esc clears the search" in ui.text
        assert "Esc closes" not in ui.text
        await ui.press("escape")
        assert isinstance(ui.app.screen, CardScreen)
        assert "Architecture" in ui.text
        await ui.press("escape")
        assert ui.app.screen is ui.model_screen


async def test_a_file_of_tensors_has_a_card_that_claims_nothing() -> None:
    async with running(make_app(model_of("encoder.layer.0.query.weight"))) as ui:
        await opened(ui)
        assert "names alone do not prove a role" in ui.text
        assert "There is no configuration here." in ui.text
        assert "%" not in "".join(line for line in ui.lines if line.startswith("│"))


async def test_a_strangers_configuration_is_never_markup(roberta: Model) -> None:
    config = {"[red]key[/red]": "[/nope]", "hidden_size": 8, "[@click=app.quit]": ["[bold]"]}
    async with running(make_app(replace(roberta, origin=replace(roberta.origin, config=config)))) as ui:
        await opened(ui)
        for text in ("[red]key[/red]", "[/nope]", "[@click=app.quit]"):
            assert text in ui.text


async def test_the_detail_tells_role_and_formula_where_there_is_room(roberta: Model) -> None:
    async with running(make_app(roberta), size=(160, 45)) as ui:
        await ui.go("roberta.embeddings.word_embeddings.weight")
        name = next(line for line in ui.lines if line.startswith(" roberta.embeddings.word_embeddings.weight"))
        assert name.rstrip().endswith("  token embedding: 50,265 tokens × 768")
        assert "50265 × 768 = vocab_size × hidden_size = 38,603,520  " in ui.text


async def test_a_parameters_detail_takes_a_fourth_line_only_where_the_tree_keeps_eight(roberta: Model) -> None:
    async with running(make_app(roberta), size=(80, 24)) as ui:
        await ui.press("asterisk")
        view = ui.tree.view
        leaves = [row for row in range(len(view.rows)) if view.tree.params[view.rows.nodes[row]] >= 0]
        for row in leaves[:24] + leaves[-5:]:
            ui.tree._move(row)
            await ui.settle()
            assert ui.model_screen.query_one("#detail").size.height in (3, 4), ui.path
            assert ui.tree.size.height >= 8, ui.path
        await ui.go("roberta.embeddings.word_embeddings.weight")
        assert "token embedding: 50,265 tokens × 768 · tied to lm_head.decoder.weight" in ui.text


async def test_the_detail_says_nothing_of_a_parameter_whose_role_is_not_proven(model: Model) -> None:
    async with running(make_app(model), size=(160, 45)) as ui:
        await ui.go("roberta.embeddings.word_embeddings.weight")
        assert "token embedding" not in ui.text


@pytest.mark.parametrize("size", [(80, 24), (60, 20)])
async def test_a_long_target_is_cut_in_its_middle_and_not_left_out(roberta: Model, size: tuple[int, int]) -> None:
    origin = replace(roberta.origin, target="/a/long/way/down/many/folders/" * 3 + "final-model")
    async with running(make_app(replace(roberta, origin=origin)), size=size) as ui:
        await opened(ui)
        line = next(line for line in ui.lines if "Model  Roberta" in line)
        assert "final-model" in line
        assert "…" in line


@pytest.fixture(scope="module")
def t5() -> Model:
    """A skeleton whose first tensor has a long role, a formula, ties and a reason."""
    pytest.importorskip("transformers")
    from explorer.core.loading import OpenSpec
    from explorer.sources import open_served

    return open_served(OpenSpec("t5-small", offline=True), lambda stage: None).model


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (110, 30)])
async def test_below_the_tree_nothing_that_no_column_shows_goes_without_a_sign(
    t5: Model, size: tuple[int, int]
) -> None:
    from explorer.core.roles import Roles

    roles = Roles(t5)
    async with running(make_app(t5), size) as ui:
        bench = ui.model_screen.bench
        assert bench is not None
        await ui.go("encoder")
        await ui.press("asterisk")
        for name in (
            "shared.weight",
            "encoder.final_layer_norm.weight",
        ):
            await ui.go(name)
            detail = ui.app.screen.query_one(DetailBar)
            # What the screen shows, line by line: a word may be the last of one line.
            region = detail.region
            shown = " ".join(" ".join(ui.lines[region.y : region.bottom]).split())
            index = list(t5.names).index(name)
            role = roles[index]
            assert role is not None
            facts = [role.formula or "", bench.assignment.reasons(index).text]
            missing = [fact for fact in facts if fact not in shown]
            assert not missing or shown.endswith("…"), (name, missing)
            if size != (60, 20):
                assert not missing, name
            assert ui.tree.size.height >= (8 if size[1] > 20 else 5)
            assert not re.search(r" (\d+) = \1\b", shown)


async def test_an_adapter_has_a_card_of_its_own() -> None:
    pair = (param("q.lora_A.weight", (4, 64)), param("q.lora_B.weight", (32, 4)))
    async with running(make_app(model_of(*pair))) as ui:
        await opened(ui)
        assert "LoRA adapter" in ui.text
        assert any(line.split()[1:] == ["rank", "4", "rows", "of", "A", "│"] for line in ui.lines)
