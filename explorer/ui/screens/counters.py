"""The screen of other ways to count the same model, each with the reason why its figure differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text
from textual.widgets import Static

from explorer.core.text import plural, short_bytes
from explorer.core.totals import by_device, loop_check, other_counts
from explorer.ui.screens.dialog import Dialog
from explorer.ui.widgets.bars import checked

if TYPE_CHECKING:
    from textual.widget import Widget

    from explorer.core.param import Model


class CountersScreen(Dialog[None]):
    """Every counter that the source ran on the real object."""

    HEADING = "Counts"

    def __init__(self, model: Model) -> None:
        """Show the counters of `model`."""
        super().__init__()
        self._model = model

    def content(self) -> list[Widget]:
        """Return the counting loop first, then the others with their reasons."""
        model = self._model
        origin = model.origin
        versions = (f"{name} {version}" for name, version in origin.versions.items())
        head = [origin.target, origin.class_name or "", origin.description, *versions]
        grid = Table.grid(padding=(0, 2))
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column()
        loop = f"for p in model.parameters(): np += p.numel(){checked(model)}"
        summed = plural(len(model) - len(model.apart), "tensor")
        where = "run on the real object too" if model.counters else "a file has no loop to run"
        if model.counters is not None and model.counters.raising:
            where = loop_check(model)[1]
        self._add(grid, model.total, loop, f"the table's own sum, over {summed}; {where}")
        for count in other_counts(model):
            tensors = "" if count.tensors is None else f" · {plural(count.tensors, 'tensor')}"
            self._add(grid, count.elements, f"{count.name}{tensors}", count.reason)
        memory = "memory of the parameters there"
        if model.counters is None:
            memory = "bytes of the tensors that were there when the file was saved"
        for place in by_device(model):
            held = plural(place.tensors, "tensor")
            grid.add_row(
                Text(short_bytes(place.nbytes), "bold"),
                Text.assemble((f"{place.device} · {held}", "bold"), "\n", (f"{memory}\n", "dim")),
            )
        return [Static(Text(" · ".join(filter(None, head)) + "\n", "dim")), Static(grid)]

    def _add(self, grid: Table, count: int, name: str, reason: str) -> None:
        grid.add_row(Text(f"{count:,}", "bold"), Text.assemble((name, "bold"), "\n", (reason, "dim"), "\n"))
