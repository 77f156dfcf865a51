"""A tree as one block of bytes: laid out in the worker's process, where it stalls no key and no first frame.

Layout: the counts as UTF-8 JSON behind 8 bytes little-endian length, the distinct labels as one newline-joined blob
behind the same, then the columns as little-endian arrays of 4-byte numbers, in the order of `_COLUMNS`.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Mapping
from typing import Any

from explorer.core.classes import stretches
from explorer.core.errors import ParamxError
from explorer.core.param import Model
from explorer.core.tree import Tree
from explorer.core.wire import pack, unpack

REQUEST = "tree"
"""What a worker is asked for."""

ASKED_FROM = 5_000
"""Parameters from which a tree is worth asking for; below, it is made in less time than the answer takes to come."""

_COLUMNS = ("parents", "ends", "params", "leaf_starts", "leaf_ends", "tails", "leaf_order")


def tree_of(model: Model, ask: Callable[[str, Mapping[str, Any]], Any]) -> Tree:
    """Return the model's tree, made by whoever opened it where it is large.

    Args:
        model: The table.
        ask: What asks them (`explorer.core.loading.Loading.ask`); without an answer the tree is made here.
    """
    if len(model) >= ASKED_FROM:
        try:
            return decode_tree(model, ask(REQUEST, {}))
        except (ParamxError, ValueError):  # a module of this process, which answers no such question; or it died
            pass
    return Tree.build(model)


def encode_tree(tree: Tree) -> bytes:
    """Return `tree`, without its model, as bytes that `decode_tree` reads back."""
    seen: dict[str, int] = {}
    codes = array("i", [seen.setdefault(label, len(seen)) for label in tree.labels])
    runs = array("i")
    for parent, found in tree.repeats.items():
        for run in found:
            runs.extend((parent, run.start, run.stop, run.step))
    head = {"nodes": len(tree), "runs": len(runs), "renumbered": tree.renumbered, "model_ordered": tree.model_ordered}
    columns = [codes, *(getattr(tree, name) for name in _COLUMNS), runs]
    parts = (json.dumps(head).encode(), "\n".join(seen).encode())
    return b"".join([*(len(part).to_bytes(8, "little") + part for part in parts), *map(pack, columns)])


def decode_tree(model: Model, data: bytes | memoryview) -> Tree:
    """Return the tree of `model` that `encode_tree` wrote.

    Raises:
        ValueError: The bytes are no such block, or of another model.
    """
    view = memoryview(data)
    at = 0

    def take(length: int) -> memoryview:
        nonlocal at
        at += length
        if at > len(view):
            raise ValueError("an encoded tree that is cut short")
        return view[at - length : at]

    try:
        head = json.loads(bytes(take(int.from_bytes(take(8), "little"))))
        labels = bytes(take(int.from_bytes(take(8), "little"))).decode().split("\n")
        nodes = head["nodes"]
        codes = unpack("i", take(4 * nodes), nodes)
        sizes = [*[nodes] * (len(_COLUMNS) - 1), len(model)]
        columns = {name: unpack("i", take(4 * size), size) for name, size in zip(_COLUMNS, sizes, strict=True)}
        runs = unpack("i", take(4 * head["runs"]), head["runs"])
        repeats: dict[int, tuple[range, ...]] = {}
        for parent, start, stop, step in zip(*[iter(runs)] * 4, strict=True):
            repeats[parent] = (*repeats.get(parent, ()), range(start, stop, step))
        return Tree(
            model=model,
            labels=[label for part in stretches(codes) for label in map(labels.__getitem__, part)],
            renumbered=head["renumbered"],
            model_ordered=head["model_ordered"],
            repeats=repeats,
            **columns,
        )
    except (KeyError, TypeError, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"an encoded tree that does not read back: {error!r}") from error
