"""Pairs the tensors of two models or checkpoints, and says how each pair differs. Pure.

Names are matched as they are shown. Where one side has a prefix that the other lacks (`model.` under a head,
`module.` in a wrapper), the prefix is left out for matching, if more names match so. What a library calls otherwise
in memory than in files, or stacks, is matched as it loads it. An optimizer's state that one side lacks is left out,
and so are buffers where the other side is a model in memory, whose table has none. Of a directory the files are
compared. Screen and listing say each of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from explorer.core.arrange import Fusion, Move, arrange, expert_moves
from explorer.core.asking import Ask
from explorer.core.compare import Comparison, Fused, Pair, Side
from explorer.core.compare_files import Held, as_held, ask_held
from explorer.core.errors import LostError, ParamxError
from explorer.core.groups import NO_GROUP, Grouper
from explorer.core.loading import Loading
from explorer.core.matching import align, set_apart, stripped
from explorer.core.param import Model
from explorer.core.rules import Grouping

MOVES = "moves"
"""What is asked of what serves a model: takes `names` of a file; answers what loading makes of each: see `Move`."""

BUFFERS = "buffers"
"""What is asked of what serves a model: takes `names` of a file; answers which of them are its buffers."""

NO_TIES = frozenset({"dcp"})
"""Kinds of sources that hold a tied tensor once for each of its names, and record nowhere that it is one (torch 2.13,
distributed/checkpoint: pieces of one name are saved once, not those of two). Other writers that record none refuse a
tied tensor, or leave its further names out: a file that has them holds tensors that are no longer tied."""

ASKED_AT_ONCE = 5_000
"""Names that one request carries; a request has at most a megabyte."""


def compare(
    a: Model,
    b: Model,
    grouping: Grouping,
    ask: tuple[Ask | None, Ask | None] = (None, None),
    held: tuple[Held | None, Held | None] = (None, None),
) -> Comparison:
    """Compare two models, grouped by the same rules.

    Args:
        a: The first.
        b: The second.
        grouping: The rules.
        ask: Asks what serves each, where a library may know how the other's tensors are loaded into it.
        held: What the files of each hold, where its table is that of a model that was laid over files.

    Raises:
        LostError: What serves a model is gone: without its answers the comparison would be another.
    """
    missing = [frozenset(each.missing) if each else frozenset() for each in held]
    a, b = (as_held(model, each) if each else model for model, each in zip((a, b), held, strict=True))
    models = a, b
    states = set_apart(a.names, a.apart), set_apart(b.names, b.apart)
    states = _known_to_either(a, states[0], b, states[1]), _known_to_either(b, states[1], a, states[0])
    # What only one side has of a kind says how it was saved, not how the models differ.
    out = [
        frozenset(row for row, what in state.items() if what not in other.values())
        for state, other in (states, states[::-1])
    ]
    kept = [
        [row for row in range(len(model)) if row not in state and row not in lost]
        for model, state, lost in zip(models, states, missing, strict=True)
    ]
    rows, prefixes = _rows_by_name(models, kept)
    state_prefixes = "", ""
    if all(map(set.difference, map(set, states), out)):  # matched among themselves: their prefixes are others
        further, state_prefixes = _rows_by_name(
            models, [sorted(state.keys() - left) for state, left in zip(states, out, strict=True)]
        )
        for known, more in zip(rows, further, strict=True):
            known |= {name if name not in known else f"state: {name}": row for name, row in more.items()}
        rows = _in_order(rows[0]), _in_order(rows[1])
    tied = tuple(
        {name: row for name, row in _other_names(model, prefix).items() if row not in lost}
        for model, prefix, lost in zip(models, prefixes, missing, strict=True)
    )
    matched: dict[int, Pair] = {}
    for name, row in rows[0].items():
        other = rows[1].get(name)
        if other is not None:
            matched[row] = Pair(name, row, other)
        elif name in tied[1]:
            matched[row] = _tied(Pair(name, row, tied[1][name]), "a", a)
    others: dict[int, Pair] = {
        row: _tied(Pair(name, tied[0][name], row), "b", b)
        for name, row in rows[1].items()
        if name not in rows[0] and name in tied[0]
    }
    left = (
        {name: row for name, row in rows[0].items() if row not in matched},
        {name: row for name, row in rows[1].items() if name not in rows[0] and row not in others},
    )
    found = _rearranged(models, left, prefixes, ask)
    renamed = sum(pair.fused is None for pair in found)
    buffers = _buffers(models, held, left, prefixes, ask)
    # The parts of a fused tensor stand in the place of the first.
    taken_a = {row for pair in found if pair.fused and pair.fused.of_a for row in pair.fused.rows}
    taken_b = {row for pair in found for row in _rows_of_b(pair)}
    matched |= {pair.a: pair for pair in found if pair.a is not None}
    pairs = [
        matched.get(row) or Pair(name, row, None)
        for name, row in rows[0].items()
        if row in matched or (row not in taken_a and row not in buffers[0])
    ]
    pairs += [
        others.get(row) or Pair(name, None, row)
        for name, row in rows[1].items()
        if (row in others or name not in rows[0]) and row not in taken_b and row not in buffers[1]
    ]
    groups_a, groups_b = _groups(a, grouping), _groups(b, grouping)
    unread = [each.unread if each else {} for each in held]
    of_buffers = {(at, row) for at, rows_of in enumerate(buffers) for row in rows_of}
    for pair in pairs:  # what one side knows to be a buffer is one on the other too
        both = (0, pair.a), (1, pair.b)
        if pair.fused is None and any(row is not None and models[at].apart.get(row) == "buffer" for at, row in both):
            of_buffers |= {(at, row) for at, row in both if row is not None}
    side_a, side_b = (
        Side(
            missing[at],
            states[at],
            out[at],
            frozenset(row for of, row in of_buffers if of == at),
            buffers[at],
            state_prefixes[at],
            unread[at],
        )
        for at in (0, 1)
    )
    draft = Comparison(a, b, groups_a, groups_b, *prefixes, (), side_a, side_b, renamed=renamed)
    return replace(draft, pairs=tuple(_judged(pair, draft) for pair in pairs))


def _known_to_either(
    model: Model, state: Mapping[int, str], other: Model, other_state: Mapping[int, str]
) -> dict[int, str]:
    """Return the rows of one side that are not its model's, with those that the other side knows by the same name."""
    known = {other.names[row]: what for row, what in other_state.items()}
    found = {row: known[name] for row, name in enumerate(model.names) if name in known} if known else {}
    found |= state
    return found if len(found) < len(model) else dict(state)


