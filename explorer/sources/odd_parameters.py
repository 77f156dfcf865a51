"""What a parameter really is, where torch's `.shape`, `.numel()` and `.dtype` say something else, or fail.

Each kind is told by what its library leaves on the object, so that none of those libraries is imported. A shape is
the one that the model computes with: whole where a rank holds a part, unpacked where a byte holds two values. What
torch says of the same object goes into the note, and the loop that counts what torch says stays in `Counters.loop`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from explorer.core.text import plural, visible

if TYPE_CHECKING:
    import torch

FLAT_NAMED = 4
"""Parameters that the note of an FSDP flat parameter names; what is more is counted."""

UNKNOWN_BYTES = -1
"""Bytes of what can't be measured."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One parameter as the table shows it."""

    shape: tuple[int, ...] | None
    """As the model computes with it; `None` if it has none yet, or is ragged."""
    numel: int
    """Elements of that shape."""
    dtype: str | None
    """Type of an element: torch's name without its prefix, or the quantization's (`nf4`)."""
    nbytes: int
    """Bytes of the whole as it is stored; `UNKNOWN_BYTES` where that can't be told."""
    device: str | None
    """Where torch says it is."""
    note: str = ""
    """What else must be said; empty for an ordinary parameter."""


def facts_of(parameter: torch.Tensor, flat: Mapping[int, tuple[int, ...]]) -> Facts:
    """Return what a parameter really is; never raises.

    Args:
        parameter: The parameter.
        flat: Shapes of FSDP1's original parameters, see `fsdp_shapes`.
    """
    try:
        # Asking for an attribute that is not there takes longer than all else; 150,000 parameters are asked.
        ordinary = type(parameter).__name__ == "Parameter" and not parameter.__dict__.keys() - HARMLESS
        for kind in LAYOUTS if ordinary else KINDS:
            facts = kind(parameter)
            if facts is not None:
                break
        else:
            facts = _plain(parameter)
        if id(parameter) in flat:
            facts = _fsdp_original(parameter, flat[id(parameter)])
        return facts
    except Exception as error:  # a tensor subclass may raise on anything that it is asked
        return Facts(
            None, 0, None, UNKNOWN_BYTES, None, f"it can't be read: {visible(f'{type(error).__name__}: {error}')}"
        )


def said_numel(parameter: torch.Tensor) -> int:
    """Return what `parameter.numel()` says, 0 where it says nothing: what the counting loop adds up."""
    try:
        return int(parameter.numel())
    except Exception:  # uninitialized, or ragged with a symbolic size
        return 0


def _plain(parameter: torch.Tensor) -> Facts:
    numel = parameter.numel()
    return Facts(
        tuple(parameter.shape),
        numel,
        _dtype(parameter.dtype),
        numel * parameter.dtype.itemsize,
        str(parameter.device),
    )


def _dtype(dtype: object) -> str:
    return visible(str(dtype).removeprefix("torch."))


def _dims(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape)) if len(shape) else "scalar"


def _said(parameter: torch.Tensor) -> str:
    return f"torch says {_dims(tuple(parameter.shape))} {_dtype(parameter.dtype)}"


def lazy(parameter: torch.Tensor) -> Facts | None:
    """A parameter of a lazy module, before its first input: `.shape` raises (torch 2.13, `nn/parameter.py`)."""
    from torch.nn.parameter import is_lazy

    if not is_lazy(parameter):
        return None
    return Facts(
        None, 0, _dtype(parameter.dtype), 0, str(parameter.device), "lazy: it gets its shape from the first input"
    )


