"""Reads the values of a tensor that this process holds, on whatever device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from explorer.core.asking import NO_WEIGHTS
from explorer.core.elements import ELEMENTS
from explorer.core.errors import ParamxError
from explorer.core.text import shape_text, visible
from explorer.core.windows import Selection, expanded
from explorer.sources.values import CANT_BE_SHOWN, Facts
from explorer.sources.values.arranged import by_blocks

if TYPE_CHECKING:
    import torch

REMEDY = "load weights into the module first"
"""What gives a module of this process values that has none."""

FACTORY_REMEDY = "a factory is built without any: open a checkpoint of it"
"""The same for what a function returns, which nothing can load weights into."""

MOST_DEQUANTIZED = 1 << 26
"""Elements of the largest packed tensor that is dequantized to be shown: all of them are, for every answer."""


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
        plain, note = _unwrapped(name, tensor)
        plain = plain.detach()
        dtype = str(plain.dtype).removeprefix("torch.")
        if plain.is_quantized:
            plain = plain.int_repr()
        if plain.layout != torch.strided or dtype not in ELEMENTS:
            what = f"its layout is {plain.layout}" if plain.layout != torch.strided else f"its dtype is {dtype}"
            raise _cant(name, what)
        self._bits = _as_whole_numbers(plain)
        # Dimensions by falling stride: a transposed tensor is contiguous that way, and needs no copy.
        stride = self._bits.stride()
        order = sorted(range(self._bits.dim()), key=lambda dimension: -cast(int, stride[dimension]))
        self._stored = self._bits.permute(order)
        self.in_order = self._bits.is_contiguous() or not self._stored.is_contiguous()
        self.facts = Facts(
            dtype,
            tuple(tensor.shape),
            str(tensor.device),
            tensor.requires_grad,
            isinstance(tensor, torch.nn.Parameter),
            note,
            expanded(self._bits.shape, stride),
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
        """Yield the bytes of all elements: in the order in which they are stored, where that leaves no gaps."""
        if not self._stored.is_contiguous():  # flattened, it would be copied whole
            yield from by_blocks(self, elements)
            return
        flat = self._stored.view(-1)
        for start in range(0, flat.numel(), elements):
            yield _bytes(flat[start : start + elements])


def _unwrapped(name: str, tensor: torch.Tensor) -> tuple[torch.Tensor, str]:
    """Return the one ordinary tensor that holds the values of a tensor made of others, and what must be said of it.

    Raises:
        ParamxError: There is none.
    """
    import torch

    if tensor.is_nested:
        raise _cant(name, "it is nested, and its parts have different shapes")
    local, placements = getattr(tensor, "_local_tensor", None), getattr(tensor, "placements", None)
    if local is not None and placements is not None:  # a DTensor, see `explorer.sources.odd_parameters.dtensor`
        if any(placement.is_partial() for placement in placements):
            raise _cant(name, "this rank holds a DTensor's summands, not the sums")
        if local.shape != tensor.shape:
            raise _cant(name, f"this rank holds {shape_text(local.shape)} of a DTensor of {shape_text(tensor.shape)}")
        return _unwrapped(name, local)
    if not hasattr(tensor, "__tensor_flatten__"):
        return tensor, ""
    kind = visible(f"{type(tensor).__module__.partition('.')[0]}'s {type(tensor).__name__}")
    if type(tensor).dequantize is torch.Tensor.dequantize:
        raise _cant(name, f"{kind} is made of other tensors")
    if tensor.numel() > MOST_DEQUANTIZED:
        raise _cant(name, f"{kind} packs them", "dequantize() gives them")
    return tensor.detach().dequantize(), f"dequantized from {kind}"


def _cant(name: str, why: str, remedy: str = "") -> ParamxError:
    return ParamxError(name, f"{CANT_BE_SHOWN}: {why}", remedy)


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
