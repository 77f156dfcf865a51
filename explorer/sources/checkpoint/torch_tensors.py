"""What torch's pickles describe: storages and tensors, each checked before it counts: a stranger wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from explorer.sources.checkpoint.dtypes import BITS, dtype_bytes
from explorer.sources.checkpoint.limits import MAX_DIMENSIONS, MAX_ELEMENTS
from explorer.sources.checkpoint.pickle_reader import Global, Opaque, Pairs, Skipped

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

NESTED_FILE = "torch.storage._load_from_bytes"
"""What a storage is rebuilt by that `pickle.dump` wrote: it takes a whole file of `torch.save` as bytes."""

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


def strided(storage: Any, offset: Any, size: Any, stride: Any, grad: Any, dtype: str | None) -> Tensor:
    """Return a plain tensor, its place in the storage checked."""
    if isinstance(storage, Broken):
        raise BadTensorError(storage.reason)
    if isinstance(storage, Opaque) and isinstance(storage.maker, Global) and storage.maker.path == NESTED_FILE:
        raise BadTensorError("written by pickle.dump, not torch.save: its values can't be read without running it")
    if not isinstance(storage, Storage):
        raise BadTensorError("a tensor without a storage")
    shape, steps = sizes_of(size), sizes_of(stride, product=False)
    if len(shape) != len(steps) or not is_size(offset):
        raise BadTensorError("a shape and a stride that do not fit")
    dtype = dtype or storage.dtype
    bits, numel = BITS.get(dtype, 8), prod(shape)
    if numel:
        last = offset + sum((length - 1) * step for length, step in zip(shape, steps, strict=True))
        if (last + 1) * bits > storage.numel * BITS[storage.dtype]:
            raise BadTensorError("a shape that its storage is too small for")
    flag = True if grad is True else None
    return Tensor(shape, dtype, dtype_bytes(dtype, numel), storage, offset, steps, flag, storage.device)


def is_size(value: Any) -> bool:
    """Whether a value may be a size, an offset or a step."""
    return type(value) is int and 0 <= value < 1 << 62


def sizes_of(value: Any, product: bool = True) -> tuple[int, ...]:
    """Return a shape or a stride.

    Raises:
        BadTensorError: It is none.
    """
    if not isinstance(value, list | tuple) or len(value) > MAX_DIMENSIONS or not all(map(is_size, value)):
        raise BadTensorError("a shape that is no list of sizes")
    if product and prod(value) > MAX_ELEMENTS:
        raise BadTensorError("a shape larger than any tensor")
    return tuple(value)


def dtype_named(value: Any) -> str | None:
    """Return the name of the dtype that a global is, `None` where it is none that is known."""
    if isinstance(value, Global) and value.module == "torch":
        return value.name if value.name in BITS else None
    return None


def decoded(value: Any) -> Any:
    """Return text that Python 2 pickled as bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else value


def summed_bytes(parts: list[Tensor]) -> int | None:
    """Return the bytes of some tensors together, `None` if any one's are unknown."""
    sizes = [part.nbytes for part in parts]
    return sum(size for size in sizes if size is not None) if sizes and None not in sizes else None


def tensors_below(value: Any, left: int = 200) -> Iterator[Tensor]:
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
        return numpy_tensor(state[-1], state[-3], state[-4], fortran=state[-2] is True)
    except BadTensorError as error:
        return Broken(str(error))


def numpy_tensor(data: Any, dtype: Any, shape: Any, fortran: bool = False) -> Any:
    """Return the tensor that an array is, or a plain record where its elements are no numbers.

    Raises:
        BadTensorError: Its data is not as long as its shape says.
    """
    size = sizes_of(shape)
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
