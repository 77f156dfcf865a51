"""What the files of a directory hold, for a comparison: its table is the model's, not the files'. Pure.

The model of a directory with weights is built from the config. Compared as it is, it would equal any other that the
same config builds, whatever the files lack, hold beside, or store in another dtype.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from explorer.core.asking import Ask
from explorer.core.elements import ELEMENTS
from explorer.core.errors import LostError, ParamxError
from explorer.core.param import Column, Finding, Model, Param

FILES = "files"
"""What is asked of what serves a model that was laid over files; answers `Held.to_json`."""

UNREAD = frozenset(
    {
        "bad-entry",
        "bad-tensor",
        "missing-shard",
        "other-files",
        "refused-path",
        "too-much",
        "truncated",
        "unknown-dtype",
        "weights-not-read",
    }
)
"""Findings of a source that say that not all of the files was read: two of these are never known to be equal."""

ODD = frozenset(
    {
        "byte-order",
        "duplicate-entry",
        "duplicate-tensor",
        "extra-tensor",
        "hole",
        "missing-tensor",
        "overlap",
        "size-mismatch",
        "wrong-shard",
        "wrong-total",
    }
)
"""Findings that say that files do not fit together; where both sides have the same one, it is no difference."""


@dataclass(frozen=True, slots=True)
class Held:
    """How the files that a model was laid over differ from its table. Rows are those of the table."""

    missing: Sequence[int] = ()
    """Parameters that the files do not have."""
    unread: Mapping[int, str] = field(default_factory=dict)
    """Parameters that lie in a file that could not be read, and that file."""
    dtypes: Mapping[int, str] = field(default_factory=dict)
    """The files' dtype, where it differs from the table's."""
    shapes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """The files' shape, where it differs from the table's."""
    beside: Sequence[Param] = ()
    """Tensors of the files without a row in the table: buffers, and what the model does not have."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "missing": list(self.missing),
            "unread": list(self.unread.items()),
            "dtypes": list(self.dtypes.items()),
            "shapes": list(self.shapes.items()),
            "beside": [
                [each.name, each.shape, each.numel, each.dtype, each.nbytes, each.shard, each.apart]
                for each in self.beside
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Held:
        """Return what `to_json` made JSON of."""
        beside = [
            Param(
                index=0,
                name=name,
                shape=None if shape is None else tuple(shape),
                numel=numel,
                dtype=dtype,
                nbytes=nbytes,
                device=None,
                requires_grad=None,
                module_class=None,
                aliases=(),
                shard=shard,
                apart=apart,
            )
            for name, shape, numel, dtype, nbytes, shard, apart in data["beside"]
        ]
        shapes = {row: tuple(shape) for row, shape in data["shapes"]}
        return cls(data["missing"], dict(data["unread"]), dict(data["dtypes"]), shapes, beside)


def ask_held(model: Model, ask: Ask) -> Held | None:
    """Ask how the files of a model differ from its table; `None` where it was not laid over files.

    Raises:
        LostError: Nobody is there to ask: without the answer unlike files may look the same.
    """
    if model.counters is None:  # a file's own table
        return None
    try:
        answer = ask(FILES, {})
    except LostError:
        raise
    except ParamxError:  # a module of one's own, or a config alone
        return None
    return None if answer is None else Held.from_json(answer)


def as_held(model: Model, held: Held) -> Model:
    """Return a model's table as its files have it; rows of `Held.missing` stay, since requests go by row."""
    dtypes, shapes = list(model.dtypes), list(model.shapes)
    for row, dtype in held.dtypes.items():
        dtypes[row] = dtype
    numels, nbytes = array("q", model.numels), array("q", model.nbytes)
    for row, shape in held.shapes.items():
        shapes[row], numels[row] = shape, prod(shape)
    for row in {*held.dtypes, *held.shapes}:
        element = ELEMENTS.get(dtypes[row] or "")
        nbytes[row] = -1 if element is None else numels[row] * element.nbytes
    more, rows = held.beside, len(model)
    return replace(
        model,
        names=[*model.names, *(each.name for each in more)],
        shapes=Column.of([*shapes, *(each.shape for each in more)]),
        numels=numels + array("q", (each.numel for each in more)),
        nbytes=nbytes + array("q", (-1 if each.nbytes is None else each.nbytes for each in more)),
        dtypes=Column.of([*dtypes, *(each.dtype for each in more)]),
        devices=Column.of([*model.devices, *(each.device for each in more)]),
        requires_grad=Column.of([*model.requires_grad, *(each.requires_grad for each in more)]),
        modules=Column.of([*model.modules, *(each.module_class for each in more)]),
        shards=Column.of([*model.shards, *(each.shard for each in more)]),
        places=None if model.places is None else Column.of([*model.places, *(each.place for each in more)]),
        apart={**model.apart, **{rows + at: each.apart for at, each in enumerate(more) if each.apart}},
    )


def warnings(model: Model) -> Iterator[Finding]:
    """Iterate over what a source found wrong with the files of a model."""
    return (finding for finding in model.findings if finding.id in UNREAD | ODD)


def doubtful(a: Model, b: Model) -> bool:
    """Whether two models may differ in what their tables do not say: files that were not read, or are damaged."""
    told = [{(each.id, each.message, tuple(each.names)) for each in warnings(model)} for model in (a, b)]
    return told[0] != told[1] or any(finding[0] in UNREAD for finding in told[0])