def zero3(parameter: torch.Tensor) -> Facts | None:
    """A parameter that DeepSpeed ZeRO-3 has partitioned: `.shape` is (0,) and `ds_shape` the truth.

    Source: DeepSpeed, `runtime/zero/partition_parameters.py`, `_convert_to_deepspeed_param`: `ds_shape`, `ds_numel`,
    `ds_status` (an enum), `ds_tensor` (this rank's part).
    """
    shape = getattr(parameter, "ds_shape", None)
    if shape is None:
        return None
    numel = int(getattr(parameter, "ds_numel", math.prod(shape)))
    status = getattr(parameter, "ds_status", None)
    state = str(getattr(status, "name", status)).lower().replace("_", " ")
    part = getattr(parameter, "ds_tensor", None)
    here = f", {plural(int(part.numel()), 'element')} on this rank" if part is not None else ""
    return Facts(
        tuple(map(int, shape)),
        numel,
        _dtype(parameter.dtype),
        numel * parameter.dtype.itemsize,
        str(parameter.device),
        f"DeepSpeed ZeRO-3, {visible(state)}{here}; {_said(parameter)}",
    )


def flat_parameter(parameter: torch.Tensor) -> Facts | None:
    """The one parameter that FSDP1 makes of many (torch 2.13, `distributed/fsdp/_flat_param.py`, `FlatParameter`)."""
    fqns, numels = getattr(parameter, "_fqns", None), getattr(parameter, "_numels", None)
    if fqns is None or numels is None:
        return None
    inside = [(str(fqn), int(numel)) for fqn, numel in zip(fqns, _unpadded(parameter, numels), strict=False)]
    numel = sum(count for _, count in inside)
    named = ", ".join(visible(fqn) for fqn, _ in inside[:FLAT_NAMED])
    more = f" and {len(inside) - FLAT_NAMED} more" if len(inside) > FLAT_NAMED else ""
    return Facts(
        (numel,),
        numel,
        _dtype(parameter.dtype),
        numel * parameter.dtype.itemsize,
        str(parameter.device),
        f"FSDP: {plural(len(inside), 'parameter')} made one ({named}{more}); {_said(parameter)} on this rank",
    )


def _unpadded(parameter: Any, numels: Sequence[int]) -> Sequence[int]:
    """Return the elements of each original parameter: `_numels` without padding is as long as `_fqns`."""
    shapes = getattr(parameter, "_shapes", None)
    return [math.prod(shape) for shape in shapes] if shapes else numels


def fsdp_shapes(modules: Sequence[object]) -> dict[int, tuple[int, ...]]:
    """Return the true shape of each parameter that FSDP1 shows as a flat piece (`use_orig_params=True`), by identity.

    Source: torch 2.13, `distributed/fsdp/_flat_param.py`: `FlatParamHandle.flat_param` with `_params`, `_shapes`.
    """
    shapes: dict[int, tuple[int, ...]] = {}
    for module in modules:
        handle = module.__dict__.get("_handle") if hasattr(module, "__dict__") else None
        flat = getattr(handle, "flat_param", None)
        for parameter, shape in zip(getattr(flat, "_params", None) or (), getattr(flat, "_shapes", ()), strict=False):
            shapes[id(parameter)] = tuple(map(int, shape))
    return shapes


def _fsdp_original(parameter: torch.Tensor, shape: tuple[int, ...]) -> Facts:
    numel = math.prod(shape)
    note = "FSDP" if tuple(parameter.shape) == shape else f"FSDP; {_said(parameter)} on this rank"
    return Facts(
        shape,
        numel,
        _dtype(parameter.dtype),
        numel * parameter.dtype.itemsize,
        str(parameter.device),
        note,
    )


def dtensor(parameter: torch.Tensor) -> Facts | None:
    """A DTensor, as FSDP2 and tensor parallelism make them: `.shape` is global, this rank holds a part.

    Source: torch 2.13, `distributed/tensor/_api.py`: `_local_tensor`, `placements`, `device_mesh`.
    """
    local, placements = getattr(parameter, "_local_tensor", None), getattr(parameter, "placements", None)
    if local is None or placements is None:
        return None
    mesh = getattr(parameter, "device_mesh", None)
    sizes = f" on a mesh of {_dims(tuple(mesh.shape))}" if mesh is not None else ""
    how = ", ".join(str(placement) for placement in placements)
    note = f"DTensor, {how}{sizes}: this rank holds {_dims(tuple(local.shape))}"
    return replace(_plain(parameter), note=visible(note))


