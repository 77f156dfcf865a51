"""Roles of feed-forward blocks: dense, gated, shared and routed experts, and the router."""

from __future__ import annotations

import re

from explorer.core.roles.facts import Facts, Role, Size, named, times

BLOCK = re.compile(r"(MLP|Mlp|FFN|FeedForward|DenseActDense|DenseGatedActDense)$")
"""Classes of feed-forward blocks in transformers."""

MIXTURE = re.compile(r"(MoE|Moe|MoeBlock|MoEBlock|SparseMLP)$")
"""Classes of mixtures of experts; GPT-OSS calls its own an MLP."""

NUMBERED = re.compile(r"(?:expert_)?([0-9]+)")
"""Attribute of one expert in a module of experts; Switch Transformers and NLLB write `expert_0`."""

KIND_OF = {
    **dict.fromkeys(("up_proj", "fc1", "c_fc", "dense_h_to_4h", "wi", "wi_1", "lin1", "intermediate_dense"), "up"),
    **dict.fromkeys(("down_proj", "fc2", "dense_4h_to_h", "wo", "lin2", "output_dense"), "down"),
    **dict.fromkeys(("gate_proj", "wi_0"), "gate"),
    "gate_up_proj": "gate and up",
}
"""Attributes of those classes."""

APART = {"w1": "gate", "w3": "up", "w2": "down"}
"""Attributes of one expert in Mixtral's files (`conversion_mapping.py` of transformers 5.23)."""

NAMED = frozenset({"up_proj", "down_proj", "wi_1"})
"""Attributes whose name tells up from down, even where an expert is narrower than the model."""

OWN = {
    ("GPT2MLP", "c_proj"): "down",
    ("ModernBertMLP", "Wi"): "up and gate",
    ("ModernBertMLP", "Wo"): "down",
    ("AlbertLayer", "ffn"): "up",
    ("AlbertLayer", "ffn_output"): "down",
    ("ConvNextLayer", "pwconv1"): "up",
    ("ConvNextLayer", "pwconv2"): "down",
}
"""Attributes that have this meaning in one class only."""


def role(facts: Facts) -> Role | None:
    """Return the role of a parameter of a feed-forward block; `None` where its facts do not show one."""
    if facts.owner.name.endswith("Experts"):
        return _fused_experts(facts)
    if found := _router(facts):
        return found
    sizes = facts.linear
    kind = _kind(facts) if sizes else None
    return None if sizes is None or kind is None else _layer(facts, kind, *sizes)


def _kind(facts: Facts) -> str | None:
    parent, attribute = facts.parent, facts.attribute
    if (own := OWN.get((parent, attribute))) is not None:
        return own
    if BLOCK.search(parent):
        return KIND_OF.get(attribute)
    if parent.endswith(("EncoderLayer", "DecoderLayer")):
        return {"fc1": "up", "fc2": "down"}.get(attribute)
    if attribute == "dense" and facts.grandparent.endswith("Layer"):
        if parent.endswith("Intermediate"):
            return "up"
        if parent.endswith("Output") and not parent.endswith(("SelfOutput", "AttentionOutput")):
            return "down"
    return None


