"""Goes through the tensors of a comparison one by one and asks a source how their values differ. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from explorer.core.compare import Comparison, Values
from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.text import plural

REQUEST = "difference"
"""What is asked of what serves A: takes `index`, `other` (how B is opened) and `other_index`; answers `done`, the
share that is read, and `result`, `null` until all is: `{"differing": …, "largest": …}`."""

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
    """Compare the values of every pair that has them on both sides.

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
    whole, done = sum(numels.values()), 0
    found: dict[int, Values] = {}
    refused: dict[int, str] = {}
    differing = 0
    for position in left:
        if len(refused) >= GIVE_UP and not found:
            refused[position] = next(reversed(refused.values()))
            continue
        pair = comparison.pairs[position]
        arguments = {"index": pair.a, "other": asdict(other), "other_index": pair.b}
        try:
            while True:
                answer = ask(REQUEST, arguments)
                at = len(found) + len(refused)
                tell(Progress(at, len(left), done + answer["done"] * numels[position], whole, differing))
                if stopped():
                    return comparison.with_values(found, refused, False)
                if answer["result"] is not None:
                    found[position] = Values(**answer["result"])
                    differing += not found[position].equal
                    break
        except ParamxError as error:
            refused[position] = error.line
            if stopped():
                return comparison.with_values(found, {}, False)
        done += numels[position]
    return comparison.with_values(found, refused, True)
