"""The command `paramx`: arguments → a source → the interface, or a printout; with `api`, what joins the two.

Everything that is not needed to answer `--help` is imported where it is used.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from explorer.core.errors import ParamxError
from explorer.core.terminal import can_show_the_interface, is_terminal
from explorer.core.text import parse_bytes, visible
from explorer.starting import Greeting, Started
from explorer.version import __version__

if TYPE_CHECKING:
    from explorer.core.groups import Grouping
    from explorer.core.listing import Listing
    from explorer.core.loading import OpenSpec
    from explorer.core.param import Model
    from explorer.supervisor import Child

EXIT_FAILED = 1
"""What was asked can't be done: one line on stderr says why. Of `--check`: an error is among the findings."""

EXIT_DIFFERENT = 1
"""The two targets that were compared differ."""

EXIT_TROUBLE = 2
"""The two targets could not be compared: as with `diff` and `cmp`, 1 says that they differ."""

EXIT_USAGE = 2
"""The command line can't be understood."""

EXIT_INTERRUPTED = 130
"""Ctrl+C, as shells write it: 128 + SIGINT."""

EXIT_PIPE_CLOSED = 141
"""The reader of the output went away, as shells write it: 128 + SIGPIPE."""

FORMAT_NAMES = ("table", "loop", "json", "csv", "stats")
"""The keys of `explorer.core.listing.FORMATS`, told without importing it; a test holds the two equal."""

CHECK_FORMATS = ("table", "json")
"""What `--print` may be with `--check`: text or JSON."""

COMPARE_FORMATS = ("table", "json", "csv")
"""The keys of `explorer.core.compare_text.FORMATS`."""

WEIGHT_DECAY = 0.1
"""Decay of the group that takes the rest, unless `--weight-decay` says another."""

USAGE = "paramx [TARGET [OTHER]] [options]"

DESCRIPTION = """\
Every parameter of a model, in the terminal: a tree that adds up, and a
workbench for optimizer groups."""

EXAMPLES = """\
examples:
  paramx                                  choose from what can be opened here
  paramx roberta-base                     a built-in or hub name, weights or not
  paramx ./my-finetune                    a directory with config.json
  paramx config.json --class BertModel    another class than the config names
  paramx gpt2 --no-decay 'bias,ln_'       start with these no-decay terms
  paramx gpt2 --print loop                the counting loop's lines and its sum
  paramx gpt2 --print json | jq .totals   the contract for scripts, format 1
  paramx gpt2 --print csv --filter h.11.  only names that contain h.11.
  paramx x.safetensors --print stats      mean, norm, zeros, NaN of every tensor
  paramx gpt2 --groups my.toml            start with the groups of a file
  paramx gpt2 --groups my.toml --check    judge them, for CI: status 0 or 1
  paramx my.models:build --arg depth=4    what your own function returns
  paramx old.safetensors new.safetensors  what differs; --values: in numbers too

TARGET is looked for as a path, in the hub cache, among the built-in names, then
on the hub: its config only or, with --weights, the headers of its safetensors
too, by range requests; never the weights. The interface needs a terminal;
without one, paramx prints a table. package.module:factory is imported, also
from the current directory, and called: that runs your code; nothing else does.

A checkpoint file is read by itself, without torch. If a config.json lies beside
it, its skeleton is laid over the file: module classes, ties, what is missing.
The interface adds them some seconds later; --print, but for loop, waits.

--groups reads the TOML file that the interface exports. --check prints what is
wrong with the groups on this model, as text or with --print json, and fails on
an error; warnings and hints are printed and pass.

With OTHER, both are opened and compared: names, shapes, dtypes, groups and, if
--values is given, what the tensors hold. A prefix that only one side has (as
model.) is left out, and that is said. Options hold for both sides.

exit status: 0 done, 1 failed (one line says why; --check: an error is found),
2 wrong usage. Of two targets, as of diff: 0 the same, 1 they differ, 2 trouble
"""


