"""How the values of two tensors differ: against torch itself, chunk by chunk, whatever the dtype and layout."""

from __future__ import annotations

import math
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import save_file

from explorer.core.compare import Values
from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.sources import open_served
from explorer.sources.values import answers, difference
from explorer.sources.values.difference import differ, difference_answers


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Work in chunks of seven elements, so that every tensor has several."""
    monkeypatch.setattr(difference, "CHUNK", 7)


def opened(tmp_path, name, **tensors):
    """Save tensors, and open them."""
    path = tmp_path / f"{name}.safetensors"
    save_file(tensors, path)
    return open_served(OpenSpec(str(path)), lambda text: None)


def run(a, b):
    going, shares = differ(a, b), []
    while True:
        try:
            shares.append(next(going))
        except StopIteration as end:
            return end.value, shares


@pytest.mark.parametrize(
    "dtype",
    [
        "float64",
        "float32",
        "float16",
        "bfloat16",
        "int64",
        "int32",
        "int8",
        "uint8",
        "bool",
        "float8_e4m3fn",
        "complex64",
    ],
)
def test_it_is_what_torch_says(tmp_path, dtype):
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(5, 9, generator=generator) * 3
    one = wide.to(getattr(torch, dtype))
    other = one.clone()
    other[::2, 3:] = (wide[::2, 3:] + 1).to(getattr(torch, dtype))
    result, shares = run(
        opened(tmp_path, "a", x=one).values(0), opened(tmp_path, "b", x=other.contiguous()).values(0)
    )
    exact = torch.complex128 if dtype == "complex64" else torch.float64
    distance = (one.to(exact) - other.to(exact)).abs()
    assert result["differing"] == int((one.to(exact) != other.to(exact)).sum())
    assert result["largest"] == pytest.approx(float(distance.max()))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_the_same_tensor_has_no_difference(tmp_path):
    tensor = torch.arange(20.0).reshape(4, 5)
    result, _ = run(opened(tmp_path, "a", x=tensor).values(0), opened(tmp_path, "b", x=tensor).values(0))
    assert result == asdict(Values(0, 0.0))


def test_two_dtypes_of_one_number_are_the_same(tmp_path):
    tensor = torch.arange(20.0).reshape(4, 5)
    one, other = opened(tmp_path, "a", x=tensor), opened(tmp_path, "b", x=tensor.half())
    assert run(one.values(0), other.values(0))[0] == asdict(Values(0, 0.0))


def test_nan_is_nan_and_an_infinity_has_no_distance(tmp_path):
    nan, inf = math.nan, math.inf
    one = opened(tmp_path, "a", x=torch.tensor([nan, nan, inf, inf, 1.0, 0.0]))
    other = opened(tmp_path, "b", x=torch.tensor([nan, inf, inf, -inf, 1.5, -0.0]))
    found = run(one.values(0), other.values(0))[0]
    assert found == {"differing": 3, "largest": None, "nan": 1, "inf": 1, "largest_finite": 0.5}


def test_whole_numbers_that_no_float_tells_apart_differ(tmp_path):
    one = opened(tmp_path, "a", x=torch.tensor([2**62, 5]))
    other = opened(tmp_path, "b", x=torch.tensor([2**62 + 1, 5]))
    assert run(one.values(0), other.values(0))[0]["differing"] == 1


def test_a_transposed_tensor_is_compared_element_by_element(tmp_path):
    tensor = torch.arange(40.0).reshape(5, 8)
    torch.save({"x": tensor.t().contiguous().t()}, tmp_path / "a.pt")
    one = open_served(OpenSpec(str(tmp_path / "a.pt")), lambda text: None)
    other = opened(tmp_path, "b", x=tensor)
    assert not one.values(0).in_order
    assert run(one.values(0), other.values(0))[0] == asdict(Values(0, 0.0))
    assert run(other.values(0), one.values(0))[0] == asdict(Values(0, 0.0))


def test_an_empty_tensor_and_a_scalar_are_compared(tmp_path):
    one = opened(tmp_path, "a", x=torch.zeros(0, 3), y=torch.tensor(2.0))
    other = opened(tmp_path, "b", x=torch.zeros(0, 3), y=torch.tensor(2.5))
    assert run(one.values(0), other.values(0)) == (asdict(Values(0, 0.0)), [])
    assert run(one.values(1), other.values(1))[0] == asdict(Values(1, 0.5, largest_finite=0.5))


def test_other_shapes_are_not_compared(tmp_path):
    one, other = opened(tmp_path, "a", x=torch.zeros(4)), opened(tmp_path, "b", x=torch.zeros(2, 2))
    with pytest.raises(ParamxError, match="other shapes"):
        run(one.values(0), other.values(0))


def test_a_slice_of_the_work_is_done_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "SLICE", -1.0)
    one = opened(tmp_path, "a", x=torch.arange(30.0))
    opened(tmp_path, "b", x=torch.arange(30.0) + 1)
    answer = difference_answers(one.values)["difference"]
    other = {"target": str(tmp_path / "b.safetensors")}
    told = [answer({"index": 0, "other": other, "other_index": 0}) for _ in range(6)]
    assert [step["done"] for step in told] == pytest.approx([7 / 30, 14 / 30, 21 / 30, 28 / 30, 1.0, 1.0])
    assert [step["result"] for step in told] == [None] * 5 + [asdict(Values(30, 1.0, largest_finite=1.0))]


def test_what_has_no_values_says_so(tmp_path):
    one = opened(tmp_path, "a", x=torch.zeros(768, 3))
    (tmp_path / "config.json").write_text(
        '{"model_type": "bert", "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 9}'
    )
    answer = difference_answers(one.values)["difference"]
    with pytest.raises(ParamxError, match="no weights here"):
        answer({"index": 0, "other": {"target": str(tmp_path / "config.json")}, "other_index": 0})
