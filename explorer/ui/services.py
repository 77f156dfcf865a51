"""What the interface is given from outside: it opens and lists models only through this record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from explorer.core.choice import Choice
    from explorer.core.draft_store import DraftStore
    from explorer.core.groups import Grouping
    from explorer.core.loading import Opener, OpenSpec
    from explorer.core.param import Model


class Services(NamedTuple):
    """The outside world, injected: tests pass small fakes of each."""

    opener: Opener
    """Opens a target; never blocks."""
    choices: Callable[[], Sequence[Choice]]
    """Lists what can be opened here; may take a moment, so it is called in a thread."""
    grouping: Grouping
    """The groups to start with."""
    gpu_memory: Callable[[], int | None] = lambda: None
    """Bytes of the smallest GPU of this box, `None` without one; may take a moment, so it is called in a thread."""
    skeleton: Callable[[OpenSpec, Model], OpenSpec | None] = lambda spec, model: None
    """Says how to open a model again with more facts, `None` where there are none; called in a
    thread. A checkpoint file is shown at once, and gets its module classes from the config beside it afterwards."""
    recipe: Callable[[Model], Grouping] | None = None
    """Makes the groups to start with of the model (`--recipe`), in place of `grouping`; called in a thread, and may
    raise a ParamxError."""
    filter: str = ""
    """The filter to start with (`--filter`)."""
    values: bool = False
    """Whether the values of two targets are compared at once (`--values`)."""
    gpu: int | None = None
    """Bytes of one GPU as the user gave them (`--gpu-memory`); `None` has the box asked."""
    shown: Callable[[], None] = lambda: None
    """Called when a model is on the screen, and every object that lives as long as it is made."""
    drafts: DraftStore | None = None
    """Keeps the groups as typed on the disk; `None` where the caller of the interface gets them back."""
    leaving: Callable[[str | None], None] = lambda error: None
    """Called when the program is about to leave, with the error (`None` if the user leaves): the last moment to
    do something about a thread that hangs."""
    taking: Callable[[], None] = lambda: None
    """Called just before the interface changes the terminal's modes."""
    broken: Callable[[BaseException], None] | None = None
    """Ends the program because of an unexpected exception and gives the terminal back; `None` where only the
    interface itself can do that, and its caller gets the exception."""
