"""The command line's words: what `--help` tells, what is understood, and what is a mistake in usage.

It imports nothing heavy: `--help` and a complaint answer before anything else is read.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from explorer.core.export import EXPORTS
from explorer.core.text import parse_bytes, visible
from explorer.output import greeting, ready, write
from explorer.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from explorer.core.groups import Grouping
    from explorer.core.loading import OpenSpec
    from explorer.core.param import Model

EXIT_USAGE = 2
"""The command line can't be understood."""

LISTING_FORMATS = ("table", "loop", "json", "csv")
"""The keys of `explorer.core.listing.FORMATS`, told without importing it; a test holds the two equal."""

STATS_FORMATS = ("stats", "stats-json")
"""The keys of `explorer.core.stats_text.FORMATS`, likewise."""

CHECK_FORMATS = ("table", "json", *STATS_FORMATS)
"""What `--print` may be with `--check`: the findings on the groups as text or JSON, or the values' statistics."""

PARTS_FORMATS = ("table", "json", "csv")
"""What `--depth` is for, and `--sort` and `--top` beside statistics: `explorer.core.listing.PARTS_FORMATS`."""

SORTS = ("size", "name", "model")
"""What `--sort` may be: `explorer.core.listing.Order`."""

FIGURE_SORTS = ("std", "absmax", "norm", "zeros", "nan", "inf")
"""What `--sort` may be of statistics too: `explorer.core.sweep.ORDERS`."""

RECIPE_NAMES = ("run_glue", "hf_trainer", "nanogpt", "timm", "muon", "layerwise")
"""The keys of `explorer.core.presets.PRESETS`, likewise."""

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
  paramx gpt2 --print table --top 10      the ten largest tensors
  paramx gpt2 --print table --depth 2     what each part holds, as of torchinfo
  paramx x.safetensors --print stats      mean, norm, zeros, NaN of every tensor
  paramx x.pt --print stats --check       status 1 if one holds NaN or Inf
  paramx gpt2 --groups my.toml            start with the groups of a file
  paramx gpt2 --groups my.toml --check    judge them, for CI: status 0 or 1
  paramx gpt2 --recipe timm --check       judge a known recipe on this model
  paramx gpt2 --export torch              the code of the groups, on stdout
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
an error; warnings and hints are printed and pass. --export prints the code all
the same; each error is then a line on stderr, and the status 1 too.

With OTHER, both are opened and compared: names, shapes, dtypes, groups and, if
--values is given, what the tensors hold. A prefix that only one side has (as
model.) is left out, and that is said. Options hold for both sides.

exit status: 0 done, 1 failed (one line says why; --check, --export: an error),
2 wrong usage. Of two targets, as of diff: 0 the same, 1 they differ, 2 trouble
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line and the short usage."""

    def error(self, message: str) -> NoReturn:
        greeting.wipe()
        self.exit(EXIT_USAGE, f"paramx: {visible(message)}\nusage: {USAGE}; paramx --help tells all\n")

    def print_help(self, file: object = None) -> None:
        """Print the help."""
        self.tell(self.format_help())

    def tell(self, text: str) -> NoReturn:
        """Print what was asked for and exit; argparse would keep silent where it can't be written."""
        self.exit(ready() or write([text]))


