"""The command's printouts: a listing, statistics, a comparison, the verdict of `--check`, the groups as code.

What only some of them need is imported where it is used.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from explorer.arguments import FIGURE_SORTS, STATS_FORMATS, grouping_of, groups_of, spec_of
from explorer.core.errors import ParamxError
from explorer.core.groups import Grouper
from explorer.core.listing import FORMATS, Listing, nothing_contains
from explorer.core.terminal import is_terminal
from explorer.core.text import harmless_line, visible
from explorer.output import EXIT_FAILED, EXIT_TROUBLE, fail, write

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from explorer.core.listing import Format, Order
    from explorer.core.loading import OpenSpec
    from explorer.core.param import Model
    from explorer.core.rules import Grouping

    Groups = Callable[[Model], Grouping]

EXIT_DIFFERENT = 1
"""The two targets that were compared differ, as with `diff` and `cmp`."""


def print_asked(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Print what the command line asks for, and return the exit status.

    Raises:
        ParamxError: It can't be printed.
    """
    spec = spec_of(arguments)
    if arguments.other is not None:
        return _print_comparison(spec, grouping_of(parser, arguments), arguments)
    groups = groups_of(parser, arguments)
    if arguments.format in STATS_FORMATS:
        return _print_statistics(spec, groups, arguments)
    if not arguments.no_cache:
        # What follows tells the table alone; those above ask for values too, which a remembered one has not.
        spec = replace(spec, remember="use")
    if arguments.check:
        return _print_check(spec, groups, arguments)
    if arguments.export is not None:
        return _print_export(spec, groups, arguments)
    return _print_listing(spec, groups, arguments)


def _print_listing(spec: OpenSpec, groups: Groups, arguments: argparse.Namespace) -> int:
    format_name = arguments.format or "table"
    # The loop's lines say nothing of classes: for them the config beside a checkpoint is not worth seconds.
    listing = _listing(replace(spec, skeleton=format_name != "loop"), groups, arguments)
    return _write(FORMATS[format_name], replace(_ordered(listing, arguments), depth=arguments.depth))


def _ordered(listing: Listing, arguments: argparse.Namespace) -> Listing:
    """Return a listing with its rows as `--sort` and `--top` ask for."""
    if arguments.sort in FIGURE_SORTS:
        return replace(listing, figure=arguments.sort, top=arguments.top)
    order: Order = arguments.sort or ("model" if arguments.top is None else "size")
    return replace(listing, order=order, top=arguments.top)


def _print_statistics(spec: OpenSpec, groups: Groups, arguments: argparse.Namespace) -> int:
    """Measure the tensors of a target and print their statistics; a tensor that can't be measured is a failure.

    With `--check` NaN and infinities are one too.
    """
    from explorer.core.stats_text import FORMATS as STATISTICS
    from explorer.core.stats_text import unmeasured_line, wanted
    from explorer.core.sweep import not_finite_line
    from explorer.measuring import measure_target

    text = visible(arguments.filter)
    with _Progress() as progress:
        model, statistics, refused = measure_target(spec, text, progress.show)
    listing = _ordered(Listing(model, Grouper(model).assign(groups(model)), (), text, statistics), arguments)
    status = _write(STATISTICS[arguments.format], listing)
    missed = unmeasured_line(refused, len(wanted(listing)), model.names)
    odd = not_finite_line(statistics, wanted(listing), model.names) if arguments.check else ""
    if status:
        return status
    for line in filter(None, (missed, odd)):
        status = fail(line)
    return status


def _print_check(spec: OpenSpec, groups: Groups, arguments: argparse.Namespace) -> int:
    """Print the findings; one that is an error is a failure."""
    from explorer.core.check import check_json, check_text, passes

    listing = _listing(replace(spec, skeleton=True), groups, arguments)
    status = write(check_json(listing) if arguments.format == "json" else check_text(listing))
    return status or (0 if passes(listing) else EXIT_FAILED)


def _print_export(spec: OpenSpec, groups: Groups, arguments: argparse.Namespace) -> int:
    """Print the groups as code or data, and tell each error among the findings on stderr."""
    from explorer.core.export.writing import export

    listing = _listing(replace(spec, skeleton=True), groups, arguments)
    assignment = listing.assignment
    if status := write([export(arguments.export, listing.model, assignment.grouping, assignment)]):
        return status
    errors = [finding.message for finding in listing.findings if finding.severity == "error"]
    for message in errors:
        status = fail(f"error: {message}")
    return status


def _print_comparison(spec: OpenSpec, grouping: Grouping, arguments: argparse.Namespace) -> int:
    """Compare two targets and print how they differ."""
    from explorer.comparing import compare_targets
    from explorer.core.compare_text import FORMATS as COMPARISONS

    specs = (spec, replace(spec, target=arguments.other))
    try:
        with _Progress() as progress:
            comparison = compare_targets(specs, grouping, arguments.values, progress.show)
    except ParamxError as error:
        return fail(error.line, EXIT_TROUBLE)
    text = visible(arguments.filter)
    comparison = comparison.only(text)
    if text and not comparison.pairs:
        return fail(nothing_contains(text).line, EXIT_TROUBLE)
    status = write(COMPARISONS[arguments.format or "table"](comparison))
    return status or (0 if comparison.equal else EXIT_DIFFERENT)


def _write(form: Format, listing: Listing) -> int:
    """Write a listing in a format.

    Raises:
        ParamxError: The filter leaves nothing of it.
    """
    if listing.filter and not listing.rows():
        raise nothing_contains(listing.filter)
    return write(form(listing))


def _listing(spec: OpenSpec, groups: Groups, arguments: argparse.Namespace) -> Listing:
    """Open a target and group it.

    Raises:
        ParamxError: It can't be opened, or not be grouped so.
    """
    from explorer.core.lint_names import of_default_groups
    from explorer.core.lints import lint, try_fixes, with_sources

    model = _load(spec)
    grouping = groups(model)
    assignment = Grouper(model).assign(grouping)
    findings = lint(model, grouping, assignment)
    if arguments.groups is None:
        findings = of_default_groups(model, grouping, findings)
    findings = with_sources(model, try_fixes(findings, assignment))
    return Listing(model, assignment, findings, visible(arguments.filter))


def _load(spec: OpenSpec) -> Model:
    """Open a target in a worker and wait for it, telling its stages on stderr if that is a terminal.

    Raises:
        ParamxError: It can't be opened.
    """
    from explorer.api import open_and_wait

    with _Progress() as progress:
        return open_and_wait(spec, progress.show)


class _Progress:
    """One line on stderr, rewritten at each stage and wiped at the end; silent where stderr is no terminal."""

    def __init__(self) -> None:
        self._stream = sys.stderr if is_terminal(sys.stderr) else None
        self._shown = 0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._write("")

    def show(self, text: str) -> None:
        """Show a stage in place of the last."""
        self._write(f"{harmless_line(text)} …")

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        with suppress(OSError):
            # A line that wraps could not be rewritten with a carriage return.
            columns = os.get_terminal_size(self._stream.fileno()).columns or 80  # 0 where nobody has set it
            text = text[: columns - 1]
            # Spaces, not an erase sequence: they work in a dumb terminal too.
            self._stream.write("\r" + text.ljust(self._shown) + ("" if text else "\r"))
            self._stream.flush()
            self._shown = len(text)
