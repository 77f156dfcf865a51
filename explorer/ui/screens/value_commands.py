"""What the main screen does with values: it opens the screens that show them, and keeps what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from textual.screen import Screen

from explorer.core.errors import LostError, ParamxError
from explorer.ui.widgets.tree_table import INF, NAN, TreeTable

if TYPE_CHECKING:
    from explorer.core.loading import Loading
    from explorer.core.statistics import TensorStats
    from explorer.core.workbench import Workbench
    from explorer.ui.screens.lists import ShowTensors, UseGroups


class ValueCommands(Screen[None]):
    """A screen with a tree over a model whose loading answers about values."""

    bench: Workbench | None
    """The model and its groups; `None` while it opens."""
    _loading: Loading | None

    def __init__(self) -> None:
        """Start with nothing measured."""
        super().__init__()
        self.statistics: dict[int, TensorStats] = {}

    def ask(self, request: str, arguments: Mapping[str, Any]) -> Any:
        """Ask what serves the model; called in threads.

        Raises:
            ParamxError: It can't be answered.
        """
        if self._loading is None:
            raise ParamxError(request, "no model is open")
        try:
            return self._loading.ask(request, arguments)
        except LostError as error:
            raise ParamxError("", error.line, "r in the tree opens it again") from error

    def action_values(self) -> None:
        """Show the values of the tensor under the cursor; of a module those of its first."""
        table, bench = self.query_one(TreeTable), self.bench
        if bench is None or table.view is None or not len(table.view.rows):
            return
        from explorer.ui.screens.values import ValuesScreen  # noqa: PLC0415 - seldom asked for: not read at the start

        view = table.view
        leaf = view.tree.params[view.rows.nodes[table.cursor]]
        index = leaf if leaf >= 0 else view.params(table.cursor)[0]
        self.app.push_screen(ValuesScreen(self.ask, bench.model, index, self.statistics), self._after_values)

    def action_sweep(self) -> None:
        """Measure everything below the cursor."""
        table, bench = self.query_one(TreeTable), self.bench
        if bench is None or table.view is None or not len(table.view.rows):
            return
        from explorer.ui.screens.sweep import SweepScreen  # noqa: PLC0415 - as above

        view = table.view
        path = view.tree.path(table.cursor_node)
        screen = SweepScreen(self.ask, bench.model, view.params(table.cursor), path, self.statistics)
        self.app.push_screen(screen, self._after_values)

    def _after_values(self, answer: ShowTensors | None = None) -> None:
        """Mark what holds NaN or infinities, up to the top of the tree; go to what was chosen."""
        table, bench = self.query_one(TreeTable), self.bench
        if bench is None or table.view is None:
            return
        odd = bytearray(len(bench.model))
        for index, stats in self.statistics.items():
            odd[index] = (NAN if stats.nans else 0) | (INF if stats.infs else 0)
        table.mark_odd(table.view.tree.in_leaf_order(bytes(odd)) if any(odd) else b"")
        if answer is not None:
            self._after_list(answer)

    def _after_list(self, answer: ShowTensors | UseGroups | None) -> None:
        """Do what was chosen in a list over this screen."""
        raise NotImplementedError
