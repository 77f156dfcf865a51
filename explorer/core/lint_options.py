"""Lints of options: what decays that should not, and what the optimizer ignores or refuses."""

from __future__ import annotations

import difflib
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
    biases = scene.facts.norm & scene.matches(_BIAS)
    kinds = (("norm weight", scene.facts.norm & ~biases), ("norm bias", biases))
    each = ((kind, mask.bit_count(), (hits & mask).bit_count()) for kind, mask in kinds)
    told = [f"{count:,} of {plural(total, kind)}" for kind, total, count in each if count]
    yield Finding(
        "norm-decays",
        "warning",
        f"{' and '.join(told)} {'decays' if hits.bit_count() == 1 else 'decay'}",
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
        for key, meant in _ignored(scene, i):
            effect = ""
            if meant == "weight_decay" and not scene.frozen(i) and optimizer in OPTIMIZERS:
                effect = f", so this group decays at its default {scene.decay[i]:g}"
            yield Finding(
                "ignored-option",
                "error",
                f"{rule.name}: {optimizer} ignores {key}{effect}",
                why=f"Unknown keys of a group are accepted in silence{f'; {meant} is meant' if meant else ''}.",
                fix=f"{rule.name}.{key} -> {meant}" if meant else "",
            )


def _ignored(scene: Scene, rule: int) -> Iterator[tuple[str, str]]:
    """Iterate over the keys of a rule that its optimizer ignores, each with the key that is meant, if one is."""
    options = scene.grouping.rules[rule].options
    facts = OPTIMIZERS.get(scene.optimizer(rule))
    for key in options:
        if key in OWN_OPTIONS or key in ANY_KEYS or (key in facts.keys if facts else key not in MEANT):
            continue
        known = {*(facts.keys if facts else ("weight_decay", "lr")), *OWN_OPTIONS}
        close = difflib.get_close_matches(key, sorted(known), 1, 0.75)
        meant = MEANT.get(key) or (close[0] if close else "")
        yield key, meant if meant in known and meant not in options else ""


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


def refused_groups(scene: Scene) -> Iterator[Finding]:
    """`refused-groups`: several groups of an optimizer that takes one."""
    for name, rules in _given(scene).items():
        if name not in OPTIMIZERS or not OPTIMIZERS[name].one_group:
            continue
        groups = sum(scene.where([i]) & ~scene.facts.frozen > 0 for i in rules)
        if groups > 1:
            why = "It raises when it is made: no group can have options of its own."
            yield Finding("refused-groups", "error", f"{name} takes one group and refuses {groups}", why=why)


def unknown_optimizer(scene: Scene) -> Iterator[Finding]:
    """`unknown-optimizer`: one of another library, or a misspelt one; which of the two is not known."""
    for name in _given(scene):
        if name not in OPTIMIZERS:
            known = {known.lower(): known for known in OPTIMIZERS}
            near = "".join(f"; near: {known[low]}" for low in difflib.get_close_matches(name.lower(), known, 1, 0.7))
            yield Finding(
                "unknown-optimizer",
                "hint",
                f"{name} is none of torch.optim's optimizers{near}",
                why="What it decays by default, and which options it ignores, is not known here; "
                "exported code needs a line that imports it.",
            )


def _given(scene: Scene) -> dict[str, list[int]]:
    """Return the rules whose members each optimizer gets; one that is frozen or empty gives none."""
    rules: dict[str, list[int]] = {}
    for i, count in enumerate(scene.assignment.tensors):
        if count and not scene.frozen(i):
            rules.setdefault(scene.optimizer(i), []).append(i)
    return rules


def inverted(scene: Scene) -> Iterator[Finding]:
    """`inverted`: what keeps biases and norms decays more than the matrices; a hint where it decays at all."""
    rules = scene.grouping.rules
    trained = [i for i, count in enumerate(scene.assignment.tensors) if count and not scene.frozen(i)]
    wide = [i for i in trained if scene.where([i]) & scene.facts.all_wide]
    if any(meant == "weight_decay" for i in trained for _, meant in _ignored(scene, i)):
        return  # the values that were meant are others, and `ignored-option` tells it
    for i in trained:
        own, said = scene.decay[i], scene.says_no_decay(i)
        if not own > 0 or not (said or i not in wide):
            continue
        fix = f"{rules[i].name}.weight_decay = 0.0" if said else ""
        matrices = max((scene.decay[other] for other in wide if other != i), default=own)
        if own > matrices:
            yield Finding(
                "inverted",
                "error",
                f"{rules[i].name} decays at {own:g}, the matrices at {matrices:g}",
                why="Biases and norms would shrink more than the matrices: the two values are likely swapped.",
                fix=fix,
            )
        elif said:
            yield Finding(
                "inverted",
                "hint",
                f"{rules[i].name} decays at {own:g}",
                why="Its name says that it does not; another name, or weight_decay=0, would say what it does.",
                fix=fix,
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


def _sparing_fix(scene: Scene, hits: int, terms: tuple[str, ...]) -> str:
    """Return the first edit that spares all of `hits` and empties no group, or nothing."""
    grouping = scene.grouping
    sparing = [i for i in range(grouping.catch_all) if scene.spares(i) and grouping.rules[i].terms]
    edits = [f"{grouping.rules[i].name} += {term}" for i in sparing[:1] for term in terms]
    if not sparing and scene.spares(grouping.catch_all):
        decaying = [rule.name for i, rule in enumerate(grouping.rules) if scene.decay[i] > 0]
        edits = [f"{name} += !{term}" for name in decaying[:1] for term in terms]
    return next((edit for edit in edits if scene.spared_by(apply_fix(grouping, edit), hits)), "")
