"""Measures every tensor of a target in a worker, for `--print stats`: joins sources and core, and draws nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from explorer.core.asking import NO_WEIGHTS, Ask, ask_to_the_end
from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec, wait_for_model
from explorer.core.statistics import TensorStats

if TYPE_CHECKING:
    from explorer.core.param import Model

Measured = tuple["Model", dict[int, TensorStats], dict[str, list[int]]]
"""The table, the statistics by index, and for each reason the tensors that could not be measured."""


def measure_target(spec: OpenSpec, needle: str, tell: Callable[[str], None]) -> Measured:
    """Open a target in a worker and measure its tensors.

    Args:
        spec: What to open.
        needle: Only tensors whose name contains it.
        tell: Called with the text of each stage as it begins, and with the share that is done.

    Raises:
        ParamxError: It can't be opened, or is a skeleton, which has no values at all.
    """
    from explorer.sources.worker import open_in_worker  # noqa: PLC0415 - `--help` does without

    loading = open_in_worker(spec)
    try:
        model = wait_for_model(loading, spec.target, tell)
        return model, *_measured(loading.ask, model, needle, tell)
    finally:
        loading.cancel()


def _measured(
    ask: Ask, model: Model, needle: str, tell: Callable[[str], None]
) -> tuple[dict[int, TensorStats], dict[str, list[int]]]:
    """Measure tensors one after another; return the statistics, and for each reason those that can't be measured.

    Raises:
        ParamxError: None of them has values.
    """
    wanted = [index for index, name in enumerate(model.names) if needle in name]
    whole = sum(model.numels[index] for index in wanted)
    before = 0

    def progress(done: float) -> bool:
        tell(f"measuring {(before + done * model.numels[index]) / max(1, whole):.0%}")
        return True

    statistics: dict[int, TensorStats] = {}
    refused: dict[str, list[int]] = {}
    for index in wanted:
        progress(0.0)
        try:
            statistics[index] = TensorStats.from_json(ask_to_the_end(ask, "statistics", {"index": index}, progress))
        except ParamxError as error:
            if not statistics and not refused and NO_WEIGHTS in error.why:
                raise  # of a skeleton no other tensor has values either
            refused.setdefault(error.line.removeprefix(f"{model.names[index]}: "), []).append(index)
        before += model.numels[index]
    return statistics, refused
