"""Two models or checkpoints side by side: what only one has, and where shape, dtype, group or values differ. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from explorer.core.arrange import Region
from explorer.core.compare_files import doubtful
from explorer.core.param import Model

KINDS: Mapping[str, str] = {
    "only_a": "only in A",
    "only_b": "only in B",
    "tied": "tied in one only",
    "shape": "another shape",
    "dtype": "another dtype",
    "group": "another group",
    "values": "other values",
    "unread": "not readable",
}
"""Ways to differ, in the order in which they are told, with what they are called."""


@dataclass(frozen=True, slots=True)
class Values:
    """What a comparison of two tensors' values found."""

    differing: int
    """Elements that are not the same number; two NaN count as the same."""
    largest: float | None
    """Largest absolute difference of two numbers; `None` where none can be said, as of infinities and NaN."""
    nan: int = 0
    """Elements among these that are NaN on one side only."""
    inf: int = 0
    """Elements among these without NaN that are infinite on one side, or on both with other signs."""
    largest_finite: float | None = 0.0
    """Largest absolute difference of two finite numbers; `None` where that is no float64."""

    @property
    def equal(self) -> bool:
        """Whether all elements are the same numbers."""
        return not self.differing


@dataclass(frozen=True, slots=True)
class Fused:
    """What one side holds in parts that the other side has as one tensor."""

    of_a: bool
    """Whether A has the parts."""
    rows: tuple[int, ...]
    """The parts."""
    regions: tuple[Region, ...]
    """Which slice of the one each is; empty where that is not known."""
    why: str
    """Why the slices are not known."""
    shape: tuple[int, ...] | None
    """What the parts make together; `None` where that is not known."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What one side of a pair is; of parts what they are together."""

    index: int
    """The parameter; of parts the first."""
    name: str
    """Its name; of parts the first's."""
    shape: tuple[int, ...] | None
    """Its shape; of parts that of the whole, `None` where they make none."""
    numel: int
    """Elements; of parts the sum."""
    nbytes: int
    """Bytes; of parts the sum, -1 where unknown."""
    dtype: str | None
    """Dtype; of parts with several the first other than the whole's."""
    group: str | None
    """Name of the group; `None` where it is no parameter; of parts in several the first other than the whole's."""
    apart: str
    """What it is where it is no parameter, as `Model.apart` has it; else empty."""
    shard: str | None
    """File of a sharded checkpoint; of parts the first's."""
    parts: tuple[str, ...] = ()
    """Names of the parts, if it is in parts."""
    unread: str = ""
    """The file that has it, where that could not be read."""

    @property
    def group_text(self) -> str:
        """The name of the group, or in parentheses what it is that has none."""
        return self.group or f"({self.apart})"


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
    fused: Fused | None = None
    """What is in parts on one side, whose row is then that of the first part; `None` for one and one."""
    stored_again: str = ""
    """`a` or `b`: the side that stores once more what is tied on the other, in a format that records no ties."""


