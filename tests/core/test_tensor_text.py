"""Held to torch's own print and torch's own numbers, dtype by dtype."""

from __future__ import annotations

import math
import random
import warnings

import pytest

from explorer.core.elements import ELEMENTS, decode, raw_text, unpack
from explorer.core.tensor_text import Printed, tensor_text
from explorer.core.windows import Selection, check, contiguous, corners, runs, selected

torch = pytest.importorskip("torch")

SHAPES = [
    *((), (1,), (5,), (7,), (40,), (1000,), (1001,), (3, 4), (100, 3), (3, 400), (200, 200), (2, 3, 4)),
    *((10, 20, 30), (7, 8, 9, 10), (1, 1, 1, 2000), (2000, 1), (0,), (0, 3), (2, 0)),
]
FLOATS = [name for name, element in ELEMENTS.items() if element.kind == "float" and hasattr(torch, name)]
INTS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


def stored(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()


def picked(tensor: torch.Tensor, selection: Selection) -> bytes:
    """Take what a selection names from the tensor's bytes, run by run."""
    data, size = stored(tensor), tensor.dtype.itemsize
    places = [run.start + run.step * at for run in runs(tensor.shape, selection) for at in range(run.count)]
    return b"".join(data[place * size : (place + 1) * size] for place in places)


def ours(tensor: torch.Tensor) -> str:
    dtype, shape = str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)
    printed = Printed(shape, dtype, str(tensor.device), tensor.requires_grad, type(tensor) is torch.nn.Parameter)
    if tensor.is_meta:
        return tensor_text(printed, None)
    return tensor_text(printed, decode(dtype, picked(tensor, corners(shape))))


def drawn(shape: tuple[int, ...], scale: float, pick: random.Random) -> torch.Tensor:
    """Random numbers of a magnitude; sometimes whole, sometimes with one that is none."""
    numbers = torch.randn(shape) * scale
    if pick.random() < 0.2:
        numbers = numbers.round()
    if pick.random() < 0.4 and numbers.numel():
        numbers.view(-1)[pick.randrange(numbers.numel())] = pick.choice([math.nan, math.inf, -math.inf, 0.0, -0.0])
    return numbers


@pytest.mark.parametrize("name", FLOATS)
def test_floats_print_as_torch_prints_them(name: str) -> None:
    torch.manual_seed(1)
    pick = random.Random(name)
    for shape in SHAPES:
        for scale in (1.0, 1e-3, 100.0, 1e5, 1e-6):
            numbers = drawn(shape, scale, pick)
            tensor = (numbers.abs() if name == "float8_e8m0fnu" else numbers).to(getattr(torch, name))
            assert ours(tensor) == repr(tensor), (shape, scale)
        for tensor in (torch.zeros(shape).to(getattr(torch, name)), torch.ones(shape).to(getattr(torch, name))):
            assert ours(tensor) == repr(tensor), shape


@pytest.mark.parametrize("name", [*INTS, "bool"])
def test_whole_numbers_print_as_torch_prints_them(name: str) -> None:
    torch.manual_seed(2)
    for shape in SHAPES:
        low = -100 if name in ("int8", "int16", "int32", "int64") else 0
        tensor = torch.randint(low, 100, shape).to(getattr(torch, name))
        assert ours(tensor) == repr(tensor), shape


@pytest.mark.parametrize("name", ["complex32", "complex64", "complex128"])
def test_complex_numbers_print_as_torch_prints_them(name: str) -> None:
    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch: half complex is experimental
        for shape in SHAPES:
            for scale in (1, 1e4):
                tensor = (torch.randn(shape, dtype=torch.complex64) * scale).to(getattr(torch, name))
                assert ours(tensor) == repr(tensor), shape


@pytest.mark.parametrize("shape", [(3,), (30, 40), (2, 3, 4)])
def test_bytes_of_two_values_print_as_torch_prints_them(shape: tuple[int, ...]) -> None:
    tensor = torch.randint(0, 256, shape).to(torch.uint8).view(torch.float4_e2m1fn_x2)
    assert ours(tensor) == repr(tensor)


def test_what_torch_says_after_the_values_is_said() -> None:
    parameter = torch.nn.Parameter(torch.randn(30, 40))
    assert ours(parameter) == repr(parameter)
    assert ours(parameter).startswith("Parameter containing:\ntensor([[")
    assert "requires_grad=True" in ours(parameter)
    meta = torch.empty(3, 4, device="meta", dtype=torch.bfloat16)
    assert ours(meta) == repr(meta) == "tensor(..., device='meta', size=(3, 4), dtype=torch.bfloat16)"
    gpu = Printed((2,), "float32", "cuda:0")
    assert tensor_text(gpu, (1.0, 2.0)) == "tensor([1., 2.], device='cuda:0')"


