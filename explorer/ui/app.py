"""The app: which screen is shown, the colours, the command palette. What it opens comes through `Services`."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual import events
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.theme import Theme
from textual.worker import WorkerFailed

from explorer.core.text import harmless
from explorer.ui import keymap
from explorer.ui.driver import LenientDriver
from explorer.ui.key_order import KeyOrderApp
from explorer.ui.keyboard import LONGEST_PASTE
from explorer.ui.opening import Opening
from explorer.ui.screens.model import ModelScreen

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.driver import Driver
    from textual.notifications import SeverityLevel
    from textual.screen import Screen
    from textual.widget import Widget

    from explorer.core.compare import Comparison
    from explorer.core.groups import Grouping
    from explorer.core.loading import OpenSpec
    from explorer.ui.screens.compare import CompareScreen
    from explorer.ui.screens.recovery import Recovery
    from explorer.ui.screens.start import StartScreen
    from explorer.ui.services import Services

DARK = Theme(
    name="paramx",
    primary="#87afff",
    secondary="#afd75f",
    accent="#87d7ff",
    warning="#d7af5f",
    error="#ff8787",
    success="#afd75f",
    foreground="#d7d7ff",
    background="#17181e",
    surface="#20232a",
    panel="#2a2d36",
    dark=True,
    variables={
        "quiet": "#8787af",
        "cursor": "#2e3b74",
        "cursor-idle": "#2a2d36",
        "field": "#2a2d36",
        "warning": "#d7af5f",  # as it is: what Textual makes of the one above has one step less of red
    },
)
"""The colours where the terminal has at least 256 of them.

Those of texts are among the 256 and are sent by their number; the backgrounds are dark greys with a little blue, of
which 256 colours leave the grey: over SSH nothing says that the terminal has more.
"""

ANSI_VARIABLES = {
    "quiet": "ansi_default",
    "cursor": "ansi_default",
    "cursor-idle": "ansi_default",
    "field": "ansi_default",
}
"""The same variables where the terminal's own 16 colours are used; there styles such as reverse tell things apart."""


