"""The export screen: the groups as code or data, to read, to write to a file, to copy."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.syntax import Syntax
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input, Static

from explorer.core.errors import ParamxError
from explorer.core.export import EXPORTS
from explorer.core.export.writing import export, same_form
from explorer.core.paths import current_directory, expanded
from explorer.core.saving import save_text
from explorer.core.text import visible
from explorer.ui import keys_inside
from explorer.ui.screens.dialog import Dialog
from explorer.ui.widgets.field import Field

if TYPE_CHECKING:
    from textual.widget import Widget

    from explorer.core.workbench import Workbench

SHOWN = 200_000
"""Most characters of an export that are put on the screen; a file or the clipboard gets them all."""


class ExportScreen(Dialog[None]):
    """Every form of the groups, one at a time."""

    HEADING = "Export"
    FOOT = "←→ form   w write a file   y copy   Esc closes"
    FOOT_ASKING = "Enter writes   Esc cancels"
    """The keys while the field for the path has the focus."""
    BINDINGS: ClassVar[list[BindingType]] = [
        *keys_inside.bindings("export", "screen"),
        Binding("escape", "leave", "close", show=False, priority=True),
    ]
    HELP_ON = "export"

    @dataclass
    class Saved(Message):
        """The thread that writes the file is done."""

        path: Path
        """The file."""
        error: str
        """Why it could not be written; empty when it was."""
        exists: bool = False
        """Whether the file is there already and nobody has said that it may be replaced."""
        real: str = ""
        """What would be replaced where the name is a link; empty otherwise."""

    def __init__(self, bench: Workbench) -> None:
        """Offer the groups of `bench` as they are assigned now."""
        super().__init__()
        self._bench = bench
        self._forms = list(EXPORTS)
        # With two groups, the classic recipe is what people look for, where they can be written so.
        self._form = 1 if same_form(self._forms[0], bench.assignment.grouping) else 0
        self._text = ""
        self._failed = ""
        self._tabs = Static(id="export-forms")
        self._code = Static(id="export-code")
        self._field = Field("", placeholder="file to write", classes="export-path")
        self._told = Static(id="export-told")
        self._replace: Path | None = None

    def content(self) -> list[Widget]:
        """Return the widget that shows the code."""
        return [self._code]

    def below(self) -> list[Widget]:
        """Return the list of forms, the field for the path, and the line that says what happened."""
        return [self._tabs, self._field, self._told]

    def on_mount(self) -> None:
        """Show the first form."""
        self._field.display = False
        self._show()

    def _show(self) -> None:
        bench = self._bench
        form = self._forms[self._form]
        self._failed = ""
        try:
            self._text = export(form, bench.model, bench.assignment.grouping, bench.assignment)
        except ParamxError as error:
            self._text, self._failed = "", error.line
        shown = self._failed or self._text[:SHOWN]
        lexer = EXPORTS[form].suffix.removeprefix(".")  # Pygments knows languages by these names too
        self._code.update(
            Text(shown, "bold")
            if self._failed
            else Syntax(shown, lexer, theme="ansi_dark", background_color="default", word_wrap=True)
        )
        tabs = Text()
        for position, name in enumerate(self._forms):
            tabs.append(f" {name} ", "reverse bold" if position == self._form else "dim")
        self._tabs.update(tabs)
        same = same_form(form, bench.assignment.grouping)
        facts = [f"for these groups the same as {same}"] * bool(same)
        facts += ["the last groups without a bad term"] * bench.stale
        self._tell(" · ".join([EXPORTS[form].title, *facts]))

    def _tell(self, text: str) -> None:
        self._told.update(Text(text, "dim"))

    def action_form(self, by: int) -> None:
        """Show another form."""
        if not self._field.display:
            self._form = (self._form + by) % len(self._forms)
            self._show()

    def action_copy(self) -> None:
        """Put the text on the terminal's clipboard."""
        if self._text:
            self.app.copy_to_clipboard(self._text)
            self._tell("Sent to the terminal's clipboard (OSC 52); in tmux this needs: set -g set-clipboard on")

    def action_ask_path(self) -> None:
        """Ask for the file to write."""
        if self._text and not self._field.display:
            self._field.offer(EXPORTS[self._forms[self._form]].file, selected=True)
            self._tell(f"Into {visible(current_directory())}: typing replaces the name, an arrow key edits it")
            self.tell_foot(self.FOOT_ASKING)

    def action_leave(self) -> None:
        """Leave the field or, when it is closed, the screen."""
        if self._field.display:
            self._close_field("Nothing written")
        else:
            self.dismiss()

    def _close_field(self, told: str) -> None:
        self._replace = None
        self._field.display = False
        self.query_one(".dialog-body").focus()
        self.tell_foot(self.FOOT)
        self._tell(told)

    def on_input_changed(self) -> None:
        """Ask again before replacing a file, since the name is another."""
        self._replace = None

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Write the file; ask before replacing one."""
        event.stop()
        if not event.value.strip():
            self._close_field("Nothing written")
            return
        path = expanded(event.value.strip())
        self.run_worker(lambda: self._save(path, self._text, path == self._replace), thread=True)

    def _save(self, path: Path, text: str, overwrite: bool) -> None:
        """Write in a thread, for the disk may be slow; the answer comes as a message."""
        try:
            save_text(path, text, overwrite=overwrite)
        except FileExistsError:
            real = os.path.realpath(path) if path.is_symlink() else ""
            self.post_message(self.Saved(path, "", exists=True, real=real))
        except ParamxError as error:
            self.post_message(self.Saved(path, error.line))
        else:
            self.post_message(self.Saved(path, ""))

    def on_export_screen_saved(self, message: Saved) -> None:
        """Say whether the file was written."""
        name = visible(str(message.path))
        if message.exists:
            self._replace = message.path
            if message.real:
                self._tell(f"{name} is a link. Enter again replaces {visible(message.real)}, Esc leaves it as it is")
            else:
                self._tell(f"{name} is there already. Enter again replaces it, Esc leaves it as it is")
        elif message.error:
            self._tell(message.error)
        else:
            self._close_field(f"Written: {name}")
