"""Parameters of which torch says one thing and the truth is another; the real library where it is installed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from enum import Enum
from pathlib import Path
from types import SimpleNamespace

import pytest

from explorer.core.groups import Grouper, Grouping
from explorer.core.listing import Listing
from explorer.core.listing.table import summary
from explorer.core.totals import loop_check
from explorer.core.wire import decode, encode
from explorer.sources.live_module import live_origin, table_of
from explorer.sources.odd_parameters import VALUES_A_BYTE
from explorer.ui.widgets.bars import checked

torch = pytest.importorskip("torch")
nn = torch.nn
ROOT = Path(__file__).parents[2]


def table(module):
    """The table, once across a pipe: notes must survive it."""
    model = table_of(module, live_origin(module, "live"))
    crossed = decode(encode(model))
    assert list(crossed) == list(model)
    assert model.counters.loop == sum(_said(parameter) for parameter in module.parameters())
    return crossed


def _said(parameter):
    try:
        return int(parameter.numel())
    except Exception:
        return 0


def holding(**parameters):
    """A module that has just these parameters, in this order."""
    module = nn.Module()
    for name, parameter in parameters.items():
        module.register_parameter(name, parameter)
    return module


def plain(*shape, **options):
    return nn.Parameter(torch.zeros(shape), **options)


# --- torch's own


def test_an_ordinary_parameter_has_no_note():
    model = table(nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)))
    assert (dict(model.notes), model.findings) == ({}, ())
    assert loop_check(model) == (True, "✔ equals the counting loop")


def test_where_the_counting_loop_raises_nothing_says_that_it_agrees():
    model = table(nn.Sequential(nn.Linear(3, 2), nn.LazyLinear(4)))
    with pytest.raises(ValueError, match="uninitialized"):
        sum(parameter.numel() for parameter in nn.LazyLinear(4).parameters())
    line = "8 without 2 lazy parameters; the loop itself raises until they have shapes"
    assert loop_check(model) == (None, line)
    assert "✔" not in checked(model)
    below = list(summary(Listing(model, Grouper(model).assign(Grouping.classic()))))
    assert line in below
    (note,) = [said for said in below if "lazy: " in said]
    assert note.strip().startswith("2 tensors  lazy: it gets its shape from the first input  1.weight, 1.bias")


def test_a_lazy_parameter_has_no_shape_and_no_elements_and_says_when_it_gets_them():
    model = table(nn.Sequential(nn.LazyLinear(4)))
    assert [(row.shape, row.numel, row.nbytes) for row in model] == [(None, 0, 0)] * 2
    assert model[0].notes == "lazy: it gets its shape from the first input"


def test_scalars_and_empty_parameters_are_as_torch_says():
    model = table(holding(scalar=plain(), empty=plain(0, 3)))
    assert [(row.shape, row.numel, row.notes) for row in model] == [((), 1, ""), ((0, 3), 0, "")]


def bytes_of(*tensors):
    return sum(tensor.numel() * tensor.dtype.itemsize for tensor in tensors)


def test_a_sparse_parameter_has_its_dense_shape_and_the_bytes_that_it_holds():
    eye = torch.eye(4)
    model = table(
        holding(
            coo=nn.Parameter(eye.to_sparse()),
            csr=nn.Parameter(eye.to_sparse_csr()),
            csc=nn.Parameter(eye.to_sparse_csc()),
            bsr=nn.Parameter(eye.to_sparse_bsr((2, 2))),
        )
    )
    coo, csr, csc, bsr = eye.to_sparse(), eye.to_sparse_csr(), eye.to_sparse_csc(), eye.to_sparse_bsr((2, 2))
    assert [(row.shape, row.numel) for row in model] == [((4, 4), 16)] * 4
    assert list(model.nbytes) == [
        bytes_of(coo._indices(), coo._values()),
        bytes_of(csr.crow_indices(), csr.col_indices(), csr.values()),
        bytes_of(csc.ccol_indices(), csc.row_indices(), csc.values()),
        bytes_of(bsr.crow_indices(), bsr.col_indices(), bsr.values()),
    ]
    assert [row.notes.partition(":")[0] for row in model] == ["sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr"]
    assert "4 values held" in model[0].notes and "8 values held" in model[3].notes


def test_an_attribute_that_a_library_left_hides_nothing():
    parameter = nn.Parameter(torch.eye(4).to_sparse())
    parameter.sequence_parallel = True  # as Megatron marks them
    assert table(holding(w=parameter))[0].notes.startswith("sparse_coo: 4 values held")
    marked = plain(2)
    marked.sequence_parallel = True
    assert table(holding(w=marked))[0].notes == ""


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged], ids=str)
def test_a_nested_parameter_has_no_one_shape_and_counts_its_tensors(layout):
    ragged = torch.nested.nested_tensor([torch.zeros(2, 3), torch.zeros(4, 3)], layout=layout)
    (row,) = table(holding(ragged=nn.Parameter(ragged)))
    assert (row.shape, row.numel) == (None, 18)
    assert row.nbytes >= 18 * 4
    assert row.notes == "nested: 2 tensors of 2 × 3, 4 × 3"


@pytest.mark.parametrize("name", VALUES_A_BYTE)
def test_a_packed_dtype_counts_its_values_and_says_what_torch_says(name):
    dtype = getattr(torch, name)
    (row,) = table(holding(packed=nn.Parameter(torch.empty(4, 8, dtype=dtype), requires_grad=False)))
    values = VALUES_A_BYTE[name]
    assert (row.shape, row.numel) == ((4, 8 * values), 32 * values)
    assert (row.dtype, row.nbytes) == (name, 32 * dtype.itemsize)
    assert f"{values} values a byte; torch says 4 × 8 {name}" in row.notes


def test_float8_is_one_byte_each():
    (row,) = table(holding(w=nn.Parameter(torch.empty(4, 8, dtype=torch.float8_e4m3fn), requires_grad=False)))
    assert (row.shape, row.nbytes, row.notes) == ((4, 8), 32, "")


def test_more_than_two_to_the_31_elements_are_counted():
    with torch.device("meta"):
        module = nn.Linear(70_000, 70_000, bias=False)
    (row,) = table(module)
    assert (row.numel, row.nbytes) == (4_900_000_000, 19_600_000_000)


class Refusing(torch.Tensor):
    """A tensor that raises on whatever it is asked."""

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), options=None):
        if cls.armed:
            raise RuntimeError("no\nanswer")
        return super().__torch_function__(function, types, arguments, options or {})

    armed = False


def test_a_parameter_that_raises_is_a_row_that_says_so(monkeypatch):
    module = holding(good=plain(2), bad=nn.Parameter(torch.zeros(2).as_subclass(Refusing)))
    monkeypatch.setattr(Refusing, "armed", True)
    from explorer.sources.odd_parameters import facts_of

    facts = facts_of(module.bad, {})
    assert (facts.shape, facts.numel, facts.dtype, facts.nbytes) == (None, 0, None, -1)
    assert facts.note == "it can't be read: RuntimeError: no\\nanswer"


# --- memory in common


def test_parameters_in_one_another_s_memory_are_each_counted_and_told():
    buffer = torch.zeros(10)
    module = holding(whole=nn.Parameter(buffer), part=nn.Parameter(buffer[2:4]), other=plain(10))
    model = table(module)
    assert model.total == 22 == sum(p.numel() for p in module.parameters())
    assert [row.notes for row in model] == ["shares memory with part", "lies in the memory of whole", ""]
    (finding,) = model.findings
    assert (finding.id, finding.severity, finding.names) == ("shared-memory", "warning", ("whole", "part"))
    assert not model.aliases, "they are other tensors, not other names of one"


def test_a_view_in_another_shape_on_meta_is_told_too():
    with torch.device("meta"):
        base = torch.empty(4, 6)
    model = table(holding(a=nn.Parameter(base), b=nn.Parameter(base.view(6, 4))))
    assert [row.notes for row in model] == ["lies in the memory of b", "lies in the memory of a"]


def test_of_views_the_larger_holds_the_smaller_in_whatever_order_its_elements_are():
    base = torch.zeros(4, 4)
    model = table(holding(x=nn.Parameter(base[0]), y=nn.Parameter(base[:2]), t=nn.Parameter(base.t())))
    assert [row.notes for row in model] == [
        "lies in the memory of y",
        "lies in the memory of t; shares memory with x",
        "shares memory with y",
    ]
    (finding,) = model.findings
    assert (finding.message, finding.names) == ("3 parameters share memory without being tied", ("x", "y", "t"))


def test_views_that_overlap_in_part_lie_in_neither():
    buffer = torch.zeros(10)
    model = table(holding(a=nn.Parameter(buffer[:6]), b=nn.Parameter(buffer[4:])))
    assert [row.notes for row in model] == ["shares memory with b", "shares memory with a"]


def test_what_holds_many_names_a_few_and_counts_the_rest():
    buffer = torch.zeros(10)
    parts = {f"p{index}": nn.Parameter(buffer[index : index + 1]) for index in range(7)}
    model = table(holding(whole=nn.Parameter(buffer), **parts))
    assert model[0].notes == "shares memory with p0, p1, p2, p3 and 3 more"


def test_columns_of_one_matrix_are_nothing_to_tell():
    base = torch.zeros(4, 4)
    model = table(holding(a=nn.Parameter(base[:, 0]), b=nn.Parameter(base[:, 1])))
    assert (dict(model.notes), model.findings) == ({}, ())


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_view_with_gaps_lies_in_the_memory_of_what_it_is_a_view_of(device):
    base = torch.zeros(4, 4, device=device)
    model = table(
        holding(column=nn.Parameter(base[:, 0]), base=nn.Parameter(base), block=nn.Parameter(base[1:3, 1:3]))
    )
    assert [row.notes for row in model] == [
        "lies in the memory of base",
        "shares memory with column, block",
        "lies in the memory of base",
    ]
    assert model.findings[0].names == ("column", "base", "block")


def test_views_with_gaps_share_memory_where_they_cross_and_not_where_they_lie_between_one_another():
    base = torch.zeros(4, 6)
    even, odd, row, wide = base[:, ::2], base[:, 1::2], base[1], base[:, 2:4]
    bytes_inside = base.view(torch.uint8)[:, 13:15]  # of the fourth column
    module = holding(even=nn.Parameter(even), odd=nn.Parameter(odd))
    assert not dict(table(module).notes)
    module = holding(even=nn.Parameter(even), row=nn.Parameter(row))
    assert table(module)[0].notes == "shares memory with row"
    for parts, expected in (((even, bytes_inside), False), ((odd, bytes_inside), True), ((wide, bytes_inside), True)):
        parameters = (nn.Parameter(part, requires_grad=False) for part in parts)
        assert bool(table(holding(**dict(zip("ab", parameters, strict=True)))).notes) is expected


def test_a_view_that_reaches_far_does_not_hide_two_that_lie_in_its_gaps():
    base = torch.zeros(4, 6)
    parts = {"far": base[:, 0], "a": base[0, 1:3], "b": base[0, 2:4]}
    model = table(holding(**{name: nn.Parameter(part) for name, part in parts.items()}))
    assert [row.notes for row in model] == ["", "shares memory with b", "shares memory with a"]


def test_views_that_can_t_be_told_apart_in_time_are_said_to_share_memory_perhaps(monkeypatch):
    monkeypatch.setattr("explorer.sources.shared_memory.MOST_WORK", 1)
    base = torch.zeros(5, 7, 11, 13)
    a, b = base[::2, :, ::3, ::2], base[:, ::3, ::2, ::5]
    model = table(holding(a=nn.Parameter(a), b=nn.Parameter(b)))
    assert [row.notes for row in model] == ["may share memory with b", "may share memory with a"]
    assert not model.findings, "what is not known is no warning"


def test_an_expanded_parameter_counts_each_element_and_the_bytes_that_they_share():
    (row,) = table(holding(e=nn.Parameter(torch.ones(1).expand(5))))
    assert (row.shape, row.numel, row.nbytes) == ((5,), 5, 4)
    assert row.notes == "its 5 elements share 4 bytes"


def test_pieces_of_one_buffer_that_do_not_touch_are_nothing_to_tell():
    buffer = torch.zeros(10)
    model = table(holding(a=nn.Parameter(buffer[:5]), b=nn.Parameter(buffer[5:])))
    assert (dict(model.notes), model.findings) == ({}, ())


def test_tied_is_one_row_with_other_names_and_no_note():
    module = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2, bias=False)})
    module["b"].weight = module["a"].weight
    model = table(module)
    assert (len(model), dict(model.aliases), model.findings) == (1, {0: ("b.weight",)}, ())


# --- wrappers


def test_wrapped_names_are_shown_without_wrappers():
    module = torch.compile(nn.Sequential(nn.Linear(2, 2)))
    model = table(module)
    assert list(model.names) == ["0.weight", "0.bias"]
    assert model.origin.description == "a module of this process, in OptimizedModule"
    (finding,) = model.findings
    assert (finding.id, finding.severity) == ("wrapped", "hint")
    assert "_orig_mod." in finding.message


def test_aliases_are_shown_without_wrappers_too():
    inner = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2, bias=False)})
    inner["b"].weight = inner["a"].weight
    assert dict(table(nn.DataParallel(inner)).aliases) == {0: ("b.weight",)}


def test_a_part_that_is_compiled_is_shown_by_its_own_name():
    module = nn.Sequential(nn.Linear(2, 2), torch.compile(nn.Linear(2, 2)))
    assert list(table(module).names) == ["0.weight", "0.bias", "1.weight", "1.bias"]


DISTRIBUTED = """
    import torch, torch.distributed as dist
    from torch import nn
    from torch.testing._internal.distributed.fake_pg import FakeStore
    # Real wrappers, as rank 1 of 2; the group answers at once and moves nothing.
    dist.init_process_group("fake", rank=1, world_size=2, store=FakeStore())
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
    from torch.nn.parallel import DistributedDataParallel
    from explorer import Grouping, ParamxError, param_groups
    from explorer.sources.live_module import live_origin, table_of

    def net():
        return nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.Linear(4, 3))

    def table(module):
        return table_of(module, live_origin(module, "live"))

    mesh = init_device_mesh("cpu", (2,))
    bare = table(net())
    grouping = Grouping.classic(("ndim<2", "type:LayerNorm"))
    split = [[id(p) for p in group["params"]] for group in param_groups(net(), grouping)]

    def facts(model):
        return [(row.name, row.shape, row.numel, row.nbytes, row.module_class, row.place) for row in model]
