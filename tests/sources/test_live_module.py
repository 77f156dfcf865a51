"""A module in this process as a table."""

from __future__ import annotations

import pytest

from explorer.core.param import Origin
from explorer.core.wire import decode, encode
from explorer.sources.live_module import table_of

torch = pytest.importorskip("torch")
nn = torch.nn
ORIGIN = Origin("model", "live", "a module of this process")


def rows(module):
    model = table_of(module, ORIGIN)
    assert [row.name for row in decode(encode(model))] == [name for name, _ in module.named_parameters()]
    return list(model)


def test_a_tied_weight_is_counted_once_and_keeps_its_other_names():
    module = nn.ModuleDict({"embed": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False), "out": nn.Linear(3, 5)})
    module["head"].weight = module["embed"].weight
    module["out"].weight = module["embed"].weight
    first, bias = rows(module)
    assert (first.name, first.aliases, first.numel) == ("embed.weight", ("head.weight", "out.weight"), 15)
    assert first.module_class.name == "Embedding"
    assert bias.name == "out.bias"


def test_a_shared_module_gives_its_parameters_two_names():
    shared = nn.Linear(2, 2)
    weight, bias = rows(nn.Sequential(shared, shared))
    assert (weight.aliases, bias.aliases) == (("1.weight",), ("1.bias",))


def test_a_lazy_parameter_has_no_shape_yet():
    weight, bias = rows(nn.Sequential(nn.LazyLinear(4)))
    assert (weight.shape, weight.numel, weight.nbytes) == (None, 0, 0)
    assert (bias.shape, bias.numel) == (None, 0)


def test_bytes_follow_the_dtype_and_frozen_is_told():
    module = nn.Linear(4, 2).to(torch.bfloat16)
    module.bias.requires_grad_(False)
    weight, bias = rows(module)
    assert (weight.dtype, weight.nbytes, weight.device) == ("bfloat16", 16, "cpu")
    assert (weight.requires_grad, bias.requires_grad) == (True, False)
    assert table_of(module, ORIGIN).counters.trainable == 8


def test_scalars_and_empty_tensors_count_as_torch_counts_them():
    module = nn.ParameterDict({"a": nn.Parameter(torch.tensor(1.0)), "b": nn.Parameter(torch.empty(0, 3))})
    scalar, empty = rows(module)
    assert (scalar.shape, scalar.numel) == ((), 1)
    assert (empty.shape, empty.numel, empty.nbytes) == ((0, 3), 0, 0)


def test_counters_that_the_module_lacks_are_unknown():
    counters = table_of(nn.BatchNorm1d(4), ORIGIN).counters
    assert (counters.num_parameters, counters.without_embeddings) == (None, None)
    assert (counters.loop, counters.buffer_tensors, counters.buffer_elements) == (8, 3, 9)
    assert (counters.state_dict_tensors, counters.state_dict_elements) == (5, 17)


def test_a_counter_that_fails_is_unknown():
    class Odd(nn.Linear):
        def num_parameters(self, exclude_embeddings=False):
            if exclude_embeddings:
                raise AttributeError("no embeddings here")
            return 6

    counters = table_of(Odd(2, 2), ORIGIN).counters
    assert (counters.num_parameters, counters.without_embeddings) == (6, None)


def test_extra_state_that_is_no_tensor_is_not_counted():
    class Odd(nn.Linear):
        def get_extra_state(self):
            return {"version": 1}

    assert table_of(Odd(2, 2), ORIGIN).counters.state_dict_tensors == 2


def test_the_class_s_bases_are_told_in_order():
    class Norm(nn.LayerNorm):
        pass

    assert rows(Norm(3))[0].module_class.bases == ("LayerNorm",)


def test_a_name_that_a_terminal_could_act_on_is_written_out():
    module = nn.Module()
    module.register_parameter("\x1b]52;c;x", nn.Parameter(torch.empty(1)))
    assert table_of(module, ORIGIN)[0].name == "\\x1b]52;c;x"


def test_a_module_without_parameters_is_an_empty_table():
    model = table_of(nn.ReLU(), ORIGIN)
    assert (len(model), model.total, model.counters.loop) == (0, 0, 0)
