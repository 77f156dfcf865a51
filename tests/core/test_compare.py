"""Two tables side by side: what is told to differ, how names find each other, and what scripts get."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.core.compare import KINDS, Values
from explorer.core.compare_asking import BUFFERS
from explorer.core.compare_files import Held
from explorer.core.compare_runs import folded, spanned, together
from explorer.core.compare_text import FORMATS, difference_text, matching
from explorer.core.compare_values import GIVE_UP, compare_values
from explorer.core.errors import ParamxError
from explorer.core.groups import Grouping
from explorer.core.loading import OpenSpec
from explorer.core.matching import align
from explorer.core.pairing import compare
from explorer.core.param import Column, Counters, Finding, Param

CLASSIC = Grouping.classic()


@pytest.fixture
def pair(table):
    """A small model, and another that differs from it in every way that needs no values."""
    a = table([("a.weight", (4, 4), None), ("b.weight", (4,), None), ("c.weight", (4, 4), None), ("d", (1,), None)])
    b = table(
        [
            ("a.weight", (4, 4), None),
            ("b.weight", (5,), None),
            ("c.weight", (4, 4), None),
            ("e.bias", (3,), None),
            ("f", (2,), None),
        ],
    )
    return a, replace(b, dtypes=Column.of(["float32", "float32", "float16", "float32", "float32"]))


def told(comparison):
    return {pair.name: pair.kinds for pair in comparison.differences}


# --- differences ----------------------------------------------------------------------------------------------------


def test_each_way_to_differ_is_told(pair):
    comparison = compare(*pair, CLASSIC)
    assert told(comparison) == {
        "b.weight": ("shape",),
        "c.weight": ("dtype",),
        "d": ("only_a",),
        "e.bias": ("only_b",),
        "f": ("only_b",),
    }
    assert comparison.counts == {
        "only_a": 1,
        "only_b": 2,
        "tied": 0,
        "shape": 1,
        "dtype": 1,
        "group": 0,
        "values": 0,
        "unread": 0,
    }
    assert not comparison.equal


def test_a_model_equals_itself(tiny):
    comparison = compare(tiny, tiny, CLASSIC)
    assert comparison.equal
    assert list(comparison.differences) == []
    assert len(comparison.pairs) == len(tiny)


def test_exchanging_the_sides_exchanges_what_only_one_has(pair):
    a, b = pair
    there, back = compare(a, b, CLASSIC), compare(b, a, CLASSIC)
    swapped = {"only_a": "only_b", "only_b": "only_a"}
    assert told(back) == {
        name: tuple(swapped.get(kind, kind) for kind in kinds) for name, kinds in told(there).items()
    }


def test_both_sides_are_grouped_by_the_same_rules(table):
    grouping = Grouping.classic(["ndim<2"])
    a, b = table([("x", (4,), None)]), table([("x", (4, 1), None)])
    assert told(compare(a, b, grouping)) == {"x": ("shape", "group")}
    assert told(compare(a, b, CLASSIC)) == {"x": ("shape",)}


def test_what_is_no_parameter_has_no_group_and_differs_in_none(table):
    plain = table([("mean", (4,), None), ("state", (4,), None), ("w", (4, 4), None)])
    apart = replace(
        plain, apart={0: "buffer", 1: "optimizer state"}, dtypes=Column.of(["float32", "float16", "float32"])
    )
    comparison = compare(plain, apart, CLASSIC)
    assert comparison.groups_a == ["decay"] * 3
    assert comparison.groups_b == [None, None, "decay"]
    assert told(comparison) == {"state": ("dtype",)}
    (row,) = json.loads("".join(FORMATS["json"](comparison)))["compare"]["differences"]
    assert (row["a"]["group"], row["b"]["group"]) == ("decay", None)
    (line,) = csv.DictReader(io.StringIO("".join(FORMATS["csv"](comparison))))
    assert (line["group_a"], line["group_b"]) == ("decay", "")
    assert [comparison.facts(pair, False).group_text for pair in comparison.pairs] == [
        "(buffer)",
        "(optimizer state)",
        "decay",
    ]


def test_a_part_that_is_no_parameter_has_no_group_either(table):
    experts = [(f"mlp.experts.{i}.down_proj.weight", (2, 3), None) for i in range(2)]
    apart = replace(table(experts), apart={1: "buffer"})
    comparison = compare(apart, table([("mlp.experts.down_proj", (2, 2, 3), None)]), CLASSIC)
    pairs = [(pair.kinds, comparison.facts(pair, True)) for pair in comparison.pairs if pair.fused is not None]
    assert [(kinds, facts.group, facts.apart) for kinds, facts in pairs] == [((), None, "buffer")]


def test_a_name_that_is_another_name_of_a_tied_tensor_is_no_missing_one(table):
    tied = table([("wte", (4, 4), None)], aliases={"wte": ("head",)})
    apart = table([("wte", (4, 4), None), ("head", (4, 4), None)])
    for comparison in (compare(tied, apart, CLASSIC), compare(apart, tied, CLASSIC)):
        assert told(comparison) == {"head": ("tied",)}
        (found,) = comparison.differences
        assert comparison.a.names[found.a] == ("wte" if comparison.a is tied else "head")


def test_a_format_that_records_no_ties_differs_in_none(table):
    """A distributed checkpoint has a tied tensor once for each name: whether these are equal only values tell."""
    tied = table([("wte", (4, 4), None)], aliases={"wte": ("head",)})
    apart = table([("wte", (4, 4), None), ("head", (4, 4), None)])
    apart = replace(apart, origin=replace(apart.origin, kind="dcp"))
    for letter, comparison in (("B", compare(tied, apart, CLASSIC)), ("A", compare(apart, tied, CLASSIC))):
        assert comparison.equal and len(comparison.comparable) == 2
        other = "BA"["AB".index(letter)]
        line = f"tied in {other}, stored again in {letter}, whose format records no ties: 1 tensor"
        assert list(matching(comparison)) == [line]
        found = json.loads("".join(FORMATS["json"](comparison)))["compare"]
        assert found["stored_again"] == {"head": letter.lower()}


def test_every_name_is_in_one_pair(pair):
    comparison = compare(*pair, CLASSIC)
    assert sorted(p.a for p in comparison.pairs if p.a is not None) == list(range(len(pair[0])))
    assert sorted(p.b for p in comparison.pairs if p.b is not None) == list(range(len(pair[1])))


# --- names ----------------------------------------------------------------------------------------------------------

BODY = ["embed.weight", "layer.0.weight", "layer.1.weight"]


@pytest.mark.parametrize(
    ("a", "b", "prefixes"),
    [
        (BODY, BODY, ("", "")),
        ([f"model.{name}" for name in BODY], BODY, ("model.", "")),
        (BODY, [f"module.{name}" for name in BODY], ("", "module.")),
        ([*(f"bert.{name}" for name in BODY), "head.bias"], BODY, ("bert.", "")),
        ([f"base_model.model.model.{name}" for name in BODY], [f"model.{name}" for name in BODY],
         ("base_model.model.", "")),
        ([f"gpt.{name}" for name in BODY], [f"llm.{name}" for name in BODY], ("gpt.", "llm.")),
        ([f"model.{name}" for name in BODY], [f"model.{name}" for name in BODY], ("", "")),
        ([*(f"model.{name}" for name in BODY), "embed.weight"], BODY, ("", "")),
        ([], BODY, ("", "")),
        (["x"], ["y"], ("", "")),
    ],
)  # fmt: skip
def test_a_prefix_that_one_side_lacks_is_left_out_where_more_names_match_so(a, b, prefixes):
    assert align(a, b) == prefixes


@given(
    st.lists(st.text("ab.1", min_size=1, max_size=6), unique=True), st.lists(st.text("ab.1", max_size=6), unique=True)
)
def test_leaving_prefixes_out_never_loses_a_match_or_makes_names_equal(a, b):
    prefix_a, prefix_b = align(a, b)
    stripped_a = [name.removeprefix(prefix_a) for name in a]
    stripped_b = [name.removeprefix(prefix_b) for name in b]
    assert len(set(stripped_a)) == len(a)
    assert len(set(stripped_b)) == len(b)
    assert len(set(stripped_a) & set(stripped_b)) >= len(set(a) & set(b))


def test_matched_names_are_told_without_the_prefix_and_the_listing_says_so(table):
    a = table([(f"model.{name}", (2, 2), None) for name in BODY])
    b = table([(name, (2, 2), None) for name in BODY[:2]])
    comparison = compare(a, b, CLASSIC)
    assert told(comparison) == {"layer.1.weight": ("only_a",)}
    assert "names are matched without model. of A" in "".join(FORMATS["table"](comparison))


# --- runs -----------------------------------------------------------------------------------------------------------


def test_differences_that_are_alike_but_for_numbers_stand_together(table):
    rows = [(f"h.{at}.{part}.weight", (4, 4), None) for at in range(12) for part in ("q", "k")]
    comparison = compare(table([("x", (1,), None)]), table([("x", (1,), None), *rows]), CLASSIC)
    runs = folded(comparison, "only_b")
    assert [(label, len(run)) for label, run in runs] == [("h.0…11.q.weight", 12), ("h.0…11.k.weight", 12)]
    assert folded(comparison, "only_b", "h.3.") == [("h.3.q.weight", [7]), ("h.3.k.weight", [8])]
    assert folded(comparison, "only_a") == []


def test_differences_of_other_facts_do_not_stand_together(table):
    rows = [("h.0.w", (4, 4), None), ("h.1.w", (4, 4), None), ("h.2.w", (5, 4), None)]
    comparison = compare(table([("x", (1,), None)]), table([("x", (1,), None), *rows]), CLASSIC)
    assert [label for label, _ in folded(comparison, "only_b")] == ["h.0…1.w", "h.2.w"]


def test_a_span_is_by_value_and_only_where_numbers_vary():
    assert spanned(["a.2.b.1.c", "a.10.b.1.c", "a.9.b.1.c"]) == "a.2…10.b.1.c"


# --- values ---------------------------------------------------------------------------------------------------------


def answers(differing):
    """Answer with what differs, in two steps."""
    asked = []

    def ask(request, arguments):
        assert request == "difference"
        asked.append(arguments)
        if len([one for one in asked if one == arguments]) == 1:
            return {"done": 0.5, "result": None}
        count = differing.get(arguments["index"], 0)
        return {"done": 1.0, "result": {"differing": count, "largest": 0.5 if count else 0.0}}

    return ask, asked


def test_values_are_asked_for_where_shapes_are_the_same_and_differences_told(pair):
    ask, asked = answers({2: 7})
    seen = []
    comparison = compare_values(compare(*pair, CLASSIC), OpenSpec("b"), ask, seen.append)
    assert [(arguments["index"], arguments["other_index"]) for arguments in asked[::2]] == [(0, 0), (2, 2)]
    assert asked[0]["other"]["target"] == "b"
    assert told(comparison)["c.weight"] == ("dtype", "values")
    assert comparison.compared
    assert [progress.tensors for progress in seen] == [0, 0, 1, 1]
    assert seen[0].text == "0 of 2 tensors compared, 25 %"
    assert seen[-1].elements == seen[-1].of_elements == 32


def test_equal_means_that_values_that_were_asked_for_could_all_be_compared(tiny):
    same = compare(tiny, tiny, CLASSIC)
    ask, _ = answers({})
    assert compare_values(same, OpenSpec("b"), ask).equal

    def refuse(request, arguments):
        raise ParamxError("values", "no weights here")

    refused = compare_values(same, OpenSpec("b"), refuse)
    assert not refused.equal
    assert set(refused.uncompared) == set(tiny.names)
    assert "no weights here" in "".join(FORMATS["table"](refused))


def test_what_has_no_values_at_all_is_not_asked_for_each(table):
    many = table([(f"x{at}", (1,), None) for at in range(100)])
    asked = []

    def refuse(request, arguments):
        asked.append(arguments)
        raise ParamxError("values", "no weights here")

    comparison = compare_values(compare(many, many, CLASSIC), OpenSpec("b"), refuse)
    assert len(asked) == GIVE_UP
    assert len(comparison.uncompared) == 100


def test_stopping_keeps_what_is_known(tiny):
    ask, asked = answers({0: 1})
    comparison = compare_values(compare(tiny, tiny, CLASSIC), OpenSpec("b"), ask, stopped=lambda: len(asked) >= 3)
    assert not comparison.compared
    assert told(comparison) == {"embed.weight": ("values",)}
    assert comparison.uncompared == {}


# --- what scripts get -----------------------------------------------------------------------------------------------


def test_the_json_tells_both_sides_and_the_sums(pair):
    comparison = compare(*pair, CLASSIC).with_values({0: Values(3, None), 2: Values(1, 0.5)}, {}, True)
    data = json.loads("".join(FORMATS["json"](comparison)))
    assert data["format"] == 1
    found = data["compare"]
    assert (found["equal"], found["values_compared"], found["same"]) == (False, True, 0)
    assert found["a"] == {
        "target": "made",
        "kind": "test",
        "class": None,
        "origin": "test",
        "tensors": 4,
        "parameters": 37,
        "training_state": {"tensors": 0, "elements": 0, "left_out": False},
        "prefix": "",
        "state_prefix": "",
        "buffers": {"tensors": 0, "left_out": False},
        "warnings": [],
    }
    assert found["counts"] == {kind: found["counts"][kind] for kind in KINDS}
    rows = {row["name"]: row for row in found["differences"]}
    assert list(rows) == ["a.weight", "b.weight", "c.weight", "d", "e.bias", "f"]
    assert rows["a.weight"]["values"] == {
        "differing": 3,
        "largest": None,
        "nan": 0,
        "inf": 0,
        "largest_finite": 0.0,
    }
    assert rows["d"]["b"] is None
    assert rows["c.weight"]["b"] == {
        "index": 2,
        "name": "c.weight",
        "shape": [4, 4],
        "numel": 16,
        "dtype": "float16",
        "group": "decay",
        "shard": None,
    }


def test_the_csv_has_a_row_a_difference(pair):
    comparison = compare(*pair, CLASSIC).with_values({2: Values(1, 0.5)}, {}, True)
    rows = list(csv.DictReader(io.StringIO("".join(FORMATS["csv"](comparison)))))
    assert [row["name"] for row in rows] == ["b.weight", "c.weight", "d", "e.bias", "f"]
    assert (rows[0]["shape_a"], rows[0]["shape_b"]) == ("4", "5")
    assert (rows[1]["kinds"], rows[1]["differing"], rows[1]["largest"]) == ("dtype values", "1", "0.5")
    assert rows[2]["shape_b"] == ""


def test_the_table_says_what_differs_and_the_sums(pair):
    comparison = compare(*pair, CLASSIC).with_values({0: Values(3, 1e-7)}, {}, True)
    lines = "".join(FORMATS["table"](comparison)).splitlines()
    assert [" ".join(line.split()) for line in lines[:7]] == [
        "difference name A B values",
        "other values a.weight – – 3 elements differ, by at most 1e-07",
        "another shape b.weight 4 5",
        "another dtype c.weight float32 float16",
        "only in A d 1 float32 –",
        "only in B e.bias – 3 float32",
        "only in B f – 2 float32",
    ]
    assert lines[-1] == (
        "no tensor alike (values compared) · 1 only in A · 2 only in B · 1 another shape · 1 another dtype · "
        "1 other values"
    )


# --- files --------------------------------------------------------------------------------------------------------


def built(table, rows):
    """A model's table, as the skeleton of a config has it."""
    return replace(table(rows), counters=Counters(1))


