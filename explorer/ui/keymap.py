"""Every key in one table: bindings, the keys bar, the help screen and the command palette all derive from it."""

from __future__ import annotations

from typing import Literal, NamedTuple

from textual.binding import Binding, BindingType

Where = Literal["tree", "groups", "anywhere"]


class Command(NamedTuple):
    """One thing that a key does."""

    id: str
    """Name of the screen's action, and the binding id by which users remap it."""
    keys: tuple[str, ...]
    """Textual's names of its keys, the one to show first."""
    shown: str
    """How the key is written for people: `↑↓`, `?`."""
    label: str
    """One or two words for the keys bar."""
    help: str
    """What it does, for the help screen, the tooltip and the palette."""
    where: Where = "tree"
    """The panel that must have the focus."""
    rank: int = 0
    """Place in the keys bar, 1 first; 0 keeps it out of the bar."""
    typing: str = ""
    """How the key is written while a field has the focus, where letters are typed; empty when it is the same."""
    owner: Literal["", "screen", "app"] = ""
    """Who does it where the widget that binds it does not: the main screen, or the app on any screen."""

    @property
    def action(self) -> str:
        """Name of the action that Textual runs."""
        return f"{self.owner}.{self.id}" if self.owner else self.id


COMMANDS: tuple[Command, ...] = (
    Command("cursor_up", ("up", "k"), "↑ k", "move", "Move up"),
    Command("cursor_down", ("down", "j"), "↓ j", "move", "Move down"),
    Command("cursor_right", ("right", "l"), "→ l", "unfold", "Unfold the module, or step to its first row"),
    Command("cursor_left", ("left", "h"), "← h", "fold", "Fold the module, or step to the module above"),
    Command("fold", ("enter", "space"), "Enter", "fold", "Fold or unfold the module (Space too)", rank=1),
    Command("toggle_run", ("u",), "u", "×N", "Show the members of a ×N row one by one, or as one row again", rank=9),
    Command("open_below", ("asterisk",), "*", "unfold all", "Unfold everything below the row"),
    Command("fold_all", ("minus",), "-", "fold all", "Fold everything"),
    Command("page_up", ("pageup", "ctrl+b"), "PgUp", "page", "A page up"),
    Command("page_down", ("pagedown", "ctrl+f"), "PgDn", "page", "A page down"),
    Command("first", ("home",), "Home", "top", "First row"),
    Command("top_prefix", ("g",), "g g", "top", "First row too"),
    Command("last", ("end", "G"), "End G", "end", "Last row"),
    Command(
        "filter",
        ("slash",),
        "/",
        "filter",
        "Keep names that hold a text; #120 is a tensor; Esc clears",
        rank=2,
    ),
    Command("next_match", ("n",), "n", "next", "Next tensor that the filter finds; after S, with NaN or Inf"),
    Command(
        "previous_match", ("N",), "N", "previous", "Previous tensor that the filter finds; after S, with NaN or Inf"
    ),
    Command("sort", ("s",), "s", "sort", "Largest first, the file's own order where it is another, and back", rank=8),
    Command("counters", ("c",), "c", "counts", "The other ways to count, and why they differ", rank=11),
    Command("sweep", ("S",), "S", "statistics", "Measure what is below the row: norms, zeros, NaN; by layer too"),
    Command("values", ("v",), "v", "values", "The tensor's values, statistics and a heat map", rank=4),
    Command("copy_name", ("y",), "y", "copy name", "Copy the row's full name to the terminal's clipboard"),
    Command("group_row", ("a",), "a", "group it", "A new group for what the row holds: type its options", rank=13),
    Command("card", ("i",), "i", "about", "The model: architecture, parameters by role, its config", rank=12),
    Command(
        "presets", ("p",), "p", "recipes", "Known recipes side by side on this model, with their sources", rank=5
    ),
    Command("findings", ("w",), "w", "warnings", "What is wrong with the groups, why, where, and the fix", rank=4),
    Command("moves", ("d",), "d", "moved", "The tensors that changed group since the groups were last kept", rank=10),
    Command("memory", ("t",), "t", "memory", "Training memory: optimizer, precision, and one GPU's memory", rank=7),
    Command(
        "optimizer", ("O",), "O", "optimizer", "Another optimizer for these groups: lints, memory and export follow"
    ),
    Command("export", ("e",), "e", "export", "These parameter groups as Python, JSON or TOML", rank=6),
    Command("open", ("o",), "o", "open", "Open another model"),
    Command("reload", ("r",), "r", "reload", "Open the model again: its file changed, or its worker is gone"),
    Command("recover", ("R",), "R", "recover", "Take the groups of a session that ended badly"),
    Command("commit", ("enter",), "Enter", "keep", "Keep the groups as typed", where="groups", rank=1),
    Command("restore", ("escape",), "Esc", "restore", "Back to the groups last kept, then to the tree", "groups", 2),
    Command("rule_up", ("up",), "↑", "field above", "To the field above, or the group above", where="groups"),
    Command("rule_down", ("down",), "↓", "field below", "To the field below, or the group below", where="groups"),
    Command(
        "add_group", ("ctrl+n",), "Ctrl+N", "new group", "A new group below this one", "groups", 4, owner="screen"
    ),
    Command("remove_group", ("ctrl+r",), "Ctrl+R", "remove", "Remove this group", "groups", 5, owner="screen"),
    Command("raise_group", ("ctrl+up",), "Ctrl+↑", "raise", "Move this group up", "groups", 6, owner="screen"),
    Command("lower_group", ("ctrl+down",), "Ctrl+↓", "lower", "Move this group down", "groups", owner="screen"),
    Command(
        "undo",
        ("ctrl+underscore", "ctrl+slash"),
        "Ctrl+/",
        "undo",
        "Take back the last edit of the groups",
        "anywhere",
    ),
    Command("redo", ("ctrl+y",), "Ctrl+Y", "redo", "Take back an undo", "anywhere"),
    Command(
        "next_panel",
        ("tab",),
        "Tab",
        "groups",
        "From the tree to the groups, through their fields, and back",
        "anywhere",
        3,
    ),
    Command(
        "previous_panel",
        ("shift+tab",),
        "Shift+Tab",
        "back",
        "The field before; from the first back to the tree",
        "anywhere",
    ),
    Command(
        "help", ("question_mark", "f1"), "?", "help", "This list (F1 while typing)", "anywhere", 20, "F1", owner="app"
    ),
    Command("palette", ("ctrl+p",), "Ctrl+P", "commands", "Search all commands", "anywhere", owner="app"),
    Command(
        "suspend_process", ("ctrl+z",), "Ctrl+Z", "suspend", "To the shell; fg comes back", "anywhere", owner="app"
    ),
    Command(
        "quit",
        ("q", "ctrl+q", "ctrl+c"),
        "q",
        "quit",
        "Quit (Ctrl+Q or Ctrl+C while typing)",
        "anywhere",
        21,
        "Ctrl+Q",
        owner="app",
    ),
)
"""The table, in the order of the help screen."""

TITLES: dict[Where, str] = {"tree": "In the tree", "groups": "In the groups panel", "anywhere": "Anywhere"}
"""Headings of the help screen."""


MOVES = frozenset(
    {
        *("cursor_up", "cursor_down", "page_up", "page_down", "first", "top_prefix", "last"),
        *("rule_up", "rule_down", "next_panel", "previous_panel"),
    }
)
"""Commands that only move: nobody looks for them in the palette, which takes the focus from where they would."""


def bindings(*where: Where) -> list[BindingType]:
    """Return Textual bindings of the commands that work `where`."""
    return [
        Binding(
            ",".join(command.keys),
            command.action,
            command.label,
            show=False,
            tooltip=command.help,
            id=command.id,
        )
        for command in COMMANDS
        if command.where in where
    ]


def bar(*where: Where) -> list[Command]:
    """Return the commands of the keys bar in their order, for a focus in one of `where`."""
    return sorted((c for c in COMMANDS if c.rank and c.where in where), key=lambda command: command.rank)
