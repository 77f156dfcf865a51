"""Exports groups: as Python for a training script, as JSON, as TOML.

A new form is one function and one entry in `EXPORTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from explorer.core.export import data, frameworks, torch_groups, torch_two
from explorer.core.export.sheet import Sheet
from explorer.core.groups import Assignment, Grouper
from explorer.core.lints import lint
from explorer.core.param import Model
from explorer.core.rules import Grouping

__all__ = ["EXPORTS", "Export", "export", "same_form"]


class Export(NamedTuple):
    """One form."""

    title: str
    """What it is, for a menu."""
    file: str
    """Name of the file that is suggested for it; each form has its own."""
    write: Callable[[Sheet], str]
    """Makes the text."""

    @property
    def suffix(self) -> str:
        """The file's: `.py`."""
        return self.file[self.file.rindex(".") :]


EXPORTS: dict[str, Export] = {
    "torch": Export("PyTorch, two groups", "two_groups.py", torch_two.write),
    "torch-groups": Export("PyTorch, any number of groups", "param_groups.py", torch_groups.write),
    "torch-named": Export("PyTorch, groups of named parameters", "named_groups.py", torch_groups.write_named),
    "trainer": Export("Hugging Face Trainer", "trainer_groups.py", frameworks.write_trainer),
    "lightning": Export("Lightning module", "lightning_groups.py", frameworks.write_lightning),
    "json": Export("JSON, with each group's parameters", "param_groups.json", data.write_json),
    "toml": Export("TOML, for paramx --groups", "param_groups.toml", data.write_toml),
}
"""Every form by name."""


def same_form(form: str, grouping: Grouping) -> str:
    """Return the form that writes the same text for these groups: what is no short list needs the general one."""
    return "torch-groups" if form == "torch" and torch_two.short_terms(grouping) is None else ""


def export(form: str, model: Model, grouping: Grouping, assignment: Assignment | None = None) -> str:
    """Return groups in one of the forms of `EXPORTS`.

    Args:
        form: A key of `EXPORTS`.
        model: The model that the groups were tried on.
        grouping: The groups.
        assignment: What `Grouper.assign` made of them; worked out if left out.

    Raises:
        ParamxError: The groups say something that the form can't.
    """
    done = assignment or Grouper(model).assign(grouping)
    return EXPORTS[form].write(Sheet(model, grouping, done, lint(model, grouping, done)))
