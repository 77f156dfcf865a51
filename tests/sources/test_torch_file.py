"""Files of torch.save: they equal what torch loads, name by name; a hostile pickle runs nothing and is told."""

from __future__ import annotations

import argparse
import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import Audit, Gadget, findings, gadgets, opened, outcome, written
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from explorer.core.errors import ParamxError
from explorer.core.param import Model
from explorer.core.totals import other_counts
from explorer.sources.checkpoint.files import File
from explorer.sources.checkpoint.torch_file import locator
from explorer.sources.checkpoint.zip_entries import whole_entries

LAYOUTS = {"zip": True, "legacy": False}


@pytest.fixture(params=LAYOUTS)
def save(request: pytest.FixtureRequest) -> Callable[..., Path]:
    """Return `torch.save` in the layout since torch 1.6, and in the one before."""

    def save(thing: object, path: Path) -> Path:
        torch.save(thing, path, _use_new_zipfile_serialization=LAYOUTS[request.param])
        return path

    return save


class Net(nn.Module):
    """A module with tied weights, a norm, a buffer and a frozen parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for _ in range(2))
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight
        self.norm.bias.requires_grad_(False)


def flattened(value: Any, name: str = "") -> dict[str, torch.Tensor]:
    """Return the tensors of nested mappings and lists under dotted names."""
    if isinstance(value, torch.Tensor):
        return {name: value}
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    found = {}
    for key, item in items:
        found |= flattened(item, f"{name}.{key}" if name else str(key))
    return found


def named(model: Model) -> dict[str, Any]:
    """Return every name of a table, aliases too, with its row."""
    return {name: param for param in model for name in (param.name, *param.aliases)}


def assert_equal(model: Model, tensors: dict[str, torch.Tensor], moved: bool = False) -> None:
    """Hold a table to the tensors that torch loads; those `moved` were saved from another device."""
    rows = named(model)
    assert rows.keys() == tensors.keys()
    for name, tensor in tensors.items():
        row = rows[name]
        assert row.shape == tuple(tensor.shape), name
        assert row.dtype == str(tensor.dtype).removeprefix("torch."), name
        assert row.numel == tensor.numel(), name
        assert moved or row.device == str(tensor.device), name


# --- real files ---------------------------------------------------------------------------------------------------


def test_a_state_dict_equals_what_torch_loads(tmp_path: Path, save: Callable[..., Path]) -> None:
    path = save(Net().state_dict(), tmp_path / "x.pt")
    model = outcome(path)
    assert isinstance(model, Model)
    loaded = torch.load(path, weights_only=True)
    assert_equal(model, loaded)
    assert list(model.names) == [name for name in loaded if name != "head.weight"]
    assert named(model)["head.weight"].name == "embed.weight"
    assert findings(model) == {"norm-buffers"}


def test_a_files_state_dict_counts_a_tied_tensor_under_each_of_its_names(
    tmp_path: Path, save: Callable[..., Path]
) -> None:
    net = Net()
    state = {name: value for name, value in net.state_dict().items() if value.is_floating_point()}
    plain, training = save(state, tmp_path / "x.pt"), tmp_path / "train.pt"
    save(
        {"state_dict": state, "optimizer": {"state": {0: {"exp_avg": torch.ones(7, 4)}}, "param_groups": []}},
        training,
    )
    for path in (plain, training):
        model = outcome(path)
        assert isinstance(model, Model)
        assert model.state == (len(state), sum(value.numel() for value in state.values()))
        (said,) = [count for count in other_counts(model) if count.name == "state_dict()"]
        assert (said.tensors, said.elements) == model.state
        assert said.reason == "+28 for 1 tied name, counted again; +8 in saved buffers"


def test_which_buffers_a_pickled_module_saves_is_not_known(tmp_path: Path, save: Callable[..., Path]) -> None:
    model = outcome(save(Net(), tmp_path / "x.pt"))
    assert isinstance(model, Model)
    assert model.state is None


def test_a_training_checkpoint_is_browsable(tmp_path: Path, save: Callable[..., Path]) -> None:
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters())
    net.norm(net.blocks[0](net.embed(torch.tensor([1, 2])))).sum().backward()
    optimizer.step()
    checkpoint = {
        "epoch": 3,
        "args": argparse.Namespace(lr=1.0, name="x"),
        "state_dict": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "loss": [0.5] * 1000,
        "rng": [torch.get_rng_state()],
    }
    path = save(checkpoint, tmp_path / "x.ckpt")
    model = outcome(path)
    assert isinstance(model, Model)
    assert_equal(model, flattened(torch.load(path, weights_only=False)))
    assert any(name.startswith("optimizer.state.0.exp_avg") for name in model.names)
    assert "other values left out" in model.origin.description


def test_dtypes_layouts_and_views_equal_what_torch_loads(tmp_path: Path) -> None:
    big = torch.arange(24.0).reshape(2, 3, 4)
    tensors = {str(dtype).removeprefix("torch."): torch.zeros(3, 5).to(dtype) for dtype in DTYPES}
    tensors |= {"row": big[1], "column": big[..., 1], "turned": big.permute(2, 0, 1), "whole": big}
    tensors |= {"scalar": torch.tensor(1), "empty": torch.empty(0, 3), "meta": torch.empty(2, 2, device="meta")}
    path = tmp_path / "x.pt"
    torch.save(tensors, path)
    model = outcome(path)
    assert isinstance(model, Model)
    assert_equal(model, tensors)
    assert {param.name: param.nbytes for param in model} == {
        name: 0 if name == "meta" else tensor.nbytes for name, tensor in tensors.items()
    }
    views = next(finding for finding in model.findings if finding.id == "views")
    assert set(views.names) == {"row", "column", "turned", "whole"}


DTYPES = (
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.complex128,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
)


def test_odd_tensors_are_told(tmp_path: Path, save: Callable[..., Path]) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensors = {
            "coo": torch.eye(3).to_sparse(),
            "csr": torch.eye(4).to_sparse_csr(),
            "quantized": torch.quantize_per_tensor(torch.ones(5), 0.1, 0, torch.qint8),
            "channels": torch.quantize_per_channel(torch.ones(2, 3), torch.ones(2), torch.zeros(2), 0, torch.quint8),
        }
        model = outcome(save(tensors, tmp_path / "x.pt"))
    assert isinstance(model, Model)
    assert {param.name: (param.shape, param.dtype) for param in model} == {
        "coo": ((3, 3), "float32"),
        "csr": ((4, 4), "float32"),
        "quantized": ((5,), "qint8"),
        "channels": ((2, 3), "quint8"),
    }
    assert {"sparse-tensors", "quantized-tensors"} <= findings(model)
    assert [param.notes for param in model] == ["sparse", "sparse", "quantized", "quantized"]
    assert "bad-tensor" not in findings(model)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_packed_weights_of_quantized_modules_are_tensors_and_no_parameters(
    tmp_path: Path, save: Callable[..., Path]
) -> None:
    """A quantized module keeps its weights in an object of C++, which is neither a parameter nor a buffer."""
    net = nn.Sequential(nn.Linear(8, 6), nn.LSTM(6, 4), nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5)).eval()
    torch.ao.quantization.quantize_dynamic(net, {nn.Linear, nn.LSTM}, inplace=True)
    net[2].qconfig = torch.ao.quantization.default_qconfig
    torch.ao.quantization.prepare(net, inplace=True)
    torch.ao.quantization.convert(net, inplace=True)
    model = opened(save(net, tmp_path / "module.pt"))
    of_file = opened(save(net.state_dict(), tmp_path / "dict.pt"))
    packed = {
        "0._packed_params._packed_params.0": net[0].weight(),
        "0._packed_params._packed_params.1": net[0].bias(),
        "1._all_weight_values.0.param.4.0.0": torch.empty(16, 6),
        "2.weight": net[2].weight(),
        "2.bias": net[2].bias(),
    }
    for table in (model, of_file):
        rows = named(table)
        assert {name: rows[name].shape for name in packed} == {
            name: tuple(held.shape) for name, held in packed.items()
        }
        assert (rows["2.weight"].dtype, rows["2.weight"].nbytes) == ("qint8", 45)
    assert {row.name: row.apart for row in model if row.name in packed} == dict.fromkeys(packed, "plain attribute")
    assert model.total == sum(parameter.numel() for parameter in net.parameters()) == 10
    for path in (tmp_path / "module.pt", tmp_path / "dict.pt"):
        place = locator(str(path))(opened(path).names.index("0._packed_params._packed_params.0"))
        data = place.path.read_bytes()[place.offset : place.offset + place.nbytes]
        assert torch.equal(torch.frombuffer(bytearray(data), dtype=torch.int8).view(6, 8), net[0].weight().int_repr())


def test_a_parameter_keeps_its_flag_and_a_state_dict_s_tensor_has_none(
    tmp_path: Path, save: Callable[..., Path]
) -> None:
    things = {
        "trained": nn.Parameter(torch.ones(1)),
        "frozen": nn.Parameter(torch.ones(2), requires_grad=False),
        "plain": torch.ones(3),
        "leaf": torch.ones(4, requires_grad=True),
    }
    model = opened(save(things, tmp_path / "x.pt"))
    assert {param.name: param.requires_grad for param in model} == {
        "trained": True,
        "frozen": False,
        "plain": None,
        "leaf": True,
    }


def test_a_whole_module_shows_its_classes_without_being_made(tmp_path: Path, save: Callable[..., Path]) -> None:
    net = Net()
    model = outcome(save(net, tmp_path / "x.pt"))
    assert isinstance(model, Model)
    assert_equal(model, dict(net.state_dict(keep_vars=True)))
    rows = named(model)
    assert rows["blocks.0.1.weight"].module_class.name == "LayerNorm"
    assert rows["embed.weight"].module_class.name == "Embedding"
    assert (rows["embed.weight"].requires_grad, rows["norm.bias"].requires_grad) == (True, False)
    parameters = [name for name, _ in net.named_parameters()]
    assert [name for name in model.names if name in parameters] == parameters
    assert_apart(model, net)
    assert any(name.endswith(".Net") for finding in model.findings for name in finding.names)


def assert_apart(model: Model, net: nn.Module) -> None:
    """Hold what of a table is a parameter, and what is a buffer, to what torch says of the module."""
    buffers = dict(net.named_buffers())
    assert {model.names[index]: what for index, what in model.apart.items()} == dict.fromkeys(buffers, "buffer")
    assert model.total == sum(parameter.numel() for parameter in net.parameters())
    (finding,) = (finding for finding in model.findings if finding.id == "buffers")
    assert set(finding.names) == set(buffers)
    left = len(model) - len(buffers)
    said = f"{len(model)} tensors in the file, {left} parameters: {len(buffers)} buffers"
    assert finding.message == said


def test_a_module_within_a_mapping_has_its_buffers_too(tmp_path: Path, save: Callable[..., Path]) -> None:
    net = nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), nn.Linear(4, 2))
    model = opened(save({"epoch": 3, "model": net}, tmp_path / "x.pt"))
    assert [model.names[index] for index in model.apart] == [f"model.{name}" for name, _ in net.named_buffers()]
    assert model.total == sum(parameter.numel() for parameter in net.parameters())


def test_one_buffer_is_named(tmp_path: Path, save: Callable[..., Path]) -> None:
    net = nn.Linear(2, 2)
    net.register_buffer("scale", torch.ones(1))
    model = opened(save(net, tmp_path / "x.pt"))
    assert [finding.message for finding in model.findings] == [
        "3 tensors in the file, 2 parameters: scale is a buffer"
    ]


def test_what_is_a_parameter_under_any_name_counts_as_one(tmp_path: Path, save: Callable[..., Path]) -> None:
    net = nn.Module()
    net.register_buffer("copy", torch.ones(3))
    net.weight = nn.Parameter(net.copy)
    model = opened(save({"net": net, "again": net.weight}, tmp_path / "x.pt"))
    assert model.total == 3 and not model.apart


@pytest.mark.parametrize("whole", [False, True], ids=["state_dict", "object"])
def test_an_optimizers_state_is_no_parameter(tmp_path: Path, save: Callable[..., Path], whole: bool) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    kept = optimizer if whole else optimizer.state_dict()
    model = opened(save({"state_dict": net.state_dict(), "optimizer_states": [kept]}, tmp_path / "x.ckpt"))
    apart = {model.names[index] for index, what in model.apart.items() if what == "optimizer state"}
    assert not any(name.startswith("state_dict") for name in apart)
    assert model.total == sum(parameter.numel() for parameter in net.parameters())
    if not whole:  # of an object's state the keys are the parameters themselves: it has no names
        assert apart == {name for name in model.names if name.startswith("optimizer_states.0.state.")}
        assert [finding.message for finding in model.findings] == [
            "19 tensors in the file, 4 parameters: "
            "3 buffers of batch norms by name and shape (9 elements), 12 of optimizer state",
            "12 of optimizer state in the file",
        ]


@pytest.mark.parametrize("order", [("model", "scheduler"), ("scheduler", "model")], ids="-".join)
def test_what_an_optimizer_lists_has_no_second_name_by_it(
    tmp_path: Path, save: Callable[..., Path], order: tuple[str, ...]
) -> None:
    net = nn.Linear(3, 4)
    scheduler = torch.optim.lr_scheduler.StepLR(torch.optim.AdamW(net.parameters()), 1)
    parts = {"model": net.state_dict(), "scheduler": scheduler}
    model = opened(save({name: parts[name] for name in order}, tmp_path / "x.pt"))
    assert list(named(model)) == ["model.weight", "model.bias"]
    alone = opened(save({"optimizer": scheduler.optimizer}, tmp_path / "alone.pt"))
    assert alone.total == 16, "the only name that they have"


def test_what_training_loops_save_beside_the_model_is_no_parameter(tmp_path: Path, save: Callable[..., Path]) -> None:
    net = nn.Linear(3, 4)
    flat = torch.ones(16)
    loops = {
        "module": net.state_dict(),
        "scaler": torch.ones(2),  # a tensor of that name may be the model's own
        "callbacks": {
            "ModelCheckpoint": {"best_model_score": torch.tensor(0.5)},
            "EMA": {name: value * 0.9 for name, value in net.state_dict().items()},
        },
        "optimizer": {"fp32_from_fp16_params": [[flat]], "optimizer": {"state": {}, "param_groups": []}},
        "optimizer_state_dict": {"single_partition_of_fp32_groups": [flat * 2]},
        "rng_state": [{"np_rng_state": np.random.get_state(), "cuda_rng_state": torch.zeros(16, dtype=torch.uint8)}],
        "lr_schedulers": [{"last": torch.ones(())}],
    }
    model = opened(save(loops, tmp_path / "x.pt"))
    apart = {model.names[index]: what for index, what in model.apart.items()}
    assert apart == {
        "callbacks.ModelCheckpoint.best_model_score": "training state",
        "callbacks.EMA.weight": "training state",
        "callbacks.EMA.bias": "training state",
        "optimizer.fp32_from_fp16_params.0.0": "optimizer state",
        "optimizer_state_dict.single_partition_of_fp32_groups.0": "optimizer state",
        "rng_state.0.np_rng_state.1": "random state",
        "rng_state.0.cuda_rng_state": "random state",
        "lr_schedulers.0.last": "training state",
    }
    assert model.total == 16 + 2


def test_the_random_states_of_transformers_trainer_are_no_parameters(
    tmp_path: Path, save: Callable[..., Path]
) -> None:
    states = {"python": (3, (1, 2)), "numpy": np.random.get_state(), "cpu": torch.get_rng_state()}
    model = opened(save({**states, "cuda": [torch.zeros(16, dtype=torch.uint8)]}, tmp_path / "rng_state.pth"))
    assert set(model.apart.values()) == {"random state"}
    assert (len(model), model.total) == (3, 0)


def test_numpys_generators_are_no_parameters(tmp_path: Path, save: Callable[..., Path]) -> None:
    generator = np.random.RandomState(0)
    state = {"weight": torch.ones(3), "seeded": generator, "state": generator.get_state(legacy=False)}
    model = opened(save({**state, "sfc": np.random.SFC64(0).state}, tmp_path / "x.pt"))
    assert set(model.apart.values()) == {"random state"}
    assert model.total == 3


def test_the_counter_of_torchs_averaged_model_is_a_buffer(tmp_path: Path, save: Callable[..., Path]) -> None:
    net = nn.Linear(3, 4)
    model = opened(save(torch.optim.swa_utils.AveragedModel(net).state_dict(), tmp_path / "x.pt"))
    assert {model.names[row]: what for row, what in model.apart.items()} == {"n_averaged": "buffer"}
    assert model.total == 16


def test_names_of_a_flat_state_dict_are_the_models_own(tmp_path: Path, save: Callable[..., Path]) -> None:
    net = nn.ModuleDict({"optimizer": nn.Linear(2, 2), "callbacks": nn.Linear(2, 2)})
    assert not opened(save(net.state_dict(), tmp_path / "x.pt")).apart


def test_a_plain_attribute_and_a_random_state_are_no_parameters(tmp_path: Path, save: Callable[..., Path]) -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    net[0].anchor = torch.zeros(5)
    net[0].same = net[0].weight.data  # a parameter by another name
    things = {"net": net, "rng": torch.get_rng_state(), "codes": torch.zeros(5057, dtype=torch.uint8)}
    model = opened(save(things, tmp_path / "x.pt"))
    apart = {model.names[index]: what for index, what in model.apart.items()}
    assert {name: what for name, what in apart.items() if what != "buffer"} == {
        "net.0.anchor": "plain attribute",
        "rng": "random state",
    }
    assert model.total == sum(parameter.numel() for parameter in net.parameters()) + 5057
    told = [finding.message for finding in model.findings if finding.names and finding.id != "views"]
    assert told == [
        "10 tensors in the file, 5 parameters: 3 buffers, net.0.anchor is a plain attribute, rng is a random state",
        "net.0.anchor is a plain attribute in the file",
        "rng is a random state in the file",
    ]


class Forward(nn.Sequential):
    """A module with a buffer of its own beside those of its children."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 3), nn.BatchNorm1d(3))
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run."""
        return super().forward(x - self.mean)


@pytest.mark.parametrize("kind", ["script", "trace"])
def test_torchscript_tells_buffers_by_its_source_text(tmp_path: Path, kind: str) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)) if kind == "script" else Forward()
    made = torch.jit.script(net) if kind == "script" else torch.jit.trace(net.eval(), torch.ones(2, 4))
    path = tmp_path / "x.pt"
    torch.jit.save(made, path)
    model = outcome(path)
    assert isinstance(model, Model)
    assert_apart(model, net)


def test_torchscript_whose_source_text_is_damaged_still_opens(tmp_path: Path) -> None:
    path, broken = tmp_path / "x.pt", tmp_path / "broken.pt"
    torch.jit.save(torch.jit.script(nn.BatchNorm1d(3)), path)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(broken, "w") as written:
        for entry in archive.infolist():
            content = archive.read(entry)
            written.writestr(entry.filename, content[:30] if "/code/" in entry.filename else content)
    model = outcome(broken)
    assert isinstance(model, Model)
    assert (len(model), model.apart) == (5, {})


def test_torchscript_shows_its_parameters(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
    path = tmp_path / "x.pt"
    torch.jit.save(torch.jit.trace(net, torch.ones(1, 4)), path)
    model = outcome(path)
    assert isinstance(model, Model)
    assert {param.name: param.shape for param in model} == {
        name: tuple(part.shape) for name, part in net.state_dict().items()
    }
    assert "refused-global" not in findings(model)


def test_arrays_of_a_plain_pickle_are_listed(tmp_path: Path) -> None:
    import numpy as np

    arrays = {
        "a": np.ones((2, 3), np.float16),
        "b": [np.arange(700, dtype=">i4").reshape(7, 100)],
        "s": np.array("x"),
    }
    arrays["again"] = arrays["a"]
    for protocol in range(2, 6):
        path = written(tmp_path / f"{protocol}.pt", pickle.dumps(arrays, protocol))
        model = outcome(path)
        assert isinstance(model, Model)
        assert [(param.name, param.shape, param.dtype, param.aliases) for param in model] == [
            ("a", (2, 3), "float16", ("again",)),
            ("b.0", (7, 100), "int32", ()),
        ]
        assert model.findings == ()


def test_a_tensor_that_pickle_dump_wrote_is_told_as_such(tmp_path: Path) -> None:
    model = opened(written(tmp_path / "x.pkl", pickle.dumps({"w": torch.ones(3)})))
    told = {finding.id: finding for finding in model.findings}
    assert "tensor w left out: written by pickle.dump, not torch.save" in told["bad-tensor"].message
    assert told["bad-tensor"].severity == "warning"
    assert told.keys() == {"bad-tensor", "no-tensors"}


def test_a_tensor_alone_and_an_empty_mapping_open(tmp_path: Path, save: Callable[..., Path]) -> None:
    assert list(opened(save(torch.ones(2), tmp_path / "x.pt")).names) == ["tensor"]
    assert findings(opened(save({}, tmp_path / "y.pt"))) == {"no-tensors"}


def test_dtensor_and_wrappers_tell_their_outer_shape(tmp_path: Path) -> None:
    from torch.testing._internal.two_tensor import TwoTensor

    path = tmp_path / "x.pt"
    torch.save({"two": TwoTensor(torch.ones(3, 4), torch.ones(3, 4))}, path)
    model = outcome(path)
    assert isinstance(model, Model)
    assert [(param.name, param.shape, param.dtype, param.nbytes) for param in model] == [
        ("two", (3, 4), "float32", 96)
    ]


def test_shards_of_pickles_open_by_their_index(tmp_path: Path) -> None:
    import json

    tied = torch.ones(4)
    torch.save({"a": torch.ones(2), "t": tied, "u": tied}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({"b": torch.ones(3)}, tmp_path / "pytorch_model-00002-of-00002.bin")
    first, second = "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"
    index = tmp_path / "pytorch_model.bin.index.json"
    weight_map = {"b": second, "a": first, "t": first, "u": first}
    index.write_text(json.dumps({"metadata": {"total_size": 36}, "weight_map": weight_map}))
    for target in (index, tmp_path):
        model = outcome(target)
        assert isinstance(model, Model)
        assert [(param.name, param.shard, param.aliases) for param in model] == [
            ("b", second, ()),
            ("a", first, ()),
            ("t", first, ("u",)),
        ]
        assert model.findings == ()
    (tmp_path / second).unlink()
    assert findings(opened(index)) == {"missing-shard"}


def test_real_files_of_packages_equal_what_torch_loads() -> None:
    found = [spec for name in ("lpips", "silero_vad") if (spec := find_spec(name)) and spec.origin]
    if not found:
        pytest.skip("neither lpips nor silero-vad is installed: pip install --no-deps lpips silero-vad")
    for spec in found:
        folder = Path(spec.origin or "").parent
        for path in folder.rglob("*.pth"):
            model = outcome(path)
            assert isinstance(model, Model)
            assert_equal(model, torch.load(path, map_location="cpu", weights_only=True), moved=True)
        for path in folder.rglob("*.jit"):
            script = torch.jit.load(path, map_location="cpu")
            loop = {name: (tuple(p.shape), p.numel()) for name, p in script.named_parameters()}
            assert {param.name: (param.shape, param.numel) for param in outcome(path) if not param.apart} == loop


def test_bytes_are_where_locate_says(tmp_path: Path, save: Callable[..., Path]) -> None:
    big = torch.arange(24.0).reshape(4, 6)
    tensors = {"a": torch.randn(3, 4), "b": torch.arange(5), "row": big[2], "column": big[:, 3], "turned": big.T}
    tensors |= {"c": torch.ones(2, dtype=torch.bfloat16), "0": torch.tensor(7)}
    path = save(tensors, tmp_path / "x.pt")
    for param in opened(path):
        place = locator(str(path))(param.index)
        data = place.path.read_bytes()[place.offset : place.offset + place.nbytes]
        flat = torch.frombuffer(bytearray(data), dtype=getattr(torch, place.dtype or ""))
        steps = place.stride or torch.empty(place.shape, device="meta").stride()
        assert torch.equal(torch.as_strided(flat, place.shape, steps), tensors[param.name])


# --- hostile files ------------------------------------------------------------------------------------------------


def zipped(data: bytes, **more: bytes) -> bytes:
    """Return an archive as torch writes it, around any pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x/data.pkl", data)
        for name, content in more.items():
            archive.writestr(f"x/{name}", content)
    return buffer.getvalue()