def _layer(facts: Facts, kind: str, out: int, inputs: int | None) -> Role | None:
    width = facts.width_of(inputs if kind != "down" else out)
    if (
        inputs is not None
        and facts.attribute not in NAMED
        and (kind, True)
        in (
            ("up", out < inputs),
            ("down", out > inputs),
        )
    ):
        return None  # a bottleneck: "up" and "down" would be the wrong words
    fused = kind in ("gate and up", "up and gate")
    if fused and out % 2:
        return None
    told = f"MLP {kind}"
    prefix, inner = _place(facts)
    if fused:
        told += ", fused"
        half = f"2 × {out // 2:,}"
        text = f"{told}: {half}" if inputs is None else f"{told}: {inputs:,} → {half}"
    elif inputs is None:
        text = f"{told}, {out:,}"
    else:
        more = times(out, inputs) if kind == "up" and out >= inputs else ""
        text = f"{told}, {inputs:,} → {out:,}{more}"
    if facts.leaf == "bias":
        text = f"bias of {text}"
    outer = named(out // 2 if fused else out, inner) if kind != "down" else width
    if fused and outer is not None:
        outer = 2 * outer
    hidden = named(inputs, inner) if kind == "down" else width
    formula = facts.linear_formula(outer, hidden)
    routed = facts.routed if prefix.startswith("expert ") else None
    return Role(prefix + text, "experts" if prefix else "MLP", formula, routed)


def _place(facts: Facts) -> tuple[str, tuple[Size | None, ...]]:
    """Return which expert a block is, written as a beginning, and what its inner width may be."""
    experts = facts.size("moe_intermediate_size")
    mixed = any(MIXTURE.search(name) for name in facts.around)
    if mixed and "shared_experts" in facts.path:
        count = facts.size("n_shared_experts")
        several = f"{count.value:,} shared experts as one: " if count and count.value > 1 else "shared expert: "
        return several, (
            facts.size("shared_expert_intermediate_size"),
            count and experts and experts * count,
        )
    if mixed and "shared_expert" in facts.path:
        return "shared expert: ", (facts.size("shared_expert_intermediate_size"),)
    if mixed and "experts" in facts.path[:-1]:
        number = NUMBERED.fullmatch(facts.path[facts.path.index("experts") + 1])
        count = facts.experts
        if number is not None and count is not None:
            return f"expert {number[1]} of {count.value:,}: ", (experts, *_inner_widths(facts))
    return "", _inner_widths(facts)


def _inner_widths(facts: Facts) -> tuple[Size | None, ...]:
    width = facts.widths[0] if facts.widths else None
    found = [
        facts.size(f"{facts.side}_ffn_dim"),
        facts.size("intermediate_size"),
        facts.size("d_ff", "ffn_dim", "n_inner", "ffn_hidden_size"),
        # DistilBERT: `dim` and `hidden_dim`.
        facts.size("hidden_dim") if facts.size("dim") else None,
    ]
    if width is not None and (
        (facts.parent == "GPT2MLP" and facts.config.get("n_inner") is None) or facts.parent == "BloomMLP"
    ):
        found.append(4 * width)  # written so in these classes
    ratio = facts.size("mlp_ratio")
    if ratio is not None:
        found.extend(each * ratio for each in facts.widths)
    return tuple(found)


def apart(facts: Facts) -> Role | None:
    """Return the role of one expert's matrix in a file, which transformers stacks with the others as it loads.

    The file's own name is no path of modules; but the stack's class owns the tensor, and the shape, unlike that of
    the other direction, is what the configuration gives one expert.
    """
    if not facts.owner.name.endswith("Experts") or facts.leaf != "weight" or len(facts.shape) != 2:
        return None
    count = facts.experts
    at = facts.path.index("experts") + 1 if "experts" in facts.path else len(facts.path)
    number = NUMBERED.fullmatch(facts.path[at]) if at == len(facts.path) - 2 else None
    kind = KIND_OF.get(facts.attribute) or APART.get(facts.attribute)
    inner = facts.size("moe_intermediate_size") or facts.size("intermediate_size")
    width = facts.widths[0] if facts.widths else None
    if count is None or number is None or int(number[1]) >= count.value or inner is None or width is None:
        return None
    if kind not in ("up", "gate", "down"):
        return None
    outer, hidden = (width, inner) if kind == "down" else (inner, width)
    formula = facts.formula(outer, hidden)
    text = f"expert {number[1]} of {count.value:,}: MLP {kind}, {hidden.value:,} → {outer.value:,}"
    return None if formula is None else Role(text, "experts", formula, facts.routed)


def _fused_experts(facts: Facts) -> Role | None:
    """All experts of a layer in one tensor, as transformers 5 holds them: experts first."""
    count = facts.experts
    inner = facts.size("moe_intermediate_size") or facts.size("intermediate_size")
    width = facts.widths[0] if facts.widths else None
    if count is None or inner is None or width is None or not facts.shape or facts.shape[0] != count.value:
        return None
    leaf = facts.leaf.removesuffix("_bias")
    kind = KIND_OF.get(leaf)
    if kind is None:
        return None
    fused = kind == "gate and up"
    outer, hidden = (width, inner) if kind == "down" else (2 * inner if fused else inner, width)
    half = f"2 × {inner.value:,}" if fused else f"{outer.value:,}"
    told = f"experts 0…{count.value - 1:,}: "
    name = f"MLP {kind} of each{', fused' * fused}"
    if leaf != facts.leaf:
        formula = facts.formula(count, outer)
        text = f"{told}bias of {name}, {half}"
    else:
        # GPT-OSS holds inputs × outputs, the others outputs × inputs.
        formula = facts.formula(count, outer, hidden) or facts.formula(count, hidden, outer)
        text = f"{told}{name}, {hidden.value:,} → {half}"
    return None if formula is None else Role(text, "experts", formula, facts.routed)


def _router(facts: Facts) -> Role | None:
    count = facts.experts
    if (
        facts.linear
        and facts.attribute == "shared_expert_gate"
        and facts.shape[0] == 1
        and MIXTURE.search(facts.parent)
    ):
        text = f"gate of the shared expert, {facts.shape[-1]:,} → 1"
        return Role(text, "experts", facts.formula(Size("1", 1), facts.width_of(facts.shape[-1])))
    routes = facts.owner.name.endswith("Router") or (
        facts.linear is not None and facts.attribute in ("gate", "router") and MIXTURE.search(facts.parent)
    )
    if not routes or count is None or not facts.shape or facts.shape[0] != count.value:
        return None
    if facts.leaf == "weight" and len(facts.shape) == 2:
        text = f"router: {facts.shape[1]:,} → a score for each of {count.value:,} experts"
        return Role(text, "experts", facts.formula(count, facts.width_of(facts.shape[1])))
    if facts.leaf == "bias" and len(facts.shape) == 1:
        return Role(f"bias of the router, {count.value:,} experts", "experts", facts.formula(count))
    return None
