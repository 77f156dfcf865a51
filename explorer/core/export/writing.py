"""Writes groups in one of the forms of the table `EXPORTS`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from explorer.core.export import EXPORTS, torch_two
from explorer.core.export.sheet import Sheet
from explorer.core.groups import Assignment, Grouper
from explorer.core.lints import lint
from explorer.core.param import Model
from explorer.core.rules import Grouping


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
    write: Callable[[Sheet], str] = import_module(EXPORTS[form].module).write
    return write(Sheet(model, grouping, done, lint(model, grouping, done)))
