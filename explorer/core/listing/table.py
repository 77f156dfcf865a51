"""`--print table`: aligned columns of tensors or, with `--depth`, of modules, and below them what they sum to."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from explorer.core.listing.listing import Listing, batched, shape_word
from explorer.core.parts import PART_COLUMNS, Part
from explorer.core.text import UNKNOWN, plural, share_text, short_bytes, some_names
from explorer.core.totals import loop_check, other_counts, sums_text, tensors_text, totals

WIDEST_COLUMN = 120
"""Columns are padded to at most this width; a longer name is whole, and pushes its own row only.

Without a bound, one name of 5,000 characters would pad each of 150,000 rows to it: 750 MB of spaces.
"""

WIDEST_FIGURE = 24
"""Characters up to which a text that begins with a digit is a figure, and aligned right."""

NAMED = 3
"""Parameters that a finding below the table names."""

NOTES = 12
"""Different notes that are told below the table; most are borne by many tensors."""

COLUMNS = ("index", "name", "shape", "numel", "running", "dtype", "device", "requires_grad", "group")
"""Columns of tensors, in order; `csv` has them too."""

RIGHT_ALIGNED = frozenset({"index", "numel", "running", "tensors", "parameters", "nbytes", "share"})
"""Columns of numbers."""


def table_text(listing: Listing) -> Iterator[str]:
    """Aligned columns, then what they sum to, what was opened, how others count it, and what is suspicious."""
    if listing.depth is None:
        rows, running = listing.rows(), listing.model.running()
        yield from _aligned(COLUMNS, lambda: (_cells(listing, running, index) for index in rows))
    else:
        yield from _aligned(PART_COLUMNS, lambda: (_part_cells(listing, part) for part in listing.parts))
    yield "\n"
    yield from (line + "\n" for line in summary(listing))


def _aligned(columns: Sequence[str], rows: Callable[[], Iterable[Sequence[str]]]) -> Iterator[str]:
    """Yield a line of column names and a line a row.

    Two passes, because widths are known only at the end; holding the cells would cost 100 MB for 150,000 rows.
    """
    widths = [len(column) for column in columns]
    for cells in rows():
        for column, cell in enumerate(cells):
            widths[column] = max(widths[column], _width(cell))
    widths = [min(width, WIDEST_COLUMN) for width in widths]
    yield _line(columns, columns, widths)
    yield from batched(_line(columns, cells, widths) for cells in rows())


def _cells(listing: Listing, running: Sequence[int], index: int) -> tuple[str, ...]:
    model = listing.model
    grad = model.requires_grad[index]
    return (
        str(index),
        model.names[index] or UNKNOWN,
        shape_word(model.shapes[index]) or UNKNOWN,
        str(model.numels[index]),
        str(running[index]),
        model.dtypes[index] or UNKNOWN,
        model.devices[index] or UNKNOWN,
        UNKNOWN if grad is None else str(grad),
        listing.group(index) or f"({model.apart[index]})",
    )


def _part_cells(listing: Listing, part: Part) -> tuple[str, ...]:
    sums = part.totals(listing.model)
    return (
        part.name or UNKNOWN,
        str(sums.tensors),
        str(sums.parameters),
        UNKNOWN if sums.nbytes is None else str(sums.nbytes),
        # One word, as a shape is.
        share_text(sums.parameters, listing.model.total).replace(" ", ""),
        "+".join(value or UNKNOWN for value in part.values(listing.model.dtypes)),
        "+".join(UNKNOWN if value is None else str(value) for value in part.values(listing.model.requires_grad)),
        "+".join(listing.groups(part)),
    )


def _line(columns: Sequence[str], cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        space = " " * (width - _width(cell))
        padded.append(space + cell if column in RIGHT_ALIGNED else cell + space)
    return "  ".join(padded).rstrip() + "\n"


def _width(text: str) -> int:
    """Return how many terminal columns `text` takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(char) in ("Mn", "Me") else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def summary(listing: Listing) -> Iterator[str]:
    """Yield the lines below the table: sums, origin, the check, other counts, groups, findings."""
    model = listing.model
    whole = totals(model)
    if listing.limits:
        shown = totals(model, listing.shown())
        of_all = "running counts every tensor" if listing.depth is None else "shares are of the whole"
        yield (
            f"{shown.tensors:,} of {tensors_text(model)} · "
            f"{shown.parameters:,} of {plural(whole.parameters, 'parameter')} · "
            f"{short_bytes(shown.nbytes)} of {short_bytes(whole.nbytes)} · "
            f"{', '.join(listing.limits)}; {of_all}"
        )
    else:
        yield sums_text(model)
    origin = model.origin
    known = "remembered (--no-cache builds it)" if origin.remembered else ""
    yield " · ".join(filter(None, (origin.target, origin.class_name, origin.description, known)))
    yield loop_check(model)[1]
    yield from _section(
        "Other counts",
        [
            (
                other.name,
                f"{other.elements:,}",
                "" if other.tensors is None else plural(other.tensors, "tensor"),
                other.reason,
            )
            for other in other_counts(model)
        ],
    )
    yield from _section("Notes", list(_notes(listing)))
    assignment = listing.assignment
    yield from _section(
        "Groups",
        [
            (
                rule.name,
                f"{assignment.parameters[code]:,}",
                plural(assignment.tensors[code], "tensor"),
                share_text(assignment.parameters[code], whole.parameters),
                " ".join(f"{key}={value}" for key, value in rule.options.items()),
            )
            for code, rule in enumerate(listing.assignment.grouping.rules)
        ],
    )
    yield from _section(
        "Findings",
        [(each.severity, each.id, each.message, some_names(each.names, NAMED)) for each in listing.findings],
    )


def _notes(listing: Listing) -> Iterator[tuple[str, ...]]:
    """Yield what is odd about the shown tensors, each note once with how many bear it and the first of them."""
    notes, names = listing.model.notes, listing.model.names
    bearers: dict[str, list[str]] = {}
    for index in listing.shown() if notes else ():
        if index in notes:
            bearers.setdefault(notes[index], []).append(names[index])
    for note, held in islice(bearers.items(), NOTES):
        yield plural(len(held), "tensor"), note, some_names(held, NAMED)
    if len(bearers) > NOTES:
        left = sum(map(len, islice(bearers.values(), NOTES, None)))
        yield plural(left, "tensor"), f"{plural(len(bearers) - NOTES, 'other note')}: --print json has them all", ""


def _section(title: str, rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield a titled block of aligned rows; nothing when there are none. Figures are aligned right."""
    if not rows:
        return
    yield ""
    yield title
    columns = list(zip(*rows, strict=True))
    widths = [max(map(_width, column)) for column in columns]
    figures = [
        all(len(cell) <= WIDEST_FIGURE and cell[:1] in "0123456789<>–" for cell in column) for column in columns
    ]
    for row in rows:
        cells = [
            " " * (width - _width(cell)) + cell if figure else cell + " " * (width - _width(cell))
            for cell, width, figure in zip(row, widths, figures, strict=True)
        ]
        yield ("  " + "  ".join(cells)).rstrip()
