"""Parameters and the table that holds them: one row a parameter, kept as columns because there may be 150,000."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, Generic, Literal, NamedTuple, TypeVar

T = TypeVar("T")

Severity = Literal["error", "warning", "hint"]


class ModuleClass(NamedTuple):
    """The class of the module that owns a parameter."""

    name: str
    """Class name without its module: `LayerNorm`, `LlamaRMSNorm`."""
    bases: tuple[str, ...] = ()
    """Names of its base classes in method resolution order, `Module` and `object` left out."""


class Place(NamedTuple):
    """Where a parameter's module stands in its model, in facts that its name does not tell."""

    around: tuple[str, ...]
    """Class names of the modules that hold its own, one for each segment of that module's path: the model itself
    first; empty for a parameter of the model itself."""
    config: tuple[str, ...] | None = None
    """The keys under which the configuration that its module was built from stands in the model's: `()` is the whole,
    `("text_config",)` a part; `None` where it can't be told."""
    named: bool = True
    """Whether the parameter's path in the model is known: its name, or what `Model.renamed` has. A part of a stack,
    as a file holds it, has none."""


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter's facts. `None` means unknown, never a guess."""

    index: int
    """Position in `named_parameters()`, or in a checkpoint's own order; counted from 0."""
    name: str
    """Dotted name, made visible (see `explorer.core.text.visible`)."""
    shape: tuple[int, ...] | None
    """Size of each dimension; `()` is a scalar, `None` a parameter that has no shape yet (lazy)."""
    numel: int
    """Number of elements as `torch.Tensor.numel` counts them."""
    dtype: str | None
    """`float32`, `bfloat16`, …: torch's name without its prefix."""
    nbytes: int | None
    """Bytes of the elements, each at the width of `dtype`."""
    device: str | None
    """`meta`, `cpu`, `cuda:0`, …; `None` for a tensor in a file."""
    requires_grad: bool | None
    """Whether it is trained; `None` for a tensor in a file."""
    module_class: ModuleClass | None
    """Class of the owning module; `None` where only names are known."""
    aliases: tuple[str, ...]
    """Other names of the same tensor (tied weights), in module order."""
    shard: str | None
    """File of a sharded checkpoint that holds it."""
    notes: str = ""
    """What is odd about it, in one line: packed, sharded, offloaded, an adapter's; empty for most."""
    place: Place | None = None
    """Where its module stands; `None` where only names are known."""
    apart: str = ""
    """What it is where it is a tensor but not a parameter: `buffer`; empty for a parameter."""


@dataclass(frozen=True, slots=True, eq=False)
class Column(Generic[T]):
    """A column with few distinct values: each value once, and a code for every row."""

    values: tuple[T, ...]
    """The distinct values in order of first appearance."""
    codes: array[int]
    """For every row the position of its value in `values` (typecode `I`)."""

    @classmethod
    def of(cls, rows: Iterable[T]) -> Column[T]:
        """Build the column from its rows; the values must be hashable."""
        seen: dict[T, int] = {}
        codes = array("I", (seen.setdefault(value, len(seen)) for value in rows))
        return cls(tuple(seen), codes)

    @classmethod
    def constant(cls, value: T, rows: int) -> Column[T]:
        """Build a column that holds `value` in each of `rows` rows."""
        return cls((value,), array("I", bytes(4 * rows)))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.codes)

    def __getitem__(self, row: int) -> T:
        """Return the value of one row."""
        return self.values[self.codes[row]]

    def __iter__(self) -> Iterator[T]:
        """Iterate over the rows' values."""
        values = self.values
        return (values[code] for code in self.codes)


class Finding(NamedTuple):
    """Something worth telling: a lint of a grouping, or what a source noticed while opening."""

    id: str
    """Stable name for scripts: `norm-decays`, `missing-shard`, …"""
    severity: Severity
    """`error` (the recipe or file is wrong), `warning` (probably), `hint`."""
    message: str
    """One line that says what."""
    names: Sequence[str] = ()
    """The parameters it is about."""
    why: str = ""
    """One sentence that says why it matters."""
    fix: str = ""
    """A term to add, written `GROUP += TERM`; empty where there is no one fix."""


class Counters(NamedTuple):
    """The ways in which people count a model, each taken from the library's own method. `None`: not known."""

    loop: int
    """`sum(p.numel() for p in model.parameters())`: the counting loop, run by the source on the real object."""
    num_parameters: int | None = None
    """transformers' `model.num_parameters()`."""
    without_embeddings: int | None = None
    """transformers' `model.num_parameters(exclude_embeddings=True)`."""
    trainable: int | None = None
    """The loop over parameters with `requires_grad`."""
    state_dict_tensors: int | None = None
    """Entries of `model.state_dict()`: tied tensors once for each name, and persistent buffers."""
    state_dict_elements: int | None = None
    """Elements of `model.state_dict()`, counted entry by entry."""
    buffer_tensors: int | None = None
    """Entries of `model.named_buffers()`."""
    buffer_elements: int | None = None
    """Elements of `model.named_buffers()`."""
    raising: int = 0
    """Parameters whose `numel()` raises, and the counting loop with it: `loop` is the sum of the others."""
    lazy: int = 0
    """Those among them that have no shape before the module's first input."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model came from, as it is told on the screen and in `--print json`."""

    target: str
    """What the user asked for."""
    kind: str
    """The source's name in the SOURCES table: `transformers`, `safetensors`, …"""
    description: str
    """What was used, in words: `built-in architecture, no weights`, `cached snapshot abc1234`."""
    class_name: str | None = None
    """Class of the model: `RobertaForMaskedLM`."""
    model_type: str | None = None
    """transformers' `config.model_type`."""
    config: Mapping[str, Any] | None = None
    """The resolved configuration as JSON holds it."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of the libraries that built it: `torch`, `transformers`."""
    remembered: bool = False
    """Whether an earlier run built the table, and this one has not checked it."""


