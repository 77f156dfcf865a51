"""No parameter of a live module, however odd, raises anything but one line when its values are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from explorer.core.errors import ParamxError
from explorer.core.windows import corners
from explorer.sources import Opened
from explorer.sources.live_loading import LiveLoading
from explorer.sources.live_module import live_origin, table_of
from explorer.sources.module_answers import answers_of
from explorer.sources.values import in_memory

torch = pytest.importorskip("torch")
from torch.utils._python_dispatch import return_and_correct_aliasing  # noqa: E402 - torch may be missing


class Packed(torch.Tensor):
    """A tensor made of two, as torchao's are: it knows `detach` and nothing else."""

    __module__ = "packer.tensors"

    @staticmethod
    def __new__(cls, data: torch.Tensor, scale: torch.Tensor) -> Packed:
        return torch.Tensor._make_wrapper_subclass(cls, data.shape, dtype=torch.float32)

    def __init__(self, data: torch.Tensor, scale: torch.Tensor) -> None:
        self.data_, self.scale = data, scale

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["data_", "scale"], None

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, arguments: Any, options: Any = None) -> Any:
        if function is torch.ops.aten.detach.default:
            found = cls(arguments[0].data_, arguments[0].scale)
            return return_and_correct_aliasing(function, arguments, options or {}, found)
        raise NotImplementedError(f"{cls.__name__} dispatch: attempting to run {function}")


class Dequantizing(Packed):
    """The same with a way to its values."""

    __module__ = "packer.tensors"

    def dequantize(self) -> torch.Tensor:
        return self.data_ * self.scale


class Placed(torch.Tensor):
    """What a DTensor has: its own part, and how the whole is placed."""

    _local_tensor: torch.Tensor
    placements: tuple[Any, ...]


def placed(local: torch.Tensor, partial: bool = False) -> torch.Tensor:
    found = torch.ones(2, 3).as_subclass(Placed)
    found._local_tensor, found.placements = local, (SimpleNamespace(is_partial=lambda: partial),)
    return found


class Refusing(torch.Tensor):
    """A tensor that raises on whatever it is asked."""

    @classmethod
    def __torch_function__(cls, *arguments: Any, **options: Any) -> Any:
        raise RuntimeError("no\nanswer")


def ragged(layout: torch.layout) -> torch.Tensor:
    return torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)], layout=layout)


def eye() -> torch.Tensor:
    return torch.eye(4)


ODD: dict[str, Callable[[], torch.Tensor]] = {
    "plain": lambda: torch.ones(2, 3),
    "scalar": lambda: torch.tensor(1.0),
    "empty": lambda: torch.ones(0, 3),
    "expanded": lambda: torch.ones(1).expand(5),
    "meta": lambda: torch.ones(3, device="meta"),
    "nested": lambda: ragged(torch.strided),
    "jagged": lambda: ragged(torch.jagged),
    "coo": lambda: eye().to_sparse(),
    "csr": lambda: eye().to_sparse_csr(),
    "quantized": lambda: torch.quantize_per_tensor(eye(), 0.1, 0, torch.quint8),
    "conjugate": lambda: torch.ones(2, 2, dtype=torch.complex64).conj(),
    "two a byte": lambda: torch.ones(2, 2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
    "packed": lambda: Packed(torch.ones(2, 3), torch.ones(1)),
    "dequantizing": lambda: Dequantizing(torch.ones(2, 3), torch.tensor(0.5)),
    "whole on this rank": lambda: placed(torch.full((2, 3), 2.0)),
    "part on this rank": lambda: placed(torch.ones(1, 3)),
    "part of a sum": lambda: placed(torch.ones(2, 3), partial=True),
    "refusing": lambda: torch.ones(2).as_subclass(Refusing),
}


def asked(parameter: torch.Tensor) -> Iterator[Any]:
    """Yield what each request about one parameter answers, refused ones as their error."""
    module = torch.nn.Module()
    module._parameters["w"] = parameter  # `Parameter(…)` would ask a refusing tensor
    anything = torch.nn.Linear(1, 1)  # a table: it is not asked about
    model = table_of(anything, live_origin(anything, "live"))
    loading = LiveLoading("odd", lambda: Opened(model, answers_of(module)))
    list(loading.events())
    window = {"selection": corners([2, 3])}
    for request, more in (("tensor", {}), ("values", window), ("statistics", {}), ("heat", HEAT)):
        try:
            yield loading.ask(request, {"index": 0, **more})
        except ParamxError as error:
            yield error


HEAT: dict[str, Any] = {"leading": [], "rows": 2, "columns": 2}


@pytest.mark.parametrize("kind", ODD)
def test_no_request_raises_anything_but_one_line(kind: str) -> None:
    for answer in asked(ODD[kind]()):
        assert not isinstance(answer, ParamxError) or "\n" not in answer.line


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("nested", "w: its values can't be shown: it is nested, and its parts have different shapes"),
        ("jagged", "w: its values can't be shown: it is nested, and its parts have different shapes"),
        ("part on this rank", "w: its values can't be shown: this rank holds 1 × 3 of a DTensor of 2 × 3"),
        ("part of a sum", "w: its values can't be shown: this rank holds a DTensor's summands, not the sums"),
        ("packed", "w: its values can't be shown: packer's Packed is made of other tensors"),
        ("refusing", "its values can't be shown: RuntimeError: no"),
    ],
)
def test_what_has_no_values_to_show_says_why(kind: str, line: str) -> None:
    for answer in asked(ODD[kind]()):
        assert isinstance(answer, ParamxError)
        assert answer.line == line


def test_a_packed_tensor_that_is_large_says_what_gives_its_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_memory, "MOST_DEQUANTIZED", 5)
    line = "w: its values can't be shown: packer's Dequantizing packs them; dequantize() gives them"
    assert {str(answer) for answer in asked(ODD["dequantizing"]())} == {line}


@pytest.mark.parametrize(
    ("kind", "value", "note"),
    [
        ("dequantizing", 0.5, "dequantized from packer's Dequantizing"),
        ("whole on this rank", 2.0, ""),
        ("plain", 1.0, ""),
    ],
)
def test_what_holds_its_values_in_other_tensors_shows_the_true_ones(kind: str, value: float, note: str) -> None:
    facts, values, statistics, _ = asked(ODD[kind]())
    assert (facts["dtype"], facts["shape"], facts["note"]) == ("float32", (2, 3), note)
    assert values == torch.full((2, 3), value).numpy().tobytes()
    assert math.isclose(statistics["result"]["mean"], value)
