"""Values of parameters that accelerate keeps on the processor or on disk, read from its own maps; real accelerate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import minilm
import numpy
import pytest

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.sources import open_served
from explorer.sources.live_module import live_origin, table_of
from explorer.sources.values.difference import differ
from explorer.sources.values.providers import ModuleValues

torch = pytest.importorskip("torch")
accelerate = pytest.importorskip("accelerate", reason="needs accelerate: pip install accelerate")


class Net(torch.nn.Module):
    """Parameters of a part, of the module itself, and one without dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(5, 3)
        self.second = torch.nn.Sequential(torch.nn.Linear(3, 4, bias=False))
        self.scale = torch.nn.Parameter(torch.tensor(2.5))


def on_cpu(module: torch.nn.Module, folder: Path) -> None:
    accelerate.cpu_offload(module, torch.device("cpu"))


def on_cpu_by_one_hook(module: torch.nn.Module, folder: Path) -> None:
    accelerate.cpu_offload(module, torch.device("cpu"), preload_module_classes=["Net"])


def on_disk(module: torch.nn.Module, folder: Path) -> None:
    accelerate.disk_offload(module, str(folder), torch.device("cpu"))


WAYS: dict[str, tuple[Callable[..., None], str]] = {
    "cpu": (on_cpu, "cpu"),
    "one hook": (on_cpu_by_one_hook, "cpu"),
    "disk": (on_disk, "disk"),
}


def everything(tensor: Any) -> bytes:
    data: bytes = tensor.take(tuple(((0, size),) for size in tensor.facts.shape))
    assert data == b"".join(tensor.chunks(4))
    return data


def bits(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn], ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_offloaded_values_are_those_of_before_and_nothing_is_moved_or_mapped(
    way: str, dtype: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = Net().to(dtype)
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    offload, kind = WAYS[way]
    offload(module, tmp_path)
    monkeypatch.setattr(numpy, "memmap", None)  # what accelerate reads a file through
    model, values = table_of(module, live_origin(module, "live")), ModuleValues(module)
    assert set(model.notes.values()) == {f"offloaded by accelerate to {kind}, runs on cpu"}
    for row in model:
        assert (row.device, row.nbytes) == ("meta", before[row.name].nbytes)
        tensor = values(row.index)
        assert everything(tensor) == bits(before[row.name])
        facts = tensor.facts
        assert (facts.dtype, facts.requires_grad, facts.is_parameter) == (str(dtype)[6:], True, True)
        assert facts.note.startswith(row.notes)
    assert all(parameter.is_meta for parameter in module.parameters())


def test_of_parts_in_several_places_each_is_read_where_it_is(tmp_path: Path) -> None:
    module = Net().requires_grad_(False)
    before = bits(module.first.weight), bits(module.second[0].weight)
    del module.scale
    places = {"first": "cpu", "second": "disk"}
    # `meta` in the place of a GPU, where what is on the processor is offloaded.
    accelerate.dispatch_model(module, places, main_device="meta", offload_dir=str(tmp_path))
    model, values = table_of(module, live_origin(module, "live")), ModuleValues(module)
    assert [model[0].notes, model[2].notes] == [
        "offloaded by accelerate to cpu, runs on meta",
        "offloaded by accelerate to disk, runs on meta",
    ]
    assert (everything(values(0)), everything(values(2))) == before
    assert (values(0).facts.device, values(2).facts.device) == ("cpu", None)


def test_what_transformers_leaves_in_its_safetensors_is_read_there_as_it_is_stored(tmp_path: Path) -> None:
    from transformers import AutoModel

    weights = minilm.directory() / "model.safetensors"

    module = AutoModel.from_pretrained(
        weights.parent, device_map={"": "disk"}, offload_folder=str(tmp_path), dtype=torch.float16
    )
    from safetensors.torch import load_file

    name = "encoder.layer.1.output.dense.weight"
    index = [name for name, _ in module.named_parameters()].index(name)
    tensor = ModuleValues(module)(index)
    assert everything(tensor) == bits(load_file(weights)[name])
    assert tensor.facts.note.endswith(f"in {weights}, float32 there, float16 in the model")


def test_a_target_that_offloads_to_disk_as_it_is_imported_is_measured_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "offloading.py").write_text(
        "import accelerate, torch\n"
        "torch.manual_seed(0)\n"
        "whole, disk = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)\n"
        "disk.load_state_dict(whole.state_dict())\n"
        f"accelerate.disk_offload(disk, {str(tmp_path)!r}, torch.device('cpu'))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    whole, disk = (open_served(OpenSpec(f"offloading:{name}"), lambda stage: None) for name in ("whole", "disk"))
    told = [opened.answers["statistics"]({"index": 0})["result"] for opened in (whole, disk)]
    assert told[0] == told[1]
    assert whole.values is not None and disk.values is not None
    going = differ(disk.values(0), whole.values(0))
    with pytest.raises(StopIteration) as end:
        while True:
            next(going)
    assert end.value.value == {"differing": 0, "largest": 0.0, "largest_finite": 0.0, "nan": 0, "inf": 0}


def test_a_file_that_is_cut_or_gone_is_one_line(tmp_path: Path) -> None:
    module = Net()
    on_disk(module, tmp_path)
    stored = tmp_path / "first.weight.dat"
    tensor = ModuleValues(module)([name for name, _ in module.named_parameters()].index("first.weight"))
    stored.write_bytes(stored.read_bytes()[:20])
    with pytest.raises(ParamxError, match=r"first\.weight\.dat"):
        everything(tensor)
    stored.unlink()
    with pytest.raises(ParamxError, match=r"first\.weight\.dat"):
        everything(tensor)


def test_what_accelerate_does_not_keep_or_keeps_in_another_shape_is_said() -> None:
    module = Net()
    on_cpu(module, Path())
    kept = module.first._hf_hook.weights_map.dataset
    names = [name for name, _ in module.named_parameters()]
    kept["first.bias"] = torch.zeros(7)
    with pytest.raises(ParamxError, match="offloaded as 7, in the module 3"):
        ModuleValues(module)(names.index("first.bias"))
    del kept["first.bias"]
    with pytest.raises(ParamxError, match=r"has offloaded it, and keeps no first\.bias"):
        ModuleValues(module)(names.index("first.bias"))
