"""The command `paramx`: arguments → a source → the interface, or a printout; with `api`, what joins the two.

Everything that is not needed to answer `--help` is imported where it is used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from explorer.arguments import complaint, grouping_of, make_parser
from explorer.core.errors import ParamxError
from explorer.core.terminal import can_show_the_interface, is_terminal
from explorer.core.text import harmless_line, visible
from explorer.crash import told
from explorer.output import EXIT_FAILED, drop_output, fail, greeting, ready, take_any_name, write
from explorer.starting import Started, import_asyncio_without_tls

if TYPE_CHECKING:
    import argparse

    from explorer.core.choice import Choice
    from explorer.core.groups import Grouping
    from explorer.core.listing import Listing, Order
    from explorer.core.loading import OpenSpec
    from explorer.core.param import Model
    from explorer.supervisor import Child

EXIT_DIFFERENT = 1
"""The two targets that were compared differ."""

EXIT_TROUBLE = 2
"""The two targets could not be compared: as with `diff` and `cmp`, 1 says that they differ."""

EXIT_INTERRUPTED = 130
"""Ctrl+C, as shells write it: 128 + SIGINT."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments without the program's name; `None` takes them from `sys.argv`.

    Returns:
        The exit status: see the `EXIT_` constants.
    """
    take_any_name()
    try:
        return _guarded(lambda: _run(argv))
    except Exception as error:
        above, _, line = told(error).rpartition("\n")
        return fail(line, above=above)


def _guarded(run: Callable[[], int]) -> int:
    """Run a part of the command; tell what goes wrong in one line, and as an exit status."""
    try:
        return run()
    except ParamxError as error:
        return fail(error.line)
    except KeyboardInterrupt:
        greeting.wipe()
        drop_output()
        return EXIT_INTERRUPTED
    except SystemExit as end:  # argparse, after --help and after a complaint
        return end.code if isinstance(end.code, int) else EXIT_FAILED


def _run(argv: Sequence[str] | None) -> int:
    parser = make_parser()
    arguments = parser.parse_args(argv)
    asked = arguments.format is not None or arguments.check or arguments.export is not None
    prints = asked or not can_show_the_interface()
    if mistake := complaint(arguments, prints):
        parser.error(mistake)
    if prints:
        return ready() or _printed(parser, arguments)
    import gc

    # Nothing of what is imported and loaded is garbage: walking it would take 30 ms of the first 300.
    gc.disable()
    return _supervised(parser, arguments)


def _spec(arguments: argparse.Namespace) -> OpenSpec:
    """Return what is to be opened, and how."""
    from explorer.core.loading import OpenSpec

    return OpenSpec(
        target=arguments.target or "",
        class_name=arguments.class_name,
        revision=arguments.revision,
        trust_remote_code=arguments.trust_remote_code,
        offline=arguments.offline,
        weights=arguments.weights,
        arguments=tuple(arguments.arguments),
        load=arguments.load,
        dtype=arguments.dtype,
        device=arguments.device,
        device_map=arguments.device_map,
        max_memory=arguments.max_memory,
    )


# --- on the screen ------------------------------------------------------------------------------------------------


def _supervised(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Run the interface below a parent that gives the terminal back."""
    from explorer.supervisor import supervise

    def greet() -> None:
        greeting.show(visible(" ↔ ".join(filter(None, (arguments.target, arguments.other)))))

    return supervise(lambda child: _guarded(lambda: _interface(parser, arguments, child)), told, greet)


def _interface(parser: argparse.ArgumentParser, arguments: argparse.Namespace, child: Child) -> int:
    """Open what is asked for, below the parent: until here nothing large is imported."""
    from dataclasses import replace

    spec = _spec(arguments)
    if arguments.other is None:
        if not arguments.no_cache:
            spec = replace(spec, remember="use")
        with Started(spec) as opener:
            # After the worker: it works while the groups, and then the interface, are imported.
            return _run_interface(spec, grouping_of(parser, arguments), arguments, child, opener)
    from explorer.comparing import with_classes

    grouping = grouping_of(parser, arguments)
    # Not remembered: a table can't say how a file's tensors are loaded, nor has it values; both are built.
    spec, other = with_classes((spec, replace(spec, target=arguments.other)), grouping)
    with Started(spec) as opener:
        return _run_interface(spec, grouping, arguments, child, opener, other)


def _run_interface(
    spec: OpenSpec,
    grouping: Grouping,
    arguments: argparse.Namespace,
    child: Child,
    opener: Started,
    other: OpenSpec | None = None,
) -> int:
    """Hand over to the interface, with everything that it may not import itself."""
    import_asyncio_without_tls()
    from explorer.core.drafts import Drafts
    from explorer.ui.app import run
    from explorer.ui.services import Services

    drafts = Drafts(told=child.keep)

    def broken(error: BaseException) -> None:
        drafts.settle()
        child.fail(error)

    services = Services(
        opener,
        _choices,
        grouping,
        _gpu_memory,
        skeleton=_again,
        filter=arguments.filter,
        values=arguments.values,
        gpu=arguments.gpu_memory,
        shown=_keep_all,
        drafts=drafts,
        leaving=lambda error: child.leave(error and harmless_line(error)),
        taking=child.begin,
        broken=broken,
    )
    greeting.wipe()
    try:
        outcome = run(spec, services, other)
    except Exception:
        drafts.settle()
        raise
    if not outcome.error:
        drafts.clear()
        return 0
    drafts.settle()
    return fail(outcome.error) if other is None else _trouble(outcome.error)


