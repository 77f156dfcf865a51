"""`--load` gives the model that from_pretrained gives; what stands in its way is told in one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.sources import Opened, hub_fetch, open_served

sys.path.insert(0, str(Path(__file__).parent))
import minilm
from played_hub import PlayedHub, run_client, serving
from printed import shown

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def opened(target: object, **options: Any) -> tuple[Opened, list[str]]:
    stages: list[str] = []
    return open_served(OpenSpec(str(target), offline=True, **options), stages.append), stages


@pytest.mark.parametrize("dtype", [None, "bfloat16", "float16"])
def test_loaded_values_dtypes_and_devices_are_those_of_from_pretrained(dtype: str | None) -> None:
    served, stages = opened(minilm.directory(), load=True, dtype=dtype)
    module = transformers.AutoModel.from_pretrained(minilm.directory(), dtype=dtype or "auto", local_files_only=True)
    named = list(module.named_parameters())
    table = served.model
    assert list(table.names) == [name for name, _ in named]
    assert table.devices.values == ("cpu",)
    assert table.dtypes.values == (dtype or "float32",)
    for index in (0, 3, 8, len(named) - 1):
        assert shown(served, index) == repr(named[index][1])
    assert "weights loaded" in table.origin.description
    shares = [int(stage.split()[-2]) for stage in stages if stage.endswith("%")]
    assert shares == sorted(shares)
    assert shares[-1] == 100


def test_what_the_weights_lack_is_a_finding(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    config = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=20
    )
    config.architectures = ["BertModel"]
    config.save_pretrained(tmp_path)
    state = transformers.BertModel(config).state_dict()
    del state["pooler.dense.bias"]
    save_file({**state, "more": torch.zeros(2)}, tmp_path / "model.safetensors", {"format": "pt"})
    served, _ = opened(tmp_path, load=True)
    found = {finding.id: finding.names for finding in served.model.findings}
    assert found == {"missing-tensors": ("pooler.dense.bias",), "unexpected-tensors": ("more",)}


def test_a_name_without_weights_is_one_line() -> None:
    with pytest.raises(ParamxError) as caught:
        opened("kantaibert", load=True)
    assert "weights" in caught.value.line
    assert "\n" not in caught.value.line


def test_a_file_is_not_loaded_but_its_directory(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    with pytest.raises(ParamxError, match=r"--load: not for a safetensors target; .*directory"):
        opened(tmp_path / "x.safetensors", load=True)


@pytest.mark.parametrize(
    ("device", "line"),
    [
        ("nonsense", "torch knows no such device"),
        ("meta", "weights can't be loaded onto it"),
    ],
)
def test_no_such_device_is_one_line(device: str, line: str) -> None:
    with pytest.raises(ParamxError, match=line):
        opened(minilm.directory(), load=True, device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_one_line() -> None:
    with pytest.raises(ParamxError, match=r"--device cuda:0: .*(CUDA).*; --device cpu"):
        opened(minilm.directory(), load=True, device="cuda:0")


def test_an_unknown_dtype_is_one_line() -> None:
    with pytest.raises(ParamxError, match=r"--dtype int8: torch has no such floating dtype"):
        opened(minilm.directory(), load=True, dtype="int8")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB of which …"
        ),
        RuntimeError("unable to mmap 4196846690 bytes from file <model.safetensors>: Cannot allocate memory (12)"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("std::bad_alloc"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] data. DefaultCPUAllocator: not enough memory: you tried to"
        ),
        MemoryError(),
    ],
)
def test_memory_that_runs_out_is_one_line(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(transformers.BertModel, "from_pretrained", fail)
    with pytest.raises(ParamxError, match="out of memory on cpu while the weights were loaded") as caught:
        opened(minilm.directory(), load=True)
    assert "--dtype bfloat16" in caught.value.line
    assert "\n" not in caught.value.line
    if "2.00 GiB" in str(error):
        assert "2.00 GiB more did not fit, it has 7.79 GiB" in caught.value.line


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS, which only Linux keeps to")
def test_a_machine_that_is_too_small_is_one_line(tmp_path: Path) -> None:
    """Forty gigabytes that take no disk, and eight to put them in: no process is killed, and no traceback shown."""
    config = transformers.GPT2Config(n_embd=1000, n_head=8, n_layer=1, vocab_size=10_000_000, n_positions=8)
    config.architectures = ["GPT2LMHeadModel"]
    config.save_pretrained(tmp_path)
    with torch.device("meta"):
        model = transformers.GPT2LMHeadModel(config)
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, parameter in model.named_parameters():
        span = [end, end := end + 4 * parameter.numel()]
        header[name] = {"dtype": "F32", "shape": list(parameter.shape), "data_offsets": span}
    text = json.dumps(header).encode()
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    import resource

    run = subprocess.run(
        [sys.executable, "-m", "explorer", str(tmp_path), "--load", "--print", "loop"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30)),
        check=False,
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.count("\n") == 1
    assert "out of memory on cpu while the weights were loaded; --dtype bfloat16 halves" in run.stderr


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_nothing_is_advised_that_was_done_already(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise MemoryError

    monkeypatch.setattr(transformers.BertModel, "from_pretrained", fail)
    with pytest.raises(ParamxError, match="free some memory, or load it on a larger machine"):
        opened(minilm.directory(), load=True, dtype=dtype)


# --- devices --------------------------------------------------------------------------------------------------------


def test_without_accelerate_a_device_map_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ParamxError, match="pip install accelerate"):
        opened("kantaibert", device_map="auto", max_memory=(("0", 1 << 30),))


@pytest.mark.skipif(find_spec("accelerate") is None, reason="needs accelerate: pip install accelerate")
@pytest.mark.parametrize("sizes", [(("0", 320), ("1", 320)), (("0", 320), ("1", 320), ("cpu", 1024)), (("0", 100),)])
def test_a_plan_is_the_one_that_from_pretrained_would_make(sizes: tuple[tuple[str, int], ...]) -> None:
    from transformers.integrations.accelerate import _get_device_map

    served, _ = opened("gpt2", device_map="auto", max_memory=tuple((name, size << 20) for name, size in sizes))
    table = served.model
    skeleton, _ = opened("gpt2")
    assert list(table.names) == list(skeleton.model.names)
    config = transformers.GPT2Config(
        **{key: value for key, value in (table.origin.config or {}).items() if key != "architectures"}
    )
    with torch.device("meta"):
        module = transformers.GPT2LMHeadModel(config)
    room = {int(name) if name.isdecimal() else name: size << 20 for name, size in sizes}
    devices = _get_device_map(module, "auto", dict(room), None)
    for name, device in zip(table.names, table.devices, strict=True):
        path = next(
            key for key in sorted(devices, key=len, reverse=True) if f"{name}.".startswith(f"{key}." if key else "")
        )
        expected = devices[path]
        assert device == (f"cuda:{expected}" if isinstance(expected, int) else expected)
    told = {finding.id: finding for finding in table.findings}
    assert "planned, nothing is loaded" in told["planned"].message
    assert ("planned-disk" in told) == ("disk" in table.devices.values)
    for key, size in room.items():
        place = f"cuda:{key}" if isinstance(key, int) else key
        held = sum(n for n, device in zip(table.nbytes, table.devices, strict=True) if device == place)
        assert held <= size


@pytest.mark.skipif(find_spec("accelerate") is None, reason="needs accelerate: pip install accelerate")
def test_where_the_librarys_plan_fails_accelerates_is_shown_and_said_so() -> None:
    sizes = (("0", 320 << 20), ("1", 320 << 20))
    served, _ = opened("kantaibert", device_map="auto", max_memory=sizes)
    assert "planned-otherwise" in {finding.id for finding in served.model.findings}
    assert set(served.model.devices.values) <= {"cuda:0", "cuda:1"}


@pytest.mark.skipif(find_spec("accelerate") is None, reason="needs accelerate: pip install accelerate")
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_a_plan_asks_for_sizes() -> None:
    with pytest.raises(ParamxError, match=r"no GPU to plan for; say sizes: --max-memory"):
        opened("kantaibert", device_map="auto")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU: weights on a device are not tested here")
def test_weights_are_loaded_onto_a_gpu() -> None:
    served, _ = opened(minilm.directory(), load=True, device="cuda:0", dtype="bfloat16")
    assert served.model.devices.values == ("cuda:0",)
    module = transformers.AutoModel.from_pretrained(minilm.directory(), dtype="bfloat16").to("cuda:0")
    assert shown(served, 3) == repr(list(module.parameters())[3])
    with pytest.raises(ParamxError, match="this machine has"):
        opened(minilm.directory(), load=True, device="cuda:99")


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_a_dtype_that_the_library_cannot_load_is_named_with_its_option(dtype: str) -> None:
    with pytest.raises(ParamxError) as caught:
        opened(minilm.directory(), load=True, dtype=dtype)
    line = caught.value.line
    assert line.startswith(f"--dtype {dtype}: transformers can't load")
    assert "Storage" not in line


def advice(target: str) -> str:
    served, _ = opened(target)
    with pytest.raises(ParamxError) as caught:
        served.answers["tensor"]({"index": 0})
    return caught.value.line


def test_a_built_in_says_from_where_load_would_fetch_and_that_it_needs_a_network() -> None:
    line = advice("llama-7b")
    assert "--load, which fetches the weights from huggyllama/llama-7b over the network, or open a directory" in line


def test_load_of_a_built_in_asks_for_its_repository_and_not_for_its_short_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def refuse(pretrained_model_name_or_path: str, **options: object) -> None:
        asked.append(pretrained_model_name_or_path)
        raise OSError(f"{pretrained_model_name_or_path} does not appear to have a file named model.safetensors.")

    monkeypatch.setattr(transformers.LlamaForCausalLM, "from_pretrained", refuse)
    with pytest.raises(ParamxError) as caught:
        opened("llama-7b", load=True)
    assert asked == ["huggyllama/llama-7b"]
    assert "the network is off" in caught.value.line
    assert "check the name and the network" not in caught.value.line
    assert ".;" not in caught.value.line


def test_a_repository_that_gave_nothing_is_named_and_no_stop_stands_before_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import constants

    def refuse(pretrained_model_name_or_path: str, **options: object) -> None:
        raise OSError(f"{pretrained_model_name_or_path} does not appear to have a file named model.safetensors.")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_fetch, "check_there", lambda spec: None)
    monkeypatch.setattr(transformers.LlamaForCausalLM, "from_pretrained", refuse)
    with pytest.raises(ParamxError) as caught:
        open_served(OpenSpec("llama-7b", load=True), lambda stage: None)
    assert "huggyllama/llama-7b" in caught.value.line
    assert "model.safetensors; check the name" in caught.value.line


LOADED = """
import json, sys
from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.sources import open_served
import transformers
asked = []
def refuse(pretrained_model_name_or_path, **options):
    asked.append([pretrained_model_name_or_path, options["local_files_only"]])
    raise OSError(f"{pretrained_model_name_or_path} does not appear to have a file named model.safetensors.")
