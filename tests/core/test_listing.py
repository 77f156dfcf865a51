"""What is printed adds up, holds every fact, and stays parseable whatever a model holds."""

from __future__ import annotations

import csv
import io
import json
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tables import param

from explorer.arguments import FIGURE_SORTS, LISTING_FORMATS, STATS_FORMATS
from explorer.core.groups import Grouper, Grouping
from explorer.core.listing import FORMATS, Listing
from explorer.core.listing.table import COLUMNS
from explorer.core.param import Counters, Finding, Model, ModuleClass, Origin, Param, Place
from explorer.core.stats_text import FORMATS as STATISTICS
from explorer.core.sweep import ORDERS

LINEAR = ModuleClass("Linear")
NORM = ModuleClass("LayerNorm")


def tensor(index: int, name: str, shape: tuple[int, ...] | None, module: ModuleClass | None, **other: Any) -> Param:
    return param(name, shape, index=index, module_class=module, **other)


ROWS = [
    tensor(
        0,
        "embed.weight",
        (50, 8),
        ModuleClass("Embedding"),
        aliases=("head.weight", "head.again"),
        place=Place(("Net",)),
    ),
    tensor(1, "layer.0.weight", (8, 8), LINEAR),
    tensor(2, "layer.0.bias", (8,), LINEAR, requires_grad=False),
    tensor(3, "layer.0.LayerNorm.weight", (8,), NORM, dtype="bfloat16", nbytes=16),
    tensor(4, "scale", (), ModuleClass("Net"), device="cuda:0"),
]
COUNTERS = Counters(
    loop=481,
    num_parameters=481,
    without_embeddings=81,
    trainable=473,
    state_dict_tensors=8,
    state_dict_elements=1285,
    buffer_tensors=2,
    buffer_elements=7,
)
ORIGIN = Origin(
    "tiny",
    "transformers",
    "built-in architecture, no weights",
    "Net",
    "net",
    {"sizes": [8, 50]},
    {"torch": "2.13.0"},
)
FINDING = Finding("norm-decays", "warning", "1 norm weight decays", ("layer.0.LayerNorm.weight",))

UNKNOWN = [tensor(0, "a", None, None, dtype=None, nbytes=None, device=None, requires_grad=None), ROWS[1]]


def listing(
    rows: list[Param] = ROWS,
    counters: Counters | None = COUNTERS,
    origin: Origin = ORIGIN,
    text: str = "",
) -> Listing:
    model = Model.from_params(origin, rows, counters)
    return Listing(model, Grouper(model).assign(Grouping.classic()), (FINDING,), text)


def printed(form: str, *args: Any, **kwargs: Any) -> str:
    return "".join(FORMATS[form](listing(*args, **kwargs)))


def test_the_command_names_every_format() -> None:
    assert tuple(FORMATS) == LISTING_FORMATS
    assert tuple(STATISTICS) == STATS_FORMATS
    assert ("", *FIGURE_SORTS) == ORDERS


# --- loop


def test_the_loop_prints_index_dimensions_numel_and_at_last_the_sum() -> None:
    assert printed("loop").splitlines() == [
        "0 50 8 400",
        "1 8 8 64",
        "2 8 8",
        "3 8 8",
        "4 1",
        "481",
    ]


def test_the_loops_last_line_is_the_sum_of_the_lines_it_prints() -> None:
    *rows, total = printed("loop", text="layer.0").splitlines()
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    assert int(total) == sum(int(row.split()[-1]) for row in rows) == 80


def test_the_loop_over_nothing_sums_to_zero() -> None:
    assert printed("loop", rows=[]) == "0\n"


# --- table


def cells(form_text: str) -> list[list[str]]:
    return [line.split() for line in form_text.split("\n\n", maxsplit=1)[0].splitlines()]


def test_the_table_has_a_row_for_every_parameter_under_one_header() -> None:
    header, *rows = cells(printed("table"))
    assert header == list(COLUMNS)
    assert rows[0] == ["0", "embed.weight", "50x8", "400", "400", "float32", "meta", "True", "decay"]
    assert rows[2] == ["2", "layer.0.bias", "8", "8", "472", "float32", "meta", "False", "no_decay"]
    assert rows[4] == ["4", "scale", "scalar", "1", "481", "float32", "cuda:0", "True", "decay"]
    assert len(rows) == 5


def test_the_tables_columns_sum_to_what_is_below_them() -> None:
    text = printed("table")
    _, *rows = cells(text)
    assert sum(int(row[3]) for row in rows) == int(rows[-1][4]) == 481
    assert "5 tensors · 481 parameters · 1.86 KiB · 473 trainable\n" in text


