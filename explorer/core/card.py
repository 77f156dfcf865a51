"""The key figures of a model: architecture from the configuration, parameters by role, active parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from explorer.core.param import Model
from explorer.core.roles import PARTS, Part, Roles
from explorer.core.roles.facts import (
    EXPERTS,
    EXPERTS_PER_TOKEN,
    HEAD_DIMS,
    HEADS,
    KEY_VALUE_HEADS,
    WIDTHS,
    Size,
    size_in,
)

DEEPEST = 3
"""Depth down to which the parts of a configuration are looked at."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure of an architecture."""

    label: str
    """What it is: `key-value heads`."""
    value: str
    """The figure: `8`."""
    source: str
    """The configuration's own name of it: `num_key_value_heads`."""


@dataclass(frozen=True, slots=True)
class Section:
    """The figures of one configuration; a composite model has several."""

    title: str
    """The keys under which it stands, `text_config`; empty for the whole."""
    facts: tuple[Fact, ...]
    """What it says, in the order of the screen."""


LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers", "depth")
"""Keys of the number of layers."""

CONTEXT = ("max_position_embeddings", "n_positions", "max_source_positions", "max_target_positions")
"""Keys of the longest input; Whisper has two."""

INNER = ("intermediate_size", "d_ff", "ffn_dim", "n_inner", "ffn_hidden_size", "encoder_ffn_dim", "decoder_ffn_dim")
"""Keys of the inner width of the feed-forward block."""


Context = Mapping[tuple[str, str], int | None]
"""For a part of a configuration and its name of a table of positions, how many of them a token can have; `None` where
the class keeps back some that can't be told. What has no table, as with rotary positions, is not in it."""


def context(model: Model, roles: Roles) -> Context:
    """Return how long an input the tables of positions allow, by the roles of a model's parameters."""
    found: dict[tuple[str, str], int | None] = {}
    for index in range(len(model)):
        role = roles[index]
        place = model.places[index] if model.places is not None else None
        if role is not None and role.positions is not None and place is not None:
            found[".".join(place.config or ()), role.positions.name] = role.positions.usable
    return found


def architecture(config: Mapping[str, Any] | None, usable: Context | None = None) -> tuple[Section, ...]:
    """Return what a configuration says of the architecture, part by part; only what it has a known name for.

    Args:
        config: A model's whole configuration; `None` where there is none, as for a file of tensors.
        usable: What the tables of positions allow; `None` while that is not known yet.
    """
    if config is None:
        return ()
    found = ((title, tuple(_facts(part, title, usable))) for title, part in _parts(config))
    return tuple(Section(title, facts) for title, facts in found if facts)