def four_bit(parameter: torch.Tensor) -> Facts | None:
    """A 4-bit parameter of bitsandbytes: packed uint8, `quant_state.shape` is the truth.

    Source: bitsandbytes, `nn/modules.py`, `Params4bit`; `functional.py`,
    `QuantState` (`shape`, `quant_type`, `dtype`).
    Its bytes are those of the packed values. The scales of each block (`absmax`; nested ones have more in `state2`)
    are in no parameter and no buffer, and the note counts them.
    """
    if not hasattr(parameter, "quant_state"):
        return None
    state = parameter.quant_state
    if state is None:
        return replace(_plain(parameter), note="bitsandbytes 4-bit, not quantized yet: .to(device) does it")
    shape = tuple(map(int, state.shape))
    scales = [getattr(state, "absmax", None), getattr(getattr(state, "state2", None), "absmax", None)]
    return Facts(
        shape,
        math.prod(shape),
        visible(str(getattr(state, "quant_type", "4-bit"))),
        parameter.numel() * parameter.dtype.itemsize,
        str(parameter.device),
        f"bitsandbytes 4-bit, computed in {_dtype(getattr(state, 'dtype', '?'))}; {_said(parameter)}, packed"
        f"{_apart(*scales)}",
    )


def eight_bit(parameter: torch.Tensor) -> Facts | None:
    """An 8-bit parameter of bitsandbytes: its shape is true, its scales are apart (`nn/modules.py`, `Int8Params`)."""
    if not (hasattr(parameter, "CB") and hasattr(parameter, "SCB")):
        return None
    if parameter.dtype.itemsize > 1:
        return replace(_plain(parameter), note="bitsandbytes 8-bit, not quantized yet: .to(device) does it")
    scales = _apart(parameter.SCB) or ", scales apart"  # the layer takes them to itself when it first runs
    return replace(_plain(parameter), note=f"bitsandbytes 8-bit{scales}")


def _apart(*scales: torch.Tensor | None) -> str:
    """Say how many bytes the scales of a quantized parameter take that its own bytes are without."""
    nbytes = sum(scale.numel() * scale.dtype.itemsize for scale in scales if scale is not None)
    return f", {plural(nbytes, 'byte')} of scales apart" if nbytes else ""


def subclass(parameter: torch.Tensor) -> Facts | None:
    """A tensor made of tensors, as torchao's are: its shape is what the model sees, its bytes those of the parts.

    Source: torch 2.13, `utils/_python_dispatch.py`, `is_traceable_wrapper_subclass`: `__tensor_flatten__`.
    """
    if not hasattr(parameter, "__tensor_flatten__"):
        return None
    parts = _parts(parameter)
    told = ", ".join(f"{name} {_dims(tuple(part.shape))} {_dtype(part.dtype)}" for name, part in parts)
    nbytes = sum(part.numel() * part.dtype.itemsize for _, part in parts)
    note = visible(f"{type(parameter).__name__}, stored as {told}")
    if parameter.is_nested:
        return _ragged(parameter, nbytes)
    return replace(_plain(parameter), nbytes=nbytes, note=note)


def _parts(tensor: Any, path: str = "") -> list[tuple[str, torch.Tensor]]:
    """Return the plain tensors that a tensor is made of, each with its attribute path."""
    if not hasattr(tensor, "__tensor_flatten__"):
        return [(path, tensor)]
    names, _ = tensor.__tensor_flatten__()
    return [part for name in names for part in _parts(getattr(tensor, name), f"{path}.{name}" if path else name)]


