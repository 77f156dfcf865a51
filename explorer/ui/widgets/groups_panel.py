"""The groups panel: every rule's name, terms and options as fields, and under them what each keystroke gives."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.segment import Segment
from rich.text import Text
from textual.containers import Vertical, VerticalScroll
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widgets import Input
from textual.widgets.input import Selection

from explorer.core.lints import severity_place
from explorer.core.options import options_text
from explorer.core.patterns import join_terms
from explorer.core.text import plural, quoted, share_text, short_bytes
from explorer.ui import keymap
from explorer.ui.paint import fit
from explorer.ui.widgets.steady import Steady, laid_out_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult
    from textual.widget import Widget

    from explorer.core.draft import Fields
    from explorer.core.groups import Rule
    from explorer.core.memory import MemoryReport
    from explorer.core.param import Finding
    from explorer.core.workbench import GroupStats, Workbench

PANEL_WIDTH = 45
"""Cells of the panel where it stands beside the tree; the stylesheet holds the same figure."""

NAME_CELLS = PANEL_WIDTH - 9
"""Cells of a name in it, after borders, padding, indent and scrollbar."""

NAMED = 2
"""Names that a finding shows; the rest is counted."""

SEVERITY_MARKS = {"error": "✖", "warning": "⚠", "hint": "·"}
"""Sign before a finding, so that its weight shows without colour."""


SEVERITY_STYLES = {"error": "bold red", "warning": "bold yellow", "hint": "dim"}
"""Colour of that sign."""

SLOW_TERM = "re:"
"""Begins a term that may take long to match."""

PAGE = 8
"""Groups that have fields at one time."""

LOW_MARGIN = 4
"""Cells beside a group's line where the panel stands under the tree."""

LINES_LOW = 2
"""Lines of findings where the panel stands under the tree."""

EDITOR_LINES_LOW, BORDER_LINES = 2, 1
"""Lines of a group there, and of the border above; the stylesheet says the same."""


class Field(Input):
    """A one-line field; its cursor stands still, for a blinking one sends bytes over SSH for ever."""

    virtual_size = laid_out_once()

    def __init__(
        self, value: str, *, placeholder: str = "", classes: str = "", changed: Callable[[], None] | None = None
    ) -> None:
        """Start with `value` and the cursor at its end.

        Args:
            value: The text.
            placeholder: What stands there where there is none.
            classes: Names for the stylesheet.
            changed: Called with each change at once: what a message starts is drawn a frame after the letter.
        """
        self._changed = changed
        super().__init__(value, placeholder=placeholder, compact=True, select_on_focus=False, classes=classes)
        self.cursor_blink = False

    def watch_value(self) -> None:
        """Tell of the change."""
        if self._changed is not None and self.is_attached:
            self._changed()

    def offer(self, text: str, *, selected: bool = False) -> None:
        """Show the field with a text to take or change; its cursor stands at the end.

        Args:
            text: What is offered.
            selected: Whether typing replaces it, unless an arrow key comes first.
        """
        self.display = True
        self.value = text
        self.selection = Selection(0 if selected else len(text), len(text))
        self.focus()

    def on_focus(self) -> None:
        """Show the part of the text where the cursor stands."""
        self._show_cursor()

    def on_resize(self) -> None:
        """Show that part again: another may fit now."""
        if self.has_focus:
            self._show_cursor()

    def _show_cursor(self) -> None:
        at = cell_len(self.value[: self.cursor_position])
        self.scroll_to_region(Region(at, 0, 1, 1), force=True, animate=False)

    def render_line(self, y: int) -> Strip:
        """Draw the text; while another has the focus, what is cut ends in `…`."""
        width = self.scrollable_content_region.width
        if y or self.has_focus or cell_len(self.value) <= width:
            return super().render_line(y)
        return Strip([Segment(fit(self.value, width))]).apply_style(self.rich_style)

    def update_node_styles(self, animate: bool = True) -> None:
        """Look the styles up, once there is a place for them: `Input` asks for it twice before it is mounted."""
        if self.is_attached:
            super().update_node_styles(animate)


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
                text.append("\n  " + _tail(name, width), "dim")
                text.append(f"\n  {values}" if values and not place else "", "dim italic")
            if stats.tensors > len(stats.first):
                text.append(f"\n  … {stats.tensors - len(stats.first):,} more", "dim")
        self._stats.update(text)


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
            text.append("".join(f"\n    {_tail(quoted(name), NAME_CELLS - 2)}" for name in names[:NAMED]), "dim")
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


def _tail(name: str, width: int) -> str:
    """Return the end of a name: members of one group differ there, where their beginnings are alike."""
    return name if cell_len(name) <= width else "…" + name[len(name) - width + 1 :]


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
