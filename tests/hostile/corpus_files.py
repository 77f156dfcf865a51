"""The corpus's files of fixed layout: safetensors, indices, GGUF."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cases import ERROR, NAMES, OK, WARN, Case, Make
from checkpoint_files import Gguf, entry, safetensors_bytes, written

HUGE = 1 << 63
STRING, ARRAY, U32 = 8, 9, 4


def file_of(data: bytes, name: str = "model.safetensors") -> Make:
    """Write one file."""
    return lambda folder: written(folder / name, data)


def one(name: str = "w", **changes: Any) -> dict[str, Any]:
    """Return a header of one tensor."""
    return {name: entry(0, 4) | changes}


def raw(text: bytes, data: bytes = bytes(4)) -> Make:
    """Write a safetensors file with this very header."""
    return file_of(safetensors_bytes(text, data))


def header(content: object, data: bytes = bytes(4)) -> Make:
    """Write a safetensors file with a header."""
    return file_of(safetensors_bytes(content, data))


def sparse(length: int, size: int) -> Make:
    """Write a file that claims a header of `length` and is `size` long, all holes."""

    def make(folder: Path) -> Path:
        path = written(folder / "model.safetensors", length.to_bytes(8, "little") + b"{")
        os.truncate(path, size)
        return path

    return make


def safetensors() -> Iterator[Case]:
    """Yield headers of every kind of wrong."""

    def case(name: str, expected: str, make: Make, told: str = "", **limits: Any) -> Case:
        return Case("safetensors", name, expected, make, told, **limits)

    def claims(length: int) -> Make:
        return file_of(safetensors_bytes(b"{}", bytes(100), length))

    yield case("good", OK, header(one()))
    yield case("empty file", ERROR, file_of(b""))
    yield case("7 bytes", ERROR, file_of(bytes(7)))
    for length in (0, 1, 103, 1 << 31, 1 << 32, HUGE - 1, HUGE, (1 << 64) - 1, 100_000_001):
        yield case(f"header of {length:,} bytes", ERROR, claims(length))
    yield case("header of 100 MB of nothing", ERROR, sparse(99_999_999, 100_000_007))
    yield case("header past the end of a large hole", ERROR, sparse(100_000_000, 99_000_000))
    for name, text in {
        "invalid UTF-8": b'{"\xff\xfe":{}}',
        "UTF-16": '{"a":1}'.encode("utf-16"),
        "overlong UTF-8": b'{"\xc0\xaf":{}}',
        "not JSON": b"{nonsense}",
        "cut JSON": b'{"w":{"dtype":"U8"',
        "two values": b"{}{}",
        "trailing comma": b'{"w":1,}',
        "NaN": b'{"w":NaN}',
        "a list": b'["w"]',
        "a string": b'"w"   ',
        "a number": b"12345678",
        "nothing but blanks": b" " * 50,
        "nul bytes": bytes(50),
        "deep lists": b'{"w":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        "deep objects": b'{"w":' * 100_000 + b"1" + b"}" * 100_000,
        "integer of a million digits": b'{"w":' + b"9" * 1_000_000 + b"}",
        "five million lists": b'{"w":[' + b"[]," * 5_000_000 + b"[]]}",
        "comment": b'{/* x */"w":1}',
    }.items():
        yield case(name, ERROR, raw(text))
    for name, item in {
        "entry of null": None,
        "entry of text": "x",
        "entry of a list": [1],
        "entry without shape": {"dtype": "U8", "data_offsets": [0, 4]},
        "entry without dtype": {"shape": [4], "data_offsets": [0, 4]},
        "entry without offsets": {"shape": [4], "dtype": "U8"},
        "dtype of a number": entry(0, 4) | {"dtype": 3},
        "dtype of null": entry(0, 4) | {"dtype": None},
        "shape of text": entry(0, 4) | {"shape": "4"},
        "shape of floats": entry(0, 4) | {"shape": [4.0]},
        "shape of true": entry(0, 4) | {"shape": [True]},
        "negative shape": entry(0, 4) | {"shape": [-4]},
        "two negatives": entry(0, 4) | {"shape": [-2, -2]},
        "shape of 2^63": entry(0, 4) | {"shape": [HUGE]},
        "product overflow": entry(0, 4) | {"shape": [1 << 32, 1 << 32, 1 << 32]},
        "product that wraps to 4": entry(0, 4) | {"shape": [(1 << 62) + 1, 4]},
        "10,000 dimensions": entry(0, 4) | {"shape": [1] * 10_000},
        "negative offset": entry(0, 4) | {"data_offsets": [-4, 0]},
        "offsets backwards": entry(0, 4) | {"data_offsets": [4, 0]},
        "offsets of 2^63": entry(0, 4) | {"data_offsets": [HUGE, HUGE + 4]},
        "one offset": entry(0, 4) | {"data_offsets": [0]},
        "three offsets": entry(0, 4) | {"data_offsets": [0, 4, 8]},
        "offsets of floats": entry(0, 4) | {"data_offsets": [0.0, 4.0]},
        "offsets of NaN": entry(0, 4) | {"data_offsets": [float("nan"), 4]},
    }.items():
        yield case(f"only an {name}", ERROR, header({"w": item}))
        yield case(f"an {name} beside a good one", WARN, header({"v": entry(0, 4), "w": item}))
    yield case("unknown dtype", WARN, header(one(dtype="Q4_XYZ")), "unknown")
    yield case("dtype of controls", WARN, header(one(dtype="\x1b[31m")), "\\x1b")
    yield case("dtype of a megabyte", WARN, header(one(dtype="x" * 1_000_000)))
    yield case("size mismatch", WARN, header(one(shape=[5])))
    yield case("overlapping", WARN, header({"a": entry(0, 4), "b": entry(2, 6)}, bytes(6)), "another's")
    yield case("all at one place", WARN, header({f"t{i}": entry(0, 4) for i in range(100)}))
    yield case("hole", WARN, header({"a": entry(0, 4), "b": entry(8, 12)}, bytes(12)))
    yield case("trailing bytes", WARN, header(one(), bytes(1000)))
    yield case("data cut short", WARN, header(one(), bytes(3)), "cut short")
    yield case("terabytes that are not there", WARN, header({"a": entry(0, 1 << 40)}), "cut short")
    yield case("duplicate key", WARN, raw(b'{"w":%s,"w":%s}' % ((json.dumps(entry(0, 4)).encode(),) * 2)), "twice")
    yield case(
        "duplicate key within an entry",
        WARN,
        raw(b'{"w":{"dtype":"U8","dtype":"F32","shape":[1],"data_offsets":[0,4]}}'),
    )
    yield case("zero tensors", WARN, header({}, b""))
    yield case("only metadata", WARN, header({"__metadata__": {"a": "b"}}, b""))
    yield case("metadata of a list", WARN, header(one() | {"__metadata__": [1]}))
    yield case("metadata of numbers", WARN, header(one() | {"__metadata__": {"a": 1}}))
    yield case("metadata of controls", OK, header(one() | {"__metadata__": {"\x1b[2J": "\x1b]52;c;eA==\x07"}}))
    yield case("metadata of ten megabytes", OK, header(one() | {"__metadata__": {"a": "x" * 10_000_000}}), "in part")
    yield case(
        "100,000 keys of metadata",
        OK,
        header(one() | {"__metadata__": {str(i): "" for i in range(100_000)}}),
        "in part",
    )
    long = {"n." * 100_000: entry(0, 4)}
    yield case("only a name of 200,000 characters", ERROR, header(long), "100,000 characters")
    yield case("a name of 200,000 characters", WARN, header(one() | long), "100,000 characters")
    keys = b",".join(b'"%d":""' % i for i in range(3_100_000))
    yield case("three million keys of metadata", ERROR, raw(b'{"__metadata__":{' + keys + b"}}"), "more than any")
    controls = {f"{i}" + "\x1b" * 100: entry(0, 0) for i in range(20_000)}
    yield case("two million controls", OK, header(controls, b""))
    yield case("zero-sized tensors", OK, header({"a": entry(0, 0), "b": entry(0, 0, "F32", [0, 5])}, b""))
    yield case("scalar", OK, header({"a": entry(0, 4, "F32", [])}))
    names = {"a\x1b": entry(0, 2), "a\\x1b": entry(2, 4)}
    yield case("two names that look alike", WARN, header(names), "told apart")
    yield case("lone surrogate", OK, raw(b'{"\\ud800":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'))
    yield case("all names at once", WARN, header({name: entry(0, 4) for name in NAMES.values()}), "another's")
    yield case("header of 100 MB of blanks", WARN, raw(b"{" + b" " * 99_999_990 + b"}", b""), "no tensor")
    for name, text in NAMES.items():
        yield case(f"name of {name}", OK, header(one(text)))


def index(weight_map: object, *shards: str, **more: Any) -> Make:
    """Write an index and good shards of one tensor each, named as the shard is."""

    def make(folder: Path) -> Path:
        for shard in shards:
            (folder / shard).parent.mkdir(parents=True, exist_ok=True)
            written(folder / shard, safetensors_bytes(one(f"{Path(shard).stem}.w"), bytes(4)))
        content = json.dumps({"weight_map": weight_map} | more)
        return written(folder / "model.safetensors.index.json", content.encode())

    return make


def indices() -> Iterator[Case]:
    """Yield indices that lead nowhere, out, or around."""

    def case(name: str, expected: str, make: Make, told: str = "", **limits: Any) -> Case:
        return Case("index", name, expected, make, told, **limits)

    good = {"a.w": "a.safetensors"}
    yield case("good", OK, index(good, "a.safetensors"))
    for name, path in {
        "/etc/passwd": "/etc/passwd",
        "the parent": "../outside/secret.safetensors",
        "a parent within": "x/../../outside/secret.safetensors",
        "home": "~/secret.safetensors",
        "backslashes": "..\\outside\\secret.safetensors",
        "a nul": "a\0b.safetensors",
        "nothing": "",
        "itself": ".",
        "a device": "/dev/zero",
        "standard input": "/dev/stdin",
        "a process": "/proc/self/mem",
        "a URL": "https://example.invalid/x.safetensors",
        "a long name": "x" * 5000,
        "a newline": "a\nb.safetensors",
        "controls": "\x1b[2J.safetensors",
    }.items():
        yield case(f"only a shard of {name}", ERROR, index({"w": path}))
        yield case(f"a shard of {name} beside a good one", WARN, index(good | {"w": path}, "a.safetensors"))

    def linked(folder: Path) -> Path:
        target = index(good | {"b.w": "b.safetensors"}, "a.safetensors")(folder)
        (folder / "b.safetensors").symlink_to("../outside/secret.safetensors")
        return Path(target)

    def looping(folder: Path) -> Path:
        target = index(good | {"b.w": "b.safetensors"}, "a.safetensors")(folder)
        (folder / "b.safetensors").symlink_to("b.safetensors")
        return Path(target)

    def piped(folder: Path) -> Path:
        target = index(good | {"b.w": "b.safetensors"}, "a.safetensors")(folder)
        os.mkfifo(folder / "b.safetensors")
        return Path(target)

    def cut(folder: Path) -> Path:
        target = index(good | {"b.w": "b.safetensors"}, "a.safetensors", "b.safetensors")(folder)
        os.truncate(folder / "b.safetensors", 20)
        return Path(target)

    def cached(folder: Path) -> Path:
        (folder / "blobs").mkdir()
        (folder / "snapshots" / "abc").mkdir(parents=True)
        target = index(good, "a.safetensors")(folder / "snapshots" / "abc")
        (folder / "snapshots" / "abc" / "a.safetensors").rename(folder / "blobs" / "123")
        (folder / "snapshots" / "abc" / "a.safetensors").symlink_to("../../blobs/123")
        return Path(target)

    def with_shard(text: bytes) -> Make:
        def make(folder: Path) -> Path:
            target = index(good, "a.safetensors")(folder)
            return written(Path(target), text)

        return make

    def through_folder(folder: Path) -> Path:
        (folder / "sub").symlink_to("../outside")
        return Path(index(good | {"w": "sub/secret.safetensors"}, "a.safetensors")(folder))

    def through_ladder(folder: Path) -> Path:
        (folder / "l0").symlink_to("../outside")
        for i in range(1, 30):
            (folder / f"l{i}").symlink_to(f"l{i - 1}")
        return Path(index(good | {"w": "l29/secret.safetensors"}, "a.safetensors")(folder))

    def within(folder: Path) -> Path:
        target = index({"a.w": "sub/a.safetensors", "b.w": "b.safetensors"}, "sub/a.safetensors")(folder)
        (folder / "b.safetensors").symlink_to("sub/b.safetensors")
        written(folder / "sub" / "b.safetensors", safetensors_bytes(one("b.w"), bytes(4)))
        return Path(target)

    def linked_index(folder: Path) -> Path:
        (folder / "m").mkdir()
        content = json.dumps({"weight_map": {"": "secret.safetensors"}}).encode()
        written(folder / "elsewhere.json", content)
        (folder / "m" / "model.safetensors.index.json").symlink_to("../elsewhere.json")
        return folder / "m"

    def linked_shards(folder: Path) -> Path:
        for i in (1, 2):
            (folder / f"model-{i:05}-of-00002.safetensors").symlink_to("../outside/secret.safetensors")
        return folder

    yield case("a link that leads out", WARN, linked, "leads out")
    yield case("a folder that leads out", WARN, through_folder, "leads out")
    yield case("thirty links that lead out", WARN, through_ladder, "leads out")
    yield case("a link that stays within", OK, within)
    yield case("a directory whose index leads out", ERROR, linked_index, "leads out")
    yield case("a directory whose shards lead out", ERROR, linked_shards, "outside")
    yield case("a link to itself", WARN, looping)
    yield case("a shard that is a pipe", WARN, piped)
    yield case("a shard that is cut", WARN, cut)
    yield case("the hub cache's own links", OK, cached)
    yield case("a missing shard", WARN, index(good | {"b.w": "b.safetensors"}, "a.safetensors"))
    yield case("all shards missing", ERROR, index({"b.w": "b.safetensors"}))
    yield case("a tensor that the shard lacks", WARN, index(good | {"z": "a.safetensors"}, "a.safetensors"))
    # As transformers does it: what the index does not name is not of the checkpoint.
    yield case("a shard that it does not say", OK, index(good, "a.safetensors", "b.safetensors"))
    yield case(
        "a tensor elsewhere",
        WARN,
        index({"a.w": "b.safetensors", "b.w": "a.safetensors"}, "a.safetensors", "b.safetensors"),
    )
    yield case("a shard that is the index", ERROR, index({"w": "model.safetensors.index.json"}))
    yield case("an empty weight_map", ERROR, index({}))
    for name, weight_map in {"a list": ["a"], "text": "a", "null": None, "a number": 5}.items():
        yield case(f"a weight_map of {name}", ERROR, index(weight_map))
    yield case("a weight_map of numbers", ERROR, index({"a": 1, "b": None, "c": ["x"]}))
    yield case("a weight_map of numbers beside a good one", WARN, index(good | {"b": 1}, "a.safetensors"))
    yield case("20,000 shards", ERROR, index({f"t{i}": f"{i}.safetensors" for i in range(20_000)}))
    yield case("a negative total", WARN, index(good, "a.safetensors", metadata={"total_size": -1}), "total_size")
    yield case("a total of 10^300", WARN, index(good, "a.safetensors", metadata={"total_size": 1e300}), "total_size")
    nan = float("nan")
    yield case("a total of NaN", WARN, index(good, "a.safetensors", metadata={"total_size": nan}), "total_size")
    yield case(
        "a total of another size", WARN, index(good, "a.safetensors", metadata={"total_size": 5}), "total_size"
    )
    yield case(
        "a total of text", WARN, index(good, "a.safetensors", metadata={"total_size": "\x1b[2J"}), "total_size"
    )
    yield case("metadata of a list", WARN, index(good, "a.safetensors", metadata=[1]), "metadata")
    for name, text in {
        "a tensor twice": b'{"weight_map":{"a.w":"b.safetensors","a.w":"a.safetensors"}}',
        "the weight_map twice": b'{"weight_map":{"b":"/etc/passwd"},"weight_map":{"a.w":"a.safetensors"}}',
        "the total twice": b'{"metadata":{"total_size":4,"total_size":4},"weight_map":{"a.w":"a.safetensors"}}',
        "an escaped name twice": b'{"weight_map":{"\\u0061.w":"a.safetensors","a.w":"a.safetensors"}}',
    }.items():
        yield case(name, WARN, with_shard(text), "twice")
    for name, text in {
        "no JSON": b"{",
        "an empty file": b"",
        "invalid UTF-8": b'{"weight_map":{"\xff":"a"}}',
        "deep": b"[" * 300_000,
        "a list": b"[]",
        "NaN": b"NaN",
    }.items():
        yield case(f"an index of {name}", ERROR, file_of(text, "model.safetensors.index.json"))
    for name in (
        "colour",
        "clipboard",
        "newline",
        "bidi override",
        "closing markup",
        "10,000 characters",
        "1,000 levels",
    ):
        text = NAMES[name]
        yield case(f"a missing tensor called {name}", WARN, index(good | {text: "a.safetensors"}, "a.safetensors"))


def gguf() -> Iterator[Case]:
    """Yield GGUF files that count too far."""

    def case(name: str, expected: str, data: bytes, told: str = "", **limits: Any) -> Case:
        return Case("gguf", name, expected, file_of(data, "model.gguf"), told, **limits)

    def small(version: int = 3, order: str = "<") -> Gguf:
        return Gguf(version, order).tensor("w", (4,), 0, 0)

    def with_pair(kind: int, value: bytes) -> bytes:
        return small().pair("x", kind, value).done(bytes(64))

    def tensors(*items: tuple[Any, tuple[int, ...], int, int]) -> bytes:
        made = small()
        for item in items:
            made.tensor(*item)
        return made.done(bytes(64))

    for version in (1, 2, 3):
        for order in "<>":
            name = f"good, version {version}, {'little' if order == '<' else 'big'}-endian"
            yield case(name, OK, small(version, order).done(bytes(16)))
    for version in (0, 4, 99, (1 << 31), (1 << 32) - 1):
        yield case(f"version {version:,}", ERROR, b"GGUF" + struct.pack("<I", version) + bytes(60))
    for count in (2, 1 << 31, HUGE, (1 << 64) - 1):
        yield case(f"{count:,} tensors", ERROR, small().done(tensors=count))
        yield case(f"{count:,} pairs", ERROR, small().done(pairs=count))
        yield case(
            f"a string of {count + 1000:,}",
            ERROR,
            with_pair(STRING, struct.pack("<Q", min(count + 1000, (1 << 64) - 1))),
        )
        for kind in (0, U32, STRING, ARRAY):
            value = struct.pack("<IQ", kind, min(count + 1000, (1 << 64) - 1))
            yield case(f"an array of {count + 1000:,}, type {kind}", ERROR, with_pair(ARRAY, value))
    yield case("an empty file", ERROR, b"")
    yield case("the magic alone", ERROR, b"GGUF")
    yield case("arrays in arrays", ERROR, with_pair(ARRAY, struct.pack("<IQ", ARRAY, 1) * 50_000))
    yield case("an unknown value", ERROR, with_pair(77, b""))
    yield case("an unknown array", ERROR, with_pair(ARRAY, struct.pack("<IQ", 77, 1)))
    yield case("a file of tensors that can't be", ERROR, Gguf().tensor("a", (HUGE, HUGE), 0, 0).done())
    yield case(
        "dimensions of 2^32-1", ERROR, Gguf().done(tensors=1, align=1) + Gguf().text("a") + b"\xff" * 4 + bytes(200)
    )
    yield case("a thousand arrays in arrays", ERROR, with_pair(ARRAY, struct.pack("<IQ", ARRAY, 1) * 1000))
    many = struct.pack("<IQ", ARRAY, 200_000) + struct.pack("<IQ", 0, 0) * 200_000
    yield case("200,000 empty arrays", OK, with_pair(ARRAY, many))
    yield case(
        "a million empty texts", OK, with_pair(ARRAY, struct.pack("<IQ", STRING, 1_000_000) + bytes(8_000_000))
    )
    yield case("no tensors", WARN, Gguf().done())
    yield case("an unknown type", WARN, tensors(("a", (4,), 9999, 16)))
    yield case("no whole blocks", WARN, tensors(("a", (33,), 2, 32)))
    yield case("an overflowing product", WARN, tensors(("a", (1 << 33, 1 << 33), 0, 16)))
    yield case("an offset past any end", WARN, tensors(("a", (4,), 0, HUGE)))
    yield case("an overlap", WARN, tensors(("a", (4,), 0, 8)))
    yield case("a name twice", WARN, tensors(("w", (4,), 0, 16)))
    yield case("data cut short", WARN, small().done(bytes(3)))
    yield case("alignment 0", WARN, small().pair("general.alignment", U32, bytes(4)).done(bytes(64)))
    yield case(
        "alignment 2^31", WARN, small().pair("general.alignment", U32, struct.pack("<I", 1 << 31)).done(bytes(64))
    )
    yield case("a key twice", WARN, small().pair("k", 7, b"\1").pair("k", 7, b"\0").done(bytes(64)))
    yield case(
        "a key of controls", OK, small().pair("\x1b[2J", STRING, Gguf().text("\x1b]52;c;eA==\x07")).done(bytes(64))
    )
    yield case("a name of bad UTF-8", OK, Gguf().tensor(b"\xff\xfe", (4,), 0, 0).done(bytes(64)))
    for name, text in NAMES.items():
        yield case(f"name of {name}", OK, Gguf().tensor(text, (4,), 0, 0).done(bytes(16)))
