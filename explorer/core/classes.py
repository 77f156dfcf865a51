"""Folds a model's parameters into classes that every ordinary term treats alike, so that a keystroke is cheap.

Two parameters are of one class when their names differ in the value of digits only (`layer.3.` and `layer.7.`, not
`layer.10.`: the length of each run of digits is kept) and module class, shape, `requires_grad` and size are equal.
A class holds either parameters or other tensors, never both. 150,000 names of a mixture of experts make some hundred
classes; a term that does not tell digits apart is tried once a class.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeVar

from explorer.core.param import Model, ModuleClass

T = TypeVar("T")

FOLD = {ord(digit): "0" for digit in "123456789"}
"""For `str.translate`: makes every digit a 0."""


STRETCH = 10_000
"""Rows that are taken in one go: no other thread runs while Python's own loops do, and one may paint the screen."""


def stretches(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Iterate over stretches of rows, each short enough not to hold up other threads."""
    return (rows[start : start + STRETCH] for start in range(0, len(rows), STRETCH))


class Classes:
    """The classes of a model's rows, with the aliases of tied parameters as further rows after the parameters."""

    def __init__(self, model: Model) -> None:
        """Fold the names: about 100 ms for 150,000, once a model."""
        rows = len(model)
        self.alias_of = [index for index, names in model.aliases.items() for _ in names]
        """For each further row the parameter whose alias it is."""
        aliases = [name for names in model.aliases.values() for name in names]
        self.names: list[str] = [*model.names, *aliases]
        """Name of every row: the parameters, then the aliases."""
        self.rows = rows
        """Number of parameters."""
        folded: list[str] = []
        for part in stretches(self.names):
            folded += "\n".join(part).translate(FOLD).split("\n")

        def extended(codes: array[int]) -> array[int]:
            return codes + array(codes.typecode, (codes[index] for index in self.alias_of))

        outside = bytearray(rows)
        for index in model.apart:
            outside[index] = 1
        outside += bytes(outside[index] for index in self.alias_of)
        seen: dict[tuple[str, int, int, int, int, int, int], int] = {}
        number = seen.setdefault
        # len(seen) is read before the key is stored, so each new class gets the next number.
        self.ids = [
            number(key, len(seen))
            for key in zip(
                folded,
                extended(model.modules.codes),
                extended(model.shapes.codes),
                extended(model.requires_grad.codes),
                extended(model.numels),
                extended(model.nbytes),
                outside,
                strict=True,
            )
        ]
        """Class of every row."""
        keys = list(seen)
        self.size = len(keys)
        """Number of classes."""
        self.folded: list[str] = [key[0] for key in keys]
        """Name of each class, its digits written 0."""
        self.modules: list[ModuleClass | None] = [model.modules.values[key[1]] for key in keys]
        """Class of the owning module, of each class of parameters."""
        self.shapes = [model.shapes.values[key[2]] for key in keys]
        """Shape of each class."""
        self.ndims = [None if shape is None else len(shape) for shape in self.shapes]
        """Number of dimensions of each class; `None` where the shape is unknown."""
        self.apart = bytes(key[6] for key in keys)
        """For each class 1 if its members are not parameters, and so in no group."""
        self.trained = [model.requires_grad.values[key[3]] is not False and not key[6] for key in keys]
        """Whether each class is trained; unknown counts as trained."""
        members: Counter[int] = Counter()
        for numbers in stretches(self.ids[:rows]):
            members.update(numbers)
        self.tensors = [0 if key[6] else members[number] for number, key in enumerate(keys)]
        """Number of parameters in each class, aliases left out."""
        self.numel = [key[4] for key in keys]
        """Elements of one parameter of each class."""
        self.nbyte = [key[5] for key in keys]
        """Bytes of one parameter of each class; -1 where unknown."""
        self.numels = [self.tensors[number] * key[4] for number, key in enumerate(keys)]
        """Elements of each class."""
        self.nbytes = [self.tensors[number] * key[5] for number, key in enumerate(keys)]
        """Bytes of each class; negative where unknown."""
        self._segments = _segments(self.ids)

    def expand(self, values: Sequence[int]) -> bytes:
        """Return for every row, aliases included, the value (0 to 255) of its class."""
        return b"".join(
            codes.translate(bytes([values[number] for number in local]) + bytes(256 - len(local)))
            for local, codes in self._segments
        )


def _segments(ids: Sequence[int]) -> list[tuple[list[int], bytes]]:
    """Cut the rows into stretches of at most 256 classes, each as local codes: `bytes.translate` expands those.

    Returns:
        For every stretch the class of each local code, and the local code of each row.
    """
    segments: list[tuple[list[int], bytes]] = []
    local: dict[int, int] = {}
    codes = bytearray()
    for number in ids:
        code = local.get(number)
        if code is None:
            if len(local) == 256:
                segments.append((list(local), bytes(codes)))
                local, codes = {}, bytearray()
            code = local[number] = len(local)
        codes.append(code)
    segments.append((list(local), bytes(codes)))
    return segments
