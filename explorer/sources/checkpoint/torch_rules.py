"""The allow-list of torch's pickles: what stands for a storage, a tensor, a parameter; and what is refused by name.

Signatures are torch 2.13's (torch/_utils.py, torch/_tensor.py, torch/serialization.py) and those of older files that
it still reads. Every argument is a stranger's: each is checked for its type before it counts.
"""

from __future__ import annotations

import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from explorer.sources.checkpoint.dtypes import BITS, dtype_bytes
from explorer.sources.checkpoint.limits import MAX_DIMENSIONS, MAX_ELEMENTS
from explorer.sources.checkpoint.pickle_reader import Global, Opaque, Pairs, Skipped

MAX_NAMED = 100
"""Most names of globals that are kept to be told."""

STORAGE_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
    "UntypedStorage": "uint8",
}
"""Torch's storage classes and the dtype of their elements; of an untyped one a byte."""

NUMPY_DTYPES = {
    "b1": "bool",
    "i1": "int8",
    "u1": "uint8",
    "i2": "int16",
    "u2": "uint16",
    "i4": "int32",
    "u4": "uint32",
    "i8": "int64",
    "u8": "uint64",
    "f2": "float16",
    "f4": "float32",
    "f8": "float64",
    "c8": "complex64",
    "c16": "complex128",
}
"""Numpy's type codes as torch's names."""

DANGEROUS = sys.stdlib_module_names | {
    "__builtin__",
    "aiohttp",
    "cloudpickle",
    "commands",
    "dill",
    "httpx",
    "joblib",
    "nt",
    "numpy.f2py",
    "numpy.testing",
    "pip",
    "popen2",
    "requests",
    "setuptools",
    "torch._dynamo",
    "torch._inductor",
    "torch.fx",
    "torch.hub",
    "torch.jit",
    "torch.package",
    "torch.serialization",
    "torch.utils",
    "urllib2",
}
"""Modules whose globals may do things when they are called: Python's own, and those of known attacks. A file that
only holds weights names none. Naming one, but for `HARMLESS`, is told as a warning even where the file does not call
it; that nothing is called does not depend on this list."""

HARMLESS = frozenset(
    {
        *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in (
            "set", "frozenset", "complex", "slice", "range", "xrange", "bytearray", "bytes", "list", "dict", "tuple",
            "int", "long", "float", "bool", "str", "unicode", "object",
        )),
        *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in (
            "Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath",
        )),
        "_codecs.encode",
        "argparse.Namespace",
        "collections.Counter",
        "collections.OrderedDict",
        "collections.defaultdict",
        "collections.deque",
        "copy_reg._reconstructor",
        "copyreg._reconstructor",
        "datetime.date",
        "datetime.datetime",
        "datetime.timedelta",
        "datetime.timezone",
        "decimal.Decimal",
        "fractions.Fraction",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy._core.numeric._frombuffer",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
        "numpy.core.numeric._frombuffer",
        "numpy.dtype",
        "numpy.ndarray",
        "torch.ScriptObject",
        "torch.Size",
        "torch.Tensor",
        "torch.device",
        "torch.serialization._get_layout",
        "torch.storage._load_from_bytes",
        "types.SimpleNamespace",
        "uuid.UUID",
    }
)  # fmt: skip
"""Classes and functions of plain data: opaque like all the rest, and not worth telling."""


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """Bytes that tensors share."""

    key: str
    """Its name in the file."""
    dtype: str
    """Dtype of its elements; `uint8` if it is untyped."""
    numel: int
    """How many elements it has."""
    device: str
    """Where it was when it was saved: `cpu`, `cuda:0`."""
    base: int = 0
    """Where it begins in the bytes named `key`, in elements: not 0 for a view of old files."""

    @property
    def nbytes(self) -> int:
        """Bytes of it."""
        return dtype_bytes(self.dtype, self.numel) or 0


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """One tensor as the pickle describes it."""

    shape: tuple[int, ...]
    """Size of each dimension."""
    dtype: str | None
    """Torch's name, `None` if unknown."""
    nbytes: int | None
    """Bytes of its elements; of a sparse or wrapping one those of its parts; `None` if unknown."""
    storage: Storage | None = None
    """What holds its elements; `None` where they are not in one storage."""
    offset: int = 0
    """Where it begins in the storage, in elements of its own dtype."""
    stride: tuple[int, ...] = ()
    """Steps of each dimension in elements."""
    requires_grad: bool | None = None
    """What the file says: a `Parameter`'s own flag, `True` for a tensor that has it; `None` where it is `False` on a
    plain tensor, for `state_dict()` takes it off all of them."""
    device: str | None = None
    """Where it was when it was saved."""
    data: Skipped | bytes | None = None
    """A numpy array's elements, where the pickle holds them itself."""
    kind: str = ""
    """`sparse`, `quantized`, … where it is no plain one."""
    big_endian: bool = False
    """Whether a numpy array's elements have their first byte highest."""