def _buffers(
    models: tuple[Model, Model],
    held: tuple[Held | None, Held | None],
    left: tuple[dict[str, int], dict[str, int]],
    prefixes: tuple[str, str],
    ask: tuple[Ask | None, Ask | None],
) -> tuple[frozenset[int], frozenset[int]]:
    """Return the rows of each side that are buffers which the other's table can't have: it lists parameters only.

    Two files that hold buffers are compared in these as in anything else.
    """
    found = []
    for file in (0, 1):
        model = 1 - file
        buffers: set[int] = set()
        if left[file] and models[model].counters is not None and held[model] is None:
            apart, asked, prefix = models[file].apart, ask[model], prefixes[model]
            buffers = {row for row in left[file].values() if apart.get(row) == "buffer"}
            rest = {f"{prefix}{name}": row for name, row in left[file].items() if row not in buffers}
            if asked is not None:
                buffers |= {rest[name] for name in ask_buffers(asked, list(rest)) if name in rest}
        found.append(frozenset(buffers))
    return found[0], found[1]


def _in_order(rows: Mapping[str, int]) -> dict[str, int]:
    """Return rows by name in the order of their table."""
    return dict(sorted(rows.items(), key=lambda item: item[1]))


def _rows_of_b(pair: Pair) -> tuple[int | None, ...]:
    return pair.fused.rows if pair.fused is not None and not pair.fused.of_a else (pair.b,)


