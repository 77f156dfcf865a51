"""Settings made on one screen and used by others."""

from __future__ import annotations

from typing import NamedTuple


class MemorySettings(NamedTuple):
    """What the estimate assumes."""

    optimizer: str | None = None
    """A key of `OPTIMIZER_STATES`; `None` takes what the groups say."""
    precision: str = "fp32"
    """A key of `PRECISIONS`."""
    gpu: int | None = None
    """Bytes of one GPU; `None` where none was given or found."""
    in_tree: bool = False
    """Whether the tree's Size column shows training memory."""

    def title(self, grouping_optimizer: str) -> str:
        """Return the assumptions in few words: `AdamW, fp32`."""
        return f"{self.optimizer or grouping_optimizer}, {self.precision}"
