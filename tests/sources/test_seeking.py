"""The next element that is NaN or infinite: torch's own, in either direction, read in bounded blocks."""

from __future__ import annotations

import math
from typing import Any

import pytest

from explorer.core.windows import selected
from explorer.sources.values import seeking
from explorer.sources.values.in_memory import TorchTensor
from explorer.sources.values.seeking import seek

torch = pytest.importorskip("torch")


class Watching(TorchTensor):
    """Counts the elements of the largest read."""

    largest = 0

    def take(self, selection: Any) -> bytes:
        self.largest = max(self.largest, math.prod(selected(selection)))
        return super().take(selection)


def found(tensor: TorchTensor, start: tuple[int, ...], by: int) -> tuple[int, ...] | None:
    going, before = seek(tensor, start, by), 0.0
    while True:
        try:
            done = next(going)
        except StopIteration as end:
            index = end.value["index"]
            return None if index is None else tuple(index)
        assert before < done <= 1
        before = done


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float8_e5m2", "complex64"])
@pytest.mark.parametrize("shape", [(25,), (9, 1), (3, 16), (2, 3, 4, 5)])
def test_it_goes_through_all_of_them_in_order_and_around(
    shape: tuple[int, ...], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeking, "BLOCK", 7)
    wide = torch.zeros(shape)
    for place, value in ((0, math.nan), (4, math.inf), (8, -math.inf)):
        wide.view(-1)[place] = value
    tensor = Watching("x", wide.to(getattr(torch, dtype)))
    odd = [tuple(index) for index in torch.nonzero(~wide.isfinite()).tolist()]
    for at, index in enumerate(odd):
        assert found(tensor, index, 1) == odd[(at + 1) % 3]
        assert found(tensor, index, -1) == odd[at - 1]
    assert 0 < tensor.largest <= 7


@pytest.mark.parametrize(
    "tensor", [torch.ones(3, 4), torch.ones(()), torch.ones(0, 3), torch.arange(9), torch.ones(2) > 0]
)
def test_where_all_are_finite_there_is_none(tensor: torch.Tensor) -> None:
    assert found(TorchTensor("x", tensor), (0,) * tensor.ndim, 1) is None


def test_the_only_one_is_found_again_where_one_stands_on_it() -> None:
    assert found(TorchTensor("x", torch.tensor(math.nan)), (), 1) == ()
    assert found(TorchTensor("x", torch.tensor([[0.0, math.inf]])), (0, 1), -1) == (0, 1)
