"""What is likely wrong with a grouping, told before the run is paid for.

A new lint is one function in `LINTS`. Each takes the scene and yields findings; all of them together take a few
milliseconds on 150,000 parameters.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator

from explorer.core.fixes import apply_fix
from explorer.core.groups import Assignment
from explorer.core.lint_scene import Facts, Scene, is_norm
from explorer.core.optimizers import ANY_KEYS, MEANT, OPTIMIZERS
from explorer.core.param import Finding, Model
from explorer.core.patterns import PatternError, Substring, Term, parse
from explorer.core.rules import OWN_OPTIONS, Grouping
from explorer.core.text import plural

__all__ = ["LINTS", "apply_fix", "is_norm", "lint"]

_SEVERITIES = ("error", "warning", "hint")


def lint(model: Model, grouping: Grouping, assignment: Assignment) -> tuple[Finding, ...]:
    """Judge a grouping on a model.

    Args:
        model: The model.
        grouping: The groups.
        assignment: What `Grouper.assign` made of them.

    Returns:
        The findings: errors, then warnings, then hints.
    """
    if not len(model):
        return ()
    scene = Scene(model, grouping, assignment)
    findings = [finding for each in LINTS for finding in each(scene)]
    return tuple(sorted(findings, key=lambda finding: _SEVERITIES.index(finding.severity)))


def bad_terms(scene: Scene) -> Iterator[Finding]:
    """`blank-term` and `bad-term`: a term that takes no part."""
    for problem in scene.assignment.problems:
        rule = scene.grouping.rules[problem.rule]
        text = rule.terms[problem.term]
        if problem.kind == "blank":
            yield Finding(
                "blank-term",
                "error",
                f"{rule.name}: a blank term is dropped",
                why="An empty string is in every name, so it would put every parameter in this group.",
                fix=f'{rule.name} -= ""',
            )
        else:
            yield Finding(
                "bad-term",
                "error",
                f"{rule.name}: {text}: {problem.message} (column {problem.column + 1})",
                why="The term takes no part, so its parameters land in groups below.",
            )


def empty_group(scene: Scene) -> Iterator[Finding]:
    """`empty-group`: a rule that nothing falls under."""
    for i, (rule, count) in enumerate(zip(scene.grouping.rules, scene.assignment.tensors, strict=True)):
        if count:
            continue
        if i == scene.grouping.catch_all:
            # The rules above may well be meant to cover everything, as in layer-wise decay.
            yield Finding(
                "empty-group",
                "warning" if i else "error",
                f"{rule.name} is empty: the groups above take everything",
                why="Exported code leaves an empty group out; if it should hold the rest, a term is too wide.",
            )
        else:
            yield Finding(
                "empty-group",
                "error",
                f"{rule.name} is empty" if rule.terms else f"{rule.name} has no terms yet",
                why="Its options reach no parameter: the recipe was written for a model with other names.",
            )


def dead_pattern(scene: Scene) -> Iterator[Finding]:
    """`dead-pattern`: a term that changes nothing."""
    for i, rule in enumerate(scene.grouping.rules[:-1]):
        own = scene.where([i])
        for _, term in scene.terms[i]:
            hits = _hits(scene, term)
            if hits is None or (hits & own and not term.excludes):
                continue
            if not hits:
                near = scene.facts.suggest(term)
                offer = f"; near: {', '.join(near)}" if near else ""
                message = f"{rule.name}: {term.source} matches nothing{offer}"
            elif term.excludes:
                continue
            else:
                out = any((_hits(scene, other) or 0) & hits for _, other in scene.terms[i] if other.excludes)
                taker = "this group's own ! terms" if out else "an earlier group"
                message = f"{rule.name}: {term.source} matches only what {taker} took"
            yield Finding(
                "dead-pattern",
                "warning",
                message,
                scene.names(hits),
                "A term without effect is a misspelling, or was written for another model.",
                f"{rule.name} -= {term.source}" if hits else "",
            )


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


def wide_substring(scene: Scene) -> Iterator[Finding]:
    """`wide-substring`: a plain substring puts a matrix that is no norm's into a group without decay."""
    for i, rule in enumerate(scene.grouping.rules[:-1]):
        if not scene.spares(i) or not any(scene.decay):
            continue
        own = scene.where([i])
        for _, term in scene.terms[i]:
            if term.excludes or not isinstance(term.test, Substring):
                continue
            hits = (_hits(scene, term) or 0) & own & scene.facts.wide
            if not hits:
                continue
            alone = hits == own & scene.facts.all_wide
            count = hits.bit_count()
            yield Finding(
                "wide-substring",
                "warning",
                f"{rule.name}: {term.source} also catches {count:,} {'matrix' if count == 1 else 'matrices'}",
                scene.names(hits),
                "Weights of 2 or more dimensions are what decay is for; a short text catches too much.",
                f"{rule.name} += !ndim>=2" if alone else "",
            )


