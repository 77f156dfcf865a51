"""Pairs the tensors of two models or checkpoints, and says how each pair differs. Pure.

Names are matched as they are shown. Where one side has a prefix that the other lacks (`model.` under a head,
`module.` in a wrapper), the prefix is left out for matching, if more names match so. What a library calls otherwise
in memory than in files, or stacks, is matched as it loads it. An optimizer's state that one side lacks is left out,
and so are buffers where the other side is a model in memory, whose table has none. Of a directory the files are
compared. Screen and listing say each of these.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from explorer.core.arrange import Fusion, Move, arrange, expert_moves
from explorer.core.asking import Ask
from explorer.core.compare import Comparison, Fused, Pair, Side
from explorer.core.compare_asking import ask_buffers, ask_moves
from explorer.core.compare_files import Held, as_held
from explorer.core.groups import NO_GROUP, Grouper
from explorer.core.matching import align, set_apart, stripped
from explorer.core.param import Model
from explorer.core.rules import Grouping

NO_TIES = frozenset({"dcp"})
"""Kinds of sources that hold a tied tensor once for each of its names, and record nowhere that it is one (torch 2.13,
distributed/checkpoint: pieces of one name are saved once, not those of two). Other writers that record none refuse a
tied tensor, or leave its further names out: a file that has them holds tensors that are no longer tied."""


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
    rows, prefixes, state_prefixes = _matchable(models, states, out, missing)
    tied = tuple(
        {name: row for name, row in _other_names(model, prefix).items() if row not in lost}
        for model, prefix, lost in zip(models, prefixes, missing, strict=True)
    )
    matched, others = _by_name(models, rows, tied)
    left = (
        {name: row for name, row in rows[0].items() if row not in matched},
        {name: row for name, row in rows[1].items() if name not in rows[0] and row not in others},
    )
    found = _rearranged(models, left, prefixes, ask)
    buffers = _buffers(models, held, left, prefixes, ask)
    pairs = _listed(rows, matched, others, found, buffers)
    known_buffers = _known_buffers(models, pairs, buffers)
    side_a, side_b = (
        Side(
            missing[at],
            states[at],
            out[at],
            known_buffers[at],
            buffers[at],
            state_prefixes[at],
            each.unread if each else {},
        )
        for at, each in enumerate(held)
    )
    groups = _groups(a, grouping), _groups(b, grouping)
    renamed = sum(pair.fused is None for pair in found)
    draft = Comparison(a, b, *groups, *prefixes, (), side_a, side_b, renamed=renamed)
    return replace(draft, pairs=tuple(_judged(pair, draft) for pair in pairs))


def _matchable(
    models: tuple[Model, Model],
    states: tuple[Mapping[int, str], Mapping[int, str]],
    out: Sequence[frozenset[int]],
    missing: Sequence[frozenset[int]],
) -> tuple[tuple[dict[str, int], dict[str, int]], tuple[str, str], tuple[str, str]]:
    """Return the rows of both sides by the name they are matched by, and the prefixes left out of it.

    Args:
        models: The two.
        states: Rows that are not the model's own, and what they are.
        out: Those of them that are not compared.
        missing: Rows that the files lack.

    Returns:
        The rows, the prefixes of the models' names, and those of the names in `states`.
    """
    kept = [
        [row for row in range(len(model)) if row not in state and row not in lost]
        for model, state, lost in zip(models, states, missing, strict=True)
    ]
    rows, prefixes = _rows_by_name(models, kept)
    if not all(map(set.difference, map(set, states), out)):
        return rows, prefixes, ("", "")
    # Matched among themselves: their prefixes are others.
    further, state_prefixes = _rows_by_name(
        models, [sorted(state.keys() - left) for state, left in zip(states, out, strict=True)]
    )
    for known, more in zip(rows, further, strict=True):
        known |= {name if name not in known else f"state: {name}": row for name, row in more.items()}
    return (_in_order(rows[0]), _in_order(rows[1])), prefixes, state_prefixes


def _by_name(
    models: tuple[Model, Model],
    rows: tuple[Mapping[str, int], Mapping[str, int]],
    tied: Sequence[Mapping[str, int]],
) -> tuple[dict[int, Pair], dict[int, Pair]]:
    """Pair what both sides have by name, or one of them as a further name of a tied tensor.

    Returns:
        The pairs by their row of A, then those that stand in B only under their own name, by their row of B.
    """
    matched: dict[int, Pair] = {}
    for name, row in rows[0].items():
        other = rows[1].get(name)
        if other is not None:
            matched[row] = Pair(name, row, other)
        elif name in tied[1]:
            matched[row] = _tied(Pair(name, row, tied[1][name]), "a", models[0])
    others = {
        row: _tied(Pair(name, tied[0][name], row), "b", models[1])
        for name, row in rows[1].items()
        if name not in rows[0] and name in tied[0]
    }
    return matched, others


def _listed(
    rows: tuple[Mapping[str, int], Mapping[str, int]],
    matched: Mapping[int, Pair],
    others: Mapping[int, Pair],
    found: Sequence[Pair],
    buffers: Sequence[Collection[int]],
) -> list[Pair]:
    """Return all pairs in the order of A, then what only B has in the order of B.

    Args:
        rows: The rows of both by name.
        matched: Pairs by their row of A, from `_by_name`.
        others: Pairs by their row of B, likewise.
        found: Pairs of tensors that loading renames or fuses.
        buffers: Rows of each side that are left out as buffers.
    """
    # The parts of a fused tensor stand in the place of the first.
    taken_a = {row for pair in found if pair.fused and pair.fused.of_a for row in pair.fused.rows}
    taken_b = {row for pair in found for row in _rows_of_b(pair)}
    by_row = {**matched, **{pair.a: pair for pair in found if pair.a is not None}}
    pairs = [
        by_row.get(row) or Pair(name, row, None)
        for name, row in rows[0].items()
        if row in by_row or (row not in taken_a and row not in buffers[0])
    ]
    pairs += [
        others.get(row) or Pair(name, None, row)
        for name, row in rows[1].items()
        if (row in others or name not in rows[0]) and row not in taken_b and row not in buffers[1]
    ]
    return pairs


def _known_buffers(
    models: tuple[Model, Model], pairs: Iterable[Pair], buffers: Sequence[Iterable[int]]
) -> tuple[frozenset[int], frozenset[int]]:
    """Return the buffers of each side: what one side knows to be a buffer is one on the other too."""
    known = set(buffers[0]), set(buffers[1])
    for pair in pairs:
        both = list(zip(models, (pair.a, pair.b), known, strict=True))
        if pair.fused is None and any(row is not None and model.apart.get(row) == "buffer" for model, row, _ in both):
            for _, row, known_here in both:
                if row is not None:
                    known_here.add(row)
    return frozenset(known[0]), frozenset(known[1])


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