class _Version(argparse.Action):
    """Prints the version and exits."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Do it."""
        assert isinstance(parser, _Parser), "the only one that has this action"
        parser.tell(f"paramx {__version__}\n")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
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
    shown.add_argument(
        "--filter", metavar="TEXT", default="", help="only parameters whose name contains TEXT; case counts"
    )
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
        "--recipe",
        metavar="NAME",
        type=_recipe,
        help=f"groups of a known recipe (p shows them), instead of a file's: {', '.join(RECIPE_NAMES)}",
    )
    shown.add_argument(
        "--gpu-memory", metavar="SIZE", type=_size, help="memory of one GPU: 80GiB (default: the box is asked)"
    )
    shown.add_argument(
        "--print",
        dest="format",
        choices=(*LISTING_FORMATS, *STATS_FORMATS),
        metavar="FORMAT",
        help="print table, loop, json, csv, stats or stats-json, and exit",
    )
    shown.add_argument(
        "--depth", metavar="N", type=_count, help="of table, csv, json: modules N levels down, summed up"
    )
    shown.add_argument(
        "--sort",
        choices=(*SORTS, *FIGURE_SORTS),
        metavar="ORDER",
        help="size (largest first), name or model; of stats also norm, std, absmax, zeros, nan or inf",
    )
    shown.add_argument("--top", metavar="N", type=_count, help="only the first N rows; without --sort the largest")
    shown.add_argument("--values", action="store_true", help="of two targets, compare the values too")
    shown.add_argument(
        "--export",
        choices=EXPORTS,
        metavar="FORM",
        help=f"print the groups' code and exit: {', '.join(EXPORTS)}",
    )
    shown.add_argument(
        "--check",
        action="store_true",
        help="judge the groups and exit: 1 if there is an error; with --print stats: if a value is NaN or Inf",
    )
    other = parser.add_argument_group("other")
    other.add_argument("--version", action=_Version, nargs=0, help="print the version")
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


def _recipe(text: str) -> str:
    if text in RECIPE_NAMES:
        return text
    import difflib

    near = "".join(f"; near: {name}" for name in difflib.get_close_matches(text.lower(), RECIPE_NAMES, 1))
    raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(RECIPE_NAMES)}{near}")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 10**9):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)


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


def complaint(arguments: argparse.Namespace, prints: bool) -> str:
    """Return what can't be understood of the command line; nothing if all of it can."""
    two = arguments.other is not None
    stats = arguments.format in STATS_FORMATS
    grouped = arguments.groups or arguments.no_decay is not None or arguments.weight_decay is not None
    listed = prints and not two and not arguments.export and (stats or not arguments.check)
    told = {
        "TARGET is empty": arguments.target is not None and not arguments.target.strip(),
        "OTHER is empty": two and not arguments.other.strip(),
        "TARGET is missing: without a terminal there is nothing to choose it with": prints and not arguments.target,
        f"--check prints text, json or statistics, not {arguments.format}": arguments.check
        and arguments.format not in (None, *CHECK_FORMATS),
        "--check judges every parameter: leave --filter out": arguments.check and arguments.filter and not stats,
        "--check judges one target: leave OTHER out": arguments.check and two,
        f"two targets are printed as table, json or csv, not {arguments.format}": two
        and arguments.format not in (None, *COMPARE_FORMATS),
        "--depth is for one TARGET printed as table, csv or json": arguments.depth
        and not (listed and arguments.format in (None, *PARTS_FORMATS)),
        "--sort and --top are for one TARGET printed as table, csv, json or statistics": (
            arguments.sort or arguments.top
        )
        and not (listed and arguments.format in (None, *PARTS_FORMATS, *STATS_FORMATS)),
        f"--sort {arguments.sort} is for --print stats": arguments.sort in FIGURE_SORTS and not stats,
        "--export prints the groups of one TARGET: leave --print, --check, --filter and OTHER out": arguments.export
        and (two or arguments.format or arguments.check or arguments.filter),
        "--recipe brings its own groups: leave --groups, --no-decay and --weight-decay out": arguments.recipe
        and grouped,
        "statistics are of no groups: leave --recipe, --groups, --no-decay and --weight-decay out": stats
        and (arguments.recipe or grouped),
        "--recipe is made for one TARGET: leave OTHER out": arguments.recipe and two,
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


def spec_of(arguments: argparse.Namespace) -> OpenSpec:
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


def recipe_of(arguments: argparse.Namespace) -> Callable[[Model], Grouping] | None:
    """Return what makes a recipe's groups of a model, or raises a ParamxError; `None` where none is asked for."""
    if arguments.recipe is None:
        return None
    from explorer.core.presets import groups_of_preset

    return partial(groups_of_preset, arguments.recipe)


def groups_of(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Callable[[Model], Grouping]:
    """Return what makes the groups of a model: a recipe looks at it, all else is the same for any.

    Raises:
        ParamxError: See `grouping_of`.
    """
    if recipe := recipe_of(arguments):
        return recipe
    grouping = grouping_of(parser, arguments)
    return lambda model: grouping


def grouping_of(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Grouping:
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
