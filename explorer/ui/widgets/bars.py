"""The lines around the panels: the title above, the cursor's detail and the keys below, the filter when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.text import Text
from textual.containers import Horizontal
from textual.widgets import Static

from explorer.core.groups import NO_GROUP
from explorer.core.text import plural, shape_text, share_text, short_bytes, short_count, visible
from explorer.core.totals import loop_check, tensors_text
from explorer.ui import keymap
from explorer.ui.paint import apart, cut_middle, folded
from explorer.ui.widgets.field import Field
from explorer.ui.widgets.steady import Steady

if TYPE_CHECKING:
    from explorer.core.param import Column, Model
    from explorer.core.roles import Role, Roles
    from explorer.core.view import TreeView
    from explorer.core.workbench import Workbench


LINES = (3, 6)
"""Least and most lines of the detail; `styles.tcss` holds the same figures."""

MARGIN = 1
"""Cells left and right of the detail; `styles.tcss` holds the same figure."""

FIRST_KEYS = ("help", "quit", "filter", "values", "next_panel", "fold")
"""Commands that the keys bar names before all others, and before the arrows: the first is the last to give way. Enter
and Tab everybody tries, `v` and `/` nobody would guess."""

LEAST_TARGET = 12
"""Cells of the target that the title keeps beside what is pending; with less room it stands alone for a while."""

TREE_ROWS = 8
"""Lines that the tree keeps when the detail of a parameter takes one more."""

GROUPS_TOLD = 4
"""Most groups of a module's parameters that are named; the others are counted."""


class TitleBar(Steady):
    """What is open, and its total with the check against the counting loop."""

    def tell_loading(self, target: str, stage: str, seconds: int) -> None:
        """Show what is happening while a model opens."""
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(" paramx ", "bold reverse")
        text.append(f" {visible(target)}", "bold")  # as the user typed it: a file's name may hold anything
        text.append(f"  {stage}… {seconds} s", "dim")
        self.update(text)

    def tell_loaded(self, model: Model, pending: str) -> None:
        """Show the open model; on narrow screens the total stays and the class goes.

        Args:
            model: The model.
            pending: What more will be known of it, where the line that says so is not shown; empty: nothing.
        """
        origin = model.origin
        right = f"{model.total:,} parameters{checked(model)} "
        width = self.size.width
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(" paramx ", "bold reverse")
        # A long path gives way to the total, which stands nowhere else, and for some seconds to what is pending.
        room = width - text.cell_len - cell_len(right) - 3
        beside = f" · {pending}" if pending else ""
        if room - cell_len(beside) < min(LEAST_TARGET, cell_len(origin.target)):
            text.append(f" {pending or cut_middle(origin.target, room)}", "bold")
        else:
            text.append(f" {cut_middle(origin.target, room - cell_len(beside))}", "bold")
            text.append(beside)
        named = origin.class_name if origin.class_name != origin.target else None
        if named and text.cell_len + cell_len(named) + 4 + cell_len(right) < width:
            text.append(f" · {named}")
        text.append(" " * max(2, width - text.cell_len - cell_len(right)))
        text.append(right, "bold")
        self.update(text)


def checked(model: Model) -> str:
    """Return the sign that says that the total equals the source's counting loop; empty where no loop was run."""
    return " ✔" if loop_check(model)[0] else ""


class OriginBar(Steady):
    """Where the model came from, in one line."""

    pending = ""
    """What is still being read about the model."""

    def tell(self, model: Model, view: TreeView) -> None:
        """Show tensors, dtypes, devices and the origin."""
        parts = [model.origin.description, tensors_text(model)]
        if model.apart:  # the title counts parameters only: why it does must stand in narrow screens too
            parts.reverse()
        for values in (model.dtypes.values, model.devices.values):
            known = [str(value) for value in values if value is not None]
            if known:
                parts.append("+".join(known[:3]) + ("+…" if len(known) > 3 else ""))
        parts += [f"{name} {version}" for name, version in model.origin.versions.items() if name != "python"]
        if self.pending:
            parts.insert(0, self.pending)
        if view.order != "tree":
            parts.insert(0, "largest first" if view.by_size else "in the file's order")
        self.update(Text(" " + " · ".join(parts), no_wrap=True, overflow="ellipsis"))


