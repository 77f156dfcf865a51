"""Measures every tensor of a target in a worker, for `--print stats`: joins sources and core, and draws nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from explorer.core.asking import NO_WEIGHTS, ask_to_the_end
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
        wanted = [index for index, name in enumerate(model.names) if needle in name]
        whole = sum(model.numels[index] for index in wanted)
        statistics: dict[int, TensorStats] = {}
        refused: dict[str, list[int]] = {}
        before = 0

        for index in wanted:
            numel, done_before = model.numels[index], before

            def progress(done: float, numel: int = numel, done_before: int = done_before) -> bool:
                tell(f"measuring {(done_before + done * numel) / max(1, whole):.0%}")
                return True

            progress(0.0)
            try:
                found = ask_to_the_end(loading.ask, "statistics", {"index": index}, progress)
                statistics[index] = TensorStats.from_json(found)
            except ParamxError as error:
                if not statistics and not refused and NO_WEIGHTS in error.why:
                    raise  # of a skeleton no other tensor has values either
                refused.setdefault(error.line.removeprefix(f"{model.names[index]}: "), []).append(index)
            before += numel
        return model, statistics, refused
    finally:
        loading.cancel()
