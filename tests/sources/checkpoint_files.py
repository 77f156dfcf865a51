"""Writers of strange checkpoints, and the one law that all readers keep: a table, or one line of error."""

from __future__ import annotations

import json
import os
import pickle
import struct
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.param import Model
from explorer.core.wire import decode, encode
from explorer.sources import open_served


def opened(target: Path | str) -> Model:
    """Open a target in this process."""
    return open_served(OpenSpec(str(target), offline=True), lambda _: None).model


def outcome(target: Path | str) -> Model | ParamxError:
    """Open a target; whatever is in it, the result is a sound table or one printable line."""
    try:
        model = opened(target)
    except ParamxError as error:
        assert error.line
        assert printable(error.line), error.line
        return error
    assert_sound(model)
    return model


def findings(model: Model) -> set[str]:
    """Return the ids of what the source noticed."""
    return {finding.id for finding in model.findings}


def printable(text: str) -> bool:
    """Whether no character of a text could act on a terminal."""
    return not any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in text)


def assert_sound(model: Model) -> None:
    """Hold a table to what the rest of the program relies on."""
    rows = len(model)
    columns = (model.shapes, model.dtypes, model.devices, model.requires_grad, model.modules, model.shards)
    assert all(len(column) == rows for column in columns)
    assert len(model.numels) == len(model.nbytes) == rows
    assert len(set(model.names)) == rows
    assert all(map(printable, model.names))
    assert all(size >= 0 for size in model.numels)
    assert all(size >= -1 for size in model.nbytes)
    assert len(model.running()) == rows
    for finding in model.findings:
        assert printable(finding.message), finding
        assert all(map(printable, finding.names)), finding
    for names in model.aliases.values():
        assert all(map(printable, names))
    copy = decode(encode(model))
    assert list(copy.names) == list(model.names)
    assert list(copy.shapes) == list(model.shapes)


# --- safetensors --------------------------------------------------------------------------------------------------


