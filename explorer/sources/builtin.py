"""Architectures that open by name without a network: explicit configurations whose totals are published.

A file of `architectures/` is one architecture, `NAME.json`:

    name        the built-in name; the file has the same name
    ids         hub ids and short names that mean the same model
    family      one of `FAMILIES`
    title       the name as people write it
    source      where the configuration comes from
    published   {"parameters": figure, "source": where that figure stands}
    total       parameters of the class that `config.architectures` names, tied ones once
    tensors     entries of its `named_parameters()`
    config      the `config.json`: every value that a size depends on, no reliance on a library's defaults
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

FAMILIES = (
    "encoder",
    "decoder",
    "encoder-decoder",
    "mixture-of-experts",
    "vision",
    "speech",
    "multi-modal",
)
"""Families in the order a list of architectures shows them."""

_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """A parameter count that somebody else published; a test holds the built total to it."""

    parameters: str
    """The figure as written: exact (`124,697,433`) or rounded (`46.7B`)."""
    source: str
    """Where it stands, so that a reader can look it up."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """One built-in architecture."""

    name: str
    """Its built-in name, in lower case."""
    ids: tuple[str, ...]
    """Full hub ids and short names that mean the same; compared without case."""
    family: str
    """One of `FAMILIES`."""
    title: str
    """Its name as people write it."""
    source: str
    """Where `config` comes from."""
    published: PublishedFigure
    """The published figure for `total`."""
    total: int
    """Parameters of the class that `config["architectures"]` names, tied ones once."""
    tensors: int
    """Entries of that class's `named_parameters()`."""
    config: dict[str, Any]
    """The `config.json` to build from; the caller's own copy."""


def names() -> tuple[str, ...]:
    """All built-in names, sorted; reads no file."""
    return tuple(sorted(entry.name.removesuffix(_SUFFIX) for entry in _entries()))


def find(target: str) -> Architecture | None:
    """The architecture that a name or a hub id means.

    Args:
        target: What the user wrote; compared without case, never used as a path.

    Returns:
        The architecture; `None` when none has that name or id.
    """
    wanted = target.casefold()
    entries = tuple(_entries())
    for entry in entries:
        if entry.name == wanted + _SUFFIX:
            return _read(entry)
    for entry in entries:
        architecture = _read(entry)
        if any(wanted == known.casefold() for known in architecture.ids):
            return architecture
    return None


def catalogue() -> tuple[Architecture, ...]:
    """All built-in architectures: by family as `FAMILIES` orders them, then by total, then by name."""
    return tuple(
        sorted(
            (_read(entry) for entry in _entries()),
            key=lambda known: (FAMILIES.index(known.family), known.total, known.name),
        )
    )


def _entries() -> Iterator[Traversable]:
    """Every file of the folder; targets are compared with these names, so none can lead outside."""
    folder = files("explorer.sources") / "architectures"
    return (entry for entry in folder.iterdir() if entry.name.endswith(_SUFFIX))


def _read(entry: Traversable) -> Architecture:
    """Read one file; each call parses anew, so that nobody's change to `config` reaches another caller."""
    fields = json.loads(entry.read_text(encoding="utf-8"))
    return Architecture(
        name=fields["name"],
        ids=tuple(fields["ids"]),
        family=fields["family"],
        title=fields["title"],
        source=fields["source"],
        published=PublishedFigure(**fields["published"]),
        total=fields["total"],
        tensors=fields["tensors"],
        config=fields["config"],
    )
