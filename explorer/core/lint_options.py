"""Lints of options: what decays that should not, and what the optimizer ignores or refuses."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from explorer.core.fixes import apply_fix
from explorer.core.lint_scene import Scene
from explorer.core.optimizers import ANY_KEYS, MEANT, OPTIMIZERS
from explorer.core.param import Finding
from explorer.core.patterns import parse
from explorer.core.rules import OWN_OPTIONS
from explorer.core.text import plural

_BIAS = parse(r"re:(?:^|[._])bias$")


def norm_decays(scene: Scene) -> Iterator[Finding]:
    """`norm-decays`: a parameter of a normalization module in a decaying group."""
    hits = scene.facts.norm & scene.decaying
    if not hits:
        return
    weights = _without_biases(scene, scene.facts.norm)
    decaying, what = (hits, "parameter") if hits & ~weights else (hits, "weight")
    total = (scene.facts.norm if what == "parameter" else weights).bit_count()
    count = decaying.bit_count()
    yield Finding(
        "norm-decays",
        "warning",
        f"{count:,} of {plural(total, f'norm {what}')} {'decays' if count == 1 else 'decay'}",
        scene.names(hits),
        "Decay pulls a norm's scale towards zero, which shrinks its layer's output rather than regularizing it.",
        _sparing_fix(scene, hits, ("type:*Norm", "type:*Norm*")),
    )


def one_dim_decays(scene: Scene) -> Iterator[Finding]:
    """`one-dim-decays`: another parameter with fewer than two dimensions in a decaying group."""
    hits = scene.facts.flat & scene.decaying
    if hits:
        count = hits.bit_count()
        yield Finding(
            "one-dim-decays",
            "hint",
            f"{plural(count, 'parameter')} of fewer than 2 dimensions {'decays' if count == 1 else 'decay'}",
            scene.names(hits),
            "Biases, scales and A_log hold no matrix to keep small; most recipes spare them.",
            _sparing_fix(scene, hits, ("ndim<2",)),
        )


def ignored_option(scene: Scene) -> Iterator[Finding]:
    """`ignored-option`: a key that the optimizer accepts and never reads."""
    for i, rule in enumerate(scene.grouping.rules):
        optimizer = scene.optimizer(i)
        facts = OPTIMIZERS.get(optimizer)
        for key in rule.options:
            if key in OWN_OPTIONS or key in ANY_KEYS or (key in facts.keys if facts else key not in MEANT):
                continue
            known = {*(facts.keys if facts else ("weight_decay", "lr")), *OWN_OPTIONS}
            close = difflib.get_close_matches(key, sorted(known), 1, 0.75)
            meant = MEANT.get(key) or (close[0] if close else "")
            meant = meant if meant in known and meant not in rule.options else ""
            effect = ""
            if meant == "weight_decay" and not scene.frozen(i):
                effect = f", so this group decays at its default {scene.decay[i]:g}"
            yield Finding(
                "ignored-option",
                "error",
                f"{rule.name}: {optimizer} ignores {key}{effect}",
                why=f"Unknown keys of a group are accepted in silence{f'; {meant} is meant' if meant else ''}.",
                fix=f"{rule.name}.{key} -> {meant}" if meant else "",
            )


def refused_shape(scene: Scene) -> Iterator[Finding]:
    """`refused-shape`: a parameter that its optimizer raises on."""
    for i, rule in enumerate(scene.grouping.rules):
        facts = OPTIMIZERS.get(scene.optimizer(i))
        if facts is None or not facts.matrices_only or scene.frozen(i):
            continue
        hits = scene.where([i]) & scene.facts.not_matrix
        if hits:
            refused = plural(hits.bit_count(), "parameter")
            yield Finding(
                "refused-shape",
                "error",
                f"{rule.name}: {scene.optimizer(i)} takes matrices only and refuses {refused}",
                scene.names(hits),
                "It raises when it is made; such parameters go to another optimizer, set for their group.",
                f"{rule.name} += !ndim!=2" if i < scene.grouping.catch_all else "",
            )


def inverted(scene: Scene) -> Iterator[Finding]:
    """`inverted`: the no-decay group decays more than the others, or its name promises what its options do not."""
    decays = [
        scene.decay[i]
        for i, count in enumerate(scene.assignment.tensors)
        if count and not scene.frozen(i) and not _says_no_decay(scene, i)
    ]
    for i, rule in enumerate(scene.grouping.rules):
        own = scene.decay[i]
        if not own > 0 or not scene.assignment.tensors[i]:
            continue
        said = _says_no_decay(scene, i)
        if not said and (not decays or scene.where([i]) & scene.facts.all_wide or own <= _matrices(scene)):
            continue
        compared = f", more than the others' {min(decays):g}" if decays and own > min(decays) else ""
        yield Finding(
            "inverted",
            "error",
            f"{rule.name} decays at {own:g}{compared}",
            why="Biases and norms would shrink while the matrices are left alone: the two values are likely swapped.",
            fix=f"{rule.name}.weight_decay = 0.0" if said else "",
        )


def tied_split(scene: Scene) -> Iterator[Finding]:
    """`tied-split`: names of one tensor fall in different groups."""
    aliases = iter(scene.assignment.alias_codes)
    apart = scene.model.apart
    rules = scene.grouping.rules
    for index, names in scene.model.aliases.items():
        code = scene.assignment.codes[index]
        for name, other in zip(names, aliases, strict=False):  # each takes its own from the one iterator
            if other != code and index not in apart:
                own = scene.model.names[index]
                yield Finding(
                    "tied-split",
                    "warning",
                    f"{own} is in {rules[code].name}; as {name}, the same tensor, it would be in {rules[other].name}",
                    (own, name),
                    "The first name decides; code that walks names with duplicates puts the tensor in two groups, "
                    "which torch refuses.",
                )


def _without_biases(scene: Scene, mask: int) -> int:
    return mask & ~scene.matches(_BIAS)


def _matrices(scene: Scene) -> float:
    """Return the largest decay of a group with matrices."""
    holders = (i for i, count in enumerate(scene.assignment.tensors) if count)
    return max((scene.decay[i] for i in holders if scene.where([i]) & scene.facts.all_wide), default=float("inf"))


def _says_no_decay(scene: Scene, rule: int) -> bool:
    name = re.sub(r"[^a-z]", "", scene.grouping.rules[rule].name.lower())
    return any(text in name for text in ("nodecay", "nowd", "nowdecay", "noweightdecay", "withoutdecay", "undecayed"))


def _sparing_fix(scene: Scene, hits: int, terms: tuple[str, ...]) -> str:
    """Return the first edit after which none of `hits` decays, or nothing."""
    grouping = scene.grouping
    sparing = [i for i in range(grouping.catch_all) if scene.spares(i) and grouping.rules[i].terms]
    edits = [f"{grouping.rules[i].name} += {term}" for i in sparing[:1] for term in terms]
    if not sparing and scene.spares(grouping.catch_all):
        decaying = [rule.name for i, rule in enumerate(grouping.rules) if scene.decay[i] > 0]
        edits = [f"{name} += !{term}" for name in decaying[:1] for term in terms]
    return next((edit for edit in edits if not scene.still(hits, apply_fix(grouping, edit))), "")
