"""The command `paramx`: arguments → a source → the interface, or a printout; with `api`, what joins the two.

Everything that is not needed to answer `--help` is imported where it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from explorer.arguments import complaint, grouping_of, make_parser, recipe_of, spec_of
from explorer.core.errors import ParamxError
from explorer.core.terminal import can_show_the_interface
from explorer.core.text import harmless_line, visible
from explorer.crash import describe
from explorer.output import EXIT_FAILED, EXIT_TROUBLE, drop_output, fail, greeting, ready, take_any_name
from explorer.starting import Started, drop_textuals_switches, import_asyncio_without_tls

if TYPE_CHECKING:
    import argparse

    from explorer.core.choice import Choice
    from explorer.core.groups import Grouping
    from explorer.core.loading import OpenSpec
    from explorer.core.param import Model
    from explorer.supervisor import Child

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
        above, _, line = describe(error).rpartition("\n")
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
        if status := ready():
            return status
        from explorer.printing import print_asked

        return print_asked(parser, arguments)
    import gc

    # Nothing of what is imported and loaded is garbage: walking it would take 30 ms of the first 300.
    gc.disable()
    return _supervised(parser, arguments)


def _supervised(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Run the interface below a parent that gives the terminal back."""
    from explorer.supervisor import supervise

    def greet() -> None:
        greeting.show(visible(" ↔ ".join(filter(None, (arguments.target, arguments.other)))))

    return supervise(lambda child: _guarded(lambda: _interface(parser, arguments, child)), describe, greet)


def _interface(parser: argparse.ArgumentParser, arguments: argparse.Namespace, child: Child) -> int:
    """Open what is asked for, below the parent: until here nothing large is imported."""
    from dataclasses import replace

    spec = spec_of(arguments)
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
    drop_textuals_switches()
    from explorer.core.draft_store import DraftStore
    from explorer.ui.app import run
    from explorer.ui.services import Services

    drafts = DraftStore(tell=child.keep)

    def broken(error: BaseException) -> None:
        drafts.settle()
        child.fail(error)

    services = Services(
        opener,
        _choices,
        grouping,
        _gpu_memory,
        skeleton=_again,
        recipe=recipe_of(arguments),
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
    return fail(outcome.error, EXIT_FAILED if other is None else EXIT_TROUBLE)


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


if __name__ == "__main__":
    sys.exit(main())