def _rows_by_name(
    models: tuple[Model, Model], kept: Sequence[Sequence[int]]
) -> tuple[tuple[dict[str, int], dict[str, int]], tuple[str, str]]:
    """Return for some rows of each side their names as they are matched, and the prefixes that are left out."""
    names = [[model.names[row] for row in rows] for model, rows in zip(models, kept, strict=True)]
    prefixes = align(*names)
    a, b = (
        dict(zip(stripped(some, prefix), rows, strict=True))
        for some, prefix, rows in zip(names, prefixes, kept, strict=True)
    )
    return (a, b), prefixes


def _tied(pair: Pair, side: str, model: Model) -> Pair:
    """Return a pair of a tensor that one side has by itself, and one of the other that is tied under its name."""
    return replace(pair, stored_again=side) if model.origin.kind in NO_TIES else replace(pair, kinds=("tied",))


def _judged(pair: Pair, comparison: Comparison) -> Pair:
    """Return a pair with the ways in which its sides differ."""
    if pair.a is None or pair.b is None:
        return replace(pair, kinds=("only_b",) if pair.a is None else ("only_a",))
    kinds = list(pair.kinds)
    a, b, row_a, row_b = comparison.a, comparison.b, pair.a, pair.b
    if pair.fused is None:
        facts_a: tuple[Any, ...] = a.shapes[row_a], a.dtypes[row_a], comparison.groups_a[row_a]
        facts_b: tuple[Any, ...] = b.shapes[row_b], b.dtypes[row_b], comparison.groups_b[row_b]
    else:
        one, other = comparison.facts(pair, True), comparison.facts(pair, False)
        assert one is not None and other is not None, "both have it"
        # Parts whose arrangement is not known make the shape if they have its elements.
        sizes = (one.shape, other.shape) if one.shape and other.shape else (one.numel, other.numel)
        facts_a, facts_b = (sizes[0], one.dtype, one.group), (sizes[1], other.dtype, other.group)
    for kind, fact_a, fact_b in zip(("shape", "dtype", "group"), facts_a, facts_b, strict=True):
        # What one side holds as a buffer has no group there; most files don't say what is one.
        if fact_a != fact_b and not (kind == "group" and None in (fact_a, fact_b)):
            kinds.append(kind)
    if row_a in comparison.side_a.unread or row_b in comparison.side_b.unread:
        kinds.append("unread")
    return replace(pair, kinds=tuple(kinds)) if kinds else pair


def _rearranged(
    models: tuple[Model, Model],
    left: tuple[dict[str, int], dict[str, int]],
    prefixes: tuple[str, str],
    ask: tuple[Ask | None, Ask | None],
) -> list[Pair]:
    """Match what is left on both sides as a library loads it, then experts by their names."""
    pairs: list[Pair] = []
    for model in (0, 1):
        file, asked = 1 - model, ask[model]
        if asked is None or not left[0] or not left[1]:
            continue
        # Names as the model spells them: with its prefix, without the file's.
        moves = ask_moves(asked, [f"{prefixes[model]}{name}" for name in left[file]])
        plain = {name.removeprefix(prefixes[model]): _without(move, prefixes[model]) for name, move in moves.items()}
        pairs += _by_moves(models, left, model, plain)
    for model in (0, 1):
        if left[0] and left[1]:
            pairs += _by_moves(models, left, model, expert_moves(left[1 - model], left[model]))
    return pairs


def _without(move: Move, prefix: str) -> Move:
    """Return a move whose targets have the names that are matched."""
    return replace(move, targets=tuple(target.removeprefix(prefix) for target in move.targets))


