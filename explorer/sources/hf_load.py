"""Loads a model's weights through transformers (`--load`), or plans over which devices it would be spread.

Everything else here opens skeletons. This is `from_pretrained` itself: tensors in memory, on the devices that they
would be trained or run on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.param import Column, Finding
from explorer.core.text import plural, short_bytes, visible
from explorer.sources import Opened, Report, out_of_memory
from explorer.sources.built_parts import TooManyPartsError, bounded
from explorer.sources.hf_classes import cannot_build, classes, config_for
from explorer.sources.hub import Found
from explorer.sources.no_weights import can_fetch, not_loaded, repository, weights_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

TOLD_NAMES = 1000
"""Most names that a finding carries."""


def plan(opened: Opened, model: PreTrainedModel, spec: OpenSpec, report: Report) -> Opened:
    """Return a skeleton's table with the device that each parameter would be put on.

    Args:
        opened: The skeleton.
        model: Its module, on the meta device.
        spec: What was asked for; `max_memory` says the sizes of the devices.
        report: Called with each stage as it begins.

    Raises:
        ParamxError: accelerate is missing, no sizes are known, or it can't plan.
    """
    accelerate = _accelerate()
    report("planning the devices")
    sizes = {_device_key(name): nbytes for name, nbytes in spec.max_memory} or _memory_here()
    try:
        devices, notes = _device_map(accelerate, model, dict(sizes))
    except Exception as error:  # a stranger's model may have any tree
        raise ParamxError("--device-map", f"accelerate can't plan it: {_line(error)}") from error
    table = opened.model
    names = [name for name, _ in model.named_parameters()]
    places = [f"{_shown_device(_place(name, devices))}" for name in names]
    used: dict[str, int] = {}
    for place, nbytes in zip(places, table.nbytes, strict=True):
        used[place] = used.get(place, 0) + nbytes
    room = {_shown_device(key): size for key, size in sizes.items()}
    parts = [
        f"{place} {short_bytes(nbytes)}" + (f" of {short_bytes(room[place])}" if place in room else "")
        for place, nbytes in used.items()
    ]
    findings = [Finding("planned", "hint", f"planned, nothing is loaded: {', '.join(parts)}"), *notes]
    if "disk" in used:
        spilled = tuple(visible(name) for name, place in zip(names, places, strict=True) if place == "disk")
        message = f"{plural(len(spilled), 'tensor')} would be left on disk: the devices are too small"
        findings.append(Finding("planned-disk", "warning", message, spilled[:TOLD_NAMES]))
    origin = replace(table.origin, description=f"{table.origin.description}, devices as --device-map auto plans them")
    model_table = replace(table, origin=origin, devices=Column.of(places), findings=(*table.findings, *findings))
    return replace(opened, model=model_table)


def _device_map(
    accelerate: Any, model: PreTrainedModel, sizes: dict[Any, int]
) -> tuple[Mapping[str, Any], tuple[Finding, ...]]:
    """Return the device of each part of a model, and what is to be told; nothing is moved."""
    together = sorted({*(getattr(model, "_no_split_modules", None) or ()), *_owners_of_ties(model)})
    why = ""
    try:
        # What `from_pretrained(device_map="auto")` itself calls (transformers 5.23, integrations/accelerate.py).
        from transformers.integrations.accelerate import _get_device_map

        return _get_device_map(model, "auto", dict(sizes), None), ()
    except ImportError:
        pass
    except Exception as error:  # on a tied parameter that no module of its own holds it has an index out of range
        why = f"transformers' own plan fails on this model ({_line(error)}), and so would from_pretrained"
    found: Mapping[str, Any] = accelerate.infer_auto_device_map(model, sizes, no_split_module_classes=together)
    if not why:
        return found, ()
    return found, (Finding("planned-otherwise", "warning", f"{why}; this is accelerate's plan"),)


def _owners_of_ties(model: PreTrainedModel) -> set[str]:
    """Return the classes of modules that hold a tied parameter beside modules of their own.

    Split apart, they leave accelerate 1.15 looking for the parameter in none of the parts: an index out of range.
    """
    modules, names = dict(model.named_modules()), dict(model.named_parameters(remove_duplicate=False))
    times = Counter(map(id, names.values()))
    owners = (modules.get(name.rpartition(".")[0]) for name, parameter in names.items() if times[id(parameter)] > 1)
    return {
        type(owner).__name__ for owner in owners if owner is not None and next(owner.children(), None) is not None
    }


_BY_LIBRARY = "transformers can't load weights as this dtype"
"""Why a dtype of torch is refused: the library builds the modules in it before it loads anything."""


def load(
    spec: OpenSpec, found: Found, config: PreTrainedConfig, report: Report
) -> tuple[PreTrainedModel, str, tuple[Finding, ...]]:
    """Load a model with its weights.

    Args:
        spec: What to load, and onto what.
        found: Its configuration, and the directory with the weights.
        config: The configuration as an object.
        report: Called with each stage, and with the share of the weights that is there.

    Returns:
        The model, what was loaded in words, and what the library found missing or left over.

    Raises:
        ParamxError: There are no weights, no such device, no memory, or the library refuses.
    """
    import torch

    device = _device(spec)
    dtype = _dtype(spec)
    options: dict[str, Any] = {"dtype": dtype or "auto", "output_loading_info": True}
    if spec.device_map is not None:
        _accelerate()
        if not torch.cuda.is_available():
            raise ParamxError("--device-map", "this machine has no GPU to load onto", "without --load it only plans")
        options["device_map"] = spec.device_map
        if spec.max_memory:
            options["max_memory"] = {_device_key(name): nbytes for name, nbytes in spec.max_memory}
    name = repository(spec, found)
    if name is None:
        raise not_loaded(spec, found, "")
    source: dict[str, Any] = {"pretrained_model_name_or_path": name}
    if (directory := weights_of(found)) is not None:
        source["pretrained_model_name_or_path"] = str(directory)
        options["local_files_only"] = True
    else:
        revision = found.commit or spec.revision or "main"
        local = spec.offline or not can_fetch(spec, found, name, revision, report)
        options |= {"local_files_only": local, "revision": revision}
    where = str(device) if device is not None else "cpu"
    problem: ParamxError | None = None
    for model_class in classes(spec, found, config):
        report(f"loading {model_class.__name__}")
        try:
            with _told_as_it_loads(report), bounded():
                model, told = model_class.from_pretrained(
                    **source,
                    config=config_for(model_class, config),
                    trust_remote_code=spec.trust_remote_code,
                    **options,
                )
            if device is not None and spec.device_map is None and device.type != "cpu":
                report(f"moving to {device}")
                model.to(device)
        except TooManyPartsError as error:
            raise error.of(spec.target) from None
        except ImportError as error:
            raise cannot_build(spec.target, model_class.__name__, error, "can't be loaded") from error
        except Exception as error:
            if isinstance(error, torch.OutOfMemoryError) or out_of_memory.was_short(error):
                raise _no_memory(spec, where, error) from None
            if isinstance(error, OSError):
                raise not_loaded(spec, found, _line(error)) from None
            if dtype is not None and _is_about(dtype, error):
                raise ParamxError(f"--dtype {spec.dtype}", _BY_LIBRARY, "bfloat16 is one that it takes") from error
            problem = problem or cannot_build(spec.target, model_class.__name__, error, "can't be loaded")
        else:
            model.eval()
            words = found.description.replace(", no weights", "").replace("config.json", "directory")
            return model, f"{words}, weights loaded", tuple(_told(told))
    raise problem or ParamxError(spec.target, "no model class takes its config", "name one with --class")


# --- what may stand in the way --------------------------------------------------------------------------------------


def _accelerate() -> Any:
    try:
        import accelerate
    except ImportError:
        raise ParamxError(
            "--device-map", "spreading a model over devices needs accelerate", "pip install accelerate"
        ) from None
    return accelerate


def _memory_here() -> dict[Any, int]:
    """Return the free memory of this machine's GPUs and of its CPU, as accelerate sees it.

    Raises:
        ParamxError: It has no GPU to plan for.
    """
    import torch

    if not torch.cuda.is_available():
        raise ParamxError(
            "--device-map", "this machine has no GPU to plan for", "say sizes: --max-memory 0=24GiB,1=24GiB"
        )
    from accelerate.utils import get_max_memory

    sizes: dict[Any, int] = get_max_memory()
    return sizes


def _dtype(spec: OpenSpec) -> torch.dtype | None:
    if spec.dtype is None:
        return None
    import torch

    dtype = getattr(torch, spec.dtype.removeprefix("torch."), None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ParamxError(f"--dtype {spec.dtype}", "torch has no such floating dtype", "bfloat16 is one")
    return dtype


def _is_about(dtype: torch.dtype, error: Exception) -> bool:
    """Whether the library failed on the dtype: `couldn't find storage object Float8_e4m3fnStorage`."""
    text, name = str(error).casefold(), str(dtype).removeprefix("torch.")
    return f"{name}storage" in text or f"for '{name}'" in text


def _device(spec: OpenSpec) -> torch.device | None:
    """Return the device that was asked for, checked to be there; `None` where none was."""
    if spec.device is None:
        return None
    import torch

    what = f"--device {spec.device}"
    try:
        device = torch.device(spec.device)
    except RuntimeError:
        raise ParamxError(what, "torch knows no such device", "cpu and cuda:0 are some") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            built = torch.version.cuda is None
            why = f"torch {torch.__version__} is built without CUDA" if built else "no CUDA GPU is found here"
            raise ParamxError(what, why, "--device cpu loads into main memory")
        count = torch.cuda.device_count()
        if device.index is not None and device.index >= count:
            raise ParamxError(what, f"this machine has {plural(count, 'GPU')}", f"cuda:0 … cuda:{count - 1}")
    elif device.type not in ("cpu", "mps"):
        raise ParamxError(what, "weights can't be loaded onto it", "cpu or cuda:0")
    elif device.type == "mps" and not torch.backends.mps.is_available():
        raise ParamxError(what, "no Apple GPU is found here", "--device cpu loads into main memory")
    return device


def _no_memory(spec: OpenSpec, where: str, error: BaseException) -> ParamxError:
    """Tell in one line that a device is full, with torch's own figures, and what is not tried yet."""
    import torch

    text = " ".join(str(error).split())
    tried = re.search(r"[Tt]ried to allocate ([\d.]+ \w+)", text)
    held = re.search(r"total capacity of ([\d.]+ \w+)", text)
    figures = ", ".join(
        part
        for part in (f"{tried[1]} more did not fit" if tried else "", f"it has {held[1]}" if held else "")
        if part
    )
    why = f"out of memory on {where} while the weights were loaded" + (f": {figures}" if figures else "")
    ways = [] if spec.dtype in ("bfloat16", "float16") else ["--dtype bfloat16 halves float32"]
    if torch.cuda.is_available() and spec.device_map is None:
        ways.append("--device-map auto spreads them")
    return ParamxError(spec.target, why, ", ".join(ways) or "free some memory, or load it on a larger machine")


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return visible(lines[0][:200].rstrip(".")) if lines else type(error).__name__