ROWS = [("a", (4,), None), ("b", (2, 2), None), ("c", (3,), None)]
EXTRA = Param(0, "extra", (2,), 2, "float32", 8, None, None, None, (), "x.safetensors")


def test_of_a_directory_the_files_are_compared(table):
    model = built(table, ROWS)
    held = Held([0], {}, {1: "float16"}, {2: (5,)}, [EXTRA])
    assert Held.from_json(json.loads(json.dumps(held.to_json()))) == held
    comparison = compare(model, model, CLASSIC, held=(held, Held()))
    assert told(comparison) == {"a": ("only_b",), "b": ("dtype",), "c": ("shape",), "extra": ("only_a",)}
    assert not comparison.equal
    assert [comparison.counts_of(of_a) for of_a in (True, False)] == [(3, 4 + 5 + 2), (3, 11)]
    assert comparison.facts(comparison.pairs[0], True).nbytes == 8
    assert compare(model, model, CLASSIC, held=(held, held)).equal, "both lack it"


def test_what_files_hold_beside_the_model_matches_the_same_of_another_file(table):
    model, file = built(table, ROWS), table([*ROWS, ("extra", (2,), None)])
    assert compare(model, file, CLASSIC, held=(Held([], {}, {}, {}, [EXTRA]), None)).equal
    assert told(compare(model, file, CLASSIC)) == {"extra": ("only_b",)}


