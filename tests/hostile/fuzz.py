"""Mutates small good files of each format and opens them: only the project's own error may come out.

`python tests/hostile/fuzz.py --inputs 50000 --format gguf` tries as many as one likes and prints how many it tried.
Without `--format` it tries all. A failing input is written to the current directory.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

if __name__ == "__main__":
    HERE = Path(__file__).parent
    sys.path[:0] = [str(HERE), str(HERE.parent / "sources"), str(HERE.parents[1])]

from checkpoint_files import Gguf, entry, outcome, safetensors_bytes, written
from corpus_pickles import legacy, mapping, tensor, zipped

from explorer.core.errors import ParamxError
from explorer.core.grouping_file import dumps
from explorer.core.grouping_file import load as read_groups
from explorer.core.param import Model
from explorer.core.patterns import PatternError, join_terms, parse, split_terms
from explorer.core.rules import Grouping
from explorer.sources.hub import read_config

INTERESTING = [bytes([byte]) for byte in range(256)] + [
    b"\xff" * 8,
    b"\0" * 8,
    b"\x7f" + b"\xff" * 7,
    b"\0\0\0\x80",
    b"\xff\xff\xff\x7f",
    b"\xff" * 4,
    b"\0" * 4,
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"[]",
    b"{}",
    b'""',
    b"9" * 40,
    b"[" * 500,
    b'{"a":' * 300,
    b"\x1b]52;c;eA==\x07",
    b"\xc3",
    b"\xed\xa0\x80",
    b"../",
    b"/",
    b"\\u0000",
    b"true",
    b",",
    b":",
    b"PK\1\2",
    b"PK\3\4",
    b"PK\5\6",
    b"R.",
    b"cos\nsystem\n",
    b"Q",
    b"\x81",
    b"b",
    b"u",
    b"t",
    b"(",
]
"""What is put in."""

Open = Callable[[Path, bytes], object]
"""Opens one input in a folder; raises what no reader may."""


def _file(name: str) -> Open:
    def open_(folder: Path, data: bytes) -> object:
        return outcome(written(folder / name, data))

    return open_


def _header(folder: Path, data: bytes) -> object:
    """Open a safetensors file of a header whose length is right, so that what it says is read."""
    return outcome(written(folder / "x.safetensors", safetensors_bytes(data, bytes(12))))


def _index(folder: Path, data: bytes) -> object:
    if not (folder / "a.safetensors").exists():
        written(folder / "a.safetensors", safetensors_bytes({"a.w": entry(0, 4)}, bytes(4)))
    return outcome(written(folder / "model.safetensors.index.json", data))


def _dcp(folder: Path, data: bytes) -> object:
    written(folder / ".metadata", data)
    return outcome(folder)


def _config(folder: Path, data: bytes) -> object:
    try:
        return read_config(written(folder / "config.json", data), "config.json")
    except ParamxError as error:
        assert error.line.isprintable()
        return error


def _grouping(folder: Path, data: bytes) -> object:
    try:
        return read_groups(written(folder / "groups.toml", data))
    except ParamxError as error:
        assert error.line.isprintable()
        return error


def _pattern(folder: Path, data: bytes) -> object:
    terms = [term for term, _ in split_terms(data.decode("utf-8", "replace"))]
    try:
        parsed = [parse(term) for term in terms]
    except PatternError as error:
        assert str(error)
        return error
    assert [term for term, _ in split_terms(join_terms(terms))] == terms
    return parsed


def _seeds() -> dict[str, tuple[Open, list[bytes]]]:
    header = {"__metadata__": {"format": "pt"}, "a.weight": entry(0, 8, "F32", [2]), "b": entry(8, 12, "I8", [2, 2])}
    good = mapping(("a.weight", tensor()), ("b", tensor(b"I4\n", b"I1\n")))
    gguf = Gguf().pair("general.architecture", 8, Gguf().text("llama")).pair("n", 4, b"\2\0\0\0")
    gguf.pair("t", 9, gguf.u32(8) + gguf.count(2) + gguf.text("x") + gguf.text("y"))
    gguf.tensor("a.weight", (4, 3), 0, 0).tensor("b", (64, 2), 2, 64)
    package = b"ctorch.distributed.checkpoint.metadata\n"
    size = b"ctorch\nSize\n((I2\nI2\nttR"
    fields = b"}(X\4\0\0\0size" + size + b"X\6\0\0\0chunks]X\n\0\0\0propertiesNu"
    listed = package + b"TensorStorageMetadata\n)\x81" + fields + b"b"
    state = b"}(X\x13\0\0\0state_dict_metadata}(X\1\0\0\0w" + listed + b"uX\x0c\0\0\0storage_data}u"
    dcp = b"\x80\x02" + package + b"Metadata\n)\x81" + state + b"b."
    index = {"metadata": {"total_size": 4}, "weight_map": {"a.w": "a.safetensors", "b": "b.safetensors"}}
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "num_hidden_layers": 2,
        "sub": {"n_layer": [1, 2]},
    }
    groups = dumps(Grouping.classic(["bias", "re:norm\\.weight", 'a"b']))
    return {
        "grouping": (_grouping, [groups.encode()]),
        "pattern": (_pattern, [b"bias, glob:*.norm?.weight", b're:h\\.[0-5]\\.(a|b)+, !ndim<2, type:*Norm, "x, y"']),
        "safetensors": (_file("x.safetensors"), [safetensors_bytes(header, bytes(12))]),
        "header": (_header, [json.dumps(header, separators=(",", ":")).encode()]),  # as the library writes it
        "index": (_index, [json.dumps(index).encode()]),
        "pickle": (_file("x.pt"), [good]),
        "legacy": (_file("x.pt"), [legacy(mapping(("a", tensor(layout="legacy")), ("b", tensor(layout="legacy"))))]),
        "zip": (_file("x.pt"), [zipped(good), zipped(good, 8)]),
        "gguf": (_file("x.gguf"), [gguf.done(bytes(136)), Gguf(1, ">").tensor("a", (4,), 0, 0).done(bytes(16))]),
        "dcp": (_dcp, [dcp]),
        "config": (_config, [json.dumps(config).encode()]),
    }


SEEDS = _seeds()
"""For each format what opens it, and good files to start from. Torch's tar archives are refused, so none is good."""