@dataclass(frozen=True, slots=True)
class Side:
    """What one side of a comparison holds that is not compared as a parameter. Rows are those of its table."""

    missing: frozenset[int] = frozenset()
    """Rows that the model has and its files do not."""
    state: Mapping[int, str] = field(default_factory=dict)
    """Rows that are an optimizer's state and the like, not the model's, and what each is."""
    left_out: frozenset[int] = frozenset()
    """Those of them that are in no pair: the other side has none of their kind."""
    buffers: frozenset[int] = frozenset()
    """Rows that either side knows to be buffers."""
    aside: frozenset[int] = frozenset()
    """Those of them that are in no pair: the other side is a model in memory, whose table has parameters only."""
    state_prefix: str = ""
    """What is left out at the start of the names of `state`; empty: nothing."""
    unread: Mapping[int, str] = field(default_factory=dict)
    """Rows in a file that could not be read, and that file."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two models and how they differ."""

    a: Model
    """The first."""
    b: Model
    """The second."""
    groups_a: Sequence[str | None]
    """Name of the group of each row of A; `None` where it is no parameter."""
    groups_b: Sequence[str | None]
    """The same of B, under the same rules."""
    prefix_a: str
    """What is left out at the start of A's names; empty: nothing."""
    prefix_b: str
    """What is left out at the start of B's names; empty: nothing."""
    pairs: tuple[Pair, ...]
    """Every name of either side: A's in its order, then those that only B has."""
    side_a: Side = Side()
    """What else A holds."""
    side_b: Side = Side()
    """What else B holds."""
    compared: bool = False
    """Whether values were compared."""
    uncompared: Mapping[str, str] = field(default_factory=dict)
    """By name why the values of a pair could not be compared."""
    renamed: int = 0
    """Pairs that a library calls otherwise as it loads them."""

    @property
    def differences(self) -> Iterator[Pair]:
        """Iterate over the pairs that differ."""
        return (pair for pair in self.pairs if pair.kinds)

    @property
    def equal(self) -> bool:
        """Whether nothing differs; values count only where they were compared, and must all have been then.

        Files that were not read whole, or are damaged on one side only, are not known to be equal.
        """
        return not any(pair.kinds for pair in self.pairs) and not self.uncompared and not self.doubtful

    @property
    def doubtful(self) -> bool:
        """Whether something is wrong with the files of a side, so that it may differ where the tables do not."""
        return doubtful(self.a, self.b)

    @property
    def same(self) -> int:
        """Pairs that are known to be alike: without a difference, and without values that could not be read."""
        return sum(not pair.kinds and pair.name not in self.uncompared for pair in self.pairs)

    @property
    def same_but_for_values(self) -> int:
        """Pairs that are alike in all that could be compared, which their values could not."""
        return sum(not pair.kinds and pair.name in self.uncompared for pair in self.pairs)

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of pairs that differ in each way; a pair may differ in several."""
        counts = Counter(kind for pair in self.pairs for kind in pair.kinds)
        return {kind: counts[kind] for kind in KINDS}

    @property
    def comparable(self) -> list[int]:
        """Return the positions of the pairs whose values can be compared: both sides have them, in one shape.

        Those that are in parts on one side are among them, unless they make another shape.
        """
        shapes_a, shapes_b = self.a.shapes, self.b.shapes
        return [
            position
            for position, pair in enumerate(self.pairs)
            if pair.a is not None
            and pair.b is not None
            and (
                shapes_a[pair.a] == shapes_b[pair.b] is not None if pair.fused is None else "shape" not in pair.kinds
            )
        ]

    @property
    def left_out(self) -> tuple[int, int]:
        """Tensors of each side that are in no pair: an optimizer's state that the other side lacks."""
        return len(self.side_a.left_out), len(self.side_b.left_out)

    def counts_of(self, of_a: bool) -> tuple[int, int]:
        """Return the tensors and parameters of a side, without an optimizer's state; buffers are no parameters."""
        model, side = self.side(of_a)
        counted = model.counted
        none = side.state.keys() | side.buffers | side.missing
        return len(model) - len(side.state) - len(side.missing), model.total - sum(counted[row] for row in none)

    def buffers_of(self, of_a: bool) -> int:
        """Return how many of a side's tensors are known to be buffers."""
        return len(self.side(of_a)[1].buffers)

    def side(self, of_a: bool) -> tuple[Model, Side]:
        """Return one side's model and what else it holds."""
        return (self.a, self.side_a) if of_a else (self.b, self.side_b)

    def facts(self, pair: Pair, of_a: bool) -> Facts | None:
        """Return what a side of a pair is; `None` where it has nothing of that name."""
        model, groups, row = (self.a, self.groups_a, pair.a) if of_a else (self.b, self.groups_b, pair.b)
        if row is None:
            return None
        fused = pair.fused
        if fused is None or fused.of_a != of_a:
            shape, nbytes = model.shapes[row], model.nbytes[row]
            return Facts(
                row,
                model.names[row],
                shape,
                model.numels[row],
                nbytes,
                model.dtypes[row],
                groups[row],
                model.apart.get(row, ""),
                model.shards[row],
                unread=self.side(of_a)[1].unread.get(row, ""),
            )
        whole = self.facts(pair, not of_a)
        assert whole is not None, "parts stand against a whole"
        sizes = [model.nbytes[part] for part in fused.rows]
        odd = next((part for part in fused.rows if groups[part] != whole.group), row)
        return Facts(
            row,
            model.names[row],
            fused.shape,
            sum(model.numels[part] for part in fused.rows),
            -1 if -1 in sizes else sum(sizes),
            next((dtype for part in fused.rows if (dtype := model.dtypes[part]) != whole.dtype), whole.dtype),
            groups[odd],
            model.apart.get(odd, ""),
            model.shards[row],
            tuple(model.names[part] for part in fused.rows),
        )

    @property
    def known(self) -> int:
        """Pairs whose values were compared."""
        return sum(pair.values is not None for pair in self.pairs)

    def only(self, needle: str) -> Comparison:
        """Return the comparison of the names that contain a text."""
        if not needle:
            return self
        pairs = tuple(pair for pair in self.pairs if needle in pair.name)
        uncompared = {name: why for name, why in self.uncompared.items() if needle in name}
        return replace(self, pairs=pairs, uncompared=uncompared)

    def numel(self, pair: Pair) -> int:
        """Return the elements of a pair: A's, or of what only B has B's."""
        if pair.fused is not None:
            model = self.a if pair.fused.of_a else self.b
            return sum(model.numels[row] for row in pair.fused.rows)
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
