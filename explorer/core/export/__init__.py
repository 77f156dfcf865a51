"""Exports groups: as Python for a training script, as JSON, as TOML.

A new form is one file and one entry in `EXPORTS`: the command, the export screen and their tests read that table.
"""

from __future__ import annotations

from typing import NamedTuple


class Export(NamedTuple):
    """One form."""

    title: str
    """What it is, for a menu."""
    file: str
    """Name of the file that is suggested for it; each form has its own."""
    module: str
    """Module whose `write` makes the text of a `Sheet`; imported only when this form is written."""

    @property
    def suffix(self) -> str:
        """The file's: `.py`."""
        return self.file[self.file.rindex(".") :]


EXPORTS: dict[str, Export] = {
    "torch": Export("PyTorch, two groups", "two_groups.py", "explorer.core.export.torch_two"),
    "torch-groups": Export("PyTorch, any number of groups", "param_groups.py", "explorer.core.export.torch_groups"),
    "torch-named": Export(
        "PyTorch, groups of named parameters", "named_groups.py", "explorer.core.export.torch_named"
    ),
    "trainer": Export("Hugging Face Trainer", "trainer_groups.py", "explorer.core.export.trainer"),
    "lightning": Export("Lightning module", "lightning_groups.py", "explorer.core.export.lightning"),
    "json": Export("JSON, with each group's parameters", "param_groups.json", "explorer.core.export.groups_json"),
    "toml": Export("TOML, for paramx --groups", "param_groups.toml", "explorer.core.export.groups_toml"),
}
"""Every form by name, which is what `--export` takes. Nothing of them is imported here: `--help` tells the names."""
