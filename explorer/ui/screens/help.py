"""The help screen, made from the key table."""

from __future__ import annotations

from rich.text import Text
from textual.widget import Widget
from textual.widgets import Static

from explorer.ui import keymap
from explorer.ui.keys_inside import INSIDE, TITLES, Place
from explorer.ui.screens.dialog import Dialog

READING = """\
Params   elements of the parameter, or of all below the module
Running  np of the counting loop after this row, in the model's own order
         (for p in model.parameters(): np += p.numel()), whatever the sort
Size     bytes of the elements at their dtype
Grad     requires_grad; mixed where the parameters below differ
Group    the optimizer group: 1+2 where the parameters below differ
×12      twelve siblings alike in names, shapes, dtypes, grads and groups
⚠        a warning names a parameter here      Δ  its group changed
✔        the total equals the counting loop, run on the real object
"""
"""What the columns and signs mean."""

TERMS = """\
bias           the name contains this text (any(nd in n for nd in no_decay))
glob:*.weight  shell pattern over the whole name
re:h\\.[0-5]\\.  regular expression, searched in the name
name:cls.bias  the name is exactly this
type:*Norm     class of the owning module, or a base class of it
ndim<2         number of dimensions; also <= == != >= >
!term          not what the term matches
"""
"""The pattern language in short."""


class HelpScreen(Dialog[None]):
    """All keys, what the columns mean, how patterns are written."""

    HEADING = "Help"

    def __init__(self, first: Place | None = None) -> None:
        """Begin with the keys of the screen it was opened on, if that has a section of its own."""
        super().__init__()
        self._first = first

    def content(self) -> list[Widget]:
        """Return the keys by panel (those of the screen it was opened on first), the columns and the terms."""
        text = Text()
        if self._first is not None:
            _add_inside(text, self._first)
        for where, title in keymap.TITLES.items():
            text.append(f"{title}\n", "bold")
            for command in keymap.COMMANDS:
                if command.where == where:
                    text.append(f"  {command.shown:<10}", "bold")
                    text.append(f"{command.help}\n")
            text.append("\n")
        for place in INSIDE:
            if place != self._first:
                _add_inside(text, place)
        text.append("Columns and signs\n", "bold")
        text.append("".join(f"  {line}\n" for line in READING.splitlines()))
        text.append("\nPatterns\n", "bold")
        text.append("".join(f"  {line}\n" for line in TERMS.splitlines()))
        return [Static(text)]


def _add_inside(text: Text, place: Place) -> None:
    """Write the keys of one screen over the tree."""
    text.append(f"{TITLES[place]}\n", "bold")
    for entry in INSIDE[place]:
        text.append(f"  {entry.shown:<10}", "bold")
        text.append(f"{entry.help}\n")
    text.append("\n")