def _parts(config: Mapping[str, Any], title: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield a configuration, and those that it holds: `text_config`, `vision_config`, `encoder` and the like."""
    yield title, config
    for key, value in config.items():
        if isinstance(value, Mapping) and isinstance(value.get("model_type"), str) and depth < DEEPEST:
            yield from _parts(value, f"{title}.{key}" if title else key, depth + 1)


def _facts(config: Mapping[str, Any], title: str, usable: Context | None) -> Iterator[Fact]:
    kind = config.get("model_type")
    width, heads = size_in(config, *WIDTHS), size_in(config, *HEADS)
    known = [
        *_each(config, "layers", LAYERS[:1] if LAYERS[0] in config else LAYERS),
        *_each(config, "encoder layers", ("encoder_layers",)),
        *_each(config, "decoder layers", ("decoder_layers", "num_decoder_layers")),
        *_one("d_model (width)", width),
        *_one("heads", heads),
        *_each(config, "encoder heads", ("encoder_attention_heads",)),
        *_each(config, "decoder heads", ("decoder_attention_heads",)),
        *_head_width(config, width, heads or size_in(config, "encoder_attention_heads")),
        *_key_value_heads(config, heads),
        *_each(config, "MLP width", INNER),
        *_each(config, "vocabulary", ("vocab_size",)),
        *_context(config, title, usable),
        *_each(config, "experts", EXPERTS),
        *_each(config, "experts a token", EXPERTS_PER_TOKEN),
        *_each(config, "shared experts", ("n_shared_experts", "num_shared_experts")),
        *_each(config, "expert width", ("moe_intermediate_size",)),
        *_each(config, "picture", ("image_size",)),
        *_each(config, "patch", ("patch_size",)),
        *_each(config, "mel bins", ("num_mel_bins",)),
    ]
    if known:
        if isinstance(kind, str):
            yield Fact("model type", kind, "model_type")
        yield from known


def _one(label: str, size: Size | None) -> Iterator[Fact]:
    if size is not None:
        yield Fact(label, f"{size.value:,}", size.text)


def _each(config: Mapping[str, Any], label: str, names: tuple[str, ...]) -> Iterator[Fact]:
    for name in names:
        yield from _one(label, size_in(config, name))


def _context(config: Mapping[str, Any], title: str, usable: Context | None) -> Iterator[Fact]:
    """Yield how long an input may be: what a table of positions allows, which may keep rows back, or what is said."""
    for name in CONTEXT:
        size = size_in(config, name)
        if size is None:
            continue
        if usable is None:
            yield Fact("context", "…", name)
            continue
        fits = usable.get((title, name), size.value)
        if fits is None:
            yield Fact("context", f"less than {size.value:,}", f"{name}, some rows are reserved")
        elif fits == size.value:
            yield Fact("context", f"{fits:,}", name)
        else:
            yield Fact("context", f"{fits:,}", f"{name} - {size.value - fits:,} reserved")


def _head_width(config: Mapping[str, Any], width: Size | None, heads: Size | None) -> Iterator[Fact]:
    """Yield `d_k`, by its own name or as the width by the heads."""
    nope, rope = size_in(config, "qk_nope_head_dim"), size_in(config, "qk_rope_head_dim")
    if nope and rope:  # multi-head latent attention: keys are longer than values
        yield Fact(
            "d_k",
            f"{nope.value:,} + {rope.value:,} rotary = {nope.value + rope.value:,}",
            f"{nope.text} + {rope.text}",
        )
        yield from _one("d_v", size_in(config, "v_head_dim"))
        return
    own = size_in(config, *HEAD_DIMS)
    divided = Size("", 0)
    if width and heads and width.value % heads.value == 0:
        divided = Size(f"{width.text} / {heads.text}", width.value // heads.value)
    if own is not None and own.value != divided.value:
        yield Fact("d_k", f"{own.value:,}", own.text)
    elif divided.value:
        yield Fact("d_k = d_model / heads", f"{divided.value:,}", own.text if own else divided.text)


def _key_value_heads(config: Mapping[str, Any], heads: Size | None) -> Iterator[Fact]:
    own = size_in(config, *KEY_VALUE_HEADS)
    if own is not None:
        grouped = heads is not None and heads.value > own.value and heads.value % own.value == 0
        of_each = f" ({heads.value // own.value} queries a head)" if grouped and heads is not None else ""
        yield Fact("key-value heads", f"{own.value:,}{of_each}", own.text)


# --- parameters by role -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a model is for one purpose."""

    part: Part
    """The purpose."""
    tensors: int
    """How many parameters."""
    parameters: int
    """Their elements; a tied tensor counts once, where it stands first."""
    hundredths: int
    """Share in hundredths of a percent, rounded so that all shares add up to 10,000."""


def shares(model: Model, roles: Roles) -> tuple[Share, ...]:
    """Return the parameters by role, in the order of `PARTS`; nothing where no classes are known.

    Where only some are, as in a file that holds more than its model, the rest counts as other. A share that is not
    zero never reads as 0.00 %.
    """
    if model.places is None:
        return ()
    tensors, sizes = dict.fromkeys(PARTS, 0), dict.fromkeys(PARTS, 0)
    for index, numel in enumerate(model.counted):
        part = roles.part(index) or "other"
        tensors[part] += index not in model.apart
        sizes[part] += numel
    there = [part for part in PARTS if tensors[part]]
    rounded = round_to(10_000, [sizes[part] for part in there])
    return tuple(Share(part, tensors[part], sizes[part], share) for part, share in zip(there, rounded, strict=True))


def round_to(whole: int, amounts: list[int]) -> list[int]:
    """Share out a whole in proportion to amounts, by largest remainders; what is not zero gets at least 1.

    Args:
        whole: What the shares add up to, if any amount is not zero.
        amounts: Amounts, none negative.
    """
    total = sum(amounts)
    if not total:
        return [0] * len(amounts)
    rounded = [max(whole * amount // total, min(amount, 1)) for amount in amounts]
    by_remainder = sorted(range(len(amounts)), key=lambda at: -(whole * amounts[at] % total))
    for at in by_remainder:
        if sum(rounded) < whole and amounts[at]:
            rounded[at] += 1
    # Amounts raised to 1 exceed the whole: the largest gives up as much.
    rounded[max(range(len(amounts)), key=amounts.__getitem__)] -= sum(rounded) - whole
    return rounded


@dataclass(frozen=True, slots=True)
class Active:
    """What a mixture of experts uses of its parameters for one token."""

    experts: int
    """Routed experts of a layer."""
    per_token: int
    """How many of them each token is sent to."""
    routed: int
    """Parameters of all routed experts."""
    total: int
    """Parameters of the model."""
    active: int
    """Parameters that take part: total - routed × (1 - per_token / experts)."""
    without_lookup: int
    """The same without token embeddings that are only looked up; a table tied to the head counts."""


def active(model: Model, roles: Roles) -> Active | None:
    """Return how many parameters a mixture of experts uses for each token; `None` where that isn't known.

    Shared experts and the router are always used, and each layer's routed experts in the proportion
    `per_token / experts`. Papers differ in whether they count the token embedding, of which a token reads one row:
    Mixtral's 12.9B counts it, DeepSeek-V3's 37B and gpt-oss-20b's 3.6B do not.
    """
    routed = lookups = 0
    kinds: set[tuple[int, int]] = set()
    for index, numel in enumerate(model.counted):
        role = roles[index]
        if role is None or not role.specific:
            if roles.part(index) == "experts":
                return None  # perhaps routed: how much of it a token uses is not known
            continue
        if role.routed is not None:
            kinds.add(role.routed)
            routed += numel
        elif role.lookup and index not in model.aliases:
            lookups += numel
    if len(kinds) != 1:  # none, or mixtures of different kinds, which one figure can't describe
        return None
    per_token, experts = kinds.pop()
    total = model.total
    used = total - routed + routed * per_token // experts
    return Active(experts, per_token, routed, total, used, used - lookups)


# --- the configuration, searched ----------------------------------------------------------------------------------

LONG = 16
"""Entries from which a list or mapping of plain values is one line, unless something in it is looked for."""


def settings(config: Mapping[str, Any], needle: str = "") -> Iterator[tuple[str, str]]:
    """Yield a configuration as pairs of a dotted key and a value, in its own order.

    Args:
        config: The configuration.
        needle: Only pairs whose key or value contains it, whatever the case.
    """
    wanted = needle.casefold()
    for key, value in _flat(config, "", bool(wanted)):
        if wanted in f"{key} {value}".casefold():
            yield key, value


def _flat(value: Any, key: str, whole: bool) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value.keys() == COUNTED:
        yield key, _counted(value)
    elif isinstance(value, Mapping) and value:
        if not whole and len(value) > LONG and not any(isinstance(item, Mapping | list) for item in value.values()):
            yield key, f"{{…}} {len(value):,} entries"
            return
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}" if key else str(name), whole)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for at, item in enumerate(value):
            yield from _flat(item, f"{key}.{at}", whole)
    elif isinstance(value, list) and len(value) > LONG and not whole:
        yield key, f"[…] {len(value):,} entries"
    else:
        yield key, _text(value)


COUNTED = frozenset({"type", "count", "first"})
"""Keys of what stands for a GGUF file's array, as a vocabulary: only its first entries are read."""


def _counted(array: Mapping[str, Any]) -> str:
    first, count = array["first"], array["count"]
    listed = _text(first) if isinstance(first, list) else ""
    if not isinstance(first, list) or not isinstance(count, int) or count <= len(first):
        return listed
    return f"{count:,} × {array['type']}, counted and not listed: {listed[:-1]}, …]"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, Mapping):
        return "{}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]  # as config.json writes them
    return str(value)