@dataclass(frozen=True, slots=True, eq=False)
class Broken:
    """A tensor whose description can't be true."""

    reason: str
    """Why."""


class BadTensorError(Exception):
    """The description of a tensor can't be true; the text says why."""


def _todays(name: Global) -> str:
    """Return a global's path as Python 3 has it: protocols 0 to 2 write Python 2's, `__builtin__.exec`.

    By the table that `pickle` itself goes by when it loads such a file.
    """
    module, own = NAME_MAPPING.get((name.module, name.name), (name.module, name.name))
    return f"{IMPORT_MAPPING.get(module, module)}.{own}"


def _shown(name: Global) -> str:
    """Return a global as it is told."""
    return _todays(name)[:1000]


class TorchRules:
    """What the opcodes that would run code become, in torch's pickles (`pickle_reader.Rules`)."""

    def __init__(self, packages: tuple[str, ...] = ()) -> None:
        """Begin with nothing noticed.

        Args:
            packages: Starts of modules whose classes and functions are as harmless as those of `HARMLESS`.
        """
        self._packages = packages
        self._refused: dict[str, None] = {}
        # Foreign globals of which it is not seen yet that they are no more than the classes of objects.
        self._named: dict[str, None] = {}
        self.classes: dict[str, None] = {}
        """Classes of objects that are shown by their attributes alone."""
        self.storages: dict[str, Storage] = {}
        """The storages by their key, the largest claim of each."""

    @property
    def refused(self) -> dict[str, None]:
        """Functions that the file wanted called, and globals that it names and torch does not write."""
        return self._refused | self._named

    # --- Rules --------------------------------------------------------------------------------------------------

    def refer(self, name: Global) -> None:
        """Note a global that does things, or that torch has no reason to name: unpickling imports its module."""
        if self._is_dangerous(name):
            self._keep(self._refused, name)
        elif not self._is_plain(name) and _shown(name) not in self.classes:
            self._keep(self._named, name)

    def call(self, function: Any, args: Any) -> Any:
        """Return what stands for `function(*args)`."""
        if not isinstance(args, tuple):
            args = ()
        if isinstance(function, Global):
            maker = _MAKERS.get(function.path)
            if maker is not None:
                try:
                    return maker(self, *args)
                except BadTensorError as error:
                    return Broken(str(error))
                except (TypeError, ValueError, IndexError, AttributeError, OverflowError):
                    return Broken(f"{function.name} with arguments that it does not take")
            if not self._is_harmless(function):
                self._keep(self._refused, function)
        return Opaque(function, args)

    def new(self, cls: Any, args: Any) -> Any:
        """Return what stands for a new object of a class."""
        if isinstance(cls, Global):
            if cls.path in _CLASSES:
                return self.call(cls, args)
            self._note_class(cls)
        return Opaque(cls, args if isinstance(args, tuple) else ())

    def build(self, value: Any, state: Any) -> Any:
        """Return `value` with its state set."""
        if isinstance(value, Opaque):
            value.state = state  # set, not replaced: the memo may hold the object already
        return value

    def persistent(self, key: Any) -> Any:
        """Return the storage that a persistent id names.

        `("storage", class, key, location, numel)`, in old files with a sixth: `None`, or `(key, offset, numel)` of a
        view. `("module", class, file, source)` of very old ones stands for the class.
        """
        if not isinstance(key, tuple) or len(key) < 2:
            return Broken("a reference to a storage that is none")
        if _decoded(key[0]) == "module":
            return key[1]
        if _decoded(key[0]) != "storage" or len(key) < 5:
            return Broken("a reference to a storage that is none")
        _, cls, name, location, numel, *rest = key
        name, location = _decoded(name), _decoded(location)
        dtype = STORAGE_DTYPES.get(cls.name) if isinstance(cls, Global) and cls.module.startswith("torch") else None
        if dtype is None or not isinstance(name, str) or not _is_size(numel):
            return Broken("a reference to a storage that is none")
        whole = Storage(name, dtype, numel, location if isinstance(location, str) else "cpu")
        known = self.storages.get(name)
        if known is None or known.nbytes < whole.nbytes:
            self.storages[name] = whole
        if rest and isinstance(rest[0], tuple) and len(rest[0]) == 3:
            _, base, size = rest[0]
            if not _is_size(base) or not _is_size(size) or base + size > numel:
                return Broken("a view past the end of its storage")
            return replace(whole, base=base, numel=size)
        return whole

    # --- noting -------------------------------------------------------------------------------------------------

    def _is_harmless(self, name: Global) -> bool:
        known = name.path in HARMLESS or (name.name in STORAGE_DTYPES and name.module.startswith("torch"))
        return known or (bool(self._packages) and name.module.startswith(self._packages))

    def _is_dangerous(self, name: Global) -> bool:
        if name.path in _MAKERS or name.path in HARMLESS:
            return False
        parts = name.module.split(".")
        return any(".".join(parts[:length]) in DANGEROUS for length in range(1, min(len(parts), 4) + 1))

    def _keep(self, where: dict[str, None], name: Global) -> None:
        if len(where) < MAX_NAMED:
            where.setdefault(_shown(name))

    def _is_plain(self, name: Global) -> bool:
        """Whether torch's own files name it: dtypes, layouts, functions that modules hold, classes of TorchScript."""
        own = name.module.partition(".")[0] in ("torch", "__torch__")
        return own or self._is_harmless(name) or name.path in _MAKERS

    def _note_class(self, cls: Global) -> None:
        plain = (
            self._is_harmless(cls)
            or cls.path in _MAKERS
            or cls.module.startswith(("torch.nn.", "torch.ao.nn.", "__torch__"))
        )
        if not plain and not self._is_dangerous(cls):
            self._keep(self.classes, cls)
            self._named.pop(_shown(cls), None)

    # --- what is allowed ----------------------------------------------------------------------------------------

    def ordered_dict(self, *args: Any) -> Pairs:
        """Return a mapping; Python 2 pickled its items as a list of lists."""
        made = Pairs()
        for items in args[:1]:
            if isinstance(items, Pairs):
                made.items.extend(items.items)
            elif isinstance(items, list | tuple):
                made.items.extend(
                    (pair[0], pair[1]) for pair in items if isinstance(pair, list | tuple) and len(pair) == 2
                )
        return made

    def default_dict(self, *_: Any) -> Pairs:
        """Return a mapping, its factory forgotten."""
        return Pairs()

    def reconstruct(self, cls: Any, base: Any = None, state: Any = None, *_: Any) -> Any:
        """Return an object of a class, as Python 2 and protocols 0 and 1 make one."""
        made = self.new(cls, ())
        if isinstance(made, Opaque) and isinstance(state, Pairs):
            made.pairs.extend(state.items)
        if isinstance(made, Opaque) and isinstance(state, list | tuple):
            made.items.extend(state)
        return made

    def size(self, *args: Any) -> tuple[Any, ...]:
        """Return a `torch.Size` as a tuple."""
        return tuple(args[0]) if args and isinstance(args[0], list | tuple) else ()

    def device(self, kind: Any = "cpu", index: Any = None, *_: Any) -> str:
        """Return a `torch.device` as text."""
        return f"{kind}:{index}" if type(index) is int else str(kind) if isinstance(kind, str) else "?"

    def tensor(self, storage: Any, offset: Any, size: Any, stride: Any, grad: Any = False, *_: Any) -> Tensor:
        """Return what `_rebuild_tensor_v2` makes."""
        return _strided(storage, offset, size, stride, grad, None)

    def tensor_v3(
        self, storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
    ) -> Tensor:
        """Return what `_rebuild_tensor_v3` makes: a tensor of a dtype that has no storage class of its own."""
        return _strided(storage, offset, size, stride, grad, _dtype(dtype))

    def quantized(self, storage: Any, offset: Any, size: Any, stride: Any, params: Any, grad: Any, *_: Any) -> Tensor:
        """Return what `_rebuild_qtensor` makes."""
        return replace(_strided(storage, offset, size, stride, grad, None), kind="quantized")

    def parameter(self, data: Any, grad: Any = True, *_: Any) -> Any:
        """Return what `_rebuild_parameter` makes: the tensor, with the parameter's flag."""
        return replace(data, requires_grad=bool(grad)) if isinstance(data, Tensor) else data

    def sparse(self, layout: Any, data: Any, *_: Any) -> Tensor:
        """Return what `_rebuild_sparse_tensor` makes: (indices, values, size) or (rows, columns, values, size)."""
        parts = [part for part in data if isinstance(part, Tensor)]
        sizes = [part for part in data if isinstance(part, list | tuple)]
        if len(parts) < 2 or len(sizes) != 1:
            raise BadTensorError("a sparse tensor without its parts")
        return Tensor(_shape(sizes[0]), parts[-1].dtype, _sum(parts), device=parts[-1].device, kind="sparse")

    def meta(self, dtype: Any, size: Any, stride: Any, grad: Any, *_: Any) -> Tensor:
        """Return what `_rebuild_meta_tensor_no_storage` makes."""
        shape, name = _shape(size), _dtype(dtype)
        return Tensor(shape, name, 0, requires_grad=True if grad is True else None, device="meta", kind="meta")

    def wrapper(
        self, cls: Any, dtype: Any, size: Any, stride: Any, offset: Any, layout: Any, device: Any, grad: Any, *_: Any
    ) -> Tensor:
        """Return what `_rebuild_wrapper_subclass` makes: a tensor whose elements are in others, set as its state."""
        if isinstance(cls, Global):
            self._note_class(cls)
        flag = True if grad is True else None
        return Tensor(_shape(size), _dtype(dtype), None, requires_grad=flag, device=_decoded(device), kind="wrapper")

    def from_type(self, function: Any, cls: Any, args: Any, state: Any = None, *_: Any) -> Any:
        """Return what `_rebuild_from_type_v2` makes: the tensor that `function(*args)` makes, of another class."""
        made = self.call(function, args)
        if isinstance(cls, Global):
            self._note_class(cls)
        if isinstance(made, Tensor) and made.kind == "wrapper":
            return replace(made, nbytes=_sum(list(_tensors_below(state))))
        if (
            isinstance(made, Tensor)
            and isinstance(cls, Global)
            and cls.name in ("Parameter", "UninitializedParameter")
        ):
            return replace(made, requires_grad=bool(made.requires_grad))
        return made

    def from_numpy(self, data: Any, dtype: Any, device: Any, grad: Any, *_: Any) -> Tensor:
        """Return what `_rebuild_device_tensor_from_numpy`, or `…_from_cpu_tensor`, makes."""
        data = resolved(data)
        if not isinstance(data, Tensor):
            raise BadTensorError("a tensor made of no array")
        flag = True if grad is True else None
        name = _dtype(dtype) or data.dtype
        nbytes = dtype_bytes(name, prod(data.shape)) if name else None
        return Tensor(data.shape, name, nbytes, requires_grad=flag, device=_decoded(device), data=data.data)

    def nested(self, buffer: Any, sizes: Any, *_: Any) -> Tensor:
        """Return what `_rebuild_nested_tensor` makes: shown as its buffer, whose values it holds."""
        if not isinstance(buffer, Tensor):
            raise BadTensorError("a nested tensor without its buffer")
        return replace(buffer, kind="nested")

    def first(self, value: Any = None, *_: Any) -> Any:
        """Return the first argument: what TorchScript's typed lists and type tags are made of."""
        return value

    def numpy_dtype(self, code: Any = None, *_: Any) -> Opaque:
        """Return a numpy dtype; its state then says the order of bytes."""
        return Opaque(Global("numpy", "dtype"), (_decoded(code),))

    def numpy_array(self, *_: Any) -> Opaque:
        """Return an array that is yet empty; its state then says all."""
        return Opaque(Global("numpy", "ndarray"))

    def numpy_buffer(self, data: Any, dtype: Any, shape: Any, *_: Any) -> Any:
        """Return what numpy's `_frombuffer` makes."""
        return _numpy_tensor(data, dtype, shape)


