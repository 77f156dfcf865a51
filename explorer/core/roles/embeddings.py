"""Roles of embeddings: tokens, positions, segments, image patches and sound."""

from __future__ import annotations

from explorer.core.roles.facts import Facts, Positions, Role, Size, literal, named
from explorer.core.text import plural

TOKENS = frozenset(
    {
        "word_embeddings",
        "embed_tokens",
        "wte",
        "shared",
        "embed_in",
        "tok_embeddings",
        "token_embedding",
        "embeddings",
    }
)
"""Attributes of token embeddings."""

POSITIONS = frozenset({"position_embeddings", "position_embedding", "embed_positions", "wpe"})
"""Attributes of position embeddings."""

OFFSET_BY_TWO = frozenset(
    f"{name}LearnedPositionalEmbedding"
    for name in ("Bart", "BioGpt", "MBart", "Mvp", "OPT", "PLBart", "PPFormulaNet", "TrOCR")
)
"""Classes whose table begins with two rows that no position uses: `self.offset = 2` (transformers 5.23)."""

AFTER_PADDING = frozenset(
    f"{name}Embeddings"
    for name in (
        *("AltRoberta", "BridgeTowerText", "Camembert", "ClapText", "Data2VecText", "Esm", "EvollaSaProt", "IBert"),
        *("LayoutLMv3Text", "LiltText", "Longformer", "Luke", "MarkupLM", "PPDocLayoutV2Text", "Roberta"),
        *("RobertaPreLayerNorm", "XLMRoberta", "XLMRobertaXL", "Xmod"),
    )
)
"""Classes that count positions from the padding token's index on: `create_position_ids_from_input_ids`."""

OWN_COUNT = frozenset({"MPNetEmbeddings"})
"""Classes that count from an index of their own, which the configuration does not tell."""

PLAIN_TABLES = frozenset(
    (
        "Embedding",
        *(f"{name}LearnedPositionalEmbedding" for name in ("BigBirdPegasus", "Blenderbot", "BlenderbotSmall")),
        "WhisperPositionalEmbedding",
    )
)
"""Classes each of whose rows is a position; of others it is not known."""

TOKEN_PARAMETERS = {
    "cls_token": "class token",
    "class_embedding": "class token",
    "mask_token": "mask token: stands for a masked patch",
    "distillation_token": "distillation token",
}
"""Single vectors that an embeddings class holds itself."""


def role(facts: Facts) -> Role | None:
    """Return the role of a parameter of an input layer; `None` where its facts do not show one."""
    if any("Embedding" in name for name in (facts.owner.name, *facts.owner.bases)):
        if facts.leaf == "weight" and len(facts.shape) == 2:
            return _table(facts)
        if facts.owner.name.endswith("Embeddings"):
            return _own(facts)
    if facts.owner.name in ("Conv1d", "Conv2d", "Conv3d"):
        return _patches(facts) or _sound(facts)
    return _masked_sound(facts) if facts.leaf == "masked_spec_embed" else None


def _table(facts: Facts) -> Role | None:
    rows, features = facts.shape
    if facts.attribute in TOKENS:
        vocabulary = facts.size("vocab_size")
        if vocabulary is None or vocabulary.value != rows:
            return None
        width = facts.size("embedding_size", "word_embed_proj_dim") or facts.width_of(features)
        text = f"token embedding: {plural(rows, 'token')} × {features:,}"
        return Role(text, "embeddings", facts.formula(vocabulary, width), lookup=True)
    if facts.attribute in POSITIONS:
        return _picture_positions(facts, rows) if "Vision" in facts.parent else _positions(facts, rows, features)
    if facts.attribute == "token_type_embeddings":
        types = facts.size("type_vocab_size")
        if types is not None and types.value == rows:
            noun = "segment type" if rows == 1 else "segment types"
            text = f"segment embedding: {rows:,} {noun} × {features:,}"
            return Role(text, "embeddings", facts.formula(types, _width(facts, features)))
    if facts.attribute == "rel_embeddings" and facts.parent.startswith("Deberta"):
        buckets = facts.size("position_buckets")
        if buckets is not None and rows == 2 * buckets.value:
            text = f"relative position embedding: {rows:,} = 2 × {buckets.value:,} buckets, × {features:,}"
            return Role(text, "embeddings", facts.formula(2 * buckets, facts.width_of(features)))
    return None


def _width(facts: Facts, features: int) -> Size | None:
    """Return the width of an embedding: ALBERT and ELECTRA have one of their own."""
    return facts.size("embedding_size") or facts.width_of(features)


def _positions(facts: Facts, rows: int, features: int) -> Role | None:
    side = {"encoder": "max_source_positions", "decoder": "max_target_positions"}.get(facts.side or "", "")
    most = facts.size(side, "max_position_embeddings", "n_positions")
    if most is None:
        return None
    reserved = rows - most.value
    width = _width(facts, features)
    if facts.owner.name in OFFSET_BY_TWO:
        if reserved != 2:
            return None
        text = f"position embedding: {rows:,} = {most.value:,} positions + 2 reserved"
        positions = Positions(most.text, most.value)
        return Role(text, "embeddings", facts.formula(most.plus(2), width), positions=positions)
    if reserved:
        return None
    formula = facts.formula(most, width)
    padding = facts.config.get("pad_token_id")
    if facts.parent in AFTER_PADDING:
        if type(padding) is not int or not 0 <= padding < rows - 1:
            return None
        kept = padding + 1
        text = f"position embedding: {rows:,} = {rows - kept:,} positions + {kept:,} reserved"
        return Role(text, "embeddings", formula, positions=Positions(most.text, rows - kept))
    counted = facts.owner.name in PLAIN_TABLES and facts.parent not in OWN_COUNT
    noun = " positions" if counted else ""
    positions = Positions(most.text, rows if counted else None)
    return Role(f"position embedding: {rows:,}{noun} × {features:,}", "embeddings", formula, positions=positions)


