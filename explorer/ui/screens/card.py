"""The model card: architecture, parameters by role, and the configuration, which can be searched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, Static

from explorer.core import lora
from explorer.core.card import Active, Context, Section, Share, active, architecture, context, settings, shares
from explorer.core.pictures import bar
from explorer.core.roles import Roles
from explorer.core.text import plural, short_count
from explorer.core.totals import loop_check, other_counts
from explorer.ui import keys_inside
from explorer.ui.paint import cut_middle, keys_line
from explorer.ui.screens.dialog import Body, Dialog
from explorer.ui.widgets.field import Field

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult

    from explorer.core.param import Model

WIDEST_BAR = 40
"""Cells of a bar that stands for the whole model."""


class CardScreen(Dialog[None]):
    """Everything that is known of the model as a whole; typing searches its configuration."""

    HEADING = "Model"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "close", show=False),
        *keys_inside.bindings("card", "screen"),
    ]
    HELP_ON = "card"

    @dataclass
    class Summed(Message):
        """The thread that looks at every parameter is done."""

        shares: tuple[Share, ...]
        """Parameters by role; empty where no classes are known."""
        active: Active | None
        """Parameters that each token uses, of a mixture of experts."""
        context: Context
        """How long an input its tables of positions allow."""

    def __init__(self, model: Model) -> None:
        """Show `model`."""
        super().__init__()
        self._model = model
        self._field = Field("", placeholder="search the config: a key or a value", classes="card-search")
        self._text = Static()
        self._sums: CardScreen.Summed | None = None

    def compose(self) -> ComposeResult:
        """Put the search field above the scrolling text."""
        with Vertical(classes="dialog"):
            yield Static(classes="dialog-title")
            yield self._field
            with Body(classes="dialog-body"):
                yield self._text
        yield Static(classes="dialog-foot")

    def on_mount(self) -> None:
        """Show what is known at once; the roles of thousands of parameters follow."""
        self._field.focus()
        self.call_after_refresh(self._show)
        self.run_worker(self._sum, thread=True)

    def _sum(self) -> None:
        roles = Roles(self._model)
        model = self._model
        self.post_message(self.Summed(shares(model, roles), active(model, roles), context(model, roles)))

    def on_card_screen_summed(self, message: Summed) -> None:
        """Show the parameters by role."""
        self._sums = message
        self._show()

    def on_resize(self, event: events.Resize) -> None:
        """Draw the bars for the new width."""
        self.call_after_refresh(self._show)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search at each keystroke, and scroll to the top."""
        event.stop()
        self._show()
        self.query_one(Body).scroll_home(animate=False)

    def _show(self) -> None:
        needle = self._field.value.strip()
        parts = [self._config(needle)] if needle else [*self._figures(), self._config("")]
        self._text.update(Group(*parts))
        origin, width = self._model.origin, self._field.size.width
        head = " · ".join(part for part in (origin.class_name, origin.target) if part)
        title = Text.assemble((f" {self.HEADING}", "bold"), f"  {cut_middle(head, width - len(self.HEADING) - 4)}")
        self.query_one(".dialog-title", Static).update(title)
        keys = (
            "Esc clears the search" if self._field.value else "Esc closes",
            "type to search the config",
            "↑↓ PgUp PgDn Ctrl+Home Ctrl+End scroll",
        )
        self.query_one(".dialog-foot", Static).update(Text(keys_line(keys, width), "dim", no_wrap=True))

    # -- the parts --------------------------------------------------------------------------------------------

    def _figures(self) -> list[RenderableType]:
        parts: list[RenderableType] = []
        for section in architecture(self._model.origin.config, self._sums.context if self._sums else None):
            parts += _section("Architecture" + (f" · {section.title}" if section.title else ""), section)
        if (adapter := lora.section(self._model)) is not None:
            parts += _section("LoRA adapter", adapter)
        parts += [_heading("Parameters by role"), *self._by_role(), Text()]
        parts += [_heading("Counts"), *self._counts(), Text()]
        return parts

    def _by_role(self) -> list[RenderableType]:
        sums = self._sums
        if sums is None:
            return [Text("looking at every parameter…", "dim")]
        if not sums.shares:
            return [Text("The classes of the modules are not known here: names alone do not prove a role.", "dim")]
        width = max(8, min(WIDEST_BAR, self._text.size.width - 44))
        table = Table.grid(padding=(0, 1))
        for justify in ("left", "left", "right", "right", "right"):
            table.add_column(justify=justify, no_wrap=True)
        for share in sums.shares:
            table.add_row(
                Text(share.part),
                Text(bar(share.hundredths / 10_000, width).ljust(width)),
                Text(f"{share.hundredths / 100:.2f} %", "bold"),
                Text(short_count(share.parameters)),
                Text(plural(share.tensors, "tensor"), "dim"),
            )
        found: list[RenderableType] = [table]
        if self._model.aliases:
            found.append(Text("A tied tensor counts where it stands first.", "dim"))
        if sums.active is not None:
            found += [Text(), _heading("Mixture of experts"), _experts(sums.active)]
        return found

    def _counts(self) -> list[RenderableType]:
        model = self._model
        grid = _grid(right=True)
        grid.add_row(Text(f"{model.total:,}", "bold"), Text("these rows"), Text(loop_check(model)[1], "dim"))
        for count in other_counts(model):
            tensors = "" if count.tensors is None else f", {plural(count.tensors, 'tensor')}"
            grid.add_row(Text(f"{count.elements:,}", "bold"), Text(count.name + tensors), Text(count.reason, "dim"))
        return [grid]

    def _config(self, needle: str) -> RenderableType:
        config = self._model.origin.config
        if config is None:
            return Text("There is no configuration here.", "dim")
        grid = Table.grid(padding=(0, 2))
        grid.add_column(overflow="fold", ratio=2)
        grid.add_column(overflow="fold", ratio=3)
        found = 0
        for key, value in settings(config, needle):
            grid.add_row(_marked(key, needle), _marked(value, needle, "bold"))
            found += 1
        if needle and not found:
            return Text("Nothing in the configuration contains this. Esc clears it.", "dim")
        title = f"Config · {found:,} found" if needle else "Config"
        return Group(_heading(title), grid)

    # -- keys -------------------------------------------------------------------------------------------------

    def action_leave(self) -> None:
        """Clear the search; with nothing to clear, close."""
        if self._field.value:
            self._field.value = ""
        else:
            self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        """Scroll by lines."""
        self.query_one(Body).scroll_relative(y=lines, animate=False)

    def action_page(self, pages: int) -> None:
        """Scroll by pages."""
        body = self.query_one(Body)
        body.scroll_relative(y=pages * max(1, body.size.height - 1), animate=False)

    def action_to_top(self) -> None:
        """Scroll to the top."""
        self.query_one(Body).scroll_home(animate=False)

    def action_to_end(self) -> None:
        """Scroll to the end."""
        self.query_one(Body).scroll_end(animate=False)


