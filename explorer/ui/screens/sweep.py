"""The statistics of many tensors: a table that sorts while it fills, and the norms layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from explorer.core.asking import ask_to_the_end
from explorer.core.errors import ParamxError
from explorer.core.statistics import TensorStats
from explorer.core.sweep import FIGURES, ORDERS, Series, by_layer, ordered, short_figure, sum_line
from explorer.ui.paint import cut_middle, fit, fit_right
from explorer.ui.screens.dialog import Dialog
from explorer.ui.screens.lists import ShowTensors
from explorer.ui.screens.values import ValuesScreen
from explorer.ui.widgets.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events
    from textual.app import ComposeResult

    from explorer.core.asking import Ask
    from explorer.core.param import Model

CELL = 10
"""Cells of a figure: four digits, a sign, a point and an exponent."""

NAME_MIN = 24
"""Cells that the name keeps; figures leave from the left of those that are less asked for."""

LEAVING = ("mean", "min", "max", "std", "absmax")
"""Order in which columns leave a narrow screen; norm, zeros, nan and inf stay as long as one fits."""

ALIKE = 3
"""Tensors that must be refused, and none measured, before the sweep gives up."""

TELL_EVERY = 0.1
"""Seconds between two drawings while the table fills."""


class SweepScreen(Dialog[ShowTensors]):
    """Measures tensors one after another, in a thread, and shows what is known already."""

    CSS_PATH = "values.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "order", show=False),
        Binding("l,tab", "layers", show=False, priority=True),
        Binding("a", "all", show=False),
        Binding("v", "values", show=False),
        Binding("escape,q,S", "dismiss", show=False),
    ]

    @dataclass
    class Measured(Message):
        """The thread has measured one more tensor, or could not, or is at its end."""

        run: int
        """Which run of the thread."""
        index: int | None
        """The tensor; `None` at the end."""
        answer: Any
        """Its statistics, or a `ParamxError`; a share of it that is done."""

    def __init__(
        self, ask: Ask, model: Model, indices: Sequence[int], what: str, statistics: dict[int, TensorStats]
    ) -> None:
        """Sweep over tensors.

        Args:
            ask: Answers about the open model.
            model: Its table.
            indices: The tensors, in the model's order.
            what: What they are, for the title: a module's path.
            statistics: What has been measured already; what is measured here is put into it.
        """
        super().__init__()
        self._ask, self._model, self._statistics = ask, model, statistics
        self._indices, self._what = list(indices), what
        self._rows: list[int] = []
        self._series: list[Series] = []
        self._order, self._layers = ORDERS[0], False
        self._run, self._done, self._working = 0, 0, False
        self._refused: dict[int, str] = {}
        self._failed = ""
        self._stale = False
        self._head = Static(id="sweep-head")
        self._titles = Static(id="sweep-titles")
        self._lines = Lines(self._line, id="sweep-lines")
        self._told = Static(id="sweep-told")

    def compose(self) -> ComposeResult:
        """The sum, the headings, the lines, what is under the cursor."""
        with Vertical(classes="dialog"):
            yield self._head
            yield self._titles
            yield self._lines
            yield self._told
            yield Static(classes="dialog-foot")

    def on_mount(self) -> None:
        """Start to measure."""
        self._lines.focus()
        self.set_interval(TELL_EVERY, self._redraw)
        self._begin()

    def on_unmount(self) -> None:
        """Stop the thread."""
        self._run += 1

    def on_resize(self, event: events.Resize) -> None:
        """Lay the columns out anew."""
        self.call_after_refresh(self._show)

    # -- measuring --------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._run += 1
        self._failed, self._working = "", True
        self._done = sum(index in self._statistics for index in self._indices)
        run, left = self._run, [index for index in self._indices if index not in self._statistics]
        self.run_worker(lambda: self._measure(run, left), thread=True)
        self._show()

    def _measure(self, run: int, indices: Sequence[int]) -> None:
        """Measure tensors; runs in a thread and touches no widget."""
        refused = 0
        for at, index in enumerate(indices):
            if run != self._run:
                return
            try:
                arguments = {"index": index}
                answer = ask_to_the_end(self._ask, "statistics", arguments, lambda done: run == self._run)
            except ParamxError as error:
                answer, refused = error, refused + 1
            if answer is None:
                return
            self.post_message(self.Measured(run, index, answer))
            if refused == at + 1 == min(ALIKE, len(indices)):
                break
        self.post_message(self.Measured(run, None, None))

    def on_sweep_screen_measured(self, message: Measured) -> None:
        """Keep what was measured; the table is drawn some times a second."""
        if message.index is None:
            if message.run == self._run:
                self._working = False
                if not self._done and self._refused:
                    self._failed = next(iter(self._refused.values()))
        elif isinstance(message.answer, ParamxError):
            self._refused[message.index] = message.answer.line
        else:
            self._statistics[message.index] = TensorStats.from_json(message.answer)
            self._done += message.run == self._run
        self._stale = True

    def _redraw(self) -> None:
        if self._stale:
            self._stale = False
            self._show()

    # -- drawing ----------------------------------------------------------------------------------------------

    def _show(self) -> None:
        chosen = self._chosen
        if self._layers:
            wanted = set(self._indices)
            known = {index: stats for index, stats in self._statistics.items() if index in wanted}
            self._series = by_layer(self._model, known)
            self._lines.show(len(self._series))
        else:
            self._rows = ordered(self._indices, self._statistics, self._order)
            if self._lines.cursor and chosen in self._rows:
                self._lines.cursor = self._rows.index(chosen)
            self._lines.show(len(self._rows))
        head = Text(no_wrap=True, overflow="ellipsis")
        head.append(f" {self._what} ", "bold")
        if self._failed:
            head.append(f"\n {self._failed}", "bold")
        else:
            count = len(self._indices)
            share = f"measuring {self._done:,} of {count:,} · Esc stops" if self._working else ""
            refused = f"{len(self._refused):,} could not be read" if self._refused else ""
            head.append(f" {' · '.join(filter(None, (share, refused)))}\n ", "dim")
            head.append(sum_line(self._statistics, self._indices))
        self._head.update(head)
        self._titles.update(self._headings())
        view = "l table" if self._layers else "s sort  l by layer"
        foot = f"{view}  v values  Enter in the tree  a all tensors  Esc closes"
        self.query_one(".dialog-foot", Static).update(Text(f" {foot}", "dim", no_wrap=True, overflow="ellipsis"))
        self._tell()

    @property
    def _chosen(self) -> int | None:
        """The tensor under the cursor; of a series that of its first layer."""
        at = self._lines.cursor
        if self._layers:
            return (
                next((i for i in self._series[at].indices if i is not None), None) if at < len(self._series) else None
            )
        return self._rows[at] if at < len(self._rows) else None

    def _columns(self) -> tuple[int, list[int]]:
        """Return the cells of the name, and which figures fit beside it."""
        width = self._lines.scrollable_content_region.width or self.size.width
        shown = list(range(len(FIGURES)))
        leaving = [next(at for at, figure in enumerate(FIGURES) if figure.title == title) for title in LEAVING]
        while len(shown) > 1 and width - len(shown) * (CELL + 1) < NAME_MIN:
            gone = next((at for at in leaving if at in shown), shown[-1])
            shown.remove(gone)
        return max(8, width - len(shown) * (CELL + 1) - 1), shown

    def _headings(self) -> Text:
        text = Text(no_wrap=True, overflow="crop", style="dim underline")
        if self._layers:
            text.append(
                fit(" Norm by element, layer by layer: each row from its own least to its largest", self.size.width)
            )
            return text
        name, shown = self._columns()
        text.append(" " + fit("Name", name))
        for at in shown:
            title = FIGURES[at].title
            text.append(" " + fit_right(f"{title}↓" if title == self._order else title, CELL))
        return text

    def _line(self, row: int) -> Text:
        return self._layer_line(self._series[row]) if self._layers else self._tensor_line(self._rows[row])

    def _tensor_line(self, index: int) -> Text:
        stats = self._statistics[index]
        name, shown = self._columns()
        text = Text(" " + fit(cut_middle(self._model.names[index], name), name), no_wrap=True)
        for at in shown:
            figure = FIGURES[at]
            value = figure.of(stats)
            odd = figure.title in ("nan", "inf") and bool(value)
            text.append(" " + fit_right(("⚠ " if odd else "") + short_figure(value), CELL), "bold" if odd else "")
        return text

    def _layer_line(self, series: Series) -> Text:
        known = [norm for norm in series.norms if norm is not None]
        ends = f"{short_figure(min(known))} … {short_figure(max(known))}"
        width = self._lines.scrollable_content_region.width
        room = max(8, width - len(series.norms) - 26)
        text = Text(" " + fit(cut_middle(series.name, room), room), no_wrap=True)
        text.append(f" {series.line}", "bold")
        text.append(f"  {ends}", "dim")
        return text

    def on_lines_moved(self) -> None:
        """Tell what is under the cursor."""
        self._tell()

    def _tell(self) -> None:
        index = self._chosen
        text = Text(no_wrap=True, overflow="ellipsis")
        if index is not None and self._layers:
            series = self._series[self._lines.cursor]
            text.append(f" {series.name}\n", "bold")
            text.append(" " + " ".join(short_figure(norm) for norm in series.norms), "dim")
        elif index is not None:
            stats = self._statistics[index]
            text.append(f" {self._model.names[index]}\n", "bold")
            figures = (f"{figure.title} {short_figure(figure.of(stats))}" for figure in FIGURES)
            text.append(" " + " · ".join(figures), "dim")
        self._told.update(text)

    # -- keys -------------------------------------------------------------------------------------------------

    def action_order(self) -> None:
        """Sort by the next figure, the largest first; after the last, the model's order."""
        if not self._layers:
            self._order = ORDERS[(ORDERS.index(self._order) + 1) % len(ORDERS)]
            self._lines.cursor = 0
            self._show()

    def action_layers(self) -> None:
        """Show norms layer by layer, or the table again."""
        self._layers = not self._layers
        self._lines.cursor = 0
        self._show()

    def action_all(self) -> None:
        """Measure every tensor of the model."""
        if len(self._indices) < len(self._model):
            self._indices, self._what = list(range(len(self._model))), self._model.origin.target
            self._begin()

    def action_values(self) -> None:
        """Show the values of the tensor under the cursor."""
        index = self._chosen
        if index is not None:
            self.app.push_screen(ValuesScreen(self._ask, self._model, index, self._statistics))

    def on_lines_chosen(self) -> None:
        """Go to the tensor in the tree; of a series to all of its layers."""
        index = self._chosen
        if index is None:
            return
        if self._layers:
            series = self._series[self._lines.cursor]
            self.dismiss(ShowTensors([i for i in series.indices if i is not None], series.name))
        else:
            self.dismiss(ShowTensors([index], self._model.names[index]))
