"""Values stored in another arrangement than the table has: slices of a tensor, and tensors made of several."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import product
from math import prod

from explorer.core.arrange import Fusion, Region
from explorer.core.errors import ParamxError
from explorer.core.text import visible
from explorer.core.windows import Range, Selection, blocks
from explorer.sources.values import CANT_BE_SHOWN, Facts, Readable


class Slice:
    """A slice of a tensor, as a tensor of its own (an `explorer.sources.values.Readable`)."""

    in_order = True

    def __init__(self, tensor: Readable, region: Region, shape: tuple[int, ...], note: str = "") -> None:
        """Read a slice.

        Args:
            tensor: The tensor.
            region: The slice.
            shape: How it is shown; it has the slice's elements.
            note: What else is told of it.
        """
        whole = tensor.facts.shape
        self._ranges = (*region, *((0, size) for size in whole[len(region) :]))
        if len(self._ranges) != len(whole) or any(
            stop > size for (_, stop), size in zip(region, whole, strict=False)
        ):
            raise ParamxError("values", "the tensor is stored in another shape than it is told to have")
        self._tensor = tensor
        facts = tensor.facts
        both = ", ".join(filter(None, (facts.note, note)))
        self.facts = Facts(facts.dtype, shape, facts.device, facts.requires_grad, facts.is_parameter, both)

    def take(self, selection: Selection) -> bytes:
        """Return the bytes of the selected elements."""
        # Dimensions that the slice has one of, and the shape does not have, come first.
        more = len(self._ranges) - len(self.facts.shape)
        wanted: list[tuple[Range, ...]] = [((start, stop),) for start, stop in self._ranges[:more]]
        for (start, _), ranges in zip(self._ranges[more:], selection, strict=True):
            wanted.append(tuple((start + first, start + last) for first, last in ranges))
        return self._tensor.take(tuple(wanted))

    def chunks(self, elements: int) -> Iterator[bytes]:
        """Yield the bytes of all elements, in row-major order."""
        yield from by_blocks(self, elements)


class Stacked:
    """One tensor that is made of several (an `explorer.sources.values.Readable`): experts, as they are loaded."""

    in_order = True

    def __init__(
        self, name: str, parts: Sequence[Readable], regions: Sequence[Region], shape: tuple[int, ...]
    ) -> None:
        """Read from the parts.

        Args:
            name: How errors call the tensor.
            parts: What it is made of.
            regions: Which slice each part is; they have one length, and are the whole without overlaps.
            shape: The shape of the whole.

        Raises:
            ParamxError: The parts are of several dtypes.
        """
        dtypes = {part.facts.dtype for part in parts}
        if len(dtypes) != 1:
            raise ParamxError(name, f"its parts are of several dtypes: {', '.join(sorted(dtypes))}")
        # Parts that differ in the region's last dimension only lie side by side in it.
        self._rows: dict[Region, list[tuple[Range, Readable]]] = {}
        for part, region in sorted(zip(parts, regions, strict=True), key=lambda item: item[1]):
            self._rows.setdefault(region[:-1], []).append((region[-1], part))
        facts = parts[0].facts
        self.facts = Facts(
            dtypes.pop(), shape, facts.device, None, True, f"made of {len(parts):,} tensors of the file"
        )

    def take(self, selection: Selection) -> bytes:
        """Return the bytes of the selected elements, each from the part that holds it."""
        return b"".join(self._pieces(selection))

    def chunks(self, elements: int) -> Iterator[bytes]:
        """Yield the bytes of all elements, in row-major order."""
        if all(stop == start + 1 for before in self._rows for start, stop in before):  # one part after the other
            for row in self._rows.values():
                for _, part in row:
                    yield from in_order(part, elements)
            return
        yield from by_blocks(self, elements)

    def _pieces(self, selection: Selection) -> Iterator[bytes]:
        depth = len(next(iter(self._rows)))
        leading = [[index for start, stop in ranges for index in range(start, stop)] for ranges in selection[:depth]]
        for indices in product(*leading):
            at = tuple((index, index + 1) for index in indices)
            before = at if at in self._rows else next(iter(self._rows))
            for first, last in selection[depth]:
                for (start, stop), part in self._rows[before]:
                    low, high = max(first, start), min(last, stop)
                    if low < high:
                        inner = [((a - b, a - b + 1),) for (a, _), (b, _) in zip(at, before, strict=True)]
                        wanted = (*inner, ((low - start, high - start),), *selection[depth + 1 :])
                        # A stack's own dimension is not one of its parts.
                        yield part.take(wanted[len(wanted) - len(part.facts.shape) :])


def in_order(tensor: Readable, elements: int) -> Iterator[bytes]:
    """Yield all elements in row-major order; `chunks` may give them in the order in which they are stored."""
    if tensor.in_order:
        yield from tensor.chunks(elements)
    else:
        yield from by_blocks(tensor, elements)


def by_blocks(tensor: Readable, elements: int) -> Iterator[bytes]:
    """Yield all elements in row-major order, so many at most at a time."""
    for block in blocks([(0, size) for size in tensor.facts.shape], elements):
        yield tensor.take(block)


def once(tensor: Readable, dimensions: Collection[int]) -> tuple[Readable, int]:
    """Return a tensor with one index only of dimensions along which it is expanded.

    Args:
        tensor: The tensor.
        dimensions: Of its `Facts.expanded` those wanted.

    Returns:
        It, and how often each of its elements stands in the whole.
    """
    if not dimensions:
        return tensor, 1
    whole = tensor.facts.shape
    shape = tuple(1 if at in dimensions else size for at, size in enumerate(whole))
    return Slice(tensor, tuple((0, size) for size in shape), shape), prod(whole[at] for at in dimensions)


def arranged(name: str, fusion: Fusion, target: str, open_part: Callable[[str], Readable]) -> Readable:
    """Return a parameter of a model, from the tensors of the file that it is made of, or is cut from.

    Args:
        name: How errors call it.
        fusion: How it is made.
        target: Its own name in the relation.
        open_part: Opens a tensor of the file.

    Raises:
        ParamxError: How it is made is not known, or the file has changed.
    """
    if not fusion.regions or fusion.shape is None:
        raise ParamxError(name, f"{CANT_BE_SHOWN}: {fusion.why}", "open it with --load, or the file itself")
    if fusion.in_model:
        return Stacked(name, [open_part(part) for part in fusion.parts], fusion.regions, fusion.shape)
    region = fusion.regions[fusion.parts.index(target)]
    shape = tuple(stop - start for start, stop in region) + fusion.shape[len(region) :]
    return Slice(open_part(fusion.whole), region, shape, f"a slice of {visible(fusion.whole)}")