def _again(spec: OpenSpec, model: Model) -> OpenSpec | None:
    """Return how to open a shown model once more in the background, `None` where nothing is to be learned.

    A remembered table is held against one that is built; a checkpoint's learns from the config beside it.
    """
    from dataclasses import replace

    from explorer.sources.beside import skeleton_spec

    return replace(spec, remember="check") if model.origin.remembered else skeleton_spec(spec, model)


def _choices() -> Sequence[Choice]:
    """List what can be opened here; what that needs is imported when it is asked for."""
    from explorer.sources.local import choices

    return choices()


def _gpu_memory() -> int | None:
    """Ask the box for its GPUs' memory, likewise."""
    from explorer.sources.gpu import gpu_memory

    return gpu_memory()


def _keep_all() -> None:
    """Let the garbage collector run again, but never over the model: a walk over 150,000 names takes 0.2 s."""
    import gc

    gc.freeze()
    gc.enable()


# --- printing -----------------------------------------------------------------------------------------------------


def _printed(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Answer with text."""
    grouping = grouping_of(parser, arguments)
    spec = _spec(arguments)
    if arguments.other is not None:
        return _compare(spec, grouping, arguments)
    if arguments.format == "stats":
        return _print_stats(spec, grouping, visible(arguments.filter))
    if not arguments.no_cache:
        from dataclasses import replace

        # What follows tells the table alone; those above ask for values too, which a remembered one has not.
        spec = replace(spec, remember="use")
    if arguments.check:
        return _check(spec, grouping, arguments.format == "json")
    if arguments.export is not None:
        return _export(spec, grouping, arguments.export)
    return _print(spec, grouping, arguments)


def _print(spec: OpenSpec, grouping: Grouping, arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    format_name = arguments.format or "table"
    # The loop's lines say nothing of classes: for them the config beside a checkpoint is not worth seconds.
    listing = _listing(replace(spec, skeleton=format_name != "loop"), grouping, visible(arguments.filter))
    order: Order = arguments.sort or ("model" if arguments.top is None else "size")
    return _write(format_name, replace(listing, order=order, top=arguments.top, depth=arguments.depth))


def _write(format_name: str, listing: Listing) -> int:
    """Write a listing in a format.

    Raises:
        ParamxError: The filter leaves nothing of it.
    """
    from explorer.core.listing import FORMATS, nothing_contains

    if listing.filter and not listing.rows():
        raise nothing_contains(listing.filter)
    return write(FORMATS[format_name](listing))


def _print_stats(spec: OpenSpec, grouping: Grouping, text: str) -> int:
    """Measure the tensors of a target and print their statistics; a tensor that can't be measured is a failure."""
    from explorer.measuring import measure_target

    with _Progress() as progress:
        model, statistics, refused = measure_target(spec, text, progress.show)
    from explorer.core.groups import Grouper
    from explorer.core.listing import Listing
    from explorer.core.sweep import unmeasured_line

    listing = Listing(model, Grouper(model).assign(grouping), (), text, statistics)
    status = _write("stats", listing)
    missed = unmeasured_line(refused, len(listing.rows()), model.names)
    return status or (fail(missed) if missed else 0)


def _check(spec: OpenSpec, grouping: Grouping, as_json: bool) -> int:
    from dataclasses import replace

    listing = _listing(replace(spec, skeleton=True), grouping, "")
    from explorer.core.check import check_json, check_text, passes

    status = write(check_json(listing) if as_json else check_text(listing))
    return status or (0 if passes(listing) else EXIT_FAILED)


def _export(spec: OpenSpec, grouping: Grouping, form: str) -> int:
    """Print the groups as code or data, and tell each error among the findings on stderr."""
    from dataclasses import replace

    listing = _listing(replace(spec, skeleton=True), grouping, "")
    from explorer.core.export import export

    if status := write([export(form, listing.model, grouping, listing.assignment)]):
        return status
    errors = [finding.message for finding in listing.findings if finding.severity == "error"]
    for message in errors:
        status = fail(f"error: {message}")
    return status


def _compare(spec: OpenSpec, grouping: Grouping, arguments: argparse.Namespace) -> int:
    """Compare two targets and print how they differ."""
    from dataclasses import replace

    from explorer.comparing import compare_targets

    specs = (spec, replace(spec, target=arguments.other))
    try:
        with _Progress() as progress:
            comparison = compare_targets(specs, grouping, arguments.values, progress.show)
    except ParamxError as error:
        return _trouble(error.line)
    from explorer.core.compare_text import FORMATS
    from explorer.core.listing import nothing_contains

    text = visible(arguments.filter)
    comparison = comparison.only(text)
    if text and not comparison.pairs:
        return _trouble(nothing_contains(text).line)
    status = write(FORMATS[arguments.format or "table"](comparison))
    return status or (0 if comparison.equal else EXIT_DIFFERENT)


def _trouble(line: str) -> int:
    fail(line)
    return EXIT_TROUBLE


def _listing(spec: OpenSpec, grouping: Grouping, text: str) -> Listing:
    """Open a target and group it.

    Raises:
        ParamxError: It can't be opened.
    """
    model = _load(spec)
    from explorer.core.groups import Grouper
    from explorer.core.lints import lint, try_fixes, with_sources
    from explorer.core.listing import Listing

    assignment = Grouper(model).assign(grouping)
    findings = with_sources(model, try_fixes(lint(model, grouping, assignment), assignment))
    return Listing(model, assignment, findings, text)


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


if __name__ == "__main__":
    sys.exit(main())
