"""Finds the parameters of a module that accelerate keeps elsewhere, where torch shows the meta device.

Nothing is moved and accelerate is not imported: its hooks are known by what they leave on the modules. Source:
accelerate 1.15, `hooks.py`, `AlignDevicesHook`: `offload`, `place_submodules`, `execution_device`, `weights_map`; a
module's `_hf_hook` is one, or a `SequentialHook` of several.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from explorer.core.text import visible

if TYPE_CHECKING:
    import torch


class OnDisk(NamedTuple):
    """The file of an offloaded parameter."""

    path: Path
    """The file."""
    name: str | None
    """What a safetensors file calls the tensor; `None` of a `.dat`, whose bytes are the tensor and nothing else."""
    dtype: str
    """Torch's name of the dtype in a `.dat`; of a safetensors file its header tells."""
    shape: tuple[int, ...]
    """Likewise."""


class Offloaded(NamedTuple):
    """Where accelerate keeps one parameter."""

    weights: Mapping[str, torch.Tensor]
    """The map that holds it; asked for a tensor that is on disk, it reads the whole."""
    key: str
    """Its name there."""
    device: str
    """Where it is computed with."""

    @property
    def on_disk(self) -> OnDisk | None:
        """The file that holds it; `None` where it is in memory.

        Source: accelerate 1.15, `utils/offload.py`, `OffloadedWeightsLoader`: what its `state_dict` has is not looked
        for in its `index`.
        """
        if self.key in getattr(self.weights, "state_dict", ()):
            return None
        entry = (getattr(self.weights, "index", None) or {}).get(self.key)
        if entry is None:
            return None
        if entry.get("safetensors_file") is not None:
            return OnDisk(Path(entry["safetensors_file"]), entry.get("weight_name", self.key), "", ())
        path = Path(str(getattr(self.weights, "save_folder", "")), f"{self.key}.dat")
        return OnDisk(path, None, entry["dtype"], tuple(entry["shape"]))

    @property
    def note(self) -> str:
        """What is said of it."""
        kind = "disk" if self.on_disk else "cpu"
        return f"offloaded by accelerate to {kind}, runs on {self.device}"


class Offloads:
    """What accelerate keeps of one module's parameters."""

    def __init__(self, modules: Iterable[tuple[str, torch.nn.Module]]) -> None:
        """Look for the hooks of a module and of its parts, as `named_modules()` gives them."""
        self._hooks: dict[str, Any] = {}
        for path, part in modules:
            # By `__dict__`: a module that has no such attribute takes long to say so, and there may be 50,000.
            for hook in _flat(part.__dict__.get("_hf_hook")):
                if getattr(hook, "offload", False) and getattr(hook, "weights_map", None) is not None:
                    self._hooks[path] = hook

    def find(self, name: str, parameter: torch.Tensor) -> Offloaded | None:
        """Return where a parameter is kept; `None` if it is where torch says."""
        if not self._hooks or parameter.device.type != "meta":
            return None
        path = owner = name.rpartition(".")[0]
        while True:
            hook = self._hooks.get(path)
            # A hook of a module that holds the owner has its weights only if it was told to place them.
            if hook is not None and (path == owner or getattr(hook, "place_submodules", False)):
                weights, key = hook.weights_map, name[len(path) + 1 :] if path else name
                while hasattr(weights, "dataset"):  # a `PrefixedDataset`: the part of a larger map
                    weights, key = weights.dataset, f"{weights.prefix}{key}"
                return Offloaded(weights, key, visible(str(hook.execution_device)))
            if not path:
                return None
            path = path.rpartition(".")[0]


def _flat(hook: Any) -> Iterator[Any]:
    """Yield a hook, or those that it is a sequence of."""
    inside = getattr(hook, "hooks", None)
    if inside is None:
        yield hook
        return
    for each in inside:
        yield from _flat(each)
