"""The groups that well-known training code makes, each with its source, and a comparison of them on one model.

A new preset is one function and one entry in `PRESETS`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

from explorer.core.errors import ParamxError
from explorer.core.groups import Assignment, Grouper
from explorer.core.layers import layer_of
from explorer.core.layerwise import layerwise
from explorer.core.lint_scene import Scene
from explorer.core.lints import lint
from explorer.core.param import Finding, Model, ModuleClass
from explorer.core.rules import Grouping, Rule


@dataclass(frozen=True, slots=True)
class Asked:
    """A number that a preset asks for."""

    name: str
    """Keyword of the preset's function."""
    title: str
    """What it is, for people."""
    default: float
    """The value if none is given."""
    low: float = 0.0
    """Smallest value."""
    high: float = 1.0
    """Largest value."""


@dataclass(frozen=True, slots=True)
class Preset:
    """One well-known way to group parameters."""

    name: str
    """Stable name for scripts."""
    title: str
    """Its name, for people."""
    source: str
    """Project, version and file."""
    rule: str
    """What it does, in one line."""
    build: Callable[..., Grouping]
    """`build(model, **params)`; takes what `asked` names, and may take sets of names worked out elsewhere."""
    asked: tuple[Asked, ...] = ()
    """The numbers it asks for."""


def run_glue(model: Model, weight_decay: float = 0.1) -> Grouping:
    """The classic: no decay for names that contain `bias` or `LayerNorm.weight`."""
    return Grouping.classic(weight_decay=weight_decay)


HF_TRAINER_NAMES = r"re:(?i)bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)"
"""`forbidden_name_patterns` of transformers 5.23 (`trainer.py`, `get_decay_parameter_names`) as one term. There they
are searched in the lower-cased path at each level below the root; the whole name holds all of those."""


def hf_trainer(model: Model, weight_decay: float = 0.01, decay_names: Collection[str] | None = None) -> Grouping:
    """The Trainer's: no decay for `nn.LayerNorm` and for five patterns of names.

    Args:
        model: The model.
        weight_decay: `TrainingArguments.weight_decay`.
        decay_names: What transformers' own `get_decay_parameter_names` returned for this model, if it was at hand.
            Where the terms differ from it, exact names are added; aliases and names the model lacks are left out.
    """
    # A term that this model has no use for would only be reported as dead.
    has_type = any(module is not None and _is_layer_norm(module) for module in model.modules.values)
    terms = (*["type:LayerNorm"] * has_type, HF_TRAINER_NAMES)
    grouping = Grouping(
        (
            Rule("no_decay", terms, {"weight_decay": 0.0}),
            Rule("decay", (), {"weight_decay": weight_decay}),
        )
    )
    if decay_names is None:
        return grouping
    wanted = set(decay_names)
    codes = Grouper(model).codes(grouping)
    spared = [name for name, code in zip(model.names, codes, strict=True) if code == 1 and name not in wanted]
    decayed = [name for name, code in zip(model.names, codes, strict=True) if code == 0 and name in wanted]
    exact = (*(f"name:{name}" for name in spared), *(f"!name:{name}" for name in decayed))
    return grouping.with_terms(0, (*terms, *exact))


def _is_layer_norm(module: ModuleClass) -> bool:
    return "LayerNorm" in (module.name, *module.bases)


def nanogpt(model: Model, weight_decay: float = 0.1) -> Grouping:
    """nanoGPT's: every tensor of two dimensions or more decays, all biases and norms do not."""
    return Grouping(
        (Rule("no_decay", ("ndim<2",), {"weight_decay": 0.0}), Rule("decay", (), {"weight_decay": weight_decay}))
    )


def timm(model: Model, weight_decay: float = 0.05, no_weight_decay: Collection[str] = ()) -> Grouping:
    """timm's: no decay for one dimension or less, for `.bias`, and for what the model itself names.

    Args:
        model: The model.
        weight_decay: Of the other group.
        no_weight_decay: What `model.no_weight_decay()` returned, if the model has it.
    """
    names = set(model.names)
    exact = tuple(f"name:{name}" for name in sorted(no_weight_decay) if name in names)
    wide_bias = any(
        name.endswith(".bias") and shape is not None and len(shape) > 1
        for name, shape in zip(model.names, model.shapes, strict=True)
    )
    # A bias of one dimension is caught already; the term is written where it adds something.
    terms = ("ndim<=1", *["glob:*.bias"] * wide_bias, *exact)
    return Grouping(
        (Rule("no_decay", terms, {"weight_decay": 0.0}), Rule("decay", (), {"weight_decay": weight_decay}))
    )


def muon_split(model: Model, weight_decay: float = 0.1) -> Grouping:
    """Muon for the matrices of the hidden layers; AdamW for embeddings, heads, norms, biases and all else.

    A matrix is hidden if it is inside a numbered layer and not an embedding.
    """
    outside = [
        name
        for i, (name, shape) in enumerate(zip(model.names, model.shapes, strict=True))
        if shape is not None and len(shape) == 2 and layer_of(name) is None and i not in model.apart
    ]
    embeddings = any(value is not None and "Embedding" in value.name for value in model.modules.values)
    terms = ("ndim==2", *["!type:*Embedding*"] * embeddings, *(f"!name:{name}" for name in outside))
    return Grouping(
        (
            Rule("muon", terms, {"weight_decay": weight_decay, "optimizer": "Muon"}),
            Rule("adamw_no_decay", ("ndim<2",), {"weight_decay": 0.0}),
            Rule("adamw", (), {"weight_decay": weight_decay}),
        )
    )


