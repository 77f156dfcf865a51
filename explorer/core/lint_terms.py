"""Lints of terms and groups: what matches nothing, too much, or not what was meant."""

from __future__ import annotations

import re
from collections.abc import Iterator

from explorer.core.groups import NO_GROUP
from explorer.core.lint_scene import Facts, Scene
from explorer.core.named import Named
from explorer.core.param import Finding
from explorer.core.patterns import PatternError, Regex, Substring, Term
from explorer.core.rules import Rule
from explorer.core.text import quoted


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
                if not term.excludes and scene.names_tied(term, i):
                    continue
                near = scene.facts.suggest(term, scene.spares(i))
                offer = f"; near: {', '.join(map(quoted, near))}" if near else ""
                message = f"{rule.name}: {term.source} matches nothing{offer}"
            elif term.excludes:
                continue
            elif not hits & ~scene.where([NO_GROUP]):
                message = f"{rule.name}: {term.source} matches only what is no parameter, and in no group"
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
                _removal(rule, term),
            )


def wide_substring(scene: Scene) -> Iterator[Finding]:
    """`wide-substring`: a text or an expression puts a matrix that is no norm's into a group without decay.

    Terms of other kinds name what they take, and a group with a learning rate or an optimizer of its own, as a head
    has, is made for its matrices too.
    """
    for i, rule in enumerate(scene.grouping.rules[:-1]):
        made_for_them = rule.options.keys() & {"lr", "lr_mult", "optimizer"} and not scene.says_no_decay(i)
        if made_for_them or not scene.spares(i) or not any(scene.decay):
            continue
        own = scene.where([i])
        taken = {term: (_hits(scene, term) or 0) & own for _, term in scene.terms[i] if not term.excludes}
        for term, hits in taken.items():
            wide = hits & scene.facts.wide
            if not wide or not isinstance(term.test, (Substring, Regex)):
                continue
            # What takes nothing but matrices is best without it: excluded again, it would be a dead term.
            removal = _removal(rule, term) if hits == wide and hits != own else ""
            alone = wide == own & scene.facts.all_wide
            excluded = alone and all(other & ~scene.facts.wide for other in taken.values() if other)
            count = wide.bit_count()
            what = "the expression " * isinstance(term.test, Regex)
            yield Finding(
                "wide-substring",
                "warning",
                f"{rule.name}: {what}{term.source} also catches {count:,} {'matrix' if count == 1 else 'matrices'}",
                scene.names(wide),
                "Weights of 2 or more dimensions are what decay is for; part of a name catches too much.",
                removal or (f"{rule.name} += !ndim>=2" if excluded else ""),
            )


def _removal(rule: Rule, term: Term) -> str:
    """Return the edit that takes a term out of its rule; nothing where what is left would mean something else."""
    left = [text for text in rule.terms if text != term.source]
    # Terms that only exclude match all the others, and no term at all matches nothing.
    alike = any(_includes(text) for text in left) == any(_includes(text) for text in rule.terms)
    return f"{rule.name} -= {term.source}" if left and alike else ""


def _includes(term: str) -> bool:
    return not term.startswith("!")


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
