"""One tensor from inside: torch's print, a grid over all its values, statistics with a histogram, and a heat map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from explorer.core.asking import ask_to_the_end
from explorer.core.elements import decode
from explorer.core.errors import LostError, ParamxError
from explorer.core.grid import parse_index
from explorer.core.statistics import TensorStats
from explorer.core.tensor_text import LINE_WIDTH, Printed, tensor_text
from explorer.core.windows import MAX_SELECTED, corners, selected
from explorer.ui import keys_inside
from explorer.ui.paint import cut_middle, keys_line
from explorer.ui.screens.dialog import Body, Dialog
from explorer.ui.screens.measured import head_of_print, heat_text, legend_lines, measured_text
from explorer.ui.screens.values_lines import (
    HEAT,
    HEAT_MAP,
    PRINT,
    STATISTICS,
    TABS,
    VALUES,
    cell_text,
    failed_text,
    tabs_text,
    view_keys,
)
from explorer.ui.widgets.field import Field
from explorer.ui.widgets.value_grid import ValueGrid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textual import events
    from textual.app import ComposeResult
    from textual.geometry import Size
    from textual.widgets import Input

    from explorer.core.asking import Ask
    from explorer.core.param import Model

PRINT_SHARE = 0.45
"""Share of the screen's lines that torch's print may have above the grid; longer ones are a view of their own."""

ALL_FINITE = "Every element is finite: no NaN, no Inf."
"""What is said where there is nothing to go to."""

PRINTED = 4_000
"""Most numbers that torch's print may have here; many small dimensions leave nothing out, and print all."""