def _grid(facts: Facts) -> Size | None:
    """Return the number of patches of a square picture."""
    image, patch = facts.size("image_size"), facts.size("patch_size")
    if image is None or patch is None:
        return None
    return Size(f"({image.text} / {patch.text})²", (image.value // patch.value) ** 2)


def _picture_positions(facts: Facts, rows: int) -> Role | None:
    """Positions of the patches of a picture; classes with a class token give it a position as well."""
    patches = _grid(facts)
    if patches is None or rows - patches.value not in (0, 1):
        return None
    extra = rows - patches.value
    sizes = (patches.plus(extra), facts.width_of(facts.shape[-1]))
    formula = facts.formula(literal(1), *sizes) if len(facts.shape) == 3 else facts.formula(*sizes)
    counted = f"{rows:,} = {patches.value:,} patches + 1 class token," if extra else f"{rows:,} patches"
    return Role(f"position embedding: {counted} × {facts.shape[-1]:,}", "embeddings", formula)


def _own(facts: Facts) -> Role | None:
    """Vectors that an embeddings class holds without a module."""
    if facts.leaf == "position_embeddings" and len(facts.shape) == 3 and facts.shape[0] == 1:
        return _picture_positions(facts, facts.shape[1])
    what = TOKEN_PARAMETERS.get(facts.leaf)
    features = facts.shape[-1] if facts.shape else 0
    if what is None or facts.shape not in ((features,), (1, features), (1, 1, features)):
        return None
    sizes = (*map(literal, facts.shape[:-1]), facts.width_of(features))
    return Role(f"{what}, {features:,}", "embeddings", facts.formula(*sizes))


def _patches(facts: Facts) -> Role | None:
    """A convolution that cuts a picture into patches."""
    if not (
        facts.parent.endswith(("PatchEmbeddings", "PatchEmbed"))
        or (facts.parent.endswith("Embeddings") and facts.attribute in ("patch_embedding", "patch_embeddings"))
    ):
        return None
    if facts.leaf == "bias" and len(facts.shape) == 1:
        width = _first_width(facts, facts.shape[0])
        return Role(f"bias of the patch embedding, {facts.shape[0]:,}", "embeddings", facts.formula(width))
    patch = facts.size("patch_size")
    channels = facts.size("num_channels", "in_channels")
    if facts.leaf != "weight" or patch is None or channels is None or facts.shape[1] != channels.value:
        return None
    out, kernel = facts.shape[0], facts.shape[2:]
    frames = facts.size("temporal_patch_size")
    if kernel == (patch.value, patch.value):
        sizes: tuple[Size | None, ...] = (patch, patch)
        seen = f"{patch.value} × {patch.value} pixels"
    elif frames is not None and kernel == (frames.value, patch.value, patch.value):
        sizes = (frames, patch, patch)
        seen = f"{frames.value} frames × {patch.value} × {patch.value} pixels"
    else:
        return None
    formula = facts.formula(_first_width(facts, out), channels, *sizes)
    return Role(f"patch embedding: {channels.value} channels × {seen} → {out:,}", "embeddings", formula)


def _first_width(facts: Facts, out: int) -> Size | None:
    """Return the name of the width that patches get: where a model has stages, of the first one."""
    return facts.width_of(out) or named(out, (facts.size("embed_dim"),))


def _sound(facts: Facts) -> Role | None:
    """Whisper's two convolutions over a spectrogram."""
    if facts.parent != "WhisperEncoder" or facts.attribute not in ("conv1", "conv2"):
        return None
    if facts.leaf == "bias":
        text = f"bias of the audio stem's convolution, {facts.shape[0]:,}"
        return Role(text, "embeddings", facts.formula(facts.width_of(facts.shape[0])))
    mel, width = facts.size("num_mel_bins"), facts.size("d_model")
    inputs = mel if facts.attribute == "conv1" else width
    if inputs is None or len(facts.shape) != 3 or facts.shape[1] != inputs.value:
        return None
    what = f"{inputs.value:,} mel bins" if facts.attribute == "conv1" else f"{inputs.value:,}"
    text = f"audio stem: convolution over {facts.shape[2]} frames, {what} → {facts.shape[0]:,}"
    return Role(text, "embeddings", facts.formula(width, inputs, literal(facts.shape[2])))


def _masked_sound(facts: Facts) -> Role | None:
    """The vector of wav2vec 2.0 and its kin that takes the place of masked time steps (arXiv 2006.11477)."""
    width = facts.size("hidden_size")
    formula = facts.formula(width) if "mask_time_prob" in facts.config else None
    if formula is None or width is None:
        return None
    return Role(f"mask vector: stands for a masked time step, {width.value:,}", "embeddings", formula)
