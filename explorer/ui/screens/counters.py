"""The other ways to count the same model, each with the reason why its figure differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual.widgets import Static

from explorer.core.totals import other_counts
from explorer.ui.screens.dialog import Dialog
from explorer.ui.widgets.bars import checked

if TYPE_CHECKING:
    from textual.widget import Widget

    from explorer.core.param import Model


class CountersScreen(Dialog):
    """Every counter that the source ran on the real object."""

    HEADING = "Counts"

    def __init__(self, model: Model) -> None:
        """Show the counters of `model`."""
        super().__init__()
        self._model = model

    def content(self) -> list[Widget]:
        """Return the counting loop first, then the others with their reasons."""
        model = self._model
        text = Text()
        text.append(f"{model.total:>19,}", "bold")
        text.append(f"  for p in model.parameters(): np += p.numel(){checked(model)}\n", "bold")
        text.append(f"{'':>21}the table's own sum, over {len(model):,} tensors; ", "dim")
        text.append("run on the real object too\n" if model.counters else "a file has no loop to run\n", "dim")
        for count in other_counts(model):
            tensors = "" if count.tensors is None else f" · {count.tensors:,} tensors"
            text.append(f"\n{count.elements:>19,}", "bold")
            text.append(f"  {count.name}{tensors}\n")
            text.append(f"{'':>21}{count.reason}\n", "dim")
        return [Static(text)]