"""


def distributed(code):
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(DISTRIBUTED) + textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


@pytest.fixture(scope="module")
def wrapped():
    """What each real wrapper of torch.distributed makes of one module; lines by wrapper."""
    if not torch.distributed.is_available():
        pytest.skip("this torch has no distributed")
    lines = distributed("""
        def tell(label, module):
            model = table(module)
            same = facts(model) == facts(bare)
            groups = [len(group["params"]) for group in param_groups(module, grouping)]
            state = model.counters.state_dict_tensors
            print(label, same, model.counters.loop, groups, state, model[0].notes, sep="|")

        sharded = net()
        for layer in sharded:
            fully_shard(layer, mesh=mesh)
        fully_shard(sharded, mesh=mesh)
        tell("fsdp2", sharded)
        tell("fsdp1", FullyShardedDataParallel(net(), use_orig_params=True, device_id=torch.device("cpu")))
        tell("ddp", DistributedDataParallel(net()))
        flat = FullyShardedDataParallel(net(), use_orig_params=False, device_id=torch.device("cpu"))
        (row,) = table(flat)
        print("flat", row.name, row.shape, row.numel, table(flat).counters.loop, row.notes, sep="|")
        try:
            param_groups(flat, grouping)
        except ParamxError as error:
            print("refused", error, sep="|")
    """)
    return {line.partition("|")[0]: line.split("|")[1:] for line in lines if "|" in line}


TOTAL = 6 * 4 + 4 + 4 + 4 + 4 * 3 + 3


def test_fsdp2_shows_whole_shapes_and_says_what_this_rank_holds(wrapped):
    same, loop, groups, state, note = wrapped["fsdp2"]
    assert (same, int(loop), groups, state) == ("True", TOTAL, "[4, 2]", "6")
    assert note == "DTensor, S(0) on a mesh of 2: this rank holds 2 × 6"


def test_fsdp1_shows_whole_shapes_where_torch_says_pieces_and_groups_by_them(wrapped):
    same, loop, groups, state, note = wrapped["fsdp1"]
    assert (same, groups) == ("True", "[4, 2]")
    assert int(loop) < TOTAL, "the loop counts what this rank holds"
    assert state == "None", "a state dict would wait for the other ranks"
    assert note.startswith("FSDP; torch says 0 float32 on this rank")


def test_ddp_is_the_bare_model(wrapped):
    same, loop, groups, _, note = wrapped["ddp"]
    assert (same, int(loop), groups, note) == ("True", TOTAL, "[4, 2]", "")


def test_an_fsdp_flat_parameter_says_what_is_in_it_and_is_not_split(wrapped):
    name, shape, numel, loop, note = wrapped["flat"]
    assert (name, shape, int(numel)) == ("_flat_param", f"({TOTAL},)", TOTAL)
    assert int(loop) < TOTAL
    assert note.startswith("FSDP: 6 parameters made one (0.weight, 0.bias, 1.weight, 1.bias and 2 more); torch says ")
    assert "use_orig_params=True" in wrapped["refused"][0]


# --- libraries that may be missing: then objects with the same attributes


def test_deepspeed_zero3_by_its_attributes_shows_the_whole_shape():
    # An object with DeepSpeed's attributes: the package compiles code of its own before it runs on a processor.
    class Status(Enum):
        NOT_AVAILABLE = 2

    parameter = nn.Parameter(torch.zeros(0))
    parameter.ds_shape, parameter.ds_numel = torch.Size([8, 4]), 32
    parameter.ds_status, parameter.ds_tensor = Status.NOT_AVAILABLE, torch.zeros(16)
    model = table(holding(w=parameter))
    assert (model[0].shape, model[0].numel, model[0].nbytes) == ((8, 4), 32, 128)
    assert model[0].notes == "DeepSpeed ZeRO-3, not available, 16 elements on this rank; torch says 0 float32"
    ok, line = loop_check(model)
    assert not ok
    assert "the counting loop gives 0" in line and "32" in line, "both numbers are told"


def test_bitsandbytes_4bit_by_its_attributes_shows_what_is_packed():
    parameter = nn.Parameter(torch.zeros(16, 1, dtype=torch.uint8), requires_grad=False)
    parameter.quant_state = SimpleNamespace(shape=torch.Size([8, 4]), quant_type="nf4", dtype=torch.bfloat16)
    (row,) = table(holding(w=parameter))
    assert (row.shape, row.numel, row.dtype, row.nbytes) == ((8, 4), 32, "nf4", 16)
    assert row.notes == "bitsandbytes 4-bit, computed in bfloat16; torch says 16 × 1 uint8, packed"


def test_bitsandbytes_scales_are_in_no_size_and_the_note_counts_them():
    parameter = nn.Parameter(torch.zeros(16, 1, dtype=torch.uint8), requires_grad=False)
    inner = SimpleNamespace(absmax=torch.zeros(1))
    state = SimpleNamespace(shape=torch.Size([8, 4]), quant_type="nf4", dtype=torch.bfloat16, state2=inner)
    state.absmax = torch.zeros(2, dtype=torch.uint8)  # scales that are packed themselves
    parameter.quant_state = state
    assert table(holding(w=parameter))[0].notes.endswith("packed, 6 bytes of scales apart")
    eight = nn.Parameter(torch.zeros(4, 8, dtype=torch.int8), requires_grad=False)
    eight.CB, eight.SCB = None, torch.zeros(4)
    assert table(holding(w=eight))[0].notes == "bitsandbytes 8-bit, 16 bytes of scales apart"
    eight.SCB = None
    assert table(holding(w=eight))[0].notes == "bitsandbytes 8-bit, scales apart"


def test_bitsandbytes_of_the_real_package():
    bnb = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed: only its attributes are tried")
    before = nn.Sequential(bnb.nn.Linear4bit(64, 32, quant_type="nf4", compute_dtype=torch.bfloat16))
    assert "not quantized yet" in table(before)[0].notes
    model = table(before.to("cpu"))
    assert (model[0].shape, model[0].numel, model[0].dtype, model[0].nbytes) == ((32, 64), 2048, "nf4", 1024)
    assert "torch says 1024 × 1 uint8, packed, " in model[0].notes
    assert sum(model.nbytes) == sum(p.numel() * p.element_size() for p in before.parameters())
    eight = nn.Sequential(bnb.nn.Linear8bitLt(64, 32, has_fp16_weights=False)).to("cpu")
    assert (table(eight)[0].shape, table(eight)[0].dtype) == ((32, 64), "int8")
    assert "bitsandbytes 8-bit" in table(eight)[0].notes


class TwoParts(torch.Tensor):
    """As torchao's tensors: a float matrix outside, an int8 one and scales inside."""

    @staticmethod
    def __new__(cls, data, scale):
        return torch.Tensor._make_wrapper_subclass(cls, data.shape, dtype=torch.bfloat16)

    def __init__(self, data, scale):
        self.data_part, self.scale_part = data, scale

    def __tensor_flatten__(self):
        return ["data_part", "scale_part"], None

    @classmethod
    def __torch_dispatch__(cls, function, types, arguments=(), options=None):
        if "detach" in str(function) or "alias" in str(function):
            return cls(arguments[0].data_part, arguments[0].scale_part)
        raise NotImplementedError(str(function))


