"""Lints of terms and groups: what matches nothing, too much, or not what was meant."""

from __future__ import annotations

import re
from collections.abc import Iterator

from explorer.core.lint_scene import Facts, Scene
from explorer.core.named import Named
from explorer.core.param import Finding
from explorer.core.patterns import PatternError, Substring, Term


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
                held = bytearray(len(scene.model))
                for row in rows:
                    held[row] = 1
                names = Named(scene.model.names, bytes(held))
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


def _hits(scene: Scene, term: Term) -> int | None:
    """Return where a term matches, or `None` for one that was stopped."""
    try:
        return scene.matches(term)
    except PatternError:
        return None


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
