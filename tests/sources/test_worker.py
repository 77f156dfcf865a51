"""The worker process: what it sends, how it ends, and that nothing of the current directory gets into it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from checkpoint_files import safetensors_bytes
from command import alive, wait_for

from explorer import __main__ as command
from explorer import crash
from explorer.core.asking import ask_to_the_end
from explorer.core.errors import ParamxError
from explorer.core.loading import Failed, Loaded, OpenSpec, Stage
from explorer.core.tree import Tree
from explorer.core.tree_wire import decode_tree
from explorer.sources import out_of_memory, worker
from explorer.sources.hf_classes import cannot_build
from explorer.sources.unexpected import unexpected
from explorer.sources.worker import open_in_worker

ROOT = Path(__file__).parents[2]
FACTS = Path(__file__).parents[1] / "facts/kantaibert.json"


BUSY = """
import re, signal
signal.alarm(60)  # a test that fails leaves nothing behind
re.match("(a+)+$", "a" * 99 + "b")
"""
"""A library that never comes back from native code."""


def small(folder):
    """A checkpoint with one tensor."""
    path = folder / "small.safetensors"
    path.write_bytes(safetensors_bytes({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}, bytes(24)))
    return path


def waiting(target):
    """Open a target, and wait in a thread for the end of its worker."""
    loading = open_in_worker(OpenSpec(str(target)))
    list(loading.events())
    told = []
    thread = threading.Thread(target=lambda: told.append(loading.lost()))
    thread.start()
    time.sleep(0.1)
    return loading, told, thread


def limited(folder, monkeypatch, nbytes):
    """Let the worker, and only it, have so much memory."""
    code = f"""
import resource, sys
if any("explorer.sources.worker" in part for part in sys.orig_argv):
    resource.setrlimit(resource.RLIMIT_AS, ({nbytes}, {nbytes}))