def legacy(data: bytes) -> bytes:
    """Return a file as torch before 1.6 wrote it, around any pickle."""
    parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    return b"".join(pickle.dumps(part, 2) for part in parts) + data + pickle.dumps([], 2)


def state_dict(extra: bytes) -> bytes:
    """Return a pickle of a mapping: a storage's tensor, then what `extra` makes."""
    storage = b"((Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI4\ntQ"
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n"
        + storage
        + b"I0\n(I2\nI2\nt(I2\nI1\ntI00\nccollections\nOrderedDict\n)RtR"
    )
    return b"\x80\x02}(Vweight\n" + tensor + b"Vevil\n" + extra + b"u."


AUDIT = Audit()


@pytest.mark.parametrize("layout", ["zip", "legacy", "pickle", "beside weights"])
def test_no_gadget_runs_and_each_is_told(tmp_path: Path, layout: str) -> None:
    kept = written(tmp_path / "kept", b"")
    marker = tmp_path / "ran"
    for index, (name, gadget) in enumerate(gadgets(marker)):
        # A pickle within a pickle has neither PROTO nor STOP.
        inner = gadget[2 if gadget[:1] == b"\x80" else 0 : -1]
        inner = inner[9:] if inner[:1] == b"\x95" else inner
        made = {
            "zip": lambda gadget=gadget: zipped(gadget),
            "legacy": lambda gadget=gadget: legacy(gadget),
            "pickle": lambda gadget=gadget: gadget if gadget[:1] == b"\x80" else b"\x80\x02" + gadget,
            "beside weights": lambda inner=inner: zipped(state_dict(inner), **{"data/0": bytes(16)}),
        }[layout]()
        path = written(tmp_path / f"{index}.pt", made)
        result: list[Model | ParamxError] = []
        outcome(path)  # once unwatched: what the readers themselves import, they import now
        assert AUDIT.watching(lambda path=path, result=result: result.append(outcome(path))) == [], name
        if layout == "beside weights":
            model = result[0]
            assert isinstance(model, Model), name
            assert "weight" in model.names, name
            told = model.findings
            assert {"refused-global", "unknown-class", "bad-tensor"} & {
                finding.id for finding in told
            } or name in QUIET
        else:
            line = result[0].line if isinstance(result[0], ParamxError) else str(result[0].findings)
            assert "not run" in line or name in QUIET or "no-tensors" in line, (name, line)
    assert not marker.exists()
    assert kept.exists()