class ParamxApp(KeyOrderApp[str]):
    """Shows one screen at a time: the start screen, or a model. Its result is an error line, or nothing."""

    CSS_PATH = "styles.tcss"
    TITLE = "paramx"
    ENABLE_COMMAND_PALETTE = True
    NOTIFICATION_TIMEOUT = 4
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q,ctrl+c", "quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False, priority=True),
    ]

    @dataclass
    class NotKept(Message):
        """Groups as typed can't be kept for a session after this one."""

        why: str
        """The reason."""

    def __init__(self, spec: OpenSpec, services: Services, other: OpenSpec | None = None) -> None:
        """Open `spec`; with an empty target, offer what can be opened; with another, compare the two."""
        # An empty NO_COLOR counts as not set (no-color.org); Textual only looks whether it is there.
        if os.environ.get("NO_COLOR") == "":
            del os.environ["NO_COLOR"]
        # Said here and not by the theme alone: under NO_COLOR Textual picks its filter before it knows the theme, and
        # the wrong one turns the terminal's own colours into black on black.
        super().__init__(ansi_color=_few_colours() or None)
        self._spec = spec
        self._other = other
        self._services = services
        self._grouping = services.grouping
        self._typed = ""
        self._opening = Opening(spec, services) if spec.target and other is None else None
        # Motion costs bytes over SSH and tells nothing here.
        self.animation_level = "none"
        self.register_theme(DARK)
        if _few_colours():
            self.theme = "ansi-dark"
        else:
            # As the theme's watcher does, which would have every rule read a second time.
            self.set_reactive(ParamxApp.theme, DARK.name)
            self.update_classes({f"-theme-{DARK.name}": True, "-dark-mode": True}, update=False)
            self.stylesheet.set_variables(self.get_css_variables())

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Give our variables a value in every theme."""
        return ANSI_VARIABLES

    def get_driver_class(self) -> type[Driver]:
        """Read the keyboard with the driver that noise does not end."""
        return LenientDriver

    async def on_event(self, event: events.Event) -> None:
        """Say so where a paste is longer than what is taken of it."""
        if isinstance(event, events.Paste) and not event.is_forwarded and len(event.text) >= LONGEST_PASTE:
            self.notify(f"Of what is pasted, {LONGEST_PASTE:,} characters are taken.", severity="warning")
        await super().on_event(event)

    def on_load(self) -> None:
        """Say that the terminal is changed now: Textual sends this just before."""
        self._services.taking()

    def _handle_exception(self, error: Exception) -> None:
        """Leave for an exception that nobody expected; Textual tells it as pages with the values of variables."""
        if self._services.broken is not None:
            cause: BaseException = error
            while isinstance(cause, WorkerFailed):  # says only that a thread failed
                cause = cause.error
            self._services.broken(cause)
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """Close: the exception is raised by `run`."""
        self._close_messages_no_wait()

    def panic(self, *renderables: RenderableType) -> None:
        """Close likewise: Textual comes here where its input thread failed, or an exception can be drawn."""
        if self._exception is None:
            from rich.traceback import Traceback  # noqa: PLC0415 - Textual made one, or there is none

            stacks = [stack for each in renderables if isinstance(each, Traceback) for stack in each.trace.stacks]
            why = "; ".join(f"{stack.exc_type}: {stack.exc_value}" for stack in stacks)
            self._handle_exception(RuntimeError(why or "the interface gave up"))
        self._close_messages_no_wait()

    async def on_mount(self) -> None:
        """Show the first screen; a model that is there already as a whole."""
        if self._other is not None:
            self._show_comparison(self._services)
        elif self._spec.target:
            await self.push_screen(ModelScreen(self._spec, self._services, self._opening))
        else:
            from explorer.ui.screens.start import StartScreen  # noqa: PLC0415 - a named target does without

            self.push_screen(StartScreen(self._services))
        self.screen.call_after_refresh(self.take_keys)

    def _show_comparison(self, services: Services, again: bool = False, before: Comparison | None = None) -> None:
        from explorer.ui.screens.compare import CompareScreen  # noqa: PLC0415 - few come here

        assert self._other is not None, "two are compared"
        self.push_screen(CompareScreen((self._spec, self._other), services, again, before))

    @property
    def opening(self) -> bool:
        """Whether a model is on its way to the screen."""
        return isinstance(self.screen, ModelScreen) and not self.screen.shown and not self.screen.gone

    def on_model_screen_shown(self) -> None:
        """Look at the keys that waited for the model."""
        self.take_keys()

    def on_start_screen_chosen(self, message: StartScreen.Chosen) -> None:
        """Open what was chosen."""
        self._typed = message.typed
        if self._spec.target:
            # The command line's options were for the target that it named.
            self._spec = replace(self._spec, target="", class_name=None, revision=None, weights=False)
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.push_screen(ModelScreen(replace(self._spec, target=message.target), self._services))

    def on_model_screen_could_not_open(self, message: ModelScreen.CouldNotOpen) -> None:
        """Leave with the error if the command line named the target; else offer the choice again."""
        if self._spec.target:
            self.exit(message.line, return_code=1)
        else:
            self._offer(message.line)

    def on_compare_screen_open_again(self, message: CompareScreen.OpenAgain) -> None:
        """Open both again, with the list as narrowed, and with values where they were compared."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        services = self._services._replace(filter=message.filter, values=message.values)
        self._show_comparison(services, True, message.before)

    def on_compare_screen_could_not_open(self, message: CompareScreen.CouldNotOpen) -> None:
        """Leave with the error: the command line named both."""
        self.exit(message.line, return_code=1)

    @property
    def grouping(self) -> Grouping:
        """The groups as last typed, on the model that is or was open; those it started with if none was."""
        return self._grouping

    def on_group_commands_groups_changed(self, message: ModelScreen.GroupsChanged) -> None:
        """Remember the groups: who called the interface may want them."""
        self._grouping = message.grouping
        shown = next((screen for screen in self.screen_stack if isinstance(screen, ModelScreen)), None)
        if self._services.drafts is not None and shown is not None:
            as_at_the_start = not message.draft.fields and message.draft.grouping == self._services.grouping
            kept = None if as_at_the_start else message.draft
            self._services.drafts.keep(shown.spec.target, kept, lambda why: self.post_message(self.NotKept(why)))

    def on_paramx_app_not_kept(self, message: NotKept) -> None:
        """Say once that groups as typed are on no disk."""
        self.notify(message.why, title="A crash would lose what you type")

    def on_recovery_lost(self, message: Recovery.Lost) -> None:
        """Forget the keys that wait for a model, if it will never be there."""
        if not self.opening:
            self.drop_keys()

    def on_recovery_open_again(self, message: Recovery.OpenAgain) -> None:
        """Open the model again, with the groups as typed."""
        self.clear_notifications()  # they said why it has to be
        while len(self.screen_stack) > 1:
            self.pop_screen()
        shown = message.draft is not None
        services = self._services._replace(grouping=self._grouping, filter="" if shown else self._services.filter)
        self.push_screen(ModelScreen(message.spec, services, draft=message.draft, before=message.shown))

    def action_reopen(self) -> None:
        """Open again the model that lies under this screen."""
        for screen in self.screen_stack:
            if isinstance(screen, ModelScreen):
                screen.action_reload()

    def exit(self, result: str | None = None, return_code: int = 0, message: RenderableType | None = None) -> None:
        """Leave; who started the interface is told first.

        What the command line named and nothing has opened is a failure also where the user leaves it at that.
        """
        result = result or self._gone()
        self._services.leaving(result)
        super().exit(result, 1 if result else return_code, message)

    def leave_soon(self) -> None:
        """Have the program end, also if the loop never comes to the key that quits; called by the reading thread."""
        self._services.leaving(self._gone())

    def _gone(self) -> str | None:
        """Return why what the command line named is not on the screen; `None` if it is, or may be yet."""
        screens = self.screen_stack if self._spec.target else ()
        return next((line for screen in screens if (line := getattr(screen, "gone", ""))), None)

    def copy_to_clipboard(self, text: str) -> None:
        """Put text on the terminal's clipboard: no control but of lines, for it may be pasted into a shell."""
        super().copy_to_clipboard(harmless(text))

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Say something in passing, in place of what was said before; never as markup, as names may hold all."""
        self.clear_notifications()
        super().notify(message, title=title, severity=severity, timeout=timeout, markup=False)

    def _offer(self, error: str = "") -> None:
        self.drop_keys()
        while len(self.screen_stack) > 1:
            self.pop_screen()
        from explorer.ui.screens.start import StartScreen  # noqa: PLC0415 - as above

        self.push_screen(StartScreen(self._services, error, self._typed if error else ""))

    def on_model_screen_open_another(self) -> None:
        """Offer other models over this one: Esc comes back to it, groups and all."""
        from explorer.ui.screens.start import StartScreen  # noqa: PLC0415 - as above

        self.push_screen(StartScreen(self._services, way_back=True))

    def on_model_screen_gave_up(self) -> None:
        """Give up an opening: back to the start screen, or out if the command line named the target."""
        if self._spec.target:
            self.exit()
        else:
            self._offer()

    def action_help(self) -> None:
        """Show the help screen, once."""
        from explorer.ui.screens.help import HelpScreen  # noqa: PLC0415 - not read at the start

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(getattr(self.screen, "HELP_ON", None)))

    def action_command_palette(self) -> None:
        """Show the command palette, once."""
        from explorer.ui.screens.palette import Palette  # noqa: PLC0415 - not read at the start

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def action_palette(self) -> None:
        """Show the command palette."""
        self.action_command_palette()

    def get_system_commands(self, screen: Screen[object]) -> Iterator[SystemCommand]:
        """List every command of the key table in the palette."""
        for command in keymap.COMMANDS:
            if command.id == "palette" or command.id in keymap.MOVES:
                continue
            if not any(hasattr(owner, f"action_{command.id}") for owner in self._owners(screen)):
                continue  # this screen has no such command
            yield SystemCommand(
                f"{command.label}: {command.help}" if command.help else command.label,
                command.shown,
                self._runner(command.id),
            )

    def _owners(self, screen: Screen[object]) -> tuple[Widget | ParamxApp, ...]:
        """Return what may have a command's action, the nearest first."""
        return (*screen.query("#tree"), *screen.query("#groups"), screen, self)

    def _runner(self, action: str) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            for owner in self._owners(self.screen):
                if hasattr(owner, f"action_{action}"):
                    await owner.run_action(action)
                    return

        return run


def _few_colours() -> bool:
    """Whether the terminal should be given its own 16 colours, or none (`NO_COLOR`)."""
    term = os.environ.get("TERM", "")
    many = "256" in term or os.environ.get("COLORTERM", "") in ("truecolor", "24bit")
    return bool(os.environ.get("NO_COLOR")) or not many


class Outcome(NamedTuple):
    """How the interface was left."""

    error: str | None
    """Why the target could not be opened, in one line; `None` when the user left."""
    grouping: Grouping
    """The groups as they were when the user left."""


def run(spec: OpenSpec, services: Services, other: OpenSpec | None = None) -> Outcome:
    """Run the interface until the user leaves.

    Args:
        spec: What to open; an empty target shows the start screen.
        services: What the interface is given of the outside world.
        other: What to compare it with, if anything.

    Returns:
        The reason when the target could not be opened, and the groups as last typed.

    Raises:
        Exception: What nobody expected; Textual has closed the interface.
    """
    app = ParamxApp(spec, services, other)
    error = app.run()
    if app._exception is not None:
        raise app._exception
    return Outcome(error, app.grouping)
