"""A group made of a row of the tree: the module, or the tensor, that is to be trained otherwise than the rest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from explorer.core.patterns import parse
from explorer.core.rules import Grouping, Rule

if TYPE_CHECKING:
    from explorer.core.tree import Tree


def row_terms(tree: Tree, node: int, last: int) -> tuple[str, ...]:
    """Return the terms that match what a row holds, and nothing else: one, and the other names of tied tensors.

    Args:
        tree: The tree.
        node: The row's module or parameter; of a `×12` row the first member.
        last: Of such a row the last member; else `node`.
    """
    held = parse(term := _row_term(tree, node, last)).test
    aliases = tree.model.aliases
    indices = tree.leaf_order[tree.leaf_starts[node] : tree.leaf_ends[last]] if aliases else ()
    others = (name for index in indices for name in aliases.get(index, ()))
    return (term, *(f"name:{name}" for name in others if not held.accepts(name, None, None)))


def _row_term(tree: Tree, node: int, last: int) -> str:
    path = tree.path(node)
    if last == node:
        return f"name:{path}" if tree.params[node] >= 0 else _below(path)
    parent = tree.parents[node]
    if parent and (parent + 1, tree.ends[parent]) == (node, tree.ends[last]):  # all that it holds
        return _below(tree.path(parent))
    above = re.escape(path.removesuffix(tree.labels[node]))
    numbers = "|".join(tree.labels[member] for member in tree.children(parent) if node <= member <= last)
    return f"re:^{above}(?:{numbers}){'$' if tree.params[node] >= 0 else re.escape('.')}"


def _below(path: str) -> str:
    """Return the term of what a module holds; what a shell pattern would read otherwise stands in brackets."""
    literal = re.sub("[*?[]", r"[\g<0>]", path)
    return f"glob:{literal}.*"


def row_name(tree: Tree, node: int, last: int) -> str:
    """Return what a group of a row is called: its last label, with the one above where that says too little."""
    labels = tree.path(node).split(".")[: -1 if last != node else None]
    alone = labels[-1] if labels else ""
    return ".".join(labels[-2:]) if tree.params[node] >= 0 or alone.isdigit() else alone


def add_row(grouping: Grouping, held: bytes, name: str, terms: tuple[str, ...]) -> tuple[Grouping, int]:
    """Return a grouping with a group for a row, and its position.

    It stands above the lowest group that the row is in now, with that group's options: what the groups above have
    of the row, norms and biases for the most part, stays there.

    Args:
        grouping: The groups.
        held: The group of each parameter of the row; never empty.
        name: What the new one is called, where no other is.
        terms: What it matches.

    Raises:
        ValueError: There are as many groups as there may be.
    """
    at = min(max(held), grouping.catch_all)
    rule = Rule(grouping.fresh_name(name or "group"), terms, grouping.rules[at].options)
    return grouping.add_rule(rule, at), at
