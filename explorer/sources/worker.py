"""Opens targets in a child process: torch never enters the interface's process, and a kill stops everything at once.

The parent writes requests to the child's standard input and reads frames from a pipe of its own; what libraries
print goes to a third pipe, of which only the end is kept. On both pipes a message is 1 byte kind, 8 bytes
little-endian length, then the payload:

    request   R  UTF-8 JSON {"request": "open", "spec": {…}}
              R  UTF-8 JSON {"request": NAME, "number": N, "arguments": {…}}, once the model is open
    frame     S  a stage begins: its text, UTF-8
    frame     L  loaded: the table, see `explorer.core.wire`
    frame     F  failed: the line to show, UTF-8
    frame     J  answer: 8 bytes little-endian number of its request, then UTF-8 JSON
    frame     B  answer: the same number, then bytes as they are
    frame     E  no answer: the same number, then the line that says why, UTF-8

The child ends when its standard input does, and with its lifeline (`explorer.sources.lifeline`), so that it never
outlives the interface, however that dies and whatever keeps the child busy.
"""

from __future__ import annotations

import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from explorer.core.errors import LostError, ParamxError
from explorer.core.loading import Event, Failed, Loaded, OpenSpec, Stage
from explorer.core.paths import GONE, current_directory
from explorer.core.text import QUOTED, visible
from explorer.core.wire import decode, encode
from explorer.sources import out_of_memory
from explorer.sources.forked import ForkedProcess, can_fork
from explorer.sources.lifeline import tie
from explorer.sources.unexpected import unexpected

if TYPE_CHECKING:
    from explorer.sources import Opened

Process = subprocess.Popen[bytes] | ForkedProcess
"""A worker, of either kind."""

STAGE, LOADED, FAILED, REQUEST, JSON, BYTES, ERROR = b"S", b"L", b"F", b"R", b"J", b"B", b"E"
"""Kinds of messages, as the module's docstring lays them out."""

TREE = "tree"
"""The one request that every open model answers, whatever its source: see `explorer.core.tree_wire`."""

HEAD_BYTES = 9
"""Bytes before a message's payload: kind and length."""

NUMBER_BYTES = 8
"""Bytes before an answer's content: the number of its request."""

MAX_REQUEST = 1 << 20
"""Longest request in bytes; a target is a path or a name."""

LOG_BYTES = 16_384
"""How much of what the child's libraries print is kept, from the end, in bytes."""

REAP_SECONDS = 1.0
"""How long a killed worker is waited for; one stuck in a disk read is left to the system."""

WORKER_ENVIRONMENT = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYTHONUNBUFFERED": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
"""What the worker's libraries are told by environment: to be quiet."""

# Not `-m explorer.sources.worker`: that looks for modules in the current directory first, where a `torch.py` or
# `random.py` may lie. Safe path (-P) leaves it out, and the package is taken from where this file is, whether it
# is installed or a source checkout.
_BOOT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("explorer", sys.argv[1] + "/__init__.py",
                                              submodule_search_locations=[sys.argv[1]])