QUIET = frozenset({"'torch.storage'._load_from_bytes"})
"""Functions that real files call: their results stay unread, which needs no telling."""


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_refused_global_is_named_as_python_3_has_it_and_the_file_once(tmp_path: Path, protocol: int) -> None:
    path = written(tmp_path / "evil.bin", pickle.dumps(Gadget(exec, "1"), protocol))
    result = outcome(path)
    assert isinstance(result, ParamxError)
    assert result.line.count("evil.bin") == 1
    assert "not run: builtins.exec" in result.line


def test_a_refused_global_is_named(tmp_path: Path) -> None:
    model = opened(
        written(tmp_path / "x.pt", zipped(state_dict(b"cposix\nsystem\n(Vtrue\ntR"), **{"data/0": bytes(16)}))
    )
    told = next(finding for finding in model.findings if finding.id == "refused-global")
    assert told.severity == "warning"
    assert told.names == ("posix.system",)
    assert "posix.system" in told.message


def laughs(leaf: bytes) -> bytes:
    """Return a list of five lists of five lists …, 39 levels deep: all of them the same five."""
    levels = (b"]q%c(h%ch%ch%ch%ch%ce0" % (level, *[level - 1] * 5) for level in range(1, 40))
    return b"\x80\x02]q\0" + leaf + b"a0" + b"".join(levels) + b"h\x27."


