"""Roles of the modules between the parts of a composite model: projectors and patch mergers."""

from __future__ import annotations

from collections.abc import Mapping

from explorer.core.roles.facts import Facts, Role, Size, named, size_in

PROJECTOR_LAYERS = {"linear_1": "first layer", "linear_2": "second layer"}
"""Attributes of a `…MultiModalProjector` as LLaVA has it (`LlavaMultiModalProjector` in transformers 5.23)."""

MERGER_LAYERS = {
    ("mlp", "0"): "first layer",
    ("mlp", "2"): "second layer",
    ("linear_fc1",): "first layer",
    ("linear_fc2",): "second layer",
}
"""Attributes of a `…PatchMerger` as Qwen2-VL has it, within a `Sequential`, and as Qwen3-VL has it."""


def role(facts: Facts) -> Role | None:
    """Return the role of a parameter between two parts of a model; `None` where its facts do not show one."""
    if facts.linear is None:
        return None
    if facts.parent.endswith("MultiModalProjector"):
        return _projector(facts, *facts.linear)
    merger = facts.grandparent if facts.parent == "Sequential" else facts.parent
    return _merger(facts, *facts.linear) if merger.endswith("PatchMerger") else None


def _projector(facts: Facts, out: int, inputs: int | None) -> Role | None:
    """From the width of the vision tower to that of the language model; some take several of its layers at once."""
    layer = PROJECTOR_LAYERS.get(facts.attribute)
    vision, text = _width_of(facts, "vision_config"), _width_of(facts, "text_config")
    if layer is None or vision is None or text is None or out != text.value:
        return None
    taken = facts.config.get("vision_feature_layer")
    if facts.attribute == "linear_2":
        hidden = text
    else:
        hidden = len(taken) * vision if isinstance(taken, list) and len(taken) > 1 else vision
    if inputs not in (None, hidden.value):
        return None
    return _told(facts, f"projector from vision to language, {layer}", text, hidden)


def _merger(facts: Facts, out: int, inputs: int | None) -> Role | None:
    """Several neighbouring patches side by side become one token of the language model."""
    layer = MERGER_LAYERS.get(facts.path[-2:]) or MERGER_LAYERS.get(facts.path[-1:])
    side = facts.size("spatial_merge_size")
    if layer is None or side is None:
        return None
    area = Size(f"{side.text}²", side.value**2)
    widths = [area * width for width in (facts.size("embed_dim"), facts.size("hidden_size")) if width]
    if layer == "first layer":
        hidden = named(out, tuple(widths))
        outer = hidden
    else:
        hidden = named(inputs, tuple(widths)) if inputs is not None else widths[0] if widths else None
        outer = named(out, (facts.size("out_hidden_size"), facts.size("hidden_size")))
    if hidden is None or outer is None or inputs not in (None, hidden.value):
        return None
    return _told(facts, f"merger of {side.value} × {side.value} patches, {layer}", outer, hidden)


def _told(facts: Facts, text: str, outer: Size, hidden: Size) -> Role:
    formula = facts.linear_formula(outer, hidden)
    if facts.leaf == "bias":
        return Role(f"bias of the {text}, {outer.value:,}", "other", formula)
    return Role(f"{text}: {hidden.value:,} → {outer.value:,}", "other", formula)


def _width_of(facts: Facts, part: str) -> Size | None:
    config = facts.config.get(part)
    size = size_in(config, "hidden_size") if isinstance(config, Mapping) else None
    return None if size is None else Size(f"{part}.{size.text}", size.value)
