"""An opening under way, listened to from before there is a screen to show it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from explorer.core.errors import ParamxError
from explorer.core.loading import Event, Failed, Loaded
from explorer.core.tree_wire import tree_of
from explorer.core.view import TreeView
from explorer.core.workbench import Workbench

if TYPE_CHECKING:
    from collections.abc import Iterator

    from explorer.core.loading import OpenSpec, Stage
    from explorer.ui.services import Services


class Ready(NamedTuple):
    """The opening is done."""

    view: TreeView
    """The model's tree, grouped."""
    bench: Workbench
    """The groups to start with, tried on it."""
    cursor: int | None = None
    """The node to start on, with what is unfolded now; `None` starts on the first row, and unfolds what fits."""


class Opening:
    """Opens a target and makes its tree in a thread: a screen that is mounted later may find it done.

    A screen that is made whole at once is laid out and drawn once; one that waits first is drawn twice.
    """

    def __init__(self, spec: OpenSpec, services: Services, before: Ready | None = None) -> None:
        """Start, and listen from now on; the tree takes its folds and cursor from what was there before."""
        self.loading = services.opener(spec)
        """What opens, and later answers."""
        self.ready: Ready | None = None
        """What it came to; `None` until then, and where it fails."""
        self._services = services
        self._before = before
        self._told: SimpleQueue[Stage | Failed | Ready | BaseException | None] = SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def events(self) -> Iterator[Stage | Failed | Ready]:
        """Yield what happened since the start, blocking between events; for one thread.

        Raises:
            BaseException: What went wrong in the thread that listens; nothing is meant to.
        """
        while (event := self._told.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            yield event

    def _listen(self) -> None:
        try:
            for event in self.loading.events():
                self._told.put(self._built(event))
        except BaseException as error:
            self._told.put(error)
        finally:
            self._told.put(None)

    def _built(self, event: Event) -> Stage | Failed | Ready:
        if not isinstance(event, Loaded):
            return event
        services = self._services
        try:
            grouping = services.recipe(event.model) if services.recipe else services.grouping
        except ParamxError as error:
            return Failed(error.line)
        # Here, not where keys are answered; and the worker lays a large tree out while the names are folded here.
        with ThreadPoolExecutor(1) as beside:
            laid = beside.submit(tree_of, event.model, self.loading.ask)
            bench = Workbench(event.model, grouping)
            view = TreeView(laid.result())
        view.set_groups(bench.assignment.groups)
        before = self._before
        # 0, the root: nothing on the way to the cursor has its name here, and the tree starts as a new one.
        cursor = None if before is None else view.arrange_like(before.view, before.cursor or 0) or None
        view.warm()
        self.ready = Ready(view, bench, cursor)
        return self.ready
