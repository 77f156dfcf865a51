"""The runner with a program that does what it must not, once each: `runner.py` has to see it.

`python misdeeds.py FOLDER SKIP misdeed`, as `runner.py`.
"""

from __future__ import annotations

import mmap
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import runner
from cases import ERROR, OK, Case

from explorer.core.errors import ParamxError
from explorer.core.param import Finding, Model, Origin, Param
from explorer.sources import Opened

MISDEEDS = {
    "traceback": "traceback",
    "signal": "ended with -11",
    "endless work": "ended with -27",
    "endless wait": "ended with -14",
    "code": "its code ran",
    "prompt": "builtins.input",
    "connection": "socket.connect",
    "look-up": "socket.getaddrinfo",
    "file outside": "open '/etc/hostname'",
    "link outside": "outside/secret.safetensors",
    "file written": "write ",
    "file removed": "os.remove",
    "process": "subprocess.Popen",
    "shell": "os.system",
    "map": "mmap.__new__",
    "kept map": "map ",
    "memory": "MiB",
    "memory for a moment": "MiB",
    "raw error": "raw text",
    "raw finding": "traceback",
    "silent error": "silence",
    "silent table": "silence",
    "wrong words": "does not say",
    "wrong outcome": "error instead of ok",
}
"""Each misdeed, and what has to be said of it."""


def misdeed() -> Iterator[Case]:
    """Yield a case for each; the file of each is called as the misdeed is."""
    for name in MISDEEDS:

        def make(folder: Path, name: str = name) -> Path:
            (folder / name).write_bytes(bytes(4096))
            return folder / name

        expected = OK if name in ("silent table", "raw finding", "wrong outcome") else ERROR
        told = "unheard" if name == "wrong words" else ""
        yield Case("misdeed", name, expected, make, told, seconds=0.3, megabytes=100)


def misbehave(spec: Any, _: object) -> Opened:
    """Do what the target is called."""
    path = Path(spec.target)
    findings: tuple[Finding, ...] = ()
    match path.name:
        case "traceback":
            raise ZeroDivisionError
        case "signal":
            _crash()
        case "endless work":
            while True:
                pass
        case "endless wait":
            time.sleep(60)
        case "code":
            (path.parent / "ran").touch()
        case "prompt":
            with suppress(EOFError):
                input()
        case "connection":
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", 9), 0.1)
        case "look-up":
            with suppress(OSError):
                socket.getaddrinfo("localhost", 9)
        case "file outside":
            with suppress(OSError):
                os.close(os.open("/etc/hostname", os.O_RDONLY))
        case "link outside":
            (path.parent / "link").symlink_to("../outside/secret.safetensors")
            (path.parent / "link").read_bytes()
        case "file written":
            (path.parent / "log").write_text("")
        case "file removed":
            path.unlink()
        case "process":
            subprocess.run(["true"], check=False)
        case "shell":
            os.system("true")
        case "map":
            mmap.mmap(-1, 10)
        case "kept map":
            runner.kept = _mapped_by_c(path)  # type: ignore[attr-defined]
        case "memory":
            runner.held = bytearray(200 << 20)  # type: ignore[attr-defined]
        case "memory for a moment":
            bytearray(b"x") * (200 << 20)
        case "raw error":
            error = ParamxError("x", "y")
            error.why = "\x1b[31m"
            raise error
        case "silent error":
            raise ParamxError("", "")
        case "silent table":
            return Opened(Model.from_params(Origin("x", "test", "test"), []))
        case "raw finding":
            findings = (Finding("x", "hint", "\x1b[31m"),)
            params = [Param(0, "w", (2,), 2, "float32", 8, None, None, None, (), None)]
            return Opened(Model.from_params(Origin("x", "test", "test"), params, findings=findings))
    raise ParamxError("x", "y")


def _crash() -> None:
    import ctypes

    ctypes.string_at(1)


def _mapped_by_c(path: Path) -> int:
    """Map a file without Python's knowing, as a library does."""
    import ctypes

    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, *[ctypes.c_size_t] + [ctypes.c_int] * 3, ctypes.c_long]
    descriptor = os.open(path, os.O_RDONLY)
    return int(libc.mmap(None, 4096, 1, 2, descriptor, 0))


if __name__ == "__main__":
    runner.FAMILIES["misdeed"] = misdeed
    runner.open_served = misbehave  # type: ignore[assignment]
    runner.serve(sys.argv[1:])