def test_one_tensor_under_a_billion_names_ends(tmp_path: Path) -> None:
    tensor = state_dict(b"N")[len(b"\x80\x02}(Vweight\n") : -len(b"Vevil\nNu.")]
    model = outcome(written(tmp_path / "x.pt", zipped(laughs(tensor), **{"data/0": bytes(16)})))
    assert isinstance(model, Model)
    assert len(model) == 1
    assert findings(model) == {"too-much"}


STRANGE_PICKLES = {
    "nothing": b"",
    "only stop": b".",
    "no stop": b"\x80\x02}",
    "unknown opcode": b"\x80\x02\xff.",
    "protocol 9": b"\x80\x09}.",
    "stack underflow": b"\x80\x020.",
    "pop of a mark": b"\x80\x02(0(1.",
    "missing memo": b"\x80\x02h\x07.",
    "long integer": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "negative long": b"\x80\x02\x8b\xff\xff\xff\xff.",
    "long text": b"\x80\x02X\xff\xff\xff\xffabc.",
    "long bytes": b"\x80\x02\x8e" + b"\xff" * 8 + b"abc.",
    "long bytearray": b"\x80\x02\x96" + b"\xff" * 8 + b"abc.",
    "negative string": b"\x80\x02T\xff\xff\xff\xffabc.",
    "integer of many digits": b"\x80\x02I" + b"9" * 10_000 + b"\n.",
    "long of many digits": b"\x80\x02L" + b"9" * 10_000 + b"L\n.",
    "endless line": b"\x80\x02I" + b"1" * 200_000,
    "odd items": b"\x80\x02}(I1\nu.",
    "setitem on a number": b"\x80\x02I1\nVa\nVb\ns.",
    "global of numbers": b"\x80\x04I1\nI2\n\x93.",
    "persistent id of a number": b"\x80\x02I1\nQ.",
    "text persistent id": b"\x80\x02Pstorage\n.",
    "bad UTF-8": b"\x80\x02X\x02\0\0\0\xff\xff.",
    "list that holds itself": b"\x80\x02]q\0h\0a.",
    "mapping that holds itself": b"\x80\x02}q\0Va\nh\0s.",
    "deep tuples": b"\x80\x02)" + b"\x85" * 200_000 + b".",
    "deep lists": b"\x80\x02" + b"(" * 100_000 + b"l" * 100_000 + b".",
    "tuple as a key": b"\x80\x02})" + b"\x85" * 200_000 + b"Vx\ns.",
    "doubling": b"\x80\x02]" + b"q\0h\0h\0\x86" * 200 + b".",
    "billion laughs": laughs(b"Vlol\n"),
    "many marks": b"\x80\x02" + b"(" * 2_100_000,
    "many lists": b"\x80\x02" + b"]" * 2_100_000,
    "many memos": b"\x80\x04N" + b"\x94" * 3_100_000,
    "dup": b"\x80\x02]" + b"2" * 1_000_000 + b".",
    "nested opaque": b"\x80\x02cx\ny\n" + b")R" * 50_000 + b".",
    "state without end": b"\x80\x02cx\ny\n)R" + b"q\0h\0b" * 10_000 + b".",
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGE_PICKLES)
def test_a_strange_pickle_is_one_line_or_an_empty_table(tmp_path: Path, name: str) -> None:
    # The large ones in one layout only: they take a second each.
    for make in (zipped,) if name.startswith("many") else (zipped, legacy, lambda data: data):
        path = written(tmp_path / "x.pt", make(STRANGE_PICKLES[name]))
        result = outcome(path)
        assert isinstance(result, ParamxError) or len(result) == 0