"""
    (folder / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def kantaibert(tmp_path_factory):
    """The reference model, opened from a directory full of traps; the worker, its events and its pid."""
    here = tmp_path_factory.mktemp("traps")
    trap = f"open({str(here / 'sprung')!r}, 'a').write(__name__)\nraise SystemExit(3)\n"
    for name in ("torch", "transformers", "random", "json", "numpy", "explorer", "sitecustomize", "builtin"):
        (here / f"{name}.py").write_text(trap)
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("PYTHONPATH", f"{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        os.chdir(here)
        try:
            loading = open_in_worker(OpenSpec("kantaibert"))
        finally:
            os.chdir(before)
    events = list(loading.events())
    yield loading, events, here
    loading.cancel()


class TestKantaibert:
    def test_stages_come_before_the_model(self, kantaibert):
        _, events, _ = kantaibert
        texts = [event.text for event in events[:-1] if isinstance(event, Stage)]
        assert texts[0] == "importing torch"
        assert "building RobertaForMaskedLM" in texts
        assert len(texts) == len(events) - 1
        assert isinstance(events[-1], Loaded)

    def test_every_row_is_as_the_facts_say(self, kantaibert):
        model = kantaibert[1][-1].model
        facts = json.loads(FACTS.read_text())
        assert len(model) == len(facts) == 106
        for param, fact in zip(model, facts, strict=True):
            assert param.index == fact["index"]
            assert param.name == fact["name"]
            assert list(param.shape) == fact["shape"]
            assert param.numel == fact["numel"]
            assert param.module_class.name == fact["module_class"]
            assert list(param.aliases) == fact["aliases"]
            assert (param.dtype, param.device, param.requires_grad) == ("float32", "meta", True)
            assert (param.nbytes, param.shard) == (4 * fact["numel"], None)

    def test_every_counter_is_as_the_facts_say(self, kantaibert):
        model = kantaibert[1][-1].model
        counters = model.counters
        assert counters.loop == counters.num_parameters == counters.trainable == model.total == 83_504_416
        assert counters.without_embeddings == 43_172_896
        assert (counters.state_dict_tensors, counters.state_dict_elements) == (108, 123_492_416)

    def test_where_it_came_from(self, kantaibert):
        origin = kantaibert[1][-1].model.origin
        assert origin.description == "built-in architecture, no weights"
        assert (origin.class_name, origin.model_type, origin.kind) == (
            "RobertaForMaskedLM",
            "roberta",
            "transformers",
        )
        assert set(origin.versions) == {"torch", "transformers", "python"}
        assert origin.config["vocab_size"] == 52000

    def test_nothing_of_the_current_directory_is_imported(self, kantaibert):
        assert not (kantaibert[2] / "sprung").exists()

    def test_the_worker_stays_until_it_is_cancelled(self, kantaibert):
        loading = kantaibert[0]
        pid = loading._process.pid
        assert loading._process.poll() is None
        loading.cancel()
        loading.cancel()
        assert not alive(pid)
        assert list(loading.events()) == []


@pytest.fixture
def coded(tmp_path):
    """A repository whose own code prints, prompts, starts a child and then sleeps."""
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "odd", "auto_map": {"AutoConfig": "code_odd.OddConfig"}, "architectures": ["Odd"]})
    )
    (tmp_path / "code_odd.py").write_text(
        textwrap.dedent(f"""
            import os, subprocess, sys, time
            print("noise" * 50_000)
            os.write(1, b"L\\0\\0\\0\\0\\0\\0\\0\\0" * 10)
            try:
                input("Do you wish to run the custom code? [y/N] ")
            except EOFError:
                child = subprocess.Popen(["sleep", "300"])
                with open({str(tmp_path / "child.part")!r}, "w") as file:
                    file.write(str(child.pid))
                os.rename({str(tmp_path / "child.part")!r}, {str(tmp_path / "child")!r})
            time.sleep(300)
        """)
    )
    return tmp_path


class TestCancel:
    def test_cancel_while_torch_is_imported_waits_for_no_import(self):
        loading = open_in_worker(OpenSpec("kantaibert"))
        events = loading.events()
        assert next(events) == Stage("importing torch")

        def cancel():
            time.sleep(0.3)
            loading.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        assert not any(isinstance(event, Loaded | Failed) for event in events)
        thread.join()
        assert not alive(loading._process.pid)

    def test_cancel_before_the_first_event(self):
        loading = open_in_worker(OpenSpec("kantaibert"))
        loading.cancel()
        assert list(loading.events()) == []
        assert not alive(loading._process.pid)

    def test_noise_stays_out_of_the_frames_and_the_worker_s_children_go_with_it(self, coded, capfd):
        loading = open_in_worker(OpenSpec(str(coded), trust_remote_code=True))
        seen = []
        thread = threading.Thread(target=lambda: seen.extend(loading.events()))
        thread.start()
        wait_for((coded / "child").exists, 60)
        child = int((coded / "child").read_text())
        assert alive(child)
        loading.cancel()
        thread.join(5)
        assert not thread.is_alive()
        wait_for(lambda: not alive(child), 2)
        assert all(isinstance(event, Stage) for event in seen)
        assert len(loading._log) <= worker.LOG_BYTES
        assert capfd.readouterr() == ("", "")

    def test_a_dropped_loading_takes_its_worker_along(self):
        loading = open_in_worker(OpenSpec("kantaibert"))
        pid = loading._process.pid
        del loading
        wait_for(lambda: not alive(pid), 2)


class TestDeath:
    def killed_by(self, number):
        loading = open_in_worker(OpenSpec("kantaibert"))
        events = loading.events()
        next(events)
        os.kill(loading._process.pid, number)
        (last,) = [event for event in events if not isinstance(event, Stage)]
        loading.cancel()
        return last.line

    def test_a_killed_worker_is_told_and_no_reason_is_made_up(self, monkeypatch):
        monkeypatch.setattr(out_of_memory, "kills", lambda: 7)
        line = self.killed_by(signal.SIGKILL)
        assert line == "kantaibert: the worker was killed (signal 9) while importing torch"

    def test_memory_is_named_where_the_system_killed_for_it_meanwhile(self, monkeypatch):
        counts = iter([7, 8])
        monkeypatch.setattr(out_of_memory, "kills", lambda: next(counts))
        line = self.killed_by(signal.SIGKILL)
        told = "kantaibert: the worker was killed (signal 9) while importing torch: the system ran out of memory;"
        assert line.startswith(told)
        assert line.endswith("; free some memory, or open it on a larger machine")

    def test_a_system_that_does_not_count_is_not_guessed_about(self, monkeypatch):
        monkeypatch.setattr(out_of_memory, "kills", lambda: None)
        assert "memory" not in self.killed_by(signal.SIGKILL)

    @pytest.mark.parametrize(("used", "told"), [(0.94, True), (0.5, False)])
    def test_a_limit_of_processor_time_is_named_where_it_is_used_up(self, used, told, monkeypatch):
        monkeypatch.setattr(out_of_memory.resource, "getrlimit", lambda which: (1, 1))
        usage = SimpleNamespace(ru_utime=used, ru_stime=0.02)
        monkeypatch.setattr(out_of_memory.resource, "getrusage", lambda who: usage)
        line = self.killed_by(signal.SIGKILL)
        assert line.endswith(": a process may use 1 s of processor time here; raise the limit (ulimit -t)") == told

    def test_the_system_s_counter_is_read(self, tmp_path):
        (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 4\noom 2\noom_kill 3\noom_group_kill 1\n")
        assert out_of_memory._counter(tmp_path / "memory.events") == 3
        if "oom_kill " in Path("/proc/vmstat").read_text():
            assert isinstance(out_of_memory.kills(), int)

    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            ImportError("libblas.so: failed to map segment from shared object", name="_fblas"),
            SystemError("error return without exception set"),
            SystemError("<built-in function compile> returned NULL without setting an exception"),
            RuntimeError("can't start new thread"),
        ],
    )
    def test_what_fails_below_a_limit_of_memory_is_told_as_that(self, error, monkeypatch):
        monkeypatch.setattr(out_of_memory, "_limit", lambda: 1 << 30)
        told = "out of memory: a process may have 1.00 GiB here; free some memory, or open it on a larger machine"
        assert unexpected("x", error).line == f"x: {told}"
        assert cannot_build("x", "BertModel", error).line == f"x: {told}"
        assert crash.describe(error) == told

    def test_memory_that_is_too_short_to_tell_more_is_told(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "explorer.sources", None)  # importing it fails
        assert crash.describe(TypeError("anything")) == "out of memory"
        assert command.describe is crash.describe, "what tells it is imported before memory runs out"

    @pytest.mark.parametrize("mebibytes", [200, 700])
    def test_memory_that_really_runs_out_is_told_as_that(self, mebibytes, tmp_path, monkeypatch):
        limited(tmp_path, monkeypatch, mebibytes << 20)
        loading = open_in_worker(OpenSpec("kantaibert"))
        *_, last = loading.events()
        loading.cancel()
        assert isinstance(last, Failed)
        told = f"kantaibert: out of memory: a process may have {mebibytes} MiB here; free some memory"
        assert last.line.startswith(told)

    def test_an_import_that_looks_for_memory_for_ever_is_ended(self, tmp_path, monkeypatch):
        limited(tmp_path, monkeypatch, 1 << 40)
        with (tmp_path / "sitecustomize.py").open("a") as file:
            file.write("import signal; late = signal.setitimer\n")
            file.write("signal.setitimer = lambda which, seconds: late(which, seconds / 600)\n")
        (tmp_path / "torch.py").write_text(BUSY)
        *_, last = open_in_worker(OpenSpec("kantaibert")).events()
        told = f"the worker crashed (signal 27) while importing torch: out of memory; {out_of_memory.REMEDY}"
        assert last == Failed(f"kantaibert: {told}", lost=True)

    def test_only_an_import_below_a_limit_is_timed(self, monkeypatch):
        monkeypatch.setattr(out_of_memory, "_limit", lambda: None)
        with out_of_memory.importing():
            assert signal.getitimer(signal.ITIMER_PROF)[0] == 0
        monkeypatch.setattr(out_of_memory, "_limit", lambda: 1 << 30)
        with out_of_memory.importing():
            assert signal.getitimer(signal.ITIMER_PROF)[0] > 0
        assert signal.getitimer(signal.ITIMER_PROF)[0] == 0

    def test_an_answer_that_finds_no_memory_says_so_and_the_worker_goes_on(self, tmp_path):
        limit = resource.prlimit(os.getpid(), resource.RLIMIT_AS)
        loading = open_in_worker(OpenSpec(str(small(tmp_path))))
        *_, last = loading.events()
        assert isinstance(last, Loaded)
        pid = loading._process.pid
        size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(pid, resource.RLIMIT_AS, (size + (1 << 20), limit[1]))
        with pytest.raises(ParamxError, match="out of memory: a process may have"):
            loading.ask("statistics", {"index": 0})
        resource.prlimit(pid, resource.RLIMIT_AS, limit)
        assert ask_to_the_end(loading.ask, "statistics", {"index": 0}) is not None
        loading.cancel()

    def test_who_waits_learns_at_once_that_the_worker_is_gone(self, tmp_path):
        loading, told, thread = waiting(small(tmp_path))
        assert not told, "it waits"
        os.kill(loading._process.pid, signal.SIGKILL)
        thread.join(20)
        assert told == [f"{tmp_path / 'small.safetensors'}: the worker was killed (signal 9)"]

    def test_who_waits_learns_nothing_of_a_worker_that_was_ended(self, tmp_path):
        loading, told, thread = waiting(small(tmp_path))
        loading.cancel()
        thread.join(20)
        assert told == [None]

    def test_a_crash_tells_its_signal(self):
        assert "crashed (signal 11) while importing torch: SIGSEGV" in self.killed_by(signal.SIGSEGV)

    def test_a_crash_where_there_is_no_current_directory_says_so(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        tmp_path.rmdir()
        assert self.killed_by(signal.SIGSEGV).endswith("; the current directory was deleted: change to another")

    def test_a_crashed_worker_s_children_go_with_it(self, tmp_path, monkeypatch):
        note = tmp_path / "pid"
        monkeypatch.setattr(
            worker,
            "_BOOT",
            f"import subprocess, sys; open({str(note)!r}, 'w').write(str(subprocess.Popen(['sleep', '300']).pid))",
        )
        (event,) = open_in_worker(OpenSpec("x")).events()
        assert event == Failed("x: the worker ended (exit 0) while starting", lost=True)
        wait_for(lambda: not alive(int(note.read_text())), 2)

    def test_frames_that_do_not_read_back_are_a_failure(self, monkeypatch):
        boot = "import os, sys; os.write(int(sys.argv[2]), b'L' + (3).to_bytes(8, 'little') + b'abc')"
        monkeypatch.setattr(worker, "_BOOT", boot)
        (event,) = open_in_worker(OpenSpec("x")).events()
        assert event == Failed("x: ValueError: not an encoded model")

    def test_an_interpreter_that_does_not_start_tells_its_last_line(self, monkeypatch):
        monkeypatch.setattr(worker, "_BOOT", "import sys; sys.stderr.write('x\\nlost \\x1b[31m it\\n'); sys.exit(7)")
        (event,) = open_in_worker(OpenSpec("x")).events()
        assert event == Failed("x: the worker ended (exit 7) while starting: lost \\x1b[31m it", lost=True)

    def test_a_worker_that_ends_for_want_of_memory_is_told_so(self, monkeypatch):
        said = "cannot allocate memory for thread-local data: ABORT"
        monkeypatch.setattr(worker, "_BOOT", f"import sys; sys.stderr.write({said!r}); sys.exit(127)")
        (event,) = open_in_worker(OpenSpec("x")).events()
        assert event.line.startswith("x: the worker ended (exit 127) while starting: out of memory")
        assert "ABORT" not in event.line

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it dies when Python runs in it again")
    @pytest.mark.parametrize("fork", [False, True])
    def test_the_worker_dies_with_its_parent_though_it_never_looks(self, fork, tmp_path):
        busy = tmp_path / "busy"
        busy.touch()
        torch = f"import os\nos.fork()\nprint(os.getpid(), file=open({str(busy)!r}, 'a'))\n{BUSY}"
        (tmp_path / "torch.py").write_text(torch)
        code = """
            import sys, time
            from explorer.core.loading import OpenSpec
            from explorer.sources.worker import open_in_worker
            loading = open_in_worker(OpenSpec("kantaibert"), bool(int(sys.argv[1])))
            time.sleep(300)
        """
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(int(fork))], cwd=tmp_path, env=environment
        ) as parent:
            # The worker and what it started, both in native code that keeps the interpreter to itself.
            pids = wait_for(lambda: len(pids := busy.read_text().split()) == 2 and pids)
            assert all(alive(int(pid)) for pid in pids)
            parent.kill()
        wait_for(lambda: not any(alive(int(pid)) for pid in pids))


class TestTree:
    def test_a_worker_lays_the_tree_of_what_it_opened_out(self, tmp_path):
        path = tmp_path / "x.safetensors"
        names = [f"layers.{n}.{leaf}" for n in (0, 10, 2) for leaf in ("weight", "bias")]
        header = {
            name: {"dtype": "U8", "shape": [2], "data_offsets": [2 * at, 2 * at + 2]} for at, name in enumerate(names)
        }
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(2 * len(names)))
        loading = open_in_worker(OpenSpec(str(path)))
        try:
            *_, loaded = loading.events()
            tree = decode_tree(loaded.model, loading.ask("tree", {}))
        finally:
            loading.cancel()
        here = Tree.build(loaded.model)
        assert (
            tree.labels
            == here.labels
            == ["", "layers", *(label for n in ("0", "2", "10") for label in (n, "weight", "bias"))]
        )
        assert (tree.leaf_order, tree.renumbered) == (here.leaf_order, True)


class TestRefusals:
    def test_a_refusal_comes_without_torch(self):
        (event,) = open_in_worker(OpenSpec("./nowhere")).events()  # a stage would tell of the import
        assert event == Failed("./nowhere: no such file or directory; check the path")

    def test_a_path_that_is_no_unicode_crosses(self, tmp_path):
        (event,) = open_in_worker(OpenSpec(os.fsdecode(b"./\xff\x1b"))).events()
        assert event == Failed("./\\udcff\\x1b: no such file or directory; check the path")

    def test_what_nobody_expected_is_one_short_line(self):
        error = unexpected("x", ValueError("\n\nfirst \x1b]52\nsecond" + "y" * 9999))
        assert error.line == "x: ValueError: first \\x1b]52"
        assert len(unexpected("x", ValueError("y" * 9999)).line) < 400
        assert isinstance(error, ParamxError)
