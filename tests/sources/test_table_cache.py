"""A remembered table is the one that was built, or none at all."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from explorer.core.loading import OpenSpec
from explorer.core.param import Model, Origin, Param
from explorer.core.wire import encode
from explorer.sources import table_cache
from explorer.sources.hub import Found

SPEC = OpenSpec("some/model", remember="use")
FOUND = Found({"model_type": "bert", "hidden_size": 8}, "built-in architecture, no weights")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def model(names: int = 3) -> Model:
    origin = Origin("some/model", "transformers", "built", config={"hidden_size": 8}, versions={"torch": "2"})
    rows = [
        Param(index, f"layer.{index}.weight", (2, 3), 6, "float32", 24, "meta", True, None, (), None)
        for index in range(names)
    ]
    return Model.from_params(origin, rows)


def key() -> str:
    found = table_cache.key_of(SPEC, FOUND)
    assert found is not None
    return found


def test_a_second_opening_gives_the_identical_table() -> None:
    table_cache.store(key(), model())
    again = table_cache.load(key())
    assert again is not None
    assert again.origin.remembered
    assert encode(replace(again, origin=replace(again.origin, remembered=False))) == encode(model())


def test_what_was_never_stored_is_not_there() -> None:
    assert table_cache.load(key()) is None
    assert table_cache.load(None) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:20],
        lambda data: data[:-1],
        lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
        lambda data: data + b"x",
    ],
)
def test_a_corrupt_entry_is_no_table_and_is_replaced(damage, home: Path) -> None:
    table_cache.store(key(), model())
    [path] = home.rglob("*.pxm")
    path.write_bytes(damage(path.read_bytes()))
    assert table_cache.load(key()) is None
    table_cache.store(key(), model())
    assert table_cache.load(key()) is not None


def test_a_version_is_what_the_metadata_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in table_cache.LIBRARIES:
        assert table_cache._version(library) == version(library)
    assert table_cache._version("no-such-library") is None
    (tmp_path / "torch-0.1+cpu.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert table_cache._version("torch") == "0.1+cpu"


def test_another_config_class_or_version_is_another_table(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {
        key(),
        table_cache.key_of(replace(SPEC, class_name="BertModel"), FOUND),
        table_cache.key_of(replace(SPEC, target="other/model"), FOUND),
        table_cache.key_of(SPEC, replace(FOUND, config={**FOUND.config, "hidden_size": 16})),
        table_cache.key_of(SPEC, replace(FOUND, description="cached snapshot 1234567, no weights")),
    }
    for library in table_cache.LIBRARIES:
        with monkeypatch.context() as patch:
            patch.setattr(table_cache, "_version", lambda name, of=library: "0" if name == of else "1")
            keys.add(table_cache.key_of(SPEC, FOUND))
    monkeypatch.setattr(table_cache, "__version__", "another")
    keys.add(table_cache.key_of(SPEC, FOUND))
    monkeypatch.setattr(table_cache, "__file__", str(Path(__file__)))  # installed at another time
    keys.add(table_cache.key_of(SPEC, FOUND))
    assert len(keys) == 9
    assert None not in keys


def test_nothing_is_remembered_where_code_or_weights_have_a_say(tmp_path: Path) -> None:
    assert table_cache.key_of(replace(SPEC, trust_remote_code=True), FOUND) is None
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert table_cache.key_of(SPEC, replace(FOUND, directory=tmp_path)) is None


def test_the_ones_used_last_are_kept(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setattr(table_cache, "MAX_TABLES", 2)
    for number, name in enumerate("abc"):
        table_cache.store(name, model())
        os.utime(table_cache.folder() / f"{name}.pxm", (number + 1, number + 1))
        if name == "b":
            assert table_cache.load("a") is not None  # used now
    assert sorted(path.stem for path in home.rglob("*.pxm")) == ["a", "c"]


def test_no_more_bytes_are_kept_than_allowed(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setattr(table_cache, "MAX_BYTES", len(encode(model())) + 40)
    table_cache.store("a", model())
    os.utime(table_cache.folder() / "a.pxm", (1, 1))
    table_cache.store("b", model())
    assert [path.stem for path in home.rglob("*.pxm")] == ["b"]


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "HOME"])
def test_a_folder_that_can_not_be_written_is_no_error(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv(variable, str(tmp_path / "file") if variable == "XDG_CACHE_HOME" else "not absolute")
    table_cache.store(key(), model())
    assert table_cache.load(key()) is None
