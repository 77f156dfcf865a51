"""A model's parameters as a table for notebooks (HTML), Rich consoles and `print`: where the interface can't go."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from explorer.core.groups import NO_GROUP, Grouper
from explorer.core.listing.listing import notes_of
from explorer.core.param import Model
from explorer.core.text import UNKNOWN, plural, shape_text
from explorer.core.totals import loop_check, sums_text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table

    from explorer.core.rules import Grouping

MAX_ROWS = 1_000
"""Most parameters of a table: a notebook keeps each cell's output whole. What is more is counted."""

HEADS = ("name", "shape", "params", "running", "dtype", "device", "grad", "group", "notes")
"""The columns; `group` only with groups, `notes` only where a parameter has one or other names."""

NUMBERS = frozenset({"params", "running"})
"""Columns that are aligned right."""

DROPPED = ("notes", "running", "device", "dtype", "grad", "shape", "group")
"""The columns that a narrow console does without, the first to go first."""


class Summary:
    """The table; a notebook shows it as HTML, a Rich console as a Rich table, `print` as aligned text."""

    def __init__(self, model: Model, grouping: Grouping | None = None) -> None:
        """Summarize `model`, with each parameter's group if there are groups."""
        self.model = model
        """The parameters."""
        self.grouping = grouping
        """The groups, if they are shown."""
        self._groups: list[str] | None = None
        if grouping is not None:
            grouper = Grouper(model)
            try:
                codes = grouper.codes(grouping)
            finally:
                grouper.close()
            rules = grouping.rules
            self._groups = [UNKNOWN if code == NO_GROUP else rules[code].name for code in codes[:MAX_ROWS]]
        shown = {"group": self._groups is not None, "notes": bool(model.notes or model.aliases or model.apart)}
        self._heads = [head for head in HEADS if shown.get(head, True)]

    @property
    def title(self) -> str:
        """What the model is, and its sums."""
        origin = self.model.origin
        return f"{origin.class_name or origin.target} · {sums_text(self.model)}"

    @property
    def check(self) -> str:
        """Whether the sum equals the counting loop's, and what is not shown."""
        more = len(self.model) - MAX_ROWS
        left_out = f"; {plural(more, 'tensor')} more not shown" if more > 0 else ""
        return loop_check(self.model)[1] + left_out

    def rows(self) -> Iterator[list[str]]:
        """Iterate over the rows' cells, in the order of the columns."""
        model = self.model
        running = model.running()
        for index in range(min(len(model), MAX_ROWS)):
            param = model[index]
            cells = {
                "name": param.name,
                "shape": shape_text(param.shape),
                "params": f"{param.numel:,}",
                "running": f"{running[index]:,}",
                "dtype": param.dtype or UNKNOWN,
                "device": param.device or UNKNOWN,
                "grad": {True: "yes", False: "frozen", None: UNKNOWN}[param.requires_grad],
                "group": self._groups[index] if self._groups is not None else "",
                "notes": "; ".join(
                    filter(None, (f"= {', '.join(param.aliases)}" * bool(param.aliases), notes_of(param)))
                ),
            }
            yield [cells[head] for head in self._heads]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """Yield the table with the columns that fit (Rich's protocol for what depends on the width)."""
        yield self.rich_table(options.max_width)

    def rich_table(self, width: int | None = None) -> Table:
        """Return the Rich table.

        Args:
            width: Columns of the terminal: what does not fit is left out in the order of `DROPPED`, the name never.
        """
        from rich.table import Table
        from rich.text import Text

        rows = list(self.rows())
        widths = [max(map(len, column)) for column in zip(self._heads, *rows, strict=True)]
        shown = list(range(len(self._heads)))
        for head in DROPPED if width is not None else ():
            if sum(widths[at] + 2 for at in shown) > (width or 0):
                shown = [at for at in shown if self._heads[at] != head]
        # Text, never str: a name in brackets would be taken for markup.
        table = Table(title=Text(self.title), caption=Text(self.check), box=None, padding=(0, 2, 0, 0))
        table.title_justify = table.caption_justify = "left"
        for at in shown:
            number = self._heads[at] in NUMBERS
            table.add_column(self._heads[at], justify="right" if number else "left", no_wrap=number, overflow="fold")
        for row in rows:
            table.add_row(*(Text(row[at]) for at in shown))
        return table

    def _repr_html_(self) -> str:
        aligned = [
            ' style="text-align:right"' if head in NUMBERS else ' style="text-align:left"' for head in self._heads
        ]
        head = "".join(f"<th{style}>{head}</th>" for head, style in zip(self._heads, aligned, strict=True))
        body = "\n".join(
            "<tr>" + "".join(f"<td{s}>{escape(cell)}</td>" for cell, s in zip(row, aligned, strict=True)) + "</tr>"
            for row in self.rows()
        )
        return (
            f"<table>\n<caption>{escape(self.title)}<br>{escape(self.check)}</caption>\n"
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
        )

    def __str__(self) -> str:
        rows = [self._heads, *self.rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if head in NUMBERS else cell.ljust(width)
                for cell, width, head in zip(row, widths, self._heads, strict=True)
            ).rstrip()
            for row in rows
        ]
        return "\n".join([self.title, "", *lines, "", self.check])

    def __repr__(self) -> str:
        return f"<summary of {self.title}>"
