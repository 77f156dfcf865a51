"""What is known of a tensor that repeats or overlaps its own elements is torch's, and takes no reading of each."""

from __future__ import annotations

import math
from collections.abc import Generator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from explorer.core.statistics import TensorStats
from explorer.sources.checkpoint.files import File
from explorer.sources.checkpoint.place import Place
from explorer.sources.values import Readable, in_file, seeking
from explorer.sources.values.difference import differ
from explorer.sources.values.in_file import FileTensor
from explorer.sources.values.in_memory import TorchTensor
from explorer.sources.values.measuring import CHUNK, measure
from explorer.sources.values.seeking import seek
from explorer.sources.values.shading import shade

torch = pytest.importorskip("torch")

LONG = 10**12
"""An expanded size that nothing can go through."""

TURNS = {
    "rows": lambda t: t.expand(7, *t.shape),
    "columns": lambda t: t.unsqueeze(-1).expand(*t.shape, 5),
    "between, turned": lambda t: t.t().unsqueeze(1).expand(-1, 4, -1),
    "one number": lambda t: t[2, 3].expand(6, 9),
    "windows": lambda t: t.as_strided((60, 11), (1, 1)),
    "windows, turned": lambda t: t.as_strided((11, 20), (1, 3)),
    "a column": lambda t: t[:, 1:2],
    "every third": lambda t: t[:, ::3],
}
"""Views of a matrix of 10 × 8 numbers."""


class CountingFile(File):
    """Counts what is read."""

    reads = nbytes = 0

    def read(self, offset: int, nbytes: int) -> bytes:
        CountingFile.reads += 1
        CountingFile.nbytes += nbytes
        return super().read(offset, nbytes)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[CountingFile]:
    """The counts of the tensors of `filed`, from 0."""
    monkeypatch.setattr(CountingFile, "reads", 0)
    monkeypatch.setattr(CountingFile, "nbytes", 0)
    return CountingFile


def filed(tensor: torch.Tensor, folder: Path) -> FileTensor:
    """Return the tensor as `torch.save` stores it: its storage and its strides."""
    path = folder / "storage"
    path.write_bytes(torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage()).numpy().tobytes())
    size, dtype = tensor.element_size(), str(tensor.dtype).removeprefix("torch.")
    last = sum((length - 1) * step for length, step in zip(tensor.shape, tensor.stride(), strict=True))
    place = Place(path, tensor.storage_offset() * size, (last + 1) * size, dtype, (*tensor.shape,), tensor.stride())
    return FileTensor("x", place, CountingFile)


def ended(going: Generator[float, None, Any]) -> Any:
    before = 0.0
    while True:
        try:
            done = next(going)
        except StopIteration as end:
            return end.value
        assert before <= done <= 1
        before = done


