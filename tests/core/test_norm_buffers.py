"""Buffers of batch norms in a table of names: known where names, shapes and neighbours are torch's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from explorer.core.norm_buffers import norm_buffers
from explorer.core.param import Column, ModuleClass

NAMES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def rows(*names, prefix="bn.", shape=(2,)):
    """Return rows of a norm, the number of batches a scalar."""
    return [(prefix + name, () if name == NAMES[-1] else shape, None) for name in names]


@pytest.fixture
def bare(table):
    """Return a maker of tables as a bare state dict's, which says of nothing whether it is trained."""
    return lambda rows: replace(table(rows), requires_grad=Column.of([None] * len(rows)))


def found(model):
    return [model.names[row] for row in norm_buffers(model)]


@pytest.mark.parametrize("prefix", ["", "bn.", "module.layer1.0.bn1."])
@pytest.mark.parametrize(
    "names", [NAMES, NAMES[:4], NAMES[2:], NAMES[1:4]], ids=["whole", "old", "not affine", "no weight"]
)
def test_a_norms_statistics_are_buffers(bare, names, prefix):
    model = bare(rows(*names, prefix=prefix))
    assert found(model) == [prefix + name for name in names if name in NAMES[2:]]


@pytest.mark.parametrize(
    "lone",
    [
        rows("running_mean", "running_var"),
        rows("weight", "running_mean"),
        rows("weight", "running_mean", "num_batches_tracked"),
        [*rows("weight", shape=(3,)), *rows("running_mean", "running_var")],
        [*rows("weight", "running_mean"), *rows("running_var", shape=(3,))],
        rows(*NAMES, shape=(2, 2)),
        [*rows(*NAMES[:4]), ("bn.num_batches_tracked", (2,), None)],
        [*rows("weight", prefix="a."), *rows("running_mean", "running_var", prefix="b.")],
    ],
    ids=["no neighbour", "mean only", "no variance", "other shape", "two shapes", "2-D", "counts", "elsewhere"],
)
def test_what_torchs_norms_would_not_save_is_left_alone(bare, lone):
    model = bare(lone)
    assert not norm_buffers(model)


def test_what_is_known_of_a_tensor_goes_before_its_name(bare):
    model = bare(rows(*NAMES))
    assert not norm_buffers(replace(model, dtypes=Column.of(["int8"] * 5)))
    assert not norm_buffers(replace(model, modules=Column.of([ModuleClass("Odd")] * 5)))
    assert not norm_buffers(replace(model, requires_grad=Column.of([True] * 5)))
    assert not norm_buffers(replace(model, apart=dict.fromkeys(range(5), "optimizer state")))
