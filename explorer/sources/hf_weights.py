"""Lays a skeleton over the header of a checkpoint that lies beside its config: truer than the config alone.

The config of T5 forces tying, the checkpoint may hold two tensors; the checkpoint's dtype may be another. The library
decides, through `from_pretrained`, given tensors on the meta device that we make from the header: its own reader maps
the files and reads every byte of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.param import Finding, Model
from explorer.core.text import visible
from explorer.sources.built_parts import bounded
from explorer.sources.checkpoint.files import inside
from explorer.sources.overlay import Overlay, lay_over

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from explorer.sources.checkpoint.place import Place

FILES = (
    ("safetensors", "model.safetensors"),
    ("safetensors", "model.safetensors.index.json"),
    ("torch", "pytorch_model.bin"),
    ("torch", "pytorch_model.bin.index.json"),
)
"""What transformers calls the weights beside a config, in the order in which it looks for them; each with the kind of
checkpoint that it is."""

SAMPLES, SAMPLE_BYTES = 64, 4096
"""How much of two tensors is compared to tell whether one is a copy of the other: blocks, and bytes of each."""

HALVED = "float4_e2m1fn_x2"
"""A dtype of which torch's element is a byte of two values: safetensors counts values in its shapes, torch bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """The tensors of a checkpoint, as far as a model can be laid over them."""

    table: Model
    """The checkpoint's own table."""
    names: Sequence[str]
    """Names of its rows as the file has them, not made visible."""
    place: Callable[[int], Place] | None = None
    """Tells where a row's bytes lie, or raises `ParamxError`; `None` where they are out of reach."""
    unread: Mapping[str, str] = field(default_factory=dict)
    """Tensors that the index puts into files that could not be read, and the file; no row stands for them."""

    @property
    def rows(self) -> dict[str, int]:
        """Return the row of every name, the other names of tied tensors included."""
        rows = {name: row for row, name in enumerate(self.names)}
        for row, others in self.table.aliases.items():
            for other in others:
                rows.setdefault(other, row)
        return rows


def weights_beside(directory: Path) -> str | None:
    """Return the path of the weights that transformers would load from a directory, `None` where it has none."""
    return next((str(directory / name) for _, name in FILES if (directory / name).exists()), None)


def read_beside(path: str) -> Weights:
    """Read the weights that a directory was found to have; a link may not lead out of it.

    Raises:
        ParamxError: It does, or they can't be read.
    """
    if inside(Path(path).parent, Path(path).name) is None:
        raise ParamxError(path, "the link leads out of the directory", "name the file itself")
    return read_weights(path)


def others_beside(directory: Path) -> str:
    """Say which checkpoints lie in a directory that `from_pretrained` would not find; empty if none does."""
    from explorer.sources.checkpoint.targets import NOT_MODELS, SHARD, SUFFIXES, names_of

    try:
        names = [name for name in names_of(directory) if Path(name).suffix.lower() in SUFFIXES]
    except OSError:
        return ""
    names = [name for name in names if name not in NOT_MODELS]
    if broken := [name for name in names if not (directory / name).exists()]:
        return visible(f"{broken[0]}: the link leads nowhere; download it again")
    shards = [name for name in names if SHARD.fullmatch(name) and not name.endswith(".gguf")]
    if shards:
        which = shards[0] if len(shards) == 1 else f"{len(shards)} shards, {shards[0]}, …"
        return visible(f"{which}: without their index from_pretrained finds none; name one of them to open it")
    if not names:
        return ""
    which = names[0] if len(names) == 1 else f"{len(names)} files, {names[0]}, …"
    return visible(f"{which}: from_pretrained looks for other names; name the file to open it")


def read_weights(target: str) -> Weights:
    """Read the names, shapes and dtypes of a checkpoint's tensors.

    Args:
        target: One of `FILES` in some directory, or a file of either kind.

    Raises:
        ParamxError: It can't be read.
    """
    from explorer.sources.checkpoint.shards import find_shards, unread
    from explorer.sources.checkpoint.targets import TORCH, kind_of

    if kind_of(target) == TORCH:
        from explorer.sources.checkpoint.torch_file import locator, open_model
        from explorer.sources.values.providers import Located

        table = open_model(OpenSpec(target), lambda text: None)
        shards = find_shards(target, TORCH)
        lost = unread(shards, [name for name in shards.files if visible(name) in table.shards.values])
        return Weights(table, table.names, Located(lambda: locator(target)), lost)
    from explorer.sources.checkpoint.safetensors_file import read_checkpoint

    checkpoint = read_checkpoint(target)
    return Weights(checkpoint.model, checkpoint.names, checkpoint.place, checkpoint.unread)


