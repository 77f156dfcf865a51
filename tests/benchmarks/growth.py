"""Measures how time grows with the number of names: tree, classes, one keystroke, from 10³ to 10⁶."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from tests.benchmarks.data import experts
from tests.benchmarks.table import Row, Size


def growth(size: Size, folder: Path) -> list[Row]:
    """Seconds a name, each beside those of the size ten times smaller."""
    from explorer.core.groups import Grouper, Grouping
    from explorer.core.param import Model, Origin, Param
    from explorer.core.tree import Tree

    rows, before = [], list[float]()
    for count in (1_000, 10_000, 100_000, 1_000_000) if size.runs > 1 else (100, 1_000):
        params = (
            Param(index, name, tuple(shape), shape[0] * shape[1], dtype, None, None, None, None, (), None)
            for index, (name, dtype, shape) in enumerate(islice(experts(), count))
        )
        model = Model.from_params(Origin("growth", "benchmark", ""), params)

        def whole(model: Model = model) -> None:
            Tree.build(model)
            Grouper(model).assign(Grouping.classic())

        each = [1e9 * seconds(whole) / count for _ in range(3 if count < 1_000_000 else 1)]
        rows.append(Row(f"tree and groups of {count:,} names, a name", each, "ns", "ten times fewer", before, 1.5))
        before = each
    return rows


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds of processor time that something takes: others' work must not look like growth."""
    start = time.process_time()
    work()
    return time.process_time() - start
