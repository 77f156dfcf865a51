"""Groups of `(name, parameter)` pairs for torch's optimizers, which keep the names in their state."""

from __future__ import annotations

from explorer.core.export.sheet import Sheet
from explorer.core.export.torch_groups import body, maker


def write(sheet: Sheet) -> str:
    """Return the module."""
    return "\n".join([*body(sheet, named=True), "", "", *maker(sheet)]) + "\n"
