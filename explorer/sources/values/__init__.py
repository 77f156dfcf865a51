"""Values of tensors: read from files or from modules in memory, and measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from explorer.core.windows import Selection

CANT_BE_SHOWN = "its values can't be shown"
"""Start of the error of a tensor that can be opened and not be read."""

QUANTIZED = frozenset({"qint8", "quint8", "qint32"})
"""Torch's dtypes of whole numbers that stand for others: of these the stored ones are shown."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a readable tensor is."""

    dtype: str
    """A key of `explorer.core.elements.ELEMENTS`: what the bytes that are given out hold."""
    shape: tuple[int, ...]
    """Size of each dimension as it is stored; packed tensors may have another in the table."""
    device: str | None = None
    """Where it lies; `None` in a file."""
    requires_grad: bool | None = None
    """Whether it is trained; `None` in a file."""
    is_parameter: bool = False
    """Whether it is a module's `Parameter`."""
    note: str = ""
    """What else must be told: that values were dequantized, or that the file's dtype is another than the model's."""
    expanded: tuple[int, ...] = ()
    """Dimensions along which the same elements stand again and again, as `torch.Tensor.expand` makes them."""

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        scaled = "as stored; torch prints (number - zero point) × scale" if self.dtype in QUANTIZED else ""
        return {**asdict(self), "note": ", ".join(filter(None, (self.note, scaled)))}


class Readable(Protocol):
    """One tensor whose values can be read."""

    @property
    def in_order(self) -> bool:
        """Whether `chunks` gives the elements in row-major order."""

    @property
    def facts(self) -> Facts:
        """What it is."""

    def take(self, selection: Selection) -> bytes:
        """Return the bytes of the selected elements, in row-major order, little-endian.

        Raises:
            ParamxError: They can't be read (any more).
        """

    def chunks(self, elements: int) -> Iterator[bytes]:
        """Yield the bytes of all elements, each once and in any order, about so many elements at a time.

        Raises:
            ParamxError: They can't be read (any more).
        """


OpenTensor = Callable[[int], Readable]
"""Opens the tensor of a row of the table; raises `ParamxError` where it has no values."""
