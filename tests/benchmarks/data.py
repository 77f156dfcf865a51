"""The models that are measured: real headers over sparse data, made anew in a folder of the run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tests.benchmarks.open_checkpoints import write_safetensors

Tensor = tuple[str, str, list[int]]
"""Name, dtype and shape."""


def experts() -> Iterator[Tensor]:
    """Iterate over the tensors of a mixture of experts, as DeepSeek-V3's files hold them: 256 alike in each layer."""
    layer = 0
    while True:
        prefix = f"model.layers.{layer}."
        yield f"{prefix}input_layernorm.weight", "BF16", [7168, 1]
        yield f"{prefix}self_attn.o_proj.weight", "BF16", [7168, 7168]
        yield f"{prefix}self_attn.o_proj.bias", "F32", [7168, 1]
        for expert in range(256):
            for part, shape in (("gate_proj", [2048, 7168]), ("up_proj", [2048, 7168]), ("down_proj", [7168, 2048])):
                name = f"{prefix}mlp.experts.{expert}.{part}.weight"
                yield name, "F8_E4M3", shape
                yield f"{name}_scale_inv", "F32", [16, 56]
        layer += 1


def unlike() -> Iterator[Tensor]:
    """Iterate over tensors of which no two neighbours are alike, so that nothing folds: the worst for a tree."""
    for number, (name, dtype, shape) in enumerate(experts()):
        yield name, dtype, [shape[0] + number % 7, shape[1]]


def small() -> Iterator[Tensor]:
    """Iterate over the same tensors with few elements: a peer that maps the whole file refuses one of 700 GB."""
    for name, dtype, (rows, columns) in experts():
        yield name, dtype, [-(-rows // 128), -(-columns // 128)]


def one_small_file(folder: Path, tensors: int) -> Path:
    """Make one file of so many small tensors."""
    path = folder / f"small-{tensors}.safetensors"
    if not path.exists():
        write_safetensors(path, list(islice(small(), tensors)))
    return path


def one_file(folder: Path, tensors: int, alike: bool = True) -> Path:
    """Make one file of so many tensors."""
    path = folder / f"{'alike' if alike else 'unlike'}-{tensors}.safetensors"
    if not path.exists():
        write_safetensors(path, list(islice(experts() if alike else unlike(), tensors)))
    return path


def shards(folder: Path, tensors: int, files: int = 64) -> Path:
    """Make so many shards and their index."""
    folder = folder / f"shards-{tensors}"
    folder.mkdir(exist_ok=True)
    rows = list(islice(experts(), tensors))
    each = -(-len(rows) // files)
    weight_map = {}
    for number in range(files):
        part = rows[number * each : (number + 1) * each]
        name = f"model-{number + 1:05}-of-{files:05}.safetensors"
        write_safetensors(folder / name, part)
        weight_map |= {row[0]: name for row in part}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index