def matrix(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    torch.manual_seed(3)
    made = torch.randn(10, 8)
    made[1, 3], made[4, 1], made[5, 5] = math.nan, math.inf, 0.0
    return made.to(dtype)


def assert_alike(found: TensorStats, expected: TensorStats) -> None:
    one, other = found.to_json(), expected.to_json()
    assert one.keys() == other.keys()
    for key, value in other.items():
        assert one[key] == (value if value is None else pytest.approx(value, rel=1e-12)), key


@pytest.mark.parametrize("most", [10, in_file.MAX_SELECTED])
@pytest.mark.parametrize("name", TURNS)
def test_a_view_has_the_figures_of_its_copy(
    name: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_file, "MAX_SELECTED", most)
    for dtype in (torch.float32, torch.bfloat16):
        view = TURNS[name](matrix(dtype))
        copy = TorchTensor("x", view.clone(memory_format=torch.contiguous_format))
        for tensor in (TorchTensor("x", view), filed(view, tmp_path)):
            everything = tuple(((0, size),) for size in view.shape)
            assert tensor.take(everything) == copy.take(everything)
            assert_alike(ended(measure(tensor)), ended(measure(copy)))
            leading = (3,) * (view.dim() - 2)
            pictures = (ended(shade(each, leading, 4, 3)) for each in (tensor, copy))
            for row, expected in zip(*pictures, strict=True):
                assert row == pytest.approx(expected)
            assert ended(differ(tensor, tensor))["differing"] == ended(differ(tensor, copy))["differing"] == 0


@pytest.mark.parametrize("by", [1, -1])
@pytest.mark.parametrize("name", TURNS)
def test_the_next_nan_of_a_view_is_that_of_its_copy(
    name: str, by: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeking, "BLOCK", 7)
    view = TURNS[name](matrix())[..., :6]
    odd = [tuple(index) for index in torch.nonzero(~view.isfinite()).tolist()][::by]
    tensor = filed(view, tmp_path)
    for start in list(product(*map(range, view.shape)))[::5]:
        after = [index for index in odd if (index > start if by > 0 else index < start)]
        expected = (after or odd or [None])[0]
        found = ended(seek(tensor, start, by))["index"]
        assert found == (None if expected is None else list(expected))


def test_a_wide_expanded_tensor_has_the_figures_of_its_copy() -> None:
    torch.manual_seed(4)
    view = torch.randn(CHUNK + 9, 1).expand(-1, 3)
    assert_alike(ended(measure(TorchTensor("x", view))), ended(measure(TorchTensor("x", view.clone()))))


def both(tensor: torch.Tensor, folder: Path) -> tuple[Readable, Readable]:
    return TorchTensor("x", tensor), filed(tensor, folder)


def test_no_element_is_read_as_often_as_it_is_repeated(tmp_path: Path, counted: type[CountingFile]) -> None:
    ended(measure(filed(torch.randn(400).expand(50, 400), tmp_path)))
    assert counted.nbytes == 1600


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_repeated_without_end_is_known_at_once(dtype: torch.dtype, tmp_path: Path) -> None:
    view = torch.tensor([[0.0], [math.nan], [2.0], [-4.0]], dtype=dtype).expand(4, LONG)
    other = torch.tensor([[0.0], [1.0], [2.0], [-1.0]], dtype=dtype).expand(4, LONG)
    for tensor in both(view, tmp_path):
        stats = ended(measure(tensor))
        assert (stats.numel, stats.zeros, stats.nans, stats.infs) == (4 * LONG, LONG, LONG, 0)
        assert (stats.least, stats.most, stats.first_nan) == (-4.0, 2.0, (1, 0))
        assert (stats.mean, stats.std) == pytest.approx((-2 / 3, math.sqrt(56 / 9)))
        assert stats.norm == pytest.approx(math.sqrt(20 * LONG))
        assert stats.quantiles == (-4.0, -4.0, -4.0, 0.0, 2.0, 2.0, 2.0)
        assert sum(stats.histogram) == 3 * LONG
        assert ended(shade(tensor, (), 4, 2)) == [[0.0] * 2, [None] * 2, [2.0] * 2, [4.0] * 2]
        for start, by, index in (((3, 7), 1, [1, 0]), ((1, 7), 1, [1, 8]), ((1, 0), -1, [1, LONG - 1])):
            assert ended(seek(tensor, start, by)) == {"index": index}
        found = ended(differ(tensor, TorchTensor("x", other)))
        assert (found["differing"], found["nan"], found["largest_finite"]) == (2 * LONG, LONG, 3.0)


@pytest.mark.parametrize(("shape", "stride"), [((3000, 1), (2, 1)), ((1000, 3), (2, 5)), ((60, 60), (1, 1))])
def test_rows_of_a_strided_tensor_cost_no_read_each(
    shape: tuple[int, int],
    stride: tuple[int, int],
    tmp_path: Path,
    counted: type[CountingFile],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_file, "MAX_SELECTED", 10)
    ended(measure(filed(torch.randn(6000).as_strided(shape, stride), tmp_path)))
    assert counted.reads == 1
