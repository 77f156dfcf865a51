"""The keys of every screen over the tree in one table: bindings and help derive from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding, BindingType

Place = Literal["values", "sweep", "findings", "presets", "memory", "export", "card", "start"]
"""The screen of one tensor's values, that of the statistics of many, and those of which a command's help tells."""

Part = Literal["screen", "grid", "lines", "list"]
"""What binds the keys: the screen itself, the grid of values, or a list (with bindings of its own)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the help screen, and its keys."""

    shown: str
    """How the keys are written for people."""
    help: str
    """What they do."""
    runs: tuple[tuple[str, str], ...]
    """Textual's names of keys, several with commas between, each with the action that they run."""
    part: Part = "screen"
    """What binds them."""
    before_all: bool = False
    """Whether the screen takes the keys before its widgets do."""


MORE = Entry("Space", "The rest of the text below the list", (("space", "screen.more"),), "list")
"""Of every list that has such a text."""

REOPEN = Entry("r", "Open the model again: its file changed, or its worker is gone", (("r", "app.reopen"),))
"""As in the tree, since it is here that a changed file is told."""

INSIDE: dict[Place, tuple[Entry, ...]] = {
    "values": (
        Entry("Tab", "Values, statistics, heat map, print (Shift+Tab goes back)",
              (("tab", "tab(1)"), ("shift+tab", "tab(-1)")), before_all=True),
        Entry("↑↓←→", "Move by a cell (h j k l too)",
              (("up,k", "step(-1, 0)"), ("down,j", "step(1, 0)"), ("left,h", "step(0, -1)"),
               ("right,l", "step(0, 1)")), "grid"),
        Entry("PgUp PgDn", "A screen up or down (Space too)",
              (("pageup,ctrl+b", "page(-1, 0)"), ("pagedown,ctrl+f,space", "page(1, 0)")), "grid"),
        Entry("H L", "A screen left or right",
              (("H,shift+left", "page(0, -1)"), ("L,shift+right", "page(0, 1)")), "grid"),
        Entry("Home End", "First and last column (0 $ too)",
              (("home,0", "edge(0, -1)"), ("end,dollar_sign", "edge(0, 1)")), "grid"),
        Entry("Ctrl+Home", "First row; Ctrl+End or G: last row",
              (("ctrl+home", "edge(-1, 0)"), ("ctrl+end,G", "edge(1, 0)")), "grid"),
        Entry("g", "Go to an index as in torch: 12,5 or -1 (a row) or 3,0,7",
              (("g", "ask_index"),)),
        Entry("n N", "Go to the next or the previous element that is NaN or infinite",
              (("n", "seek(1)"), ("N", "seek(-1)"))),
        Entry("f", "Numbers as auto, fixed, scientific, hex (the bits)", (("f", "format"),), "grid"),
        Entry("[ ]", "The slice before and the next, of three dimensions and more",
              (("left_square_bracket", "leading(-1)"), ("right_square_bracket", "leading(1)"))),
        Entry("d", "Which leading dimension [ ] step, of four dimensions and more", (("d", "dimension"),), "grid"),
        Entry("l", "In the statistics: bars by the count, or by its logarithm", (("l", "log"),)),
        Entry("p", "All of torch's print, and back", (("p", "print"),)),
        REOPEN,
        Entry("Esc", "Leave (q, v too)", (("escape,q,v", "leave"),)),
    ),
    "sweep": (
        Entry("s", "Sort by the next figure; after the last the model's order",
              (("s", "order"),)),
        Entry("n N", "Go to the next or the previous tensor that holds NaN or an infinity",
              (("n", "seek(1)"), ("N", "seek(-1)"))),
        Entry("l Tab", "Norms layer by layer, and the table again", (("l,tab", "layers"),), before_all=True),
        Entry("a", "Measure every tensor of the model", (("a", "all"),)),
        Entry("v", "The values of the tensor under the cursor", (("v", "values"),)),
        Entry("Enter", "Go to the tensor in the tree", (("enter", "choose"),), "lines"),
        Entry("↑↓", "Move (j k, PgUp PgDn, Home End too)", (("up,k", "move(-1)"), ("down,j", "move(1)")), "lines"),
        REOPEN,
        Entry("Esc", "Stop and leave (q, S too)", (("escape,q,S", "dismiss"),)),
    ),
    "findings": (
        Entry("Enter", "Go to its tensors; n and N then step through them", (("enter", "select"),), "list"),
        Entry("f", "Take its fix; Ctrl+/ takes that back", (("f", "fix"),)),
        MORE,
    ),
    "presets": (
        Entry("Enter", "Ask for its numbers, and take its groups", (("enter", "select"),), "list"),
        Entry("x", "The tensors on which the recipes disagree", (("x", "disagreements"),)),
        MORE,
    ),
    "memory": (
        Entry("o", "The next optimizer, for this estimate alone", (("o", "optimizer"),)),
        Entry("p", "The next precision", (("p", "precision"),)),
        Entry("g", "One GPU's memory, to hold it against", (("g", "gpu"),)),
        Entry("c", "Training memory in the tree's Size column, and back", (("c", "column"),)),
    ),
    "export": (
        Entry("←→", "Another form (h l, Tab too)", (("left,h,shift+tab", "form(-1)"), ("right,l,tab", "form(1)"))),
        Entry("w", "Write it to a file", (("w", "ask_path"),)),
        Entry("y", "Copy it to the terminal's clipboard", (("y", "copy"),)),
    ),
    "card": (
        Entry("↑↓", "Scroll (PgUp PgDn Ctrl+Home Ctrl+End too); letters search the config",
              (("up", "scroll(-1)"), ("down", "scroll(1)"), ("pageup", "page(-1)"), ("pagedown", "page(1)"),
               ("ctrl+home", "to_top"), ("ctrl+end", "to_end"))),
    ),
    "start": (
        Entry("↑↓", "Choose (PgUp PgDn too); letters narrow the list, or name a target",
              (("up", "move(-1)"), ("down", "move(1)"), ("pageup", "move(-10)"), ("pagedown", "move(10)"))),
        Entry("Esc", "Clear what is typed, then back to the open model", (("escape", "clear"),)),
    ),
}  # fmt: skip
"""The table, in the order of the help screen."""

TITLES: dict[Place, str] = {
    "values": "In a tensor's values (v)",
    "sweep": "In the statistics of many tensors (S)",
    "findings": "In the warnings (w)",
    "presets": "In the recipes (p)",
    "memory": "In the training memory (t)",
    "export": "In the export (e)",
    "card": "On the model's card (i)",
    "start": "Where a model is chosen (o)",
}
"""Headings of the help screen."""


def bindings(place: Place, part: Part) -> list[BindingType]:
    """Return Textual bindings of the keys that a part of a screen binds."""
    return [
        Binding(keys, action, entry.help, show=False, priority=entry.before_all)
        for entry in INSIDE[place]
        if entry.part == part
        for keys, action in entry.runs
    ]
