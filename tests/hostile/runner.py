"""Opens cases in this process, watched: `python runner.py FOLDER SKIP FAMILY…` prints a line of JSON for each.

A process of its own, so that a limit of memory, a death by signal or a hang is a case's and not the test run's: who
starts it (`results_of`) sees with which case it ended, and starts another for the cases after that one.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from cases import OK, WARN, Case
from checkpoint_files import assert_sound, printable
from corpus_files import gguf, indices, safetensors
from corpus_pickles import dcp, torch_files
from corpus_system import beside, configs, ids, objects

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.windows import corners
from explorer.sources import Opened, open_served
from explorer.sources.checkpoint import unchanged

FAMILIES = {
    "safetensors": safetensors,
    "index": indices,
    "gguf": gguf,
    "torch": torch_files,
    "dcp": dcp,
    "object": objects,
    "id": ids,
    "config": configs,
    "beside": beside,
}
"""What yields each family's cases; `torch` has the archives too."""

HEAVY = ("config", "id", "beside")
"""Families that import transformers, which imports and reads its own."""

FORBIDDEN = frozenset({
    "builtins.input", "mmap.__new__", "os.chmod", "os.exec", "os.fork", "os.forkpty", "os.kill", "os.link",
    "os.mkdir", "os.posix_spawn", "os.remove", "os.rename", "os.rmdir", "os.spawn", "os.symlink", "os.system",
    "os.truncate",
    "pickle.find_class", "pty.spawn", "shutil.rmtree", "socket.bind", "socket.connect", "socket.getaddrinfo",
    "socket.sendto", "subprocess.Popen", "webbrowser.open",
})  # fmt: skip
"""What no local target may cause, in Python's audit events."""

CODE = tuple(
    os.path.realpath(path) + os.sep
    for path in {
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        str(Path(__file__).parents[2] / "explorer"),
        str(Path(__file__).parents[2] / "paramx.egg-info"),
        sys.base_prefix + "/lib",
    }
)
"""Where Python's own files are read from, and what an editable install writes beside this project: whoever lists the
entry points of what is installed reads that too."""

HARMLESS = (os.devnull,)
"""What may be opened for writing: nothing of a disk."""

HERE = Path(__file__).parent


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a run: imports, an empty cache, a hub that would refuse the connection."""
    paths = (HERE, HERE.parent / "sources", HERE.parents[1])
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "HF_HOME": str(folder / "hf"),
        "XDG_CACHE_HOME": os.devnull,  # no folder: what another run remembered would keep the worker from building
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
            if args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and path not in HARMLESS:
                self.happened.append(f"write {path!a}")


def run(case: Case, root: Path, folder: Path, watch: Watch) -> dict[str, Any]:
    """Open a case and return what came out."""
    made = case.make(folder)
    told: dict[str, Any] = {"id": case.id, "expected": case.expected}
    # A link that the user names is the user's to follow.
    with suppress(OSError, ValueError):
        watch.allowed = (str(folder.resolve()) + os.sep, str(made), os.path.realpath(made), *CODE)
    if case.family in HEAVY:
        watch.allowed += (str((root / "hf").resolve()), os.devnull, "/proc/", "/sys/", "/usr/")
    signal.setitimer(signal.ITIMER_PROF, case.seconds)
    signal.setitimer(signal.ITIMER_REAL, 5 * case.seconds)  # one that only waits takes no processor time
    before = _memory(reset=True)
    began = time.process_time()
    watch.happened = happened = []
    try:
        spec = OpenSpec(str(made), offline=case.family == "id", skeleton=case.skeleton)
        opened = open_served(spec, lambda _: None)
        told["values"] = list(_values(opened))
        watch.happened = None
        model = opened.model
        assert_sound(model)
        told["findings"] = [finding.message for finding in model.findings]
        warned = any(finding.severity in ("warning", "error") for finding in model.findings)
        told["outcome"] = WARN if warned else OK
        if not len(model) and not model.findings:
            told["outcome"] = "silence"
    except ParamxError as error:
        watch.happened = None
        told |= {"outcome": "error", "line": error.line}
        if not error.line or not printable(error.line):
            told |= {"outcome": "raw text" if error.line else "silence"}
    except BaseException as error:
        watch.happened = None
        told |= {"outcome": "traceback", "line": "".join(traceback.format_exception(error))[-3000:]}
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    grown = (_memory() - before) >> 10
    told |= {"seconds": round(time.process_time() - began, 2), "megabytes": grown, "happened": happened}
    with suppress(OSError):  # maps that a library made without Python, and keeps
        happened += [f"map {line}" for line in Path("/proc/self/maps").read_text().splitlines() if str(root) in line]
    if case.told and case.told not in " ".join([told.get("line", ""), *told.get("findings", ())]):
        told["unsaid"] = case.told
    told["ran"] = (folder / "ran").exists()
    return told


def _memory(*, reset: bool = False) -> int:
    """Return the most memory that this process had at once since the last reset, in KiB; on a reset what it has."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        said = Path("/proc/self/status").read_text()
        return int(said.partition("VmRSS:" if reset else "VmHWM:")[2].split()[0])
    except OSError:  # no Linux: the most that it ever had
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _values(opened: Opened) -> Iterator[str]:
    """Ask for the values of the first tensors, as the screens do; yield what was refused."""
    for row in range(min(3, len(opened.model))):
        for request, wanted in (
            ("tensor", {}),
            ("values", {"selection": corners(opened.model.shapes[row] or ())}),
            ("statistics", {}),
            ("heat", {"leading": [0] * max(0, len(opened.model.shapes[row] or ()) - 2), "rows": 8, "columns": 8}),
        ):
            answer = opened.answers.get(request)
            try:
                for _ in range(3):
                    answered = answer({"index": row, **wanted}) if answer is not None else None
                    if not isinstance(answered, dict) or answered.get("result", 0) is not None:
                        break
            except ParamxError as error:
                assert error.line
                assert printable(error.line)
                yield error.line