_WEIGHT_DECAY = Asked("weight_decay", "weight decay", 0.1, 0.0, 10.0)

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "run_glue",
            "run_glue (the classic)",
            "transformers 2 to 4, examples/pytorch/text-classification/run_glue_no_trainer.py",
            'no decay for names that contain "bias" or "LayerNorm.weight"',
            run_glue,
            (_WEIGHT_DECAY,),
        ),
        Preset(
            "hf_trainer",
            "Hugging Face Trainer",
            "transformers 5.23, src/transformers/trainer.py, get_decay_parameter_names",
            "no decay for nn.LayerNorm and five patterns of names: bias, layernorm, rmsnorm, norm, _norm",
            hf_trainer,
            (replace(_WEIGHT_DECAY, default=0.01),),
        ),
        Preset(
            "nanogpt",
            "nanoGPT",
            "karpathy/nanoGPT 3adf61e, model.py, configure_optimizers",
            "no decay for tensors of fewer than 2 dimensions",
            nanogpt,
            (_WEIGHT_DECAY,),
        ),
        Preset(
            "timm",
            "timm",
            "timm 1.0, timm/optim/_param_groups.py, param_groups_weight_decay",
            "no decay for 1 dimension or less, for names that end in .bias, and for the model's own list",
            timm,
            (replace(_WEIGHT_DECAY, default=0.05),),
        ),
        Preset(
            "muon",
            "Muon split",
            "torch 2.13, torch/optim/_muon.py, and KellerJordan/Muon, README.md",
            "Muon for the hidden layers' matrices, AdamW for embeddings, heads, norms and biases",
            muon_split,
            (_WEIGHT_DECAY,),
        ),
        Preset(
            "layerwise",
            "layer-wise learning-rate decay",
            "timm 1.0, timm/optim/_param_groups.py, param_groups_layer_decay; several stacks as in EVA-CLIP, "
            "rei/training/optim.py; first in ELECTRA (Clark et al. 2020)",
            "each layer learns slower than the one above by a constant factor; encoder, decoder and towers count "
            "each from its own top",
            layerwise,
            (Asked("rate", "learning rate from layer to layer", 0.9), replace(_WEIGHT_DECAY, default=0.05)),
        ),
    )
}
"""Every preset by name."""


def groups_of_preset(name: str, model: Model) -> Grouping:
    """Return the groups that a preset makes of a model, with the numbers of its source.

    Args:
        name: A key of `PRESETS`.
        model: The model.

    Raises:
        ParamxError: It can't be built for this model.
    """
    try:
        return PRESETS[name].build(model)
    except ValueError as error:
        raise ParamxError(f"recipe {name}", str(error), "take another recipe") from error


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One preset on the model, or other groups beside the presets."""

    title: str
    """The preset's title."""
    preset: Preset | None
    """The preset; `None` for other groups."""
    grouping: Grouping | None
    """Its groups; `None` if it can't be built for this model."""
    assignment: Assignment | None
    """Where each parameter falls."""
    findings: tuple[Finding, ...]
    """What the lints say."""
    decays: bytes
    """For every parameter 1 if it decays; empty if the preset can't be built."""
    error: str = ""
    """Why it can't be built."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """All presets side by side."""

    rows: tuple[MatrixRow, ...]
    """One a preset, in the order of `PRESETS`."""
    disagree: tuple[int, ...]
    """Parameters that decay under one preset and not under another, in model order."""


def matrix(
    model: Model, grouper: Grouper | None = None, params: Mapping[str, Mapping[str, Any]] | None = None
) -> Matrix:
    """Put all presets side by side on a model.

    Args:
        model: The model.
        grouper: The model's grouper, if there is one already.
        params: Keywords for presets, by the preset's name: `{"hf_trainer": {"decay_names": {...}}}`.
    """
    ours = grouper or Grouper(model)
    rows = tuple(_row(model, ours, preset, (params or {}).get(name, {})) for name, preset in PRESETS.items())
    masks = [int.from_bytes(row.decays, "little") for row in rows if row.grouping is not None]
    differ = 0
    for mask in masks[1:]:
        differ |= mask ^ masks[0]
    size = len(model)
    return Matrix(rows, tuple(compress(range(size), differ.to_bytes(size, "little"))))


def _row(model: Model, grouper: Grouper, preset: Preset, params: Mapping[str, Any]) -> MatrixRow:
    try:
        grouping = preset.build(model, **params)
    except ValueError as error:
        return MatrixRow(preset.title, preset, None, None, (), b"", str(error))
    assignment = grouper.assign(grouping)
    decays = Scene(model, grouping, assignment).decaying.to_bytes(len(model), "little")
    return MatrixRow(preset.title, preset, grouping, assignment, lint(model, grouping, assignment), decays)