def _strided(storage: Any, offset: Any, size: Any, stride: Any, grad: Any, dtype: str | None) -> Tensor:
    """Return a plain tensor, its place in the storage checked."""
    if isinstance(storage, Broken):
        raise BadTensorError(storage.reason)
    if not isinstance(storage, Storage):
        raise BadTensorError("a tensor without a storage")
    shape, steps = _shape(size), _shape(stride, product=False)
    if len(shape) != len(steps) or not _is_size(offset):
        raise BadTensorError("a shape and a stride that do not fit")
    dtype = dtype or storage.dtype
    bits, numel = BITS.get(dtype, 8), prod(shape)
    if numel:
        last = offset + sum((length - 1) * step for length, step in zip(shape, steps, strict=True))
        if (last + 1) * bits > storage.numel * BITS[storage.dtype]:
            raise BadTensorError("a shape that its storage is too small for")
    flag = True if grad is True else None
    return Tensor(shape, dtype, dtype_bytes(dtype, numel), storage, offset, steps, flag, storage.device)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _shape(value: Any, product: bool = True) -> tuple[int, ...]:
    """Return a shape or a stride.

    Raises:
        BadTensorError: It is none.
    """
    if not isinstance(value, list | tuple) or len(value) > MAX_DIMENSIONS or not all(map(_is_size, value)):
        raise BadTensorError("a shape that is no list of sizes")
    if product and prod(value) > MAX_ELEMENTS:
        raise BadTensorError("a shape larger than any tensor")
    return tuple(value)