_greeting = Greeting()
"""Stands on the terminal until the interface is there; whoever else writes to it wipes it first."""


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line and the short usage."""

    def error(self, message: str) -> NoReturn:
        _greeting.wipe()
        self.exit(EXIT_USAGE, f"paramx: {visible(message)}\nusage: {USAGE}; paramx --help tells all\n")

    def print_help(self, file: object = None) -> None:
        """Print the help; argparse would keep silent where it can't be written."""
        if sys.stdout is not None and (status := _write([self.format_help()])):
            self.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="paramx",
        usage=USAGE,
        description=DESCRIPTION,
        epilog=EXAMPLES,
        add_help=False,
        # Scripts rely on options: an abbreviation that works today would be ambiguous with tomorrow's option.
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=28, width=80),
    )
    parser.add_argument(
        "target",
        metavar="TARGET",
        nargs="?",
        help="hub id or built-in name (roberta-base), directory, file, or package.module:factory",
    )
    parser.add_argument("other", metavar="OTHER", nargs="?", help="another target, to compare it with")
    opening = parser.add_argument_group("what is opened")
    opening.add_argument("--class", dest="class_name", metavar="NAME", help="class to build: RobertaModel")
    opening.add_argument("--revision", metavar="REV", help="branch, tag or commit of a hub repository")
    opening.add_argument("--weights", action="store_true", help="read the headers of a hub repository's weights too")
    opening.add_argument("--offline", action="store_true", help="leave the network alone")
    opening.add_argument("--no-cache", action="store_true", help="neither use nor keep remembered parameter tables")
    opening.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="let the repository's own Python run (off, and never asked for at a prompt)",
    )
    opening.add_argument(
        "--arg",
        dest="arguments",
        metavar="NAME=VALUE",
        action="append",
        type=_argument,
        default=[],
        help="keyword of a factory, a Python literal; repeat for more",
    )
    loading = parser.add_argument_group("what is loaded")
    loading.add_argument("--load", action="store_true", help="load the weights, as from_pretrained does")
    loading.add_argument(
        "--dtype", metavar="DTYPE", help="dtype to load them as: bfloat16 (default: the checkpoint's)"
    )
    loading.add_argument("--device", metavar="DEVICE", help="device to load them onto: cpu, cuda:0 (default: cpu)")
    loading.add_argument(
        "--device-map", choices=("auto",), metavar="auto", help="spread over devices; only planned without --load"
    )
    loading.add_argument(
        "--max-memory",
        metavar="SIZES",
        type=_sizes,
        default=(),
        help="memory that each device gives: 0=24GiB,1=24GiB,cpu=64GiB",
    )
    shown = parser.add_argument_group("what is shown")
    shown.add_argument("--filter", metavar="TEXT", default="", help="only parameters whose name contains TEXT")
    shown.add_argument(
        "--no-decay",
        metavar="TERMS",
        help="comma-separated terms of the no-decay group (default: bias,LayerNorm.weight)",
    )
    shown.add_argument(
        "--weight-decay", metavar="X", type=_weight_decay, help=f"decay of the others (default: {WEIGHT_DECAY})"
    )
    shown.add_argument("--groups", metavar="FILE", help="groups of a TOML file, instead of the two options above")
    shown.add_argument(
        "--gpu-memory", metavar="SIZE", type=_size, help="memory of one GPU: 80GiB (default: the box is asked)"
    )
    shown.add_argument(
        "--print",
        dest="format",
        choices=FORMAT_NAMES,
        metavar="FORMAT",
        help="print table, loop, json, csv or stats, and exit",
    )
    shown.add_argument("--values", action="store_true", help="of two targets, print how the values differ too")
    shown.add_argument("--check", action="store_true", help="judge the groups and exit: 1 if there is an error")
    other = parser.add_argument_group("other")
    other.add_argument("--version", action="version", version=f"paramx {__version__}", help="print the version")
    other.add_argument("-h", "--help", action="help", help="print this help")
    return parser