transformers.LlamaForCausalLM.from_pretrained = refuse
try:
    open_served(OpenSpec("llama-7b", load=True), lambda stage: None)
except ParamxError as error:
    print(json.dumps({"line": error.line, "asked": asked}))
"""


@pytest.mark.parametrize("cached", [False, True])
def test_without_a_network_only_what_is_in_the_cache_is_loaded(cached: bool, tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--huggyllama--llama-7b"
    if cached:  # the weights alone: transformers is given the built-in config, and fetches none
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("a" * 40)
        (repository / "snapshots" / ("a" * 40)).mkdir(parents=True)
        (repository / "snapshots" / ("a" * 40) / "model.safetensors").write_bytes(b"")
    told = run_client(LOADED, {}, 9, tmp_path)
    if cached:
        assert told["asked"] == [["huggyllama/llama-7b", True]]
    else:
        assert told["asked"] == []
        assert "llama-7b: its weights are in huggyllama/llama-7b on the hub: " in told["line"]
        assert "no connection to the hub" in told["line"]


COMMIT, OLDER = "a" * 40, "b" * 40
"""Of a repository that `main` is at, and one before it."""


class Hub(PlayedHub):
    """Serves the same files as those of every repository, and lets those of `org/gone` hang up."""

    def answer(self) -> None:
        name = self.path.rpartition("/")[2]
        files = self.server.files
        if self.path.startswith("/org/gone"):
            self.close_connection = True
        elif self.path.startswith("/api/"):
            tree = [{"type": "file", "path": name, "oid": name, "size": 1} for name in files]
            facts = {"id": "org/other", "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
            self.reply(200, {}, json.dumps(tree if "/tree/" in self.path else facts).encode())
        elif name not in files:
            self.reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        else:
            self.reply(200, {"X-Repo-Commit": COMMIT, "ETag": f'"{name}"'}, files[name])


LOADS = """
import json, sys
from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.sources import open_served
import huggingface_hub
import transformers
told = {}
for case, options in json.load(sys.stdin).items():
    try:
        opened = open_served(OpenSpec(**options), lambda stage: None)
        opened.answers["tensor"]({"index": 0})
        told[case] = opened.model.origin.description
    except ParamxError as error:
        told[case] = error.line
