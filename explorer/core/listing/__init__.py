"""A model as text for pipes and scripts: `--print table`, `loop`, `json` and `csv`.

A new format is one file, one entry in `FORMATS`, and its name in `explorer.arguments`, which `--help` tells without
importing what is here; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from explorer.core.listing.contract import json_text
from explorer.core.listing.csv_rows import csv_text
from explorer.core.listing.listing import Listing, Order, nothing_contains
from explorer.core.listing.loop import loop_text
from explorer.core.listing.table import table_text

__all__ = ["FORMATS", "PARTS_FORMATS", "Format", "Listing", "Order", "nothing_contains"]

Format = Callable[[Listing], Iterator[str]]
"""Yields a listing's text in pieces, so that 150,000 rows are never held at once."""

FORMATS: Mapping[str, Format] = {
    "table": table_text,
    "loop": loop_text,
    "json": json_text,
    "csv": csv_text,
}
"""What `--print` takes: each format's name and its writer."""

PARTS_FORMATS = ("table", "json", "csv")
"""Those that heed `order`, `top` and `depth`: the loop has the model's order, and a row a tensor, by contract."""
