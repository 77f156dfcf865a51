"""GGUF: files of ggml's own writer are read as its own reader reads them; hostile counts end at once."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkpoint_files import Gguf, findings, opened, outcome, written
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.core.errors import ParamxError
from explorer.core.param import Model
from explorer.sources.checkpoint.ggml_types import TYPES
from explorer.sources.checkpoint.gguf_file import locator

STRING, ARRAY, U32, F32, BOOL = 8, 9, 4, 6, 7


def small(version: int = 3, order: str = "<") -> Gguf:
    """Return a small file that is right."""
    file = Gguf(version, order)
    file.pair("general.architecture", STRING, file.text("llama"))
    file.pair("llama.block_count", U32, file.u32(2))
    file.tensor("a.weight", (4, 3), 0, 0).tensor("b", (64, 2), 2, 64)
    return file


def size_of(file: Gguf) -> int:
    """Return the bytes of the small file's data: 3 × 4 floats, padding, and four blocks of 18."""
    return 64 + 4 * 18


# --- right files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("version", [1, 2, 3])
def test_versions_and_byte_orders_read_alike(tmp_path: Path, version: int, order: str) -> None:
    file = small(version, order)
    model = outcome(written(tmp_path / "x.gguf", file.done(bytes(size_of(file)))))
    assert isinstance(model, Model)
    # ggml lists the fastest dimension first, torch last.
    assert [(param.name, param.shape, param.dtype, param.nbytes) for param in model] == [
        ("a.weight", (3, 4), "float32", 48),
        ("b", (2, 64), "q4_0", 72),
    ]
    assert model.origin.config == {"metadata": {"general.architecture": "llama", "llama.block_count": 2}}
    assert f"version {version}" in model.origin.description
    assert model.findings == ()


