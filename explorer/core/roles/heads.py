"""Roles of output heads: language-model heads, classifiers, poolers, projections into shared spaces."""

from __future__ import annotations

import re
from collections.abc import Mapping

from explorer.core.roles.facts import WIDTHS, Facts, Role, Size, named, size_in

LANGUAGE_MODEL = re.compile(
    r"(For\w*CausalLM|LMHeadModel|ForConditionalGeneration|ForMaskedLM|LMPredictionHead|LMHead)$"
)
"""Classes that own a language-model head."""

DECODERS = frozenset({"lm_head", "proj_out", "decoder", "vocab_projector", "embed_out", "predictions"})
"""Attributes of the linear layer from a vector to the vocabulary."""

TRANSFORMS = {
    ("BertPredictionHeadTransform", "dense"),
    ("RobertaLMHead", "dense"),
    ("XLMRobertaLMHead", "dense"),
    ("CamembertLMHead", "dense"),
    ("AlbertMLMHead", "dense"),
    ("DistilBertForMaskedLM", "vocab_transform"),
    ("ModernBertPredictionHead", "dense"),
}
"""Linear layers before the vocabulary's, by the class around and the attribute."""

LABELS = re.compile(r"For\w*Classification$")
"""Classes that own a classification head."""


def role(facts: Facts) -> Role | None:
    """Return the role of a parameter of a head; `None` where its facts do not show one."""
    return _vocabulary(facts) or _transform(facts) or _labels(facts) or _pooler(facts) or _shared_space(facts)


def _vocabulary(facts: Facts) -> Role | None:
    vocabulary, widths = facts.size("vocab_size"), facts.widths
    text_part = facts.config.get("text_config")
    if vocabulary is None and isinstance(text_part, Mapping):
        # LLaVA's own configuration leaves the sizes of its head to that of its language model.
        vocabulary = _of("text_config", size_in(text_part, "vocab_size"))
        widths = tuple(size for name in WIDTHS if (size := _of("text_config", size_in(text_part, name))))
    if vocabulary is None or not facts.shape or facts.shape[0] != vocabulary.value:
        return None
    # BERT's and RoBERTa's heads hold the decoder's bias themselves, too.
    own = facts.owner.name.endswith(("LMPredictionHead", "LMHead")) or facts.owner.name == "AlbertMLMHead"
    sizes = facts.linear if facts.attribute in DECODERS else None
    if facts.parent.endswith("ForCTC"):
        what = "CTC head"
    elif own or LANGUAGE_MODEL.search(facts.parent):
        what = "language-model head"
    else:
        return None
    if facts.leaf == "bias" and len(facts.shape) == 1 and (own or sizes):
        text = f"bias of the {what}: {vocabulary.value:,} tokens"
        return Role(text, "heads", facts.formula(vocabulary))
    if sizes is None or sizes[1] is None:
        return None
    text = f"{what}: {sizes[1]:,} → {vocabulary.value:,} tokens"
    return Role(text, "heads", facts.linear_formula(vocabulary, named(sizes[1], widths)))


def _of(part: str, size: Size | None) -> Size | None:
    return None if size is None else Size(f"{part}.{size.text}", size.value)


def _transform(facts: Facts) -> Role | None:
    sizes = facts.linear
    if sizes is None or (facts.parent, facts.attribute) not in TRANSFORMS:
        return None
    out, inputs = sizes
    outer = facts.size("embedding_size") or facts.width_of(out)
    if inputs is None:
        text = f"bias of the transform before the language-model head, {out:,}"
        return Role(text, "heads", facts.linear_formula(outer, None))
    text = f"transform before the language-model head, {inputs:,} → {out:,}"
    return Role(text, "heads", facts.linear_formula(outer, facts.width_of(inputs)))


def _labels(facts: Facts) -> Role | None:
    sizes = facts.linear
    labels = facts.config.get("id2label")
    if sizes is None or not isinstance(labels, Mapping):
        return None
    out, inputs = sizes
    # transformers' `config.num_labels` is the length of `id2label`.
    count = Size("num_labels", len(labels))
    if out != count.value:
        return None
    root = self_or_sequence(facts)
    if facts.attribute == "qa_outputs" and facts.parent.endswith("ForQuestionAnswering"):
        what = "question-answering head: start and end"
    elif root and LABELS.search(root):
        what = "classification head"
    else:
        return None
    if inputs is None:
        return Role(f"bias of the {what}, {out:,} labels", "heads", facts.formula(count))
    formula = facts.linear_formula(count, facts.width_of(inputs))
    return Role(f"{what}: {inputs:,} → {out:,} labels", "heads", formula)


def self_or_sequence(facts: Facts) -> str:
    """Return the class that owns a classifier: around the layer itself, or around a `Sequential` that ends in it."""
    if facts.attribute in ("classifier", "score"):
        return facts.parent
    if facts.parent == "Sequential" and len(facts.path) > 1 and facts.path[-2] == "classifier":
        return facts.grandparent
    return ""


def _pooler(facts: Facts) -> Role | None:
    sizes = facts.linear
    if sizes is None or not facts.parent.endswith("Pooler") or facts.attribute != "dense":
        return None
    out, inputs = sizes
    outer = facts.width_of(out)
    if inputs is None:
        return Role(f"bias of the pooler, {out:,}", "heads", facts.linear_formula(outer, None))
    formula = facts.linear_formula(outer, facts.width_of(inputs))
    return Role(f"pooler, {inputs:,} → {out:,}", "heads", formula)


def _shared_space(facts: Facts) -> Role | None:
    """CLIP's projections into the space that pictures and texts share, and the scale of their likeness."""
    if facts.owner.name in ("CLIPModel", "SiglipModel") and facts.leaf in ("logit_scale", "logit_bias"):
        what = (
            "scale of the similarities, as its logarithm"
            if facts.leaf == "logit_scale"
            else "bias of the similarities"
        )
        return Role(what, "heads") if facts.shape in ((), (1,)) else None
    if facts.parent == "CLIPModel" and facts.attribute in ("visual_projection", "text_projection"):
        sizes, shared = facts.linear, facts.size("projection_dim")
        if sizes and sizes[1] is not None and shared and sizes[0] == shared.value:
            what = facts.attribute.removesuffix("_projection").replace("visual", "picture")
            return Role(f"projection of the {what} into the shared space, {sizes[1]:,} → {sizes[0]:,}", "heads")
    return None
