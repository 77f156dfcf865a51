"""A model crosses the process boundary whole, and damaged bytes are refused as such."""

from __future__ import annotations

import contextlib
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.core.errors import ParamxError
from explorer.core.param import Counters, Finding, Model, ModuleClass, Origin, Param, Place
from explorer.core.text import visible
from explorer.core.tree import Tree
from explorer.core.tree_wire import ASKED_FROM, REQUEST, decode_tree, encode_tree, tree_of
from explorer.core.wire import MAGIC, decode, encode

NAMES = st.text(max_size=8).map(visible)
SIZES = st.integers(0, 2**63 - 1)
MAYBE_TEXT = st.none() | NAMES
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | NAMES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=5,
)
PARAMS = st.builds(
    Param,
    index=st.just(0),
    name=NAMES,
    shape=st.none() | st.lists(SIZES, max_size=3).map(tuple),
    numel=SIZES,
    dtype=MAYBE_TEXT,
    nbytes=st.none() | SIZES,
    device=MAYBE_TEXT,
    requires_grad=st.none() | st.booleans(),
    module_class=st.none() | st.builds(ModuleClass, NAMES, st.lists(NAMES, max_size=2).map(tuple)),
    aliases=st.lists(NAMES, max_size=2).map(tuple),
    shard=MAYBE_TEXT,
    notes=NAMES,
    place=st.none()
    | st.builds(
        Place,
        st.lists(NAMES, max_size=2).map(tuple),
        st.none() | st.lists(NAMES, max_size=2).map(tuple),
        st.booleans(),
    ),
)
MODELS = st.builds(
    Model.from_params,
    st.builds(
        Origin,
        target=NAMES,
        kind=NAMES,
        description=NAMES,
        class_name=MAYBE_TEXT,
        model_type=MAYBE_TEXT,
        config=st.none() | st.dictionaries(NAMES, JSON, max_size=3),
        versions=st.dictionaries(NAMES, NAMES, max_size=2),
    ),
    st.lists(PARAMS, max_size=4),
    st.none() | st.builds(Counters, loop=SIZES, num_parameters=st.none() | SIZES, trainable=st.none() | SIZES),
    st.lists(
        st.builds(
            Finding,
            id=NAMES,
            severity=st.sampled_from(["error", "warning", "hint"]),
            message=NAMES,
            names=st.lists(NAMES, max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
)


def facts(model: Model) -> dict[str, Any]:
    """Everything a model says, in a form that compares."""
    return {
        "rows": list(model),
        **{field.name: getattr(model, field.name) for field in fields(model) if field.name in PLAIN},
    }


PLAIN = {"origin", "aliases", "counters", "findings", "notes", "state"}

SAMPLE = replace(
    Model.from_params(
        Origin("x", "test", "made by a test", "Net", config={"a": [1, 2.5]}, versions={"torch": "2"}),
        [
            Param(
                0,
                "a.weight",
                (2, 3),
                6,
                "float32",
                24,
                "meta",
                True,
                ModuleClass("Linear", ("B",)),
                ("b.weight",),
                "f1",
            ),
            Param(1, "a.bias", (2,), 2, "float16", 4, "meta", False, ModuleClass("Linear", ("B",)), (), "f2"),
            Param(2, "lazy", None, 0, None, None, None, None, None, (), None, "it has no shape yet"),
        ],
        Counters(loop=8, state_dict_tensors=4),
        (Finding("missing-shard", "error", "no f2", ("a.bias",)),),
    ),
    state=(4, 14),
)
BLOCK = encode(SAMPLE)


@given(MODELS)
def test_a_model_survives_the_crossing(model: Model) -> None:
    assert facts(decode(encode(model))) == facts(model)


@given(MODELS)
def test_the_bytes_are_a_function_of_the_model(model: Model) -> None:
    assert encode(decode(encode(model))) == encode(model)


def test_a_memoryview_reads_as_its_bytes() -> None:
    assert facts(decode(memoryview(BLOCK))) == facts(SAMPLE)


def test_every_cut_is_refused() -> None:
    for length in range(len(BLOCK)):
        with pytest.raises(ValueError):
            decode(BLOCK[:length])


def test_what_follows_the_end_is_refused() -> None:
    with pytest.raises(ValueError, match="length"):
        decode(BLOCK + b"\0")


def test_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="not an encoded model"):
        decode(b"PXM9" + BLOCK[len(MAGIC) :])


def use(data: bytes) -> None:
    """Do with a block what the program does: read every row, and its sums."""
    model = decode(data)
    assert all(isinstance(size, int) for row in model for size in row.shape or ())
    assert all(0 <= index < len(model) for index in model.aliases)
    assert model.total == sum(row.numel for row in model)
    encode(model)


def refuse_or_read(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        use(data)


@given(st.integers(0, len(BLOCK) - 1), st.integers(0, 255))
@settings(max_examples=2000)
def test_a_changed_byte_is_refused_or_gives_a_table_that_reads(at: int, byte: int) -> None:
    refuse_or_read(BLOCK[:at] + bytes([byte]) + BLOCK[at + 1 :])


@given(st.integers(0, len(BLOCK)), st.integers(0, len(BLOCK)), st.binary(max_size=12))
@settings(max_examples=500)
def test_a_changed_stretch_is_refused_or_gives_a_table_that_reads(start: int, stop: int, other: bytes) -> None:
    refuse_or_read(BLOCK[:start] + other + BLOCK[stop:])


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data: bytes) -> None:
    for block in (data, MAGIC + data, MAGIC + len(data).to_bytes(8, "little") + data):
        with pytest.raises(ValueError):
            decode(block)


@pytest.mark.parametrize(
    "head", [b"[]", b"7", b'"x"', b"null", b"{}", b'{"blobs":[]}', b'{"blobs":7,"rows":0}', b"[" * 100_000]
)
def test_a_head_of_another_form_is_refused(head: bytes) -> None:
    with pytest.raises(ValueError):
        decode(MAGIC + len(head).to_bytes(8, "little") + head)


def test_a_code_without_a_value_is_refused() -> None:
    last = 3 * 4  # the last blob, `shards`: three codes of four bytes
    with pytest.raises(ValueError, match="no value"):
        decode(BLOCK[:-last] + b"\xff" * last)


# --- a tree ---------------------------------------------------------------------------------------------------------


def layers(count: int) -> list[Param]:
    names = [f"layer.{at}.{leaf}" for at in range(count) for leaf in ("w", "b")]
    return [Param(0, name, (2,), 2, None, None, None, None, None, (), None) for name in names]


TREES = st.lists(
    st.lists(st.sampled_from(["", "a", "0", "1", "2", "10", "名"]), min_size=1, max_size=4).map(".".join), max_size=20
).map(
    lambda names: Tree.build(
        Model.from_params(
            Origin("x", "test", ""),
            [Param(0, name, (2,), 2, None, None, None, None, None, (), None) for name in names],
        )
    )
)


@given(TREES)
def test_a_tree_comes_back_as_it_was(tree: Tree) -> None:
    back = decode_tree(tree.model, encode_tree(tree))
    assert {field.name: getattr(back, field.name) for field in fields(tree) if field.init} == {
        field.name: getattr(tree, field.name) for field in fields(tree) if field.init
    }


def test_a_run_of_modules_comes_back() -> None:
    tree = Tree.build(Model.from_params(Origin("x", "test", ""), layers(3)))
    assert tree.repeats == {1: (range(2, 9, 3),)}
    assert decode_tree(tree.model, encode_tree(tree)).repeats == tree.repeats


@given(TREES, st.data())
def test_a_tree_cut_short_or_of_another_model_is_refused(tree: Tree, data: st.DataObject) -> None:
    block = encode_tree(tree)
    with pytest.raises(ValueError, match="encoded"):
        decode_tree(tree.model, block[: data.draw(st.integers(0, len(block) - 1))])


def test_a_large_tree_is_asked_for_and_made_here_without_an_answer() -> None:
    params = [Param(0, f"m.{at}.w", (1,), 1, None, None, None, None, None, (), None) for at in range(ASKED_FROM)]
    model = Model.from_params(Origin("x", "test", ""), params)
    here = Tree.build(model)
    asked: list[str] = []

    def ask(request: str, _: object) -> bytes:
        asked.append(request)
        return encode_tree(here)

    def refuse(request: str, _: object) -> bytes:
        asked.append(request)
        raise ParamxError(request, "nothing here answers that")

    assert tree_of(model, ask).labels == tree_of(model, refuse).labels == here.labels
    assert asked == [REQUEST, REQUEST]
    small = Model.from_params(Origin("x", "test", ""), params[:10])
    assert len(tree_of(small, refuse)) == 1 + 1 + 20
    assert asked == [REQUEST, REQUEST], "a small one is made at once"