class DetailBar(Steady):
    """The row under the cursor: its whole name and role, the counting loop's line, and the facts."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        """Start empty."""
        super().__init__(id=id)
        self._roles: tuple[Model, Roles] | None = None

    def clear(self) -> None:
        """Say that there is nothing under the cursor."""
        self.update("")

    def tell(self, view: TreeView, row: int, bench: Workbench, nothing_found: str) -> None:
        """Show the row at the cursor; where a filter leaves none, `nothing_found`."""
        if not len(view.rows):
            none = f"{nothing_found} Esc clears it." if view.filtered else "No parameters."
            self.update(Text(none, "dim"))
            return
        leaf = view.tree.params[view.rows.nodes[row]]
        if leaf >= 0 and view.rows.counts[row] == 1:
            self.update(self._parameter(view, leaf, bench))
        else:
            self.update(self._module(view, row, bench))

    @property
    def _width(self) -> int:
        """Return the cells of a line: it spans the screen, and is told before it is laid out."""
        return self.app.size.width - 2 * MARGIN

    def _role(self, model: Model, index: int) -> Role | None:
        """Return what a parameter is for; the roles of a model are kept, since each kind is worked out once."""
        if self._roles is None or self._roles[0] is not model:
            from explorer.core.roles import Roles  # noqa: PLC0415 - a module is under the cursor first

            self._roles = (model, Roles(model))
        return self._roles[1][index]

    def _parameter(self, view: TreeView, index: int, bench: Workbench) -> Text:
        model = view.tree.model
        param = model[index]
        role = self._role(model, index)
        purpose, formula = (role.text, role.formula or "") if role is not None else ("", "")
        room = self._width
        text = Text(overflow="fold")
        text.append(param.name, "bold")
        if purpose and text.cell_len + 2 + cell_len(purpose) <= room:
            text.append(f"  {purpose}")
            purpose = ""
        before = f"#{index:,} of {len(model):,}  "
        after = f"np = {view.running_at(index):,} of {model.total:,}"
        dims = " × ".join(map(str, param.shape)) if param.shape else ""
        counted = f"{dims} = {param.numel:,}" if dims else f"{shape_text(param.shape)}, {param.numel:,}"
        named = f"{dims} = {formula} = {param.numel:,}"
        if param.shape and len(param.shape) == 1:  # "384 = 384" tells nothing
            counted, named = f"{param.numel:,}", f"{formula} = {param.numel:,}"
        if dims and formula and cell_len(f"{before}{named}  {after}") <= room:
            counted, formula = named, ""
        text.append(f"\n{apart(before + counted, after, room)}\n")
        reason = f"{param.apart}: in no group, in no sum" if param.apart else bench.assignment.reasons(index).text
        tied = f"tied to {', '.join(param.aliases)}" if param.aliases else ""
        # No column shows these; of a lone file the title does.
        shard = (param.shard or "") if len(model.shards.values) > 1 else ""
        kept = [purpose, reason if param.apart else "", tied, param.notes, shard]
        minor = [
            f"in {param.module_class.name}" if param.module_class else "",
            param.dtype or "",
            short_bytes(param.nbytes) if param.nbytes is not None else "",
            param.device or "",
            {True: "grad", False: "frozen", None: ""}[param.requires_grad],
        ]
        above = sum(max(1, -(-cell_len(line) // max(1, room))) for line in text.plain.splitlines())
        lines = self._facts(kept, formula, "" if param.apart else reason, minor, self._most_lines() - above)
        text.append("\n".join(lines), "dim")
        return text

    def _most_lines(self) -> int:
        """Return how many lines the detail may take: those that the tree has beyond its `TREE_ROWS`."""
        trees = self.screen.query("#tree")
        spare = trees.first().size.height - TREE_ROWS if trees else 0
        return max(LINES[0], min(LINES[1], self.size.height + spare))

    def _facts(self, kept: list[str], formula: str, reason: str, minor: list[str], lines: int) -> list[str]:
        """Return the facts in as few lines as there is room for.

        Args:
            kept: What no column shows; it is all there, in more lines if need be.
            formula: The shape in the config's words; where it is left out, `…` says so.
            reason: Why the parameter is in its group; so too.
            minor: What columns show: left out from the end.
            lines: Most lines for all but `kept`.
        """
        width = self._width
        kept, minor = list(filter(None, kept)), list(filter(None, minor))
        wanted = list(filter(None, (reason, formula)))

        def laid(facts: list[str]) -> list[str]:
            return folded(" · ".join(facts), width, LINES[1])

        def fits(facts: list[str], most: int) -> bool:
            return len(laid(facts)) <= most

        if fits([*kept, *wanted], 1):  # one line is enough: what columns show fills its rest
            while minor and not fits([*kept, *wanted, *minor], 1):
                minor.pop()
            return laid([*kept, *wanted, *minor])
        if fits([*kept, *wanted], lines):
            return laid([*kept, *wanted])
        for some in ([formula], [reason]):
            if some[0] and fits([*kept, *some, "…"], lines):
                return laid([*kept, *some, "…"])
        return laid([*kept, "…"])

    def _module(self, view: TreeView, row: int, bench: Workbench) -> Text:
        tree = view.tree
        model = tree.model
        node, last, count = view.rows.nodes[row], view.rows.lasts[row], view.rows.counts[row]
        text = Text(overflow="fold")
        path = tree.path(node)
        if count > 1:
            path = f"{path} … {tree.labels[last]}"
        text.append(f"{path}\n", "bold")
        numel = view.numel(row)
        counted = f"{plural(view.tensors(row), 'tensor')} · {plural(numel, 'parameter')} "
        counted += f"· {share_text(numel, model.total)}"
        np = f"np = {view.running(row):,}"
        whole = f"{np} of {model.total:,}"
        fits = cell_len(f"{counted}  {whole}") <= self._width
        text.append(apart(counted, whole if fits else np, self._width) + "\n")
        parts = []
        if count > 1:
            parts.append(f"{count} alike, the first shown below; u shows each")
        parts.append(short_bytes(view.nbytes(row)))
        for column, word in ((model.dtypes, ""), (model.devices, ""), (model.requires_grad, "requires_grad ")):
            parts.extend(_shares(view, row, column, word))
        files = model.shards
        if len(files.values) > 1:
            agree, file = view.common(files, row)
            if agree and file:
                parts.append(file)
            else:
                shares = view.shares(files, row)
                held = [file for file in shares if file is not None]
                every = sum(file is not None for file in files.values)
                parts.append(f"in {len(held):,} of {plural(every, 'file')}" if every > 1 or not held else held[0])
                if None in shares:
                    parts.append(f"{plural(shares[None], 'parameter')} in no file")
        codes = view.groups(row)
        groups = sorted(set(codes) - {NO_GROUP})
        for code in groups[:GROUPS_TOLD]:
            parts.append(f"{bench.names[code]} {codes.count(code):,}")
        if len(groups) > GROUPS_TOLD:
            parts.append(f"… {plural(len(groups) - GROUPS_TOLD, 'more group')}")
        if NO_GROUP in codes:
            parts.append(f"{codes.count(NO_GROUP):,} in no group")
        text.append(" · ".join(parts), "dim")
        return text


def _shares(view: TreeView, row: int, column: Column[Any], word: str) -> list[str]:
    """Return the one value of a column, or the share of each where the row's parameters differ."""
    agree, value = view.common(column, row)
    if agree:
        return [] if value is None else [f"{word}{value}"]
    shares = view.shares(column, row)
    whole = sum(shares.values())
    return [f"{word}{'unknown' if key is None else key} {share_text(part, whole)}" for key, part in shares.items()]


