"""An average of the model in its file is no second model: known by its name, and by the model's names and shapes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from explorer.core.averages import average_counters, averaged_copies
from explorer.core.param import Column

MODEL = [("conv.weight", (8, 3)), ("conv.bias", (8,)), ("blocks.0.norm.weight", (8,))]


def rows(prefix, names=MODEL, dotless=False):
    return [(prefix + (name.replace(".", "") if dotless else name), shape, None) for name, shape in names]


@pytest.mark.parametrize(
    ("model", "average"),
    [
        (rows("model."), [("model_ema.n_averaged", (), None), *rows("model_ema.module.")]),
        (rows("state_dict."), rows("state_dict_ema.")),
        (rows("model."), rows("ema.ema_model.module.")),
        (rows(""), rows("EMA.")),
        (rows("model.diffusion_model."), rows("model_ema.", [(f"diffusion_model.{n}", s) for n, s in MODEL], True)),
    ],
    ids=["torchvision", "timm", "ema_pytorch", "beside a bare state dict", "CompVis"],
)
def test_the_average_of_a_model_is_a_copy_of_it(table, model, average):
    for parts in (model + average, average + model):
        found = averaged_copies(table(parts))
        assert {parts[row][0] for row in found} == {name for name, *_ in average}


@pytest.mark.parametrize(
    "parts",
    [
        rows("ema."),
        rows("model.") + rows("ema.", [(name, (*shape, 2)) for name, shape in MODEL]),
        rows("student.") + rows("teacher."),
        rows("schema.") + rows("model."),
        [*rows(""), ("quantize.ema_weight", (8, 3), None)],
    ],
    ids=["alone", "of other shapes", "another model", "another word", "the model's own average"],
)
def test_what_is_not_shown_to_be_a_copy_stays_the_models(table, parts):
    assert not averaged_copies(table(parts))


def test_an_average_that_is_the_model_itself_under_another_name_is_the_model(table):
    model = replace(table(rows("ema.online.")), aliases={0: ("model.conv.weight",), 1: ("model.conv.bias",)})
    assert not averaged_copies(model)


def test_what_is_known_to_be_something_else_stays_that(table):
    model = replace(table(rows("model.") + rows("ema.")), apart={3: "buffer"})
    assert averaged_copies(model) == {4, 5}


@pytest.mark.parametrize(
    ("parts", "dtype", "count"),
    [
        ([("n_averaged", (), None), *rows("module.")], "int64", 1),
        ([("module.n_averaged", (), None), *rows("module.module.")], "int64", 1),
        ([*rows("module."), ("swa.n_averaged", (), None), *rows("swa.module.")], "int64", 1),
        ([("n_averaged", (), None), *rows("model.")], "int64", 0),
        ([("n_averaged", (), None), *rows("module.")], "float32", 0),
        ([("n_averaged", (2,), None), *rows("module.")], "int64", 0),
    ],
    ids=["torch", "in a wrapper", "below", "of another", "a weight", "a vector"],
)
def test_how_often_torchs_average_has_averaged_is_known_by_the_model_beside_it(table, parts, dtype, count):
    model = replace(table(parts), dtypes=Column.of([dtype] * len(parts)))
    found = average_counters(model)
    assert [parts[row][0].endswith("n_averaged") for row in found] == [True] * count
    assert not average_counters(replace(model, apart=dict.fromkeys(found, "averaged copy")))