# --- progress, and what was found -----------------------------------------------------------------------------------


@contextmanager
def _told_as_it_loads(report: Report) -> Iterator[None]:
    """Report what transformers' own progress bars would show (`transformers.utils.logging.set_tqdm_hook`)."""
    from transformers.utils import logging

    set_hook = getattr(logging, "set_tqdm_hook", None)
    if set_hook is None:  # before transformers 5
        yield
        return
    before = set_hook(lambda factory, args, kwargs: _Told(report, factory, args, kwargs))
    try:
        yield
    finally:
        set_hook(before)


class _Told:
    """A progress bar that reports each further percent."""

    def __init__(self, report: Report, factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._bar, self._report = factory(*args, **kwargs), report
        self._items = args[0] if args else kwargs.get("iterable")
        whole = kwargs.get("total")
        if whole is None:
            whole = len(self._items) if self._items is not None and hasattr(self._items, "__len__") else 0
        self._whole: int = whole
        self._what = str(kwargs.get("desc") or "loading").lower()
        self._done, self._told = 0, -1

    def __iter__(self) -> Iterator[Any]:
        for item in self._items or ():
            yield item
            self._tell(1)

    def update(self, steps: int = 1) -> None:
        self._tell(steps)

    def _tell(self, steps: int) -> None:
        self._done += steps
        percent = 100 * self._done // self._whole if self._whole else 0
        if percent > self._told:
            self._told = percent
            self._report(f"{self._what} {percent} %")

    def __enter__(self) -> _Told:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bar, name)


