"""Values from files and modules are torch's own, bit for bit, and no more of a file is read than is asked for."""

from __future__ import annotations

import json
import os
import re
import struct
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from printed import shown

from explorer.core.elements import decode
from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.windows import corners
from explorer.sources import Opened, open_served
from explorer.sources.checkpoint.files import File
from explorer.sources.checkpoint.place import Place
from explorer.sources.checkpoint.unchanged import TICK_NS, OpenedFiles
from explorer.sources.values.in_file import FileTensor
from explorer.sources.values.providers import FileValues

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode gives tests no path to what lies beside them
import minilm

torch = pytest.importorskip("torch")

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def opened(target: object) -> Opened:
    return open_served(OpenSpec(str(target), offline=True), lambda text: None)


def every_byte(served: Opened, index: int) -> bytes:
    """Return all of a tensor, asked for in windows."""
    shape = tuple(served.answers["tensor"]({"index": index})["shape"])
    rest = [[[0, size]] for size in shape[1:]]
    step = max(1, 50_000 // max(1, int(torch.Size(shape[1:]).numel())))
    ask = served.answers["values"]
    if not shape:
        return ask({"index": index, "selection": []})
    windows = ([[[top, min(top + step, shape[0])]], *rest] for top in range(0, shape[0], step))
    return b"".join(ask({"index": index, "selection": window}) for window in windows)


def stored(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


class CountingFile(File):
    """Counts what is read."""

    read_bytes = 0

    def read(self, offset: int, nbytes: int) -> bytes:
        CountingFile.read_bytes += nbytes
        return super().read(offset, nbytes)


# --- the real model -------------------------------------------------------------------------------------------------


def test_every_tensor_of_the_real_file_prints_as_torch_prints_it() -> None:
    from safetensors.torch import load_file

    path = minilm.directory() / "model.safetensors"
    served, tensors = opened(path), load_file(path)
    for index, name in enumerate(served.model.names):
        assert shown(served, index) == repr(tensors[name]), name


def test_the_skeleton_over_the_real_weights_shows_the_values_that_loading_gives() -> None:
    transformers = pytest.importorskip("transformers")
    served = opened(minilm.directory())
    module = transformers.AutoModel.from_pretrained(minilm.directory(), local_files_only=True)
    named = list(module.named_parameters())
    assert [name for name, _ in named] == list(served.model.names)
    for index in (0, 3, 8, 20, len(named) - 1):
        assert shown(served, index) == repr(named[index][1])
    assert every_byte(served, 8) == stored(named[8][1])


@pytest.mark.parametrize(
    "name", ["float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"]
)
def test_real_values_survive_conversion_bit_for_bit(name: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    real = load_file(minilm.directory() / "model.safetensors")
    converted = {key: tensor.to(getattr(torch, name)) for key, tensor in real.items() if tensor.is_floating_point()}
    save_file(converted, tmp_path / "x.safetensors")
    served = opened(tmp_path / "x.safetensors")
    assert len(served.model) == 103
    for index, key in enumerate(served.model.names):
        assert shown(served, index) == repr(converted[key])
        assert every_byte(served, index) == stored(converted[key]), key


# --- other files ----------------------------------------------------------------------------------------------------


def test_tensors_of_torch_save_are_read_by_their_strides(tmp_path: Path) -> None:
    base = torch.randn(40, 30)
    state = {
        "plain": base.clone(),
        "turned": base.t(),
        "slice": base[3:20:2, 5:],
        "half": torch.randn(7).to(torch.bfloat16),
        "one": torch.tensor(3.5),
        "wide": torch.randn(3, 5, dtype=torch.complex64),
    }
    torch.save(state, tmp_path / "x.pt")
    served = opened(tmp_path / "x.pt")
    for index, name in enumerate(served.model.names):
        assert every_byte(served, index) == stored(state[name]), name
        chunks = b"".join(FileValues(served.model, str(tmp_path / "x.pt"))(index).chunks(64))
        size = state[name].dtype.itemsize
        parts = sorted(chunks[at : at + size] for at in range(0, len(chunks), size))
        bits = stored(state[name])
        assert parts == sorted(bits[at : at + size] for at in range(0, len(bits), size)), name


def test_a_big_endian_tensor_is_turned_around(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(struct.pack(">3f", 1.5, -2.0, 3.25))
    place = Place(tmp_path / "x", 0, 12, "float32", (3,), None, "big")
    assert decode("float32", FileTensor("x", place).take((((0, 3),),))) == (1.5, -2.0, 3.25)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_quantized_elements_are_shown_as_stored_and_said_to_be(tmp_path: Path) -> None:
    tensor = torch.quantize_per_tensor(torch.linspace(-1, 1, 6).reshape(2, 3), 0.1, 3, torch.qint8)
    path = tmp_path / "x.pt"
    torch.save({"weight": tensor}, path)
    served = opened(path)
    assert "as stored" in served.answers["tensor"]({"index": 0})["note"]
    assert list(decode("qint8", every_byte(served, 0))) == tensor.int_repr().flatten().tolist()


def test_four_bit_values_are_told_one_by_one(tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F4", "shape": [2, 4], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes([0x21, 0x43, 0xA9, 0xF7]))
    served = opened(path)
    facts = served.answers["tensor"]({"index": 0})
    assert facts["dtype"] == "float4_e2m1fn"
    data = served.answers["values"]({"index": 0, "selection": [[[0, 2]], [[1, 4]]]})
    assert list(decode("float4_e2m1fn", data)) == [1.0, 1.5, 2.0, -1.0, 6.0, -6.0]


def sparse_file(path: Path, rows: int, columns: int) -> None:
    nbytes = rows * columns * 4
    header = json.dumps({"w": {"dtype": "F32", "shape": [rows, columns], "data_offsets": [0, nbytes]}}).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + nbytes)


def test_ten_gigabytes_are_looked_at_without_reading_them(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    sparse_file(path, 2_500_000, 1024)
    if path.stat().st_blocks * 512 > 1 << 20:
        pytest.skip("this file system has no sparse files")
    served = opened(path)
    tensor = FileValues(served.model, str(path), CountingFile)(0)
    CountingFile.read_bytes = 0
    tensor.take(corners((2_500_000, 1024)))
    assert CountingFile.read_bytes == 36 * 4
    CountingFile.read_bytes = 0
    tensor.take((((2_499_960, 2_500_000),), ((500, 508),)))
    assert CountingFile.read_bytes == 40 * 8 * 4


def test_a_file_cut_short_while_open_is_an_error_line(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    sparse_file(path, 1000, 8)
    served = opened(path)
    window: dict[str, Any] = {"index": 0, "selection": [[[990, 1000]], [[0, 8]]]}
    assert served.answers["values"](window) == bytes(320)
    os.truncate(path, 5000)
    with pytest.raises(ParamxError, match=r"x\.safetensors|cut short|ends") as caught:
        served.answers["values"](window)
    assert "\n" not in caught.value.line


def test_a_file_that_goes_away_while_open_is_an_error_line(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    sparse_file(path, 10, 8)
    served = opened(path)
    served.answers["tensor"]({"index": 0})
    path.unlink()
    with pytest.raises(ParamxError, match=r"no such file"):
        served.answers["values"]({"index": 0, "selection": [[[0, 1]], [[0, 1]]]})


def _shards(folder: Path, value: float) -> Path:
    from safetensors.torch import save_file

    for number in (1, 2):
        file = folder / f"m-0000{number}-of-00002.safetensors"
        save_file({f"{name}{number}": torch.full((4,), value) for name in "ab"}, file)
    return folder


def _gguf(folder: Path, value: float) -> Path:
    import gguf

    writer = gguf.GGUFWriter(folder / "m.gguf", "llama")
    for name in "ab":
        writer.add_tensor(name, torch.full((4,), value).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "m.gguf"


def _torch_file(folder: Path, value: float) -> Path:
    torch.save({name: torch.full((4,), value) for name in "ab"}, folder / "m.pt")
    return folder / "m.pt"


def _dcp(folder: Path, value: float) -> Path:
    from torch.distributed.checkpoint import FileSystemWriter, save

    save({name: torch.full((4,), value) for name in "ab"}, storage_writer=FileSystemWriter(folder), no_dist=True)
    return folder


def _replaced(old: Path, new: Path) -> None:
    new.rename(old)


def _rewritten(old: Path, new: Path) -> None:
    before = old.stat()
    old.write_bytes(new.read_bytes())
    os.utime(old, ns=(before.st_atime_ns, before.st_mtime_ns + 1))  # the clock of a file may tick every 4 ms only


def _rewritten_and_set_back(old: Path, new: Path) -> None:
    before = old.stat()
    old.write_bytes(new.read_bytes())
    os.utime(old, ns=(before.st_atime_ns, before.st_mtime_ns))


def _grown(old: Path, new: Path) -> None:
    before = old.stat()
    with old.open("ab") as file:
        file.write(b"x")
    os.utime(old, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("asked", ["before", "never"])
@pytest.mark.parametrize("change", [_replaced, _rewritten, _rewritten_and_set_back, _grown])
@pytest.mark.parametrize(
    ("make", "changed"),
    [
        (_shards, "m-00002-of-00002.safetensors"),
        (_gguf, "m.gguf"),
        (_torch_file, "m.pt"),
        (_dcp, "__0_0.distcp"),
    ],
)
def test_a_file_that_changed_since_it_was_opened_gives_no_figure(
    make: Callable[[Path, float], Path],
    changed: str,
    change: Callable[[Path, Path], None],
    asked: str,
    tmp_path: Path,
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    target = make(tmp_path / "old", 1.0)
    make(tmp_path / "new", 2.0)
    served = opened(target)
    index = len(served.model) - 1
    window: dict[str, Any] = {"index": index, "selection": [[[0, 4]]]}
    if asked == "before":
        assert list(decode("float32", served.answers["values"](window))) == [1.0] * 4
    change(tmp_path / "old" / changed, tmp_path / "new" / changed)
    line = re.escape(f"{changed} changed since it was opened; r opens it again")
    for request in ("values", "statistics"):
        with pytest.raises(ParamxError, match=f"^{line}$"):
            served.answers[request](window if request == "values" else {"index": index})
    assert served.values is not None
    with pytest.raises(ParamxError, match=f"^{line}$"):
        served.values(index).take((((0, 4),),))
    assert opened(target).answers["statistics"]({"index": index})["result"] is not None, "opened again it is read"


def test_a_file_is_read_only_when_a_later_writing_has_another_time(tmp_path: Path) -> None:
    path = _gguf(tmp_path, 1.0)
    files = OpenedFiles()
    files.note(path, path.stat())
    assert time.time_ns() - path.stat().st_ctime_ns >= TICK_NS


def test_a_file_that_changes_while_it_is_measured_gives_no_figure(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    sparse_file(path, 1 << 20, 8)
    served = opened(path)
    assert served.values is not None
    parts = served.values(0).chunks(1 << 10)
    next(parts)
    os.utime(path)
    with pytest.raises(ParamxError, match="changed since it was opened"):
        next(parts)


def test_a_window_outside_of_the_tensor_is_an_error_line(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    sparse_file(path, 10, 8)
    with pytest.raises(ParamxError, match="no such elements"):
        opened(path).answers["values"]({"index": 0, "selection": [[[0, 11]], [[0, 1]]]})


# --- modules --------------------------------------------------------------------------------------------------------


def module_answers(module: torch.nn.Module) -> dict[str, Callable[..., Any]]:
    from explorer.sources.module_answers import answers_of

    return dict(answers_of(module))


def test_a_live_modules_values_are_its_own() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(50, 40), torch.nn.Linear(40, 3).to(torch.bfloat16))
    module[1].weight.requires_grad_(False)
    module[0].weight.data = module[0].weight.data.t().contiguous().t()
    answers = module_answers(module)
    for index, parameter in enumerate(module.parameters()):
        served = Opened(None, answers)  # type: ignore[arg-type]
        assert shown(served, index) == repr(parameter)
        assert every_byte(served, index) == stored(parameter)


def test_a_module_without_weights_says_so_and_names_no_option_of_the_command() -> None:
    with torch.device("meta"):
        module = torch.nn.Linear(3, 4)
    with pytest.raises(ParamxError, match=r"no weights here.*load weights into") as refused:
        module_answers(module)["tensor"]({"index": 0})
    assert "--" not in refused.value.line


def test_two_who_ask_in_turns_both_get_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from explorer.sources.values import answers as slices

    monkeypatch.setattr(slices, "SLICE", 0.0)
    module = torch.nn.Module()
    module.a, module.b = (torch.nn.Parameter(torch.randn(600_000)) for _ in range(2))
    answers = module_answers(module)
    left, turns = {0, 1}, 0
    while left:
        turns += 1
        assert turns < 100, "they end each other's work"
        for index in list(left):
            if answers["statistics"]({"index": index})["result"] is not None:
                left.remove(index)


# --- GGUF -----------------------------------------------------------------------------------------------------------


def gguf_file(path: Path, rows: int, data: bytes, kind: int) -> None:
    """Write a file with one quantized matrix, `rows` × 64."""
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 0)
    name = b"w"
    head += struct.pack("<Q", len(name)) + name + struct.pack("<IQQIQ", 2, 64, rows, kind, 0)
    path.write_bytes(head + bytes(-len(head) % 32) + data)


@pytest.mark.skipif(find_spec("gguf") is None, reason="needs the gguf package: pip install gguf")
def test_quantized_blocks_have_the_values_that_the_gguf_package_gives(tmp_path: Path) -> None:
    import gguf
    import numpy as np

    numbers = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    for kind in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0):
        data = gguf.quants.quantize(numbers, kind)
        gguf_file(tmp_path / "x.gguf", 5, data.tobytes(), int(kind))
        expected = gguf.quants.dequantize(data, kind)
        served = opened(tmp_path / "x.gguf")
        facts = served.answers["tensor"]({"index": 0})
        assert (facts["dtype"], facts["shape"]) == ("float32", (5, 64))
        assert "dequantized from q" in facts["note"]
        window = served.answers["values"]({"index": 0, "selection": [[[1, 4]], [[30, 35], [60, 64]]]})
        columns = [*range(30, 35), *range(60, 64)]
        assert list(decode("float32", window)) == expected[1:4][:, columns].flatten().tolist()


@pytest.mark.skipif(find_spec("gguf") is not None, reason="the gguf package is installed here")
def test_without_the_gguf_package_blocks_say_what_is_missing(tmp_path: Path) -> None:
    gguf_file(tmp_path / "x.gguf", 2, bytes(2 * 2 * 34), 8)
    with pytest.raises(ParamxError, match="pip install gguf"):
        opened(tmp_path / "x.gguf").answers["tensor"]({"index": 0})