def safetensors_bytes(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """Return a safetensors file with any header: an object, or the very text."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(begin: int, end: int, dtype: str = "U8", shape: list[Any] | None = None) -> dict[str, Any]:
    """Return one entry of a safetensors header."""
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


# --- pickles ------------------------------------------------------------------------------------------------------


class Gadget:
    """Pickles as a call of any function."""

    def __init__(self, function: object, *args: object) -> None:
        """Keep what is to be called when it is loaded."""
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


def raw_gadget(module: str, name: str, argument: str) -> bytes:
    """Return a pickle of protocol 0 that calls `module.name(argument)`: also of modules that are not here."""
    return f"c{module}\n{name}\n(V{argument}\ntR.".encode()


def gadgets(marker: Path) -> Iterator[tuple[str, bytes]]:
    """Yield pickles that would make `marker` appear if anything of them ran, by name."""
    import builtins
    import copyreg
    import functools
    import importlib
    import operator
    import runpy
    import subprocess
    import webbrowser

    shell = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w')"
    yield "os.system", pickle.dumps(Gadget(os.system, shell))
    yield "subprocess.Popen", pickle.dumps(Gadget(subprocess.Popen, ["touch", str(marker)]))
    yield "subprocess.check_output", pickle.dumps(Gadget(subprocess.check_output, ["touch", str(marker)]))
    yield "builtins.eval", pickle.dumps(Gadget(eval, code))
    yield "builtins.exec", pickle.dumps(Gadget(exec, code))
    yield "builtins.open", pickle.dumps(Gadget(open, str(marker), "w"))
    yield "builtins.getattr", pickle.dumps(Gadget(getattr, Gadget(importlib.import_module, "os"), "system"))
    yield "builtins.__import__", pickle.dumps(Gadget(__import__, "os"))
    yield "runpy", pickle.dumps(Gadget(runpy._run_code, code, {}))
    yield "webbrowser", pickle.dumps(Gadget(webbrowser.open, f"file://{marker}"))
    yield "attrgetter", pickle.dumps(Gadget(operator.attrgetter("system"), os.name))
    yield "methodcaller", pickle.dumps(Gadget(operator.methodcaller("__call__", code), eval))
    yield "functools.partial", pickle.dumps(Gadget(functools.partial(os.system, shell)))
    yield "functools.reduce", pickle.dumps(Gadget(functools.reduce, eval, [code]))
    yield "map", pickle.dumps(Gadget(builtins.list, Gadget(map, eval, [code])))
    yield "os.execv", pickle.dumps(Gadget(os.execv, "/bin/touch", ["touch", str(marker)]))
    yield "os.remove", pickle.dumps(Gadget(os.remove, str(marker.parent / "kept")))
    yield "copyreg", pickle.dumps(Gadget(copyreg._reconstructor, subprocess.Popen, object, None))
    yield "object of Popen", b"csubprocess\nPopen\n(V" + shell.encode() + b"\nt\x81."
    yield "instance", f"(S'{shell}'\nios\nsystem\n.".encode()
    yield "obj", b"(cos\nsystem\nV" + shell.encode() + b"\no."
    yield "build", b"cos\nsystem\n)R}V__setstate__\ncos\nsystem\nsbV" + shell.encode() + b"\nb."
    yield "extension", b"\x82\x01(V" + shell.encode() + b"\ntR."
    for module, name in (
        ("posix", "system"),
        ("nt", "system"),
        ("__builtin__", "eval"),
        ("commands", "getoutput"),
        ("pty", "spawn"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch.serialization", "load"),
        ("torch.utils.cpp_extension", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("torch._utils", "_import_dotted_name"),
        ("numpy", "load"),
        ("numpy.testing._private.utils", "runstring"),
        ("pip._internal.cli.main", "main"),
        ("os.path\x1b[31m", "system"),
        ("some_package.module", "function"),
    ):
        yield f"{module!a}.{name}", raw_gadget(module, name, shell)


def written(path: Path, data: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(data)
    return path


# --- gguf ---------------------------------------------------------------------------------------------------------


class Gguf:
    """Writes GGUF files of any version and order of bytes, right or wrong."""

    def __init__(self, version: int = 3, order: str = "<") -> None:
        """Begin an empty file."""
        self.version, self.order = version, order
        self.pairs: list[bytes] = []
        self.infos: list[bytes] = []
        self.data = b""

    def count(self, number: int) -> bytes:
        """Return a count, length or dimension."""
        return struct.pack(self.order + ("I" if self.version == 1 else "Q"), number)

    def text(self, text: str | bytes) -> bytes:
        """Return a string."""
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        return self.count(len(data)) + data

    def u32(self, number: int) -> bytes:
        """Return a number of 4 bytes."""
        return struct.pack(self.order + "I", number)

    def pair(self, key: str | bytes, kind: int, value: bytes) -> Gguf:
        """Add a key and its value."""
        self.pairs.append(self.text(key) + self.u32(kind) + value)
        return self

    def tensor(self, name: str | bytes, shape: tuple[int, ...], kind: int, offset: int) -> Gguf:
        """Add a tensor; the shape in ggml's order."""
        dimensions = b"".join(map(self.count, shape))
        place = struct.pack(self.order + "Q", offset)
        self.infos.append(self.text(name) + self.u32(len(shape)) + dimensions + self.u32(kind) + place)
        return self

    def done(self, data: bytes = b"", tensors: int | None = None, pairs: int | None = None, align: int = 32) -> bytes:
        """Return the file."""
        head = b"GGUF" + self.u32(self.version)
        head += self.count(len(self.infos) if tensors is None else tensors)
        head += self.count(len(self.pairs) if pairs is None else pairs)
        head += b"".join(self.pairs) + b"".join(self.infos)
        return head + bytes(-len(head) % align) + data


# --- what runs ----------------------------------------------------------------------------------------------------


class Audit:
    """Records what the interpreter is asked to do while it is on: opened files, processes, code, maps."""

    def __init__(self) -> None:
        """Hook into the interpreter, for good: such hooks can't be taken off."""
        self.events: list[tuple[str, tuple[object, ...]]] = []
        self.on = False
        sys.addaudithook(self._note)

    def _note(self, event: str, args: tuple[object, ...]) -> None:
        if self.on and event in WATCHED:
            self.events.append((event, args))

    def watching(self, action: Callable[[], object]) -> list[str]:
        """Run `action` and return the events that happened."""
        self.events.clear()
        self.on = True
        try:
            action()
        finally:
            self.on = False
        return [event for event, _ in self.events]


WATCHED = frozenset({
    "compile", "exec", "import", "mmap.__new__", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.remove",
    "os.spawn", "os.system", "pickle.find_class", "pty.spawn", "shutil.rmtree", "socket.connect", "subprocess.Popen",
    "webbrowser.open",
})  # fmt: skip
"""Events that no reader of a checkpoint causes."""
