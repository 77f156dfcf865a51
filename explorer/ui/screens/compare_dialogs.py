"""The dialogs over a comparison: both sides of one tensor, and the keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from rich.table import Table
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import Static

from explorer.core.compare import Comparison, Pair
from explorer.core.compare_runs import reason
from explorer.core.compare_text import difference_text
from explorer.core.text import shape_text
from explorer.ui.screens.dialog import Dialog

if TYPE_CHECKING:
    from textual.widget import Widget

KEYS = (
    ("↑↓", "move", "Home, End, PgUp and PgDn too"),
    ("Enter", "open", "Fold or unfold a kind or a run ×N; both sides of one tensor"),
    ("/", "filter", "Only names that contain a text; Esc clears it"),
    ("v", "values", "Compare the values too; Esc stops, v goes on"),
    ("r", "open again", "Open both again: a file has changed, or a worker is gone"),
    ("?", "help", "This list"),
    ("q", "quit", "Leave; for an exit status use --print"),
)
"""Keys, what the keys bar says of them, and what the help says."""


BOTH_KEYS = (
    ("↑↓", "Scroll (j k, Home, End, PgUp and PgDn too)"),
    ("Esc", "Back to the list (q too)"),
)
"""Keys of the dialog of both sides, and what the help says of them."""


class CompareHelp(Dialog[None]):
    """The keys of the comparison."""

    HEADING = "Help"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark,f1", "dismiss", "close", show=False)]

    def content(self) -> list[Widget]:
        """Return a line a key, and what A → B means."""
        text = Text()
        _add(text, [(key, told) for key, _, told in KEYS])
        text.append("\nBoth sides of one tensor\n", "bold")
        _add(text, BOTH_KEYS)
        text.append(
            "\n  A → B  what A has, and what B has in its place\n  ×12    differences that are alike but for numbers"
        )
        return [Static(text)]


def _add(text: Text, keys: Iterable[tuple[str, str]]) -> None:
    for key, told in keys:
        text.append(f"  {key:<7}", "bold")
        text.append(f"{told}\n")


class BothScreen(Dialog[None]):
    """Both sides of one tensor, fact by fact."""

    HEADING = "Both sides"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark,f1", "help", "help", show=False)]

    def __init__(self, comparison: Comparison, pair: Pair) -> None:
        """Show one pair of `comparison`."""
        super().__init__()
        self._comparison, self._pair = comparison, pair

    def content(self) -> list[Widget]:
        """Return a table of facts with a column a side; what differs is marked."""
        comparison, pair = self._comparison, self._pair
        facts_a, facts_b = (_facts(comparison, pair, of_a) for of_a in (True, False))
        grid = Table.grid(padding=(0, 2))
        for _ in range(4):
            grid.add_column(overflow="fold")
        grid.add_row(Text(), Text(), Text("A", "bold"), Text("B", "bold"))
        # A file that is alone differs from the other in its name, which is said above the list.
        if not any(len(model.shards.values) > 1 for model in (comparison.a, comparison.b)):
            del facts_a["shard"]
        for name, a in facts_a.items():
            b = facts_b[name]
            grid.add_row(Text("≠" if a != b else " ", "bold"), Text(name, "dim"), Text(a), Text(b))
        parts = [Static(Text(f"{pair.name}\n", "bold"))]
        if pair.values is not None:
            parts.append(Static(Text(f"values: {difference_text(pair.values)}\n")))
        elif pair.name in comparison.uncompared:
            parts.append(Static(Text(f"values not compared: {reason(comparison, pair)}\n")))
        return [*parts, Static(grid)]

    def action_help(self) -> None:
        """Show the keys of the comparison, which are those of this dialog too."""
        self.app.push_screen(CompareHelp())


def _facts(comparison: Comparison, pair: Pair, of_a: bool) -> dict[str, str]:
    found = comparison.facts(pair, of_a)
    if found is None:
        names = ("name", "index", "shape", "elements", "dtype", "bytes", "group", "class", "grad", "tied", "shard")
        return dict.fromkeys(names, "–")
    model = comparison.a if of_a else comparison.b
    param = model[found.index]
    more = f" and {len(found.parts) - 1:,} more that make one" if found.parts else ""
    return {
        "name": f"{found.name}{more}",
        "index": f"{found.index:,} of {len(model):,}",
        "shape": shape_text(found.shape),
        "elements": f"{found.numel:,}",
        "dtype": found.dtype or "–",
        "bytes": "–" if found.nbytes < 0 else f"{found.nbytes:,}",
        "group": found.group_text,
        "class": param.module_class.name if param.module_class else "–",
        "grad": {True: "yes", False: "no", None: "–"}[param.requires_grad],
        "tied": ", ".join(param.aliases) or "–",
        "shard": found.shard or "–",
    }
