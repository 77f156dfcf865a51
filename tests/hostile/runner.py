"""Opens cases in this process, watched: `python runner.py FOLDER FAMILY…` prints a line of JSON for each.

A process of its own, so that a limit of memory, a death by signal or a hang is a case's and not the test run's. Who
starts it sets `environment(FOLDER)`.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import sysconfig
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from cases import OK, WARN, Case
from checkpoint_files import assert_sound, printable
from corpus_files import gguf, indices, safetensors
from corpus_pickles import dcp, torch_files
from corpus_system import configs, ids, objects

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.sources import open_source

FAMILIES = {
    "safetensors": safetensors,
    "index": indices,
    "gguf": gguf,
    "torch": torch_files,
    "dcp": dcp,
    "object": objects,
    "id": ids,
    "config": configs,
}
"""What yields each family's cases; `torch` has the archives too."""

HEAVY = ("config", "id")
"""Families that import transformers, which imports and reads its own."""

FORBIDDEN = frozenset({
    "builtins.input", "mmap.__new__", "os.exec", "os.fork", "os.forkpty", "os.kill", "os.posix_spawn", "os.remove",
    "os.rename", "os.spawn", "os.system", "pickle.find_class", "pty.spawn", "shutil.rmtree", "socket.connect",
    "socket.getaddrinfo", "subprocess.Popen", "webbrowser.open",
})  # fmt: skip
"""What no local target may cause, in Python's audit events."""

CODE = tuple(
    os.path.realpath(path) + os.sep
    for path in {
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        str(Path(__file__).parents[2] / "explorer"),
        sys.base_prefix + "/lib",
    }
)
"""Where Python's own files are read from."""

HERE = Path(__file__).parent


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a run: imports, an empty cache, a hub that would refuse the connection."""
    paths = (HERE, HERE.parent / "sources", HERE.parents[1])
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "HF_HOME": str(folder / "hf"),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "0",
        "TRANSFORMERS_VERBOSITY": "error",
    }


class Watch:
    """Notes what a case does, by Python's audit hooks."""

    def __init__(self) -> None:
        """Hook in, for good."""
        self.happened: list[str] | None = None
        self.allowed: tuple[str, ...] = ()
        sys.addaudithook(self._note)

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        if self.happened is None:
            return
        if event in FORBIDDEN:
            self.happened.append(f"{event}{args!r}"[:300])
        elif event == "open" and isinstance(args[0], str | bytes):
            path = os.path.realpath(os.fsdecode(args[0]))
            if not path.startswith(self.allowed):
                self.happened.append(f"open {path!a}")


def run(case: Case, root: Path, folder: Path, watch: Watch) -> dict[str, Any]:
    """Open a case and return what came out."""
    made = case.make(folder)
    told: dict[str, Any] = {"id": case.id, "expected": case.expected}
    # A link that the user names is the user's to follow.
    with suppress(OSError, ValueError):
        watch.allowed = (str(folder.resolve()) + os.sep, str(made), os.path.realpath(made), *CODE)
    if case.family in HEAVY:
        watch.allowed += (str((root / "hf").resolve()), os.devnull, "/proc/", "/sys/", "/usr/")
    signal.setitimer(signal.ITIMER_REAL, case.seconds)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    watch.happened = happened = []
    try:
        model = open_source(OpenSpec(str(made), offline=case.family == "id"), lambda _: None)
        watch.happened = None
        assert_sound(model)
        told["findings"] = [finding.message for finding in model.findings]
        warned = any(finding.severity in ("warning", "error") for finding in model.findings)
        told["outcome"] = WARN if warned else OK
    except ParamxError as error:
        watch.happened = None
        told |= {"outcome": "error", "line": error.line}
        if not error.line or not printable(error.line):
            told |= {"outcome": "bad line"}
    except BaseException as error:
        watch.happened = None
        told |= {"outcome": "traceback", "line": "".join(traceback.format_exception(error))[-3000:]}
    signal.setitimer(signal.ITIMER_REAL, 0)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    told |= {"seconds": round(time.monotonic() - began, 2), "megabytes": grown, "happened": happened}
    if case.told and case.told not in " ".join([told.get("line", ""), *told.get("findings", ())]):
        told["unsaid"] = case.told
    told["ran"] = (folder / "ran").exists()
    return told


def main(root: Path, families: list[str]) -> Iterator[dict[str, Any]]:
    """Run every case of some families."""
    watch = Watch()
    (root / "outside").mkdir(exist_ok=True)
    (root / "outside" / "secret.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    if set(families) & set(HEAVY):
        # Once unwatched: libraries import and try out more when they are first used.
        (root / "warm").mkdir()
        open_source(OpenSpec(str(next(iter(configs())).make(root / "warm"))), lambda _: None)
    else:
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    number = 0
    for family in families:
        for case in FAMILIES[family]():
            number += 1
            folder = root / f"{family}{number}"
            folder.mkdir()
            os.chdir(folder)
            yield {"began": case.id}
            yield run(case, root, folder, watch)
            os.chdir(root)
            shutil.rmtree(folder)


if __name__ == "__main__":
    output = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(2, 1)  # what libraries print
    for line in main(Path(sys.argv[1]), sys.argv[2:]):
        print(json.dumps(line), file=output, flush=True)
