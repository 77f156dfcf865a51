"""The statistics of many tensors: a table that sorts while it fills, and the norms layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from rich.text import Text
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from explorer.core.asking import NO_WEIGHTS, ask_to_the_end
from explorer.core.errors import LostError, ParamxError
from explorer.core.layers import layer_of, stacks
from explorer.core.statistics import TensorStats
from explorer.core.sweep import ORDERS, Series, by_layer, is_complex, not_finite, ordered, sum_line, whole_numbers
from explorer.ui import keys_inside
from explorer.ui.paint import cut_middle, cut_name, fit, folded, keys_line
from explorer.ui.screens.dialog import Dialog
from explorer.ui.screens.lists import ShowTensors
from explorer.ui.screens.sweep_lines import (
    TITLED,
    figures,
    figures_height,
    grown,
    headings,
    layer_line,
    layer_norms,
    layers_heading,
    tensor_line,
)
from explorer.ui.screens.values import ValuesScreen
from explorer.ui.widgets.line_list import MOVES, LineList

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from textual import events
    from textual.app import ComposeResult

    from explorer.core.asking import Ask
    from explorer.core.param import Model

SUM_LINES = 3
"""Most lines of the sum; on 60 columns it takes as many."""

TELL_EVERY = 0.1
"""Seconds between two drawings while the table fills."""

LOOKED_AT = 2_000
"""Most tensors measured before whose figures say how wide the columns are: all of 100,000 would take a second."""


class FlatList(LineList, inherit_bindings=False):
    """A list of lines without the keys that fold: `l` shows the layers here."""

    BINDINGS = MOVES


class SweepScreen(Dialog[ShowTensors]):
    """Measures tensors one after another, in a thread, and shows what is known already."""

    CSS_PATH = "values.tcss"
    BINDINGS = keys_inside.bindings("sweep", "screen")
    HELP_ON = "sweep"

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
        self._share: tuple[int, float] | None = None
        """The tensor that is being measured, and the share of it that is done."""
        self._refused: dict[int, str] = {}
        self._failed = ""
        self._not_finite: list[int] = []
        """Those measured so far that hold NaN or infinities."""
        self._whole = whole_numbers(model)
        self._has_layers: bool | None = None
        """Whether some are layers of a stack; `None` until the thread has looked."""
        self._cells: Sequence[int] = TITLED
        """Cells of the figures' columns."""
        self._stale = False
        self._head = Static(id="sweep-head")
        self._titles = Static(id="sweep-titles")
        self._lines = FlatList(id="sweep-lines")
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
        """Lay out the columns again."""
        self.call_after_refresh(self._show)

    # -- measuring --------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._run += 1
        self._failed, self._working, self._share = "", True, None
        self._refused.clear()
        known = (self._statistics[index] for index in self._indices if index in self._statistics)
        self._cells = TITLED
        for stats in islice(known, LOOKED_AT):
            self._cells = grown(self._cells, stats)
        self._done = sum(index in self._statistics for index in self._indices)
        run, left = self._run, [index for index in self._indices if index not in self._statistics]
        self.run_worker(lambda: self._measure(run, left), thread=True)
        self._show()

    def _measure(self, run: int, indices: Sequence[int]) -> None:
        """Measure tensors; runs in a thread and touches no widget."""
        places = [layer_of(name) for name in self._model.names]
        prefixes = {stack.prefix for stack in stacks(self._model, places)}
        here = (places[index] for index in self._indices)
        self._has_layers = any(place is not None and place[0] in prefixes for place in here)
        for index in indices:
            if run != self._run:
                return
            try:
                arguments = {"index": index}
                answer = ask_to_the_end(self._ask, "statistics", arguments, partial(self._progress, run, index))
            except ParamxError as error:
                answer = error
            if answer is None:
                return
            self.post_message(self.Measured(run, index, answer))
            if isinstance(answer, LostError) or (isinstance(answer, ParamxError) and NO_WEIGHTS in answer.line):
                break  # the others would say the same
        self.post_message(self.Measured(run, None, None))

    def _progress(self, run: int, index: int, done: float) -> bool:
        """Tell the share of a tensor that is done, and whether to go on; runs in the thread."""
        self.post_message(self.Measured(run, index, done))
        return run == self._run

    def on_sweep_screen_measured(self, message: Measured) -> None:
        """Keep what was measured; the table is drawn a few times a second."""
        if message.index is None:
            if message.run == self._run:
                self._working = False
                reasons = list(dict.fromkeys(self._refused.values()))
                if len(reasons) == 1 and not self._done:
                    self._failed = reasons[0]
        elif isinstance(message.answer, float):
            if message.run == self._run:
                self._share = message.index, message.answer
        elif isinstance(message.answer, ParamxError):
            if message.run == self._run:
                name = self._model.names[message.index]
                self._refused[message.index] = message.answer.line.removeprefix(f"{name}: ")
        else:
            stats = self._statistics[message.index] = TensorStats.from_json(message.answer)
            self._cells = grown(self._cells, stats)
            self._done += message.run == self._run
        self._stale = True

    def _redraw(self) -> None:
        if self._stale:
            self._stale = False
            self._show()

    # -- drawing ----------------------------------------------------------------------------------------------

    def _show(self) -> None:
        chosen = self._chosen
        self._not_finite = not_finite(self._statistics, self._indices)
        if self._layers:
            wanted = set(self._indices)
            known = {index: stats for index, stats in self._statistics.items() if index in wanted}
            self._series = by_layer(self._model, known)
            self._lines.show(len(self._series), self._line)
        else:
            self._rows = ordered(self._indices, self._statistics, self._order, self._refused, self._whole)
            if self._failed:
                self._rows = []
            if self._lines.cursor and chosen in self._rows:
                self._lines.cursor = self._rows.index(chosen)
            self._lines.show(len(self._rows), self._line)
        width = self._width
        head = Text()
        head.append(f" {cut_middle(self._what, width - 24)}", "bold")
        head.append(f" · measuring {self._measured_share:.0%}" if self._working else "", "dim")
        if self._failed:
            head.append("".join(f"\n {line}" for line in folded(self._failed, width - 2, self.size.height)), "bold")
        else:
            refused = f" · {len(self._refused):,} could not be measured" if self._refused else ""
            sums = sum_line(self._statistics, self._indices, self._whole) + refused
            head.append("".join(f"\n {line}" for line in folded(sums, width - 2, SUM_LINES)))
            if odd := self._not_finite:
                lead, more = "NaN or Inf in ", f" and {len(odd) - 1:,} more" if len(odd) > 1 else ""
                name = cut_name(self._model.names[odd[0]], width - 2 - len(lead + more))
                head.append(f"\n {lead}{name}{more}", "bold")
        self._head.update(head)
        titles = layers_heading(width) if self._layers else headings(width, self._order, self._cells)
        self._titles.update("" if self._failed else Text(fit(titles, width), "dim underline", no_wrap=True))
        foot = Text(keys_line(self._keys(), width, "? help"), "dim", no_wrap=True)
        self.query_one(".dialog-foot", Static).update(foot)
        self._tell()

    def _keys(self) -> Iterator[str]:
        """Yield the keys that do something now."""
        yield "Esc stops and closes" if self._working else "Esc closes"
        if self._failed:
            if len(self._indices) < len(self._model) and NO_WEIGHTS not in self._failed:
                yield "a all tensors"
            return
        if self._layers:
            yield "l table"
        elif self._rows:
            yield f"s sort{f' ({self._order})' if self._order else ''}"
            if self._has_layers:
                yield "l by layer"
        if not self._layers and self._not_finite:
            yield "n NaN/Inf"
        if self._chosen is not None:
            yield from ("v values", "Enter in the tree")
        if len(self._indices) < len(self._model):
            yield "a all tensors"

    @property
    def _measured_share(self) -> float:
        """Share of the elements that is measured, or could not be."""
        numels = self._model.numels
        done = float(sum(numels[i] for i in self._indices if i in self._statistics or i in self._refused))
        if self._share is not None and self._share[0] not in self._statistics and self._share[0] not in self._refused:
            done += self._share[1] * numels[self._share[0]]
        return done / max(1, sum(numels[i] for i in self._indices))

    @property
    def _chosen(self) -> int | None:
        """The tensor under the cursor; for a series of layers that of its first layer."""
        at = self._lines.cursor
        if self._layers:
            return (
                next((i for i in self._series[at].indices if i is not None), None) if at < len(self._series) else None
            )
        return self._rows[at] if at < len(self._rows) else None

    @property
    def _width(self) -> int:
        """Cells of a line."""
        return self._lines.scrollable_content_region.width or self.size.width

    def _line(self, row: int, width: int) -> Text:
        if self._layers:
            return layer_line(self._series[row], width)
        index = self._rows[row]
        dtype = self._model.dtypes[index] if index in self._whole else None
        name, stats = self._model.names[index], self._statistics.get(index)
        return tensor_line(name, stats, dtype or "", width, self._order, self._cells)

    def on_line_list_moved(self) -> None:
        """Tell what is under the cursor."""
        self._tell()

    def _tell(self) -> None:
        index, told = self._chosen, ""
        width = self._width - 2
        room = figures_height(width)
        text = Text(no_wrap=True)
        if index is not None and self._layers:
            series = self._series[self._lines.cursor]
            name, told = series.name, layer_norms(series)
        elif index is not None:
            name, stats = self._model.names[index], self._statistics.get(index)
            told = self._refused.get(index, "") if stats is None else " · ".join(figures(stats))
            if index in self._whole:
                told = f"{self._model.dtypes[index]}, after the others and not in the sum's norm · {told}"
            elif stats is not None and is_complex(self._model.dtypes[index]):
                told = f"{self._model.dtypes[index]}, figures of the absolute values · {told}"
        if index is not None:
            text.append(f" {cut_name(name, width)}", "bold")
            lines = folded(told, width, room)
            text.append("".join(f"\n {line}" for line in lines) + "\n" * (room - len(lines)), "dim")
        self._told.update(text)

    # -- keys -------------------------------------------------------------------------------------------------

    def action_order(self) -> None:
        """Sort by the next figure, the largest first; after the last, the model's order."""
        if not self._layers:
            self._order = ORDERS[(ORDERS.index(self._order) + 1) % len(ORDERS)]
            self._lines.cursor = 0
            self._show()

    def action_seek(self, by: int) -> None:
        """Go to the next or the previous tensor that holds NaN or an infinity."""
        odd = set(self._not_finite)
        places = [place for place, index in enumerate(self._rows) if index in odd][::by]
        if self._layers or not places:
            self.notify("No tensor in this table holds NaN or Inf.", timeout=3)
            return
        at = self._lines.cursor
        self._lines.go(next((place for place in places if by * (place - at) > 0), places[0]))

    def action_layers(self) -> None:
        """Show norms layer by layer, or the table again."""
        if not self._has_layers:
            looking = self._has_layers is None
            self.notify("Still looking for layers." if looking else "No layers here.", timeout=3)
            return
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

    def on_line_list_chosen(self) -> None:
        """Go to the tensor in the tree; of a series to all of its layers."""
        index = self._chosen
        if index is None:
            return
        if self._layers:
            series = self._series[self._lines.cursor]
            self.dismiss(ShowTensors([i for i in series.indices if i is not None], series.name))
        else:
            self.dismiss(ShowTensors([index], self._model.names[index]))
