"""The error whose text is meant for the user."""

from __future__ import annotations

from explorer.core.text import shortened, visible

MAX_WHAT = 300
"""Most characters of what failed that are echoed: a target may be a text of any length."""


class ParamxError(Exception):
    """Something the user asked for can't be done: one line says what, why, and what would work.

    Every expected failure is raised as this class; the command line prints `paramx: LINE` and exits 1.
    """

    def __init__(self, what: str, why: str, remedy: str = "") -> None:
        """Keep the three parts, made visible: they may quote a stranger's file.

        Args:
            what: The thing that failed, as the user named it (`roberta-bsae`, `model.safetensors`).
            why: The reason, without a full stop.
            remedy: What would work; empty when nothing would.
        """
        self.what = shortened(visible(what), MAX_WHAT)
        self.why = visible(why)
        self.remedy = visible(remedy)
        super().__init__(self.line)

    @property
    def line(self) -> str:
        """The error in one line: `what: why; what would work`."""
        text = f"{self.what}: {self.why}" if self.what else self.why
        return f"{text}; {self.remedy}" if self.remedy else text

    def __reduce__(self) -> tuple[type[ParamxError], tuple[str, str, str]]:
        """Pickle by parts, so that a subclass crosses a process boundary whole."""
        return type(self), (self.what, self.why, self.remedy)


class LostError(ParamxError):
    """The worker of the open model is gone; the model has to be opened again."""
