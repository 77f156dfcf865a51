"""The parts of a model at a depth: together the whole, whatever the depth, the order of the names and the filter."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.arguments import PARTS_FORMATS, SORTS
from explorer.core import listing as core
from explorer.core.groups import Grouper, Grouping
from explorer.core.listing import FORMATS, Listing
from explorer.core.param import Model, Origin, Param

FILE = ["h.10.bias", "h.2.weight", "embed.weight", "h.10.weight", "scale", "head.norm.weight"]
"""Names as a file may list them: modules interleave, and numbers stand as texts."""


def listing(names: list[str], apart: frozenset[int] = frozenset(), **asked: Any) -> Listing:
    rows = [
        Param(
            index=index,
            name=name,
            shape=(index + 1,),
            numel=index + 1,
            dtype="float32" if index % 2 else "int64",
            nbytes=4 * (index + 1),
            device=None,
            requires_grad=index != 1,
            module_class=None,
            aliases=("tied.again",) if index == 2 else (),
            shard=None,
            apart="buffer" if index in apart else "",
        )
        for index, name in enumerate(names)
    ]
    model = Model.from_params(Origin("x", "safetensors", "a file"), rows)
    return Listing(model, Grouper(model).assign(Grouping.classic()), **asked)


def printed(form: str, *args: Any, **asked: Any) -> list[dict[str, str]]:
    text = "".join(FORMATS[form](listing(*args, **asked)))
    if form == "csv":
        return list(csv.DictReader(io.StringIO(text)))
    head, *lines = [line.split() for line in text.split("\n\n")[0].splitlines()]
    return [dict(zip(head, line, strict=True)) for line in lines]


def test_the_command_names_what_the_listing_takes() -> None:
    assert core.PARTS_FORMATS == PARTS_FORMATS
    assert set(core.Order.__args__) == set(SORTS)


NAMES = st.lists(
    st.lists(st.sampled_from(["a", "b", "0", "10", "2", ""]), min_size=1, max_size=4).map(".".join),
    unique=True,
    max_size=12,
)


@given(NAMES, st.integers(1, 5), st.sampled_from(["", "a", "0"]), st.sets(st.integers(0, 11)))
def test_every_tensor_is_in_one_row_at_every_depth(names: list[str], depth: int, text: str, apart: set[int]) -> None:
    found = listing(names, frozenset(apart), depth=depth, filter=text)
    assert sorted(row for part in found.parts for row in part.rows) == [
        index for index, name in enumerate(names) if text in name
    ]
    for part in found.parts:
        assert len(part.name.split(".")) <= depth
        for row in part.rows:
            assert names[row] == part.name or names[row].startswith(f"{part.name}.")
    assert found.parts == sorted(found.parts, key=lambda part: part.rows[0]), "the model's order"


@pytest.mark.parametrize("depth", [1, 2, 9])
def test_each_column_of_sums_adds_up_to_the_model(depth: int) -> None:
    rows = printed("csv", FILE, frozenset({4}), depth=depth)
    assert sum(int(row["tensors"]) for row in rows) == 6
    assert sum(int(row["parameters"]) for row in rows) == 21 - 5, "what is no parameter is none of the model's"
    assert sum(int(row["nbytes"]) for row in rows) == 4 * 21
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1)


def test_a_row_joins_what_differs_within_it() -> None:
    rows = {row["name"]: row for row in printed("table", FILE, frozenset({4}), depth=1)}
    assert list(rows) == ["h", "embed", "scale", "head"]
    assert rows["h"] == {
        **{"name": "h", "tensors": "3", "parameters": "7", "nbytes": "28", "share": "43.75%"},
        **{"dtype": "int64+float32", "requires_grad": "True+False", "group": "no_decay+decay"},
    }
    assert rows["scale"]["group"] == "(buffer)"


def test_a_filter_leaves_sums_of_what_it_leaves_and_shares_of_the_whole() -> None:
    rows = printed("csv", FILE, depth=1, filter="h.10")
    assert [(row["name"], row["parameters"], row["share"]) for row in rows] == [("h", "5", str(5 / 21))]


@pytest.mark.parametrize("form", ["table", "csv"])
def test_sorted_rows_keep_the_models_running_total(form: str) -> None:
    rows = printed(form, FILE, order="size")
    assert [row["index"] for row in rows] == ["5", "4", "3", "2", "1", "0"]
    assert [row["running"] for row in rows] == ["21", "15", "10", "6", "3", "1"]
    assert [row["name"] for row in printed(form, FILE, order="name")] == sorted(FILE)


def test_the_json_has_the_modules_that_are_asked_for_and_the_parameters_of_these() -> None:
    found = json.loads("".join(FORMATS["json"](listing(FILE, frozenset({4}), order="size", top=1, depth=1))))
    assert [row["name"] for row in found["parameters"]] == [name for name in FILE if name.startswith("h.")]
    assert found["modules"] == [
        {
            **{"name": "h", "tensors": 3, "parameters": 7, "nbytes": 28},
            **{"dtypes": ["int64", "float32"], "requires_grad": [True, False], "groups": ["no_decay", "decay"]},
        }
    ]
    found = json.loads("".join(FORMATS["json"](listing(FILE, order="size", top=2))))
    assert [row["index"] for row in found["parameters"]] == [5, 4]
    assert "modules" not in found


def test_the_first_rows_are_those_of_the_order_that_the_filter_leaves() -> None:
    assert [row["index"] for row in printed("csv", FILE, order="size", top=2, filter="h.")] == ["3", "1"]
    assert [row["name"] for row in printed("csv", FILE, order="size", top=2, depth=1)] == ["h", "head"]
    assert len(printed("csv", FILE, top=99)) == 6


def test_the_table_says_of_which_rows_it_speaks() -> None:
    text = "".join(FORMATS["table"](listing(FILE, order="size", top=2, filter="h.")))
    assert (
        "\n2 of 6 tensors · 6 of 21 parameters · 24 B of 84 B · names with 'h.', the first 2 by size; running" in text
    )
    text = "".join(FORMATS["table"](listing(FILE, top=1, depth=1)))
    assert "\n3 of 6 tensors · 7 of 21 parameters · 28 B of 84 B · the first 1; shares are of the whole\n" in text