@dataclass(frozen=True, eq=False)  # without slots: `total` is summed once and kept
class Model:
    """An ordered table of parameters, as columns, and where it came from."""

    origin: Origin
    """What was opened."""
    names: Sequence[str]
    """Dotted names in `named_parameters()` order, made visible."""
    shapes: Column[tuple[int, ...] | None]
    """Shape of each parameter."""
    numels: array[int]
    """Elements of each parameter (typecode `q`)."""
    nbytes: array[int]
    """Bytes of each parameter (typecode `q`); -1 where unknown."""
    dtypes: Column[str | None]
    """Dtype of each parameter."""
    devices: Column[str | None]
    """Device of each parameter."""
    requires_grad: Column[bool | None]
    """Whether each parameter is trained."""
    modules: Column[ModuleClass | None]
    """Class of the module that owns each parameter."""
    shards: Column[str | None]
    """File that holds each parameter."""
    aliases: Mapping[int, tuple[str, ...]]
    """Other names of tied parameters, by index; most parameters have no entry."""
    counters: Counters | None = None
    """The library's own counts; `None` for a checkpoint file, which no library has counted."""
    findings: tuple[Finding, ...] = ()
    """What the source noticed while opening."""
    notes: Mapping[int, str] = field(default_factory=dict)
    """What is odd about a parameter, by index, made visible; most have no entry."""
    places: Column[Place | None] | None = None
    """Where the module of each parameter stands; `None` for all where only names are known."""
    apart: Mapping[int, str] = field(default_factory=dict)
    """Tensors that are not parameters, by index, and what they are: `buffer`, `optimizer state`, … A file holds them,
    so they have rows; they are in no group, and in no sum of parameters. A module's table has none."""
    renamed: Mapping[int, str] = field(default_factory=dict)
    """What the model calls tensors of a file that have other names there, by index: loading renames them."""
    state: tuple[int, int] | None = None
    """Names in the state dict that a file is, and elements under them, a tied tensor's once for each of its names;
    `None` where no file says it, as of a whole pickled module with buffers, which need not all be saved ones."""

    @classmethod
    def from_params(
        cls,
        origin: Origin,
        params: Iterable[Param],
        counters: Counters | None = None,
        findings: tuple[Finding, ...] = (),
    ) -> Model:
        """Build the table from rows, for sources and tests that have them one by one."""
        rows = list(params)
        return cls(
            origin=origin,
            names=[row.name for row in rows],
            shapes=Column.of(row.shape for row in rows),
            numels=array("q", (row.numel for row in rows)),
            nbytes=array("q", (-1 if row.nbytes is None else row.nbytes for row in rows)),
            dtypes=Column.of(row.dtype for row in rows),
            devices=Column.of(row.device for row in rows),
            requires_grad=Column.of(row.requires_grad for row in rows),
            modules=Column.of(row.module_class for row in rows),
            shards=Column.of(row.shard for row in rows),
            aliases={index: row.aliases for index, row in enumerate(rows) if row.aliases},
            counters=counters,
            findings=findings,
            notes={index: row.notes for index, row in enumerate(rows) if row.notes},
            places=Column.of(row.place for row in rows) if any(row.place for row in rows) else None,
            apart={index: row.apart for index, row in enumerate(rows) if row.apart},
        )

    def __len__(self) -> int:
        """Return the number of parameters (tensors)."""
        return len(self.names)

    def __getitem__(self, index: int) -> Param:
        """Return one parameter's facts as a record; an index from the end reads as the one it stands for."""
        index = range(len(self.names))[index]
        nbytes = self.nbytes[index]
        return Param(
            index=index,
            name=self.names[index],
            shape=self.shapes[index],
            numel=self.numels[index],
            dtype=self.dtypes[index],
            nbytes=None if nbytes < 0 else nbytes,
            device=self.devices[index],
            requires_grad=self.requires_grad[index],
            module_class=self.modules[index],
            aliases=self.aliases.get(index, ()),
            shard=self.shards[index],
            notes=self.notes.get(index, ""),
            place=self.places[index] if self.places is not None else None,
            apart=self.apart.get(index, ""),
        )

    def __iter__(self) -> Iterator[Param]:
        """Iterate over the parameters as records, in order."""
        return (self[index] for index in range(len(self.names)))

    def running(self) -> array[int]:
        """Return for each parameter the sum of elements up to and including it: the counting loop's `np`."""
        return array("q", accumulate(self.counted))

    @cached_property
    def counted(self) -> array[int]:
        """Elements that each row adds to a sum of parameters: `numels`, but 0 where it is not a parameter."""
        if not self.apart:
            return self.numels
        counted = array("q", self.numels)
        for index in self.apart:
            counted[index] = 0
        return counted

    @cached_property
    def total(self) -> int:
        """Elements of all parameters, the last value of the counting loop."""
        return sum(self.counted)
