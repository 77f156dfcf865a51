"""A group made of a row holds what the row does, and takes nothing from the groups above."""

from __future__ import annotations

import pytest

from explorer.core.groups import Grouper, Grouping, Rule
from explorer.core.param import Model
from explorer.core.row_group import add_row, row_name, row_terms
from explorer.core.tree import Tree
from explorer.core.view import TreeView


@pytest.fixture
def odd(table) -> Model:
    """Names that shell patterns and expressions would read as more than they are, and numbers that begin others."""
    names = ["a[0].w", "a[0].v", "a0.w", "a.b*.w", "a.b*.v", "a.bb.w", "a.b*c.w", "h.x.w", "ah.1.w", "p"]
    names += [*(f"h.{n}.w" for n in range(12)), *(f"k.{n}.w" for n in range(3))]
    return table([(name, (2, 2), "Linear") for name in names])


def test_the_term_of_a_row_matches_what_it_holds_and_nothing_else(odd: Model) -> None:
    grouper, view = Grouper(odd), TreeView(Tree.build(odd))
    view.open_to_fit(100)
    view.set_groups(bytes(odd.names[at].startswith(("h.3.", "h.4.")) for at in range(len(odd))))
    seen = set()
    for one_by_one in (False, True):
        if one_by_one:
            view.toggle_run(next(row for row in range(len(view.rows)) if view.rows.counts[row] > 1))
        for row in range(len(view.rows)):
            (term,) = row_terms(view.tree, view.rows.nodes[row], view.rows.lasts[row])
            held = {odd.names[index] for index in view.params(row)}
            assert {name for name, hit in zip(odd.names, grouper.matches(term), strict=True) if hit} == held, term
            seen.add(term)
    assert {term.partition(":")[0] for term in seen} == {"name", "glob", "re"}
    assert "glob:k.*" in seen and r"re:^h\.(?:0|1|2)\." in seen


def test_a_group_of_a_row_leaves_what_groups_above_have_and_changes_no_option() -> None:
    classic = Grouping.classic()
    norms, wide = classic.rules
    for held, at in ((b"\0\1\1", 1), (b"\1", 1), (b"\0\0", 0)):
        added, place = add_row(classic, held, "decay", ("name:x",))
        assert place == at
        new = Rule("decay_2", ("name:x",), classic.rules[at].options)
        assert added.rules == ((norms, new, wide), (new, norms, wide))[at == 0]


def test_a_group_of_a_row_has_its_last_label_and_one_more_of_a_number_or_a_tensor(odd: Model) -> None:
    tree = Tree.build(odd)
    nodes = {tree.path(node): node for node in range(1, len(tree))}
    names = {path: row_name(tree, nodes[path], nodes[path]) for path in ("a0", "a0.w", "h.3", "h.x.w", "p")}
    assert names == {"a0": "a0", "a0.w": "a0.w", "h.3": "h.3", "h.x.w": "x.w", "p": "p"}
    assert row_name(tree, nodes["h.3"], nodes["h.5"]) == "h"


def test_a_group_of_a_row_names_a_tied_tensor_by_its_other_names_too(architecture) -> None:
    tree = Tree.build(architecture("roberta-base"))
    nodes = {tree.path(node): node for node in range(1, len(tree))}
    embedding, module = "roberta.embeddings.word_embeddings.weight", "roberta.embeddings"
    assert row_terms(tree, *[nodes[embedding]] * 2) == (f"name:{embedding}", "name:lm_head.decoder.weight")
    assert row_terms(tree, *[nodes[module]] * 2) == (f"glob:{module}.*", "name:lm_head.decoder.weight")
    bias = "lm_head.bias"
    assert row_terms(tree, *[nodes[bias]] * 2) == (f"name:{bias}", "name:lm_head.decoder.bias")
    assert row_terms(tree, *[nodes["lm_head"]] * 2) == ("glob:lm_head.*",)
