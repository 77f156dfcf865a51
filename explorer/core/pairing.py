"""Finds for each tensor of two models or checkpoints the other's, and says how the two differ. Pure.

Names are matched as they are shown. Where one side has a prefix that the other lacks (`model.` under a head,
`module.` in a wrapper), the prefix is left out for matching, if more names match so. What a library calls otherwise
in memory than in files, or stacks, is matched as it loads it. An optimizer's state that one side lacks is left out.
Screen and listing say each of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from explorer.core.arrange import Fusion, Move, arrange, expert_moves
from explorer.core.compare import Comparison, Fused, Pair
from explorer.core.errors import ParamxError
from explorer.core.groups import NO_GROUP, Grouper
from explorer.core.loading import Loading
from explorer.core.matching import align, stripped, training_state
from explorer.core.param import Model
from explorer.core.rules import Grouping

MOVES = "moves"
"""What is asked of what serves a model: takes `names` of a file; answers what loading makes of each: see `Move`."""

ASKED_AT_ONCE = 5_000
"""Names that one request carries; a request has at most a megabyte."""

Ask = Callable[[str, Mapping[str, Any]], Any]
"""Asks what serves an open model: see `Loading.ask`."""


def compare(a: Model, b: Model, grouping: Grouping, ask: tuple[Ask | None, Ask | None] = (None, None)) -> Comparison:
    """Compare two models, grouped by the same rules.

    Args:
        a: The first.
        b: The second.
        grouping: The rules.
        ask: Asks what serves each, where a library may know how the other's tensors are loaded into it.
    """
    models = a, b
    states = training_state(a.names), training_state(b.names)
    both = all(states)
    kept = [
        [row for row in range(len(model)) if row not in state] for model, state in zip(models, states, strict=True)
    ]
    rows, prefixes = _rows_by_name(models, kept)
    if both:  # the names of optimizers' states are matched among themselves: their prefixes are others
        further, _ = _rows_by_name(models, [sorted(state) for state in states])
        for known, more in zip(rows, further, strict=True):
            known |= {name if name not in known else f"state: {name}": row for name, row in more.items()}
    tied = _other_names(a, prefixes[0]), _other_names(b, prefixes[1])
    matched: dict[int, Pair] = {}
    for name, row in rows[0].items():
        other = rows[1].get(name)
        if other is not None:
            matched[row] = Pair(name, row, other)
        elif name in tied[1]:
            matched[row] = Pair(name, row, tied[1][name], ("tied",))
    others: dict[int, Pair] = {
        row: Pair(name, tied[0][name], row, ("tied",))
        for name, row in rows[1].items()
        if name not in rows[0] and name in tied[0]
    }
    left = (
        {name: row for name, row in rows[0].items() if row not in matched},
        {name: row for name, row in rows[1].items() if name not in rows[0] and row not in others},
    )
    found = _rearranged(models, left, prefixes, ask)
    renamed = sum(pair.fused is None for pair in found)
    # The parts of a fused tensor stand in the place of the first.
    taken_a = {row for pair in found if pair.fused and pair.fused.of_a for row in pair.fused.rows}
    taken_b = {row for pair in found for row in _rows_of_b(pair)}
    matched |= {pair.a: pair for pair in found if pair.a is not None}
    pairs = [
        matched.get(row) or Pair(name, row, None)
        for name, row in rows[0].items()
        if row in matched or row not in taken_a
    ]
    pairs += [
        others.get(row) or Pair(name, None, row)
        for name, row in rows[1].items()
        if (row in others or name not in rows[0]) and row not in taken_b
    ]
    groups_a, groups_b = _groups(a, grouping), _groups(b, grouping)
    draft = Comparison(a, b, groups_a, groups_b, *prefixes, (), state_a=states[0], state_b=states[1], renamed=renamed)
    return replace(draft, pairs=tuple(_judged(pair, draft) for pair in pairs))


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
    """Return a move whose targets are called as they are matched."""
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
    """Return whom to ask how the other's tensors are loaded: a built model, where the other side is a file's.

    Args:
        a: The first model.
        b: The second.
        one: What serves the first.
        other: What serves the second.
    """
    built = a.counters is not None, b.counters is not None
    return (one.ask if built == (True, False) else None, other.ask if built == (False, True) else None)


def ask_moves(ask: Ask, names: Sequence[str]) -> dict[str, Move]:
    """Ask what a library makes of tensors of a file; nothing is told where none can be asked."""
    moves: dict[str, Move] = {}
    for start in range(0, len(names), ASKED_AT_ONCE):
        some = names[start : start + ASKED_AT_ONCE]
        try:
            answer = ask(MOVES, {"names": list(some)})
        except ParamxError:  # it holds no model of a library's
            return {}
        if answer is None:
            return {}
        moves |= {name: Move.from_json(move) for name, move in zip(some, answer, strict=True) if move is not None}
    return moves


def _groups(model: Model, grouping: Grouping) -> Sequence[str | None]:
    """Return the name of each row's group; `None` where it is no parameter."""
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
