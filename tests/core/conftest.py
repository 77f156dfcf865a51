"""Models that the tests of groups share: real architectures on the meta device, and tables made by hand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files

import pytest

from explorer.core.param import Model, ModuleClass, Origin, Param

os.environ.setdefault("HF_HUB_OFFLINE", "1")

MakeModel = Callable[..., Model]


@cache
def _architecture(name: str) -> Model:
    import torch
    import transformers

    from explorer.sources.live_module import table_of

    text = (files("explorer.sources") / "architectures" / f"{name}.json").read_text()
    config = json.loads(text)["config"]
    kind = getattr(transformers, config["architectures"][0])
    with torch.device("meta"):
        module = kind(kind.config_class.from_dict(config))
    return table_of(module, Origin(name, "test", "test", kind.__name__))


@pytest.fixture(scope="session")
def architecture() -> Callable[[str], Model]:
    """Return the table of a built-in architecture, built by transformers on the meta device."""
    return _architecture


def make_model(rows: Sequence[tuple[str, tuple[int, ...] | None, str | None]], **columns: object) -> Model:
    """Return a table of (name, shape, class of the owning module and its bases, apart by spaces)."""
    frozen = columns.get("frozen", ())
    aliases = columns.get("aliases", {})
    assert isinstance(frozen, (tuple, set, list))
    assert isinstance(aliases, dict)
    params = []
    for index, (name, shape, kind) in enumerate(rows):
        numel = 1
        for size in (0,) if shape is None else shape:
            numel *= size
        kinds = kind.split() if kind else []
        params.append(
            Param(
                index,
                name,
                shape,
                numel,
                "float32",
                4 * numel,
                "cpu",
                name not in frozen,
                ModuleClass(kinds[0], tuple(kinds[1:])) if kinds else None,
                aliases.get(name, ()),
                None,
            )
        )
    return Model.from_params(Origin("made", "test", "test"), params)


@pytest.fixture(scope="session")
def table() -> MakeModel:
    """Return the maker of tables."""
    return make_model


@pytest.fixture
def tiny(table: MakeModel) -> Model:
    """Return a table with every kind of parameter that a rule may tell apart."""
    return table(
        [
            ("embed.weight", (10, 4), "Embedding"),
            ("layer.1.attn.weight", (4, 4), "Linear"),
            ("layer.1.attn.bias", (4,), "Linear"),
            ("layer.1.LayerNorm.weight", (4,), "LayerNorm"),
            ("layer.1.LayerNorm.bias", (4,), "LayerNorm"),
            ("layer.10.attn.weight", (4, 4), "Linear"),
            ("layer.10.attn.bias", (4,), "Linear"),
            ("layer.10.ln.weight", (4,), "TinyRMSNorm"),
            ("layer.10.bn.weight", (4,), "Batch2d _BatchNorm _NormBase"),
            ("scale", (), "Tiny"),
        ]
    )
