"""Names that are told when somebody asks are those that a tuple would hold."""

from __future__ import annotations

from itertools import compress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.core.groups import Grouping
from explorer.core.named import Named
from explorer.core.param import Model, Origin, Param
from explorer.core.workbench import Workbench

ROWS = st.lists(st.tuples(st.text(max_size=3), st.booleans()), max_size=20)
BOUNDS = st.none() | st.integers(-25, 25)


@given(ROWS, BOUNDS, BOUNDS, st.none() | st.sampled_from([-2, -1, 1, 2]))
def test_it_reads_as_the_tuple_of_the_names(
    rows: list[tuple[str, bool]], start: int | None, stop: int | None, step: int | None
) -> None:
    names = [name for name, _ in rows]
    mask = bytes(held for _, held in rows)
    named, plain = Named(names, mask), tuple(compress(names, mask))
    assert (named, tuple(named), len(named), repr(named)) == (plain, plain, len(plain), repr(plain))
    assert hash(named) == hash(plain)
    assert named[start:stop:step] == plain[start:stop:step]
    assert [named[at] for at in range(-len(plain), len(plain))] == [
        plain[at] for at in range(-len(plain), len(plain))
    ]
    with pytest.raises(IndexError):
        named[len(plain)]
    assert named != (*plain, "another")
    assert named != list(plain), "as a tuple is not"


def test_a_keystroke_materialises_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    params = [
        Param(0, f"m.{at}.{leaf}", (4, 4), 16, None, None, None, None, None, (), None)
        for at in range(200)
        for leaf in ("weight", "scale")
    ]
    monkeypatch.setattr(Workbench, "_numbers", property(lambda _: pytest.fail("every name was looked at")))
    bench = Workbench(Model.from_params(Origin("x", "test", ""), params), Grouping.classic())
    monkeypatch.setattr(Named, "__iter__", lambda _: pytest.fail("names were made"))
    bench.type_rule(0, "no_decay", "weight_decay=0.0", "nothing-like-it")
    assert [finding.id for finding in bench.findings if finding.severity == "warning"] == ["dead-pattern"]
    assert bench.warned == bytes(400)
    bench.type_rule(0, "no_decay", "weight_decay=0.0", "weight")
    [wide] = [finding for finding in bench.findings if finding.id == "wide-substring"]
    assert len(wide.names) == 200
    assert bench.warned == b"\1\0" * 200
    assert bench.indices(wide.names) == list(range(0, 400, 2))
