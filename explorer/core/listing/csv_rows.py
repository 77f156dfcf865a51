"""`--print csv`: the columns of the table, and more of each tensor."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice

from explorer.core.listing.listing import BATCH, Listing, notes_of, shape_word
from explorer.core.listing.table import COLUMNS
from explorer.core.parts import PART_COLUMNS, Part

MORE_COLUMNS = ("module_class", "aliases", "shard", "notes")
"""What `csv` has beside the columns of the table."""


def csv_text(listing: Listing) -> Iterator[str]:
    """Yield comma-separated values with a header line; unknown is empty, aliases are separated by spaces.

    Cells that begin with `=`, `+`, `-` or `@` are written as they are: the rows are for programs, and a quote put
    before a name would make it another name. Import the columns as text if a spreadsheet is to open them.
    """
    if listing.depth is None:
        rows, running = listing.rows(), listing.model.running()
        yield from _csv((*COLUMNS, *MORE_COLUMNS), (_fields(listing, running, index) for index in rows))
    else:
        yield from _csv(PART_COLUMNS, (_part_fields(listing, part) for part in listing.parts))


def _csv(columns: Sequence[str], rows: Iterator[Sequence[object]]) -> Iterator[str]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    while batch := list(islice(rows, BATCH)):
        writer.writerows(batch)
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


def _fields(listing: Listing, running: Sequence[int], index: int) -> tuple[object, ...]:
    param = listing.model[index]
    return (
        index,
        param.name,
        shape_word(param.shape),
        param.numel,
        running[index],
        param.dtype,
        param.device,
        param.requires_grad,
        listing.group(index),
        param.module_class.name if param.module_class else None,
        " ".join(param.aliases),
        param.shard,
        notes_of(param) or None,
    )


def _part_fields(listing: Listing, part: Part) -> tuple[object, ...]:
    model = listing.model
    sums = part.totals(model)
    return (
        part.name,
        sums.tensors,
        sums.parameters,
        sums.nbytes,
        sums.parameters / model.total if model.total else None,
        "+".join(filter(None, part.values(model.dtypes))),
        "+".join(str(value) for value in part.values(model.requires_grad) if value is not None),
        "+".join(listing.groups(part)),
    )
