"""What is wrong with the groups, and what moved: lists whose lines lead to the tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from explorer.core.fixes import apply_fix
from explorer.core.lints import try_fixes
from explorer.core.text import plural, quoted
from explorer.ui import keys_inside
from explorer.ui.paint import SEVERITY_MARKS, SEVERITY_STYLES, fit
from explorer.ui.screens.lists import ListDialog, ShowTensors, UseGroups

if TYPE_CHECKING:
    from textual.widgets import OptionList

    from explorer.core.workbench import Workbench

LISTED = 2_000
"""Most lines of a list; the others are counted."""

NAMED = 6
"""Most tensors that the text about a finding names."""


class FindingsScreen(ListDialog):
    """Every finding: why it matters, its tensors, its fix."""

    HEADING = "Warnings"
    FOOT = "Enter shows its tensors   Esc closes"
    FOOT_WITH_FIX = "Enter shows its tensors   f takes the fix   Esc closes"
    """The keys while the highlighted finding has a fix."""
    EMPTY = "Nothing is wrong with these groups, as far as the lints can tell."
    BINDINGS = keys_inside.bindings("findings", "screen")
    HELP_ON = "findings"

    def __init__(self, bench: Workbench) -> None:
        """List the findings of `bench`, and those of the source."""
        super().__init__()
        self._bench = bench
        self._findings = try_fixes(bench.all_findings, bench.assignment)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Name the keys that do something for the line."""
        self.tell_foot(self.FOOT_WITH_FIX if self._findings[event.option_index].fix else self.FOOT)

    def lines(self) -> list[Text]:
        """Return one line a finding."""
        lines = []
        for finding in self._findings:
            mark = (f"{SEVERITY_MARKS[finding.severity]} ", SEVERITY_STYLES[finding.severity])
            fix = "  f: fix" if finding.fix else ""
            message = finding.message
            room = self.rows.scrollable_content_region.width - len(mark[0]) - len(fix)
            if fix and cell_len(message) > room:
                message = fit(message, room)  # that there is a fix must not be what is cut
            lines.append(Text.assemble(mark, message, (fix, "dim"), no_wrap=True, overflow="ellipsis"))
        return lines

    def about(self, line: int) -> Text:
        """Return the reason, the fix and the tensors."""
        finding = self._findings[line]
        text = Text()
        text.append(f"{finding.severity}: {finding.message}\n", "bold")
        if finding.why:
            text.append(f"{finding.why}\n")
        if finding.fix:
            text.append(f"Fix: {finding.fix}\n", "bold")
        for name in finding.names[:NAMED]:
            text.append(f"  {quoted(name)}\n", "dim")
        if len(finding.names) > NAMED:
            text.append(f"  … {len(finding.names) - NAMED:,} more", "dim")
        return text

    def choose(self, line: int) -> ShowTensors | None:
        """Go to the finding's tensors."""
        finding = self._findings[line]
        indices = self._bench.indices(finding.names)
        if not indices:
            self.notify("This one names no tensor of the tree.", timeout=3)
            return None
        return ShowTensors(indices, finding.id)

    def action_fix(self) -> None:
        """Take the fix of the highlighted finding as an edit; undo takes it back."""
        line = self.rows.highlighted
        finding = self._findings[line] if line is not None and line < len(self._findings) else None
        if finding is None or not finding.fix:
            self.notify("There is no one fix for this.", timeout=3)
            return
        try:
            fixed = apply_fix(self._bench.typed, finding)
        except ValueError:
            self.notify("The groups have changed since: the fix no longer fits.", timeout=3)
            return
        self.dismiss(UseGroups(fixed, f"Fixed: {finding.fix}   Ctrl+/ takes it back"))


class MovesScreen(ListDialog):
    """The tensors that changed group since the groups were last kept."""

    HEADING = "Moved"
    FOOT = "Enter goes to the tensor   Esc closes"
    EMPTY = "No tensor has changed group since the groups were last kept. Enter in the panel keeps them."

    def __init__(self, bench: Workbench) -> None:
        """List the moves of `bench`."""
        super().__init__()
        self._bench = bench
        self._moves = bench.moves()

    def head(self) -> Text | None:
        """Return the moves by the groups they lead from and to, with their parameters."""
        numels = self._bench.model.numels
        sums: dict[tuple[str, str], list[int]] = {}
        for move in self._moves:
            counts = sums.setdefault((move.source, move.target), [0, 0])
            counts[0] += 1
            counts[1] += numels[move.index]
        if not sums:
            return None
        lines = [
            f" {source} → {target}: {plural(tensors, 'tensor')} · {plural(elements, 'parameter')}"
            for (source, target), (tensors, elements) in sums.items()
        ]
        return Text("\n".join(lines), "bold")

    def lines(self) -> list[Text]:
        """Return one line a tensor."""
        names = self._bench.model.names
        lines = [
            Text.assemble(names[move.index], (f"  {move.source} → {move.target}", "dim"), no_wrap=True)
            for move in self._moves[:LISTED]
        ]
        if len(self._moves) > LISTED:
            lines.append(Text(f"… {len(self._moves) - LISTED:,} more", "dim"))
        return lines

    def about(self, line: int) -> Text:
        """Return the tensor's size."""
        if line >= LISTED:
            return Text("The tree shows them all: Δ stands beside each.")
        param = self._bench.model[self._moves[line].index]
        return Text(f"#{param.index:,} {param.name} · {plural(param.numel, 'parameter')}")

    def choose(self, line: int) -> ShowTensors | None:
        """Go to the tensor; `n` and `N` then step through all that moved."""
        if line >= LISTED:
            return None
        indices = [move.index for move in self._moves]
        return ShowTensors([*indices[line:], *indices[:line]], "moved")
