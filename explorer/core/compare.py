"""Two models or checkpoints side by side: what only one has, and where shape, dtype, group or values differ. Pure.

Names are matched as they are shown. Where one side has a prefix that the other lacks (`model.` under a head,
`module.` in a wrapper), the prefix is left out for matching, if more names match so: screen and listing say it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from explorer.core.groups import Grouper
from explorer.core.param import Model
from explorer.core.rules import Grouping

KINDS: Mapping[str, str] = {
    "only_a": "only in A",
    "only_b": "only in B",
    "tied": "tied in one only",
    "shape": "another shape",
    "dtype": "another dtype",
    "group": "another group",
    "values": "other values",
}
"""Ways to differ, in the order in which they are told, with what they are called."""

PREFIX_SHARE = 0.5
"""Share of a side's names that a prefix must have to be a candidate for being left out."""

PREFIX_DEPTH = 3
"""Most segments of such a prefix: `base_model.model.model.` is PEFT's."""

SAMPLED = 1000
"""Names that are looked at for prefixes that most of them have; these are then counted over all."""

_DIGITS = re.compile(r"([0-9]+)")


@dataclass(frozen=True, slots=True)
class Values:
    """What a comparison of two tensors' values found."""

    differing: int
    """Elements that are not the same number; two NaN count as the same."""
    largest: float | None
    """Largest absolute difference of two numbers; `None` where none can be said, as of infinities."""

    @property
    def equal(self) -> bool:
        """Whether all elements are the same numbers."""
        return not self.differing


