"""Groups as TOML, which `--groups` reads back."""

from __future__ import annotations

from explorer.core.export.sheet import Sheet
from explorer.core.grouping_file import dumps


def write(sheet: Sheet) -> str:
    """Return the file that `paramx TARGET --groups FILE` reads."""
    return "\n".join(sheet.comments()) + "\n\n" + dumps(sheet.grouping)
