"""Values that the library stacks, joins or cuts as it loads: against what it really loads, from the file's parts."""

from __future__ import annotations

import itertools

import pytest
import torch
from safetensors.torch import load_file, save_file

from explorer.core.arrange import Fusion
from explorer.core.compare_values import compare_values
from explorer.core.errors import ParamxError
from explorer.core.groups import Grouping
from explorer.core.loading import OpenSpec
from explorer.core.pairing import compare
from explorer.sources import open_served
from explorer.sources.values.arranged import Slice, Stacked, arranged
from explorer.sources.values.in_memory import TorchTensor

CLASSIC = Grouping.classic()


@pytest.fixture(scope="module")
def mixtral(tmp_path_factory):
    """A small Mixtral as transformers saves it (experts apart), and the model that it loads from it."""
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.MixtralConfig(vocab_size=60, num_local_experts=3, num_key_value_heads=2, **sizes)
    folder = tmp_path_factory.mktemp("mixtral")
    transformers.MixtralForCausalLM(config).save_pretrained(folder)
    return folder, transformers.MixtralForCausalLM.from_pretrained(folder)


def served(target):
    return open_served(OpenSpec(str(target)), lambda text: None)


def bits(tensor):
    return tensor.detach().contiguous().view(torch.uint8).numpy().tobytes()


def test_a_stack_of_a_directory_with_weights_is_what_from_pretrained_loads(mixtral):
    folder, loaded = mixtral
    opened = served(folder)
    for index, (name, parameter) in enumerate(loaded.named_parameters()):
        tensor = opened.values(index)
        assert tensor.facts.shape == parameter.shape, name
        assert b"".join(tensor.chunks(50)) == bits(parameter), name
    index = list(opened.model.names).index("model.layers.1.mlp.experts.gate_up_proj")
    assert opened.values(index).facts.note == "made of 6 tensors of the file"
    window = opened.values(index).take((((1, 3),), ((20, 30), (0, 1)), ((3, 5),)))
    parameter = dict(loaded.named_parameters())["model.layers.1.mlp.experts.gate_up_proj"]
    assert window == bits(torch.cat([parameter[1:3, 20:30, 3:5], parameter[1:3, 0:1, 3:5]], 1))


def compared(a, b):
    """Compare two targets as the program does, in this process."""
    one, other = served(a), served(b)

    def ask(opened):
        def answer(request, arguments):
            if request not in opened.answers:
                raise ParamxError(str(a), f"it does not answer {request!r}")
            return opened.answers[request](arguments)

        return answer

    askers = tuple(ask(opened) if opened.model.counters else None for opened in (one, other))
    comparison = compare(one.model, other.model, CLASSIC, askers)
    return compare_values(comparison, OpenSpec(str(b)), ask(one))


@pytest.mark.parametrize("turned", [False, True])
def test_a_model_equals_the_file_of_its_parts_and_one_changed_element_is_found(mixtral, tmp_path, turned):
    folder, _ = mixtral
    file = folder / "model.safetensors"
    tensors = load_file(file)
    same = compared(*((file, folder) if turned else (folder, file)))
    assert same.equal
    assert same.compared
    assert same.same == 21
    tensors["model.layers.1.block_sparse_moe.experts.2.w3.weight"][3, 4] += 0.5
    save_file(tensors, tmp_path / "other.safetensors")
    other = tmp_path / "other.safetensors"
    found = compared(*((other, folder) if turned else (folder, other)))
    (pair,) = found.differences
    assert (pair.name, pair.kinds) == ("model.layers.1.mlp.experts.gate_up_proj", ("values",))
    assert pair.values.differing == 1
    assert pair.values.largest == pytest.approx(0.5)


def test_files_with_experts_apart_and_stacked_are_the_same_without_a_model(mixtral, tmp_path):
    folder, loaded = mixtral
    loaded.save_pretrained(tmp_path, save_original_format=False)
    (tmp_path / "config.json").unlink()
    found = compared(folder / "model.safetensors", tmp_path / "model.safetensors")
    assert found.equal
    assert found.compared


# --- every arrangement, against torch ------------------------------------------------------------------------------


def readable(tensor):
    return TorchTensor("part", tensor)


@pytest.mark.parametrize("dimension", [0, 1, 2])
def test_joined_parts_are_what_torch_joins(dimension):
    sizes = [[2, 3, 4], [2, 3, 4], [2, 3, 4]]
    for at, size in enumerate(sizes):
        size[dimension] = at + 1
    parts = [torch.randn(*size) for size in sizes]
    whole = torch.cat(parts, dimension)
    regions = []
    for at, _ in enumerate(parts):
        start = sum(range(at + 1))
        full = tuple((0, size) for size in whole.shape[:dimension])
        regions.append((*full, (start, start + at + 1)))
    stacked = Stacked("x", [readable(part) for part in parts], regions, tuple(whole.shape))
    assert b"".join(stacked.chunks(5)) == bits(whole)
    ranges = [((0, 1), (size - 1, size)) for size in whole.shape]
    wanted = [[index for start, stop in each for index in range(start, stop)] for each in ranges]
    corner = whole[torch.tensor(wanted[0])][:, torch.tensor(wanted[1])][:, :, torch.tensor(wanted[2])]
    assert stacked.take(tuple(ranges)) == bits(corner)


@pytest.mark.parametrize("contiguous", [True, False])
def test_stacked_parts_are_what_torch_stacks(contiguous):
    parts = [torch.randn(3, 5) if contiguous else torch.randn(5, 3).T for _ in range(4)]
    whole = torch.stack(parts)
    stacked = Stacked("x", [readable(part) for part in parts], [((at, at + 1),) for at in range(4)], (4, 3, 5))
    assert b"".join(stacked.chunks(2)) == bits(whole)
    assert stacked.take((((1, 2), (3, 4)), ((0, 2),), ((4, 5),))) == bits(whole[[1, 3], 0:2, 4:5])


def test_a_slice_is_what_torch_slices():
    whole = torch.randn(4, 6, 5)
    part = Slice(readable(whole), ((2, 3), (1, 4)), (3, 5))
    assert b"".join(part.chunks(4)) == bits(whole[2, 1:4])
    for rows, columns in itertools.product([(0, 1), (1, 3)], [(0, 5), (4, 5)]):
        assert part.take(((rows,), (columns,))) == bits(whole[2, 1 + rows[0] : 1 + rows[1], slice(*columns)])
    with pytest.raises(ParamxError, match="another shape"):
        Slice(readable(whole), ((3, 5),), (2, 6, 5))


def test_a_parameter_that_is_cut_from_the_file_s_is_a_slice_of_it():
    whole = torch.randn(6, 2)
    fusion = Fusion("qkv", False, ("q", "k", "v"), (((0, 2),), ((2, 4),), ((4, 6),)), shape=(6, 2))
    key = arranged("layer.k", fusion, "k", lambda name: readable(whole))
    assert b"".join(key.chunks(1)) == bits(whole[2:4])
    assert key.facts.note == "a slice of qkv"


def test_parts_of_several_dtypes_and_unknown_arrangements_are_refused_with_the_reason():
    parts = [readable(torch.zeros(2)), readable(torch.zeros(2).half())]
    with pytest.raises(ParamxError, match="several dtypes: float16, float32"):
        Stacked("x", parts, [((0, 1),), ((1, 2),)], (2, 2))
    with pytest.raises(ParamxError, match="as it loads"):
        arranged("x", Fusion("x", True, ("a",), why="transformers converts it as it loads"), "x", readable)
