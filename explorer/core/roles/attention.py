"""Roles of attention: projections by class, attribute and heads, grouped and latent ones too."""

from __future__ import annotations

from collections.abc import Callable

from explorer.core.roles.facts import HEAD_DIMS, KEY_VALUE_HEADS, Facts, Role, Size, literal

PROJECTIONS = {
    "query": ("q_proj", "query", "query_proj", "q", "q_lin"),
    "key": ("k_proj", "key", "key_proj", "k", "k_lin"),
    "value": ("v_proj", "value", "value_proj", "v", "v_lin"),
    "output": ("o_proj", "out_proj", "o", "out_lin", "dense", "c_proj", "proj", "Wo"),
    "fused": ("query_key_value", "qkv_proj", "qkv", "Wqkv", "c_attn"),
}
"""Attributes of a class `…Attention` in transformers, by what they project to."""

KIND_OF = {attribute: kind for kind, attributes in PROJECTIONS.items() for attribute in attributes}
"""The same, by attribute."""

CROSS = frozenset({"encoder_attn", "EncDecAttention", "crossattention", "cross_attn", "cross_attention"})
"""Attributes under which decoder layers hold the attention that looks at the encoder."""


def role(facts: Facts) -> Role | None:
    """Return the role of a parameter of an attention module; `None` where its facts do not show one."""
    if facts.owner.name == "MultiheadAttention":
        return _torch_attention(facts)
    if facts.parent.endswith("Attention") and facts.attribute == "relative_attention_bias":
        return _relative_bias(facts)
    if facts.leaf == "relative_position_bias_table" and facts.owner.name.endswith("RelativePositionBias"):
        return _window_bias(facts)
    if facts.leaf == "sinks" and facts.owner.name.endswith("Attention") and len(facts.shape) == 1:
        return _sinks(facts)
    sizes = facts.linear
    if sizes is None:
        return None
    if facts.parent.endswith("SelfOutput") and facts.grandparent.endswith("Attention") and facts.attribute == "dense":
        kind: str | None = "output"
    elif facts.parent.endswith("Attention"):
        if facts.size("kv_lora_rank"):
            return _latent(facts, *sizes)
        kind = KIND_OF.get(facts.attribute)
    else:
        return None
    return None if kind is None else _projection(facts, kind, *sizes)


def _projection(facts: Facts, kind: str, out: int, inputs: int | None) -> Role | None:
    heads = facts.heads
    told = _Told("cross-attention " if CROSS & set(facts.path) else "", facts.leaf == "bias")
    if heads is None or facts.parent == "MultiheadAttention":
        # Swin has a number of heads for each stage, and torch's own class is told its heads by whoever makes it: the
        # attribute is known, how its outputs divide is not.
        return _plain(facts, kind, told, out, inputs)
    kv = _one_for_all(facts) or facts.size(*KEY_VALUE_HEADS) or heads
    own = facts.size(*HEAD_DIMS)
    for width in facts.widths:
        head = own or _divided(width, heads)
        if head is not None and (found := _by_heads(facts, kind, told, width, heads, kv, head, out, inputs)):
            return found
    # The attribute promises what the configuration does not confirm: Qwen3-Next's `q_proj` holds a gate too.
    return None


def _one_for_all(facts: Facts) -> Size | None:
    """Return the one key-value head of Falcon-7B, whose configuration counts as many as heads (`FalconAttention`)."""
    config = facts.config
    one = config.get("multi_query") is True and config.get("new_decoder_architecture") is False
    return literal(1) if one and facts.parent == "FalconAttention" else None


def _by_heads(
    facts: Facts,
    kind: str,
    told: Callable[[str], str],
    width: Size,
    heads: Size,
    kv: Size,
    head: Size,
    out: int,
    inputs: int | None,
) -> Role | None:
    """Return the role if the heads of the configuration give the shape."""
    whole = width if heads.value * head.value == width.value and head.text.startswith("(") else heads * head
    pairs = whole if kv.value == heads.value and kv.text == heads.text else kv * head
    each = f"{heads.value:,} heads × {head.value:,}"
    if kind == "query" and out == whole.value:
        return Role(told(f"query projection, {each}"), "attention", facts.linear_formula(whole, width))
    if kind in ("key", "value") and out == pairs.value:
        return Role(told(f"{kind} projection, {_key_heads(heads, kv, head)}"), "attention", _by(facts, pairs, width))
    if kind == "output":
        if inputs is None and out == width.value:
            return Role(told(f"attention output projection, {out:,}"), "attention", _by(facts, width, None))
        if inputs == whole.value and out == width.value:
            text = f"attention output projection, {each} → {out:,}"
            return Role(told(text), "attention", facts.linear_formula(width, whole))
    if kind == "fused" and out == whole.value + 2 * pairs.value:
        if kv.value == heads.value:
            text, size = f"3 × {each}", 3 * whole
        else:
            text = f"({heads.value:,} + 2 × {kv.value:,}) heads × {head.value:,}"
            size = Size(f"({heads.text} + 2 × {kv.text})", heads.value + 2 * kv.value) * head
        return Role(told(f"query, key and value projections, fused: {text}"), "attention", _by(facts, size, width))
    return None


def _by(facts: Facts, out: Size, inputs: Size | None) -> str | None:
    return facts.linear_formula(out, inputs)


