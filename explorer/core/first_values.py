"""The first values of a tensor in one line, as torch begins to print them. Pure."""

from __future__ import annotations

from explorer.core.asking import Ask
from explorer.core.elements import decode
from explorer.core.tensor_text import Printed, tensor_text

FIRST = 3
"""Values that are shown: as many as torch prints at the start of a row."""


def first_values(ask: Ask, index: int) -> str:
    """Return the first values of a tensor as torch begins to print them: `tensor([[-0.0200, -0.0034, -0.0147, …`.

    Raises:
        ParamxError: The tensor has no values.
    """
    facts = ask("tensor", {"index": index})
    shape = tuple(facts["shape"])
    if 0 in shape:
        return "tensor([])"
    count = min(FIRST, shape[-1]) if shape else 1
    selection = [*([(0, 1)] for _ in shape[:-1]), [(0, count)]] if shape else []
    values = decode(facts["dtype"], ask("values", {"index": index, "selection": selection}))
    numbers = tensor_text(Printed((count,), facts["dtype"]), values).removeprefix("tensor([").partition("]")[0]
    if not shape:
        return f"tensor({numbers})"
    more = ", …" if shape[-1] > count else "])" if len(shape) == 1 else "], …"
    return f"tensor({'[' * len(shape)}{numbers}{more}"