def test_what_can_not_be_read_is_not_known_to_be_alike(table):
    model, held = built(table, ROWS), Held([], {1: "2.safetensors"})
    for sides in ((held, None), (None, held), (held, held)):
        comparison = compare(model, model, CLASSIC, held=sides)
        assert told(comparison) == {"b": ("unread",)}
        assert (comparison.equal, comparison.same) == (False, 2)
    assert "in 2.safetensors, which can't be read" in "".join(FORMATS["table"](comparison))


@pytest.mark.parametrize(("kind", "both"), [("missing-shard", False), ("wrong-total", True), ("tie-not-known", True)])
def test_files_that_are_damaged_are_not_known_to_be_equal(table, kind, both):
    model = table(ROWS)
    odd = replace(model, findings=(Finding(kind, "warning", "something is wrong", ("a",)),))
    comparison = compare(odd, model, CLASSIC)
    assert comparison.equal == (kind == "tie-not-known")
    assert compare(odd, odd, CLASSIC).equal == both
    if kind != "tie-not-known":
        assert f"files of A: something is wrong ({kind})" in "".join(FORMATS["table"](comparison))
        side = json.loads("".join(FORMATS["json"](comparison)))["compare"]["a"]
        assert [warning["names"] for warning in side["warnings"]] == [["a"]]


