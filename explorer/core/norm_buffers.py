"""Tells the statistics of batch norms from parameters in a table that has names only, as a bare state dict's. Pure.

`torch.save(model.state_dict())` says of no tensor whether it is a buffer, so that a ResNet's file would count 53,000
elements more than the loop over `model.parameters()`. The names, the shapes and the neighbours of these buffers are
those of torch's own norms (torch 2.13, `nn/modules/batchnorm.py`, `_NormBase`), and nothing else is saved so.
"""

from __future__ import annotations

from explorer.core.param import Model

BUFFERS = MEAN, VARIANCE, BATCHES = "running_mean", "running_var", "num_batches_tracked"
"""The buffers; the last is missing in files of torch before 0.4.1, and of norms that freeze their statistics."""

NUMBERS = ("float", "bfloat")
"""How the dtypes of mean and variance begin."""


def norm_buffers(model: Model) -> list[int]:
    """Return the rows that can only be a norm's buffers: mean and variance of one shape beside what torch saves too.

    That is a weight or a bias of their shape, or the number of batches. A tensor of which more than its name is known
    is left out.
    """
    there: dict[str, dict[str, int]] = {}
    for row, name in enumerate(model.names):
        if name.endswith(BUFFERS) and _is_open(model, row):  # of a large table few do, and nothing else is looked at
            path, _, last = name.rpartition(".")
            if last in BUFFERS:
                there.setdefault(path, {})[last] = row
    there = {path: rows for path, rows in there.items() if _are_statistics(model, rows)}
    if not there:
        return []
    shapes = {name: shape for name, shape in zip(model.names, model.shapes, strict=True) if _owner(name) in there}
    found: list[int] = []
    for path, rows in there.items():
        begin = f"{path}." if path else ""
        shape = model.shapes[rows[MEAN]]
        affine = shape in (shapes.get(f"{begin}weight"), shapes.get(f"{begin}bias"))
        if affine or BATCHES in rows:
            found += rows.values()
    return sorted(found)


def _is_open(model: Model, row: int) -> bool:
    """Whether nothing but a tensor's name says what it is."""
    return row not in model.apart and model.modules[row] is None and model.requires_grad[row] is not True


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _are_statistics(model: Model, rows: dict[str, int]) -> bool:
    """Whether tensors with these names are of a norm's shapes and dtypes."""
    if MEAN not in rows or VARIANCE not in rows:
        return False
    shapes = {model.shapes[rows[name]] for name in (MEAN, VARIANCE)}
    shape = shapes.pop()
    if shapes or shape is None or len(shape) != 1:
        return False
    if not all((model.dtypes[rows[name]] or "").startswith(NUMBERS) for name in (MEAN, VARIANCE)):
        return False
    return BATCHES not in rows or model.shapes[rows[BATCHES]] in ((), (1,))
