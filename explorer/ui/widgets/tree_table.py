"""The tree-table: modules and parameters as foldable rows with columns, drawn line by line from flat columns.

Textual's own Tree and DataTable make an object for each row, which takes seconds at 150,000; here a row exists only
while it is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from explorer.core.groups import NO_GROUP
from explorer.ui import keymap
from explorer.ui.paint import cut_middle, fit, fit_right
from explorer.ui.widgets.columns import MIXED, TableColumn, layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual import events

    from explorer.core.view import TreeView

HEADER_LINES = 1
"""Lines of the headings, which stay while the rows scroll."""

MAX_INDENT = 12
"""Levels that are indented; names may nest 1,000 deep, and the name must keep its place."""


SAMPLED = 300
"""Rows whose names decide how wide the name column is."""

NAN, INF = 1, 2
"""What `mark_odd` is told of a parameter: bits of its byte."""

ODD = ("", "⚠NaN", "⚠Inf", "⚠NaN+Inf")
"""How a row is marked below which some values are none, by those bits."""


class Marks(NamedTuple):
    """What the groups say about each parameter; bytes in leaf order, one a parameter."""

    names: tuple[str, ...]
    """Names of the groups, by code."""
    warned: bytes
    """1 where a warning names the parameter."""
    moved: bytes
    """1 where its group differs from the one last kept."""


class Looks(NamedTuple):
    """The styles of one paint: asking the stylesheet for each row took longer than drawing it."""

    base: Style
    """What lies under everything."""
    heading: Style
    """The headings."""
    module: Style
    """A module's row."""
    leaf: Style
    """A parameter's row."""
    quiet: Style
    """What matters less."""
    number: Style
    """Numbers."""
    cursor: Style
    """Added to the row under the cursor."""
    warning: Style
    """Added to the sign of a warning or a move."""
    match: Style
    """Added to what the filter found."""


