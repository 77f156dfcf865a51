"""Opens two targets at the same time and compares them; with `api` and `__main__`, what joins ui and sources."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from explorer.core.errors import ParamxError

if TYPE_CHECKING:
    from explorer.core.compare import Comparison
    from explorer.core.loading import Loading, OpenSpec
    from explorer.core.param import Model
    from explorer.core.rules import Grouping

Tell = Callable[[str], None]
"""Takes what is happening, in words."""


def compare_targets(
    specs: tuple[OpenSpec, OpenSpec], grouping: Grouping, values: bool = False, tell: Tell = lambda text: None
) -> Comparison:
    """Open two targets, each in a worker of its own, and compare them.

    Args:
        specs: What to open.
        grouping: The rules by which both are grouped.
        values: Whether the values of what both have are compared too.
        tell: Called with each stage as it begins, and with how far the values are.

    Raises:
        ParamxError: One of them can't be opened.
    """
    from explorer.core.compare_asking import askers, files_of  # noqa: PLC0415 - whoever compares nothing does without
    from explorer.core.compare_values import compare_values  # noqa: PLC0415 - as above
    from explorer.core.pairing import compare  # noqa: PLC0415 - as above
    from explorer.sources.worker import open_in_worker  # noqa: PLC0415 - it reaches half the standard library

    specs = with_classes(specs, grouping)
    loadings: list[Loading] = []
    try:
        for spec in specs:
            loadings.append(open_in_worker(spec))
        a, b = _both(specs, loadings, tell)
        comparison = compare(a, b, grouping, askers(a, b, *loadings), files_of(a, b, *loadings))
        if not values:
            return comparison
        return compare_values(comparison, specs[1], loadings[0].ask, lambda progress: tell(progress.text))
    finally:
        for loading in loadings:
            loading.cancel()


def with_classes(specs: tuple[OpenSpec, OpenSpec], grouping: Grouping) -> tuple[OpenSpec, OpenSpec]:
    """Return how to open two targets so that the rules can group them: `type:` needs the classes of modules.

    Without such a term the seconds that a skeleton takes would tell nothing.
    """
    typed = any(term.lstrip("!").startswith("type:") for rule in grouping.rules for term in rule.terms)
    a, b = specs
    return (replace(a, skeleton=True), replace(b, skeleton=True)) if typed else specs


def _both(specs: tuple[OpenSpec, OpenSpec], loadings: list[Loading], tell: Tell) -> tuple[Model, Model]:
    """Wait for two openings; the first that fails ends it.

    Raises:
        ParamxError: One of them failed.
    """
    models: dict[int, Model] = {}
    failures: list[str] = []
    changed = threading.Event()

    def listen(side: int) -> None:
        from explorer.core.loading import Failed, Loaded, Stage  # noqa: PLC0415 - as above

        for event in loadings[side].events():
            match event:
                case Stage(text):
                    tell(f"{specs[side].target}: {text}")
                case Loaded(model):
                    models[side] = model
                case Failed(line):
                    failures.append(line)
        if side not in models and not failures:
            failures.append(ParamxError(specs[side].target, "the worker ended without an answer", "try again").line)
        changed.set()

    for side in (0, 1):
        threading.Thread(target=listen, args=(side,), daemon=True).start()
    while len(models) < 2:
        changed.wait()
        changed.clear()
        if failures:
            raise ParamxError("", failures[0])
    return models[0], models[1]