def _told(told: Mapping[str, Any]) -> Iterator[Finding]:
    """Say what the library found when it laid the weights into the model."""
    missing = sorted(map(str, told.get("missing_keys", ())))
    unexpected = sorted(map(str, told.get("unexpected_keys", ())))
    if missing:
        message = f"{plural(len(missing), 'tensor')} of the model not in the weights"
        names = tuple(map(visible, missing[:TOLD_NAMES]))
        yield Finding("missing-tensors", "warning", message, names, "from_pretrained has filled them at random")
    if unexpected:
        message = f"{plural(len(unexpected), 'tensor')} of the weights not in the model"
        names = tuple(map(visible, unexpected[:TOLD_NAMES]))
        yield Finding("unexpected-tensors", "hint", message, names, "from_pretrained drops them")


# --- devices --------------------------------------------------------------------------------------------------------


def _device_key(name: str) -> int | str:
    """Return a device's name as accelerate has it: a GPU's number, `cpu`, `disk`."""
    return int(name) if name.isdecimal() else name


def _shown_device(key: Any) -> str:
    return f"cuda:{key}" if isinstance(key, int) else str(key)


def _place(name: str, devices: Mapping[str, Any]) -> Any:
    """Return the device of the longest module path that a parameter's name begins with."""
    path = name
    while True:
        if path in devices:
            return devices[path]
        if not path:
            return next(iter(devices.values()), "cpu")
        path = path.rpartition(".")[0]