def test_a_tensor_made_of_tensors_has_the_bytes_of_its_parts():
    made = TwoParts(torch.zeros(4, 8, dtype=torch.int8), torch.zeros(4))
    (row,) = table(holding(w=nn.Parameter(made, requires_grad=False)))
    assert (row.shape, row.numel, row.dtype, row.nbytes) == ((4, 8), 32, "bfloat16", 32 + 16)
    assert row.notes == "TwoParts, stored as data_part 4 × 8 int8, scale_part 4 float32"


def test_torchao_of_the_real_package():
    pytest.importorskip("torchao", reason="torchao is not installed: only an object like its tensors is tried")
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    module = nn.Sequential(nn.Linear(64, 32)).to(torch.bfloat16)
    quantize_(module, Int8WeightOnlyConfig())
    row = table(module)[0]
    assert (row.shape, row.numel, row.dtype) == ((32, 64), 2048, "bfloat16")
    assert 2048 < row.nbytes < 2 * 2048
    assert "int8" in row.notes


def offloaded_notes(hook):
    module = nn.Linear(2, 2, device="meta")
    module._hf_hook = hook
    return [row.notes for row in table(module)]


def test_offloaded_by_accelerate_is_told_by_its_hook():
    inner = SimpleNamespace(offload=True, weights_map={"weight": 0, "bias": 0}, execution_device="cuda:1")
    told = ["offloaded by accelerate to cpu, runs on cuda:1"] * 2
    assert offloaded_notes(inner) == told
    in_two = SimpleNamespace(hooks=[SimpleNamespace(hooks=[SimpleNamespace(), inner])])
    assert offloaded_notes(in_two) == told
    assert offloaded_notes(SimpleNamespace(offload=False)) == ["", ""]