sys.modules["explorer"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from explorer.sources.worker import serve
serve(*map(int, sys.argv[2:]))
"""


def open_in_worker(spec: OpenSpec, fork: bool = False) -> WorkerLoading:
    """Start to open a target in a worker process and return at once (an `explorer.core.loading.Opener`).

    Args:
        spec: What to open.
        fork: Whether the worker may be a copy of this process, which starts sooner: this process is small still, and
            no thread of it works.
    """
    return WorkerLoading(spec, fork)


class WorkerLoading:
    """An opening in a worker process, which stays alive after `Loaded` until `cancel`, or until this is dropped."""

    def __init__(self, spec: OpenSpec, fork: bool = False) -> None:
        """Start the worker, a copy of this process if it may be, and send it the request."""
        self._spec = spec
        self._log = bytearray()
        self._cancelled = False
        self._over = False
        self._loaded = False
        self._asked = 0
        self._asking = threading.Lock()
        self._stage = "starting"
        self._kills = out_of_memory.kills()
        reading, writing = os.pipe()
        lifeline, held = os.pipe()
        try:
            process = _start(spec, (writing, lifeline), fork and can_fork())
        except BaseException:
            os.close(reading)
            os.close(held)
            raise
        finally:
            os.close(writing)
            os.close(lifeline)
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._frames: BinaryIO = open(reading, "rb")  # noqa: SIM115, PTH123 - a pipe that lives as long as the worker
        life = open(held, "wb", buffering=0)  # noqa: SIM115, PTH123 - as above, and the worker as long as it
        self._kill = weakref.finalize(self, _end, process, self._frames, life)
        self._drain = threading.Thread(target=_keep_end, args=(process.stdout, self._log), daemon=True)
        self._drain.start()
        request = json.dumps({"request": "open", "spec": asdict(spec)}).encode()
        with suppress(BrokenPipeError):  # the worker died already: `events` tells how
            _send(process.stdin, REQUEST, request)

    def events(self) -> Iterator[Event]:
        """Yield what happens, blocking between events; ends after `Loaded` or `Failed`, or at once after `cancel`."""
        while not (self._cancelled or self._over):
            event = self._next()
            if self._cancelled:
                return
            self._over = not isinstance(event, Stage)
            self._loaded = isinstance(event, Loaded)
            if self._loaded:
                self._stage = ""
            yield event

    def lost(self) -> str | None:
        """Wait until the worker is gone; return the line that says how, `None` after `cancel`."""
        if hasattr(os, "waitid"):  # before Python 3.13 macOS lacks it
            with suppress(ChildProcessError):  # `cancel` was quicker
                # Left to be reaped: until then its number is its own, and what it started can be killed.
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._process.wait()
        return None if self._cancelled else self._how_it_died()

    def _next(self) -> Event:
        """Wait for the next event."""
        try:
            message = _receive(self._frames)
            if message is None:
                return Failed(self._how_it_died(), lost=True)
            kind, payload = message
            if kind == STAGE:
                self._stage = payload.decode(errors="replace")
                return Stage(self._stage)
            return Loaded(decode(payload)) if kind == LOADED else Failed(payload.decode(errors="replace"))
        except ValueError as error:  # frames that do not read back, or that `cancel` closed meanwhile
            return Failed(unexpected(self._spec.target, error).line)

    def ask(self, request: str, arguments: Mapping[str, Any]) -> Any:
        """Ask the worker about the model it opened, and wait for the answer; from any thread, one after another.

        Args:
            request: One of the names in `Opened.answers` of the source that opened the model.
            arguments: What JSON can hold.

        Returns:
            What JSON can hold, or bytes.

        Raises:
            ParamxError: Nothing is open, the source does not answer this, it failed, or the worker died.
        """
        target = self._spec.target
        with self._asking:
            if self._cancelled or not self._loaded:
                raise ParamxError(target, "it is not open" if self._cancelled else "it is not open yet")
            self._asked += 1
            self._stage = f"asked for {request}"
            message = {"request": request, "number": self._asked, "arguments": dict(arguments)}
            text = json.dumps(message).encode()
            if len(text) > MAX_REQUEST:
                raise ParamxError(target, f"a request of {len(text):,} bytes is too long")
            try:
                _send(self._process.stdin, REQUEST, text)
                answer = _receive(self._frames)
                self._stage = "" if answer is not None else self._stage
            except (OSError, ValueError):  # the worker died, or `cancel` closed the pipes meanwhile
                answer = None
            if answer is None:
                raise LostError("", self._how_it_died()) if not self._cancelled else ParamxError(target, "closed")
            return self._content(*answer)

    def _content(self, kind: bytes, payload: bytes) -> Any:
        number, content = int.from_bytes(payload[:NUMBER_BYTES], "little"), payload[NUMBER_BYTES:]
        if kind not in (JSON, BYTES, ERROR) or number != self._asked:
            self.cancel()  # what follows on the pipe can't be told apart any more
            raise ParamxError(self._spec.target, "the worker gave an answer to another question", "open it again")
        if kind == ERROR:
            raise ParamxError("", content.decode(errors="replace"))
        return json.loads(content) if kind == JSON else content

    def cancel(self) -> None:
        """Kill the worker and its children and reap it, from any thread. Harmless when already over."""
        self._cancelled = True
        self._kill()

    def _how_it_died(self) -> str:
        """Say why the frames ended without a result."""
        _kill_orphans(self._process)
        try:
            code = self._process.wait(REAP_SECONDS)
        except subprocess.TimeoutExpired:
            return ParamxError(self._spec.target, "the worker closed its pipe and went on", "try again").line
        self._drain.join(REAP_SECONDS)
        text = bytes(self._log).decode(errors="replace")
        last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
        doing = f" while {self._stage}" if self._stage else ""
        seconds = out_of_memory.out_of_time() if code in (-signal.SIGKILL, -signal.SIGXCPU) else None
        if seconds is not None:
            limit = f"a process may use {seconds} s of processor time here"
            why = f"the worker was killed (signal {-code}){doing}: {limit}"
            return ParamxError(self._spec.target, why, "raise the limit (ulimit -t)").line
        if code == -signal.SIGKILL:
            before, now = self._kills, out_of_memory.kills()
            short = before is not None and now is not None and now > before
            why = f"the worker was killed (signal 9){doing}" + (": the system ran out of memory" if short else "")
            return ParamxError(self._spec.target, why, out_of_memory.REMEDY if short else "").line
        short = out_of_memory.says_so(last) or code == -out_of_memory.SEARCHED
        if code < 0:
            with suppress(ValueError):
                last = f"{signal.Signals(-code).name} {last}".strip()
            why = f"the worker crashed (signal {-code}){doing}"
        else:
            why = f"the worker ended (exit {code}){doing}"
        if short:
            return ParamxError(self._spec.target, f"{why}: {out_of_memory.shortage()}", out_of_memory.REMEDY).line
        remedy = "the current directory was deleted: change to another" if current_directory() == GONE else ""
        return ParamxError(self._spec.target, f"{why}: {last[:QUOTED].rstrip('.')}" if last else why, remedy).line


def _start(spec: OpenSpec, pipes: tuple[int, int], fork: bool) -> Process:
    """Start a worker with its ends of two pipes: what `serve` takes."""
    if fork:
        return ForkedProcess(lambda: serve(*pipes), pipes, _environment(spec))
    # A session of its own: no terminal to prompt at, and one kill reaches the worker's own children too.
    return subprocess.Popen(  # noqa: S603 - this interpreter, and no shell
        [sys.executable, "-P", "-c", _BOOT, str(Path(__file__).parents[1]), *map(str, pipes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=pipes,
        start_new_session=True,
        env=_environment(spec),
        bufsize=0,
    )


def _environment(spec: OpenSpec) -> dict[str, str]:
    """Return the worker's environment."""
    environment = {**os.environ, **WORKER_ENVIRONMENT}
    if spec.offline:
        environment["HF_HUB_OFFLINE"] = "1"
    if path := environment.get("PYTHONPATH"):
        # An empty entry, left by `PYTHONPATH=$PYTHONPATH:…`, means the current directory.
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, path.split(os.pathsep)))
    return environment


