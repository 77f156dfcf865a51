"""Which slice of one tensor each of several is, and which tensors of a checkpoint are no model's."""

from __future__ import annotations

import pytest

from explorer.core.arrange import CUT, JOIN, STACK, Move, arrange, expert_moves
from explorer.core.compare_asking import ASKED_AT_ONCE
from explorer.core.compare_text import FORMATS
from explorer.core.compare_values import compare_values
from explorer.core.errors import ParamxError
from explorer.core.groups import Grouping
from explorer.core.loading import OpenSpec
from explorer.core.matching import training_state
from explorer.core.pairing import compare

CLASSIC = Grouping.classic()

GATED = ((STACK, 0), (JOIN, 1))


def text(comparison):
    return "".join(FORMATS["table"](comparison))


def told(comparison):
    return {pair.name: pair.kinds for pair in comparison.differences}


# --- slices ---------------------------------------------------------------------------------------------------------


def test_parts_are_stacked_by_the_numbers_in_their_names_and_kinds_one_behind_the_other():
    names = [f"e.{at}.{kind}" for at in (10, 9, 0) for kind in ("up", "gate")]
    moves = {name: Move(("e.both",), int(name.endswith("up")), GATED) for name in names}
    (fusion,) = arrange(moves, dict.fromkeys(names, (3, 5)), {"e.both": (3, 6, 5)})
    assert dict(zip(fusion.parts, fusion.regions, strict=True)) == {
        "e.0.gate": ((0, 1), (0, 3)),
        "e.9.gate": ((1, 2), (0, 3)),
        "e.10.gate": ((2, 3), (0, 3)),
        "e.0.up": ((0, 1), (3, 6)),
        "e.9.up": ((1, 2), (3, 6)),
        "e.10.up": ((2, 3), (3, 6)),
    }


@pytest.mark.parametrize(("dimension", "region"), [(0, ((2, 6),)), (1, ((0, 4), (2, 6)))])
def test_joined_parts_lie_one_behind_the_other(dimension, region):
    sizes = {"a": (2, 4), "b": (4, 4)} if dimension == 0 else {"a": (4, 2), "b": (4, 4)}
    whole = (6, 4) if dimension == 0 else (4, 6)
    moves = {name: Move(("w",), order, ((JOIN, dimension),)) for order, name in enumerate("ab")}
    (fusion,) = arrange(moves, sizes, {"w": whole})
    assert (fusion.parts, fusion.regions[1], fusion.shape) == (("a", "b"), region, whole)


def test_one_tensor_of_the_file_is_cut_into_as_many_as_the_model_has():
    moves = {"qkv": Move(("q", "k", "v"), 0, ((CUT, 0),))}
    (fusion,) = arrange(moves, {"qkv": (6, 4)}, dict.fromkeys("qkv", (2, 4)))
    assert not fusion.in_model
    assert (fusion.whole, fusion.parts, fusion.regions) == ("qkv", ("q", "k", "v"), (((0, 2),), ((2, 4),), ((4, 6),)))


@pytest.mark.parametrize(
    ("steps", "sizes", "whole", "why"),
    [
        (((STACK, 0),), {"a": (2, 2), "b": (2, 2)}, (3, 2, 2), "the parts make another shape"),
        (((STACK, 0),), {"a": (2, 2), "b": (2, 3)}, (2, 2, 2), "the parts do not fit together"),
        ((("Transpose", None),), {"a": (2, 3)}, (3, 2), "transformers converts it as it loads (Transpose)"),
        (((STACK, 0),), {"a": (2, 2), "b": None}, (2, 2, 2), "a part has no shape"),
    ],
)
def test_what_does_not_fit_says_why(steps, sizes, whole, why):
    moves = {name: Move(("w",), 0, steps) for name in sizes}
    (fusion,) = arrange(moves, sizes, {"w": whole})
    assert (fusion.why, fusion.regions) == (why, ())


def test_experts_are_known_by_their_names_where_they_stand_in_one_layer():
    apart = [
        "m.1.moe.experts.0.w1.weight",
        "m.1.moe.experts.0.w3.weight",
        "m.1.moe.gate.weight",
        "m.2.x.experts.0.w2.weight",
    ]
    moves = expert_moves(apart, ["m.1.mlp.experts.gate_up_proj", "m.1.mlp.gate.weight", "m.3.mlp.experts.down_proj"])
    assert moves == {
        apart[0]: Move(("m.1.mlp.experts.gate_up_proj",), 0, GATED),
        apart[1]: Move(("m.1.mlp.experts.gate_up_proj",), 1, GATED),
        apart[2]: Move(("m.1.mlp.gate.weight",)),
    }


# --- compared -------------------------------------------------------------------------------------------------------


@pytest.fixture
def sides(table):
    """Experts as a file has them, and as a model does; the router of the model has another name."""
    apart, stacked = [("embed", (2, 2), None)], [("embed", (2, 2), None)]
    for layer in ("l.0", "l.1"):
        apart.append((f"{layer}.moe.gate.weight", (2, 4), None))
        apart += [(f"{layer}.moe.experts.{at}.{part}.weight", (3, 4), None) for at in (0, 1) for part in ("w1", "w3")]
        apart += [(f"{layer}.moe.experts.{at}.w2.weight", (4, 3), None) for at in (0, 1)]
        stacked.append((f"{layer}.mlp.gate.weight", (2, 4), None))
        stacked.append((f"{layer}.mlp.experts.gate_up_proj", (2, 6, 4), None))
        stacked.append((f"{layer}.mlp.experts.down_proj", (2, 4, 3), None))
    return table(apart), table(stacked)