def test_the_tables_columns_are_aligned() -> None:
    header, *rows = printed("table").split("\n\n")[0].splitlines()
    for column in ("name", "shape", "dtype", "device", "requires_grad", "group"):
        at = header.index(column)
        assert all(row[at - 2 : at] == "  " and row[at] != " " for row in rows), column
    for column in ("index", "numel", "running"):
        end = header.index(column) + len(column)
        assert all(row[end - 1].isdigit() and row[end] == " " for row in rows), column


@pytest.mark.parametrize(("name", "more"), [("重み", 2), ("ascii", 0), ("größe", 0), ("e\u0301tude", -1)])
def test_wide_and_combining_characters_keep_the_columns_aligned(name: str, more: int) -> None:
    """`more`: the columns that the name takes beyond its number of characters."""
    rows = [tensor(0, name, (8,), LINEAR), tensor(1, "plain", (8,), LINEAR)]
    _, row, plain = printed("table", rows).splitlines()[:3]
    assert row.index(" 8 ") + more == plain.index(" 8 ")


def test_a_long_name_is_whole_and_does_not_widen_the_others() -> None:
    rows = [tensor(0, "x" * 5000, (8,), LINEAR), tensor(1, "plain", (8,), LINEAR)]
    _, long, plain = printed("table", rows).splitlines()[:3]
    assert "x" * 5000 in long
    assert len(plain) < 300


def test_what_is_unknown_is_a_dash_in_the_table() -> None:
    text = printed("table", UNKNOWN, counters=None)
    assert cells(text)[1] == ["0", "a", "–", "0", "0", "–", "–", "–", "decay"]
    assert "trainable\n" not in text


def test_of_a_file_without_tensors_nothing_is_known_to_train() -> None:
    assert "0 tensors · 0 parameters · 0 B\n" in printed("table", [], None)
    built = Counters(loop=0, trainable=0)
    assert "0 tensors · 0 parameters · 0 B · 0 trainable\n" in printed("table", [], built)


def test_a_filter_leaves_rows_out_and_keeps_their_running_total() -> None:
    text = printed("table", text="layer.0")
    _, *rows = cells(text)
    assert [row[4] for row in rows] == ["464", "472", "480"]
    assert "3 of 5 tensors · 80 of 481 parameters · 304 B of 1.86 KiB" in text
    assert "'layer.0'" in text


def test_a_filter_is_a_literal_part_of_the_name() -> None:
    assert len(cells(printed("table", text="layer.0"))) == 4
    assert len(cells(printed("table", text="layer?0"))) == 1
    assert len(cells(printed("table", text="Layer.0"))) == 1


def test_the_table_says_what_was_opened() -> None:
    assert "tiny · Net · built-in architecture, no weights\n" in printed("table")


@pytest.mark.parametrize(
    ("counters", "line"),
    [
        (COUNTERS, "✔ equals the counting loop\n"),
        (Counters(loop=482), "✘ the counting loop gives 482, these rows 481\n"),
        (Counters(loop=481, num_parameters=500), "✔ equals the counting loop; num_parameters() gives 500\n"),
        (None, "no counting loop to compare with\n"),
    ],
)
def test_the_table_tells_whether_it_equals_the_counting_loop(counters: Counters | None, line: str) -> None:
    assert line in printed("table", counters=counters)


def test_other_counts_differ_by_the_numbers_that_explain_them() -> None:
    lines = {" ".join(line.split()) for line in printed("table").splitlines()}
    assert "without embeddings 81 leaves out 400 in embedding tables" in lines
    assert "trainable only 473 8 frozen (requires_grad is False)" in lines
    # 1285 = 481 + 400 twice for the tied names + 4 saved of 7 in buffers
    assert "state_dict() 1,285 8 tensors +800 for 2 tied names, counted again; +4 in saved buffers" in lines
    assert "buffers 7 2 tensors state, not parameters: the loop leaves them out" in lines


def test_groups_and_findings_stand_below_the_table() -> None:
    lines = {" ".join(line.split()) for line in printed("table").splitlines()}
    assert "no_decay 16 2 tensors 3.33 % weight_decay=0.0" in lines
    assert "decay 465 3 tensors 96.67 % weight_decay=0.1" in lines
    assert "warning norm-decays 1 norm weight decays layer.0.LayerNorm.weight" in lines