def _end(process: Process, *pipes: BinaryIO) -> None:
    """Kill the worker's whole group, reap the worker, close the pipes."""
    if process.returncode is None:  # once reaped, its number may be another's
        for kill in (os.killpg, os.kill):  # a copy of a moment ago leads no group yet
            with suppress(ProcessLookupError, PermissionError):
                kill(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(REAP_SECONDS)
    for pipe in (process.stdin, *pipes):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def _kill_orphans(process: Process) -> None:
    """Wait for a worker that ended by itself, and kill what it started, while its number is still its own."""
    if not hasattr(os, "waitid"):  # before Python 3.13 macOS lacks it
        return
    until = time.monotonic() + REAP_SECONDS
    with suppress(OSError):  # `cancel` reaped it, and killed its group before
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > until:
                return
            time.sleep(0.005)
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)


def _keep_end(pipe: BinaryIO | Any, log: bytearray) -> None:
    """Read what the worker prints until it ends, keeping the last `LOG_BYTES`."""
    with pipe:
        while chunk := pipe.read(4096):
            log += chunk
            del log[:-LOG_BYTES]


def _send(pipe: Any, kind: bytes, payload: bytes) -> None:
    """Write one message whole; an unbuffered pipe takes it in parts."""
    rest = memoryview(kind + len(payload).to_bytes(8, "little") + payload)
    while rest:
        rest = rest[pipe.write(rest) :]