def nested(parameter: torch.Tensor) -> Facts | None:
    """A nested tensor of the strided layout: a list of tensors of different shapes in one buffer."""
    if not parameter.is_nested:
        return None
    values = parameter.values() if hasattr(parameter, "values") else parameter
    return _ragged(parameter, values.numel() * parameter.dtype.itemsize)


def _ragged(parameter: torch.Tensor, nbytes: int) -> Facts:
    shapes = [tuple(part.shape) for part in parameter.unbind()]
    inside = f"nested: {plural(len(shapes), 'tensor')} of {', '.join(map(_dims, shapes[:FLAT_NAMED]))}"
    inside += ", …" if len(shapes) > FLAT_NAMED else ""
    numel = sum(map(math.prod, shapes))
    return Facts(None, numel, _dtype(parameter.dtype), nbytes, str(parameter.device), inside)


def sparse(parameter: torch.Tensor) -> Facts | None:
    """A sparse tensor: its shape is the dense one; its bytes are those of the values and indices that it holds."""
    import torch

    layout = parameter.layout
    if layout is torch.strided or parameter.is_nested:
        return None
    data = parameter.detach()
    parts: list[torch.Tensor]
    if layout is torch.sparse_coo:
        parts = [data._indices(), data._values()]
    elif layout in (torch.sparse_csr, torch.sparse_bsr):
        parts = [data.crow_indices(), data.col_indices(), data.values()]
    elif layout in (torch.sparse_csc, torch.sparse_bsc):
        parts = [data.ccol_indices(), data.row_indices(), data.values()]
    else:
        return replace(_plain(parameter), nbytes=UNKNOWN_BYTES, note=f"layout {_dtype(layout)}")
    nbytes = sum(part.numel() * part.dtype.itemsize for part in parts)
    held = plural(int(parts[-1].numel()), "value")
    return replace(_plain(parameter), nbytes=nbytes, note=f"{_dtype(layout)}: {held} held, the rest is 0")


def packed(parameter: torch.Tensor) -> Facts | None:
    """A dtype whose element is a byte that holds several values along the last dimension: torch counts the bytes."""
    values = VALUES_A_BYTE.get(_dtype(parameter.dtype))
    if values is None:
        return None
    plain, said = _plain(parameter), tuple(parameter.shape)
    shape = (*said[:-1], said[-1] * values) if said else said
    note = f"{values} values a byte; {_said(parameter)}"
    return replace(plain, shape=shape, numel=plain.numel * values, note=note)


VALUES_A_BYTE: Mapping[str, int] = {"float4_e2m1fn_x2": 2, "bits1x8": 8, "bits2x4": 4, "bits4x2": 2}
"""Values in one element of torch's packed dtypes, whose shapes count the packed elements (torch 2.13,
`c10/core/ScalarType.h`). safetensors counts the values in its shapes, as here."""


def expanded(parameter: torch.Tensor) -> Facts | None:
    """A tensor that `expand` made: along a dimension of stride 0 the elements are one and the same."""
    if parameter.is_contiguous():
        return None
    plain = _plain(parameter)
    numel = math.prod(size for size, stride in zip(parameter.shape, parameter.stride(), strict=True) if stride)
    if numel == plain.numel:
        return None
    nbytes = numel * parameter.dtype.itemsize
    note = f"its {plural(plain.numel, 'element')} share {plural(nbytes, 'byte')}"
    return replace(plain, nbytes=nbytes, note=note)


LAYOUTS: tuple[Callable[[Any], Facts | None], ...] = (nested, sparse, packed, expanded)
"""What recognizes each kind that a bare `Parameter` may be; the first that does tells it."""

KINDS: tuple[Callable[[Any], Facts | None], ...] = (
    lazy,
    zero3,
    flat_parameter,
    dtensor,
    four_bit,
    eight_bit,
    subclass,
    *LAYOUTS,
)
"""What recognizes each kind; the first that does tells it. A new kind is one entry."""

HARMLESS = frozenset({"_is_hf_initialized"})
"""Attributes that libraries leave on ordinary parameters."""
