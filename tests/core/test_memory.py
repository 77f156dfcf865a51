"""Training memory: equal to what torch's own optimizers allocate, byte for byte."""

from __future__ import annotations

import pytest

from explorer.core.errors import ParamxError
from explorer.core.groups import Grouper, Grouping, Rule
from explorer.core.memory import (
    OPTIMIZER_STATES,
    PRECISIONS,
    Memory,
    adam8bit_states,
    memory_column,
    training_memory,
)

torch = pytest.importorskip("torch")

SHAPES = [(), (1,), (7,), (3, 5), (5, 3), (1, 9), (2, 3, 4), (2, 2, 3, 3), (0,), (0, 4)]


def report(model, grouping, optimizer=None, precision="fp32"):
    return training_memory(Grouper(model).assign(grouping), optimizer, precision)


def stepped(kind, shapes, dtype, **options):
    """Return the bytes of an optimizer's state after a real step, every tensor of it."""
    parameters = [torch.nn.Parameter(torch.ones(shape, dtype=dtype)) for shape in shapes]
    optimizer = kind(parameters, **options)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    tensors = [value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)]
    return sum(value.numel() * value.element_size() for value in tensors)


@pytest.mark.parametrize(("dtype", "precision"), [(torch.float32, "fp32"), (torch.bfloat16, "bf16")])
@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("AdamW", torch.optim.AdamW, {}),
        ("AdamW", torch.optim.AdamW, {"amsgrad": True}),
        ("Adam", torch.optim.Adam, {}),
        ("SGD", torch.optim.SGD, {}),
        ("SGD", torch.optim.SGD, {"momentum": 0.9}),
        ("SGD-momentum", torch.optim.SGD, {"momentum": 0.9}),
        ("Adafactor", torch.optim.Adafactor, {}),
        ("Muon", torch.optim.Muon, {}),
    ],
)
def test_states_equal_those_of_a_real_step(table, dtype, precision, name, kind, options):
    # Adafactor takes a mean over rows, and Muon an orthogonal factor: neither is defined without elements.
    shapes = [(3, 5), (5, 3), (9, 1)] if name == "Muon" else [s for s in SHAPES if name != "Adafactor" or 0 not in s]
    model = table([(f"p{i}", shape, None) for i, shape in enumerate(shapes)])
    grouping = Grouping((Rule("all", (), options),))
    assert report(model, grouping, name, precision).total.states == stepped(kind, shapes, dtype, **options)


def test_weights_and_gradients_equal_those_of_a_real_model(architecture):
    model = architecture("kantaibert")
    total = report(model, Grouping.classic()).total
    assert total.weights == total.gradients == 4 * 83_504_416


@pytest.mark.parametrize(("precision", "each"), [("fp32", 16), ("bf16", 8), ("bf16-master", 16)])
def test_adamw_takes_the_published_bytes_an_element(table, precision, each):
    model = table([("w", (100, 10), None)])
    assert report(model, Grouping.classic(), "AdamW", precision).total.total == each * 1000 + 4


def test_a_tied_tensor_is_counted_once(table):
    one = table([("w", (10, 10), None)])
    tied = table([("w", (10, 10), None)], aliases={"w": ("head",)})
    assert report(one, Grouping.classic()) == report(tied, Grouping.classic())


def test_frozen_parameters_cost_their_weights_only(table):
    model = table([("a", (10,), None), ("b", (10,), None)], frozen=("a",))
    assert report(model, Grouping((Rule("a", ("a",)), Rule("rest")))).rules[0] == Memory(40, 0, 0)
    freezing = Grouping((Rule("ice", ("b",), {"freeze": True}), Rule("rest")))
    assert report(model, freezing).total == Memory(80, 0, 0)


def test_groups_add_up_to_the_total_and_to_the_column(architecture):
    model = architecture("t5-small")
    grouping = Grouping.classic()
    assignment = Grouper(model).assign(grouping)
    for optimizer in OPTIMIZER_STATES:
        for precision in PRECISIONS:
            got = training_memory(assignment, optimizer, precision)
            assert sum(each.total for each in got.rules) == got.total.total
            assert sum(memory_column(assignment, optimizer, precision)) == got.total.total


def test_a_rule_s_own_optimizer_counts_for_its_members(table):
    model = table([("w", (10, 10), None), ("b", (10,), None)])
    grouping = Grouping((Rule("m", ("w",), {"optimizer": "Muon"}), Rule("rest")))
    assert [each.states for each in report(model, grouping).rules] == [400, 84]


def test_8_bit_adam_keeps_small_tensors_in_32_bits():
    assert adam8bit_states((4095,), 4095, 4, {}) == 8 * 4095
    assert adam8bit_states((64, 64), 4096, 4, {}) == 2 * 4096 + 8 * 16
    assert adam8bit_states((4097,), 4097, 4, {}) == 2 * 4097 + 8 * 17


def test_it_fits_up_to_the_last_byte(table):
    got = report(table([("w", (10,), None)]), Grouping.classic())
    assert got.fits(got.total.total) and not got.fits(got.total.total - 1)


def test_unknown_names_are_told(table):
    model = table([("w", (10,), None)])
    with pytest.raises(ParamxError, match="known are AdamW"):
        report(model, Grouping.classic(), "Lion")
    with pytest.raises(ParamxError, match="known are fp32"):
        report(model, Grouping.classic(), "AdamW", "fp8")


def test_a_term_that_tells_digits_apart_changes_the_way_and_not_the_sum(table):
    model = table([(f"l.{i}.w", (3, i % 4 + 1), None) for i in range(20)], frozen=("l.3.w",))
    whole = report(model, Grouping.classic(("l.",)))
    split = Grouping.classic(("l.1",))
    assignment = Grouper(model).assign(split)
    assert assignment.class_codes is None
    got = training_memory(assignment)
    assert got.total == whole.total
    assert (
        got.rules[0]
        == report(table([(n, model.shapes[i], None) for i, n in enumerate(model.names) if "l.1" in n]), split).total
    )
    assert sum(memory_column(assignment)) == got.total.total