def _weight_decay(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 0 or more")
    return value


def _size(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _sizes(text: str) -> tuple[tuple[str, int], ...]:
    """Read `0=24GiB,cpu=64GiB`."""
    found = []
    for part in text.split(","):
        name, equals, size = part.partition("=")
        name = name.strip().removeprefix("cuda:")
        if not equals or not (name.isdecimal() or name == "cpu"):
            raise argparse.ArgumentTypeError(f"{part.strip()!r} is not written 0=24GiB or cpu=64GiB")
        found.append((name, _size(size)))
    return tuple(found)


def _argument(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip().isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not written NAME=VALUE")
    return name.strip(), value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments without the program's name; `None` takes them from `sys.argv`.

    Returns:
        The exit status: see the `EXIT_` constants.
    """
    return _guarded(lambda: _run(argv))


def _guarded(run: Callable[[], int]) -> int:
    """Run a part of the command; tell what goes wrong in one line, and as an exit status."""
    try:
        return run()
    except ParamxError as error:
        return _fail(error.line)
    except KeyboardInterrupt:
        _greeting.wipe()
        _drop_output()
        return EXIT_INTERRUPTED
    except SystemExit as end:  # argparse, after --help and after a complaint
        said = end.code if isinstance(end.code, int) else EXIT_FAILED
        return said or (_write(()) if sys.stdout is not None else 0)


def _run(argv: Sequence[str] | None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    prints = arguments.format is not None or arguments.check or not can_show_the_interface()
    if complaint := _complaint(arguments, prints):
        parser.error(complaint)
    if not prints:
        _greeting.show(visible(" ↔ ".join(filter(None, (arguments.target, arguments.other)))))
    grouping = _grouping(parser, arguments)
    from explorer.core.loading import OpenSpec

    spec = OpenSpec(
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
    if arguments.other is not None:
        return _compare(spec, grouping, arguments, prints)
    if arguments.check:
        return _check(spec, grouping, arguments.format == "json")
    if prints:
        return _print(spec, grouping, arguments.filter, arguments.format or "table")
    from explorer.supervisor import supervise

    return supervise(lambda child: _guarded(lambda: _interface(spec, grouping, arguments, child)))


def _complaint(arguments: argparse.Namespace, prints: bool) -> str:
    """Return what can't be understood of the command line; nothing if all of it can."""
    two = arguments.other is not None
    told = {
        "TARGET is empty": arguments.target is not None and not arguments.target.strip(),
        "OTHER is empty": two and not arguments.other.strip(),
        "TARGET is missing: without a terminal there is nothing to choose it with": prints and not arguments.target,
        f"--check prints text or json, not {arguments.format}": arguments.check
        and arguments.format not in (None, *CHECK_FORMATS),
        "--check judges every parameter: leave --filter out": arguments.check and arguments.filter,
        "--check judges one target: leave OTHER out": arguments.check and two,
        f"two targets are printed as table, json or csv, not {arguments.format}": two
        and arguments.format not in (None, *COMPARE_FORMATS),
        "--weights is for a TARGET: name a repository of the hub": arguments.weights and not arguments.target,
        "--dtype and --device say how weights are loaded: give --load": not arguments.load
        and (arguments.dtype or arguments.device),
        "--device-map spreads over devices, --device names one: give one of them": arguments.device
        and arguments.device_map,
        "--max-memory is for --device-map auto": arguments.max_memory and not arguments.device_map,
        "--values compares two targets: name the other too": arguments.values and not two,
        "--arg is for a TARGET written package.module:factory": arguments.arguments
        and ":" not in f"{arguments.target} {arguments.other}",
    }
    return next((complaint for complaint, holds in told.items() if holds), "")


def _grouping(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Grouping:
    """Return the groups of a file, or the classic recipe's with the terms and the decay of the command line.

    Raises:
        ParamxError: The file can't be read, or does not say groups.
    """
    no_decay, weight_decay = arguments.no_decay, arguments.weight_decay
    if arguments.groups is not None:
        if no_decay is not None or weight_decay is not None:
            option = "--no-decay" if no_decay is not None else "--weight-decay"
            parser.error(f"{option} is said by the file already: leave it or --groups out")
        from explorer.core.grouping_file import load

        return load(arguments.groups)
    from explorer.core.groups import Grouping
    from explorer.core.patterns import PatternError, parse, split_terms

    weight_decay = WEIGHT_DECAY if weight_decay is None else weight_decay
    if no_decay is None:
        return Grouping.classic(weight_decay=weight_decay)
    terms = [term for term, _ in split_terms(no_decay)]
    for term in filter(None, terms):  # a blank term is no mistake in usage: the lint `blank-term` tells it
        try:
            parse(term)
        except PatternError as error:
            parser.error(f"argument --no-decay: {term!r}: {error.message}")
    return Grouping.classic(terms, weight_decay=weight_decay)


def _interface(
    spec: OpenSpec, grouping: Grouping, arguments: argparse.Namespace, child: Child, other: OpenSpec | None = None
) -> int:
    """Hand over to the interface, with everything that it may not import itself."""
    import gc

    # Nothing of what is imported and loaded is garbage: walking it would take 30 ms of the first 300.
    gc.disable()
    if not arguments.no_cache:
        from dataclasses import replace

        spec = replace(spec, remember="use")
    opener = Started(spec)
    try:
        return _run_interface(spec, grouping, arguments, child, opener, other)
    finally:
        opener.cancel()


def _run_interface(
    spec: OpenSpec,
    grouping: Grouping,
    arguments: argparse.Namespace,
    child: Child,
    opener: Started,
    other: OpenSpec | None,
) -> int:
    from explorer.core.drafts import Drafts
    from explorer.sources.gpu import gpu_memory
    from explorer.sources.local import choices
    from explorer.ui.app import run
    from explorer.ui.services import Services

    drafts = Drafts()
    services = Services(
        opener,
        choices,
        grouping,
        gpu_memory,
        skeleton=_again,
        filter=arguments.filter,
        gpu=arguments.gpu_memory,
        shown=_keep_all,
        drafts=drafts,
        leaving=child.leave,
    )
    _greeting.wipe()
    outcome = run(spec, services, other)
    if not outcome.error:
        drafts.clear()
        return 0
    return _fail(outcome.error) if other is None else _trouble(outcome.error)


def _again(spec: OpenSpec, model: Model) -> OpenSpec | None:
    """Return how to open a shown model once more in the background, `None` where nothing is to be learned.

    A remembered table is held against one that is built; a checkpoint's learns from the config beside it.
    """
    from dataclasses import replace

    from explorer.sources.beside import skeleton_spec

    return replace(spec, remember="check") if model.origin.remembered else skeleton_spec(spec, model)


def _keep_all() -> None:
    """Let the garbage collector run again, but never over the model: a walk over 150,000 names takes 0.2 s."""
    import gc

    gc.freeze()
    gc.enable()


# --- printing -----------------------------------------------------------------------------------------------------


def _print(spec: OpenSpec, grouping: Grouping, text: str, format_name: str) -> int:
    if sys.stdout is None:
        return _fail("output: standard output is closed")
    from dataclasses import replace

    if format_name == "stats":
        return _print_stats(spec, grouping, visible(text))
    # The loop's lines say nothing of classes: for them the config beside a checkpoint is not worth seconds.
    listing = _listing(replace(spec, skeleton=format_name != "loop"), grouping, visible(text))
    from explorer.core.listing import FORMATS

    return _write(FORMATS[format_name](listing))


def _print_stats(spec: OpenSpec, grouping: Grouping, text: str) -> int:
    """Measure the tensors of a target and print their statistics."""
    from explorer.measuring import measure_target

    with _Progress() as progress:
        model, statistics, refused = measure_target(spec, text, progress.show)
    from explorer.core.groups import Grouper
    from explorer.core.listing import FORMATS, Listing

    _take_any_name()
    listing = Listing(model, Grouper(model).assign(grouping), (), text, statistics, refused)
    return _write(FORMATS["stats"](listing))


def _check(spec: OpenSpec, grouping: Grouping, as_json: bool) -> int:
    if sys.stdout is None:
        return _fail("output: standard output is closed")
    from dataclasses import replace

    listing = _listing(replace(spec, skeleton=True), grouping, "")
    from explorer.core.check import check_json, check_text, passes

    status = _write(check_json(listing) if as_json else check_text(listing))
    return status or (0 if passes(listing) else EXIT_FAILED)


def _compare(spec: OpenSpec, grouping: Grouping, arguments: argparse.Namespace, prints: bool) -> int:
    """Compare two targets, on the screen or as text."""
    from dataclasses import replace

    from explorer.comparing import compare_targets, with_classes

    specs = with_classes((spec, replace(spec, target=arguments.other)), grouping)
    if not prints:
        from explorer.supervisor import supervise

        first, other = specs
        return supervise(lambda child: _guarded(lambda: _interface(first, grouping, arguments, child, other)))
    if sys.stdout is None:
        return _trouble("output: standard output is closed")
    try:
        with _Progress() as progress:
            comparison = compare_targets(specs, grouping, arguments.values, progress.show)
    except ParamxError as error:
        return _trouble(error.line)
    from explorer.core.compare_text import FORMATS

    comparison = comparison.only(visible(arguments.filter))
    _take_any_name()
    status = _write(FORMATS[arguments.format or "table"](comparison))
    return status or (0 if comparison.equal else EXIT_DIFFERENT)


def _trouble(line: str) -> int:
    _fail(line)
    return EXIT_TROUBLE


def _listing(spec: OpenSpec, grouping: Grouping, text: str) -> Listing:
    """Open a target and group it.

    Raises:
        ParamxError: It can't be opened.
    """
    model = _load(spec)
    from explorer.core.groups import Grouper
    from explorer.core.lints import lint
    from explorer.core.listing import Listing

    assignment = Grouper(model).assign(grouping)
    findings = (*model.findings, *lint(model, grouping, assignment))
    _take_any_name()
    return Listing(model, assignment, findings, text)


def _take_any_name() -> None:
    """Let stdout take names in any locale: one in Japanese is printed escaped in Latin-1, rather than not at all."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _write(pieces: Iterable[str]) -> int:
    """Write to stdout and flush, so that what goes wrong is told here and not by the interpreter as it ends."""
    try:
        sys.stdout.writelines(pieces)
        sys.stdout.flush()
    except BrokenPipeError:  # `paramx gpt2 | head` has read enough
        _drop_output()
        return EXIT_PIPE_CLOSED
    except OSError as error:
        _drop_output()
        return _fail(f"output: {error.strerror or error}")
    return 0


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
        self._write(f"{text} …")

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


def _fail(line: str) -> int:
    _greeting.wipe()
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"paramx: {line}", file=sys.stderr)
    return EXIT_FAILED


def _drop_output() -> None:
    """Let nothing more be written to stdout: Python flushes it once more while ending, and would complain."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
