"""The groups panel: an editor for each group, the memory of all, and what the lints say of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text
from textual.containers import VerticalScroll
from textual.message import Message

from explorer.core.lints import severity_place
from explorer.core.text import plural, quoted, short_bytes
from explorer.ui import keymap
from explorer.ui.paint import SEVERITY_MARKS, SEVERITY_STYLES, cut_start
from explorer.ui.widgets.field import Field
from explorer.ui.widgets.rule_editor import NAME_CELLS, RuleEditor
from explorer.ui.widgets.steady import Steady, laid_out_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.widgets import Input

    from explorer.core.memory import MemoryReport
    from explorer.core.param import Finding
    from explorer.core.workbench import Workbench

NAMED = 2
"""Names that a finding shows; the rest is counted."""

PAGE = 8
"""Groups that have fields at one time."""

LINES_LOW = 2
"""Lines of findings where the panel stands under the tree."""

EDITOR_LINES_LOW, BORDER_LINES = 2, 1
"""Lines of a group there, and of the border above; the stylesheet says the same."""


class GroupsPanel(VerticalScroll, can_focus=False):
    """All groups of the workbench, and what the lints say of them."""

    BINDINGS = keymap.bindings("groups")
    virtual_size = laid_out_once()

    class Kept(Message):
        """Enter: the groups as typed are to be kept."""

    class Restore(Message):
        """Esc: back to the groups last kept or, if nothing is changed, to the tree."""

    @dataclass
    class Beyond(Message):
        """An arrow key left the page of groups that has fields."""

        rule: int
        """The group above or below; there may be none."""

    def __init__(self, edited: Callable[[RuleEditor.Edited], None], *, id: str | None = None) -> None:  # noqa: A002
        """Start empty; `show` fills it.

        Args:
            edited: Told of what is typed, as `RuleEditor` is.
            id: Name for the stylesheet.
        """
        super().__init__(id=id)
        self._edited = edited
        self._first = 0
        self._pages = Steady(id="pages")
        self._findings = Steady(id="findings")
        self._total = Steady(id="memory")
        self._filling = asyncio.Lock()
        self.first_values: dict[str, str] = {}
        """The first values of a group's first member, by the member's name; it may lack any."""
        self._report: MemoryReport | None = None
        self._assumed = ""
        self._heading = ""

    @property
    def editors(self) -> list[RuleEditor]:
        """The groups' editors in order."""
        return list(self.query(RuleEditor))

    async def show(self, bench: Workbench, first: int = 0) -> None:
        """Make the fields anew for the groups as typed: those from `first` on, a page of them.

        A layer-wise recipe makes a hundred groups, and fields for all of them would take seconds.
        """
        rules = bench.typed.rules
        last = len(rules) - 1
        self._first = max(0, min(first, len(rules) - PAGE))
        page = range(self._first, min(self._first + PAGE, len(rules)))
        self._pages.display = len(rules) > PAGE
        shown = f"groups {page.start + 1}…{page.stop} of {len(rules)}; ↑↓ beyond the last field shows more"
        self._pages.update(Text(shown, "dim"))
        editors = [RuleEditor(position, rules[position], position == last, self._edited) for position in page]
        async with self._filling:
            await self.query(RuleEditor).remove()
            if self._pages.is_attached:
                await self.mount_all(editors, before=self._pages)
            else:
                # Memory and findings stand below the groups.
                await self.mount_all([*editors, self._pages, self._total, self._findings])
                self.styles.height = None
        self.tell(bench)

    def reserve(self, bench: Workbench) -> None:
        """Take the room that `show` will fill: the tree beside it must not move then."""
        if self.screen.has_class("narrow"):
            rules = len(bench.typed.rules)
            lines = EDITOR_LINES_LOW * min(rules, PAGE) + min(len(bench.all_findings), LINES_LOW) + (rules > PAGE)
            self.styles.height = lines + BORDER_LINES

    async def fill(self, bench: Workbench) -> None:
        """Make the fields if none are there yet; a command that needs them waits for them."""
        if not self.editors:
            await self.show(bench)

    async def reveal(self, bench: Workbench, rule: int, *, options: bool = False) -> None:
        """Put the focus into a group's terms, or its options, on the page that holds it."""
        if not self._first <= rule < self._first + PAGE:
            await self.show(bench, rule - PAGE // 2)
        self.focus_field(rule, options=options)

    async def write(self, bench: Workbench) -> None:
        """Put the groups' own text back into the fields, made anew if there are more or fewer groups."""
        editors, rules = self.editors, bench.typed.rules
        fits = len(editors) == min(PAGE, len(rules)) and editors[-1].position < len(rules)
        if not fits or any(editor.catch_all != (editor.position == len(rules) - 1) for editor in editors):
            await self.show(bench, self._first)
            return
        half_typed = bench.draft.fields
        for editor in editors:
            if editor.position in half_typed:
                editor.fill(half_typed[editor.position])
            else:
                editor.write(rules[editor.position])
        self.tell(bench)

    def tell(self, bench: Workbench) -> None:
        """Show what the groups give now."""
        whole = bench.model.total
        roomy = not self.screen.has_class("narrow")
        last = len(bench.assignment.grouping.rules) - 1
        for editor in self.editors:
            if editor.position >= len(bench.typed.rules):
                continue  # the group is gone, and its field goes
            place = min(editor.position, last)
            memory = self._report.rules[place] if self._report and place < len(self._report.rules) else None
            trained = short_bytes(memory.total) if memory else ""
            stats = bench.stats(place)
            values = self.first_values.get(stats.first[0], "") if stats.first else ""
            editor.tell(stats, whole, trained, bench.trouble(editor.position), roomy, values)
        self._total.display = roomy and self._report is not None
        self.tell_heading()
        if self._report is not None:
            total = f"{short_bytes(self._report.total.total)} in all · {self._assumed} (t)"
            self._total.update(Text(total, no_wrap=True, overflow="ellipsis"))
        found = bench.all_findings
        self._findings.update(self._findings_text(found, roomy))
        self._findings.display = bool(found)

    def tell_memory(self, bench: Workbench, report: MemoryReport | None, assumed: str) -> None:
        """Show training memory; `assumed` is the optimizer and precision in few words."""
        self._report, self._assumed = report, assumed
        self.tell(bench)

    def tell_heading(self) -> None:
        """Say above the groups which field has the cursor, and what memory is estimated for where no line does."""
        field = next((told for editor in self.editors if (told := editor.field_name(self.screen.focused))), "groups")
        heading = field if self._total.display or not self._assumed else f"{field} · {self._assumed} (t)"
        if heading != self._heading:
            self._heading = heading
            self.border_title = Text(heading)

    def on_descendant_focus(self) -> None:
        """Name the field that has the cursor now."""
        self.tell_heading()

    def on_descendant_blur(self) -> None:
        """Name none, if the focus leaves the panel."""
        self.tell_heading()

    @property
    def focused_rule(self) -> int | None:
        """Position of the group that has the focus; `None` when none has."""
        return next((editor.position for editor in self.editors if editor.has_focus_within), None)

    def _findings_text(self, findings: tuple[Finding, ...], roomy: bool) -> Text:
        text = Text() if roomy else Text(no_wrap=True, overflow="ellipsis")
        told = findings if roomy or len(findings) <= LINES_LOW else findings[: LINES_LOW - 1]
        for finding in told:
            text.append("\n" if text else "")
            text.append(f"{SEVERITY_MARKS[finding.severity]} ", SEVERITY_STYLES[finding.severity])
            text.append(finding.message)
            names = () if finding.names and finding.names[0] in finding.message else finding.names
            if not roomy:
                text.append(": " + ", ".join(map(quoted, names[:NAMED])) if names else "", "dim")
                continue
            text.append("".join(f"\n    {cut_start(quoted(name), NAME_CELLS - 2)}" for name in names[:NAMED]), "dim")
            text.append(f"\n    … {len(names) - NAMED:,} more" if len(names) > NAMED else "", "dim")
        if roomy and findings:
            text.append("\n\nw: why, where, and the fix", "dim")
        if len(told) < len(findings):
            hidden = findings[len(told) :]
            worst = min(hidden, key=severity_place).severity
            text.append(f"\n{SEVERITY_MARKS[worst]} ", SEVERITY_STYLES[worst])
            text.append(plural(len(hidden), "more finding"), "dim")
        return text

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter keeps the groups."""
        event.stop()
        self.post_message(self.Kept())

    def action_commit(self) -> None:
        """Keep the groups as typed."""
        self.post_message(self.Kept())

    def action_restore(self) -> None:
        """Go back to the groups last kept."""
        self.post_message(self.Restore())

    def focus_field(self, rule: int | None = None, *, options: bool = False) -> None:
        """Put the focus into a shown group (the first if none is named).

        Args:
            rule: The group.
            options: Whether one more option is to be typed; else its terms have the focus, if it has any.
        """
        for editor in self.editors:
            if rule is None or editor.position == rule:
                if options:
                    editor.options.offer(f"{editor.options.value} ".lstrip())
                else:
                    (editor.options if editor.catch_all else editor.terms).focus()
                return

    def action_rule_up(self) -> None:
        """Go to the field above."""
        self._step(-1)

    def action_rule_down(self) -> None:
        """Go to the field below."""
        self._step(1)

    def _step(self, by: int) -> None:
        fields = [field for field in self.query(Field) if field.display]
        focused = self.screen.focused
        at = fields.index(focused) + by if isinstance(focused, Field) and focused in fields else 0
        if 0 <= at < len(fields):
            fields[at].focus()
        else:
            self.post_message(self.Beyond(self._first - 1 if at < 0 else self._first + PAGE))
