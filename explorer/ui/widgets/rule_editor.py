"""One group of the panel: its name, terms and options as fields, and under them what each keystroke gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input

from explorer.core.options import options_text
from explorer.core.patterns import join_terms
from explorer.core.text import plural, share_text
from explorer.ui.paint import SEVERITY_STYLES, cut_start
from explorer.ui.widgets.field import Field
from explorer.ui.widgets.steady import Steady, laid_out_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult
    from textual.widget import Widget

    from explorer.core.draft import Fields
    from explorer.core.groups import Rule
    from explorer.core.workbench import GroupStats

PANEL_WIDTH = 45
"""Cells of the panel where it stands beside the tree; the stylesheet holds the same figure."""

NAME_CELLS = PANEL_WIDTH - 9
"""Cells of a name in it, after borders, padding, indent and scrollbar."""

SLOW_TERM = "re:"
"""Begins a term that may take long to match."""

LOW_MARGIN = 4
"""Cells beside a group's line where the panel stands under the tree."""


class RuleEditor(Vertical):
    """One group: its name, terms and options as fields, and what falls into it."""

    virtual_size = laid_out_once()

    @dataclass
    class Edited(Message):
        """A field was typed in."""

        rule: int
        """Position of the group."""
        name: str
        """The name as typed."""
        options: str
        """The options line as typed."""
        terms: str
        """The terms line as typed."""

    def __init__(self, position: int, rule: Rule, catch_all: bool, edited: Callable[[Edited], None]) -> None:
        """Show `rule`, the group at `position`; tell `edited` of what is typed, at once where that takes no time."""
        super().__init__()
        self.position = position
        self.catch_all = catch_all
        self._edited = edited
        self._writing = self._pending = False

        def field(text: str, placeholder: str, classes: str) -> Field:
            return Field(text, placeholder=placeholder, classes=classes, changed=self._typed)

        self._title = field(rule.name, "name", "rule-name")
        self.options = field(options_text(rule.options), "weight_decay=0.1", "rule-options")
        terms = "" if catch_all else join_terms(rule.terms)
        self.terms = field(terms, "text in names, with commas", "rule-terms")
        self._told = self.fields
        self._rest = Steady("everything else", classes="rule-rest")
        self._stats = Steady(classes="rule-stats")

    def compose(self) -> ComposeResult:
        """Lay the parts out; the stylesheet puts them in two columns or in three."""
        yield Steady(Text(str(self.position + 1), "bold"), classes="rule-number")
        yield self._title
        yield self._rest if self.catch_all else self.terms
        yield self.options
        yield self._stats

    def field_name(self, field: Widget | None) -> str:
        """Return what a field holds, for people; empty where it is none of these."""
        name = self._title.value
        if field is self._title:
            return f"name of group {self.position + 1}"
        return f"terms of {name}" if field is self.terms else f"options of {name}" if field is self.options else ""

    def on_input_changed(self, event: Input.Changed) -> None:
        """Pass on what was typed, if that was not done as it was typed."""
        event.stop()
        if self.fields != self._told:  # a field that is made says what stands in it, too
            self._told = self.fields
            self._pending = True
            self.post_message(self.Edited(self.position, *self.fields))

    def flush(self) -> None:
        """Have what was typed take effect now, where that is still under way."""
        if self._pending:
            self._pending = False
            self._edited(self.Edited(self.position, *self.fields))

    def _typed(self) -> None:
        # A regular expression may take its time: the letter is to be seen before its effect.
        if not self._writing and self.fields != self._told and SLOW_TERM not in self.terms.value:
            self._told = self.fields
            self._edited(self.Edited(self.position, *self.fields))

    @property
    def fields(self) -> Fields:
        """What stands in the fields now."""
        return self._title.value, self.options.value, self.terms.value

    def write(self, rule: Rule) -> None:
        """Put the rule's own text back into the fields."""
        terms = self.terms.value if self.catch_all else join_terms(rule.terms)
        self.fill((rule.name, options_text(rule.options), terms))

    def fill(self, fields: Fields) -> None:
        """Put texts into the fields as somebody typed them."""
        self._writing = True
        with self.prevent(Input.Changed):
            self._title.value, self.options.value, self.terms.value = fields
        self._writing = False
        self._told = self.fields

    def tell(
        self,
        stats: GroupStats,
        whole: int,
        memory: str,
        problem: tuple[str, ...],
        with_members: bool,
        values: str = "",
    ) -> None:
        """Show what fell into the group.

        Args:
            stats: Its counts and first members.
            whole: Elements of the model, for the share.
            memory: Its training memory; empty where it is not known.
            problem: What is wrong with what is typed, a line each; empty when nothing is.
            with_members: Whether there is room for more than one line.
            values: The first values of its first member; empty where they are not known.
        """
        text = Text(no_wrap=True, overflow="ellipsis")
        if problem:
            # What stands below it is the last good result; where there is one line only, the mistake has it.
            text.append("\n".join(f"✖ {line}" for line in problem) + "\n", SEVERITY_STYLES["error"])
            if not with_members:
                self._stats.update(Text("✖ " + "; ".join(problem), SEVERITY_STYLES["error"]))
                return
        counts = (plural(stats.tensors, "tensor"), f"{stats.parameters:,}", share_text(stats.parameters, whole))
        text.append(" · ".join(counts))
        moves = [f"+{stats.came}"] * bool(stats.came) + [f"−{stats.left}"] * bool(stats.left)
        still = stats.tensors == stats.frozen > 0
        frozen = f"  {'all' if still else f'{stats.frozen:,}'} frozen" if stats.frozen else ""
        trained = f"{memory} {'held' if still else 'to train'}" if memory else ""
        if with_members:
            text.append(frozen)
            text.append(f"\n{trained}" if trained or moves else "")
        if moves:
            # Beside the counts it would be cut where the panel is narrow.
            text.append(f"{'  ' if trained or not with_members else ''}Δ {' '.join(moves)}", "bold")
        if not with_members:
            text.append(frozen)
            text.append(f" · {trained}" if trained else "")
        if values and not with_members:
            room = self.screen.size.width - LOW_MARGIN - text.cell_len
            if short := _shortened(values, room - 3):
                text.append(f" · {short}", "dim italic")
        if with_members:
            width = NAME_CELLS
            for place, name in enumerate(stats.first):
                text.append("\n  " + cut_start(name, width), "dim")
                text.append(f"\n  {values}" if values and not place else "", "dim italic")
            if stats.tensors > len(stats.first):
                text.append(f"\n  … {stats.tensors - len(stats.first):,} more", "dim")
        self._stats.update(text)


def _shortened(line: str, width: int) -> str:
    """Return the first values of a tensor, as many as fit into `width` characters; empty where not one does."""
    if len(line) <= width:
        return line
    values = line.split(", ")
    for kept in range(len(values) - 1, 0, -1):
        short = ", ".join(values[:kept]) + ", …"
        if len(short) <= width and not values[kept - 1].endswith("…"):
            return short
    return ""
