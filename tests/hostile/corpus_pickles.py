"""The corpus's pickles: torch.save's layouts and the metadata of distributed checkpoints, and what hides in them.

Nothing here needs torch: the pickles are written by hand.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from cases import ERROR, NAMES, OK, WARN, Case, Make
from checkpoint_files import gadgets, written

LAYOUTS = ("zip", "legacy", "pickle")
"""As torch ≥ 1.6 writes, as torch < 1.6 wrote, and a bare pickle."""


def zipped(data: bytes, method: int = zipfile.ZIP_STORED, **more: bytes) -> bytes:
    """Return an archive as torch writes it, around any pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("x/data.pkl", data)
        for name, content in {"data/0": bytes(16), **more}.items():
            archive.writestr(f"x/{name}", content)
    return buffer.getvalue()


def legacy(data: bytes) -> bytes:
    """Return a file as torch before 1.6 wrote it, around any pickle."""
    parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    key = struct.pack("<q", 4) + bytes(16)
    return b"".join(pickle.dumps(part, 2) for part in parts) + data + pickle.dumps(["0"], 2) + key


def laid_out(data: bytes, layout: str) -> bytes:
    """Return a file of a layout around a pickle."""
    return {"zip": zipped, "legacy": legacy}.get(layout, bytes)(data)


def text_of(name: str) -> bytes:
    """Return what pushes a text."""
    data = name.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def storage(
    kind: str = "torch\nFloatStorage", key: bytes = b"V0\n", count: bytes = b"I4\n", layout: str = "zip"
) -> bytes:
    """Return what pushes a storage: a persistent id."""
    tail = b"Nt" if layout == "legacy" else b"t"
    return b"(Vstorage\nc" + kind.encode() + b"\n" + key + b"Vcpu\n" + count + tail + b"Q"


def tensor(
    shape: bytes = b"I2\nI2\n",
    stride: bytes = b"I2\nI1\n",
    offset: bytes = b"I0\n",
    data: bytes | None = None,
    layout: str = "zip",
) -> bytes:
    """Return what pushes a tensor of 2 × 2 floats, or any other."""
    data = storage(layout=layout) if data is None else data
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + data + offset + b"(" + shape + b"t(" + stride + b"tI00\nccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def mapping(*pairs: tuple[str, bytes]) -> bytes:
    """Return a pickle of a mapping."""
    return b"\x80\x02}(" + b"".join(text_of(name) + value for name, value in pairs) + b"u."


def inner(pickled: bytes) -> bytes:
    """Return a pickle's opcodes without its frame and its stop, to be put into another."""
    if pickled[:1] == b"\x80":
        pickled = pickled[2:]
    if pickled[:1] == b"\x95":
        pickled = pickled[9:]
    return pickled[:-1]


def pt(data: bytes, name: str = "model.pt") -> Make:
    """Write one file."""
    return lambda folder: written(folder / name, data)


def gadget(which: int, layout: str, beside: bool) -> Make:
    """Write a file with one of the gadgets; run, it would make the folder's `ran` appear."""

    def make(folder: Path) -> Path:
        evil = list(gadgets(folder / "ran"))[which][1]
        if not beside:
            return written(folder / "model.pt", laid_out(evil, layout))
        data = mapping(("w", tensor(layout=layout)), ("evil", inner(evil)))
        return written(folder / "model.pt", laid_out(data, layout))

    return make


