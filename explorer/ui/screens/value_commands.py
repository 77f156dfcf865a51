"""What the main screen does with values: it opens the screens that show them, and keeps what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from textual.screen import Screen

from explorer.core.errors import LostError, ParamxError
from explorer.ui.widgets.tree_table import TreeTable

if TYPE_CHECKING:
    from explorer.core.loading import Loading
    from explorer.core.statistics import TensorStats
    from explorer.core.workbench import Workbench


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
        self.app.push_screen(ValuesScreen(self.ask, bench.model, index, self.statistics))