def mutations(good: list[bytes], rng: random.Random) -> Iterator[bytes]:
    """Yield mutated files without end: one to six changes each, of bytes, numbers, pieces."""
    while True:
        data = bytearray(rng.choice(good))
        for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
            at = rng.randrange(len(data) + 1)
            match rng.randrange(6):
                case 0:
                    data[at : at + 1] = bytes([rng.randrange(256)])
                case 1:
                    piece = rng.choice(INTERESTING)
                    data[at : at + rng.choice((0, len(piece)))] = piece
                case 2:
                    del data[at : at + rng.choice((1, 2, 4, 8, 50))]
                case 3:
                    end = min(len(data), at + rng.randrange(1, 60))
                    to = rng.randrange(len(data) + 1)
                    data[to:to] = data[at:end]
                case 4:
                    if at < len(data):
                        data[at] ^= 1 << rng.randrange(8)
                case 5:
                    if rng.random() < 0.3:
                        del data[at:]
        yield bytes(data)


def fuzz(name: str, inputs: int, seed: int, folder: Path) -> Counter[str]:
    """Open many mutations of a format.

    Returns:
        How often each came out: a table, a table with findings, an error.

    Raises:
        AssertionError: Something else came out; the input is written to `fuzz-FORMAT.bin`.
    """
    open_, good = SEEDS[name]
    for data in good:
        assert isinstance(open_(folder, data), Model | dict | Grouping | list), f"the good {name} does not open"
    counts: Counter[str] = Counter()
    for number, data in enumerate(mutations(good, random.Random(f"{name} {seed}"))):
        if number == inputs:
            break
        try:
            result = open_(folder, data)
        except BaseException as error:
            Path(f"fuzz-{name}.bin").write_bytes(data)
            raise AssertionError(f"{name}, input {number}: {type(error).__name__}: {error}") from error
        if isinstance(result, Model):
            counts["table with findings" if result.findings else "table"] += 1
        else:
            counts["error" if isinstance(result, Exception) else "read"] += 1
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=50_000)
    parser.add_argument("--format", choices=sorted(SEEDS), action="append")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for chosen in arguments.format or SEEDS:
        with tempfile.TemporaryDirectory() as scratch:
            began = time.monotonic()
            counts = fuzz(chosen, arguments.inputs, arguments.seed, Path(scratch))
        told = ", ".join(f"{count:,} {what}" for what, count in counts.most_common())
        print(f"{chosen}: {counts.total():,} inputs in {time.monotonic() - began:.0f} s: {told}", flush=True)
