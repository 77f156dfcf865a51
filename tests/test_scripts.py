"""What scripts ask of the command beyond the plain formats; on a file, which opens without torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import paramx

SHAPES = {"embed.weight": (50, 8), "layer.0.weight": (8, 8), "layer.0.bias": (8,), "layer.1.weight": (8, 9)}
"""What the file holds."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A safetensors file: 8 bytes little-endian length of the header, the header, the data."""
    header, end = {}, 0
    for name, shape in SHAPES.items():
        begin, end = end, end + 4 * shape[0] * (shape[1] if shape[1:] else 1)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))
    return path


# --- a filter that leaves nothing


@pytest.mark.parametrize("form", ["table", "json", "stats"])
def test_a_filter_that_no_name_contains_is_an_error_and_prints_nothing(file: Path, form: str) -> None:
    run = paramx(file, "--print", form, "--filter", "Layer")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == "paramx: --filter Layer: no name contains it; it is a plain text, and case counts\n"


def test_two_targets_without_a_name_that_the_filter_leaves_are_not_the_same(file: Path) -> None:
    run = paramx(file, file, "--filter", "Layer")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("paramx: --filter Layer: no name contains it")