def _dtype(value: Any) -> str | None:
    if isinstance(value, Global) and value.module == "torch":
        return value.name if value.name in BITS else None
    return None


def _decoded(value: Any) -> Any:
    """Return text that Python 2 pickled as bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _sum(parts: list[Tensor]) -> int | None:
    sizes = [part.nbytes for part in parts]
    return sum(size for size in sizes if size is not None) if sizes and None not in sizes else None


def _tensors_below(value: Any, left: int = 200) -> Iterator[Tensor]:
    """Yield the tensors in an object's attributes, a few levels down; `left` bounds the search."""
    waiting = [value]
    while waiting and left > 0:
        left -= 1
        item = waiting.pop()
        if isinstance(item, Tensor):
            yield item
        elif isinstance(item, Pairs):
            waiting.extend(part for _, part in item.items[:50])
        elif isinstance(item, Opaque):
            waiting.append(item.state)
        elif isinstance(item, list | tuple):
            waiting.extend(item[:50])


def resolved(value: Any) -> Any:
    """Return a value, or the tensor that it is: a numpy array is known from its state, set after it is made.

    That is (version, shape, dtype, whether in Fortran's order, data), in old files without the version.
    """
    if not isinstance(value, Opaque) or not isinstance(value.maker, Global) or value.maker.path != "numpy.ndarray":
        return value
    state = value.state
    if not isinstance(state, tuple) or len(state) not in (4, 5):
        return value
    try:
        return _numpy_tensor(state[-1], state[-3], state[-4], fortran=state[-2] is True)
    except BadTensorError as error:
        return Broken(str(error))