# --- what is no parameter -----------------------------------------------------------------------------------------


def asks(buffers):
    """Answer as a module does that has some buffers."""
    return lambda request, arguments: (
        [name for name in arguments["names"] if name in buffers] if request == BUFFERS else None
    )


def test_buffers_of_a_file_are_no_difference_to_a_model_in_memory(table):
    model, file = built(table, ROWS), table([*ROWS, ("mean", (4,), None), ("new", (1,), None)])
    comparison = compare(model, file, CLASSIC, (asks({"mean"}), None))
    assert told(comparison) == {"new": ("only_b",)}
    assert comparison.counts_of(False) == (5, 4 + 4 + 3 + 1)
    assert "left out: 1 buffer only in B (A lists parameters only)" in "".join(FORMATS["table"](comparison))
    known = replace(file, apart={3: "buffer"})
    assert told(compare(known, model, CLASSIC)) == {"new": ("only_a",)}
    assert told(compare(known, table(ROWS), CLASSIC)) == {"mean": ("only_a",), "new": ("only_a",)}, "two files"


def test_what_one_side_knows_to_be_a_buffer_is_none_of_the_other_sides_parameters(table):
    plain = table(ROWS)
    comparison = compare(plain, replace(plain, apart={0: "buffer"}), CLASSIC)
    assert comparison.equal
    assert comparison.counts_of(True) == comparison.counts_of(False) == (3, 7)


