"""Compares the values of paired tensors one by one, by asking a source. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from explorer.core.compare import Comparison, Pair, Values
from explorer.core.compare_runs import together
from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.text import plural

REQUEST = "difference"
"""What is asked of what serves A: takes `index`, `other` (how B is opened), `other_index`, and the `region` or
`other_region` of one that stands against a part; answers `done`, the share that is read, and `result`, `null` until
all is: the fields of `Values`."""

GIVE_UP = 20
"""After so many tensors in a row that can't be read, and none that can, the others are not tried."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the comparison of values is."""

    tensors: int
    """Tensors that are done."""
    of_tensors: int
    """Tensors to compare."""
    elements: float
    """Elements that are done, those of the tensor at hand included."""
    of_elements: int
    """Elements to compare."""
    differing: int
    """Tensors found so far whose values differ."""

    @property
    def text(self) -> str:
        """The progress in words."""
        percent = 100 * self.elements / self.of_elements if self.of_elements else 100
        told = f"{self.tensors:,} of {plural(self.of_tensors, 'tensor')} compared, {percent:.0f} %"
        return f"{told}, {self.differing:,} differ" if self.differing else told


def compare_values(
    comparison: Comparison,
    other: OpenSpec,
    ask: Callable[[str, Mapping[str, Any]], Any],
    tell: Callable[[Progress], None] = lambda progress: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Comparison:
    """Compare the values of every pair that has them on both sides, but for those that an earlier run has compared.

    Args:
        comparison: The comparison, without values.
        other: How B was opened.
        ask: Asks what serves A.
        tell: Told the progress, after every answer.
        stopped: Asked after every answer whether to stop: what is known by then is returned.

    Returns:
        The comparison with what was found, and why where nothing could be.
    """
    left = comparison.comparable
    numels = {position: comparison.numel(comparison.pairs[position]) for position in left}
    found = {position: values for position in left if (values := comparison.pairs[position].values) is not None}
    whole, done = sum(numels.values()), sum(numels[position] for position in found)
    refused: dict[int, str] = {}
    differing = sum(not values.equal for values in found.values())
    for position in left:
        pair = comparison.pairs[position]
        if position in found:
            continue
        if pair.fused is not None and pair.fused.why:
            refused[position] = pair.fused.why
            done += numels[position]
            continue
        if len(refused) >= GIVE_UP and not found:
            refused[position] = next(reversed(refused.values()))
            continue
        at, before = len(found) + len(refused), done
        done += numels[position]
        parts = []
        try:
            for elements, values in _answers(comparison, pair, other, ask):
                tell(Progress(at, len(left), before + elements, whole, differing))
                if stopped():
                    return comparison.with_values(found, refused, False)
                if values is not None:
                    parts.append(values)
        except ParamxError as error:
            refused[position] = error.line
            if stopped():
                return comparison.with_values(found, {}, False)
            continue
        found[position] = together(parts)
        differing += not found[position].equal
    return comparison.with_values(found, refused, True)


def _answers(
    comparison: Comparison, pair: Pair, other: OpenSpec, ask: Callable[[str, Mapping[str, Any]], Any]
) -> Iterator[tuple[float, Values | None]]:
    """Yield after each answer the elements of a pair that are compared, and how a part differs when it is done.

    Raises:
        ParamxError: It can't be compared.
    """
    before = 0
    for arguments, numel in _asked(comparison, pair):
        result = None
        while result is None:
            answer = ask(REQUEST, {**arguments, "other": asdict(other)})
            result = answer["result"]
            yield before + answer["done"] * numel, None if result is None else Values(**result)
        before += numel


def _asked(comparison: Comparison, pair: Pair) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield what is asked for a pair, part by part, each with its elements."""
    if pair.fused is None:
        yield {"index": pair.a, "other_index": pair.b}, comparison.numel(pair)
        return
    fused = pair.fused
    model = comparison.a if fused.of_a else comparison.b
    for row, region in zip(fused.rows, fused.regions, strict=True):
        asked: dict[str, Any] = {"index": pair.a, "other_index": row, "region": region}
        if fused.of_a:
            asked = {"index": row, "other_index": pair.b, "other_region": region}
        yield asked, model.numels[row]
