"""One line of the start screen: something that can be opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ChoiceKind = Literal["config", "checkpoint", "cached", "built-in", "live"]
"""`config` and `checkpoint`: files in the current directory; `cached`: in the local hub cache; `built-in`;
`live`: a module of this process."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that can be opened."""

    target: str
    """What to open: the raw text of `OpenSpec.target`, not for the screen."""
    title: str
    """How it is shown, made visible."""
    kind: ChoiceKind
    """Where it is from."""
    detail: str
    """One short phrase more: `RoBERTa base · 125M · encoder`, `snapshot abc1234`; may be empty."""