class ValuesScreen(Dialog[None]):
    """Everything about one tensor's values; what is slow is asked in a thread."""

    CSS_PATH = "values.tcss"
    BINDINGS = keys_inside.bindings("values", "screen")
    HELP_ON = "values"

    @dataclass
    class Answered(Message):
        """A thread has an answer."""

        what: str
        """What was asked: `facts`, `cells`, `statistics`, `heat`, `seek`, `progress`."""
        asked: Any
        """What to tell the answer's question by."""
        answer: Any
        """The answer; a `ParamxError` where it was refused."""

    def __init__(self, ask: Ask, model: Model, index: int, statistics: dict[int, TensorStats]) -> None:
        """Show a tensor.

        Args:
            ask: Answers about the open model.
            model: Its table.
            index: The tensor's row.
            statistics: What has been measured already; what is measured here is put into it.
        """
        super().__init__()
        self._ask, self._model, self._index, self._statistics = ask, model, index, statistics
        self._facts: dict[str, Any] | None = None
        self._printed: list[str] = []
        self._tab = VALUES
        self._log = False
        self._failed = ""
        self._lost = False
        """Whether nothing answers any more: the model has to be opened again."""
        self._no_such = ""
        self._busy = False
        self._next: ValueGrid.Wanted | None = None
        self._heat_for: tuple[tuple[int, ...], Size] | None = None
        self._measuring = False
        self._seeking: tuple[tuple[int, ...], int] | None = None
        """The element from which NaN and infinities are looked for, and the direction."""
        self._sought = 0.0
        """The share of the elements that was looked at."""
        self._closed = False
        self._tabs = Static(id="value-tabs")
        self._print = Static(id="value-print")
        self._grid = ValueGrid()
        self._field = Field("", placeholder="index: 12,5", classes="value-field")
        self._told = Static(id="value-told")
        self._text = Static(id="value-text")
        self._body = Body(self._text, id="value-body")

    def compose(self) -> ComposeResult:
        """Put the views one over the other; one is shown."""
        with Vertical(classes="dialog"):
            yield Static(classes="dialog-title")
            yield self._tabs
            yield self._print
            yield self._grid
            yield self._body
            yield self._field
            yield self._told
            yield Static(classes="dialog-foot")

    def on_mount(self) -> None:
        """Ask what the tensor is."""
        self._field.display = False
        self._show_tab()
        self._in_thread("facts", None, self._fetch_facts)

    def on_unmount(self) -> None:
        """Stop what still works on an answer."""
        self._closed = True

    def on_resize(self, event: events.Resize) -> None:
        """Break lines where the screen ends now."""
        self.call_after_refresh(self._show_tab)

    def on_body_resized(self) -> None:
        """Draw to the width that the body has now."""
        self._show_tab()

    @property
    def _room(self) -> Size:
        """Cells of the body beside its scrollbar's column; nothing while it is hidden or not laid out."""
        return self._body.scrollable_content_region.size

    # -- asking -----------------------------------------------------------------------------------------------

    def _in_thread(self, what: str, asked: Any, fetch: Any) -> None:
        def run() -> None:
            try:
                answer = fetch()
            except ParamxError as error:
                answer = error
            if not self._closed:
                self.post_message(self.Answered(what, asked, answer))

        self.run_worker(run, thread=True, exit_on_error=True)

    def _fetch_facts(self) -> tuple[dict[str, Any], bytes | None]:
        facts = self._ask("tensor", {"index": self._index})
        selection = corners(facts["shape"])
        count = 1
        for size in selected(selection):
            count *= size
        if count > min(PRINTED, MAX_SELECTED):
            return facts, None
        return facts, self._ask("values", {"index": self._index, "selection": selection})

    def _progress(self, what: str, asked: Any) -> Any:
        def progress(done: float) -> bool:
            if not self._closed:
                self.post_message(self.Answered("progress", (what, asked), done))
            return not self._closed and self._wants(what, asked)

        return progress

    def _wants(self, what: str, asked: Any) -> bool:
        """Whether an answer that takes long is still waited for."""
        if what == "statistics":
            return self._tab == STATISTICS
        if what == "seek":
            return bool(asked == self._seeking)
        return self._tab == HEAT and asked == self._heat_for

    def on_values_screen_answered(self, message: Answered) -> None:
        """Show an answer, or why there is none."""
        self._lost = self._lost or isinstance(message.answer, LostError)
        match message:
            case self.Answered("facts", _, ParamxError() as error):
                self._failed = error.line.removeprefix(f"{self._model.names[self._index]}: ")  # the title says it
            case self.Answered("facts", _, (facts, data)):
                self._take_facts(facts, data)
            case self.Answered("cells", wanted, answer):
                self._busy = False
                if isinstance(answer, ParamxError):
                    self._failed = answer.line
                else:
                    self._failed = ""
                    self._grid.give(wanted, answer)
                if self._next is not None:
                    waiting, self._next = self._next, None
                    self._fetch_cells(waiting)
            case self.Answered("progress", ("seek", asked), done):
                if asked == self._seeking:
                    self._sought = done
                    self._tell()
                return
            case self.Answered("progress", (what, asked), done):
                if self._wants(what, asked):
                    self._text.update(Text(f"reading … {done:.0%}   Tab or Esc stops", "dim"))
                return
            case self.Answered("statistics", _, answer):
                self._measuring = False
                if isinstance(answer, ParamxError):
                    self._failed = answer.line
                elif answer is not None:
                    self._statistics[self._index] = TensorStats.from_json(answer)
            case self.Answered("seek", asked, answer):
                if asked == self._seeking:
                    self._seeking = None
                    self._take_found(asked[0], answer)
            case self.Answered("heat", asked, answer):
                if asked == self._heat_for:
                    self._show_heat(answer)
                return
        self._show_tab()

    def _take_facts(self, facts: dict[str, Any], data: bytes | None) -> None:
        self._facts = facts
        shape = tuple(facts["shape"])
        printed = Printed(shape, facts["dtype"], facts["device"], facts["requires_grad"], facts["is_parameter"])
        if data is None:
            self._printed = ["torch prints every value of this shape: the grid shows them"]
        else:
            width = min(LINE_WIDTH, max(20, self.size.width - 4))
            self._printed = tensor_text(printed, decode(facts["dtype"], data), width).splitlines()
        self._grid.show(shape, facts["dtype"])
        self._grid.focus()

    def _take_found(self, start: tuple[int, ...], answer: Any) -> None:
        if isinstance(answer, ParamxError):
            self._failed = answer.line
        elif answer["index"] is None:
            self.notify(ALL_FINITE, timeout=3)
        elif tuple(answer["index"]) == start:
            self.notify("This is the only NaN or infinity here.", timeout=3)
        else:
            self._grid.go_to(tuple(answer["index"]))

    def on_value_grid_wanted(self, message: ValueGrid.Wanted) -> None:
        """Fetch cells; while that goes on, only the last that was asked for is fetched next."""
        if self._busy:
            self._next = message
        else:
            self._fetch_cells(message)

    def _fetch_cells(self, wanted: ValueGrid.Wanted) -> None:
        self._busy = True
        arguments = {"index": self._index, "selection": wanted.selection}
        self._in_thread("cells", wanted, lambda: self._ask("values", arguments))

    # -- views ------------------------------------------------------------------------------------------------

    def _show_tab(self) -> None:
        known = self._facts is not None
        values = self._tab == VALUES
        self._print.display = values and known
        self._grid.display = values and known
        self._body.display = not values or not known
        self._tabs.display = known
        self._tabs.update(tabs_text(self._tab))
        title = cut_middle(self._model.names[self._index], self.size.width - 3)
        self.query_one(".dialog-title", Static).update(Text(f" {title}", "bold"))
        self._tell()
        if not known:
            self._text.update(Text(self._failed or "asking …", "bold" if self._failed else "dim"))
        elif values:
            self._print.update(head_of_print(self._printed, int(self.size.height * PRINT_SHARE)))
        elif self._tab == STATISTICS:
            self._show_statistics()
        elif self._tab == PRINT:
            self._text.update(Text("\n".join(self._printed), no_wrap=True, overflow="ellipsis"))
        else:
            self._ask_heat()

    def _keys(self) -> Iterator[str]:
        """Yield the keys that do something now."""
        if self._field.display:
            yield from ("Esc leaves the field", "Enter goes to the index")
            return
        yield "Esc closes"
        if self._lost:
            yield "r opens again"
        if self._facts is None:
            return
        yield from view_keys(self._tab, self._grid, self._log if self._histogram else None, self._is_finite is False)

    def on_value_grid_moved(self) -> None:
        """Tell what is under the cursor, and how numbers are written now."""
        self._tell()

    def _tell(self) -> None:
        foot = keys_line(self._keys(), self.size.width - 2, "F1 help" if self._field.display else "? help")
        self.query_one(".dialog-foot", Static).update(Text(foot, "dim", no_wrap=True))
        if self._facts is None:
            self._told.update("")
            return
        width = self.size.width - 3
        if self._seeking is not None and self._sought:
            self._told.update(Text(f" looking for NaN and Inf … {self._sought:.0%}   Esc stops", "dim"))
        elif (
            why := self._no_such or self._failed
        ):  # an index that is none: in the place of the element that it leaves
            self._told.update(failed_text(why, width))
        else:
            self._told.update(cell_text(self._grid, self._facts, width))

    @property
    def _is_finite(self) -> bool | None:
        """Whether no element is NaN or infinite; `None` while it is not measured."""
        stats = self._statistics.get(self._index)
        return None if stats is None else stats.finite == stats.numel

    @property
    def _histogram(self) -> tuple[int, ...]:
        """The tensor's histogram; empty while it is not measured, and where no element is finite."""
        stats = self._statistics.get(self._index)
        return stats.histogram if stats is not None else ()

    def _show_statistics(self) -> None:
        stats = self._statistics.get(self._index)
        if stats is not None:
            size = self._room
            if not size.width:
                return  # drawn once the body is laid out
            assert self._facts is not None
            self._text.update(measured_text(stats, self._facts["dtype"], size.width, size.height, self._log))
        elif not self._measuring and not self._failed:
            self._measuring = True
            self._text.update(Text("reading …", "dim"))
            arguments = {"index": self._index}
            progress = self._progress("statistics", None)
            self._in_thread("statistics", None, lambda: ask_to_the_end(self._ask, "statistics", arguments, progress))
        elif self._failed:
            self._text.update(Text(self._failed, "bold"))

    def _ask_heat(self) -> None:
        leading, size = self._grid.leading, self._room
        if not size.width or self._heat_for == (leading, size):
            return
        self._heat_for = asked = leading, size
        self._text.update(Text("reading …", "dim"))
        arguments = {
            "index": self._index,
            "leading": leading,
            "rows": max(1, size.height - legend_lines(size.width)),
            "columns": size.width,
        }
        progress = self._progress("heat", asked)
        self._in_thread("heat", asked, lambda: ask_to_the_end(self._ask, "heat", arguments, progress))

    def _show_heat(self, answer: Any) -> None:
        if self._tab != HEAT:
            self._heat_for = None
            return
        if answer is None or isinstance(answer, ParamxError):
            told = answer.line.removeprefix(f"{HEAT_MAP}: ") if answer is not None else "stopped"
            self._text.update(Text(told, "bold"))
            return
        self._text.update(heat_text(answer, self._grid.grid, self._room.width))

    # -- keys -------------------------------------------------------------------------------------------------

    def action_tab(self, by: int) -> None:
        """Show the next view, or the one before."""
        self._show_view((self._tab + by) % len(TABS))

    def action_print(self) -> None:
        """Show all of torch's print, or the values again."""
        self._show_view(VALUES if self._tab == PRINT else PRINT)

    def _show_view(self, tab: int) -> None:
        if self._field.display or self._facts is None:
            return
        self._tab = tab
        self._heat_for = None
        self._show_tab()
        self._body.scroll_home(animate=False)
        (self._grid if tab == VALUES else self._body).focus()
        self.call_after_refresh(self._show_tab)

    def action_log(self) -> None:
        """Let the histogram's bars grow with the count, or with its logarithm."""
        if self._tab != STATISTICS or not self._histogram:
            self.app.bell()
            return
        self._log = not self._log
        self._show_tab()

    def action_leading(self, by: int) -> None:
        """Step the slice that is shown."""
        if self._facts is not None and self._tab in (VALUES, HEAT):
            self._grid.action_leading(by)
            self._show_tab()

    def action_ask_index(self) -> None:
        """Ask for an element to go to."""
        if self._facts is not None and self._tab == VALUES:
            self._field.display = True
            self._field.value = ""
            self._field.focus()
            self._show_tab()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go to the element that was typed."""
        event.stop()
        try:
            if event.value.strip():
                self._grid.go_to(parse_index(event.value))
        except ValueError as error:
            is_odd = event.value.strip().lower() in ("nan", "inf", "-inf")
            self._no_such = f"{error}; n goes to NaN and Inf" if is_odd else str(error)
            self._tell()
            return
        self._close_field()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Take back what was said of the text before."""
        event.stop()
        self._no_such = ""
        self._tell()

    def _close_field(self) -> None:
        self._no_such = ""
        self._field.display = False
        self._grid.focus()
        self._show_tab()

    def action_seek(self, by: int) -> None:
        """Go to the next or the previous element that is NaN or infinite."""
        if self._facts is None or self._field.display:
            return
        if self._is_finite:
            self.notify(ALL_FINITE, timeout=3)
            return
        self._show_view(VALUES)
        self._seeking, self._sought = (self._grid.index, by), 0.0
        asked, progress = self._seeking, self._progress("seek", self._seeking)
        arguments = {"index": self._index, "start": self._grid.index, "by": by}
        self._in_thread("seek", asked, lambda: ask_to_the_end(self._ask, "seek", arguments, progress))

    def action_leave(self) -> None:
        """Leave the field, or stop looking for NaN; else leave the screen."""
        if self._field.display:
            self._close_field()
        elif self._seeking is not None:
            self._seeking = None
            self._tell()
        else:
            self.dismiss()
