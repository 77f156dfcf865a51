"""The preset of layer-wise learning-rate decay, on one stack of layers or several."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from explorer.core.layers import Tower, layer_of, towers
from explorer.core.param import Model
from explorer.core.rules import MAX_RULES, Grouping, Rule


def layerwise(model: Model, rate: float = 0.9, weight_decay: float = 0.05) -> Grouping:
    """Layer-wise learning-rate decay: each layer down from the top learns `rate` times as fast as the one above.

    In each stack the embeddings and whatever stands before the first layer are the lowest. All that is neither learns
    at the full rate: final norms, projectors, heads, and lone numbers such as a `logit_scale`. Tensors of fewer than
    two dimensions do not decay.

    The rule is made for one stack (timm's `param_groups_layer_decay`). Of several each counts from its own top, as
    published code has it: EVA-CLIP (rei/training/optim.py, `get_assigner`: images, text, the rest at full rate) and
    InternVL-G (internvl_g/internvl/train/trainer_monkey_patch.py, `get_num_layer_for_vit_and_qllama`: a ViT below a
    language model). One count through both would all but freeze the lower: 0.9 ** 61 is 0.0016. An encoder counts so
    too: every layer of its decoder reads its top, which stands one step below the last of them.

    Args:
        model: The model.
        rate: The factor from layer to layer.
        weight_decay: Of tensors with two dimensions or more.

    Raises:
        ValueError: There are more layers than groups can be.
    """
    places = [None if i in model.apart else layer_of(name) for i, name in enumerate(model.names)]
    found = towers(model, places)
    levels = {layer: (tower, at) for tower in found for at, layer in enumerate(tower.layers, 1)}
    outside = _outside(found)
    members: dict[tuple[Tower, int] | None, list[int]] = {}
    for i, place in enumerate(places):
        if i in model.apart:
            continue
        level = levels.get(place) if place else None
        if level is None:
            tower = next((tower for tower in found if model.names[i].startswith(tower.root)), outside)
            level = (tower, 0) if _embeds(model, i, tower) else None
        members.setdefault(level, []).append(i)
    plain = {prefix: _is_clear(model, prefix) for prefix in {prefix for prefix, _ in levels}}
    rules: list[Rule] = []
    for tower in dict.fromkeys((outside, *found)):  # one stack alone is the whole model
        for at in range(len(tower.layers) + 1):
            name = "_".join(filter(None, (tower.label, f"layer_{at - 1}" if at else "embeddings")))
            flat, wide = _by_width(model, members.get((tower, at), []))
            terms = (_layer_term(*tower.layers[at - 1], plain),) if at else ()
            scale = {"lr_mult": float(f"{rate ** (len(tower.layers) + 1 - at):.6g}")}
            if flat:
                spared = (*terms, "!ndim>=2") if terms else _exactly(model, flat)
                rules.append(Rule(f"{name}_no_decay", spared, {"weight_decay": 0.0, **scale}))
            if wide:
                rules.append(Rule(name, terms or _exactly(model, wide), {"weight_decay": weight_decay, **scale}))
    flat, wide = _by_width(model, members.get(None, []))
    if flat and wide:
        rules.append(Rule("head_no_decay", ("ndim<2",), {"weight_decay": 0.0, "lr_mult": 1.0}))
    last = ("head_no_decay", 0.0) if flat and not wide else ("head", weight_decay)
    rules.append(Rule(last[0], (), {"weight_decay": last[1], "lr_mult": 1.0}))
    if len(rules) > MAX_RULES:
        raise ValueError(f"{len(levels)} layers make {len(rules)} groups, and {MAX_RULES} are possible")
    return Grouping(tuple(rules))


def _outside(found: Collection[Tower]) -> Tower:
    """Return what stands for all that is in no tower: as low as the lowest of any, where it embeds."""
    deepest = max((tower.layers for tower in found), key=len, default=())
    return Tower("", "", deepest, min((tower.first for tower in found), default=0))


def _embeds(model: Model, index: int, tower: Tower) -> bool:
    """Tell whether a parameter outside the layers stands below them; a lone number (`logit_scale`) never does."""
    owner = model.modules[index]
    embedding = owner is not None and "Embed" in owner.name
    return bool(tower.layers) and model.numels[index] > 1 and (index < tower.first or embedding)


def _by_width(model: Model, members: Collection[int]) -> tuple[list[int], list[int]]:
    """Return the members of fewer than two dimensions, and the others."""
    flat = {i for i in members if len(model.shapes[i] or ()) < 2}
    return sorted(flat), [i for i in members if i not in flat]


def _exactly(model: Model, members: Collection[int]) -> tuple[str, ...]:
    """Return terms for these parameters alone, by all their names: a tied tensor is in one group under each."""
    return tuple(f"name:{name}" for i in members for name in (model.names[i], *model.aliases.get(i, ())))


def _layer_term(prefix: str, number: int, plain: Mapping[str, bool]) -> str:
    """Return the term of one layer: a text or, where its prefix is not clear, an expression."""
    text = f"{prefix}.{number}."
    return text if plain[prefix] else f"re:^{re.escape(text)}"


def _is_clear(model: Model, prefix: str) -> bool:
    """Tell whether a prefix occurs at the beginning of names only: `model.layers` is in `vision_model.layers`."""
    text = "\n" + "\n".join(name for i, name in enumerate(model.names) if i not in model.apart)
    return text.count(f"{prefix}.") == text.count(f"\n{prefix}.")
