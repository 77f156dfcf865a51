"""The allow-list of torch's pickles: what stands for a storage, a tensor, a parameter; and what is refused by name.

Signatures are torch 2.13's (torch/_utils.py, torch/_tensor.py, torch/serialization.py) and those of older files that
it still reads. Every argument is a stranger's: each is checked for its type before it counts.
"""

from __future__ import annotations

import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

from explorer.sources.checkpoint.dtypes import dtype_bytes
from explorer.sources.checkpoint.pickle_reader import Global, Opaque, Pairs
from explorer.sources.checkpoint.torch_tensors import (
    STORAGE_DTYPES,
    BadTensorError,
    Broken,
    Storage,
    Tensor,
    decoded,
    dtype_named,
    is_size,
    numpy_tensor,
    resolved,
    sizes_of,
    strided,
    summed_bytes,
    tensors_below,
)

MAX_NAMED = 100
"""Most names of globals that are kept to be told."""

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


def _todays(name: Global) -> str:
    """Return a global's path as Python 3 has it: protocols 0 to 2 write Python 2's, `__builtin__.exec`.

    By the table that `pickle` itself goes by when it loads such a file.
    """
    module, own = NAME_MAPPING.get((name.module, name.name), (name.module, name.name))
    return f"{IMPORT_MAPPING.get(module, module)}.{own}"


def _shown(name: Global) -> str:
    """Return a global as it is told."""
    return _todays(name)[:1000]


def _is_torchs(name: Global) -> bool:
    """Whether a global is in a module of torch, and in no other: `torch` with `os.system` reaches through it."""
    first, *rest = name.name.split(".")
    own = name.module.partition(".")[0] in ("torch", "__torch__")
    return own and (not rest or (first[:1].isupper() and not any(part.startswith("__") for part in rest)))


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
        elif isinstance(value, Global):
            self.alter(value)
        return value

    def alter(self, name: Global) -> None:
        """Note a class, a function or a module whose own attributes or items the file wanted set."""
        self._keep(self._refused, name)

    def persistent(self, key: Any) -> Any:
        """Return the storage that a persistent id names.

        `("storage", class, key, location, numel)`, in old files with a sixth: `None`, or `(key, offset, numel)` of a
        view. `("module", class, file, source)` of very old ones stands for the class.
        """
        if not isinstance(key, tuple) or len(key) < 2:
            return Broken("a reference to a storage that is none")
        if decoded(key[0]) == "module":
            return key[1]
        if decoded(key[0]) != "storage" or len(key) < 5:
            return Broken("a reference to a storage that is none")
        _, cls, name, location, numel, *rest = key
        name, location = decoded(name), decoded(location)
        dtype = STORAGE_DTYPES.get(cls.name) if isinstance(cls, Global) and _is_torchs(cls) else None
        if dtype is None or not isinstance(name, str) or not is_size(numel):
            return Broken("a reference to a storage that is none")
        whole = Storage(name, dtype, numel, location if isinstance(location, str) else "cpu")
        known = self.storages.get(name)
        if known is None or known.nbytes < whole.nbytes:
            self.storages[name] = whole
        if rest and isinstance(rest[0], tuple) and len(rest[0]) == 3:
            _, base, size = rest[0]
            if not is_size(base) or not is_size(size) or base + size > numel:
                return Broken("a view past the end of its storage")
            return replace(whole, base=base, numel=size)
        return whole

    # --- noting -------------------------------------------------------------------------------------------------

    def _is_harmless(self, name: Global) -> bool:
        known = name.path in HARMLESS or (name.name in STORAGE_DTYPES and _is_torchs(name))
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
        return _is_torchs(name) or self._is_harmless(name) or name.path in _MAKERS

    def _note_class(self, cls: Global) -> None:
        plain = (
            self._is_harmless(cls)
            or cls.path in _MAKERS
            or (_is_torchs(cls) and cls.module.startswith(("torch.nn.", "torch.ao.nn.", "__torch__")))
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
        return strided(storage, offset, size, stride, grad, None)

    def tensor_v3(
        self, storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
    ) -> Tensor:
        """Return what `_rebuild_tensor_v3` makes: a tensor of a dtype that has no storage class of its own."""
        return strided(storage, offset, size, stride, grad, dtype_named(dtype))

    def quantized(self, storage: Any, offset: Any, size: Any, stride: Any, params: Any, grad: Any, *_: Any) -> Tensor:
        """Return what `_rebuild_qtensor` makes."""
        return replace(strided(storage, offset, size, stride, grad, None), kind="quantized")

    def parameter(self, data: Any, grad: Any = True, *_: Any) -> Any:
        """Return what `_rebuild_parameter` makes: the tensor, with the parameter's flag."""
        return replace(data, requires_grad=bool(grad)) if isinstance(data, Tensor) else data

    def sparse(self, layout: Any, data: Any, *_: Any) -> Tensor:
        """Return what `_rebuild_sparse_tensor` makes: (indices, values, size) or (rows, columns, values, size)."""
        parts = [part for part in data if isinstance(part, Tensor)]
        sizes = [part for part in data if isinstance(part, list | tuple)]
        if len(parts) < 2 or len(sizes) != 1:
            raise BadTensorError("a sparse tensor without its parts")
        return Tensor(
            sizes_of(sizes[0]), parts[-1].dtype, summed_bytes(parts), device=parts[-1].device, kind="sparse"
        )

    def meta(self, dtype: Any, size: Any, stride: Any, grad: Any, *_: Any) -> Tensor:
        """Return what `_rebuild_meta_tensor_no_storage` makes."""
        shape, name = sizes_of(size), dtype_named(dtype)
        return Tensor(shape, name, 0, requires_grad=True if grad is True else None, device="meta", kind="meta")

    def wrapper(
        self, cls: Any, dtype: Any, size: Any, stride: Any, offset: Any, layout: Any, device: Any, grad: Any, *_: Any
    ) -> Tensor:
        """Return what `_rebuild_wrapper_subclass` makes: a tensor whose elements are in others, set as its state."""
        if isinstance(cls, Global):
            self._note_class(cls)
        flag = True if grad is True else None
        return Tensor(
            sizes_of(size), dtype_named(dtype), None, requires_grad=flag, device=decoded(device), kind="wrapper"
        )

    def from_type(self, function: Any, cls: Any, args: Any, state: Any = None, *_: Any) -> Any:
        """Return what `_rebuild_from_type_v2` makes: the tensor that `function(*args)` makes, of another class."""
        made = self.call(function, args)
        if isinstance(cls, Global):
            self._note_class(cls)
        if isinstance(made, Tensor) and made.kind == "wrapper":
            return replace(made, nbytes=summed_bytes(list(tensors_below(state))))
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
        name = dtype_named(dtype) or data.dtype
        nbytes = dtype_bytes(name, prod(data.shape)) if name else None
        return Tensor(data.shape, name, nbytes, requires_grad=flag, device=decoded(device), data=data.data)

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
        return Opaque(Global("numpy", "dtype"), (decoded(code),))

    def numpy_array(self, *_: Any) -> Opaque:
        """Return an array that is yet empty; its state then says all."""
        return Opaque(Global("numpy", "ndarray"))

    def numpy_buffer(self, data: Any, dtype: Any, shape: Any, *_: Any) -> Any:
        """Return what numpy's `_frombuffer` makes."""
        return numpy_tensor(data, dtype, shape)


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