def _numpy_tensor(data: Any, dtype: Any, shape: Any, fortran: bool = False) -> Any:
    size = _shape(shape)
    code = dtype.args[0] if isinstance(dtype, Opaque) and dtype.args else None
    name = NUMPY_DTYPES.get(code.lstrip("<>=|")) if isinstance(code, str) else None
    if name is None:
        return Opaque(Global("numpy", "ndarray"))  # of objects, texts, records: no tensor
    numel = prod(size)
    nbytes = dtype_bytes(name, numel)
    held = data.nbytes if isinstance(data, Skipped) else len(data) if isinstance(data, bytes) else nbytes
    if held != nbytes:
        raise BadTensorError("an array whose data has another length than its shape")
    order = dtype.state[1] if isinstance(dtype.state, tuple) and len(dtype.state) > 1 else "<"
    kind = "fortran" if fortran and len(size) > 1 else "numpy"
    raw = data if isinstance(data, Skipped | bytes) else None
    return Tensor(size, name, nbytes, device="cpu", data=raw, kind=kind, big_endian=order == ">")


_Maker = Callable[..., Any]

_CLASSES = {
    "torch.Size",
    "torch.device",
    "torch.nn.parameter.Parameter",
    "torch.nn.parameter.Buffer",
    "collections.OrderedDict",
    "collections.defaultdict",
}
"""Classes that NEWOBJ may make as a call would."""