def over_weights(
    model_class: type[PreTrainedModel], config: PreTrainedConfig, weights: Weights
) -> tuple[PreTrainedModel, Overlay, tuple[Finding, ...]]:
    """Build a model as `from_pretrained(directory, device_map="meta")` does, from headers alone.

    Args:
        model_class: The class to build.
        config: Its configuration.
        weights: The headers.

    Returns:
        The model on the meta device, what each tensor of the file is in it, and what is wrong with the file.

    Raises:
        ParamxError: A tensor has a dtype that torch lacks.
    """
    rows = weights.rows
    model, told = _load(model_class, config, weights, rows)
    copies, unsure = _copies(model, weights, rows)
    if copies:
        # On meta the library can't compare the two tensors and leaves them apart; elsewhere it would tie them.
        rows = {name: row for name, row in rows.items() if name not in copies}
        model, told = _load(model_class, config, weights, rows)
    findings = weights.table.findings
    if unsure:
        message = (
            f"{', '.join(unsure[:3])}: tied by the config, saved twice; whether with the same values is not known"
        )
        findings = (*findings, Finding("tie-not-known", "hint", message, tuple(unsure)))
    return model, lay_over(model, weights.table, weights.names, told, weights.unread), findings


def _load(
    model_class: type[PreTrainedModel], config: PreTrainedConfig, weights: Weights, rows: Mapping[str, int]
) -> tuple[PreTrainedModel, Mapping[str, Any]]:
    with _without_accelerate(), bounded():
        model, told = model_class.from_pretrained(
            None,
            config=config,
            state_dict={name: _empty(weights.table, row) for name, row in rows.items()},
            device_map="meta",
            dtype="auto",
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    return model, told


def _empty(table: Model, row: int) -> Any:
    """Make a tensor on the meta device like one of the file."""
    import torch

    shape, name = table.shapes[row] or (), table.dtypes[row]
    dtype = getattr(torch, name or "", None)
    if not isinstance(dtype, torch.dtype):
        raise ParamxError(table.names[row], f"torch {torch.__version__} has no dtype {name}")
    if name == HALVED and shape:
        shape = (*shape[:-1], shape[-1] // 2)
    return torch.empty(shape, dtype=dtype, device="meta")


@contextmanager
def _without_accelerate() -> Iterator[None]:
    """Let `device_map="meta"` pass where accelerate is not installed.

    transformers 5.23 demands the package for every device map (integrations/accelerate.py,
    `check_and_set_device_map`), though nothing of it is used when all goes to one device.
    """
    from transformers.integrations import accelerate

    theirs = accelerate.is_accelerate_available
    accelerate.is_accelerate_available = lambda *_, **__: True
    try:
        yield
    finally:
        accelerate.is_accelerate_available = theirs


def _copies(model: PreTrainedModel, weights: Weights, rows: Mapping[str, int]) -> tuple[set[str], list[str]]:
    """Return the tensors that the config ties to another and that hold the same bytes, and those of unknown bytes."""
    copies, unsure = set(), []
    for pair in model.get_expanded_tied_weights_keys(all_submodels=True).items():
        target, source = (_name_in_file(name, model.base_model_prefix, rows) for name in pair)
        if target is None or source is None or target == source:
            continue
        same = rows[target] == rows[source] or _same_bytes(weights, rows[target], rows[source])
        if same:
            copies.add(target)
        elif same is None:
            unsure.append(target)
    return copies, unsure


def _name_in_file(name: str, prefix: str, rows: Mapping[str, Any]) -> str | None:
    """Return a parameter's name in the file: with or without the prefix of the base model, as transformers allows."""
    names = (name, f"{prefix}.{name}", name.removeprefix(f"{prefix}."))
    return next((name for name in names if name in rows), None)


def _same_bytes(weights: Weights, row: int, other: int) -> bool | None:
    """Compare blocks spread over two tensors; all of both may be gigabytes on a network drive.

    Returns:
        Whether they are alike; `None` where their bytes can't be read.
    """
    table = weights.table
    if (table.dtypes[row], table.shapes[row]) != (table.dtypes[other], table.shapes[other]):
        return False
    if weights.place is None:
        return None
    try:
        first, second = weights.place(row), weights.place(other)
        if (first.nbytes, first.stride, first.byteorder) != (second.nbytes, second.stride, second.byteorder):
            return None
        size = first.nbytes
        steps = sorted({max(0, (size - SAMPLE_BYTES) * step // SAMPLES) for step in range(SAMPLES + 1)})
        return all(
            map(lambda one, two: one == two, _blocks(first, steps), _blocks(second, steps)),
        )
    except (ParamxError, OSError):
        return None


def _blocks(place: Place, steps: Sequence[int]) -> Iterator[bytes]:
    """Yield a block of a tensor's bytes at each of some offsets.

    Raises:
        OSError: The file can't be read, or ends before.
    """
    descriptor = os.open(place.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        for step in steps:
            length = min(SAMPLE_BYTES, place.nbytes - step)
            block = os.pread(descriptor, length, place.offset + step)
            if len(block) < length:
                raise OSError("cut short")
            yield block
    finally:
        os.close(descriptor)
