"""The one line of an error."""

from __future__ import annotations

import pickle

from explorer.core.errors import MAX_WHAT, ParamxError


def test_a_target_of_any_length_is_echoed_cut_in_the_middle() -> None:
    error = ParamxError("begin" + "a" * 5000 + "end.safetensors", "no such file", "check the path")
    assert len(error.what) == MAX_WHAT
    assert error.line.startswith("begina")
    assert error.line.endswith("aend.safetensors: no such file; check the path")
    assert "…" in error.line
    assert pickle.loads(pickle.dumps(error)).line == error.line
    assert ParamxError("a" * MAX_WHAT, "no such file").what == "a" * MAX_WHAT
