"""Stops a build that would not end: libraries build as many layers as a config asks for.

What a config's keys say is bounded where it is read (`explorer.sources.hub`); here is what they make together: blocks
times repeats times a coefficient, in a model type that nobody has met yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from explorer.core.errors import ParamxError

MAX_PARTS = 250_000
"""Most modules and parameters of a model that is built, together; some 50 µs and 1.5 KB each. Layers of transformers
have one parameter a module: this is above 100,000 tensors, and models have at most some thousand."""


class TooManyPartsError(ParamxError):
    """A config asks for more modules and parameters than `MAX_PARTS`."""

    def of(self, target: str) -> TooManyPartsError:
        """Return it with what was opened."""
        return TooManyPartsError(target, self.why, self.remedy)


@contextmanager
def bounded() -> Iterator[None]:
    """Count what is built inside, one model, and end it.

    Raises:
        TooManyPartsError: It is too much. The caller adds what is opened.
    """
    from torch.nn.modules import module

    built = 0

    def count(*_: Any) -> None:
        nonlocal built
        built += 1
        if built > MAX_PARTS:
            why = f"it builds more than {MAX_PARTS:,} modules and parameters: no model has so many"
            raise TooManyPartsError("", why, "correct the config")

    hooks = [
        module.register_module_module_registration_hook(count),
        module.register_module_parameter_registration_hook(count),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