def rebuilt(function: str, *args: bytes, storage: bytes | None = None) -> bytes:
    """Return a pickle of one tensor, made by any function with any arguments."""
    storage = b"((Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI4\nttQ" if storage is None else storage
    module, _, name = function.rpartition(".")
    return (
        f"c{module}\n{name}\n(".encode()
        + storage.replace(b"((V", b"(V").replace(b"ttQ", b"tQ")
        + b"".join(args)
        + b"tR"
    )


REBUILD = "torch._utils._rebuild_tensor_v2"
BAD_TENSORS = {
    "negative size": rebuilt(REBUILD, b"I0\n(I-1\nt(I1\ntI00\nN"),
    "huge size": rebuilt(REBUILD, b"I0\n(L99999999999999999999L\nt(I0\ntI00\nN"),
    "product overflow": rebuilt(REBUILD, b"I0\n(L4294967296L\nL4294967296L\nt(I0\nI0\ntI00\nN"),
    "size of text": rebuilt(REBUILD, b"I0\nVabc\n(I1\ntI00\nN"),
    "size of texts": rebuilt(REBUILD, b"I0\n(Vabc\nt(I1\ntI00\nN"),
    "past its storage": rebuilt(REBUILD, b"I1\n(I4\nt(I1\ntI00\nN"),
    "stride past its storage": rebuilt(REBUILD, b"I0\n(I2\nt(I4\ntI00\nN"),
    "negative offset": rebuilt(REBUILD, b"I-1\n(I2\nt(I1\ntI00\nN"),
    "stride of another length": rebuilt(REBUILD, b"I0\n(I2\nt(I1\nI1\ntI00\nN"),
    "many dimensions": rebuilt(REBUILD, b"I0\n(" + b"I1\n" * 100 + b"t(" + b"I1\n" * 100 + b"tI00\nN"),
    "too few arguments": rebuilt(REBUILD, b""),
    "no storage": rebuilt(REBUILD, b"I0\n(I2\nt(I1\ntI00\nN", storage=b"N"),
    "storage of another class": rebuilt(
        REBUILD, b"I0\n(I2\nt(I1\ntI00\nN", storage=b"(Vstorage\ncos\nsystem\nV0\nVcpu\nI4\ntQ"
    ),
    "storage of negative length": rebuilt(
        REBUILD, b"I0\n(I2\nt(I1\ntI00\nN", storage=b"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI-4\ntQ"
    ),
    "sparse without parts": rebuilt("torch._utils._rebuild_sparse_tensor", b"N(t", storage=b""),
    "quantized without parameters": rebuilt("torch._utils._rebuild_qtensor", b"I0\n"),
    "nested without buffer": rebuilt("torch._utils._rebuild_nested_tensor", b"I0\n", storage=b"N"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TENSORS)
def test_a_tensor_that_can_not_be_is_left_out_and_named(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "x.pt", zipped(state_dict(BAD_TENSORS[name]), **{"data/0": bytes(16)}))
    model = outcome(path)
    assert isinstance(model, Model)
    assert list(model.names) == ["weight"]
    told = next(finding for finding in model.findings if finding.id == "bad-tensor")
    assert told.names == ("evil",)


def good_zip(tmp_path: Path) -> bytes:
    path = tmp_path / "good.pt"
    torch.save({"a": torch.ones(3, 4), "b": torch.ones(1000)}, path)
    return path.read_bytes()


def test_a_download_that_was_interrupted_still_shows_its_tensors(tmp_path: Path) -> None:
    data = good_zip(tmp_path)
    model = outcome(written(tmp_path / "x.pt", data[: len(data) // 2]))
    assert isinstance(model, Model)
    assert list(model.names) == ["a", "b"]
    assert findings(model) == {"truncated"}
    legacy_path = tmp_path / "legacy.pt"
    torch.save({"a": torch.ones(3000)}, legacy_path, _use_new_zipfile_serialization=False)
    model = opened(written(tmp_path / "y.pt", legacy_path.read_bytes()[:-5000]))
    assert findings(model) == {"truncated"}


def test_of_a_file_that_was_cut_short_what_is_there_is_read_and_the_rest_named(
    tmp_path: Path, save: Callable[..., Path]
) -> None:
    state = {f"layers.{at}.weight": torch.randn(5, 7) for at in range(8)}
    path = save(state, tmp_path / "whole.pt")
    data, place = path.read_bytes(), locator(str(path))
    ends = {name: place(row).offset + place(row).nbytes for row, name in enumerate(state)}
    for size in range(min(ends.values()) - 200, len(data), 61):
        cut = str(written(tmp_path / f"{size}.pt", data[:size]))
        (told,) = opened(Path(cut)).findings
        lost = []
        for row, (name, tensor) in enumerate(state.items()):
            try:
                found = locator(cut)(row)
            except ParamxError as error:
                assert error.line.startswith(f"{name}: cut short: the file ends before the ")
                lost.append(name)
            else:
                assert data[:size][found.offset : found.offset + found.nbytes] == tensor.numpy().tobytes()
        assert (told.id, told.names) == ("truncated", tuple(lost))
        # Behind each storage of an archive stand 16 bytes with its size; until then it is not believed.
        assert {name for name, end in ends.items() if end + 16 <= size} <= state.keys() - set(lost)
        assert {name for name, end in ends.items() if end > size} <= set(lost)


def test_an_entry_of_an_archive_without_an_end_counts_where_its_descriptor_says_its_size(tmp_path: Path) -> None:
    header = b"PK\3\4" + struct.pack("<5H3L2H", 45, 8, 0, 0, 0, 0, 0, 0, 3, 0)
    for behind, found in (
        (struct.pack("<4sLLL", b"PK\7\x08", 0, 5, 5), ["x/1", "x/2"]),
        (struct.pack("<4sLQQ", b"PK\7\x08", 0, 5, 5), ["x/1", "x/2"]),  # zip64, as past 4 GiB
        (struct.pack("<4sLLL", b"PK\7\x08", 0, 5, 6), []),
        (b"", []),
    ):
        data = b"".join(header + name + bytes(5) + behind for name in (b"x/1", b"x/2", b"x/3"))
        with File(written(tmp_path / "x", data[:-1])) as file:
            assert list(whole_entries(file, {"x/1": 5, "x/2": 5}).entries) == found


def test_every_truncation_is_one_line_or_opens(tmp_path: Path) -> None:
    for data in (good_zip(tmp_path), legacy(state_dict(b"N"))):
        for end in range(0, len(data), 37):
            outcome(written(tmp_path / "x.pt", data[:end]))


def test_strange_archives(tmp_path: Path) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\x80\x02X" + struct.pack("<I", 300 << 20) + bytes(300 << 20))
    assert "inflates to more" in str(outcome(written(tmp_path / "bomb.pt", bomb.getvalue())))
    # The same bomb, said to be small.
    lying = bomb.getvalue().replace(struct.pack("<I", (300 << 20) + 7), struct.pack("<I", 100))
    assert isinstance(outcome(written(tmp_path / "lying.pt", lying)), ParamxError)
    deflated = io.BytesIO()
    with zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", state_dict(b"N"))
        archive.writestr("x/data/0", bytes(16))
    path = written(tmp_path / "deflated.pt", deflated.getvalue())
    assert list(opened(path).names) == ["weight"]
    with pytest.raises(ParamxError, match="compressed"):
        locator(str(path))(0)
    doubled = io.BytesIO()
    with zipfile.ZipFile(doubled, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("x/data.pkl", b"\x80\x02}.")
        archive.writestr("x/data.pkl", state_dict(b"N"))
        archive.writestr("x/data/0", bytes(16))
    assert findings(opened(written(tmp_path / "doubled.pt", doubled.getvalue()))) == {"duplicate-entry"}
    for name, data, why in (
        ("other.pt", zipped(b"")[:4] + bytes(100), ""),
        ("bz2.pt", _archive("x/data.pkl", b"", zipfile.ZIP_BZIP2), "compressed by method 12; store it"),
        ("no-pickle.pt", _archive("x/model.json", b"{}"), "without data.pkl"),
        ("tar.pt", bytes(257) + b"ustar" + bytes(250), "tar archive"),
        ("gzip.pt", b"\x1f\x8b\x08\x00" + bytes(100), "gzip"),
        ("html.pt", b"<!doctype html>", "text"),
        ("empty.pt", b"", "empty"),
        ("noise.bin", bytes(range(7, 100)), "not a file of torch.save; give"),
        (
            "old.bin",
            b"cos\nsystem\n(S'true'\ntR.",
            "not a file of torch.save, and a pickle that asks to run os.system; do not",
        ),
        ("lfs.bin", b"version https://git-lfs.github.com/spec/v1\nsize 10\n", "git-lfs"),
    ):
        result = outcome(written(tmp_path / name, data))
        assert isinstance(result, ParamxError), name
        assert why in result.line


def _archive(name: str, data: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


def test_storages_that_are_missing_or_short_are_told(tmp_path: Path) -> None:
    assert findings(opened(written(tmp_path / "x.pt", zipped(state_dict(b"N"))))) == {"missing-storage"}
    short = zipped(state_dict(b"N"), **{"data/0": bytes(3)})
    assert findings(opened(written(tmp_path / "y.pt", short))) == {"truncated"}


def test_a_storage_that_is_short_gives_no_values_of_what_follows_it(tmp_path: Path) -> None:
    short = zipped(state_dict(b"N"), **{"data/0": bytes(3), "data/1": bytes(64)})
    # Its record may claim all 16 bytes where it takes 3 of them.
    record = short.rfind(b"PK\1\2", 0, short.rfind(b"PK\1\2"))
    claiming = short[: record + 24] + struct.pack("<I", 16) + short[record + 28 :]
    for name, data in (("short.pt", short), ("claiming.pt", claiming)):
        path = written(tmp_path / name, data)
        assert "truncated" in findings(opened(path))
        with pytest.raises(ParamxError, match="has 3 bytes in the file, of which it needs 16"):
            locator(str(path))(0)


@pytest.mark.parametrize("said", ["middle", "", "little\n", "little" + " " * 11])
def test_a_byte_order_that_torch_refuses_is_told(tmp_path: Path, said: str) -> None:
    state = {"data/0": bytes(16)}
    path = written(tmp_path / "x.pt", zipped(state_dict(b"N"), byteorder=said.encode(), **state))
    assert findings(opened(path)) == {"byte-order"}
    assert locator(str(path))(0).byteorder == "little"
    for known in ("little", "big"):
        path = written(tmp_path / "x.pt", zipped(state_dict(b"N"), byteorder=known.encode(), **state))
        assert findings(opened(path)) == set()
        assert locator(str(path))(0).byteorder == known


@pytest.mark.parametrize("name", ["x.safetensors", "x.GGUF", "x.pt"])
def test_a_pickle_with_the_name_of_a_format_without_code_is_warned_of(name: str, tmp_path: Path) -> None:
    for data in (zipped(state_dict(b"N"), **{"data/0": bytes(16)}), legacy(state_dict(b"N"))):
        model = opened(written(tmp_path / name, data))
        assert findings(model) == ({"other-format"} if name != "x.pt" else set())


def test_what_lies_beside_the_parts_of_an_archive_is_told(tmp_path: Path) -> None:
    whole = good_zip(tmp_path)
    before, between = io.BytesIO(b"PK\3\4" + bytes(400)), io.BytesIO()
    before.seek(0, io.SEEK_END)
    for buffer, gap in ((before, b""), (between, bytes(1000))):
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.writestr("x/data.pkl", state_dict(b"N"))
            archive.fp.write(gap)
            archive.start_dir += len(gap)
            archive.writestr("x/data/0", bytes(16))
            archive.fp.write(gap)
            archive.start_dir += len(gap)
    commented = io.BytesIO()
    with zipfile.ZipFile(commented, "w") as archive:
        archive.writestr("x/data.pkl", state_dict(b"N"))
        archive.writestr("x/data/0", bytes(16))
        archive.comment = b"of the archive"
        archive.getinfo("x/data/0").comment = b"of an entry"
    for data, told in (
        (whole, ""),
        (whole + whole, f"x.pt: {len(whole):,} bytes beside the parts of the archive"),
        (whole + b"J" * 100, "x.pt: 100 bytes beside the parts of the archive"),
        (before.getvalue(), "x.pt: 404 bytes beside the parts of the archive"),
        (between.getvalue(), "x.pt: 2,000 bytes beside the parts of the archive"),
        (commented.getvalue(), "x.pt: 25 bytes of comments in the archive"),
    ):
        model = opened(written(tmp_path / "x.pt", data))
        assert len(model.names) > 0
        assert [finding.message for finding in model.findings] == [told] * bool(told)


def test_zip64_archives_are_read(tmp_path: Path) -> None:
    data = zipped(state_dict(b"N"), **{"data/0": bytes(16)})
    at = data.rfind(b"PK\5\6")
    (size, offset) = struct.unpack_from("<LL", data, at + 12)
    record = b"PK\6\6" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, 2, 2, size, offset)
    locator = b"PK\6\7" + struct.pack("<LQL", 0, at, 1)
    end = b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    model = opened(written(tmp_path / "x.pt", data[:at] + record + locator + end))
    assert list(model.names) == ["weight"]
    assert model.findings == ()


def test_zip64_entries_are_read(tmp_path: Path) -> None:
    """An entry past 4 GiB has its sizes and offset in an extra field; here all three, though they are small."""
    data = zipped(state_dict(b"N"), **{"data/0": bytes(16)})
    end = data.rfind(b"PK\5\6")
    (offset,) = struct.unpack_from("<L", data, end + 16)
    records = b""
    for record in data[offset:end].split(b"PK\1\2")[1:]:
        compressed, size = struct.unpack_from("<LL", record, 16)
        (header,) = struct.unpack_from("<L", record, 38)
        extra = struct.pack("<HHQQQ", 1, 24, size, compressed, header)
        full = b"\xff" * 4
        fixed = record[:16] + full + full + record[24:26] + struct.pack("<H", len(extra)) + record[28:38] + full
        records += b"PK\1\2" + fixed + record[42:] + extra
    tail = struct.pack("<4H2LH", 0, 0, 2, 2, len(records), offset, 0)
    path = written(tmp_path / "x.pt", data[:offset] + records + b"PK\5\6" + tail)
    assert list(opened(path).names) == ["weight"]
    assert locator(str(path))(0).nbytes == 16
    assert opened(path).findings == ()


def test_names_of_controls_and_of_any_length_are_shown(tmp_path: Path) -> None:
    deep: dict[str, Any] = {"leaf": torch.ones(1)}
    for _ in range(900):
        deep = {"k": deep}
    tensors = OrderedDict(
        {"\x1b[2J\n": torch.ones(1), "n" * 10_000: torch.ones(2), "": torch.ones(3), "a.b": torch.ones(4)}
    )
    tensors["a"] = {"b": torch.ones(5)}
    tensors["deep"] = deep
    path = tmp_path / "x.pt"
    import sys

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    try:
        torch.save(tensors, path)
    finally:
        sys.setrecursionlimit(limit)
    model = outcome(path)
    assert isinstance(model, Model)
    assert list(model.names) == [
        "\\x1b[2J\\n",
        "n" * 10_000,
        "tensor",
        "a.b",
        "a.b (2)",
        "deep." + "k." * 900 + "leaf",
    ]
    assert findings(model) == {"same-name"}


@settings(max_examples=300)
@given(st.data())
def test_a_mutated_file_opens_or_is_one_line(folder: Path, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([zipped(state_dict(b"N"), **{"data/0": bytes(16)}), legacy(state_dict(b"N"))]))
    at = data.draw(st.integers(0, len(whole)))
    spoiled = whole[:at] + data.draw(st.binary(max_size=5)) + whole[at + data.draw(st.integers(0, 5)) :]
    outcome(written(folder / "x.pt", spoiled))


OPCODES = st.sampled_from([bytes([code]) for code in range(256)])
ARGUMENTS = st.sampled_from([b"", b"\0", b"\1\0\0\0a", b"a\nb\n", b"1\n"])


@settings(max_examples=300)
@given(st.lists(st.tuples(OPCODES, ARGUMENTS), max_size=30))
def test_any_opcodes_open_or_are_one_line(folder: Path, steps: list[tuple[bytes, bytes]]) -> None:
    outcome(written(folder / "x.pt", b"\x80\x02" + b"".join(code + argument for code, argument in steps) + b"."))