def torch_files() -> Iterator[Case]:
    """Yield pickles that call, count and nest."""

    def case(name: str, expected: str, make: Make, told: str = "", **limits: float) -> Case:
        return Case("torch", name, expected, make, told, **limits)  # type: ignore[arg-type]

    good = mapping(("w", tensor()))
    yield case("good zip", OK, pt(zipped(good)))
    yield case("good legacy", OK, pt(legacy(mapping(("w", tensor(layout="legacy"))))))
    for which, (name, _) in enumerate(gadgets(Path("/nowhere/ran"))):
        yield case(f"{name} alone, {LAYOUTS[which % 3]}", ERROR, gadget(which, LAYOUTS[which % 3], False))
        # That one is torch's own, and read as a storage.
        quiet = "_load_from_bytes" in name
        beside = gadget(which, "zip", True)
        yield case(f"{name} beside a tensor, zip", OK if quiet else WARN, beside, "" if quiet else "not run")
    for name, value in {
        "evilmod.run": b"cevilmod\nrun\n",
        "evilmod.run by STACK_GLOBAL": b"Vevilmod\nVrun\n\x93",
        "builtins with controls": b"Vbuiltins\x1b\x1b\nVeval\n\x93",
        "torchevil.run": b"ctorchevil\nrun\n",
        "os.system": b"cos\nsystem\n",
        "torch.os.system": b"Vtorch\nVos.system\n\x93",
        "an attribute of os.system": b"Vtorch\nVos.system.__call__\n\x93",
        "the globals of a method": b"Vtorch.nn\nVModule.forward.__globals__\n\x93",
        "torchevil.FloatStorage": b"ctorchevil\nFloatStorage\n",
        "a method that is replaced": b"ctorch.nn\nModule\n}Vforward\nctorch\nload\nsb",
        "a table of torch that is added to": b"ctorch._tensor\n_known\nctorch\nload\na",
        "a table of torch that is written to": b"ctorch._tensor\n_known\nVkey\nctorch\nload\ns",
    }.items():
        uncalled = mapping(("w", tensor()), ("k", value))
        yield case(f"{name} named and not called, zip", WARN, pt(zipped(uncalled)), "not run")
        yield case(f"{name} named alone, pickle", ERROR, pt(mapping(("k", value))), "not run")
    instance = b"cmine\nThing\n)\x81}b"
    crowd = b"".join(b"cmine\nThing%d\n)\x81}b0" % number for number in range(300)) + b"cevilmod\nrun\n"
    yield case("an object of a class", OK, pt(zipped(mapping(("w", tensor()), ("k", instance)))), "mine.Thing")
    yield case("a name after 300 classes", WARN, pt(zipped(mapping(("w", tensor()), ("k", crowd)))), "evilmod.run")
    after = b"cos\nsystem\n(Vtouch ran\ntR."
    tails = {"zip": zipped(good + after), "legacy": legacy(mapping(("w", tensor(layout="legacy")))) + after}
    for layout, data in tails.items():
        yield case(f"a pickle after the {layout}'s", WARN, pt(data), f"{len(after)} bytes after")
    yield case("a pickle after an array's", WARN, pt(pickle.dumps({"k": 1}, 2) + after), "bytes after")
    strange = {
        "nothing": b"",
        "only stop": b".",
        "no stop": b"\x80\x02}",
        "an unknown opcode": b"\x80\x02\xff.",
        "protocol 9": b"\x80\x09}.",
        "stack underflow": b"\x80\x020.",
        "a missing memo": b"\x80\x02h\x07.",
        "a long of 2^31": b"\x80\x02\x8b\xff\xff\xff\x7f.",
        "a negative long": b"\x80\x02\x8b\xff\xff\xff\xff.",
        "a text of 2^32": b"\x80\x02X\xff\xff\xff\xffabc.",
        "bytes of 2^64": b"\x80\x02\x8e" + b"\xff" * 8 + b"abc.",
        "a bytearray of 2^64": b"\x80\x05\x96" + b"\xff" * 8 + b"abc.",
        "a frame of 2^64": b"\x80\x04\x95" + b"\xff" * 8 + b"}.",
        "100,000 digits": b"\x80\x02I" + b"9" * 100_000 + b"\n.",
        "an endless line": b"\x80\x02I" + b"1" * 2_000_000,
        "a memo of 2^32": b"\x80\x02}r\xff\xff\xff\xff.",
        "a list in itself": b"\x80\x02]q\0h\0a.",
        "a mapping in itself": b"\x80\x02}q\0Va\nh\0s.",
        "deep tuples": b"\x80\x02)" + b"\x85" * 300_000 + b".",
        "deep lists": b"\x80\x02" + b"(" * 100_000 + b"l" * 100_000 + b".",
        "a deep key": b"\x80\x02})" + b"\x85" * 300_000 + b"Vx\ns.",
        "doubling lists": b"\x80\x02]" + b"q\0h\0h\0\x86" * 300 + b".",
        "five million lists": b"\x80\x02" + b"]" * 5_000_000,
        "seven million memos": b"\x80\x04N" + b"\x94" * 7_000_000,
        "five million marks": b"\x80\x02" + b"(" * 5_000_000,
        "duplicates": b"\x80\x02]" + b"2" * 1_000_000 + b".",
        "calls of calls": b"\x80\x02cx\ny\n" + b")R" * 100_000 + b".",
        "invalid UTF-8": b"\x80\x02X\x02\0\0\0\xff\xff.",
        "a global of controls": b"\x80\x02c\x1b[2J\n\x1b]52;c;eA==\x07\n.",
        "a persistent id of text": b"\x80\x02Pstorage\n.",
        "a storage of 2^63": b"\x80\x02" + storage(count=b"L9223372036854775808L\n") + b".",
        "an empty name": b"\x80\x02c\n\n.",
        "ten million steps": b"\x80\x02" + b"N0" * 10_000_000 + b".",
        "tuples of three without end": b"\x80\x02N" + b"22\x87" * 1_000_000,
        "a memo that doubles": b"\x80\x02]" + b"".join(b"r%bh\x00a" % struct.pack("<I", i) for i in range(200_000)),
        "a text of 400 MiB that is not there": b"\x80\x02X\x00\x00\x00\x19abc.",
        "integers of 4 KiB": b"\x80\x02]" + (b"\x8b\x00\x10\x00\x00" + bytes(4096) + b"a") * 5_000,
    }
    # Pickles that end well, and hold no tensor.
    empty = {
        *(
            "a frame of 2^64",
            "a memo of 2^32",
            "a list in itself",
            "a mapping in itself",
            "deep tuples",
            "deep lists",
        ),
        *("a deep key", "doubling lists", "duplicates", "a persistent id of text"),
        "a storage of 2^63",
    }
    for name, data in strange.items():
        for layout in ("zip",) if len(data) > 1_000_000 else LAYOUTS:
            yield case(f"{name}, {layout}", WARN if name in empty else ERROR, pt(laid_out(data, layout)))
    bad = {
        "a negative size": tensor(b"I-1\n", b"I1\n"),
        "a huge size": tensor(b"L99999999999999999999L\n", b"I0\n"),
        "an overflowing product": tensor(b"L4294967296L\nL4294967296L\n", b"I0\nI0\n"),
        "a size of text": tensor(b"Vabc\n", b"I1\n"),
        "more than its storage": tensor(b"I9\n", b"I1\n"),
        "a stride past its storage": tensor(b"I2\n", b"I9\n"),
        "a negative offset": tensor(offset=b"I-1\n"),
        "another number of strides": tensor(b"I2\n", b"I1\nI1\n"),
        "a thousand dimensions": tensor(b"I1\n" * 1000, b"I1\n" * 1000),
        "no storage": tensor(data=b"N"),
        "a storage of os.system": tensor(data=storage("os\nsystem")),
        "a storage of negative length": tensor(data=storage(count=b"I-4\n")),
        "a storage of 2^70": tensor(data=storage(count=b"L1180591620717411303424L\n")),
    }
    for name, value in bad.items():
        yield case(f"a tensor of {name}", WARN, pt(zipped(mapping(("w", tensor()), ("evil", value)))))
    yield case("a missing storage", WARN, pt(zipped(mapping(("w", tensor(data=storage(key=b"V../../7\n")))))))
    yield case("a storage called ..", WARN, pt(zipped(mapping(("w", tensor(data=storage(key=b"V..\n")))))))
    endless = tensor(b"L1125899906842624L\nI4\n", b"I0\nI1\n")
    yield case("four numbers 2^50 times", OK, pt(zipped(mapping(("w", endless)))))
    for name, text in NAMES.items():
        yield case(f"name of {name}", OK, pt(zipped(mapping((text, tensor())))))
    yield case("a lone surrogate", OK, pt(zipped(mapping(("\ud800.w", tensor())))))
    yield from archives(good)


