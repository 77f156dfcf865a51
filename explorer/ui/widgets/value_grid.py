"""The grid of a tensor's values: only what is on the screen is asked for, however large the tensor is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from explorer.core.elements import ELEMENTS
from explorer.core.grid import FORMATS, Grid, cell_text, cell_width, fitting
from explorer.ui import keys_inside
from explorer.ui.paint import fit_right

if TYPE_CHECKING:
    from collections.abc import Iterator

    from explorer.core.windows import Range, Selection

KEPT = 20_000
"""Cells that are kept once they were on the screen; with more, all but those on it are forgotten."""


class ValueGrid(Widget, can_focus=True):
    """Rows and columns of one tensor, with a cursor."""

    BINDINGS = keys_inside.bindings("values", "grid")

    @dataclass
    class Wanted(Message):
        """Cells on the screen are not known yet."""

        selection: Selection
        """The elements."""
        leading: tuple[int, ...]
        """The fixed indices."""
        rows: Range
        """Rows of the grid."""
        columns: Range
        """Columns of the grid."""

    class Moved(Message):
        """The cursor, the leading indices or the format changed, or the cell under the cursor became known."""

    def __init__(self) -> None:
        """Start empty; `show` fills it."""
        super().__init__()
        self.grid = Grid((0,))
        self.dtype = "float32"
        self.form = "auto"
        self.leading: tuple[int, ...] = ()
        self.stepped = 0
        """The leading dimension that a key steps."""
        self.row, self.column = 0, 0
        self._top, self._left = 0, 0
        self._cells: dict[tuple[int, ...], bytes] = {}
        self._seen = 4
        """Cells of the longest whole number that was on the screen: most need few of the 20 that one may take."""
        self._asked: tuple[tuple[int, ...], Range, Range] | None = None

    def show(self, shape: tuple[int, ...], dtype: str) -> None:
        """Show another tensor from its first element."""
        self.grid, self.dtype = Grid(shape), dtype
        self.leading = (0,) * len(self.grid.leading)
        self.stepped = max(0, len(self.leading) - 1)
        self.row = self.column = self._top = self._left = 0
        self._seen = 4
        self._forget()
        self._changed()

    def _forget(self) -> None:
        self._cells.clear()
        self._asked = None

    # -- where it is ------------------------------------------------------------------------------------------

    @property
    def index(self) -> tuple[int, ...]:
        """Index of the element under the cursor."""
        return self.grid.index(self.leading, self.row, self.column)

    @property
    def cell(self) -> bytes | None:
        """Bytes of the element under the cursor; `None` while they are not known."""
        return self._cells.get(self._key(self.row, self.column))

    def _key(self, row: int, column: int) -> tuple[int, ...]:
        """Return by what a cell is kept: a vector's by its index, for its rows change with the screen's width."""
        return self.grid.index((), row, column) if self.grid.is_vector else (row, column)

    def go_to(self, index: tuple[int, ...]) -> None:
        """Put the cursor on an element.

        Raises:
            ValueError: There is no such element.
        """
        leading, self.row, self.column = self.grid.place(index)
        if leading != self.leading:
            self.leading = leading
            self._forget()
        self._changed()

    @property
    def _page(self) -> int:
        return max(1, self.size.height - 1)

    @property
    def _head(self) -> int:
        """Cells of the row's index."""
        whole = self.grid.shape[0] if self.grid.is_vector else self.grid.rows
        return len(str(max(0, whole - 1))) + 1

    @property
    def _cell_width(self) -> int:
        width = cell_width(self.dtype, self.form)
        if ELEMENTS[self.dtype].kind == "int" and self.form != "hex":
            width = min(width, self._seen)
        return min(width, max(4, self.size.width - self._head - 1))

    @property
    def _across(self) -> int:
        return max(1, (self.size.width - self._head) // (self._cell_width + 1))

    def _lay_out(self) -> None:
        """Give a vector as many elements a row as fit; the cursor stays on its element."""
        grid = self.grid
        if not grid.is_vector or not self.size.width:
            return
        per_row = fitting((self.size.width - self._head) // (self._cell_width + 1))
        if per_row != grid.per_row:
            at = grid.index((), self.row, self.column)[0]
            self.grid = Grid(grid.shape, per_row)
            self.row, self.column = divmod(at, per_row)
            self._asked = None

    def _changed(self) -> None:
        """Scroll to the cursor, ask for what is not known, and draw."""
        self._lay_out()
        grid = self.grid
        self.row = max(0, min(self.row, grid.rows - 1))
        self.column = max(0, min(self.column, grid.width(self.row) - 1))
        self._top = min(max(self._top, self.row - self._page + 1), self.row)
        self._left = min(max(self._left, self.column - self._across + 1), self.column)
        self._want()
        self.refresh()
        self.post_message(self.Moved())

    def _want(self) -> None:
        """Ask for the smallest part that holds every unknown cell on the screen."""
        grid = self.grid
        if grid.is_empty or not self.size.height:
            return
        rows = range(self._top, min(self._top + self._page, grid.rows))
        columns = range(self._left, min(self._left + self._across, grid.columns))
        unknown = [
            (row, column)
            for row in rows
            for column in columns
            if self._key(row, column) not in self._cells and column < grid.width(row)
        ]
        if not unknown:
            return
        across = [column for _, column in unknown]
        wanted: tuple[Range, Range] = (unknown[0][0], unknown[-1][0] + 1), (min(across), max(across) + 1)
        if self._asked != (self.leading, *wanted):
            self._asked = (self.leading, *wanted)
            self.post_message(self.Wanted(grid.selection(self.leading, *wanted), self.leading, *wanted))

    def give(self, wanted: Wanted, data: bytes) -> None:
        """Take the bytes of what was asked for; an answer that nobody waits for any more is dropped."""
        if wanted.leading != self.leading:
            return
        size, whole = ELEMENTS[self.dtype].nbytes, ELEMENTS[self.dtype].kind == "int"
        if len(self._cells) > KEPT:
            self._cells.clear()
        if self.grid.is_vector:
            keys: Iterator[tuple[int, ...]] = ((at,) for at in range(*wanted.selection[0][0]))
        else:
            keys = product(range(*wanted.rows), range(*wanted.columns))
        for place, key in enumerate(keys):
            self._cells[key] = cell = data[place * size : (place + 1) * size]
            if whole:
                self._seen = max(self._seen, len(cell_text(self.dtype, cell, "auto")))
        self._lay_out()
        self._asked = None
        self._want()
        self.refresh()
        self.post_message(self.Moved())

    def on_resize(self) -> None:
        """Ask for what has come into view."""
        self._changed()

    # -- moving -----------------------------------------------------------------------------------------------

    def action_step(self, rows: int, columns: int) -> None:
        """Move by a cell."""
        self.row, self.column = self.row + rows, self.column + columns
        self._changed()

    def action_page(self, rows: int, columns: int) -> None:
        """Move by a screen."""
        self.action_step(rows * self._page, columns * self._across)

    def action_edge(self, rows: int, columns: int) -> None:
        """Move to the first or last row, or to the first or last column."""
        if rows:
            self.row = 0 if rows < 0 else self.grid.rows - 1
        if columns:
            self.column = 0 if columns < 0 else self.grid.columns - 1
        self._changed()

    def action_leading(self, by: int) -> None:
        """Step the leading dimension, around its end."""
        if not self.leading:
            self.app.bell()
            return
        at = self.stepped
        size = self.grid.leading[at]
        self.leading = (*self.leading[:at], (self.leading[at] + by) % size, *self.leading[at + 1 :])
        self._forget()
        self._changed()

    def action_dimension(self) -> None:
        """Choose the leading dimension that is stepped."""
        if len(self.leading) < 2:
            self.app.bell()
            return
        self.stepped = (self.stepped + 1) % len(self.leading)
        self._changed()

    def action_format(self) -> None:
        """Write numbers another way."""
        names = list(FORMATS)
        self.form = names[(names.index(self.form) + 1) % len(names)]
        self._changed()

    # -- drawing ----------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Draw the columns' indices on line 0, a row on every other."""
        width, style = self.size.width, self.rich_style
        quiet = style + self.get_component_rich_style("grid--index", partial=True)
        grid, size = self.grid, self._cell_width
        if grid.is_empty:
            return Strip([Segment(" no element" if y == 0 else "", style)]).adjust_cell_length(width, style)
        columns = range(self._left, min(self._left + self._across, grid.columns))
        if y == 0:
            sign = "+" if grid.is_vector else ""
            text = " " * self._head + "".join(" " + fit_right(f"{sign}{column}", size) for column in columns)
            return Strip([Segment(text, quiet)]).adjust_cell_length(width, style)
        row = self._top + y - 1
        if row >= grid.rows:
            return Strip.blank(width, style)
        first = grid.index(self.leading, row, 0)[-1] if grid.is_vector else row
        segments = [Segment(fit_right(str(first), self._head), quiet)]
        cursor = self.get_component_rich_style("grid--cursor", partial=True)
        for column in columns:
            data = self._cells.get(self._key(row, column))
            if column >= grid.width(row):
                text = ""
            else:
                text = "…" if data is None else cell_text(self.dtype, data, self.form, size)
            segments.append(Segment(" ", style))
            here = (row, column) == (self.row, self.column)
            segments.append(Segment(fit_right(text, size), style + cursor if here else style))
        return Strip(segments).adjust_cell_length(width, style)

    COMPONENT_CLASSES: ClassVar[set[str]] = {"grid--index", "grid--cursor"}
