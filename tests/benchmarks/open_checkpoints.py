"""Measures how long checkpoints of 93,000 to 100,000 tensors take to open, and how much memory.

    python tests/benchmarks/open_checkpoints.py [--keep FOLDER] [KIND …]

Files are made first: real headers, sparse data. The yardstick of safetensors is Python's own `json.loads` of the same
headers (and index), garbage collector on, as it is by default; each figure is the least of five.
"""

from __future__ import annotations

import argparse
import json
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

WIDTHS = {"F8_E4M3": 1, "BF16": 2, "F32": 4}
EXPERTS = {"gate_proj": [2048, 7168], "up_proj": [2048, 7168], "down_proj": [7168, 2048]}


def expert_names(layers: int, experts: int) -> list[tuple[str, str, list[int]]]:
    """Return the names, dtypes and shapes of a mixture of experts, as DeepSeek-V3's files hold them."""
    rows = []
    for layer in range(layers):
        for expert in range(experts):
            for part, shape in EXPERTS.items():
                name = f"model.layers.{layer}.mlp.experts.{expert}.{part}.weight"
                rows.append((name, "F8_E4M3", shape))
                rows.append((f"{name}_scale_inv", "F32", [shape[0] // 128, shape[1] // 128]))
    return rows


def write_safetensors(path: Path, rows: list[tuple[str, str, list[int]]]) -> None:
    """Write a header, and its data as a hole."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, dtype, shape in rows:
        begin, end = end, end + shape[0] * shape[1] * WIDTHS[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


def make_one(folder: Path) -> Path:
    """Make one file of 93,000 tensors."""
    path = folder / "one.safetensors"
    write_safetensors(path, expert_names(61, 255)[:93_000])
    return path


def make_shards(folder: Path) -> Path:
    """Make 64 shards of 100,000 tensors and their index."""
    rows = expert_names(64, 261)[:100_000]
    weight_map, each = {}, -(-len(rows) // 64)
    total = sum(shape[0] * shape[1] * WIDTHS[dtype] for _, dtype, shape in rows)
    for shard in range(64):
        part = rows[shard * each : (shard + 1) * each]
        name = f"model-{shard + 1:05}-of-00064.safetensors"
        write_safetensors(folder / name, part)
        weight_map |= {row[0]: name for row in part}
    index = folder / "model.safetensors.index.json"
    sorted_map = dict(sorted(weight_map.items()))
    index.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": sorted_map}, indent=2))
    return index


def make_torch(folder: Path) -> Path:
    """Make a zip archive of 100,000 tensors of one element each; torch writes it, the reader does without."""
    import torch

    path = folder / "pytorch_model.bin"
    torch.save({name: torch.zeros(1, 1) for name, _, _ in expert_names(64, 261)[:100_000]}, path)
    return path


def make_gguf(folder: Path) -> Path:
    """Make a GGUF file of 100,000 tensors and a vocabulary of 250,000 words."""

    def text(word: str) -> bytes:
        return struct.pack("<Q", len(word)) + word.encode()

    path = folder / "model.gguf"
    words = b"".join(text(f"word {index}") for index in range(250_000))
    pair = text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 250_000) + words
    rows = expert_names(64, 261)[:100_000]
    infos = b"".join(
        text(name) + struct.pack("<IQQIQ", 2, 256, 1, 12, 160 * index) for index, (name, _, _) in enumerate(rows)
    )
    head = b"GGUF" + struct.pack("<IQQ", 3, len(rows), 1) + pair + infos
    with path.open("wb") as file:
        file.write(head)
        file.truncate(-(-len(head) // 32) * 32 + 160 * len(rows))
    return path


def headers(path: Path) -> list[bytes]:
    """Return the JSON texts that a target consists of, the index last."""
    files = sorted(path.parent.glob("model-*.safetensors")) if path.suffix == ".json" else [path]
    texts = []
    for file in files:
        with file.open("rb") as reader:
            texts.append(reader.read(int.from_bytes(reader.read(8), "little")))
    return [*texts, path.read_bytes()] if path.suffix == ".json" else texts


def least(action: Callable[[], object]) -> float:
    """Return the least of five timings, in seconds."""
    timings = []
    for _ in range(5):
        start = time.perf_counter()
        action()
        timings.append(time.perf_counter() - start)
    return min(timings)


def peak_memory() -> int:
    """Return the most memory that this process has had, in MiB; `getrusage` would count what its parent had."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 << 20 if sys.platform == "darwin" else 1024)


def measure(path: Path) -> None:
    """Print the figures of one target; run in a process of its own, so that the memory is its own."""
    from explorer.core.loading import OpenSpec
    from explorer.core.wire import decode, encode
    from explorer.sources import open_served

    spec = OpenSpec(str(path))
    before = peak_memory()
    model = open_served(spec, lambda _: None).model
    peak = peak_memory()
    line = f"{path.name}: {len(model):,} tensors; opened in {least(lambda: open_served(spec, lambda _: None)):.3f} s"
    print(f"{line}; memory {peak} MiB (before: {before})")
    wire = least(lambda: decode(encode(model)))
    print(f"  to cross to the interface: {wire:.3f} s")
    if path.suffix in (".safetensors", ".json"):
        texts = headers(path)
        opened, yardstick = (
            least(lambda: open_served(spec, lambda _: None)),
            least(lambda: list(map(json.loads, texts))),
        )
        print(f"  json.loads of the texts: {yardstick:.3f} s; ratio {opened / yardstick:.2f}, ", end="")
        print(f"with the crossing {(opened + wire) / yardstick:.2f}")
    for finding in model.findings:
        print(f"  {finding.severity} {finding.id} {finding.message}")


MAKERS: dict[str, Callable[[Path], Path]] = {
    "one": make_one,
    "shards": make_shards,
    "torch": make_torch,
    "gguf": make_gguf,
}


def main() -> None:
    """Make the files and measure each in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(MAKERS)}; default: all")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, help="make the files here and leave them")
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return
    with tempfile.TemporaryDirectory() as temporary:
        for kind in arguments.kinds or MAKERS:
            folder = (arguments.keep or Path(temporary)) / kind
            folder.mkdir(parents=True, exist_ok=True)
            path = MAKERS[kind](folder)
            subprocess.run([sys.executable, __file__, "--measure", str(path)], check=True)


if __name__ == "__main__":
    main()
