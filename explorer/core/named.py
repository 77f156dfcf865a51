"""Names of some parameters of a model, looked up only when read: a finding at each keystroke may name 140,000."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress, islice
from typing import overload


class Named(Sequence[str]):
    """A sequence of names that is equal to the tuple of them."""

    __slots__ = ("_names", "rows")

    def __init__(self, names: Sequence[str], rows: bytes) -> None:
        """Take those of `names` whose byte in `rows` is 1."""
        self._names = names
        self.rows = rows
        """One byte a parameter of the model, in its order: 1 where it is among them."""

    def __len__(self) -> int:
        """Return how many there are."""
        return self.rows.count(1)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, in the model's order."""
        return compress(self._names, self.rows)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...
    def __getitem__(self, at: int | slice) -> str | tuple[str, ...]:
        """Return one name, or some; the first few are found without the rest."""
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            return tuple(islice(self, start, stop, step)) if step > 0 else tuple(self)[at]
        return next(islice(self, range(len(self))[at], None))

    def __eq__(self, other: object) -> bool:
        """Whether the names are those of another sequence."""
        if isinstance(other, Named) and other._names is self._names:
            return self.rows == other.rows
        return tuple(self) == tuple(other) if isinstance(other, Named | tuple) else NotImplemented

    def __hash__(self) -> int:
        """Return what the tuple of the names has."""
        return hash(tuple(self))

    def __repr__(self) -> str:
        """Show the tuple of the names."""
        return repr(tuple(self))