class FilterBar(Horizontal):
    """The filter's field, and what it leaves."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        """Start hidden and empty."""
        super().__init__(id=id)
        self.display = False
        self.field = Field("", placeholder="text in a name; case counts; #120: a tensor", classes="filter-field")
        self._count = Steady(classes="filter-count")
        self._view: TreeView | None = None

    async def open(self) -> None:
        """Show the sign, the field and the count; they are mounted when first needed."""
        self.display = True
        if not self.field.is_attached:
            await self.mount(Static(" / ", classes="filter-sign"), self.field, self._count)

    def tell(self, view: TreeView) -> None:
        """Show the number of tensors that are left and their sum."""
        self._view = view
        model = view.tree.model
        count = Text(f"{view.shown_tensors:,} of {plural(len(model), 'tensor')} · ", no_wrap=True)
        count.append(f"{view.shown_numel:,}" if self.size.width >= 70 else short_count(view.shown_numel))
        self._count.update(count)

    def on_resize(self) -> None:
        """Write the sum in full if there is room; there is none before the first layout."""
        if self._view is not None:
            self.tell(self._view)


def _place(command: str) -> int:
    """Return which commands give way first where a keys bar is too narrow: the higher ones, by rank where equal."""
    return FIRST_KEYS.index(command) if command in FIRST_KEYS else len(FIRST_KEYS)


class KeysBar(Steady):
    """The keys that help most where the focus is; as many as fit."""

    def tell_opening(self) -> None:
        """Show the keys that do something while a model opens; the others have nothing to work on yet."""
        text = Text(no_wrap=True, overflow="crop")
        for command in keymap.bar("anywhere"):
            if command.owner == "app":
                text.append_text(self._entry(command, typing=False))
        text.append("  Esc", "bold")
        text.append(" give up")
        self.update(text)

    def tell(self, *where: keymap.Where, hints: Mapping[str, str] | None = None) -> None:
        """Show the keys for a focus in one of `where`; before them those that `hints` says something of."""
        text = Text(no_wrap=True, overflow="crop")
        entries = [(command.id, self._entry(command, "groups" in where)) for command in keymap.bar(*where)]
        arrows = Text.assemble((" ↑↓", "bold"), " move")
        # Everybody tries the arrows: on a narrow screen they give way to what nobody would guess.
        first = sum(entry.cell_len for name, entry in entries if name in FIRST_KEYS)
        if "tree" in where and not hints and arrows.cell_len + first <= self.size.width:
            text.append_text(arrows)
        # Help and quit are the ones that nobody may miss: hints have what they leave.
        room = self.size.width - text.cell_len
        room -= sum(entry.cell_len for name, entry in entries if name in FIRST_KEYS[:2])
        for key, what in reversed(list((hints or {}).items())):  # the latest first
            entry = Text.assemble(" " * bool(text), (f" {key} {what} ", "bold reverse"))
            if entry.cell_len <= room:
                room -= entry.cell_len
                text.append_text(entry)
        shown = set(FIRST_KEYS[:2])
        for name, entry in sorted(entries, key=lambda each: _place(each[0])):
            if name not in shown and entry.cell_len <= room:
                room -= entry.cell_len
                shown.add(name)
        for name, entry in entries:
            if name in shown:
                text.append_text(entry)
        self.update(text)

    def _entry(self, command: keymap.Command, typing: bool) -> Text:
        label = "next" if typing and command.id == "next_panel" else command.label
        return Text.assemble("  ", ((typing and command.typing) or command.shown, "bold"), " ", label)
