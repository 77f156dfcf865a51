"""Reads the values of a tensor that this process holds, on whatever device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from explorer.core.asking import NO_WEIGHTS
from explorer.core.elements import ELEMENTS
from explorer.core.errors import ParamxError
from explorer.core.windows import Selection
from explorer.sources.values import Facts

if TYPE_CHECKING:
    import torch

REMEDY = "open it with --load, or open a directory or cached snapshot with weights, or the checkpoint file itself"
"""What gives a skeleton values."""

FACTORY_REMEDY = "a factory is built without any: open a checkpoint of it"
"""The same for what a function returns, which nothing can load weights into."""


class TorchTensor:
    """One tensor of torch (an `explorer.sources.values.Readable`)."""

    def __init__(self, name: str, tensor: torch.Tensor, remedy: str = REMEDY) -> None:
        """Read from a tensor; it is never changed.

        Args:
            name: Its name.
            tensor: The tensor.
            remedy: What would give it values if it is on the meta device.

        Raises:
            ParamxError: It has no values, or none that stand in rows and columns.
        """
        import torch
        from torch.nn.parameter import is_lazy

        if is_lazy(tensor):
            raise ParamxError(name, "it has no values yet: a lazy parameter is made when the model first runs")
        if tensor.device.type == "meta":
            raise ParamxError(name, f"{NO_WEIGHTS}: a skeleton on the meta device has shapes only", remedy)
        dtype = str(tensor.dtype).removeprefix("torch.")
        plain = tensor.detach()
        if plain.is_quantized:
            plain = plain.int_repr()
        if plain.layout != torch.strided or dtype not in ELEMENTS:
            what = f"its layout is {plain.layout}" if plain.layout != torch.strided else f"its dtype is {dtype}"
            raise ParamxError(name, f"its values can't be shown: {what}")
        self._bits = _as_whole_numbers(plain)
        self.in_order = self._bits.is_contiguous()
        self.facts = Facts(
            dtype,
            tuple(tensor.shape),
            str(tensor.device),
            tensor.requires_grad,
            isinstance(tensor, torch.nn.Parameter),
        )

    def take(self, selection: Selection) -> bytes:
        """Return the bytes of the selected elements."""
        import torch

        found = self._bits
        for dimension, ranges in enumerate(selection):
            parts = [found.narrow(dimension, start, stop - start) for start, stop in ranges]
            found = parts[0] if len(parts) == 1 else torch.cat(parts, dimension)
        return _bytes(found)

    def chunks(self, elements: int) -> Iterator[bytes]:
        """Yield the bytes of all elements, in the order in which they are stored."""
        # Dimensions by falling stride: a transposed tensor is contiguous that way, and needs no copy.
        stride = self._bits.stride()
        order = sorted(range(self._bits.dim()), key=lambda dimension: -cast(int, stride[dimension]))
        flat = self._bits.permute(order).reshape(-1)
        for start in range(0, flat.numel(), elements):
            yield _bytes(flat[start : start + elements])


def _as_whole_numbers(tensor: torch.Tensor) -> torch.Tensor:
    """Return the same bits as integers: every operation knows those, few know the small floats."""
    import torch

    tensor = tensor.resolve_conj().resolve_neg()
    widths = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    kind = widths.get(tensor.dtype.itemsize)
    return tensor if kind is None else tensor.view(kind)


def _bytes(tensor: torch.Tensor) -> bytes:
    data: bytes = tensor.contiguous().cpu().numpy().tobytes()
    return data
