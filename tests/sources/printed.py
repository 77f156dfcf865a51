"""Prints tensors of an open target as the screen does."""

from __future__ import annotations

from explorer.core.elements import decode
from explorer.core.tensor_text import Printed, tensor_text
from explorer.core.windows import corners
from explorer.sources import Opened


def shown(served: Opened, index: int) -> str:
    """Return a tensor as the screen prints it, from what the answers say."""
    facts = served.answers["tensor"]({"index": index})
    shape = tuple(facts["shape"])
    printed = Printed(shape, facts["dtype"], facts["device"], facts["requires_grad"], facts["is_parameter"])
    data = served.answers["values"]({"index": index, "selection": corners(shape)})
    return tensor_text(printed, decode(facts["dtype"], data))