def _receive(pipe: BinaryIO) -> tuple[bytes, bytes] | None:
    """Read one message; `None` when the pipe has ended, also in the middle of one."""
    head = pipe.read(HEAD_BYTES)
    if len(head) < HEAD_BYTES:
        return None
    length = int.from_bytes(head[1:], "little")
    payload = pipe.read(length)
    return (head[:1], payload) if len(payload) == length else None


# --- in the child -------------------------------------------------------------------------------------------------

Reply = Callable[[bytes, bytes], None]
"""Sends a frame: kind and payload."""


def serve(frames_fd: int, lifeline: int) -> None:
    """Answer requests until standard input ends; the worker's whole life.

    Args:
        frames_fd: The pipe that frames go to, inherited from the parent.
        lifeline: The pipe whose end is the worker's, inherited too.
    """
    tie(lifeline)
    os.set_inheritable(frames_fd, False)
    os.set_inheritable(lifeline, False)
    requests_fd = os.dup(0)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)  # `input()` in a library ends at once instead of eating requests
    os.close(nowhere)
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests_fd, waiting), daemon=True).start()
    with io.FileIO(frames_fd, "wb") as frames:

        def reply(kind: bytes, payload: bytes) -> None:
            _send(frames, kind, payload)

        opened = _open(waiting.get(), reply)
        while True:  # after a failure too: the parent's end of input is what ends the worker
            _answer(opened, waiting.get(), reply)


def _listen(fd: int, waiting: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Queue requests; at the end of input the parent is gone, and so is the reason to live."""
    with open(fd, "rb") as pipe:
        while True:
            head = pipe.read(HEAD_BYTES)
            length = int.from_bytes(head[1:], "little")
            if len(head) < HEAD_BYTES or length > MAX_REQUEST:
                os._exit(0)
            waiting.put(json.loads(pipe.read(length)))


def _open(request: dict[str, Any], reply: Reply) -> Opened | None:
    """Answer the first request with stages, then the table or the reason there is none; keep what is open."""
    spec = OpenSpec(**request["spec"])
    try:
        from explorer.sources import open_served

        opened = open_served(spec, lambda text: reply(STAGE, visible(text).encode()))
        block = encode(opened.model)
    except ParamxError as error:
        reply(FAILED, error.line.encode())
    except Exception as error:  # a stranger's model may raise anything: one line, never a traceback
        reply(FAILED, unexpected(spec.target, error).line.encode())
    else:
        reply(LOADED, block)
        return opened
    return None


def _answer(opened: Opened | None, request: dict[str, Any], reply: Reply) -> None:
    """Answer a request about the open model."""
    name, number = request["request"], request["number"].to_bytes(NUMBER_BYTES, "little")
    try:
        answer = None if opened is None else _tree_of(opened) if name == TREE else opened.answers.get(name)
        if answer is None:
            raise ParamxError(name, "this kind of target does not answer that")
        content = answer(request["arguments"])
        kind, data = (BYTES, content) if isinstance(content, bytes) else (JSON, json.dumps(content).encode())
    except ParamxError as error:
        kind, data = ERROR, error.line.encode()
    except Exception as error:  # as above
        kind, data = ERROR, unexpected(name, error).line.encode()
    reply(kind, number + data)


def _tree_of(opened: Opened) -> Callable[[Mapping[str, Any]], bytes]:
    """Return what answers with the tree of the open model."""
    from explorer.core.tree import Tree
    from explorer.core.tree_wire import encode_tree

    return lambda _: encode_tree(Tree.build(opened.model))