def _section(heading: str, section: Section) -> list[RenderableType]:
    grid = _grid()
    for fact in section.facts:
        grid.add_row(Text(fact.label), Text(fact.value, "bold"), Text(fact.source, "dim"))
    return [_heading(heading), grid, Text()]


def _experts(found: Active) -> RenderableType:
    grid = _grid(right=True)
    each = f"{found.per_token} of {found.experts:,} experts of a layer"
    grid.add_row(Text(f"{found.total:,}", "bold"), Text("in all"), Text(short_count(found.total), "dim"))
    grid.add_row(
        Text(f"{found.active:,}", "bold"),
        Text("active for a token"),
        Text(f"{short_count(found.active)} · all but the experts that it is not sent to: {each}", "dim"),
    )
    if found.without_lookup != found.active:
        grid.add_row(
            Text(f"{found.without_lookup:,}", "bold"),
            Text("without embedding"),
            Text(f"{short_count(found.without_lookup)} · some papers leave the token embedding out", "dim"),
        )
    return grid


def _grid(right: bool = False) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, justify="right" if right else "left")
    grid.add_column(no_wrap=not right)
    grid.add_column(overflow="fold")
    return grid


def _heading(text: str) -> Text:
    return Text(text, "bold underline")


def _marked(text: str, needle: str, style: str = "") -> Text:
    marked = Text(text, style)
    at = text.casefold().find(needle.casefold()) if needle else -1
    if at >= 0:
        marked.stylize("reverse", at, at + len(needle))
    return marked
