"""`--print stats`: the statistics of every tensor as aligned columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from explorer.core.listing.listing import Listing
from explorer.core.sweep import FIGURES, is_complex, sum_line, whole_numbers
from explorer.core.text import UNKNOWN, shape_text


def stats_text(listing: Listing) -> Iterator[str]:
    """Yield the statistics as aligned columns, one tensor a line, then their sums: `--print stats`.

    Figures have nine digits, which tell float32 values apart; a tensor that could not be measured has `–`, and
    `unmeasured_line` says why.
    """
    model, statistics = listing.model, listing.statistics
    rows = listing.rows()
    head = ("index", "name", "shape", "dtype", *(figure.title for figure in FIGURES))
    table: list[Sequence[str]] = [head]
    for index in rows:
        stats = statistics.get(index)
        shape = shape_text(model.shapes[index]).replace(" × ", "x")
        figures = (UNKNOWN if stats is None else _precise(figure.of(stats)) for figure in FIGURES)
        table.append((str(index), model.names[index], shape, model.dtypes[index] or UNKNOWN, *figures))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        cells = [
            cell.ljust(width) if column in (1, 2, 3) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip() + "\n"
    yield f"\n{sum_line(statistics, rows, whole_numbers(model))}\n"
    if any(is_complex(model.dtypes[index]) for index in rows):
        yield "Figures of complex tensors are of the absolute values.\n"


def _precise(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return str(value) if isinstance(value, int) else f"{value:.9g}"
