"""What the interface is given: it opens models, lists them and writes exports only through this record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from explorer.core.choice import Choice
    from explorer.core.drafts import Drafts
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
    """Says how to open a model again so that more of it is known, `None` where no more is to be had; called in a
    thread. A checkpoint file is shown at once, and gets its module classes from the config beside it afterwards."""
    filter: str = ""
    """The filter to start with (`--filter`)."""
    gpu: int | None = None
    """Bytes of one GPU as the user gave them (`--gpu-memory`); `None` has the box asked."""
    shown: Callable[[], None] = lambda: None
    """Told when a model is on the screen, and everything that lives as long as it is made."""
    drafts: Drafts | None = None
    """Keeps the groups as typed on the disk; `None` where who called the interface gets them back."""
    leaving: Callable[[str | None], None] = lambda error: None
    """Told when the program is about to leave, and why (`None` if the user wants to): the last moment at which
    something can be done about a thread that hangs."""
    taking: Callable[[], None] = lambda: None
    """Told just before the interface changes the terminal's modes."""
    broken: Callable[[BaseException], None] | None = None
    """Ends the program for an exception that nobody expected, and gives the terminal back; `None` where only the
    interface itself can do that, and who called it gets the exception."""