huggingface_hub.constants.HF_HUB_OFFLINE = True
for name in ("gone", "tiny"):
    try:
        transformers.AutoModel.from_pretrained(f"org/{name}")
    except OSError:
        told[f"library, {name}"] = "refused"
print(json.dumps(told))
"""


def test_weights_that_a_cached_snapshot_lacks_are_fetched_or_what_has_them_is_named(tmp_path: Path) -> None:
    tiny = tmp_path / "tiny"
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    transformers.BertModel(transformers.BertConfig(vocab_size=20, **sizes)).save_pretrained(tiny)
    for name in ("gone", "tiny"):  # `main` has a config only, an older snapshot all
        repository = tmp_path / "hub" / f"models--org--{name}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(COMMIT)
        shutil.copytree(tiny, repository / "snapshots" / OLDER)
        (repository / "snapshots" / COMMIT).mkdir()
        shutil.copy(tiny / "config.json", repository / "snapshots" / COMMIT)
    wanted = {
        "offline": {"target": "org/tiny", "load": True, "offline": True},
        "skeleton": {"target": "org/tiny"},
        "older": {"target": "org/tiny", "load": True, "revision": OLDER[:7]},
        "unreachable": {"target": "org/gone", "load": True},
        "fetched": {"target": "org/tiny", "load": True},
        # What is fetched to run a repository's code is no weights either.
        "with code": {"target": "org/other", "load": True, "trust_remote_code": True},
    }
    files = {file.name: file.read_bytes() for file in tiny.iterdir()}
    with serving(Hub, files=files) as server:
        told = run_client(LOADS, wanted, server.server_port, tmp_path)
    named = f"give --revision {OLDER[:7]}, a cached snapshot with weights, or "
    assert told["offline"] == (
        "org/tiny: its weights are not on this machine (the cached snapshot aaaaaaa lacks them), and the network is "
        f"off; {named}leave --offline out, or open a directory with weights, or the checkpoint file itself"
    )
    assert f"--load, which fetches the weights from org/tiny over the network, or {named}open" in told["skeleton"]
    assert told["older"] == "cached snapshot bbbbbbb, weights loaded"
    assert "no connection to the hub" in told["unreachable"]
    assert f"; {named}check the network, or open" in told["unreachable"]
    assert told["fetched"] == "cached snapshot aaaaaaa, weights loaded"
    assert told["with code"] == "config from the hub (aaaaaaa), weights loaded"
    assert told["library, gone"] == "refused", "the older snapshot is not transformers' either"
    assert "library, tiny" not in told


def test_a_directory_without_weights_is_not_sent_to_load(tmp_path: Path) -> None:
    transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=20).save_pretrained(
        tmp_path
    )
    line = advice(str(tmp_path))
    assert "--load" not in line
    assert "open a directory with weights" in line
