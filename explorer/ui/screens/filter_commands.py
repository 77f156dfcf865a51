"""The commands of the main screen that find tensors by name: the filter, and stepping through what it finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.screen import Screen
from textual.widgets import Input

from explorer.ui.widgets.bars import FilterBar
from explorer.ui.widgets.tree_table import TreeTable

if TYPE_CHECKING:
    from explorer.core.workbench import Workbench


class FilterCommands(Screen[None]):
    """A screen with a tree, and a line above it whose text its names are searched for."""

    def __init__(self) -> None:
        """Start without a model."""
        super().__init__()
        self.bench: Workbench | None = None
        """The model and its groups; `None` while it opens."""
        self._mask: bytes | None = None
        """1 for each parameter that `n` and `N` go to: what was looked for last; `None` while nothing was."""

    @property
    def filtering(self) -> bool:
        """Whether the filter's line is there."""
        return self.query_one(FilterBar).display

    async def action_filter(self) -> None:
        """Open the filter's field."""
        if self.bench is not None:
            bar = self.query_one(FilterBar)
            await bar.open()
            bar.field.focus()
            self._filter(bar.field.value)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter with each keystroke; the groups panel keeps its own fields' messages."""
        if event.input is self.query_one(FilterBar).field:
            self._filter(event.value)

    def _filter(self, needle: str) -> None:
        table, bench = self.query_one(TreeTable), self.bench
        if bench is None or table.view is None:
            return
        number = tensor_number(needle, len(bench.model))
        if number is not None:
            self._mask = bytes(number) + b"\1" + bytes(len(bench.model) - number - 1)
        else:
            self._mask = bench.grouper.containing(needle) if needle else None
        table.filter(needle, self._mask)
        self.query_one(FilterBar).tell(table.view)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in the filter keeps it and goes to the tree; of a number, to that tensor in the whole tree."""
        if event.input is self.query_one(FilterBar).field and self.bench is not None:
            table, number = self.query_one(TreeTable), tensor_number(event.value, len(self.bench.model))
            if is_number(event.value) and table.view is not None and not len(table.view.rows):
                self.notify(self.nothing_found, timeout=3)
                return
            if number is not None or not event.value:
                self.clear_filter()
            if number is not None:
                table.go_to(number)
            table.focus()

    @property
    def nothing_found(self) -> str:
        """What to say where the filter leaves nothing."""
        tensors = len(self.bench.model) if self.bench is not None else 0
        if tensors and is_number(self.query_one(FilterBar).field.value):
            return f"There is no tensor of this number: #0 to #{tensors - 1} are there."
        return "No name contains this text; case counts."

    def clear_filter(self) -> None:
        """Show the whole tree again, with the cursor where it is."""
        if not self.filtering:
            return
        bar, table = self.query_one(FilterBar), self.query_one(TreeTable)
        bar.display = False
        with self.prevent(Input.Changed):
            bar.field.value = ""
        table.filter("", None)
        table.focus()

    def action_next_match(self) -> None:
        """Go to the next tensor that was looked for last: by the filter, in a list, or for NaN by measuring."""
        self._match(1)

    def action_previous_match(self) -> None:
        """Go to the previous one."""
        self._match(-1)

    def step_through(self, mask: bytes) -> None:
        """Have `n` and `N` go to the parameters whose byte in `mask` is 1; while a filter is on, to what it finds."""
        if not self.filtering:
            self._mask = mask if any(mask) else None

    def _match(self, by: int) -> None:
        table = self.query_one(TreeTable)
        if table.view is None or self._mask is None:
            self.notify("Nothing to find yet: / sets a text, S looks for NaN and Inf.", timeout=3)
        elif not table.go_to_match(self._mask, by):
            self.notify("No tensor's name contains the text.", timeout=3)


def tensor_number(text: str, tensors: int) -> int | None:
    """Return the index that `#120` names, as the line below the tree writes it; `None` if it is no such text."""
    number = text.removeprefix("#")
    known = is_number(text) and len(number) <= len(str(tensors))
    return int(number) if known and int(number) < tensors else None


def is_number(text: str) -> bool:
    """Whether a text is written as `#120` is, be there such a tensor or not."""
    number = text.removeprefix("#")
    return number != text and number.isascii() and number.isdigit()