@pytest.mark.parametrize("what", ["optimizer state", "random state", "plain attribute"])
def test_what_a_file_holds_beside_the_model_is_set_apart_and_never_subtracted_from_it(table, what):
    train = replace(table([*ROWS, ("rng", (100,), None)]), apart={3: what})
    comparison = compare(train, table(ROWS), CLASSIC)
    assert comparison.equal
    assert comparison.counts_of(True) == comparison.counts_of(False) == (3, 11)
    text = "".join(FORMATS["table"](comparison))
    called = "plain attributes" if what == "plain attribute" else "training state"
    assert f"3 tensors · 11 parameters · beside 1 tensor of {called}" in text
    assert f"left out: {called} that only one side has (1 tensor of A)" in text
    side = json.loads("".join(FORMATS["json"](comparison)))["compare"]["a"]
    assert (side["tensors"], side["parameters"]) == (4, 111)
    assert side["training_state"] == {"tensors": 1, "elements": 100, "left_out": True}


def test_of_training_state_what_only_one_side_has_of_a_kind_is_left_out(table):
    rows = [*ROWS, ("optimizer.state.0.exp_avg", (4,), None)]
    one = replace(table([*rows, ("rng", (9,), None)]), apart={3: "optimizer state", 4: "random state"})
    comparison = compare(one, replace(table(rows), apart={3: "optimizer state"}), CLASSIC)
    assert comparison.equal
    assert comparison.left_out == (1, 0)