def archives(good: bytes) -> Iterator[Case]:
    """Yield archives that are no archive, or too large."""

    def case(name: str, expected: str, data: bytes, told: str = "", file: str = "model.pt") -> Case:
        return Case("archive", name, expected, pt(data, file), told)

    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\x80\x02X" + struct.pack("<I", 400 << 20) + bytes(400 << 20))
    size = struct.pack("<I", (400 << 20) + 7)
    yield case("a bomb", ERROR, bomb.getvalue(), "inflates")
    yield case("a bomb that says it is small", ERROR, bomb.getvalue().replace(size, struct.pack("<I", 100)))
    whole = zipped(good)
    for part in range(0, len(whole), len(whole) // 8):
        # The pickle ends at its byte 184: from there on the tensors are known.
        yield case(f"cut at byte {part}", WARN if part > 200 else ERROR, whole[:part])
    end = whole.rfind(b"PK\5\6")
    for name, expected, at, value in (
        ("entries of 2^16", WARN, end + 10, b"\xff\xff"),
        ("a directory of 2^32", WARN, end + 12, b"\xff" * 4),
        ("a directory at 2^32", WARN, end + 16, b"\xff" * 4),
        ("a comment of 2^16", OK, end + 20, b"\xff\xff"),  # nobody reads it
    ):
        yield case(name, expected, whole[:at] + value + whole[at + len(value) :])
    record = whole.find(b"PK\1\2")
    for name, expected, at, value in (
        ("an unknown method", ERROR, record + 10, b"\x63\x00"),
        ("a size of 2^32", WARN, record + 24, b"\xfe" * 4),
        ("a place at 2^32", ERROR, record + 42, b"\xfe" * 4),
        ("a name of 2^16", ERROR, record + 28, b"\xff\xff"),
        ("an encrypted entry", ERROR, record + 8, b"\x01\x00"),
    ):
        yield case(name, expected, whole[:at] + value + whole[at + len(value) :])
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages", "../../escape"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    yield case("two archives", WARN, whole + whole, "bytes beside the parts of the archive")
    nonsense = zipped(good, byteorder=b"\x1b[31mmiddle")
    yield case("an unknown byte order", WARN, nonsense, "is neither little nor big: read as little-endian")
    short = zipped(good, **{"data/0": bytes(3)})
    yield case("a storage of 3 bytes", WARN, short, "whose data is shorter than the pickle says")
    yield case("a pickle by another name", WARN, whole, "named .safetensors", "model.safetensors")
    twice = _archive("a/data.pkl", good, "b/data.pkl", "a/data/0")
    yield case("two pickles", WARN, twice, "2 pickles in the archive, of which a/data.pkl was read")
    yield case("a tar of torch 0.1", ERROR, tar.getvalue())
    for name, data in {
        "no pickle in it": _archive("x/model.json", b"{}"),
        "a pickle outside": _archive("../../data.pkl", good),
        "an absolute pickle": _archive("/etc/data.pkl", good),
        "10,000 entries": _archive("x/data.pkl", good, *(f"x/data/{i}" for i in range(10_000))),
        "gzip": b"\x1f\x8b\x08\x00" + bytes(100),
        "7z": b"7z\xbc\xaf\x27\x1c" + bytes(100),
        "HTML": b"<!doctype html><title>404</title>",
        "a git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 10\n",
        "noise": bytes(range(7, 200)),
        "nothing": b"",
        "nul bytes": bytes(10_000),
        "an ELF": b"\x7fELF" + bytes(200),
    }.items():
        yield case(name, WARN if "entries" in name else ERROR, data)


def _archive(name: str, data: bytes, *more: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, data)
        for other in more:
            archive.writestr(other, b"")
    return buffer.getvalue()


def dcp() -> Iterator[Case]:
    """Yield directories of distributed checkpoints whose metadata is wrong."""

    def case(name: str, expected: str, make: Make, told: str = "") -> Case:
        return Case("dcp", name, expected, make, told)

    def metadata(data: bytes) -> Make:
        def make(folder: Path) -> Path:
            written(folder / ".metadata", data)
            return folder

        return make

    package = "torch.distributed.checkpoint.metadata"

    def made(*tensors: tuple[str, bytes], stored: bytes = b"}") -> bytes:
        items = b"".join(text_of(name) + value for name, value in tensors)
        state = (
            b"}(" + text_of("state_dict_metadata") + b"}(" + items + b"u" + text_of("storage_data") + stored + b"u"
        )
        return b"\x80\x02c" + package.encode() + b"\nMetadata\n)\x81" + state + b"b."

    def listed(size: bytes) -> bytes:
        properties = b"c%s\nTensorProperties\n)\x81(ctorch\nfloat32\nI00\nNNNNtb" % package.encode()
        fields = b"}(" + text_of("properties") + properties + text_of("size") + size + text_of("chunks") + b"]u"
        return b"c%s\nTensorStorageMetadata\n)\x81" % package.encode() + fields + b"b"

    shape = b"ctorch\nSize\n((I2\nI2\nttR"
    whole = made(("w", listed(shape)))
    yield case("a second pickle", WARN, metadata(whole + b"cos\nsystem\n(Vtouch ran\ntR."), "after the pickle")
    yield case("a tensor without a file", WARN, metadata(made(("w", listed(shape)))), "no file holds")
    for name, size in {
        "negative": b"ctorch\nSize\n((I-1\nttR",
        "of text": b"Vabc\n",
        "of 2^80": b"ctorch\nSize\n((L1208925819614629174706176L\nttR",
        "of nothing": b"N",
        "called": b"cos\nsystem\n(Vtouch ran\ntR",
    }.items():
        yield case(f"a size {name}", WARN, metadata(made(("w", listed(size)))), "no list of sizes")
    for name, text in NAMES.items():
        yield case(f"name of {name}", WARN, metadata(made((text, listed(shape)))), "no file holds")
    long = (("n." * 100_000, listed(shape)), ("w", listed(shape)))
    yield case("a name of 200,000 characters", WARN, metadata(made(*long)), "100,000 characters")
    for name, data in {
        "nothing": b"",
        "stop": b".",
        "a list": pickle.dumps([1]),
        "a mapping": pickle.dumps({"a": 1}),
        "text": b"hello",
        "cut": made(("w", listed(shape)))[:-20],
        "five million lists": b"\x80\x04" + b"]" * 5_000_000,
    }.items():
        yield case(f"metadata of {name}", ERROR, metadata(data))
    for which, (name, _) in enumerate(gadgets(Path("/nowhere/ran"))):

        def make(folder: Path, which: int = which) -> Path:
            evil = inner(list(gadgets(folder / "ran"))[which][1])
            return Path(metadata(b"\x80\x02" + evil + b"0" + made(("w", listed(shape)))[2:])(folder))

        yield case(f"{name} before the metadata", WARN, make, "" if "_load_from_bytes" in name else "not run")

    def placed(path: str) -> Make:
        key = b"c%s\nMetadataIndex\n)\x81}(" % package.encode() + text_of("fqn") + text_of("w") + b"ub"
        where = text_of("relative_path") + text_of(path) + text_of("offset") + b"K\0" + text_of("length") + b"K\1"
        info = b"ctorch.distributed.checkpoint.filesystem\n_StorageInfo\n)\x81}(" + where + b"ub"
        return metadata(made(("w", listed(shape)), stored=b"}(" + key + info + b"u"))

    for path in ("/etc/passwd", "../outside/secret.safetensors", "/dev/zero", "~/x", "a\0b", "\x1b[2J/../x", ""):
        yield case(f"data in {path!a}", WARN, placed(path), "not opened (")
    yield case("data that is not there", WARN, placed("__0_0.distcp"), "not there")

    def led_out(folder: Path) -> Path:
        metadata(made(("w", listed(shape))))(folder)
        (folder / "m").mkdir()
        (folder / "m" / ".metadata").symlink_to("../.metadata")
        return folder / "m"

    yield case("metadata that leads out", ERROR, led_out, "leads out")

    def piped(folder: Path) -> Path:
        os.mkfifo(folder / ".metadata")
        return folder

    yield case("metadata that is a pipe", ERROR, piped)
