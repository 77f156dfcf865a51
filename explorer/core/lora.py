"""Finds the pairs of matrices of LoRA adapters in a table, by names and shapes. Pure.

An adapter adds `scale · B·A` to the weight of the layer that its pair is named after (Hu et al. 2021, "LoRA:
Low-Rank Adaptation of Large Language Models"). A name alone proves nothing: the two must share their rank.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import sqrt
from typing import Any, NamedTuple

from explorer.core.card import Fact, Section
from explorer.core.param import Model
from explorer.core.text import plural

KEY = "adapter"
"""Where `Origin.config` has what `adapter_config.json` says."""

PARTS = {
    "lora_A": "lora_B",
    "lora_embedding_A": "lora_embedding_B",
    "lora_down": "lora_up",
}
"""The matrix that reads the input, and the one that writes the output: PEFT's names (0.21, `tuners/lora/layer.py`)
and those of sd-scripts, which adapters of diffusion models have."""

SHOWN_TARGETS = 4
"""Most layers that a line names."""

LONGEST_NAME = 80
"""Longest name of a base model or of a layer that a line shows, in characters."""

MAX_ALPHA = 1e12
"""Largest alpha that is shown: it is a stranger's, and JSON's integers have no end."""

_PART = "|".join([*PARTS, *PARTS.values()])
_NAME = re.compile(rf"(?P<module>.+)\.(?P<part>{_PART})(?:\.(?P<adapter>(?!weight$)[^.]+))?(?:\.weight)?")


class Pair(NamedTuple):
    """Two matrices that stand beside one layer."""

    module: str
    """The layer's path: `model.layers.0.self_attn.q_proj`."""
    adapter: str
    """The adapter's name; empty in a file, which holds one."""
    rank: int
    """Rows of A, and columns of B."""
    inputs: int
    """Width of what A reads."""
    outputs: int
    """Width of what B writes."""
    rows: tuple[int, int]
    """Rows of A and of B in the table."""


def pairs(model: Model) -> list[Pair]:
    """Return the pairs, in the order of the table."""
    halves: dict[tuple[str, str, str], int] = {}
    for row, name in enumerate(model.names):
        if "lora_" in name and (found := _NAME.fullmatch(name)):  # of a large table few do
            halves[found["module"], found["part"], found["adapter"] or ""] = row
    return list(_matched(model, halves))


def _matched(model: Model, halves: Mapping[tuple[str, str, str], int]) -> Iterator[Pair]:
    for (module, part, adapter), first in halves.items():
        second = halves.get((module, PARTS.get(part, ""), adapter))
        if second is None:
            continue
        a, b = model.shapes[first], model.shapes[second]
        if a and b and len(a) > 1 and len(b) > 1 and a[0] == b[1]:
            yield Pair(module, adapter, a[0], a[1], b[0], (first, second))


def summary(model: Model, found: list[Pair]) -> str:
    """Return what a table's adapter is in a few words: `a LoRA adapter of rank 4 for ck_llama`.

    Args:
        model: The table.
        found: Its pairs; at least one.
    """
    in_pairs = {row for pair in found for row in pair.rows}
    alone = all(row in in_pairs or row in model.apart or not shape for row, shape in enumerate(model.shapes))
    base = _base(_said(model))
    whose = f" for {base}" if base else ""
    return f"{'a LoRA adapter' if alone else 'with a LoRA adapter'} of {_ranks(found)}{whose}"


def targets(found: list[Pair]) -> str:
    """Return the names of the layers that the pairs stand beside: `q_proj, v_proj`."""
    last = list(dict.fromkeys(_layer(pair) for pair in found))
    more = f" and {len(last) - SHOWN_TARGETS:,} more" if len(last) > SHOWN_TARGETS else ""
    return ", ".join(last[:SHOWN_TARGETS]) + more


def note(pair: Pair, row: int) -> str:
    """Return what one matrix of a pair does."""
    layer = _layer(pair)
    if row == pair.rows[0]:
        return f"LoRA A of {layer}: {pair.inputs:,} → rank {pair.rank:,}"
    return f"LoRA B of {layer}: rank {pair.rank:,} → {pair.outputs:,}"


def section(model: Model) -> Section | None:
    """Return the figures of a table's adapter for the model card; `None` where it has none."""
    found = pairs(model)
    if not found:
        return None
    said = _said(model)
    facts = [
        Fact("pairs", f"{len(found):,}", f"{plural(len(found) * 2, 'tensor')}, by names and shapes"),
        Fact("rank", _ranks(found).partition(" ")[2], "r" if "r" in said else "rows of A"),
        *_scale(found, said),
        Fact("beside", targets(found), "target_modules" if "target_modules" in said else "by the names"),
    ]
    if base := _base(said):
        facts.append(Fact("base model", base, "base_model_name_or_path"))
    return Section(KEY, tuple(facts))


def _scale(found: list[Pair], said: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield alpha, and the factor of B·A where it is one for all pairs (PEFT 0.21, `LoraLayer.update_layer`)."""
    alpha, root = said.get("lora_alpha"), said.get("use_rslora") is True
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or abs(alpha) > MAX_ALPHA:
        return
    yield Fact("alpha", f"{alpha:g}", "lora_alpha")
    ranks = {pair.rank for pair in found}
    if len(ranks) == 1 and not said.get("alpha_pattern") and (rank := ranks.pop()):
        scale = alpha / (sqrt(rank) if root else rank)
        yield Fact("scale of B·A", f"{scale:.4g}", "lora_alpha / √r" if root else "lora_alpha / r")


def _ranks(found: list[Pair]) -> str:
    ranks = sorted({pair.rank for pair in found})
    return f"rank {ranks[0]:,}" if len(ranks) == 1 else f"ranks {ranks[0]:,} to {ranks[-1]:,}"


def _said(model: Model) -> Mapping[str, Any]:
    """Return what the adapter's own configuration says."""
    said = (model.origin.config or {}).get(KEY)
    return said if isinstance(said, Mapping) else {}


def _base(said: Mapping[str, Any]) -> str:
    base = said.get("base_model_name_or_path")
    return base[:LONGEST_NAME] if isinstance(base, str) else ""


def _layer(pair: Pair) -> str:
    return pair.module.rpartition(".")[2][:LONGEST_NAME]