class BaseTunerLayer:
    """PEFT's base class, by its name."""


class Adapted(nn.Module, BaseTunerLayer):
    """As PEFT's lora.Linear."""

    def __init__(self):
        super().__init__()
        self.base_layer = nn.Linear(4, 4)
        self.lora_A = nn.ModuleDict({"default": nn.Linear(4, 2, bias=False)})


def test_peft_by_its_attributes_tells_adapter_and_base():
    model = table(nn.Sequential(nn.Linear(2, 2), Adapted()))
    notes = {row.name: row.notes for row in model if row.notes}
    assert notes == {
        "1.base_layer.weight": "PEFT: of the layer that an adapter wraps",
        "1.base_layer.bias": "PEFT: of the layer that an adapter wraps",
        "1.lora_A.default.weight": "PEFT: lora_A of adapter default",
    }


def test_peft_of_the_real_package():
    peft = pytest.importorskip("peft", reason="peft is not installed: only its attributes are tried")
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    base = LlamaForCausalLM(LlamaConfig(vocab_size=50, num_key_value_heads=1, **sizes))
    wanted = peft.LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"])
    model = table(peft.get_peft_model(base, wanted))
    rows = {row.name.rpartition("model.")[2]: row for row in model}
    lora = rows["layers.0.self_attn.q_proj.lora_A.default.weight"]
    assert (lora.requires_grad, lora.notes) == (True, "PEFT: lora_A of adapter default")
    kept = rows["layers.0.self_attn.q_proj.base_layer.weight"]
    assert (kept.requires_grad, kept.notes) == (False, "PEFT: of the layer that an adapter wraps")
    assert rows["lm_head.modules_to_save.default.weight"].notes == "PEFT: modules_to_save of adapter default"
    assert model.counters.trainable == 16 + 16 + 400


