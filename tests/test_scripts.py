"""What scripts ask of the command beyond the plain formats; on a file, which opens without torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import paramx

from explorer import load
from explorer.__main__ import main
from explorer.core.export import EXPORTS
from explorer.core.export.writing import export
from explorer.core.rules import Grouping

SHAPES = {"embed.weight": (50, 8), "layer.0.weight": (8, 8), "layer.0.bias": (8,), "layer.1.weight": (8, 9)}
"""What the file holds."""

OLD_RECIPE = """
[[groups]]
name = "no_decay"
terms = ["bias"]
options = { weight_decay_rate = 0.0 }

[[groups]]
name = "decay"
"""
"""Groups of which one has an option that the optimizer ignores."""


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
        (["--print", "loop", "--top", "2"], "for one TARGET printed as table, csv, json or statistics"),
        (["--print", "stats", "--depth", "2"], "for one TARGET printed as table, csv or json"),
        (["--print", "csv", "--sort", "nan"], "--sort nan is for --print stats"),
        (["--check", "--top", "2"], "for one TARGET printed as table, csv"),
        (["OTHER", "--sort", "name"], "for one TARGET printed as table, csv"),
        (["--export", "jax"], "'jax'"),
        (["--export", "torch", "--filter", "bias"], "leave --print, --check, --filter and OTHER out"),
        (["--export", "torch", "--depth", "2"], "for one TARGET printed as table, csv"),
    ],
    ids=repr,
)
def test_what_can_not_be_listed_so_is_wrong_usage(arguments: list[str], said: str) -> None:
    run = paramx("TARGET", *arguments)
    assert (run.returncode, run.stdout) == (2, "")
    assert said in run.stderr.splitlines()[0]


# --- the code of the groups


@pytest.mark.parametrize("form", EXPORTS)
def test_the_command_prints_what_the_interface_exports(file: Path, form: str, capsys) -> None:
    grouping = Grouping.classic(["bias"], weight_decay=0.05)
    status = main([str(file), "--no-decay", "bias", "--weight-decay", "0.05", "--export", form])
    printed = capsys.readouterr()
    assert (status, printed.err) == (0, "")
    assert printed.out == export(form, load(str(file)), grouping)


def test_an_error_among_the_findings_is_told_beside_the_code_and_by_the_status(file: Path, tmp_path: Path) -> None:
    groups = tmp_path / "my.toml"
    groups.write_text(OLD_RECIPE)
    run = paramx(file, "--groups", groups, "--export", "torch-groups")
    assert run.returncode == 1
    lines = run.stderr.splitlines()
    assert lines[0].startswith("paramx: error: no_decay: AdamW ignores weight_decay_rate")
    for line in lines:
        assert f"\n# {line.removeprefix('paramx: ')}\n" in run.stdout
    assert "def param_groups" in run.stdout


def test_what_a_form_can_not_say_is_one_line_and_no_code(file: Path, tmp_path: Path) -> None:
    groups = tmp_path / "my.toml"
    groups.write_text(OLD_RECIPE.replace("weight_decay_rate = 0.0", 'optimizer = "SGD"'))
    run = paramx(file, "--groups", groups, "--export", "trainer")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("paramx: Trainer: the groups name 2 optimizers (SGD, AdamW)")
    assert run.stderr.count("\n") == 1
