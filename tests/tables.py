"""Tables made by hand: parameters with plausible facts, and the reference model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from explorer.core.param import Counters, Model, ModuleClass, Origin, Param


def param(name: str, shape: tuple[int, ...] | None = (2, 3), **other: Any) -> Param:
    """One parameter with plausible facts."""
    numel = 0 if shape is None else math.prod(shape)
    facts: dict[str, Any] = {
        "index": 0,
        "name": name,
        "shape": shape,
        "numel": numel,
        "dtype": "float32",
        "nbytes": 4 * numel,
        "device": "meta",
        "requires_grad": True,
        "module_class": None,
        "aliases": (),
        "shard": None,
    }
    return Param(**{**facts, **other})


def model_of(*params: Param | str, **origin: Any) -> Model:
    """A small model."""
    facts = {"target": "small", "kind": "test", "description": "made by a test"} | origin
    return Model.from_params(Origin(**facts), [param(p) if isinstance(p, str) else p for p in params])


def kantaibert() -> Model:
    """The reference model from the facts, with versions that never change."""
    facts = json.loads((Path(__file__).parent / "facts" / "kantaibert.json").read_text())
    return Model.from_params(
        Origin(
            "kantaibert",
            "transformers",
            "built-in architecture, no weights",
            "RobertaForMaskedLM",
            "roberta",
            versions={"torch": "2.x", "transformers": "5.x"},
        ),
        [
            param(
                fact["name"],
                tuple(fact["shape"]),
                module_class=ModuleClass(fact["module_class"]),
                aliases=tuple(fact["aliases"]),
            )
            for fact in facts
        ],
        Counters(83_504_416, 83_504_416, 43_172_896, 83_504_416, 108, 123_492_416, 2, 1028),
    )
