"""Statistics of a tensor's values: the record that the worker makes and the screens show. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import hypot
from typing import Any

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""The quantiles that are worked out, each interpolated between two elements as `torch.quantile` does by default."""

BINS = 64
"""Bins of the histogram, of equal width from the least to the largest finite value."""


@dataclass(frozen=True, slots=True)
class TensorStats:
    """Statistics of one tensor. All but the counts are over its finite elements; `None` where there are too few."""

    numel: int
    """Elements."""
    zeros: int
    """Elements that are 0 or -0."""
    nans: int
    """Elements that are NaN."""
    infs: int
    """Elements that are infinite, of either sign."""
    mean: float | None
    """Mean."""
    std: float | None
    """Standard deviation of the sample (n - 1), as `torch.std` has it; `None` for fewer than two elements."""
    least: float | None
    """Minimum."""
    most: float | None
    """Maximum."""
    norm: float
    """Root of the sum of squares (L2, Frobenius)."""
    quantiles: tuple[float, ...] = ()
    """The `QUANTILES`; empty where nothing is finite."""
    histogram: tuple[int, ...] = ()
    """Elements in each bin, the last with its upper edge; one bin where all are equal, none where none is finite."""
    first_nan: tuple[int, ...] | None = None
    """Index of the first NaN; `None` where there is none, or values are read in another order than indices."""
    first_inf: tuple[int, ...] | None = None
    """Index of the first infinity, likewise."""

    @property
    def absmax(self) -> float | None:
        """Largest absolute value."""
        return None if self.least is None or self.most is None else max(abs(self.least), abs(self.most))

    @property
    def finite(self) -> int:
        """Elements that are neither NaN nor infinite."""
        return self.numel - self.nans - self.infs

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold; NaN is in none of the fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> TensorStats:
        """Read back what `to_json` made."""
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in item.items()
        }
        return cls(**plain)


@dataclass(frozen=True, slots=True)
class SummedStats:
    """Sums over the statistics of several tensors."""

    tensors: int
    """Tensors."""
    numel: int
    """Elements of all."""
    zeros: int
    """Zeros of all."""
    nans: int
    """NaN of all."""
    infs: int
    """Infinities of all."""
    norm: float
    """Norm of all as if they were one vector."""


def summed(many: Iterable[TensorStats]) -> SummedStats:
    """Sum up the statistics of several tensors."""
    rows = list(many)
    return SummedStats(
        len(rows),
        sum(row.numel for row in rows),
        sum(row.zeros for row in rows),
        sum(row.nans for row in rows),
        sum(row.infs for row in rows),
        hypot(*(row.norm for row in rows)),
    )


def edges(stats: TensorStats) -> list[float]:
    """Return the edges of the histogram's bins, one more than there are bins."""
    count = len(stats.histogram)
    if stats.least is None or stats.most is None or not count:
        return []
    # Halves, because the width of the widest float64 range overflows.
    half = stats.most / 2 - stats.least / 2
    return [stats.least + 2 * (half * (at / count)) for at in range(count)] + [stats.most]
