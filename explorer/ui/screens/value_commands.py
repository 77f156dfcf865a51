"""The commands of the main screen on values: they open the screens that show them, and keep what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.message import Message
from textual.screen import Screen

from explorer.core.asking import NO_WEIGHTS
from explorer.core.errors import LostError, ParamxError
from explorer.core.text import plural
from explorer.ui.widgets.groups_panel import GroupsPanel
from explorer.ui.widgets.tree_table import INF, NAN, TreeTable

if TYPE_CHECKING:
    from explorer.core.loading import Loading
    from explorer.core.param import Model
    from explorer.core.statistics import TensorStats
    from explorer.core.view import TreeView
    from explorer.core.workbench import Workbench
    from explorer.ui.screens.lists import ShowTensors, UseGroups

MOST_GROUPS = 20
"""Most groups whose first values are fetched; no screen shows more."""


class ValueCommands(Screen[None]):
    """A screen with a tree over a model whose loading answers about values."""

    bench: Workbench | None
    """The model and its groups; `None` while it opens."""
    _loading: Loading | None

    @dataclass
    class FirstValues(Message):
        """The thread has the first values of some tensors."""

        lines: dict[int, str]
        """A line for each tensor's index."""

    def __init__(self) -> None:
        """Start with nothing measured."""
        super().__init__()
        self.statistics: dict[int, TensorStats] = {}
        self._not_finite = b""
        self._no_values = False

    def ask(self, request: str, arguments: Mapping[str, Any]) -> Any:
        """Ask what serves the model; called in threads.

        Raises:
            ParamxError: It can't be answered.
        """
        if self._loading is None:
            raise LostError("", "the model could not be opened again", "r tries once more")
        if self._is_remembered:
            raise ParamxError(
                "", "the table is a remembered one, and the model is still being built", "try again soon"
            )
        try:
            return self._loading.ask(request, arguments)
        except LostError as error:
            raise LostError("", error.line, "r opens it again") from error

    @property
    def _is_remembered(self) -> bool:
        """Whether only a cached table is there so far."""
        return self.bench is not None and self.bench.model.origin.remembered

    # -- the first values in the groups panel -----------------------------------------------------------------

    def on_group_commands_groups_changed(self) -> None:
        """Fetch first values again: other tensors may be the first of their groups now."""
        self.want_first_values()

    def want_first_values(self) -> None:
        """Fetch the first values of each group's first member, where the model has any."""
        bench, panel = self.bench, self.query_one(GroupsPanel)
        if bench is None or self._no_values or self._is_remembered:
            return
        codes, names = bench.assignment.groups, bench.model.names
        firsts = (codes.find(code) for code in range(min(len(bench.assignment.grouping.rules), MOST_GROUPS)))
        wanted = [index for index in firsts if index >= 0 and names[index] not in panel.first_values]
        if wanted:
            self.run_worker(lambda: self._fetch_first_values(wanted), thread=True, exclusive=True, group="first")

    def _fetch_first_values(self, indices: list[int]) -> None:
        """Ask for the values; runs in a thread."""
        from explorer.core.first_values import first_values  # noqa: PLC0415 - the first frame does without

        found = {}
        for index in indices:
            try:
                found[index] = first_values(self.ask, index)
            except ParamxError as error:  # the panel does without, and v says why
                if NO_WEIGHTS in error.line:
                    self._no_values = True
                    return
        self.post_message(self.FirstValues(found))

    def on_value_commands_first_values(self, message: FirstValues) -> None:
        """Show the values in the groups panel."""
        panel = self.query_one(GroupsPanel)
        if self.bench is not None:
            names = self.bench.model.names
            panel.first_values |= {names[index]: line for index, line in message.lines.items()}
            panel.tell(self.bench)

    # -- screens ----------------------------------------------------------------------------------------------

    def _with_rows(self) -> tuple[Model, TreeView] | None:
        """Return the model and its tree; `None` where the tree has no row, which the user is told."""
        view = self.query_one(TreeTable).view
        if self.bench is None or view is None:
            return None
        if not len(view.rows):
            why = "No name contains the filter's text." if view.filtered else "There is no tensor here."
            self.notify(why, timeout=3)
            return None
        return self.bench.model, view

    def action_values(self) -> None:
        """Show the values of the tensor under the cursor; of a module those of its first."""
        shown = self._with_rows()
        if shown is None:
            return
        from explorer.ui.screens.values import ValuesScreen  # noqa: PLC0415 - seldom asked for: not read at the start

        (model, view), row = shown, self.query_one(TreeTable).cursor
        index, tensors = view.first(row), view.tensors(row)
        self.app.push_screen(ValuesScreen(self.ask, model, index, self.statistics), self._after_values)
        if tensors > 1:
            self.notify(f"This is the first of the {tensors:,} tensors in {view.label(row)}.")

    def action_sweep(self) -> None:
        """Measure everything below the cursor."""
        shown = self._with_rows()
        if shown is None:
            return
        from explorer.ui.screens.sweep import SweepScreen  # noqa: PLC0415 - as above

        (model, view), table = shown, self.query_one(TreeTable)
        indices, path = view.params(table.cursor), view.tree.path(table.cursor_node)
        self.app.push_screen(SweepScreen(self.ask, model, indices, path, self.statistics), self._after_values)

    def _after_values(self, answer: ShowTensors | None = None) -> None:
        """Mark what holds NaN or infinities, up to the top of the tree; go to what was chosen."""
        table, bench = self.query_one(TreeTable), self.bench
        if bench is None or table.view is None:
            return
        odd = bytearray(len(bench.model))
        for index, stats in self.statistics.items():
            odd[index] = (NAN if stats.nans else 0) | (INF if stats.infs else 0)
        mask = bytes(map(bool, odd))
        if mask != self._not_finite:
            self._not_finite = mask
            self.step_through(mask)
            if answer is None and any(mask):
                self.notify(f"NaN or Inf in {plural(mask.count(1), 'tensor')}: n and N go there.")
        table.mark_odd(table.view.tree.in_leaf_order(bytes(odd)) if any(odd) else b"")
        if answer is not None:
            self._after_list(answer)

    def step_through(self, mask: bytes) -> None:
        """Have `n` and `N` go to the parameters whose byte in `mask` is 1."""
        raise NotImplementedError

    def _after_list(self, answer: ShowTensors | UseGroups | None) -> None:
        """Do what was chosen in a list over this screen."""
        raise NotImplementedError
