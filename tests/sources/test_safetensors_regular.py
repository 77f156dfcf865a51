"""What the quick reading of a header takes, the parser reads alike; whatever else there is, is left to the parser."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from explorer.sources.checkpoint.safetensors_regular import read_regular

NUMBERS = st.integers(0, 30) | st.integers(2**61, 2**64)
NAMES = st.text(max_size=6) | st.sampled_from(
    ["__metadata__", "a.weight", '"', "\\", "\x7f", "é", "}", '":{', "\u2028"]
)
ENTRIES = st.builds(
    lambda dtype, shape, begin, end: {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]},
    st.sampled_from(["F32", "BF16", "F8_E4M3", "XX"]),
    st.lists(NUMBERS, max_size=3),
    NUMBERS,
    NUMBERS,
)
METADATA = st.none() | st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2)


def written(entries: dict[str, Any], metadata: dict[str, str] | None, ascii_only: bool) -> str:
    header = {} if metadata is None else {"__metadata__": metadata}
    text = json.dumps({**header, **entries}, separators=(",", ":"), ensure_ascii=ascii_only)
    return text + " " * (-len(text) % 8)


def same_as_parsed(text: bytes) -> bool:
    """Whether the quick reading takes a text; if it does, it must have read what the parser reads."""
    found = read_regular(text)
    if found is None:
        return False
    parts, metadata = found
    keys: list[str] = []

    def pairs(drawn: list[tuple[str, Any]]) -> dict[str, Any]:
        keys[:] = [key for key, _ in drawn]
        assert len(set(keys)) == len(keys), "a key stands there twice"
        return dict(drawn)

    items = json.loads(text.decode(), object_pairs_hook=pairs)
    assert items.pop("__metadata__", None) == metadata
    assert list(items) == list(parts.names)
    expected = [(item["dtype"], tuple(item["shape"]), *item["data_offsets"]) for item in items.values()]
    assert expected == list(zip(parts.dtypes, parts.shapes, parts.begins, parts.ends, strict=True))
    assert all(item.keys() == {"dtype", "shape", "data_offsets"} for item in items.values())
    return True


@given(st.dictionaries(NAMES, ENTRIES, max_size=5), METADATA, st.booleans())
def test_what_it_takes_is_what_the_parser_reads(
    entries: dict[str, Any], metadata: dict[str, str] | None, ascii_only: bool
) -> None:
    same_as_parsed(written(entries, metadata, ascii_only).encode(errors="surrogatepass"))


def test_a_header_as_the_library_writes_it_is_taken() -> None:
    entry = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    scalar = {"dtype": "F32", "shape": [], "data_offsets": [24, 28]}
    assert same_as_parsed(written({"a.weight": entry, "é": scalar}, {"format": "pt", "x": '{"y":1}'}, False).encode())
    assert same_as_parsed(written({"a": entry}, None, True).encode())


GOOD = (
    '{"__metadata__":{"a":"b"},'
    '"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
    '"y":{"dtype":"F32","shape":[0],"data_offsets":[8,8]}}'
)


@given(
    st.integers(0, len(GOOD)),
    st.integers(0, 3),
    st.sampled_from(['"', ",", "}", "{", "0", " ", "\\", "[", ":", "", "x"]),
)
@example(GOOD.index('"y"'), 3, '"x"')
@example(GOOD.index("0,8"), 0, "0")
def test_a_text_with_a_flaw_is_never_read_otherwise_than_by_the_parser(at: int, length: int, put: str) -> None:
    same_as_parsed((GOOD[:at] + put + GOOD[at + length :]).encode())


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ('"y"', '"x"'),
        ('"y"', '"__metadata__"'),
        ('"y"', '"\\u0079"'),
        ("[0,8]", "[00,8]"),
        ("[0,8]", "[0,8.0]"),
        ("[0,8]", "[-0,8]"),
        ("[0,8]", f"[0,{2**63}]"),
        ("[2]", "[02]"),
        ("[2]", "[2,]"),
        ("[2]", "[true]"),
        ("[2]", f"[{','.join('1' * 999)}]"),
        ('"b"', "1"),
        ('"a":"b"', '"a":"b","a":"c"'),
        ('{"a":"b"}', '[["a","b"]]'),
        ('},"y"', '}}"y"'),
        ('},"y"', '};"y"'),
        ('},"y"', '}, "y"'),
        (GOOD[-1], ""),
        ("F32", "f32"),
    ],
)
def test_what_is_written_otherwise_is_left_to_the_parser(was: str, now: str) -> None:
    assert same_as_parsed(GOOD.encode())
    assert read_regular(GOOD.replace(was, now).encode()) is None


@pytest.mark.parametrize(
    "text", [b"", b"{}", b'{"__metadata__":{}}', b"{", b'{"x":1}', GOOD.encode() + b"\xff", b"[" * 99_999]
)
def test_a_text_without_an_entry_is_left_to_the_parser(text: bytes) -> None:
    assert read_regular(text) is None