@dataclass(frozen=True, slots=True)
class Pair:
    """A name, and the tensor of it on each side."""

    name: str
    """The name without a prefix that was left out."""
    a: int | None
    """Its parameter in A; `None` where A has none."""
    b: int | None
    """Its parameter in B; `None` where B has none."""
    kinds: tuple[str, ...] = ()
    """How the two differ: keys of `KINDS`, in their order; empty where they don't."""
    values: Values | None = None
    """How the values differ; `None` where they were not compared."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two models and how they differ."""

    a: Model
    """The first."""
    b: Model
    """The second."""
    groups_a: Sequence[str]
    """Name of the group of each parameter of A."""
    groups_b: Sequence[str]
    """Name of the group of each parameter of B, under the same rules."""
    prefix_a: str
    """What is left out at the start of A's names; empty: nothing."""
    prefix_b: str
    """What is left out at the start of B's names; empty: nothing."""
    pairs: tuple[Pair, ...]
    """Every name of either side: A's in its order, then those that only B has."""
    compared: bool = False
    """Whether values were compared."""
    uncompared: Mapping[str, str] = field(default_factory=dict)
    """By name why the values of a pair could not be compared."""

    @property
    def differences(self) -> Iterator[Pair]:
        """Iterate over the pairs that differ."""
        return (pair for pair in self.pairs if pair.kinds)

    @property
    def equal(self) -> bool:
        """Whether nothing differs; values count only where they were compared, and must all have been then."""
        return not any(pair.kinds for pair in self.pairs) and not self.uncompared

    @property
    def same(self) -> int:
        """Pairs that are known to be alike: without a difference, and without values that could not be read."""
        return sum(not pair.kinds and pair.name not in self.uncompared for pair in self.pairs)

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of pairs that differ in each way; a pair may differ in several."""
        counts = Counter(kind for pair in self.pairs for kind in pair.kinds)
        return {kind: counts[kind] for kind in KINDS}

    @property
    def comparable(self) -> list[int]:
        """Return the positions of the pairs whose values can be compared: both sides have them, in one shape."""
        shapes_a, shapes_b = self.a.shapes, self.b.shapes
        return [
            position
            for position, pair in enumerate(self.pairs)
            if pair.a is not None and pair.b is not None and shapes_a[pair.a] == shapes_b[pair.b] is not None
        ]

    def only(self, needle: str) -> Comparison:
        """Return the comparison of the names that contain a text."""
        if not needle:
            return self
        pairs = tuple(pair for pair in self.pairs if needle in pair.name)
        uncompared = {name: why for name, why in self.uncompared.items() if needle in name}
        return replace(self, pairs=pairs, uncompared=uncompared)

    def numel(self, pair: Pair) -> int:
        """Return the elements of a pair: A's, or of what only B has B's."""
        return self.a.numels[pair.a] if pair.a is not None else self.b.numels[pair.b or 0]

    def with_values(self, found: Mapping[int, Values], uncompared: Mapping[int, str], whole: bool) -> Comparison:
        """Return the comparison with what is known of values.

        Args:
            found: By position in `pairs` what was found.
            uncompared: By position why nothing could be.
            whole: Whether each of `comparable` is in one of the two: nobody stopped it.
        """
        pairs = list(self.pairs)
        for position, values in found.items():
            kinds = tuple(kind for kind in pairs[position].kinds if kind != "values")
            pairs[position] = replace(
                pairs[position], kinds=kinds if values.equal else (*kinds, "values"), values=values
            )
        told = {pairs[position].name: why for position, why in uncompared.items()}
        return replace(self, pairs=tuple(pairs), compared=whole, uncompared=told)


def compare(a: Model, b: Model, grouping: Grouping) -> Comparison:
    """Compare two models, grouped by the same rules.

    Args:
        a: The first.
        b: The second.
        grouping: The rules.
    """
    prefix_a, prefix_b = align(a.names, b.names)
    groups_a, groups_b = _groups(a, grouping), _groups(b, grouping)
    names_a, names_b = (_stripped(model.names, prefix) for model, prefix in ((a, prefix_a), (b, prefix_b)))
    rows_a, rows_b = ({name: row for row, name in enumerate(names)} for names in (names_a, names_b))
    tied_a, tied_b = _other_names(a, prefix_a), _other_names(b, prefix_b)
    pairs: list[Pair] = []
    for row, name in enumerate(names_a):
        other = rows_b.get(name)
        tied = other is None and name in tied_b
        pairs.append(Pair(name, row, tied_b[name] if tied else other, ("tied",) if tied else ()))
    for row, name in enumerate(names_b):
        if name not in rows_a:
            tied = name in tied_a
            pairs.append(Pair(name, tied_a[name] if tied else None, row, ("tied",) if tied else ()))
    judged = tuple(_judged(pair, a, b, groups_a, groups_b) for pair in pairs)
    return Comparison(a, b, groups_a, groups_b, prefix_a, prefix_b, judged)


def _judged(pair: Pair, a: Model, b: Model, groups_a: Sequence[str], groups_b: Sequence[str]) -> Pair:
    """Return a pair with the ways in which its sides differ."""
    if pair.a is None or pair.b is None:
        return replace(pair, kinds=("only_b",) if pair.a is None else ("only_a",))
    kinds = list(pair.kinds)
    if a.shapes[pair.a] != b.shapes[pair.b]:
        kinds.append("shape")
    if a.dtypes[pair.a] != b.dtypes[pair.b]:
        kinds.append("dtype")
    if groups_a[pair.a] != groups_b[pair.b]:
        kinds.append("group")
    return replace(pair, kinds=tuple(kinds)) if kinds else pair


def _groups(model: Model, grouping: Grouping) -> Sequence[str]:
    grouper = Grouper(model)
    try:
        codes = grouper.assign(grouping).codes
    finally:
        grouper.close()
    names = [rule.name for rule in grouping.rules]
    return [names[code] for code in codes]


def _other_names(model: Model, prefix: str) -> dict[str, int]:
    """Return the parameter of each other name of a tied tensor."""
    return {name: row for row, names in model.aliases.items() for name in _stripped(names, prefix)}


# --- matching names -----------------------------------------------------------------------------------------------


def align(names_a: Sequence[str], names_b: Sequence[str]) -> tuple[str, str]:
    """Return the prefix to leave out of each side's names, with which the most of them match; empty for none.

    A prefix is a candidate if half of a side's names have it, and if leaving it out makes no two names equal.
    """
    sides = names_a, names_b
    known: dict[tuple[int, str], set[str]] = {}

    def stripped(side: int, prefix: str) -> set[str]:
        if (side, prefix) not in known:
            known[side, prefix] = set(_stripped(sides[side], prefix))
        return known[side, prefix]

    best, most = ("", ""), -1
    if len(stripped(0, "") & stripped(1, "")) == min(map(len, sides)):
        return best  # nothing more can match
    for prefixes in sorted(product(_prefixes(names_a), _prefixes(names_b)), key=lambda both: len("".join(both))):
        matches = len(stripped(0, prefixes[0]) & stripped(1, prefixes[1]))
        if matches > most:  # of equals the shortest prefixes
            best, most = prefixes, matches
        if most == min(map(len, sides)):
            break
    return best


def _prefixes(names: Sequence[str]) -> list[str]:
    """Return the prefixes that may be left out, none among them."""
    found = [""]
    some = names[:: max(1, len(names) // SAMPLED)]
    for depth in range(1, PREFIX_DEPTH + 1):
        heads = Counter(".".join(parts[:depth]) for name in some if len(parts := name.split(".", depth)) > depth)
        if not heads:
            break
        prefix = f"{heads.most_common(1)[0][0]}."
        if not prefix.startswith(found[-1]) or len(set(_stripped(names, prefix))) < len(set(names)):
            break
        if sum(name.startswith(prefix) for name in names) < PREFIX_SHARE * len(names):
            break
        found.append(prefix)
    return found


def _stripped(names: Iterable[str], prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in names] if prefix else list(names)


# --- runs of alike differences ------------------------------------------------------------------------------------


def folded(comparison: Comparison, kind: str, needle: str = "") -> list[tuple[str, list[int]]]:
    """Return the pairs that differ in one way, those that are alike but for numbers in the name together.

    Args:
        comparison: The comparison.
        kind: The way.
        needle: Only names that contain it.

    Returns:
        For each the name, numbers that vary as `0…11`, and the positions in `pairs`.
    """
    alike: dict[tuple[object, ...], list[int]] = {}
    a, b = comparison.a, comparison.b
    for position, pair in enumerate(comparison.pairs):
        if kind in pair.kinds and needle in pair.name:
            facts = tuple(
                None if row is None else (model.shapes[row], model.dtypes[row], groups[row])
                for row, model, groups in ((pair.a, a, comparison.groups_a), (pair.b, b, comparison.groups_b))
            )
            alike.setdefault((_DIGITS.sub("0", pair.name), pair.kinds, facts), []).append(position)
    pairs = comparison.pairs
    return [(spanned([pairs[position].name for position in run]), run) for run in alike.values()]


def spanned(names: Sequence[str]) -> str:
    """Return names that differ in numbers only as one: `layer.0…11.weight`."""
    if len(names) == 1:
        return names[0]
    parts = [_DIGITS.split(name) for name in names]
    text = []
    for column in zip(*parts, strict=True):
        values = set(column)
        if len(values) == 1:
            text.append(column[0])
        else:
            numbers = sorted(values, key=lambda number: (len(number.lstrip("0")), number.lstrip("0")))
            text.append(f"{numbers[0]}…{numbers[-1]}")
    return "".join(text)
