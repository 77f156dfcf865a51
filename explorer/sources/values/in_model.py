"""Shows a tensor that is stored elsewhere as the parameter that it is in a model."""

from __future__ import annotations

from explorer.sources.values import Facts, Readable


class InModel:
    """A parameter whose values another tensor holds (an `explorer.sources.values.Readable`)."""

    def __init__(self, tensor: Readable, requires_grad: bool | None, note: str) -> None:
        """Show a tensor as a parameter.

        Args:
            tensor: What holds its values.
            requires_grad: Whether the parameter is trained.
            note: What must be told beside what is told of the tensor.
        """
        facts = tensor.facts
        both = ", ".join(filter(None, (facts.note, note)))
        self.facts = Facts(facts.dtype, facts.shape, facts.device, requires_grad, True, both, facts.expanded)
        self.take, self.chunks, self.in_order = tensor.take, tensor.chunks, tensor.in_order
