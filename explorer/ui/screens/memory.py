"""The screen of training memory: weights, gradients and optimizer states of each group, against one GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.table import Table
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input, Static

from explorer.core.errors import ParamxError
from explorer.core.memory import OPTIMIZER_STATES, PRECISIONS, Memory, training_memory
from explorer.core.text import parse_bytes, sentence, short_bytes
from explorer.ui import keys_inside
from explorer.ui.screens.dialog import Dialog
from explorer.ui.settings import MemorySettings
from explorer.ui.widgets.field import Field

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.widget import Widget

    from explorer.core.workbench import Workbench


class MemoryScreen(Dialog[MemorySettings]):
    """The estimate, by group and in total; its keys change what it assumes."""

    HEADING = "Training memory"
    FOOT = "o optimizer   p precision   g GPU memory   c column   Esc closes"
    BINDINGS: ClassVar[list[BindingType]] = [
        *keys_inside.bindings("memory", "screen"),
        Binding("escape,q,t", "leave", "close", show=False),
    ]
    HELP_ON = "memory"

    @dataclass
    class Found(Message):
        """The thread that looks for a GPU is done."""

        nbytes: int | None
        """Memory of the smallest GPU here; `None` without one."""

    def __init__(self, bench: Workbench, settings: MemorySettings, gpu_memory: Callable[[], int | None]) -> None:
        """Estimate for the groups of `bench`; `gpu_memory` asks the machine, and may take a moment."""
        super().__init__()
        self._bench = bench
        self._settings = settings
        self._gpu_memory = gpu_memory
        self._table = Static()
        self._field = Field("", placeholder="80GiB", classes="gpu-field")

    def content(self) -> list[Widget]:
        """Return the widget that shows the table."""
        return [self._table]

    def below(self) -> list[Widget]:
        """Return the field for the GPU's memory."""
        return [self._field]

    def on_mount(self) -> None:
        """Show the estimate, and look for a GPU if none is known."""
        self._field.display = False
        self._show()
        if self._settings.gpu is None:
            self.run_worker(lambda: self.post_message(self.Found(self._gpu_memory())), thread=True)

    def on_memory_screen_found(self, message: Found) -> None:
        """Hold the estimate against the box's own GPU."""
        if message.nbytes is not None and self._settings.gpu is None:
            self._change(gpu=message.nbytes)

    def _change(self, **what: object) -> None:
        self._settings = self._settings._replace(**what)  # type: ignore[arg-type]
        self._show()

    def _show(self) -> None:
        bench, settings = self._bench, self._settings
        grouping = bench.assignment.grouping
        try:
            report = training_memory(bench.assignment, settings.optimizer, settings.precision)
        except ParamxError as error:
            self._table.update(Text(error.line, "bold"))
            return
        optimizer = settings.optimizer or grouping.optimizer
        title = OPTIMIZER_STATES[optimizer].title if optimizer in OPTIMIZER_STATES else optimizer
        text = Text.assemble((f"{title} · {PRECISIONS[settings.precision].title}\n", "bold"))
        table = Table(box=None, padding=(0, 1, 0, 0), expand=False)
        for head in ("group", "weights", "gradients", "states", "together"):
            table.add_column(head, justify="left" if head == "group" else "right", no_wrap=True, min_width=10)
        for rule, memory in zip(grouping.rules, report.rules, strict=True):
            table.add_row(Text(rule.name, no_wrap=True, overflow="ellipsis"), *_cells(memory))
        table.add_row(Text("total", "bold"), *_cells(report.total, "bold"))
        below = Text("\n")
        if settings.gpu is None:
            below.append("No GPU known: g sets its memory.\n", "dim")
        else:
            left = settings.gpu - report.total.total
            verdict = f"fit, {short_bytes(left)} left" if left >= 0 else f"do not fit, {short_bytes(-left)} too much"
            below.append(f"One GPU of {short_bytes(settings.gpu)}: weights, gradients and states {verdict}\n", "bold")
        below.append("Activations, buffers and the framework's own memory come on top.\n", "dim")
        below.append("Frozen parameters have no gradient and no state; a tied tensor counts once.\n", "dim")
        column = "the stored size" if settings.in_tree else "training memory"
        below.append(f"c: {column} in the tree's Size column.", "dim")
        grid = Table.grid()
        for part in (text, table, below):
            grid.add_row(part)
        self._table.update(grid)

    def action_optimizer(self) -> None:
        """Take the next optimizer; after the last, what the groups say."""
        names = [None, *OPTIMIZER_STATES]
        self._change(optimizer=names[(names.index(self._settings.optimizer) + 1) % len(names)])

    def action_precision(self) -> None:
        """Take the next precision."""
        names = list(PRECISIONS)
        self._change(precision=names[(names.index(self._settings.precision) + 1) % len(names)])

    def action_column(self) -> None:
        """Show training memory in the tree's size column, or the stored size again."""
        self._change(in_tree=not self._settings.in_tree)

    def action_gpu(self) -> None:
        """Ask for one GPU's memory."""
        self._field.offer("" if self._settings.gpu is None else short_bytes(self._settings.gpu), selected=True)
        self.tell_foot("Enter takes it   Esc cancels")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the GPU's memory as typed."""
        event.stop()
        if event.value.strip():
            try:
                self._change(gpu=parse_bytes(event.value))
            except ValueError as error:
                self.notify(sentence(str(error)))
                return
        self._close_field()

    def _close_field(self) -> None:
        self._field.display = False
        self.query_one(".dialog-body").focus()
        self.tell_foot(self.FOOT)

    def action_leave(self) -> None:
        """Leave the field or, when it is closed, the screen with what was chosen."""
        if self._field.display:
            self._close_field()
        else:
            self.dismiss(self._settings)


def _cells(memory: Memory, style: str = "") -> list[Text]:
    parts = (memory.weights, memory.gradients, memory.states, memory.total)
    return [Text(short_bytes(part), style) for part in parts]