def test_that_training_state_is_matched_under_another_name_is_said(table):
    states = [
        [("w", (4,), None), *((f"{head}.state.{at}.exp_avg", (4,), None) for at in range(3))]
        for head in ("optimizer", "optimizer_states.0")
    ]
    comparison = compare(*map(table, states), CLASSIC)
    assert comparison.equal
    text = "".join(FORMATS["table"](comparison))
    assert "training state is matched without optimizer. of A and optimizer_states.0. of B" in text


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (Values(1, 0.5), "1 element differs, by at most 0.5"),
        (Values(1, None, 1), "1 element differs, 1 NaN on one side"),
        (Values(2, None, 1, 1), "2 elements differ, 1 NaN and 1 infinite on one side"),
        (Values(3, None, 1, 0, 0.25), "3 elements differ, 1 NaN on one side, the others by at most 0.25"),
        (
            Values(8192, None, 1, 2, 0.001),
            "8,192 elements differ, 1 NaN and 2 infinite on one side, the others by at most 0.001",
        ),
        (Values(2, None, largest_finite=None), "2 elements differ, by more than a float64 holds"),
    ],
)
def test_how_values_differ_is_said_with_its_reason(values, told):
    assert difference_text(values) == told
    whole = together([values, Values(0, 0.0)])
    assert whole == values


def test_what_is_alike_in_all_but_values_that_could_not_be_compared_is_counted_so(tiny):
    same = compare(tiny, tiny, CLASSIC)
    none = same.with_values({}, dict.fromkeys(range(len(tiny)), "no weights here"), True)
    text = "".join(FORMATS["table"](none))
    assert f"{len(tiny)} tensors alike in all but values (no values could be compared)" in text
    some = same.with_values({0: Values(0, 0.0)}, dict.fromkeys(range(1, len(tiny)), "no weights here"), True)
    text = "".join(FORMATS["table"](some))
    assert f"1 tensor alike, {len(tiny) - 1} more in all but values (values compared, where they could be)" in text