def test_peft_tells_what_is_merged_and_what_is_not_active():
    peft = pytest.importorskip(
        "peft", reason="peft is not installed: merged adapters are not tried on the real thing"
    )
    module = peft.get_peft_model(nn.Sequential(nn.Linear(8, 8)), peft.LoraConfig(r=2, target_modules=["0"]))
    module.add_adapter("other", peft.LoraConfig(r=2, target_modules=["0"]))
    module.merge_adapter()
    notes = {row.name.removeprefix("base_model.model.0."): row.notes for row in table(module)}
    assert notes["base_layer.weight"] == "PEFT: of the layer that an adapter wraps; adapter default is merged into it"
    assert notes["lora_A.default.weight"].endswith("of adapter default, merged into the layer that it wraps")
    assert notes["lora_A.other.weight"] == "PEFT: lora_A of adapter other, not active"


def test_a_parametrized_tensor_is_told_by_what_it_is_computed_from():
    from torch.nn.utils import parametrizations, prune

    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    parametrizations.weight_norm(module[0])
    prune.random_unstructured(module[1], "weight", 0.5)
    notes = {row.name: row.notes for row in table(module) if row.notes}
    assert notes == {
        "0.parametrizations.weight.original0": "parametrized: weight is computed from it by WeightNorm",
        "0.parametrizations.weight.original1": "parametrized: weight is computed from it by WeightNorm",
        "1.weight_orig": "parametrized: weight is computed from it by RandomUnstructured",
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_packed_weights_of_a_quantized_module_are_said_to_be_missing():
    module = nn.Sequential(nn.Linear(8, 6), nn.LayerNorm(6))
    torch.ao.quantization.quantize_dynamic(module, {nn.Linear}, inplace=True)
    model = table(module)
    assert list(model.names) == ["1.weight", "1.bias"]
    (finding,) = model.findings
    assert finding.id == "packed-weights"
    assert finding.message == "1 module with packed weights, which are no parameters: 0._packed_params"
    assert not table(torch.jit.script(nn.Linear(2, 2))).findings


def test_weights_packed_in_integer_buffers_are_said_to_be_missing():
    # As GPTQ and AWQ do; those packages compile code of their own.
    layer = nn.Module()
    layer.register_buffer("qweight", torch.zeros(8, 4, dtype=torch.int32))
    layer.register_buffer("scales", torch.ones(2, 4))
    (finding,) = table(nn.Sequential(layer, nn.LayerNorm(4))).findings
    assert (finding.id, finding.names) == ("packed-weights", ("0",))
    plain = nn.BatchNorm1d(4)
    plain.register_buffer("position_ids", torch.arange(8).expand(1, 8))
    plain.register_buffer("mask", torch.ones(8, 8, dtype=torch.bool))
    assert not table(plain).findings