class _Told:
    """Writes what is projected, of the attention that it belongs to, and whether it is only the bias."""

    def __init__(self, prefix: str, bias: bool) -> None:
        self._prefix = prefix
        self._bias = bias

    def __call__(self, text: str) -> str:
        text = self._prefix + (text.removeprefix("attention ") if self._prefix else text)
        return f"bias of the {text}" if self._bias else text


def _key_heads(heads: Size, kv: Size, head: Size) -> str:
    if kv.value == heads.value:
        return f"{heads.value:,} heads × {head.value:,}"
    noun = "head" if kv.value == 1 else "heads"
    queries, rest = divmod(heads.value, kv.value)
    grouped = "" if rest else f" (grouped: {queries:,} queries a head)"
    return f"{kv.value:,} key-value {noun} × {head.value:,}{grouped}"


def _divided(width: Size, heads: Size) -> Size | None:
    """Return the width of a head where the configuration has no name for it."""
    head, rest = divmod(width.value, heads.value)
    return None if rest else Size(f"({width.text} / {heads.text})", head)


def _plain(facts: Facts, kind: str, told: Callable[[str], str], out: int, inputs: int | None) -> Role | None:
    """Return the role without heads. Of several widths none is known to be this module's own: no formula."""
    # Qwen3-Next's `q_proj` is twice as wide, for it holds a gate too: what is not square may hold something else.
    if kind in ("query", "fused") and (inputs is None or out != inputs * (3 if kind == "fused" else 1)):
        return None
    flow = f"{out:,}" if inputs is None else f"{inputs:,} → {out:,}"
    if kind == "fused":
        return Role(told(f"query, key and value projections, fused: {flow}"), "attention")
    name = "attention output projection" if kind == "output" else f"{kind} projection"
    return Role(told(f"{name}, {flow}"), "attention")


def _latent(facts: Facts, out: int, inputs: int | None) -> Role | None:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434; `DeepseekV3Attention` in transformers)."""
    heads, width = facts.heads, facts.size("hidden_size")
    rank, q_rank = facts.size("kv_lora_rank"), facts.size("q_lora_rank")
    rope, nope, value = facts.size("qk_rope_head_dim"), facts.size("qk_nope_head_dim"), facts.size("v_head_dim")
    if not (heads and width and rank and rope and nope and value) or inputs is None:
        return None
    n = f"{heads.value:,} heads"
    query_head = f"{n} × {nope.value + rope.value:,} ({nope.value:,} + {rope.value:,} rotary)"
    known: dict[str, tuple[str, Size, Size | None]] = {
        "q_proj": (f"query projection, {query_head}", heads * (nope + rope), width),
        "q_a_proj": (f"query compression, {width.value:,} → rank {out:,}", q_rank or literal(0), width),
        "q_b_proj": (f"query projection from rank {inputs:,}, {query_head}", heads * (nope + rope), q_rank),
        "kv_a_proj_with_mqa": (
            f"key-value compression: {out:,} = rank {rank.value:,} + {rope.value:,} for one rotary key",
            rank + rope,
            width,
        ),
        "kv_b_proj": (
            f"key and value projection from rank {rank.value:,}, {n} × ({nope.value:,} key + {value.value:,} value)",
            heads * (nope + value),
            rank,
        ),
        "o_proj": (f"attention output projection, {n} × {value.value:,} → {out:,}", width, heads * value),
    }
    if facts.attribute not in known:
        return None
    text, outer, inner = known[facts.attribute]
    formula = facts.linear_formula(outer, inner)
    return None if formula is None else Role(text, "attention", formula)


def _torch_attention(facts: Facts) -> Role | None:
    """`torch.nn.MultiheadAttention`, which holds three projections in one tensor."""
    if facts.leaf not in ("in_proj_weight", "in_proj_bias") or facts.shape[0] % 3:
        return None
    width = facts.shape[0] // 3
    text = f"query, key and value projections, fused: 3 × {width:,}"
    if facts.leaf == "in_proj_bias":
        return Role(f"bias of the {text}", "attention") if len(facts.shape) == 1 else None
    return Role(text, "attention") if facts.shape == (3 * width, width) else None


def _relative_bias(facts: Facts) -> Role | None:
    buckets, heads = facts.size("relative_attention_num_buckets"), facts.heads
    formula = facts.formula(buckets, heads) if facts.is_a("Embedding") else None
    if formula is None or buckets is None or heads is None:
        return None
    text = f"relative attention bias: {buckets.value:,} distance buckets × {heads.value:,} heads"
    return Role(text, "attention", formula)


def _window_bias(facts: Facts) -> Role | None:
    window = facts.size("window_size")
    if window is None or len(facts.shape) != 2:
        return None
    offsets = Size(f"(2 × {window.text} - 1)²", (2 * window.value - 1) ** 2)
    if facts.shape[0] != offsets.value:
        return None
    side, heads = window.value, facts.shape[1]
    text = f"relative position bias: {offsets.value:,} offsets in a {side} × {side} window × {heads:,} heads"
    return Role(text, "attention")


def _sinks(facts: Facts) -> Role | None:
    heads = facts.heads
    if heads is None or facts.shape != (heads.value,):
        return None
    return Role(f"attention sinks: one logit for each of {heads.value:,} heads", "attention", facts.formula(heads))
