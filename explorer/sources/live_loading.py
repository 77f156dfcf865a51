"""Serves a model of this process, without a worker, through the protocol of any other opening."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from explorer.core.errors import ParamxError
from explorer.core.loading import Event, Failed, Loaded, Stage
from explorer.sources import Opened
from explorer.sources.unexpected import unexpected


class LiveLoading:
    """An opening in this process (an `explorer.core.loading.Loading`)."""

    def __init__(self, target: str, open_it: Callable[[], Opened]) -> None:
        """Open with `open_it`, called in the thread that asks for events; errors name `target`."""
        self._target = target
        self._open = open_it
        self._opened: Opened | None = None
        self._cancelled = False

    def events(self) -> Iterator[Event]:
        """Yield the one stage, then the table or the reason there is none."""
        if self._cancelled or self._opened is not None:
            return
        yield Stage("reading parameters")
        try:
            self._opened = self._open()
        except ParamxError as error:
            yield Failed(error.line)
        except Exception as error:  # a stranger's module may raise anything when it is read
            yield Failed(unexpected(self._target, error).line)
        else:
            if not self._cancelled:
                yield Loaded(self._opened.model)

    def ask(self, request: str, arguments: Mapping[str, Any]) -> Any:
        """Answer a request about the open model in this thread.

        Raises:
            ParamxError: Nothing is open, this can't be answered, or it failed.
        """
        answer = None if self._opened is None or self._cancelled else self._opened.answers.get(request)
        if answer is None:
            raise ParamxError(request, "nothing here answers that")
        try:
            return answer(arguments)
        except ParamxError:
            raise
        except Exception as error:  # as above
            raise unexpected(request, error) from error

    def lost(self) -> str | None:
        """Return at once: nothing serves the module but this process."""
        return None

    def cancel(self) -> None:
        """Give nothing more out; what runs already can't be stopped."""
        self._cancelled = True