def test_the_writer_s_files_are_read_as_the_reader_reads_them(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="ggml's own writer and reader: pip install gguf")
    import numpy as np

    path = tmp_path / "x.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("general.name", "tést\x1b[1m")
    writer.add_bool("x.flag", True)
    writer.add_float32("x.float", 1.5)
    writer.add_array("tokenizer.ggml.tokens", [f"token {index}" for index in range(1000)])
    writer.add_array("tokenizer.ggml.scores", [0.5] * 7)
    writer.add_tensor("a.weight", np.arange(12, dtype=np.float32).reshape(3, 4))
    writer.add_tensor("half", np.ones((2, 3), np.float16))
    for kind in (np.int8, np.int16, np.int32, np.int64, np.float64):
        writer.add_tensor(np.dtype(kind).name, np.ones((2, 5), kind))
    for kind, (elements, nbytes) in gguf.GGML_QUANT_SIZES.items():
        if elements > 1:
            writer.add_tensor(f"blocks.{kind.name}", np.zeros((3, 2 * nbytes), np.uint8), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model = outcome(path)
    assert isinstance(model, Model)
    assert model.findings == ()
    read = gguf.GGUFReader(path).tensors
    assert list(model.names) == [tensor.name for tensor in read]
    for param, tensor in zip(model, read, strict=True):
        assert param.shape == tuple(int(size) for size in reversed(tensor.shape))
        assert (param.numel, param.nbytes) == (tensor.n_elements, tensor.n_bytes)
        assert locator(str(path))(param.index).offset == tensor.data_offset
    metadata = (model.origin.config or {})["metadata"]
    assert metadata["general.name"] == "tést\\x1b[1m"
    assert metadata["tokenizer.ggml.tokens"]["count"] == 1000
    assert metadata["tokenizer.ggml.tokens"]["first"] == [f"token {index}" for index in range(5)]


def test_a_file_that_ends_within_its_header_is_cut_short_wherever_it_ends(tmp_path: Path) -> None:
    whole = file(("a", (4,), 0, 0), ("b", (4,), 0, 32)).pair("k", 8, Gguf().text("v")).done(bytes(64))
    for size in range(24, 90):
        result = outcome(written(tmp_path / "x.gguf", whole[:size]))
        assert isinstance(result, ParamxError), size
        assert "cut short" in result.why and "damaged" not in result.line, (size, result.line)


def test_a_renamed_part_of_a_split_file_says_what_it_is(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="the writer: pip install gguf")
    import numpy as np

    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama", split_max_tensors=1)
    for name in ("a", "b"):
        writer.add_tensor(name, np.ones((2, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert opened(tmp_path / "m-00001-of-00002.gguf").findings == ()
    model = opened((tmp_path / "m-00001-of-00002.gguf").rename(tmp_path / "first.gguf"))
    (finding,) = model.findings
    assert (finding.id, finding.message.split(" by ")[0]) == ("one-shard", "part 1 of 2")


def test_the_table_of_types_is_ggml_s(tmp_path: Path) -> None:
    constants = pytest.importorskip("gguf", reason="ggml's own table: pip install gguf")
    for kind, (elements, nbytes) in constants.GGML_QUANT_SIZES.items():
        ours = TYPES[int(kind)]
        assert (ours.elements, ours.nbytes) == (elements, nbytes), kind
        if elements > 1:
            assert ours.name == kind.name.lower()


def test_bytes_are_where_the_locator_says(tmp_path: Path) -> None:
    file = small()
    data = struct.pack("<12f", *range(12)) + bytes(16) + bytes(range(72))
    path = written(tmp_path / "x.gguf", file.done(data))
    place = locator(str(path))(0)
    assert struct.unpack("<12f", path.read_bytes()[place.offset : place.offset + place.nbytes]) == tuple(range(12))
    place = locator(str(path))(1)
    assert path.read_bytes()[place.offset : place.offset + place.nbytes] == bytes(range(72))


def test_a_vocabulary_is_stepped_over(tmp_path: Path) -> None:
    file = small()
    tokens = b"".join(file.text(f"token {index}") for index in range(200_000))
    file.pair("tokenizer.ggml.tokens", ARRAY, file.u32(STRING) + file.count(200_000) + tokens)
    path = written(tmp_path / "x.gguf", file.done(bytes(size_of(file))))
    tracemalloc.start()
    try:
        model = opened(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(tokens), "200,000 texts are 12 MB"
    assert (model.origin.config or {})["metadata"]["tokenizer.ggml.tokens"]["count"] == 200_000


def test_alignment_is_the_file_s_own(tmp_path: Path) -> None:
    file = Gguf().tensor("a", (4,), 0, 0)
    file.pair("general.alignment", U32, file.u32(4096))
    path = written(tmp_path / "x.gguf", file.done(bytes(16), align=4096))
    assert locator(str(path))(0).offset == 4096
    assert opened(path).findings == ()


# --- split files --------------------------------------------------------------------------------------------------


def split(folder: Path) -> list[Path]:
    paths = []
    for number in range(3):
        file = Gguf().tensor(f"blk.{number}.weight", (4,), 0, 0)
        file.pair("split.no", 2, struct.pack("<H", number)).pair("split.count", 2, struct.pack("<H", 3))
        file.pair("split.tensors.count", 5, struct.pack("<i", 3))
        paths.append(written(folder / f"m-{number + 1:05}-of-00003.gguf", file.done(bytes(16))))
    return paths


def test_a_split_file_opens_whole_from_any_part_or_its_directory(tmp_path: Path) -> None:
    for target in (*split(tmp_path), tmp_path):
        model = outcome(target)
        assert isinstance(model, Model)
        assert [(param.name, param.shard) for param in model] == [
            (f"blk.{number}.weight", f"m-{number + 1:05}-of-00003.gguf") for number in range(3)
        ]
        assert model.findings == ()
        assert locator(str(target))(2).path.name == "m-00003-of-00003.gguf"


def test_a_missing_part_is_told(tmp_path: Path) -> None:
    first, second, _ = split(tmp_path)
    second.unlink()
    model = opened(first)
    assert list(model.names) == ["blk.0.weight", "blk.2.weight"]
    assert findings(model) == {"missing-shard"}


def test_a_part_that_leads_out_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    first, second, _ = split(folder)
    second.rename(tmp_path / "outside.gguf")
    second.symlink_to(tmp_path / "outside.gguf")
    assert findings(opened(first)) == {"refused-path"}


def test_a_part_of_an_absurd_number_ends(tmp_path: Path) -> None:
    path = written(tmp_path / "m-00001-of-99999.gguf", Gguf().tensor("a", (4,), 0, 0).done(bytes(16)))
    assert isinstance(outcome(path), ParamxError)


# --- hostile files ------------------------------------------------------------------------------------------------

HUGE = 1 << 63


def _with_pair(kind: int, value: bytes) -> bytes:
    return small().pair("x", kind, value).done(bytes(200))


ERRORS = {
    "empty": b"",
    "magic alone": b"GGUF",
    "other magic": b"GGML" + bytes(60),
    "version 0": Gguf(0).done(),
    "version 4": Gguf(4).done(),
    "version 2^31": b"GGUF" + struct.pack("<I", 1 << 31) + bytes(60),
    "tensors 2^63": small().done(tensors=HUGE),
    "tensors 2^64-1": small().done(tensors=(1 << 64) - 1),
    "pairs 2^63": small().done(pairs=HUGE),
    "one pair too many": small().done(pairs=3),
    "one tensor too many": small().done(tensors=3),
    "key of 2^63": Gguf().done(pairs=1, align=1) + struct.pack("<Q", HUGE) + bytes(100),
    "string of 2^63": _with_pair(STRING, struct.pack("<Q", HUGE)),
    "string of 2^64-1": _with_pair(STRING, struct.pack("<Q", (1 << 64) - 1)),
    "array of 2^63 numbers": _with_pair(ARRAY, struct.pack("<IQ", U32, HUGE)),
    "array of 2^63 strings": _with_pair(ARRAY, struct.pack("<IQ", STRING, HUGE)),
    "array of 2^63 bytes": _with_pair(ARRAY, struct.pack("<IQ", 0, HUGE)),
    "array of an unknown type": _with_pair(ARRAY, struct.pack("<IQ", 99, 1)),
    "arrays nested without end": _with_pair(ARRAY, struct.pack("<IQ", ARRAY, 1) * 50_000),
    "value of an unknown type": _with_pair(99, b""),
    "dimensions 2^32-1": Gguf().done(tensors=1, align=1)
    + Gguf().text("a")
    + struct.pack("<I", 0xFFFFFFFF)
    + bytes(200),
    "only impossible tensors": Gguf().tensor("a", (HUGE, HUGE), 0, 0).done(),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_is_no_gguf_file_is_one_line_at_once(
    tmp_path: Path, name: str, steps: Callable[[Callable[[], object]], int]
) -> None:
    path = written(tmp_path / "x.gguf", ERRORS[name])
    # What the file says it has is not stepped through: its own bytes bound the work.
    results: list[object] = []
    assert steps(lambda: results.append(outcome(path))) < 20_000 + 20 * path.stat().st_size
    assert isinstance(results[0], ParamxError)


def file(*tensors: tuple[Any, tuple[int, ...], int, int]) -> Gguf:
    """Return a file of any tensors."""
    made = Gguf()
    for tensor in tensors:
        made.tensor(*tensor)
    return made


WARNINGS = {
    "unknown type": (file(("a", (4,), 0, 0), ("b", (4,), 99, 32)).done(bytes(64)), {"unknown-dtype"}, ["a", "b"]),
    "no whole blocks": (file(("a", (4,), 0, 0), ("b", (33,), 2, 32)).done(bytes(64)), {"bad-entry"}, ["a"]),
    "product overflow": (file(("a", (4,), 0, 0), ("b", (HUGE, 2), 0, 0)).done(bytes(64)), {"bad-entry"}, ["a"]),
    "huge offset": (file(("a", (4,), 0, 0), ("b", (4,), 0, HUGE)).done(bytes(64)), {"bad-entry"}, ["a"]),
    "overlap": (file(("a", (4,), 0, 0), ("b", (4,), 0, 8)).done(bytes(64)), {"overlap", "misaligned"}, ["a", "b"]),
    "misaligned": (file(("a", (4,), 0, 7)).done(bytes(64)), {"misaligned"}, ["a"]),
    "truncated": (file(("a", (4,), 0, 0), ("b", (4,), 0, 32)).done(bytes(33)), {"truncated"}, ["a", "b"]),
    "one name twice": (file(("a", (4,), 0, 0), ("a", (4,), 0, 32)).done(bytes(64)), {"same-name"}, ["a", "a (2)"]),
    "name of controls": (file(("\x1b]0;x\x07", (4,), 0, 0)).done(bytes(64)), set(), ["\\x1b]0;x\\x07"]),
    "name of bad UTF-8": (file((b"\xff\xfe", (4,), 0, 0)).done(bytes(64)), set(), ["\ufffd\ufffd"]),
    "empty name": (file(("", (4,), 0, 0)).done(bytes(64)), set(), [""]),
    "long name": (file(("n" * 10_000, (4,), 0, 0)).done(bytes(64)), set(), ["n" * 10_000]),
    "scalar": (file(("a", (), 0, 0)).done(bytes(64)), set(), ["a"]),
    "no tensors": (Gguf().done(), {"no-tensors"}, []),
    "one key twice": (
        file(("a", (4,), 0, 0)).pair("k", BOOL, b"\1").pair("k", BOOL, b"\0").done(bytes(64)),
        {"duplicate-key"},
        ["a"],
    ),
    "alignment 0": (
        file(("a", (4,), 0, 0)).pair("general.alignment", U32, bytes(4)).done(bytes(64)),
        {"bad-metadata"},
        ["a"],
    ),
    "alignment of text": (
        file(("a", (4,), 0, 0)).pair("general.alignment", STRING, Gguf().text("x")).done(bytes(64)),
        {"bad-metadata"},
        ["a"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WARNINGS)
def test_what_is_strange_is_told_and_shown(tmp_path: Path, name: str) -> None:
    data, told, names = WARNINGS[name]
    model = outcome(written(tmp_path / "x.gguf", data))
    assert isinstance(model, Model)
    assert findings(model) == told
    assert list(model.names) == names


def test_bytes_of_an_unknown_type_are_unknown(tmp_path: Path) -> None:
    path = written(tmp_path / "x.gguf", file(("a", (4,), 99, 0)).done(bytes(64)))
    assert opened(path)[0].nbytes is None
    with pytest.raises(ParamxError):
        locator(str(path))(0)


def test_values_json_lacks_reach_the_json_contract(tmp_path: Path) -> None:
    made = small().pair("nan", F32, struct.pack("<f", float("nan"))).pair("inf", F32, struct.pack("<f", float("inf")))
    assert isinstance(outcome(written(tmp_path / "x.gguf", made.done(bytes(200)))), Model)


@settings(max_examples=300)
@given(st.data())
def test_a_mutated_file_opens_or_is_one_line(folder: Path, data: st.DataObject) -> None:
    made = small(data.draw(st.integers(1, 3)), data.draw(st.sampled_from("<>")))
    made.pair("t", ARRAY, made.u32(STRING) + made.count(2) + made.text("x") + made.text("y"))
    whole = made.done(bytes(size_of(made)))
    at = data.draw(st.integers(0, len(whole)))
    spoiled = whole[:at] + data.draw(st.binary(max_size=9)) + whole[at + data.draw(st.integers(0, 9)) :]
    outcome(written(folder / "x.gguf", spoiled))