class TreeTable(ScrollView, can_focus=True):
    """The parameters of one model."""

    BINDINGS = keymap.bindings("tree")
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "tree--heading",
        "tree--module",
        "tree--leaf",
        "tree--number",
        "tree--quiet",
        "tree--cursor",
        "tree--cursor-idle",
        "tree--warning",
        "tree--match",
    }

    def __init__(self, moved: Callable[[int], None], *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        """Start empty; `show` fills it.

        Args:
            moved: Told the row under the cursor whenever that or the row changed. Called at once: what a message
                starts is drawn a frame later than the cursor.
            id: Name for the stylesheet.
        """
        super().__init__(id=id)
        self._moved_to = moved
        self.view: TreeView | None = None
        self.cursor = 0
        self._marks = Marks((), b"", b"")
        self._no_numbers = b""
        self._needle = ""
        self._columns: list[tuple[TableColumn, int]] = []
        self._name_width = 0
        self._wanted = 0
        self._top_pending = False
        self._unfitted = False
        self._looks: Looks | None = None
        self._told: dict[int, tuple[str, str]] = {}

    # -- what it shows ----------------------------------------------------------------------------------------

    def show(self, view: TreeView, marks: Marks, node: int | None = None) -> None:
        """Show another tree: with its folds as they are and the cursor on `node`, or unfolded to fit from the top."""
        self.view = view
        self._marks = marks
        self._no_numbers = b""
        self.cursor = 0
        self._wanted = 0
        self._unfitted = node is None
        self._fit()
        self.scroll_to(y=0, animate=False, immediate=True)
        self._rows_changed(node)
        self._moved()

    def _fit(self) -> None:
        """Unfold what fits, once: at the first resize where the table was shown before it was laid out."""
        if self._unfitted and self.view is not None and self.size.height > HEADER_LINES:
            self._unfitted = False
            self.view.open_to_fit(self.size.height - HEADER_LINES)

    def regroup(self, codes: bytes, marks: Marks) -> None:
        """Take the group of every parameter (model order) and what the groups say about it."""
        view = self.view
        assert view is not None, "groups belong to a shown tree"
        node = self.cursor_node
        rows, names = view.rows, self._marks.names
        self._marks = marks
        view.set_groups(codes)
        if view.rows is rows and marks.names == names:
            self._refresh_groups(view)
        else:
            self._rows_changed(node)
        self._moved()

    def _refresh_groups(self, view: TreeView) -> None:
        """Draw the rows again whose group cell is another than the one drawn last."""
        size = {column.title: size for column, size in self._columns}.get("Group")
        top = self.scroll_offset.y
        for row in range(top, min(len(view.rows), top + self._page)):
            if size is not None and self._told.get(row) != self._group_text(view, row, size):
                self._refresh_row(row)

    def mark_odd(self, odd: bytes) -> None:
        """Mark the rows that hold NaN or infinities; a ×N row splits, so that the member that holds them is seen.

        Args:
            odd: In leaf order `NAN`, `INF`, both or 0 for each parameter; empty where nothing is known.
        """
        view = self.view
        if view is None or odd == self._no_numbers:
            return
        node, rows = self.cursor_node, view.rows
        self._no_numbers = odd
        view.set_marks(odd)
        if view.rows is rows:
            self.refresh()
        else:
            self._rows_changed(node)
        self._moved()

    def filter(self, needle: str, mask: bytes | None) -> None:
        """Show what `mask` (model order) leaves, and light up `needle`; `None` shows everything again."""
        view = self.view
        if view is None:
            return
        node = self.cursor_node
        leaf = view.tree.params[node]
        self._needle = needle if mask is not None else ""
        view.set_filter(mask)
        if mask is None and leaf >= 0:
            view.reveal(leaf)
        self._rows_changed(node)
        self._moved()

    @property
    def cursor_node(self) -> int:
        """Node under the cursor; 0 while there is no row."""
        view = self.view
        return view.rows.nodes[self.cursor] if view is not None and len(view.rows) else 0

    def go_to(self, index: int) -> None:
        """Put the cursor on parameter `index`, unfolding what hides it."""
        if self.view is not None:
            self.cursor = self.view.reveal(index)
            self._rows_changed(self.cursor_node)
            self._moved()

    def go_to_match(self, mask: bytes, by: int) -> bool:
        """Put the cursor on the next (`by` 1) or previous (-1) parameter whose byte in `mask` is 1, around the end.

        While a filter is on, only rows that are shown count: a ×12 row stands for all its members.
        """
        view = self.view
        if view is None or 1 not in mask:
            return False
        if view.filtered:
            count = len(view.rows)
            steps = ((self.cursor + by * step) % count for step in range(1, count + 1))
            row = next((row for row in steps if not view.is_module(row)), None)
            if row is not None:
                self._move(row)
            return row is not None
        ordered = view.tree.in_leaf_order(mask)
        start = view.leaves(self.cursor)[0]
        at = ordered.find(1, start + (not view.is_module(self.cursor))) if by > 0 else ordered.rfind(1, 0, start)
        if at < 0:
            at = ordered.find(1) if by > 0 else ordered.rfind(1)
        self.go_to(view.tree.leaf_order[at])
        return True

    def _rows_changed(self, node: int | None = None) -> None:
        view = self.view
        if view is None:
            return
        count = len(view.rows)
        self.cursor = view.row_of(node) if node is not None else min(self.cursor, max(0, count - 1))
        self._lay_out()
        self.virtual_size = Size(self.scrollable_content_region.width, count + HEADER_LINES)
        self._scroll_to_cursor()
        self._told.clear()
        self.refresh()

    def _lay_out(self) -> None:
        width = self.scrollable_content_region.width
        if self.view is None or width <= 0:
            return
        self._wanted = max(self._wanted, self._longest_name(self.view))
        self._columns = layout(self.view, width, self._marks.names, self._wanted)
        self._name_width = width - sum(size + 1 for _, size in self._columns)

    def _longest_name(self, view: TreeView) -> int:
        """Return the cells that the names of the first rows need; the columns must not jump with every fold."""
        rows = view.rows
        lengths = (  # a cell before it, two of the fold sign
            2 * min(rows.depths[row], MAX_INDENT) + 3 + len(view.label(row)) for row in range(min(len(rows), SAMPLED))
        )
        return max(lengths, default=0)

    def relayout(self) -> None:
        """Draw again after the view changed what a column shows."""
        self._rows_changed(self.cursor_node)

    def on_resize(self) -> None:
        """Give the columns the new width."""
        self._fit()
        self._rows_changed(self.cursor_node)

    # -- moving -----------------------------------------------------------------------------------------------

    def _move(self, row: int) -> None:
        view = self.view
        if view is None or not len(view.rows):
            return
        row = max(0, min(row, len(view.rows) - 1))
        if row != self.cursor:
            before, self.cursor = self.cursor, row
            if not self._scroll_to_cursor():
                self._refresh_row(before)
                self._refresh_row(row)
        self._moved()

    def _moved(self) -> None:
        self._moved_to(self.cursor)

    def _refresh_row(self, row: int) -> None:
        line = row - self.scroll_offset.y + HEADER_LINES
        self.refresh(Region(0, line, self.size.width, 1))

    def _scroll_to_cursor(self) -> bool:
        if not self.size.height:  # not laid out yet: the first resize comes here again
            return False
        page = self._page
        top = self.scroll_offset.y
        wanted = min(max(top, self.cursor - page + 1), self.cursor)
        if wanted == top:
            return False
        self.scroll_to(y=wanted, animate=False, immediate=True)
        return True

    @property
    def _page(self) -> int:
        return max(1, self.scrollable_content_region.height - HEADER_LINES)

    def action_cursor_up(self) -> None:
        """Move up a row."""
        self._move(self.cursor - 1)

    def action_cursor_down(self) -> None:
        """Move down a row."""
        self._move(self.cursor + 1)

    def action_page_up(self) -> None:
        """Move up a page."""
        self._move(self.cursor - self._page)

    def action_page_down(self) -> None:
        """Move down a page."""
        self._move(self.cursor + self._page)

    def action_first(self) -> None:
        """Move to the first row."""
        self._move(0)

    def action_last(self) -> None:
        """Move to the last row."""
        if self.view is not None:
            self._move(len(self.view.rows) - 1)

    def action_top_prefix(self) -> None:
        """Wait for a second `g`, as `less` and `vim` do."""
        if self._top_pending:
            self.action_first()
        self._top_pending = not self._top_pending

    def on_key(self, event: events.Key) -> None:
        """Forget a first `g` that another key followed."""
        if event.key != "g":
            self._top_pending = False

    # -- folding ----------------------------------------------------------------------------------------------

    def action_fold(self) -> None:
        """Fold or unfold the module under the cursor; a run of tensors shows its members."""
        view = self.view
        if view is None or not len(view.rows):
            return
        if not view.is_module(self.cursor):
            if view.rows.counts[self.cursor] > 1:
                self.action_toggle_run()
            return
        view.set_open(self.cursor, not view.is_open(self.cursor))
        self._rows_changed(self.cursor_node)
        self._moved()

    def action_cursor_right(self) -> None:
        """Unfold the module; if it is unfolded, step to its first row."""
        view = self.view
        if view is None or not len(view.rows):
            return
        if view.is_module(self.cursor) and view.is_open(self.cursor):
            self._move(self.cursor + 1)
        else:
            self.action_fold()

    def action_cursor_left(self) -> None:
        """Fold the module; if it is folded or a tensor, step to the module above."""
        view = self.view
        if view is None or not len(view.rows):
            return
        if view.is_module(self.cursor) and view.is_open(self.cursor):
            self.action_fold()
            return
        above = view.parent_row(self.cursor)
        if above is not None:
            self._move(above)

    def action_open_below(self) -> None:
        """Unfold everything below the cursor."""
        view = self.view
        if view is not None and len(view.rows):
            node = self.cursor_node
            view.open_below(self.cursor)
            self._rows_changed(node)
            self._moved()

    def action_fold_all(self) -> None:
        """Fold everything; the cursor stays on the top-level module that it was in."""
        view = self.view
        if view is not None:
            node = self.cursor_node
            view.fold_all()
            self._rows_changed(node)
            self._moved()

    def action_toggle_run(self) -> None:
        """Show the members of the run under the cursor one by one, or fold them again."""
        view = self.view
        if view is None or not len(view.rows):
            return
        node = self.cursor_node
        if view.toggle_run(self.cursor):
            self._rows_changed(node)
            self._moved()
        else:
            self.app.bell()

    def action_sort(self) -> None:
        """Take the next order: largest first, the file's own where it is another, and back."""
        view = self.view
        if view is not None:
            node = self.cursor_node
            view.set_order(view.orders[(view.orders.index(view.order) + 1) % len(view.orders)])
            self._rows_changed(node)
            self._moved()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse clicks; a click on the cursor's row folds or unfolds it."""
        view = self.view
        row = self.scroll_offset.y + event.y - HEADER_LINES
        if view is None or event.y < HEADER_LINES or not 0 <= row < len(view.rows):
            return
        if row == self.cursor:
            self.action_fold()
        else:
            self._move(row)

    # -- drawing ----------------------------------------------------------------------------------------------

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw some lines, with the styles of the moment."""
        base = self.rich_style
        part = [
            self.get_component_rich_style(f"tree--{name}", partial=True)
            for name in ("heading", "module", "leaf", "quiet", "number")
        ]
        added = [
            self.get_component_rich_style(f"tree--{name}", partial=True)
            for name in ("cursor" if self.has_focus else "cursor-idle", "warning", "match")
        ]
        self._looks = Looks(base, *(base + style for style in part), *added)
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """Draw the headings on line 0, a row on every other."""
        width = self.scrollable_content_region.width
        view, looks = self.view, self._looks
        assert looks is not None, "lines are drawn by render_lines"
        if view is not None and y < HEADER_LINES:
            return self._headings(width, looks.heading)
        row = self.scroll_offset.y + y - HEADER_LINES
        if view is None or row >= len(view.rows):
            return Strip.blank(width, looks.base)
        return self._row_strip(view, row, width, looks)

    def _title(self, column: TableColumn) -> str:
        view = self.view
        if view is not None and view.by_size and column.title == "Params":
            return "Params↓"
        return "Train" if view is not None and view.shows_training and column.title == "Size" else column.title

    def _headings(self, width: int, style: Style) -> Strip:
        text = fit(" Name", self._name_width)
        for column, size in self._columns:
            title = self._title(column)
            text += " " + (fit_right if column.right else fit)(title, size)
        return Strip([Segment(text, style)]).adjust_cell_length(width, style)

    def _row_strip(self, view: TreeView, row: int, width: int, looks: Looks) -> Strip:
        style = looks.module if view.is_module(row) else looks.leaf
        quiet, number = looks.quiet, looks.number
        if row == self.cursor:
            style, quiet, number = style + looks.cursor, quiet + looks.cursor, number + looks.cursor
        segments = self._name_cell(view, row, style, style + looks.match)
        for column, size in self._columns:
            segments.append(Segment(" ", style))
            if column.title == "Group":
                text, flag = self._told[row] = self._group_text(view, row, size)
                segments.append(Segment(text, number))
                if flag:
                    segments.append(Segment(flag, style + looks.warning))
                continue
            text = column.cell(view, row)
            plain = quiet if text in ("–", MIXED) else number
            segments.append(Segment((fit_right if column.right else fit)(text, size), plain))
        return Strip(segments).adjust_cell_length(width, style)

    def _name_cell(self, view: TreeView, row: int, style: Style, match: Style) -> list[Segment]:
        depth = min(view.rows.depths[row], MAX_INDENT)
        # In the colour of the name: a colour of its own takes 40 bytes of each row that is drawn.
        glyph = ("▾ " if view.is_open(row) else "▸ ") if view.is_module(row) else "  "
        lead = " " + "  " * depth + glyph
        count = view.rows.counts[row]
        times = f" ×{count}" if count > 1 else ""
        if self._no_numbers:
            start, end = view.leaves(row)
            here = set(self._no_numbers[start:end])
            odd = ODD[(NAN if here & {NAN, NAN | INF} else 0) | (INF if here & {INF, NAN | INF} else 0)]
            times += f" {odd}" if odd else ""
        room = self._name_width - len(lead) - len(times)
        label = cut_middle(view.label(row) or '""', room)
        name = fit(label + times, self._name_width - len(lead))
        at = name.find(self._needle) if self._needle else -1
        if at >= 0 and at + len(self._needle) <= len(label):
            end = at + len(self._needle)
            return [Segment(lead + name[:at], style), Segment(name[at:end], match), Segment(name[end:], style)]
        return [Segment(lead + name, style)]

    def _group_text(self, view: TreeView, row: int, size: int) -> tuple[str, str]:
        """Return the row's group, or groups, and the sign behind it."""
        start, end = view.leaves(row)
        codes, marks = view.groups(row), self._marks
        if not marks.names:
            return " " * size, ""
        warned = marks.warned.find(1, start, end) >= 0
        flag = "⚠" if warned else "Δ" if marks.moved.find(1, start, end) >= 0 else ""
        room = size - (2 if flag and size > len("Group") else 1 if flag else 0)
        codes = codes.replace(bytes((NO_GROUP,)), b"")
        if not codes:
            text = view.apart(row)
            text = text if len(text) <= room else text.partition(" ")[0]
        elif codes.count(codes[0]) == len(codes):
            name = f" {marks.names[codes[0]]}" if size > len("Group") else ""
            text = f"{codes[0] + 1}{name}"
        else:
            held = [code for code in range(len(marks.names)) if code in codes]
            text = "+".join(str(code + 1) for code in held)
            if len(held) > 3:
                text = f"{len(held)} groups" if size > len("Group") else f"{held[0] + 1}…{held[-1] + 1}"
        return fit(text, room), fit(" " + flag, size - room) if size - room == 2 else flag