def _by_moves(
    models: tuple[Model, Model], left: tuple[dict[str, int], dict[str, int]], model: int, moves: Mapping[str, Move]
) -> list[Pair]:
    """Return the pairs that some moves make, and take them out of what is left."""
    file = 1 - model
    pairs = []

    def pair(name: str, in_model: int, in_file: int, fused: Fused | None = None) -> None:
        a, b = (in_model, in_file) if model == 0 else (in_file, in_model)
        pairs.append(Pair(name, a, b, fused=fused))

    for name, move in moves.items():
        if not move.steps and name in left[file] and move.targets[0] in left[model]:
            pair(move.targets[0], left[model].pop(move.targets[0]), left[file].pop(name))
    shapes = [
        {name: table.shapes[row] for name, row in some.items()} for table, some in zip(models, left, strict=True)
    ]
    for fusion in arrange(moves, shapes[file], shapes[model]):
        _add(fusion, left, model, pair)
    return pairs


def _add(
    fusion: Fusion,
    left: tuple[dict[str, int], dict[str, int]],
    model: int,
    pair: Callable[[str, int, int, Fused | None], None],
) -> None:
    """Make a pair of one tensor and its parts, if nothing else has taken them."""
    whole_side = model if fusion.in_model else 1 - model
    apart = 1 - whole_side
    if fusion.whole not in left[whole_side] or not all(part in left[apart] for part in fusion.parts):
        return
    whole = left[whole_side].pop(fusion.whole)
    rows = tuple(left[apart].pop(part) for part in fusion.parts)
    fused = Fused(apart == 0, rows, fusion.regions, fusion.why, fusion.shape)
    in_model, in_file = (whole, rows[0]) if fusion.in_model else (rows[0], whole)
    pair(fusion.whole, in_model, in_file, fused)


def askers(a: Model, b: Model, one: Loading, other: Loading) -> tuple[Ask | None, Ask | None]:
    """Return what to ask how the other's tensors are loaded: a built model, where the other side is a file.

    Args:
        a: The first model.
        b: The second.
        one: What serves the first.
        other: What serves the second.
    """
    built = a.counters is not None, b.counters is not None
    return (one.ask if built == (True, False) else None, other.ask if built == (False, True) else None)


def files_of(a: Model, b: Model, one: Loading, other: Loading) -> tuple[Held | None, Held | None]:
    """Return how the files of two models differ from their tables; `None` for a model without a directory.

    Args:
        a: The first model.
        b: The second.
        one: What serves the first.
        other: What serves the second.

    Raises:
        LostError: One of the two is gone.
    """
    return ask_held(a, one.ask), ask_held(b, other.ask)


def ask_buffers(ask: Ask, names: Sequence[str]) -> list[str]:
    """Ask which tensors of a file are buffers of a model; empty where that can't be asked."""
    found: list[str] = []
    for start in range(0, len(names), ASKED_AT_ONCE):
        try:
            found += ask(BUFFERS, {"names": list(names[start : start + ASKED_AT_ONCE])}) or ()
        except LostError:
            raise
        except ParamxError:
            return []
    return found


def ask_moves(ask: Ask, names: Sequence[str]) -> dict[str, Move]:
    """Ask what a library makes of tensors of a file; empty where no library can be asked."""
    moves: dict[str, Move] = {}
    for start in range(0, len(names), ASKED_AT_ONCE):
        some = names[start : start + ASKED_AT_ONCE]
        try:
            answer = ask(MOVES, {"names": list(some)})
        except LostError:
            raise
        except ParamxError:  # it holds no model of a library's
            return {}
        if answer is None:
            return {}
        moves |= {name: Move.from_json(move) for name, move in zip(some, answer, strict=True) if move is not None}
    return moves


def _groups(model: Model, grouping: Grouping) -> Sequence[str | None]:
    """Return the name of each row's group; `None` where it is not a parameter."""
    grouper = Grouper(model)
    try:
        groups = grouper.codes(grouping)
    finally:
        grouper.close()
    names: dict[int, str | None] = {code: rule.name for code, rule in enumerate(grouping.rules)}
    names[NO_GROUP] = None
    return [names[code] for code in groups]


def _other_names(model: Model, prefix: str) -> dict[str, int]:
    """Return the parameter of each other name of a tied tensor."""
    return {name: row for row, names in model.aliases.items() for name in stripped(names, prefix)}
