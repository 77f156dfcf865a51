"""Finds what is likely wrong with a grouping, before a training run is paid for.

A new lint is one function in `LINTS`. Each takes the scene and yields findings; all of them together take a few
milliseconds on 150,000 parameters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from explorer.core.fixes import apply_fix
from explorer.core.groups import Assignment
from explorer.core.lint_group_names import option_in_name
from explorer.core.lint_names import cannot_judge, no_parameters, whole_numbers
from explorer.core.lint_options import (
    ignored_option,
    inverted,
    norm_decays,
    one_dim_decays,
    refused_groups,
    refused_shape,
    tied_split,
    unknown_optimizer,
)
from explorer.core.lint_scene import Scene, is_norm
from explorer.core.lint_terms import (
    bad_terms,
    dead_pattern,
    digit_boundary,
    empty_group,
    looks_like_glob,
    wide_substring,
)
from explorer.core.lint_training import large_lr, trains_nothing
from explorer.core.param import Finding, Model
from explorer.core.rules import Grouping

__all__ = ["LINTS", "apply_fix", "is_norm", "lint", "severity_place", "try_fixes", "with_sources"]

_SEVERITIES = ("error", "warning", "hint")


def severity_place(finding: Finding) -> int:
    """Return 0 for an error, 1 for a warning, 2 for a hint: the key that sorts the worst first."""
    return _SEVERITIES.index(finding.severity)


LINTS: tuple[Callable[[Scene], Iterator[Finding]], ...] = (
    bad_terms,
    empty_group,
    ignored_option,
    option_in_name,
    refused_shape,
    refused_groups,
    trains_nothing,
    large_lr,
    inverted,
    norm_decays,
    wide_substring,
    dead_pattern,
    digit_boundary,
    tied_split,
    one_dim_decays,
    unknown_optimizer,
    looks_like_glob,
    whole_numbers,
    cannot_judge,
)
"""Every lint, in the order in which findings of one severity are told."""


def lint(model: Model, grouping: Grouping, assignment: Assignment) -> tuple[Finding, ...]:
    """Judge a grouping on a model.

    Args:
        model: The model.
        grouping: The groups.
        assignment: What `Grouper.assign` made of them.

    Returns:
        The findings: errors, then warnings, then hints.
    """
    if len(model) == len(model.apart):
        return no_parameters(model)
    scene = Scene(model, grouping, assignment)
    findings = [finding for each in LINTS for finding in each(scene)]
    return tuple(sorted(findings, key=severity_place))


def with_sources(model: Model, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings of what was opened, then those of its groups, then the hints of both.

    Groups that do not fit yet are no news when a model opens; that its file is damaged, or names code to run, is.
    """
    every = (*sorted(model.findings, key=severity_place), *findings)
    return tuple(sorted(every, key=lambda finding: finding.severity == "hint"))


def try_fixes(findings: Iterable[Finding], assignment: Assignment) -> tuple[Finding, ...]:
    """Leave out each fix that would not mend, or after which something new would be found.

    An option that is set right keeps its fix: it may uncover what the wrong value hid. Each fix is tried as a
    keystroke is, so this is for lists of findings and not for every key.

    Args:
        findings: What `lint` found, and possibly what the source did.
        assignment: What `lint` judged.
    """
    grouper, grouping = assignment.grouper, assignment.grouping
    before = Counter(finding.id for finding in lint(grouper.model, grouping, assignment))

    def mends(finding: Finding) -> bool:
        edited = apply_fix(grouping, finding)
        if all(
            old.options != new.options for old, new in zip(grouping.rules, edited.rules, strict=True) if old != new
        ):
            return True
        after = Counter(each.id for each in lint(grouper.model, edited, grouper.assign(edited)))
        return after <= before and after[finding.id] < before[finding.id]

    return tuple(each._replace(fix="") if each.fix and not mends(each) else each for each in findings)