def test_a_note_stands_once_below_the_table_with_how_many_bear_it() -> None:
    rows = [tensor(i, f"w{i}", (2,), LINEAR, notes="packed" if i < 5 else f"odd {i}") for i in range(20)]
    below = printed("table", rows).partition("Notes\n")[2].partition("\n\n")[0].splitlines()
    assert [" ".join(line.split()) for line in (*below[:2], below[-1])] == [
        "5 tensors packed w0, w1, w2 and 2 more",
        "1 tensor odd 5 w5",
        "4 tensors 4 other notes: --print json has them all",
    ]


def test_a_finding_below_the_table_names_a_few_and_counts_the_rest() -> None:
    many = Finding("x", "hint", "said", tuple("abcde"))
    few = Finding("y", "hint", "said", tuple("abc"))
    model = Model.from_params(ORIGIN, ROWS, COUNTERS)
    shown = Listing(model, Grouper(model).assign(Grouping.classic()), (many, few))
    lines = [" ".join(line.split()) for line in "".join(FORMATS["table"](shown)).splitlines()]
    assert lines[-2:] == ["hint x said a, b, c and 2 more", "hint y said a, b, c"]


# --- json


def test_a_files_own_names_are_its_state_dict_in_json() -> None:
    shown = listing(counters=None)
    shown = replace(shown, model=replace(shown.model, state=(7, 1281)))
    sums = strict_json("".join(FORMATS["json"](shown)))["totals"]
    assert (sums["state_dict_tensors"], sums["state_dict_elements"]) == (7, 1281)
    assert "+800 for 2 tied names, counted again" in "".join(FORMATS["table"](shown))


def strict_json(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_json_contract_has_these_keys_in_this_order() -> None:
    data = strict_json(printed("json"))
    assert data["format"] == 1
    assert list(data) == ["format", "model", "parameters", "totals", "groups", "findings"]
    assert list(data["model"]) == [
        "target",
        "kind",
        "class",
        "model_type",
        "origin",
        "config",
        "versions",
        "remembered",
    ]
    assert {tuple(row) for row in data["parameters"]} == {
        (
            "index",
            "name",
            "shape",
            "numel",
            "dtype",
            "nbytes",
            "device",
            "requires_grad",
            "module_class",
            "aliases",
            "running",
            "group",
            "shard",
            "notes",
            "role",
            "formula",
        )
    }
    assert list(data["totals"]) == [
        "tensors",
        "parameters",
        "nbytes",
        "trainable",
        "state_dict_tensors",
        "state_dict_elements",
        "without_embeddings",
    ]
    keys = ("name", "terms", "options", "tensors", "parameters", "frozen")
    assert {tuple(group) for group in data["groups"]} == {keys}
    assert {tuple(finding) for finding in data["findings"]} == {("id", "severity", "message", "names")}


def test_the_json_holds_the_facts() -> None:
    data = strict_json(printed("json"))
    assert data["model"] == {
        "target": "tiny",
        "kind": "transformers",
        "class": "Net",
        "model_type": "net",
        "origin": "built-in architecture, no weights",
        "config": {"sizes": [8, 50]},
        "versions": {"torch": "2.13.0"},
        "remembered": False,
    }
    assert data["parameters"][0] == {
        "index": 0,
        "name": "embed.weight",
        "shape": [50, 8],
        "numel": 400,
        "dtype": "float32",
        "nbytes": 1600,
        "device": "meta",
        "requires_grad": True,
        "module_class": "Embedding",
        "aliases": ["head.weight", "head.again"],
        "running": 400,
        "group": "decay",
        "shard": None,
        "notes": None,
        "role": "embedding table: 50 rows × 8, tied to head, head.again",
        "formula": None,
    }
    assert data["parameters"][4]["shape"] == []
    assert data["totals"] == {
        "tensors": 5,
        "parameters": 481,
        "nbytes": 1908,
        "trainable": 473,
        "state_dict_tensors": 8,
        "state_dict_elements": 1285,
        "without_embeddings": 81,
    }
    assert data["groups"] == [
        {
            "name": "no_decay",
            "terms": ["bias", "LayerNorm.weight"],
            "options": {"weight_decay": 0.0},
            "tensors": 2,
            "parameters": 16,
            "frozen": {"tensors": 1, "parameters": 8},
        },
        {
            "name": "decay",
            "terms": [],
            "options": {"weight_decay": 0.1},
            "tensors": 3,
            "parameters": 465,
            "frozen": {"tensors": 0, "parameters": 0},
        },
    ]
    assert data["findings"] == [
        {
            "id": "norm-decays",
            "severity": "warning",
            "message": "1 norm weight decays",
            "names": ["layer.0.LayerNorm.weight"],
        }
    ]


def test_what_is_unknown_is_null_in_json() -> None:
    data = strict_json(printed("json", UNKNOWN, counters=None, origin=Origin("f", "safetensors", "a file")))
    unknown = data["parameters"][0]
    assert [key for key, value in unknown.items() if value is None] == [
        "shape",
        "dtype",
        "nbytes",
        "device",
        "requires_grad",
        "module_class",
        "shard",
        "notes",
        "role",
        "formula",
    ]
    assert [key for key, value in data["totals"].items() if value is None] == [
        "nbytes",
        "trainable",
        "state_dict_tensors",
        "state_dict_elements",
        "without_embeddings",
    ]
    assert [data["model"][key] for key in ("class", "model_type", "config")] == [None, None, None]


def test_floats_that_json_lacks_are_told_as_text() -> None:
    config = {"time_step_limit": (0.0, float("inf")), "deep": {"x": [float("nan"), float("-inf")]}}
    data = strict_json(printed("json", origin=Origin("t", "transformers", "", config=config)))
    assert data["model"]["config"] == {"time_step_limit": [0.0, "Infinity"], "deep": {"x": ["NaN", "-Infinity"]}}


def test_the_json_is_ascii_and_one_parameter_a_line() -> None:
    text = printed("json", [tensor(0, "größe.重み", (1,), LINEAR), ROWS[1]])
    assert text.isascii()
    assert strict_json(text)["parameters"][0]["name"] == "größe.重み"
    assert sum(line.lstrip().startswith('{"index"') for line in text.splitlines()) == 2


def test_a_filter_limits_the_parameters_and_not_the_sums_in_json() -> None:
    whole, part = strict_json(printed("json")), strict_json(printed("json", text="bias"))
    assert part["parameters"] == [whole["parameters"][2]]
    assert part["totals"] == whole["totals"]
    assert part["groups"] == whole["groups"]


def test_a_model_without_parameters_is_valid_json() -> None:
    data = strict_json(printed("json", [], counters=None))
    assert data["parameters"] == []
    assert data["totals"]["parameters"] == 0


# --- csv


def test_the_csv_has_the_tables_columns_and_four_more() -> None:
    header, *rows = csv.reader(io.StringIO(printed("csv")))
    assert header == [*COLUMNS, "module_class", "aliases", "shard", "notes"]
    assert [row[:9] for row in rows] == cells(printed("table"))[1:]
    assert rows[0][9:] == ["Embedding", "head.weight head.again", "", ""]


def test_what_is_unknown_is_empty_in_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(printed("csv", UNKNOWN, counters=None))))
    empty = [name for name, cell in rows[0].items() if not cell]
    assert empty == ["shape", "dtype", "device", "requires_grad", "module_class", "aliases", "shard", "notes"]


