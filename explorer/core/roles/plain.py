"""Roles that follow from the owner's class alone: norms, and torch's own layers wherever they stand."""

from __future__ import annotations

import re

from explorer.core.roles.facts import Facts, Part, Role, Size

FROM_ONE = re.compile(
    r"^((Recurrent|Vault)?Gemma\d?|T5Gemma2?|Qwen3Next|Qwen3_5(Moe)?|MiniMaxM3VL)RMSNorm$|^NemotronLayerNorm1P$"
)
"""Norms that multiply by 1 + weight (transformers 5.23): what they hold is the scale's difference from 1."""

PLAIN_NORMS = frozenset({"LayerNorm", "GroupNorm", "RMSNorm", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d"})
"""torch's own norms, which multiply by their weight and add their bias."""

HOLDERS: tuple[tuple[re.Pattern[str], Part], ...] = (
    (re.compile(r"(Experts|MoE|Moe|MoeBlock|Router)$"), "experts"),
    (re.compile(r"Attention$"), "attention"),
    (re.compile(r"(MLP|Mlp|FFN|FeedForward|DenseActDense|DenseGatedActDense)$"), "MLP"),
    (re.compile(r"(Embeddings?|PatchEmbed)$"), "embeddings"),
    (re.compile(r"(Head|Pooler)$"), "heads"),
)
"""Which share of the model a class belongs to, asked from the innermost outwards."""


def role(facts: Facts) -> Role | None:
    """Return what the owner's class alone proves; `None` for a class that is not known."""
    return _norm(facts) or _layer_scale(facts) or _mamba(facts) or _linear(facts) or _others(facts)


def part_of(facts: Facts) -> Part:
    """Return the share of the model that a parameter counts to, by the classes around it."""
    if "Norm" in facts.owner.name:
        return "norms"
    for name in (facts.owner.name, *reversed(facts.around)):
        for pattern, part in HOLDERS:
            if pattern.search(name):
                return part
    return "other"


def _norm(facts: Facts) -> Role | None:
    name = facts.owner.name
    if not (facts.is_a(*PLAIN_NORMS) or re.search(r"(Layer|RMS|Group|Batch|Instance)Norm", name)):
        return None
    if len(facts.shape) != 1 or facts.leaf not in ("weight", "bias"):
        return None
    features = facts.shape[0]
    what = "shift" if facts.leaf == "bias" else "scale"
    if FROM_ONE.match(name) and facts.leaf == "weight":
        what = "scale, as its difference from 1,"
    size = _norm_width(facts, features)
    on = {"q_norm": " on queries", "k_norm": " on keys"}.get(facts.attribute, "")
    if not facts.parent.endswith("Attention"):
        on = ""
    elif on and size is not None and size.text == "head_dim":
        on = on.replace("on ", "on each head's ")
    return Role(f"{what} of {name}{on}, {features:,}", "norms", None if size is None else facts.formula(size))


def _norm_width(facts: Facts, features: int) -> Size | None:
    """Return the name of what a norm runs over, where its place tells it."""
    if facts.parent.endswith("Attention"):
        own = {
            "q_norm": facts.size("head_dim"),
            "k_norm": facts.size("head_dim"),
            "q_a_layernorm": facts.size("q_lora_rank"),
            "kv_a_layernorm": facts.size("kv_lora_rank"),
        }
        if facts.attribute in own:
            size = own[facts.attribute]
            return size if size is not None and size.value == features else None
    narrow = facts.size("embedding_size")
    if narrow is not None and (facts.parent.endswith("Embeddings") or facts.parent == "AlbertMLMHead"):
        return narrow if narrow.value == features else None
    if facts.parent in ("ModuleList", "Sequential", ""):
        return None
    return facts.width_of(features)


def _layer_scale(facts: Facts) -> Role | None:
    scales = (facts.owner.name.endswith("LayerScale") and facts.leaf == "lambda1") or (
        facts.owner.name == "ConvNextLayer" and facts.leaf == "layer_scale_parameter"
    )
    if not scales or len(facts.shape) != 1:
        return None
    text = f"layer scale: a factor for each of {facts.shape[0]:,} features"
    return Role(text, "other", facts.formula(facts.width_of(facts.shape[0])))


def _mamba(facts: Facts) -> Role | None:
    """The selective state space of Mamba (arXiv 2312.00752; `MambaMixer` in transformers)."""
    if "MambaMixer" not in (facts.owner.name, facts.parent):
        return None
    inner, state, rank = facts.size("intermediate_size"), facts.size("state_size"), facts.size("time_step_rank")
    width, kernel = facts.size("hidden_size"), facts.size("conv_kernel")
    if not (inner and state and rank and width and kernel):
        return None
    known: dict[tuple[str, str], tuple[str, tuple[Size, ...]]] = {
        ("mixer", "A_log"): (
            f"state matrix A, as its logarithm: {inner.value:,} channels × {state.value} states",
            (inner, state),
        ),
        ("mixer", "D"): (f"skip: a factor for each of {inner.value:,} channels", (inner,)),
        ("in_proj", "weight"): (
            f"input projection, {width.value:,} → 2 × {inner.value:,} (channels and gate)",
            (2 * inner, width),
        ),
        ("conv1d", "weight"): (
            f"convolution over {kernel.value} tokens, {inner.value:,} channels",
            (inner, Size("1", 1), kernel),
        ),
        ("conv1d", "bias"): (f"bias of the convolution, {inner.value:,} channels", (inner,)),
        ("x_proj", "weight"): (
            f"time step, B and C, {inner.value:,} → {rank.value} + 2 × {state.value}",
            (Size(f"({rank.text} + 2 × {state.text})", rank.value + 2 * state.value), inner),
        ),
        ("dt_proj", "weight"): (f"time step, rank {rank.value} → {inner.value:,} channels", (inner, rank)),
        ("dt_proj", "bias"): (f"bias of the time step, {inner.value:,} channels", (inner,)),
        ("out_proj", "weight"): (f"output projection, {inner.value:,} → {width.value:,}", (width, inner)),
    }
    found = known.get((facts.attribute, facts.leaf))
    formula = facts.formula(*found[1]) if found else None
    return None if found is None or formula is None else Role(found[0], "other", formula)


def _linear(facts: Facts) -> Role | None:
    sizes = facts.linear
    if sizes is None:
        return None
    out, inputs = sizes
    if inputs is None:
        return _general(facts, f"bias of a linear layer, {out:,}")
    return _general(facts, f"linear layer, {inputs:,} → {out:,}")


def _general(facts: Facts, text: str) -> Role:
    """Return what a layer of torch always is."""
    return Role(text, part_of(facts), specific=False)


def _others(facts: Facts) -> Role | None:
    name = facts.owner.name
    if name == "Embedding" and facts.leaf == "weight" and len(facts.shape) == 2:
        return _general(facts, f"embedding table: {facts.shape[0]:,} rows × {facts.shape[1]:,}")
    if name in ("Conv1d", "Conv2d", "Conv3d"):
        rank = int(name[4])
        if facts.leaf == "bias" and len(facts.shape) == 1:
            return _general(facts, f"bias of a convolution, {facts.shape[0]:,} filters")
        if facts.leaf == "weight" and len(facts.shape) == rank + 2:
            kernel = " × ".join(map(str, facts.shape[2:]))
            noun = "channel" if facts.shape[1] == 1 else "channels"
            text = f"convolution, kernel {kernel}: {facts.shape[0]:,} filters over {facts.shape[1]:,} {noun} each"
            return _general(facts, text)
    return None
