"""Measures for how long the interface can not answer while a model is loaded, and how long taking it in takes."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.data import one_file
from tests.benchmarks.table import Row, Size

TICK = 0.001
"""Seconds that the watching task sleeps; all above is a stall."""


async def _watch(done: asyncio.Event) -> tuple[list[float], list[float]]:
    late, own = [], []
    while not done.is_set():
        start, used = time.perf_counter(), time.thread_time()
        await asyncio.sleep(TICK)
        late.append(time.perf_counter() - start - TICK)
        own.append(time.thread_time() - used)
    return late, own


async def _stalls(path: str) -> dict[str, float]:
    """Load in the app, headless, and watch its event loop from beside."""
    from explorer.core.groups import Grouping
    from explorer.core.loading import OpenSpec
    from explorer.sources.worker import open_in_worker
    from explorer.ui.app import ParamxApp
    from explorer.ui.services import Services
    from explorer.ui.widgets.tree_table import TreeTable

    def shown() -> None:
        gc.freeze()
        gc.enable()

    gc.disable()  # as `__main__` does until the model is shown
    app = ParamxApp(OpenSpec(path), Services(open_in_worker, lambda: (), Grouping.classic(), shown=shown))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.05)
        done = asyncio.Event()
        watching = asyncio.create_task(_watch(done))
        while app.screen.query_one(TreeTable).view is None:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)  # a small model may be there from the start: what follows it is watched
        done.set()
        late, own = await watching
    return {"worst": max(late), "own": max(own)}


def _receive(path: str) -> dict[str, float]:
    """Time the decoding of a table as the worker sends it."""
    from explorer.core.loading import OpenSpec
    from explorer.core.wire import decode, encode
    from explorer.sources import open_served

    block = encode(open_served(OpenSpec(path), lambda _: None).model)
    timings = []
    for _ in range(5):
        start = time.perf_counter()
        decode(block)
        timings.append(time.perf_counter() - start)
    return {"receive": sorted(timings)[2]}


def _own_process(what: str, path: Path) -> dict[str, float]:
    run = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.stall", what, str(path)], check=True, capture_output=True, text=True
    )
    return {name: float(value) for name, value in json.loads(run.stdout.splitlines()[-1]).items()}


def stall(size: Size, folder: Path) -> list[Row]:
    """The worst stall, and the time to receive the rows."""
    path = one_file(folder, size.many, alike=False)
    runs = [_own_process("stalls", path) for _ in range(min(3, size.runs))]
    received = [_own_process("receive", path)["receive"] for _ in range(min(3, size.runs))]
    label = f"{size.many:,} tensors"
    return [
        Row(f"worst stall of the event loop, {label}", [1e3 * run["worst"] for run in runs], "ms", limit=16),
        Row(f"most processor time of one turn of the loop, {label}", [1e3 * run["own"] for run in runs], "ms"),
        Row(f"receiving {label}", [1e3 * each for each in received], "ms", limit=50),
    ]


if __name__ == "__main__":
    what, path = sys.argv[1:]
    print(json.dumps(asyncio.run(_stalls(path)) if what == "stalls" else _receive(path)))