_MAKERS: dict[str, _Maker] = {
    "collections.OrderedDict": TorchRules.ordered_dict,
    "collections.defaultdict": TorchRules.default_dict,
    "copyreg._reconstructor": TorchRules.reconstruct,
    "copy_reg._reconstructor": TorchRules.reconstruct,
    "numpy.core.multiarray._reconstruct": TorchRules.numpy_array,
    "numpy._core.multiarray._reconstruct": TorchRules.numpy_array,
    "numpy.core.numeric._frombuffer": TorchRules.numpy_buffer,
    "numpy._core.numeric._frombuffer": TorchRules.numpy_buffer,
    "numpy.dtype": TorchRules.numpy_dtype,
    "torch.Size": TorchRules.size,
    "torch.device": TorchRules.device,
    "torch._utils._rebuild_tensor": TorchRules.tensor,
    "torch._utils._rebuild_tensor_v2": TorchRules.tensor,
    "torch._utils._rebuild_tensor_v3": TorchRules.tensor_v3,
    "torch._utils._rebuild_qtensor": TorchRules.quantized,
    "torch._utils._rebuild_parameter": TorchRules.parameter,
    "torch._utils._rebuild_parameter_with_state": TorchRules.parameter,
    "torch._utils._rebuild_sparse_tensor": TorchRules.sparse,
    "torch._utils._rebuild_sparse_csr_tensor": TorchRules.sparse,
    "torch._utils._rebuild_meta_tensor_no_storage": TorchRules.meta,
    "torch._utils._rebuild_wrapper_subclass": TorchRules.wrapper,
    "torch._utils._rebuild_nested_tensor": TorchRules.nested,
    "torch._utils._rebuild_device_tensor_from_numpy": TorchRules.from_numpy,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": TorchRules.from_numpy,
    "torch._utils._rebuild_xla_tensor": TorchRules.from_numpy,
    "torch._tensor._rebuild_from_type": TorchRules.from_type,
    "torch._tensor._rebuild_from_type_v2": TorchRules.from_type,
    "torch.tensor._rebuild_from_type": TorchRules.from_type,
    "torch.jit._pickle.build_boollist": TorchRules.first,
    "torch.jit._pickle.build_doublelist": TorchRules.first,
    "torch.jit._pickle.build_intlist": TorchRules.first,
    "torch.jit._pickle.build_tensorlist": TorchRules.first,
    "torch.jit._pickle.restore_type_tag": TorchRules.first,
    "torch.nn.parameter.Parameter": TorchRules.parameter,
    "torch.nn.parameter.Buffer": TorchRules.parameter,
}
"""The functions that are understood, by their names."""