@pytest.mark.parametrize("name", ['a,b"c', "=1+1", "-x", "@sum", " spaced ", ""])
def test_a_name_comes_back_from_csv_as_it_was(name: str) -> None:
    (row,) = csv.DictReader(io.StringIO(printed("csv", [tensor(0, name, (1,), LINEAR)])))
    assert row["name"] == name


# --- size


def test_every_row_of_a_large_model_is_printed_in_pieces() -> None:
    rows = [tensor(index, f"layers.{index}.weight", (2, 2), LINEAR) for index in range(2500)]
    large = listing(rows, counters=None)
    for form, write in FORMATS.items():
        pieces = list(write(large))
        text = "".join(pieces)
        assert text.count("layers." if form != "loop" else " 2 2 4\n") == 2500, form
        assert max(map(len, pieces)) < len(text) / 2, form
    assert len(strict_json("".join(FORMATS["json"](large)))["parameters"]) == 2500
    assert len(list(csv.reader(io.StringIO("".join(FORMATS["csv"](large)))))) == 2501


def test_time_grows_with_the_rows_and_no_faster(seconds: Callable[[Callable[[], object]], float]) -> None:
    def printed_in(rows: int, form: str) -> float:
        large = listing([tensor(index, f"layers.{index}.w", (2,), LINEAR) for index in range(rows)], counters=None)
        return seconds(lambda: deque(FORMATS[form](large), maxlen=0))

    for form in FORMATS:
        # Quadratic work would take 100 times as long; processor time of a shared machine is far from 40.
        assert any(printed_in(20_000, form) < 40 * printed_in(2_000, form) for _ in range(3)), form
