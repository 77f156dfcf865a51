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


# --- rows that are asked for


def test_the_largest_tensors_and_modules(file: Path) -> None:
    def first(*arguments: str) -> list[str]:
        run = paramx(file, "--print", "csv", *arguments)
        assert (run.returncode, run.stderr) == (0, "")
        return [line.split(",")[0] for line in run.stdout.splitlines()[1:]]

    assert first("--top", "2") == ["0", "3"]
    assert first("--top", "2", "--sort", "model") == ["0", "1"]
    assert first("--depth", "1", "--sort", "name") == ["embed", "layer"]
    assert first("--depth", "2", "--top", "2", "--filter", "layer") == ["layer.0", "layer.1"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--depth", "0"], "'0' is no whole number of 1 or more"),
        (["--top", "few"], "'few' is no whole number of 1 or more"),
        (["--sort", "shape"], "'shape'"),
        (["--print", "json", "--depth", "2"], "for one TARGET printed as table or csv"),
        (["--check", "--top", "2"], "for one TARGET printed as table or csv"),
        (["OTHER", "--sort", "name"], "for one TARGET printed as table or csv"),
    ],
    ids=repr,
)
def test_what_can_not_be_listed_so_is_wrong_usage(arguments: list[str], said: str) -> None:
    run = paramx("TARGET", *arguments)
    assert (run.returncode, run.stdout) == (2, "")
    assert said in run.stderr.splitlines()[0]
