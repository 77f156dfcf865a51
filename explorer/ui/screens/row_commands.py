"""The commands of the main screen on the row under the cursor: its name for the clipboard, a group of its own."""

from __future__ import annotations

from explorer.core.groups import NO_GROUP
from explorer.core.row_group import add_row, row_name, row_terms
from explorer.core.text import plural, sentence
from explorer.ui.screens.group_commands import GroupCommands
from explorer.ui.widgets.tree_table import TreeTable


class RowCommands(GroupCommands):
    """A screen whose tree has a cursor."""

    def action_copy_name(self) -> None:
        """Copy the full name of the parameter, or the path of the module; of a ×12 row that of the first."""
        table = self.query_one(TreeTable)
        if table.view is not None and len(table.view.rows):
            name = table.view.tree.path(table.cursor_node)
            self.app.copy_to_clipboard(name)
            self.notify(f"Sent to the terminal's clipboard: {name}")

    async def action_group_row(self) -> None:
        """Add a group for what the row holds; one more option of it can be typed at once."""
        bench, table = self.bench, self.query_one(TreeTable)
        view = table.view
        if bench is None or view is None or not len(view.rows):
            return
        held = view.groups(table.cursor).replace(bytes((NO_GROUP,)), b"")
        if not held:
            self.notify("Nothing here is a parameter: it falls into no group.", severity="warning")
            return
        row = view.tree, table.cursor_node, view.rows.lasts[table.cursor]
        try:
            added, at = add_row(bench.typed, held, row_name(*row), row_terms(*row))
        except ValueError as error:
            self.notify(sentence(str(error)), severity="warning")
            return
        taken = held.count(at)
        bench.change(added)
        await self._write_fields(at, options=True)
        self.edited()
        if taken < len(held):
            told = f"{added.rules[at].name} takes {taken:,} of {plural(len(held), 'tensor')}"
            self.notify(f"{told}; groups above keep the rest, Ctrl+↑ raises it")
