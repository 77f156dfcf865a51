"""`--print loop`: the counting loop's lines, and their sum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from explorer.core.listing.listing import Listing, batched


def loop_text(listing: Listing) -> Iterator[str]:
    """Yield what the counting loop prints: index, each dimension, numel; then the sum of the lines, alone.

    What is no parameter has no line, and no index. The loop that people write:
    `for i, (n, p) in enumerate(model.named_parameters()): print(i, *p.shape, p.numel())`.
    """
    model = listing.model
    rows = [index for index in listing.rows() if index not in model.apart]
    places: Mapping[int, int] | range = range(len(model))
    if model.apart:
        places = {row: place for place, row in enumerate(row for row in range(len(model)) if row not in model.apart)}
    yield from batched(
        f"{' '.join(map(str, (places[index], *(model.shapes[index] or ()), model.numels[index])))}\n"
        for index in rows
    )
    yield f"{sum(model.numels[index] for index in rows)}\n"