@pytest.mark.parametrize("width", [40, 60, 120])
def test_lines_break_where_torch_breaks_them(width: int) -> None:
    for tensor in (torch.randn(500), torch.randn(5, 60), torch.randn(2, 2, 30, dtype=torch.float64)):
        dtype = str(tensor.dtype).removeprefix("torch.")
        with torch._tensor_str.printoptions(linewidth=width):
            expected = repr(tensor)
        values = decode(dtype, stored(tensor))
        assert tensor_text(Printed(tuple(tensor.shape), dtype), values, width) == expected


@pytest.mark.parametrize("name", [name for name in FLOATS if ELEMENTS[name].nbytes < 4])
def test_every_code_of_a_small_float_has_torchs_value(name: str) -> None:
    wide = getattr(torch, name).itemsize
    codes = torch.arange(256**wide, dtype=torch.int32).to(torch.uint8 if wide == 1 else torch.uint16)
    tensor = codes.view(getattr(torch, name))
    for got, expected in zip(decode(name, stored(tensor)), tensor.to(torch.float64).tolist(), strict=True):
        assert isinstance(got, float)
        same = got == expected and math.copysign(1, got) == math.copysign(1, expected)
        assert same or (math.isnan(got) and math.isnan(expected))


def test_float32_and_float64_keep_every_bit() -> None:
    torch.manual_seed(4)
    for dtype in (torch.float32, torch.float64):
        tensor = torch.randint(-(2**31), 2**31 - 1, (4096,), dtype=torch.int32)
        tensor = tensor.view(dtype)
        tensor = tensor[tensor.isfinite()]
        assert list(decode(str(dtype).removeprefix("torch."), stored(tensor))) == tensor.tolist()


def test_four_and_six_bit_floats_have_the_values_of_the_ocp_specification() -> None:
    assert list(decode("float4_e2m1fn", bytes(range(8)))) == [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    assert list(decode("float4_e2m1fn_x2", b"\x91")) == [(0.5, -0.5)]
    assert max(decode("float6_e2m3fn", bytes(range(64)))) == 7.5
    assert max(decode("float6_e3m2fn", bytes(range(64)))) == 28.0


def test_bits_are_shown_with_the_highest_byte_first() -> None:
    assert raw_text(stored(torch.tensor([1.0]))) == "3f800000"


def test_packed_values_are_taken_apart_lowest_bits_first() -> None:
    assert unpack(b"\x21\x43", 4, 0, 4) == bytes([1, 2, 3, 4])
    assert unpack(b"\x21\x43", 4, 4, 2) == bytes([2, 3])
    sixes = 0b000011_000010_000001
    assert unpack(sixes.to_bytes(3, "little"), 6, 0, 3) == bytes([1, 2, 3])


# --- windows --------------------------------------------------------------------------------------------------------


def test_a_window_takes_the_elements_that_indexing_takes() -> None:
    tensor = torch.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)
    selection = (((1, 2),), ((2, 3),), ((0, 2), (4, 5)), ((3, 6),))
    expected = tensor[1, 2][[0, 1, 4], 3:6]
    assert list(decode("int64", picked(tensor, selection))) == expected.flatten().tolist()
    assert selected(selection) == (1, 1, 3, 3)


def test_a_window_of_a_transposed_tensor_follows_its_strides() -> None:
    tensor = torch.arange(12).reshape(3, 4).t()
    found = [
        run.start + run.step * at
        for run in runs(tensor.shape, (((1, 3),), ((0, 3),)), tensor.stride())
        for at in range(run.count)
    ]
    assert found == tensor[1:3].flatten().tolist()


def test_strides_are_torchs() -> None:
    for shape in [(), (3,), (2, 3, 4), (2, 0, 3)]:
        assert contiguous(shape) == torch.empty(shape).stride()


@pytest.mark.parametrize("selection", [[], [[[0, 3]], [[0, 5]]], [[[2, 1]], [[0, 1]]], [[[-1, 1]], [[0, 1]]]])
def test_a_window_outside_of_the_tensor_is_refused(selection: object) -> None:
    with pytest.raises(ValueError, match=r"dimensions|no such elements"):
        check((3, 4), selection)


def test_a_window_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="at once"):
        check((10**9,), [[[0, 10**9]]])
