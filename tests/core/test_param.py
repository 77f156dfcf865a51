"""The table of parameters gives back the rows it was built from, and its sums are the counting loop's."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import param

from explorer.core.param import Column, Model, ModuleClass, Origin, Param

ORIGIN = Origin(target="x", kind="test", description="made by a test")


def layer(index: int, numel: int, **other: object) -> Param:
    facts = {"index": index, "numel": numel, "module_class": ModuleClass("Linear"), **other}
    return param(f"layer.{index}.weight", **{"shape": (numel,), **facts})


UNKNOWN = layer(
    1, 0, shape=None, dtype=None, nbytes=None, device=None, requires_grad=None, module_class=None, aliases=("tied",)
)


@given(st.lists(st.one_of(st.none(), st.text(max_size=2), st.tuples(st.integers(0, 2)))))
def test_a_column_holds_each_value_once_and_reads_as_its_rows(rows: list[object]) -> None:
    column = Column.of(rows)
    assert list(column) == rows
    assert [column[row] for row in range(len(column))] == rows
    assert len(column.values) == len(set(rows))
    assert list(column.values) == list(dict.fromkeys(rows))


@given(st.integers(0, 50))
def test_a_constant_column_repeats_its_value(rows: int) -> None:
    column = Column.constant("meta", rows)
    assert list(column) == ["meta"] * rows
    assert column.values == ("meta",)


def test_a_column_has_no_row_beyond_its_last() -> None:
    with pytest.raises(IndexError):
        Column.of("ab")[2]


def test_a_table_gives_back_its_rows() -> None:
    rows = [layer(0, 3, aliases=("a", "b")), UNKNOWN, layer(2, 1, shape=(), shard="model-1.safetensors")]
    model = Model.from_params(ORIGIN, rows)
    assert list(model) == rows
    assert [model[index] for index in range(3)] == rows
    assert len(model) == 3


def test_an_unknown_size_is_none_and_not_zero() -> None:
    model = Model.from_params(ORIGIN, [layer(0, 0), UNKNOWN])
    assert [row.nbytes for row in model] == [0, None]


def test_a_row_counted_from_the_end_knows_its_true_index() -> None:
    model = Model.from_params(ORIGIN, [layer(0, 3), layer(1, 4)])
    assert model[-1] == model[1]
    with pytest.raises(IndexError):
        model[-3]


@given(st.lists(st.integers(0, 2**40), max_size=50))
def test_the_last_running_sum_is_the_total(numels: list[int]) -> None:
    model = Model.from_params(ORIGIN, [layer(index, numel) for index, numel in enumerate(numels)])
    np = 0
    loop = []
    for row in model:  # the counting loop, as people write it
        np += row.numel
        loop.append(np)
    assert model.running() == array("q", loop)
    assert model.total == np


def test_sums_pass_the_32_bit_limit() -> None:
    model = Model.from_params(ORIGIN, [layer(0, 2**31), layer(1, 2**33)])
    assert list(model.running()) == [2**31, 2**31 + 2**33]


def test_an_empty_table_sums_to_zero() -> None:
    model = Model.from_params(ORIGIN, [])
    assert (len(model), model.total, list(model.running()), list(model)) == (0, 0, [], [])
