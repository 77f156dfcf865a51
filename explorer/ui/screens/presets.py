"""Known recipes side by side on the open model: what each puts where, what is wrong with it, where they disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

from explorer.core.lint_scene import Scene
from explorer.core.options import OptionError, options_text, parse_options
from explorer.core.presets import Matrix, MatrixRow, Preset, matrix
from explorer.core.text import plural, sentence, short_count
from explorer.ui import keys_inside
from explorer.ui.paint import fit, fit_right, folded
from explorer.ui.screens.lists import ListDialog, ShowTensors, UseGroups
from explorer.ui.widgets.field import Field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from explorer.core.workbench import Workbench

NAME_WIDTH = 30
"""Cells of a recipe's title."""

CELL_WIDTH = 9
"""Cells of a figure."""

LISTED = 2_000
"""Most tensors of the list of disagreements; the others are counted."""

FINDINGS_SHOWN = 3
"""Most findings of a recipe that the text about it tells; the list has their number."""

GROUPS_SHOWN = 6
"""Most groups that the text about a recipe lists; the others are counted."""


class PresetsScreen(ListDialog):
    """One line a recipe; Enter takes its groups, asking for its numbers first."""

    HEADING = "Recipes on this model"
    FOOT = "Enter chooses   Esc closes"
    FOOT_DISAGREEING = "Enter chooses   x where they disagree   Esc closes"
    """The keys where they do."""
    BINDINGS: ClassVar[list[BindingType]] = [
        *keys_inside.bindings("presets", "screen"),
        Binding("escape", "leave", "close", show=False, priority=True),
    ]
    HELP_ON = "presets"

    @dataclass
    class Compared(Message):
        """The thread that applies all recipes is done."""

        result: Matrix
        """All recipes on the model."""

    def __init__(self, bench: Workbench, decay_names: Callable[[], Sequence[str] | None]) -> None:
        """Compare on the model of `bench`.

        Args:
            bench: The groups as typed, and the model.
            decay_names: Asks the source for what transformers' own function says; `None` where it is not at hand.
        """
        super().__init__()
        self._bench = bench
        self._decay_names = decay_names
        self._lines: list[MatrixRow] = [self._typed()]
        self._matrix: Matrix | None = None
        self._params: dict[str, dict[str, Any]] = {}
        self._field = Field("", classes="preset-field")
        self._asking: MatrixRow | None = None

    def on_mount(self) -> None:
        """Compare in a thread: a large model takes a moment."""
        self._field.display = False
        self.mount(self._field, after=self.rows)
        super().on_mount()
        self.run_worker(self._compare, thread=True)

    def _compare(self) -> None:
        names = self._decay_names()
        if names is not None:
            self._params["hf_trainer"] = {"decay_names": frozenset(names)}
        self.post_message(self.Compared(matrix(self._bench.model, None, self._params)))

    def on_presets_screen_compared(self, message: Compared) -> None:
        """Show one line a recipe."""
        self._matrix = message.result
        self._lines = [self._typed(), *message.result.rows]
        self.fill()
        self._tell_keys()

    def _tell_keys(self) -> None:
        differ = self._matrix is not None and self._matrix.disagree
        self.tell_foot(self.FOOT_DISAGREEING if differ else self.FOOT)

    def _typed(self) -> MatrixRow:
        bench = self._bench
        scene = Scene(bench.model, bench.assignment.grouping, bench.assignment)
        decays = scene.decaying.to_bytes(len(bench.model), "little")
        return MatrixRow(
            "the groups as typed", None, bench.assignment.grouping, bench.assignment, bench.findings, decays
        )

    def head(self) -> Text:
        """Return the headings, and how much they disagree."""
        text = Text()
        if self._matrix is None:
            text.append(" comparing…\n", "dim")
        else:
            count = len(self._matrix.disagree)
            told = (
                f"they disagree about {plural(count, 'tensor')}: x lists them"
                if count
                else "all agree on what decays"
            )
            text.append(f" {len(self._lines) - 1} recipes; {told}\n")
        heads = ("decay", "params", "do not", "params", "warnings")
        text.append(
            " " + fit("", NAME_WIDTH) + "".join(fit_right(head, CELL_WIDTH) for head in heads), "dim underline"
        )
        text.no_wrap = True
        return text

    def lines(self) -> list[Text]:
        """Return one line a recipe: what decays, what does not, how many warnings."""
        return [self._line(line) for line in self._lines]

    def _line(self, line: MatrixRow) -> Text:
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(fit(line.title, NAME_WIDTH), "bold")
        if line.error:
            text.append(f"  {line.error}", "dim")
            return text
        numels, total = self._bench.model.numels, self._bench.model.total
        parameters = len(self._bench.model) - len(self._bench.model.apart)
        tensors = line.decays.count(1)
        elements = sum(numel for numel, decays in zip(numels, line.decays, strict=True) if decays)
        cells = (
            f"{tensors:,}",
            short_count(elements),
            f"{parameters - tensors:,}",
            short_count(total - elements),
        )
        text.append("".join(fit_right(cell, CELL_WIDTH) for cell in cells))
        errors, warnings = (sum(f.severity == kind for f in line.findings) for kind in ("error", "warning"))
        wrong = " ".join([f"✖ {errors}"] * bool(errors) + [f"⚠ {warnings}"] * bool(warnings))
        text.append(fit_right(wrong or "–", CELL_WIDTH), "bold yellow" if wrong else "dim")
        return text

    def about(self, line: int) -> Text:
        """Return the recipe's rule, source, groups and warnings."""
        chosen = self._lines[line]
        text = Text()
        if chosen.preset is not None:
            text.append(f"{chosen.preset.title}: {chosen.preset.rule}\n", "bold")
            for finding in chosen.findings[:FINDINGS_SHOWN]:
                text.append(f"  {finding.severity}: {finding.message}\n")
            text.append(f"source: {chosen.preset.source}\n", "dim")
            if chosen.preset.name in self._params:
                text.append("checked against transformers' own function on this model\n", "dim")
        if chosen.grouping is None or chosen.assignment is None:
            text.append(chosen.error)
            return text
        rules = chosen.grouping.rules
        for position, rule in enumerate(rules[:GROUPS_SHOWN]):
            counts = f"{plural(chosen.assignment.tensors[position], 'tensor')} · "
            counts += plural(chosen.assignment.parameters[position], "parameter")
            text.append(f"  {position + 1} {rule.name}: {counts} · {options_text(rule.options)}\n")
        if len(rules) > GROUPS_SHOWN:
            text.append(f"  … {plural(len(rules) - GROUPS_SHOWN, 'more group')}\n", "dim")
        return text

    def choose(self, line: int) -> UseGroups | None:
        """Ask for the recipe's numbers; a recipe without any is taken at once."""
        chosen = self._lines[line]
        if chosen.preset is None:
            self.notify("These are the groups as typed.", timeout=2)
        elif chosen.grouping is None:
            self.notify(sentence(chosen.error))
        else:
            self._asking = chosen
            asked = chosen.preset.asked
            self._field.offer(options_text({number.name: number.default for number in asked}))
            names = "; ".join(f"{number.name}: {number.title}" for number in asked)
            self.tell_foot(f"Enter takes it   Esc does not   {names}")
        return None

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Make the groups with the numbers as typed."""
        event.stop()
        chosen = self._asking
        if chosen is None or chosen.preset is None:
            return
        preset = chosen.preset
        try:
            numbers = _numbers(preset, event.value)
            grouping = preset.build(self._bench.model, **self._params.get(preset.name, {}), **numbers)
        except OptionError as error:
            self.tell_foot(f"column {error.column + 1}: {error.message}")
        except ValueError as error:
            self.tell_foot(str(error))
        else:
            self.dismiss(UseGroups(grouping, f"{preset.title}: taken. Ctrl+/ takes it back"))

    def action_leave(self) -> None:
        """Leave the field or, when it is closed, the screen."""
        if self._field.display:
            self._asking = None
            self._field.display = False
            self.rows.focus()
            self._tell_keys()
        else:
            self.dismiss()

    def action_disagreements(self) -> None:
        """List the tensors on which the recipes disagree."""
        if self._matrix is None or self._field.display:
            return
        if not self._matrix.disagree:
            self.notify("All recipes decay the same tensors of this model.", timeout=3)
            return
        lines = [line for line in self._lines if line.preset is not None and not line.error]
        self.app.push_screen(DisagreementsScreen(self._bench, lines, self._matrix.disagree), self._after_list)

    def _after_list(self, answer: ShowTensors | UseGroups | None) -> None:
        if answer is not None:
            self.dismiss(answer)


def _numbers(preset: Preset, text: str) -> Mapping[str, float]:
    """Read the numbers that a recipe asks for.

    Raises:
        OptionError: One is missing, unknown or out of its range.
    """
    values = parse_options(text)
    known = {number.name: number for number in preset.asked}
    for key, value in values.items():
        if key not in known:
            raise OptionError(f"{preset.title} does not ask for {key}", 0)
        number = known[key]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not number.low <= value <= number.high:
            raise OptionError(f"{key} is a number from {number.low:g} to {number.high:g}", 0)
    return {name: float(values.get(name, number.default)) for name, number in known.items()}


class DisagreementsScreen(ListDialog):
    """The tensors that decay under one recipe and not under another."""

    HEADING = "Where the recipes disagree"
    FOOT = "Enter goes to the tensor   Esc goes back"

    def __init__(self, bench: Workbench, recipes: Sequence[MatrixRow], indices: Sequence[int]) -> None:
        """Compare `recipes` on the parameters at `indices`."""
        super().__init__()
        self._bench = bench
        self._recipes = recipes
        self._indices = indices

    def head(self) -> Text:
        """Return what the columns stand for."""
        text = Text()
        # A name is not broken from its number.
        columns = list(enumerate((line.preset.name if line.preset else line.title for line in self._recipes), 1))
        legend = " · ".join(f"{place}\N{NO-BREAK SPACE}{name}" for place, name in columns)
        for told in folded(legend, self.rows.size.width - 2, len(columns)):
            text.append(f" {told}\n", "dim")
        text.append(" " + "".join(f"{place:>{self._cells}}" for place, _ in columns), "dim underline")
        text.append("   D decays   – does not")
        return text

    @property
    def _cells(self) -> int:
        """Cells of a column."""
        return 1 + len(str(len(self._recipes)))

    def lines(self) -> list[Text]:
        """Return one line a tensor, with a column for each recipe."""
        names = self._bench.model.names
        lines = []
        for index in self._indices[:LISTED]:
            text = Text(no_wrap=True, overflow="ellipsis")
            signs = ("D" if line.decays[index] else "–" for line in self._recipes)
            text.append("".join(f"{sign:>{self._cells}}" for sign in signs), "bold")
            text.append(f"   {names[index]}")
            lines.append(text)
        if len(self._indices) > LISTED:
            lines.append(Text(f"… {len(self._indices) - LISTED:,} more", "dim"))
        return lines

    def about(self, line: int) -> Text:
        """Return which recipes decay the tensor and which do not."""
        if line >= LISTED:
            return Text("Enter on another line; n and N in the tree then step through all of them.")
        param = self._bench.model[self._indices[line]]
        decays = [line.title for line in self._recipes if line.decays[param.index]]
        spares = [line.title for line in self._recipes if not line.decays[param.index]]
        owner = f" · in {param.module_class.name}" if param.module_class else ""
        text = Text(f"{param.name} · {plural(param.numel, 'parameter')}{owner}\n", "bold")
        text.append(f"decays under {', '.join(decays)}\nnot under {', '.join(spares)}", "dim")
        return text

    def choose(self, line: int) -> ShowTensors | None:
        """Go to the tensor; `n` and `N` then step through all of them."""
        if line >= LISTED:
            return None
        return ShowTensors([*self._indices[line:], *self._indices[:line]], "recipes disagree")
