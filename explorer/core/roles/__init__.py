"""What each parameter is for, as far as classes, attributes, shapes and the configuration prove it.

A name is no proof: what counts is the class of the module that owns a parameter, the classes around it, the
attributes under which they hold one another, and that the shape is what the configuration gives it. The rules were
written by reading the modelling code of transformers 5.23; what they do not know, or what does not fit, falls back to
what torch's own layers always are (`linear layer, 768 → 3,072`), and from there to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from explorer.core.param import Model
from explorer.core.roles import attention, embeddings, heads, mlp, plain, projectors
from explorer.core.roles.facts import Facts, Part, Role

__all__ = ["PARTS", "Facts", "Part", "Role", "Roles", "role_of"]

PARTS: tuple[Part, ...] = ("embeddings", "attention", "MLP", "experts", "norms", "heads", "other")
"""The shares of a model, in the order in which they are shown."""

FAMILIES: tuple[Callable[[Facts], Role | None], ...] = (
    attention.role,
    mlp.role,
    embeddings.role,
    heads.role,
    projectors.role,
    plain.role,
)
"""Asked in this order; the first answer counts."""

TIES_TOLD = 3
"""Names of a tied tensor that the line of its role holds; the others are counted."""


def role_of(facts: Facts) -> Role | None:
    """Return what a parameter is for; `None` where nothing proves it."""
    return next((found for family in FAMILIES if (found := family(facts)) is not None), None)


class Roles:
    """The roles of a model's parameters; worked out once for each kind of parameter."""

    def __init__(self, model: Model) -> None:
        """Prepare for `model`; nothing is worked out before it is asked for."""
        self._model = model
        self._known: dict[tuple[object, ...], tuple[Role | None, Part | None]] = {}
        self._configs: dict[tuple[str, ...] | None, Mapping[str, Any]] = {}

    def __getitem__(self, index: int) -> Role | None:
        """Return what one parameter is for, without its ties."""
        return self._both(index)[0]

    def part(self, index: int) -> Part | None:
        """Return the share of the model that a parameter counts to; `None` where its class is not known."""
        return self._both(index)[1]

    def line(self, index: int) -> str | None:
        """Return the role in one line, with what the tensor is tied to."""
        role = self[index]
        aliases = self._model.aliases.get(index, ())
        if role is None or not aliases:
            return role.text if role is not None else None
        leaf = "." + self._model.names[index].rpartition(".")[2]
        told = ", ".join(name.removesuffix(leaf) for name in aliases[:TIES_TOLD])
        more = len(aliases) - TIES_TOLD
        return f"{role.text}, tied to {told}" + (f" and {more:,} more" if more > 0 else "")

    def formula(self, index: int) -> str | None:
        """Return the shape in the configuration's names."""
        role = self[index]
        return None if role is None else role.formula

    def _both(self, index: int) -> tuple[Role | None, Part | None]:
        model = self._model
        places = model.places
        if places is None:
            return None, None
        path = (model.renamed.get(index) or model.names[index]).split(".")
        folded = tuple(_folded(path))
        key = (folded, places.codes[index], model.modules.codes[index], model.shapes.codes[index])
        if key not in self._known:
            self._known[key] = self._think(index, path)
        return self._known[key]

    def _think(self, index: int, path: list[str]) -> tuple[Role | None, Part | None]:
        model = self._model
        place = model.places[index] if model.places is not None else None
        owner, shape = model.modules[index], model.shapes[index]
        if place is None or owner is None:
            return None, None
        facts = Facts(owner, path[-1], tuple(path[:-1]), place.around, shape or (), self._config(place.config))
        # Without the path of modules no attribute is known, and a lazy parameter has no shape yet.
        told = place.named and shape is not None and len(place.around) == len(path) - 1
        role = role_of(facts) if told else mlp.apart(facts) if shape is not None else None
        return role, role.part if role is not None else plain.part_of(facts)

    def _config(self, keys: tuple[str, ...] | None) -> Mapping[str, Any]:
        if keys not in self._configs:
            found: Any = self._model.origin.config if keys is not None else None
            for key in keys or ():
                found = found.get(key) if isinstance(found, Mapping) else None
            self._configs[keys] = found if isinstance(found, Mapping) else {}
        return self._configs[keys]


def _folded(path: list[str]) -> Iterator[str]:
    """Yield the segments with layer numbers taken out; an expert's number is told in its role."""
    before = ""
    for segment in path:
        yield "0" if segment.isdecimal() and before != "experts" else segment
        before = segment