def digit_boundary(scene: Scene) -> Iterator[Finding]:
    """`digit-boundary`: `layer.1` also matches `layer.10`."""
    for i, rule in enumerate(scene.grouping.rules[:-1]):
        for _, term in scene.terms[i]:
            test = term.test
            if not isinstance(test, Substring) or not (test.text[0].isdigit() or test.text[-1].isdigit()):
                continue
            rows, better = _overrun(scene, term, test.text)
            if rows:
                names = tuple(scene.model.names[row] for row in rows)
                yield Finding(
                    "digit-boundary",
                    "warning",
                    f"{rule.name}: {term.source} also matches {names[0]}",
                    names,
                    "A number is cut in the middle, so layers with more digits are caught too.",
                    f"{rule.name}: {term.source} -> {'!' * term.excludes}{better}" if better else "",
                )


def looks_like_glob(scene: Scene) -> Iterator[Finding]:
    r"""`looks-like-glob`: one of `*?[^$\` in a plain term."""
    for i, rule in enumerate(scene.grouping.rules[:-1]):
        for _, term in scene.terms[i]:
            if isinstance(term.test, Substring) and (found := re.search(r"[*?\[^$\\]", term.test.text)):
                yield Finding(
                    "looks-like-glob",
                    "hint",
                    f"{rule.name}: {term.source} is searched as it stands, {found[0]} included",
                    why="Plain terms are literal; shell patterns begin with glob: and regular expressions with re:.",
                    fix=_as_pattern(scene, rule.name, term, term.test.text),
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
    rules = scene.grouping.rules
    for index, names in scene.model.aliases.items():
        code = scene.assignment.codes[index]
        for name, other in zip(names, aliases, strict=False):  # each takes its own from the one iterator
            if other != code:
                own = scene.model.names[index]
                yield Finding(
                    "tied-split",
                    "warning",
                    f"{own} is in {rules[code].name}; as {name}, the same tensor, it would be in {rules[other].name}",
                    (own, name),
                    "The first name decides; code that walks names with duplicates puts the tensor in two groups, "
                    "which torch refuses.",
                )


def cannot_judge(scene: Scene) -> Iterator[Finding]:
    """`cannot-judge`: where no module classes are known, norms can't be told from other parameters."""
    if scene.facts.unjudged:
        yield Finding(
            "cannot-judge",
            "hint",
            f"which of {plural(scene.facts.unjudged, 'tensor')} belong to norms is not known",
            why="A checkpoint file holds names, not modules; open the model by its config to have norms checked.",
        )


LINTS: tuple[Callable[[Scene], Iterator[Finding]], ...] = (
    bad_terms,
    empty_group,
    ignored_option,
    refused_shape,
    inverted,
    norm_decays,
    wide_substring,
    dead_pattern,
    digit_boundary,
    tied_split,
    one_dim_decays,
    looks_like_glob,
    cannot_judge,
)
"""Every lint, in the order in which findings of one severity are told."""


def _hits(scene: Scene, term: Term) -> int | None:
    """Return where a term matches, or `None` for one that was stopped."""
    try:
        return scene.matches(term)
    except PatternError:
        return None


def _without_biases(scene: Scene, mask: int) -> int:
    return mask & ~scene.matches(_BIAS)


_BIAS = parse(r"re:(?:^|[._])bias$")


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


def _as_pattern(scene: Scene, rule: str, term: Term, text: str) -> str:
    sign = "!" * term.excludes
    glob = "*" * (text[0] != "*") + text + "*" * (text[-1] != "*")
    for candidate in (f"re:{text}", f"glob:{glob}") if re.search(r"[\^$\\]", text) else (f"glob:{glob}",):
        try:
            if any(scene.grouper.matches(candidate)):
                return f"{rule}: {term.source} -> {sign}{candidate}"
        except PatternError:
            continue
    return ""


def _overrun(scene: Scene, term: Term, text: str) -> tuple[tuple[int, ...], str]:
    """Return the rows where a term stops inside a number, and a term that does not."""
    known = scene.facts.overruns.get(term.key)
    if known is None:
        known = _look_for_overrun(scene, term, text)
        _remember(scene.facts, term.key, known)
    return known


def _remember(facts: Facts, key: str, value: tuple[tuple[int, ...], str]) -> None:
    if len(facts.overruns) > 64:
        facts.overruns.clear()
    facts.overruns[key] = value


def _look_for_overrun(scene: Scene, term: Term, text: str) -> tuple[tuple[int, ...], str]:
    before = "(?<![0-9])" if text[0].isdigit() else ""
    after = "(?![0-9])" if text[-1].isdigit() else ""
    whole = re.compile(before + re.escape(text) + after)
    rows = scene.rows(_hits(scene, term) or 0)
    over = [row for row in rows if not whole.search(scene.model.names[row])]
    # Where every match is cut, the text may be a piece of a number on purpose; there is nothing to compare with.
    if not over or len(over) == len(rows):
        return (), ""
    dotted = "." * bool(before) + text + "." * bool(after)
    exact = len(over) + scene.grouper.matches(dotted).count(1) == len(rows)
    return tuple(over), dotted if exact else ""
