"""The columns of the tree-table: what each shows, how wide it is, and in which order they leave a narrow screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from explorer.core.text import UNKNOWN, shape_text, short_bytes, short_count

if TYPE_CHECKING:
    from explorer.core.param import Column, Model
    from explorer.core.view import TreeView

NAME_MIN = 26
"""Cells that the name keeps in any case before a column leaves."""

NAME_WANTED = 40
"""Cells up to which the name is given what its rows need before a column leaves."""

SHORT_COUNT = 7
"""Cells of a count in three digits: the headings Running and Params↓ are wider than any."""

MIXED = "mixed"
"""What a module's cell shows if its parameters differ."""


class TableColumn(NamedTuple):
    """One column beside the name."""

    title: str
    """Heading."""
    cell: Callable[[TreeView, int], str]
    """Text of one row."""
    right: bool
    """Whether numbers are set to the right."""


def layout(
    view: TreeView, width: int, group_names: tuple[str, ...], name_width: int
) -> list[tuple[TableColumn, int]]:
    """Return the columns that fit into `width` cells beside a name of `name_width`, each with its own width.

    Columns leave in the order of `LEAVING`. Counts stay exact while those that leave early, then the groups' names,
    can make room; a dtype that differs between parameters outlasts their last digits.
    """
    model = view.tree.model
    total = f"{model.total:,}"
    widths: dict[str, int] = {
        "Shape": min(26, max((len(shape_text(shape)) for shape in model.shapes.values), default=0)),
        "dtype": max((len(dtype or UNKNOWN) for dtype in model.dtypes.values), default=0),
        "Params": max(len(total), _widest_apart(model)),
        "Size": 8,
        "Running": len(total),
        "Device": max((len(device or UNKNOWN) for device in model.devices.values), default=0),
        "Grad": len(MIXED) if len(model.requires_grad.values) > 1 else len("yes"),
        # The number, the name, and two cells for a sign.
        "Group": min(18, 4 + max(map(len, group_names), default=0)),
    }
    chosen = [(column, max(widths[column.title], len(column.title))) for column in EXACT]
    wanted = max(NAME_MIN, min(name_width, NAME_WANTED))
    # Training memory was asked for: it stays longer than the stored size does.
    early, late = (TRAINING[:3], TRAINING[3:]) if view.shows_training else (LEAVING[:4], LEAVING[4:])
    mixed = len(model.dtypes.values) > 1
    for title in early:
        if _spare(chosen, width - wanted) < 0 and not (mixed and title == "dtype"):
            chosen = _without(chosen, title)
    if _spare(chosen, width - wanted) < 0:
        chosen = _numbered(chosen) if _spare(_numbered(chosen), width - wanted) >= 0 else _rounded(chosen)
    if _spare(chosen, width - wanted) < 0:
        chosen = _without(chosen, "dtype")
    for title in late:
        if title == "Shape" and _spare(chosen, width - NAME_MIN) < 0:
            chosen = _numbered(chosen)
        if _spare(chosen, width - NAME_MIN) < 0:
            chosen = _without(chosen, title)
    return chosen


def _without(chosen: list[tuple[TableColumn, int]], title: str) -> list[tuple[TableColumn, int]]:
    return [(column, size) for column, size in chosen if column.title != title]


def _numbered(chosen: list[tuple[TableColumn, int]]) -> list[tuple[TableColumn, int]]:
    """Return the columns with room for no more than the number of a group."""
    return [(column, len(column.title) if column.title == "Group" else size) for column, size in chosen]


def _rounded(chosen: list[tuple[TableColumn, int]]) -> list[tuple[TableColumn, int]]:
    """Return the columns with counts in three digits."""
    short = {column.title: column for column in SHORT}
    return [
        (short[column.title], SHORT_COUNT if column.title in ("Params", "Running") else size)
        for column, size in chosen
    ]


def _widest_apart(model: Model) -> int:
    """Return the width of the largest count of a tensor that is not a parameter, with its parentheses."""
    return max((len(f"({model.numels[index]:,})") for index in model.apart), default=0)


def _spare(chosen: list[tuple[TableColumn, int]], width: int) -> int:
    return width - sum(size + 1 for _, size in chosen)


def _leaf(view: TreeView, row: int) -> int:
    return view.tree.params[view.rows.nodes[row]]


def _shape(view: TreeView, row: int) -> str:
    start, end = view.leaves(row)
    if _leaf(view, row) < 0:
        return ""
    # A run of leaves has one shape by its definition.
    return shape_text(view.tree.model.shapes[view.tree.leaf_order[start]]) if end > start else ""


def _common_text(view: TreeView, column: Column[Any], row: int) -> str:
    agree, value = view.common(column, row)
    return MIXED if not agree else UNKNOWN if value is None else str(value)


def _dtype(view: TreeView, row: int) -> str:
    return _common_text(view, view.tree.model.dtypes, row)


def _device(view: TreeView, row: int) -> str:
    return _common_text(view, view.tree.model.devices, row)


def _grad(view: TreeView, row: int) -> str:
    agree, value = view.common(view.tree.model.requires_grad, row)
    return MIXED if not agree else {True: "yes", False: "no", None: UNKNOWN}[value]


def _params_exact(view: TreeView, row: int) -> str:
    return f"({view.elements(row):,})" if view.apart(row) else f"{view.numel(row):,}"


def _params(view: TreeView, row: int) -> str:
    return f"({short_count(view.elements(row))})" if view.apart(row) else short_count(view.numel(row))


def _running_exact(view: TreeView, row: int) -> str:
    return f"{view.running(row):,}"


def _running(view: TreeView, row: int) -> str:
    return short_count(view.running(row))


def _size(view: TreeView, row: int) -> str:
    return short_bytes(view.training(row) if view.shows_training else view.nbytes(row))


def _group(_view: TreeView, _row: int) -> str:
    # The table itself writes it: it alone knows the groups' names and what moved.
    return ""


LEAVING = ("Device", "Size", "Grad", "dtype", "Running", "Shape", "Group", "Params")
"""Order in which columns leave as the screen narrows. The first four leave while the name needs their place, the
others, with rounded counts, once the name is down to `NAME_MIN`; before Shape leaves, Group shrinks to its number."""

TRAINING = ("Device", "Grad", "dtype", "Running", "Shape", "Size", "Group", "Params")
"""The same order while the size column shows training memory."""

SHORT: tuple[TableColumn, ...] = (
    TableColumn("Shape", _shape, right=False),
    TableColumn("dtype", _dtype, right=False),
    TableColumn("Params", _params, right=True),
    TableColumn("Size", _size, right=True),
    TableColumn("Running", _running, right=True),
    TableColumn("Device", _device, right=False),
    TableColumn("Grad", _grad, right=False),
    TableColumn("Group", _group, right=False),
)
"""The columns with counts in three digits."""

EXACT: tuple[TableColumn, ...] = tuple(
    TableColumn(
        column.title,
        {"Params": _params_exact, "Running": _running_exact}.get(column.title, column.cell),
        column.right,
    )
    for column in SHORT
)
"""The same with counts to the last digit, where the screen is wide enough."""
