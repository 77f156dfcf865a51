"""Statistics are held to torch's on the same tensors, and quantiles to sorting."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from explorer.core.statistics import QUANTILES, TensorStats, edges, summed
from explorer.sources.values import shading
from explorer.sources.values.in_memory import TorchTensor
from explorer.sources.values.measuring import CHUNK, measure
from explorer.sources.values.shading import shade

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")

SIZES = (1, 2, 5, 1000, CHUNK, 2 * CHUNK + 17)
FLOATS = (
    *("float32", "float64", "float16", "bfloat16"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
)
INTS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64")


def measured(tensor: torch.Tensor) -> TensorStats:
    going = measure(TorchTensor("x", tensor))
    before = 0.0
    while True:
        try:
            done = next(going)
        except StopIteration as end:
            stats: TensorStats = end.value
            return TensorStats.from_json(stats.to_json())
        assert before <= done <= 1
        before = done


def hold(tensor: torch.Tensor) -> TensorStats:
    """Measure, and compare with torch in float64."""
    stats = measured(tensor)
    wide = tensor.flatten().to(torch.float64)
    finite = wide[wide.isfinite()]
    counts = (stats.numel, stats.zeros, stats.nans, stats.infs)
    assert counts == (len(wide), int((wide == 0).sum()), int(wide.isnan().sum()), int(wide.isinf().sum()))
    for found, odd in ((stats.first_nan, tensor.double().isnan()), (stats.first_inf, tensor.double().isinf())):
        places = odd.nonzero().tolist()
        assert found == (tuple(places[0]) if places else None)
    if not len(finite):
        assert (stats.mean, stats.std, stats.least, stats.most, stats.absmax, stats.quantiles) == (
            *(None,) * 5,
            (),
        )
        return stats
    near = {"rel": 1e-10, "abs": 1e-12 * float(finite.abs().max())}
    assert stats.mean == pytest.approx(finite.mean().item(), **near)
    assert stats.norm == pytest.approx(torch.linalg.vector_norm(finite).item(), **near)
    assert stats.std is None if len(finite) == 1 else stats.std == pytest.approx(finite.std().item(), **near)
    assert (stats.least, stats.most, stats.absmax) == (
        finite.min().item(),
        finite.max().item(),
        finite.abs().max().item(),
    )
    assert stats.quantiles == pytest.approx(np.quantile(finite.numpy(), QUANTILES), rel=1e-12, abs=1e-300)
    assert sum(stats.histogram) == len(finite)
    if len(stats.histogram) > 1:
        expected, _ = np.histogram(finite.numpy(), bins=np.array(edges(stats)))
        # A value on an edge may fall to either side of it, by the last bit of the edge.
        assert np.abs(expected - np.array(stats.histogram)).sum() <= 4 + len(finite) // 20_000
    return stats


@pytest.mark.parametrize("name", FLOATS)
def test_floats_measure_as_torch_measures_them(name: str) -> None:
    torch.manual_seed(5)
    dtype = getattr(torch, name)
    for size in SIZES:
        for scale in (1.0, 1e-3) if size < CHUNK else (1e-2,):
            numbers = torch.randn(size) * scale
            hold(numbers.to(dtype))
            numbers[::7], numbers[3::11], numbers[5::13], numbers[6::5] = math.nan, math.inf, -math.inf, 0.0
            hold(numbers.to(dtype))
        for value in (1.0, -0.5, 0.0, math.nan) if size < CHUNK else (-0.5, math.nan):
            hold(torch.full((size,), value).to(dtype))


@pytest.mark.parametrize("name", INTS)
def test_whole_numbers_measure_as_torch_measures_them(name: str) -> None:
    torch.manual_seed(6)
    dtype = getattr(torch, name)
    for size in SIZES:
        hold(torch.randint(0 if name.startswith("u") else -100, 100, (size,)).to(dtype))
    if name in ("int32", "int64"):
        hold(torch.randint(-(2**31), 2**31 - 1, (3 * CHUNK,)).to(dtype))


def test_true_and_false_count_as_one_and_zero() -> None:
    hold(torch.rand(1000) > 0.3)


def test_complex_numbers_are_measured_by_their_absolute_values() -> None:
    numbers = torch.randn(1000, dtype=torch.complex64)
    assert measured(numbers).norm == pytest.approx(numbers.abs().double().norm().item(), rel=1e-6)


def test_neighbours_in_the_last_bits_are_told_apart_by_quantiles() -> None:
    bits = torch.arange(3 * CHUNK, dtype=torch.int32) + 0x3F800000
    hold(bits.view(torch.float32)[torch.randperm(len(bits))])
    wide = torch.arange(2 * CHUNK, dtype=torch.int64) + 0x3FF0000000000000
    hold(wide.view(torch.float64))
    hold(-wide.view(torch.float64))


def test_the_widest_range_has_a_histogram() -> None:
    stats = measured(torch.tensor([-1.7e308, 0.0, 1.7e308], dtype=torch.float64))
    assert sum(stats.histogram) == 3
    assert stats.histogram[0] == stats.histogram[-1] == 1


@pytest.mark.parametrize("scale", [1e300, 1e-300, 1e-310])
@pytest.mark.parametrize("size", [25, 2 * CHUNK + 17])
def test_numbers_whose_squares_are_no_float64_have_all_figures(size: int, scale: float) -> None:
    torch.manual_seed(7)
    unit = torch.randn(size, dtype=torch.float64)
    unit[: size // 2] /= 1e20  # the scale grows on the way
    unit[size // 3] = 0.0
    numbers = unit * scale
    stats, plain = measured(numbers), measured(unit)
    near = {"rel": 1e-6 if scale < 1e-305 else 1e-12}  # below 2.2e-308 float64 has fewer digits
    for name in ("mean", "std", "least", "most", "norm"):
        assert getattr(stats, name) == pytest.approx(getattr(plain, name) * scale, abs=0, **near)
    assert (stats.zeros, stats.nans, stats.infs) == (int((numbers == 0).sum()), 0, 0)
    assert summed([stats, stats]).norm == pytest.approx(stats.norm * math.sqrt(2), abs=0, **near)


def test_a_figure_that_is_no_float64_is_infinite_and_the_others_are_known() -> None:
    stats = measured(torch.tensor([-1.7e308, -1.7e308, 1.7e308, 1.7e308], dtype=torch.float64))
    assert (stats.mean, stats.std, stats.norm) == (0.0, math.inf, math.inf)
    assert stats.quantiles == (-1.7e308, -1.7e308, -1.7e308, 0.0, 1.7e308, 1.7e308, 1.7e308)


@pytest.mark.parametrize("turn", [lambda t: t.t(), lambda t: t[:, ::3], lambda t: t.expand(3, *t.shape)])
def test_strides_change_no_figure(turn: Callable[[torch.Tensor], torch.Tensor]) -> None:
    hold(turn(torch.randn(300, 40)))


def test_an_empty_tensor_has_counts_only() -> None:
    assert measured(torch.empty(0, 3)) == TensorStats(0, 0, 0, 0, None, None, None, None, 0.0)


def test_norms_add_up_as_of_one_vector() -> None:
    parts = torch.randn(10), torch.randn(5)
    both = summed(measured(part) for part in parts)
    assert both.norm == pytest.approx(torch.cat(parts).double().norm().item())
    assert (both.tensors, both.numel) == (2, 15)


# --- pictures -------------------------------------------------------------------------------------------------------


def shaded(tensor: torch.Tensor, rows: int, columns: int, leading: tuple[int, ...] = ()) -> list[list[float | None]]:
    going = shade(TorchTensor("x", tensor), leading, rows, columns)
    while True:
        try:
            assert 0 <= next(going) <= 1
        except StopIteration as end:
            picture: list[list[float | None]] = end.value
            return picture


@pytest.mark.parametrize("chunk", [1 << 18, 7, 1])
@pytest.mark.parametrize(("height", "width"), [(40, 60), (7, 5), (1, 9), (100, 70)])
def test_each_cell_is_the_root_mean_square_of_its_block(
    monkeypatch: pytest.MonkeyPatch, height: int, width: int, chunk: int
) -> None:
    monkeypatch.setattr(shading, "CHUNK", chunk)  # a row of a flat tensor may have more elements
    matrix = torch.randn(height, width)
    picture = shaded(matrix, 8, 11)
    rows, columns = min(8, height), min(11, width)
    for row in range(rows):
        for column in range(columns):
            block = matrix[
                row * height // rows : (row + 1) * height // rows,
                column * width // columns : (column + 1) * width // columns,
            ]
            assert picture[row][column] == pytest.approx(block.double().square().mean().sqrt().item(), rel=1e-9)


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_a_picture_of_numbers_whose_squares_are_no_float64_is_that_of_their_shares(scale: float) -> None:
    unit = torch.randn(40, 12, dtype=torch.float64)
    unit[20:] *= 1e3
    plain, scaled = (shaded(matrix, 4, 3) for matrix in (unit, unit * scale))
    for row, expected in zip(scaled, plain, strict=True):
        assert row == pytest.approx([cell * scale for cell in expected], rel=1e-9, abs=0)


def test_a_cell_with_a_nan_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = torch.ones(8, 8, 8)
    matrix[3, 5, 6] = math.nan
    picture = shaded(matrix, 4, 4, (3,))
    assert [(row, column) for row in range(4) for column in range(4) if picture[row][column] is None] == [(2, 3)]
    monkeypatch.setattr(shading, "CHUNK", 3)
    assert shaded(matrix, 4, 4, (3,)) == picture
    assert shaded(torch.ones(9), 4, 3) == [[1.0, 1.0, 1.0]]