@pytest.mark.parametrize("turned", [False, True])
def test_stacked_experts_are_their_parts_and_the_listing_says_so(sides, turned):
    comparison = compare(*(sides[::-1] if turned else sides), CLASSIC)
    assert comparison.equal
    assert comparison.same == 7
    assert ("fused: 12 tensors of B are 4 of A" if turned else "fused: 12 tensors of A are 4 of B") in text(
        comparison
    )
    assert sum(map(comparison.numel, comparison.pairs)) == sides[0].total


def test_an_expert_too_few_is_another_shape(table, sides):
    few = table([(row.name, row.shape, None) for row in sides[0] if ".experts.1." not in row.name])
    found = told(compare(few, sides[1], CLASSIC))
    stacks = [f"l.{layer}.mlp.experts.{param}" for layer in (0, 1) for param in ("gate_up_proj", "down_proj")]
    assert found == dict.fromkeys(stacks, ("shape",))


def test_values_of_parts_are_each_asked_for_against_their_slice(sides):
    asked = []

    def ask(request, arguments):
        asked.append(
            (arguments["index"], arguments["other_index"], arguments.get("region"), arguments.get("other_region"))
        )
        return {"done": 1.0, "result": {"differing": int(arguments["index"] == 3), "largest": 0.25}}

    found = compare_values(compare(*sides, CLASSIC), OpenSpec("b"), ask)
    assert (0, 0, None, None) in asked
    assert (3, 2, None, ((0, 1), (3, 6))) in asked
    assert (7, 3, None, ((1, 2),)) in asked
    assert len(asked) == 15
    assert told(found) == {"l.0.mlp.experts.gate_up_proj": ("values",)}


def test_values_of_an_unknown_arrangement_are_not_compared_and_say_why(table):
    file, model = table([("w.kernel", (2, 3), None)]), table([("w", (3, 2), None)])

    def library(request, arguments):
        return [Move(("w",), 0, (("Transpose", None),)).to_json() for _ in arguments["names"]]

    comparison = compare(model, file, CLASSIC, (library, None))
    assert comparison.equal
    found = compare_values(comparison, OpenSpec("b"), lambda request, arguments: pytest.fail("asked"))
    assert found.uncompared == {"w": "transformers converts it as it loads (Transpose)"}
    assert not found.equal


def test_a_library_is_asked_in_requests_that_a_pipe_takes_and_only_for_what_is_left(table):
    rows = [(f"{at}.old", (1,), None) for at in range(ASKED_AT_ONCE + 1)]
    file, model = table([("same", (1,), None), *rows]), table([("same", (1,), None), ("0.new", (1,), None)])
    sizes = []

    def library(request, arguments):
        sizes.append(len(arguments["names"]))
        assert "same" not in arguments["names"]
        return [Move((name.replace("old", "new"),)).to_json() for name in arguments["names"]]

    comparison = compare(model, file, CLASSIC, (library, None))
    assert sizes == [ASKED_AT_ONCE, 1]
    assert comparison.renamed == 1
    assert comparison.counts["only_a"] == 0
    assert "1 tensor matched under another name" in text(comparison)


@pytest.mark.parametrize("answer", [None, ParamxError("it", "does not answer")])
def test_where_no_library_answers_names_alone_tell(table, answer):
    def library(request, arguments):
        if answer is None:
            return
        raise answer

    assert told(compare(table([("x", (1,), None)]), table([("y", (1,), None)]), CLASSIC, (library, None))) == {
        "x": ("only_a",),
        "y": ("only_b",),
    }


# --- training checkpoints -------------------------------------------------------------------------------------------

MODEL = [("0.weight", (8, 8), None), ("0.bias", (8,), None)]


def training(table, prefix="model."):
    state = [
        (f"optimizer.state.{at}.{each}", (8,), None) for at in range(2) for each in ("step", "exp_avg", "exp_avg_sq")
    ]
    return table([*((f"{prefix}{name}", shape, None) for name, shape, _ in MODEL), *state])


@pytest.mark.parametrize("prefix", ["model.", "state_dict.module.", "module."])
def test_an_optimizer_beside_the_model_hides_no_prefix_and_is_left_out_aloud(table, prefix):
    comparison = compare(training(table, prefix), table(MODEL), CLASSIC)
    assert comparison.equal
    assert comparison.prefix_a == prefix
    assert comparison.counts_of(True) == (2, 72)
    assert "2 tensors · 72 parameters · beside 6 tensors of training state" in text(comparison)
    assert "left out: training state that only one side has (6 tensors of A)" in text(comparison)


def test_the_state_of_two_optimizers_is_compared(table):
    a = training(table)
    b = table([(row.name, (9,) if row.name.endswith("1.exp_avg") else row.shape, None) for row in a])
    comparison = compare(a, b, CLASSIC)
    assert told(comparison) == {"optimizer.state.1.exp_avg": ("shape",)}
    assert comparison.left_out == (0, 0)
    assert "left out" not in text(comparison)


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (["model.w", "optimizer.state.0.exp_avg", "rng_state"], {1, 2}),
        (["w", "opt.state.0.momentum_buffer"], {1}),
        (["optimus.w", "state.sum.weight", "head.step"], set()),
        (["state.0.exp_avg", "state.0.step"], set()),
        (["model.w", "optim.param_groups", "lr_schedulers.0._last"], {1, 2}),
    ],
)
def test_training_state_is_told_by_where_it_stands(names, rows):
    assert training_state(names) == rows