def results_of(folder: Path, families: list[str], script: Path = Path(__file__)) -> dict[str, dict[str, Any]]:
    """Run families in a process of their own, in another after one that died; return what came out of each case."""
    found: dict[str, dict[str, Any]] = {}
    skip = 0
    while True:
        place = folder / f"from{skip}"
        place.mkdir()
        with (place / "stderr").open("w+") as errors:
            done = subprocess.run(
                [sys.executable, str(script), str(place), str(skip), *families],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment(place),
                cwd=place,
                check=False,
            )
            errors.seek(0)
            said = errors.read()[-3000:]
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        found |= {line["id"]: line for line in lines if "id" in line}
        if done.returncode == 0:
            return found
        began = [line["began"] for line in lines if "began" in line]
        assert began and began[-1] not in found, f"the runner itself ended with {done.returncode}: {said}"
        died = {"outcome": f"ended with {done.returncode}", "line": said}
        found[began[-1]] = {"id": began[-1], "happened": [], "ran": False, "megabytes": 0} | died
        skip += len(began)


def main(root: Path, skip: int, families: list[str]) -> Iterator[dict[str, Any]]:
    """Run the cases of some families, but for the first `skip`."""
    watch = Watch()
    unchanged.TICK_NS = 0  # no case is written twice: to wait for the clock at each would take 10 s
    (root / "outside").mkdir(exist_ok=True)
    (root / "outside" / "secret.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    if set(families) & set(HEAVY):
        # Once unwatched: libraries import and try out more when they are first used.
        (root / "warm").mkdir()
        good = next(iter(beside()))
        warm = OpenSpec(str(good.make(root / "warm")), skeleton=True)
        for spec in (warm, _config_beside(warm)):
            list(_values(open_served(spec, lambda _: None)))
    else:
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    cases = (case for family in families for case in FAMILIES[family]())
    for number, case in enumerate(islice(cases, skip, None), skip):
        folder = root / f"{case.family}{number}"
        folder.mkdir()
        os.chdir(folder)
        yield {"began": case.id}
        yield run(case, root, folder, watch)
        os.chdir(root)
        shutil.rmtree(folder)


def _config_beside(spec: OpenSpec) -> OpenSpec:
    return OpenSpec(str(Path(spec.target).with_name("config.json")))


def serve(arguments: list[str]) -> None:
    """Be the runner: write lines of JSON to what was standard output; what libraries print goes to standard error."""
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in main(Path(arguments[0]), int(arguments[1]), arguments[2:]):
        print(json.dumps(line), file=output, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1:])
