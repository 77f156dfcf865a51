"""The command from outside, as scripts and shells see it: outputs, exit statuses, and one line for every failure."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import resource
import select
import shlex
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import pytest
from command import COMMAND, ENVIRONMENT, alive, children, paramx, started, wait_for

from explorer import __version__
from explorer.arguments import EXAMPLES, make_parser

FACTS = json.loads((Path(__file__).parent / "facts" / "kantaibert.json").read_text())
"""The reference model's parameters in order, as the library lists them."""


@pytest.fixture(scope="session")
def formats(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The reference model in every format; built in parallel, because each start imports torch."""
    started = {
        name: subprocess.Popen(
            [*COMMAND, "kantaibert", "--print", name, "--no-cache"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=ENVIRONMENT,
        )
        for name in ("table", "loop", "json", "csv")
    }
    texts = {}
    for name, process in started.items():
        output, complaints = process.communicate(timeout=120)
        assert (process.returncode, complaints) == (0, ""), name
        texts[name] = output
    return texts


@pytest.fixture(scope="session")
def remembered() -> str:
    """The reference model as JSON, after a run that may have remembered it."""
    assert paramx("kantaibert", "--print", "json").returncode == 0
    return paramx("kantaibert", "--print", "json").stdout


@pytest.fixture
def broken(tmp_path: Path) -> str:
    """A config that is no JSON."""
    path = tmp_path / "config.json"
    path.write_text("{ this is not JSON")
    return str(path)


# --- the reference model


def test_the_loop_of_the_reference_model_is_106_lines_and_83504416(formats: dict[str, str]) -> None:
    *rows, total = formats["loop"].splitlines()
    assert total == "83504416"
    assert rows == [" ".join(map(str, (row["index"], *row["shape"], row["numel"]))) for row in FACTS]
    assert len(rows) == 106
    assert rows[0] == "0 52000 768 39936000"
    assert "3 768 768" in rows


def test_the_json_of_the_reference_model_is_its_facts(formats: dict[str, str]) -> None:
    data = json.loads(formats["json"])
    assert [{key: row[key] for key in FACTS[0]} for row in data["parameters"]] == FACTS
    assert data["format"] == 1
    assert data["model"]["class"] == "RobertaForMaskedLM"
    assert data["model"]["kind"] == "transformers"
    assert data["model"]["config"]["vocab_size"] == 52_000
    assert {"torch", "transformers"} <= set(data["model"]["versions"])
    assert data["totals"] == {
        "tensors": 106,
        "parameters": 83_504_416,
        "nbytes": 4 * 83_504_416,
        "trainable": 83_504_416,
        "state_dict_tensors": 108,
        "state_dict_elements": 123_492_416,
        "without_embeddings": 43_172_896,
    }
    assert [(group["name"], group["tensors"], group["parameters"]) for group in data["groups"]] == [
        ("no_decay", 65, 114_976),
        ("decay", 41, 83_389_440),
    ]
    (norm,) = [finding for finding in data["findings"] if finding["id"] == "norm-decays"]
    assert norm["names"] == ["lm_head.layer_norm.weight"]


def test_a_remembered_table_tells_all_that_a_built_one_does(formats: dict[str, str], remembered: str) -> None:
    assert '"remembered": true' in remembered
    assert remembered == formats["json"].replace('"remembered": false', '"remembered": true')
    assert paramx("kantaibert", "--print", "csv").stdout == formats["csv"]
    note = "no weights · remembered (--no-cache builds it)\n"
    assert paramx("kantaibert").stdout == formats["table"].replace("no weights\n", note)


def test_the_running_sum_ends_at_the_total(formats: dict[str, str]) -> None:
    data = json.loads(formats["json"])
    np = 0
    for row in data["parameters"]:
        np += row["numel"]
        assert row["running"] == np
    assert np == data["totals"]["parameters"]
    for key in ("tensors", "parameters"):
        assert sum(group[key] for group in data["groups"]) == data["totals"][key]


def test_all_formats_tell_the_same_rows(formats: dict[str, str]) -> None:
    data = json.loads(formats["json"])["parameters"]
    rows = list(csv.DictReader(io.StringIO(formats["csv"])))
    lines = [line.split() for line in formats["table"].split("\n\n", maxsplit=1)[0].splitlines()][1:]
    for key, column in (("index", 0), ("name", 1), ("numel", 3), ("running", 4), ("dtype", 5), ("group", 8)):
        assert [str(row[key]) for row in data] == [row[key] for row in rows] == [line[column] for line in lines], key
    assert [row["aliases"].split() for row in rows] == [row["aliases"] for row in data]


def test_the_table_ends_with_its_sums_and_the_check(formats: dict[str, str]) -> None:
    summary = formats["table"].split("\n\n", maxsplit=1)[1]
    assert summary.startswith("106 tensors · 83,504,416 parameters · 319 MiB · 83,504,416 trainable\n")
    assert "\n✔ equals the counting loop\n" in summary
    assert "+39,988,000 for 2 tied names, counted again" in summary
    assert summary.endswith("lm_head.layer_norm.weight\n"), "the norm that decays is named"


def test_options_reach_the_source_the_rows_and_the_groups() -> None:
    run = paramx(
        *("kantaibert", "--class", "RobertaModel", "--filter", "layer.3."),
        *("--no-decay", "bias, LayerNorm.weight,", "--weight-decay", "0.05", "--offline", "--print=json"),
    )
    assert run.stderr == ""
    data = json.loads(run.stdout)
    assert data["model"]["class"] == "RobertaModel"
    assert len(data["parameters"]) == 16
    assert all("layer.3." in row["name"] for row in data["parameters"])
    assert data["totals"]["tensors"] > 16
    assert data["groups"][1]["options"] == {"weight_decay": 0.05}
    assert data["groups"][0]["terms"][:2] == ["bias", "LayerNorm.weight"]
    assert [finding["severity"] for finding in data["findings"] if finding["id"] == "blank-term"] == ["error"]


# --- no terminal


def test_without_a_terminal_it_prints_a_table_silently_in_any_encoding() -> None:
    run = subprocess.run(
        [*COMMAND, "kantaibert"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"},
        timeout=120,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, b"")
    text = run.stdout.decode("ascii")
    assert text.split()[:2] == ["index", "name"]
    assert r"\u2714 equals the counting loop" in text


def test_without_a_terminal_a_target_is_needed() -> None:
    run = paramx()
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("paramx: TARGET is missing")


@pytest.mark.parametrize("elsewhere", ["stdin", "stdout", "stderr", "TERM=dumb"])
def test_the_interface_needs_all_three_streams_on_a_terminal_that_can_draw(elsewhere: str) -> None:
    control, terminal = pty.openpty()
    streams: dict[str, int] = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    if elsewhere in streams:
        streams[elsewhere] = subprocess.DEVNULL if elsewhere == "stdin" else subprocess.PIPE
    kind = "dumb" if elsewhere == "TERM=dumb" else "xterm-256color"
    process = subprocess.Popen(COMMAND, env={**ENVIRONMENT, "TERM": kind}, **streams)
    os.close(terminal)
    shown = read_all(control) + (process.communicate(timeout=20)[1] or b"").decode()
    assert process.returncode == 2
    assert "\x1b" not in shown
    assert shown.startswith("paramx: TARGET is missing")


# --- usage


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--print", "json"], "TARGET is missing"),
        (["x", "--print", "xml"], "xml"),
        (["x", "y", "z"], "unrecognized arguments: z"),
        (["--no-such-option"], "--no-such-option"),
        (["x", "--rev", "main"], "--rev"),
        (["x", "--weight-decay", "nan"], "nan"),
        (["x", "--weight-decay", "inf"], "inf"),
        (["x", "--weight-decay=-0.1"], "-0.1"),
        (["x", "--weight-decay", "much"], "much"),
        (["x", "--no-decay", "re:("], "re:("),
        (["x", "--class"], "--class"),
        ([""], "TARGET is empty"),
        (["x", "--print", "\x1b[2J"], r"\x1b[2J"),
    ],
    ids=repr,
)
def test_wrong_usage_is_one_line_the_short_usage_and_status_2(arguments: list[str], said: str) -> None:
    run = paramx(*arguments)
    assert (run.returncode, run.stdout) == (2, "")
    line, usage = run.stderr.splitlines()
    assert line.startswith("paramx: ")
    assert said in line
    assert usage.startswith("usage: paramx [TARGET [OTHER]] [options]")


@pytest.mark.parametrize("columns", ["40", "80", "300"])
def test_help_fits_80_columns_and_has_examples(columns: str) -> None:
    run = paramx("--help", environment={"COLUMNS": columns})
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.isascii()
    assert max(map(len, run.stdout.splitlines())) <= 80
    examples = [line for line in run.stdout.splitlines() if line.startswith("  paramx ")]
    assert len(examples) >= 6
    for option in ("--class", "--revision", "--filter", "--no-decay", "--weight-decay", "--print", "--version"):
        assert option in run.stdout


def test_the_examples_of_the_help_are_right_usage() -> None:
    examples = [line.strip() for line in EXAMPLES.splitlines() if line.startswith("  paramx")]
    for example in examples:
        typed = re.split(" {2,}", example)[0].partition("|")[0]
        assert make_parser().parse_args(shlex.split(typed)[1:])


def test_version_is_the_packages() -> None:
    run = paramx("--version")
    assert (run.returncode, run.stdout) == (0, f"paramx {__version__}\n")


# --- failures


@pytest.mark.parametrize("form", [[], ["--print", "json"]], ids=repr)
def test_an_unreadable_config_is_one_line_and_status_1(broken: str, form: list[str]) -> None:
    run = paramx(broken, *form)
    assert (run.returncode, run.stdout) == (1, "")
    (line,) = run.stderr.splitlines()
    assert line.startswith("paramx: ")
    assert "config.json" in line


def test_an_unknown_name_is_one_line_and_status_1(tmp_path: Path) -> None:
    run = paramx("roberta-bsae", "--offline", cwd=tmp_path)
    assert (run.returncode, run.stdout) == (1, "")
    (line,) = run.stderr.splitlines()
    assert line.startswith("paramx: roberta-bsae: ")
    assert ";" in line, "it says what would work"


def test_a_name_with_control_characters_is_told_harmlessly(tmp_path: Path) -> None:
    run = paramx("no-such-\x1b]52;c;aGk=\x07model", "--offline", cwd=tmp_path)
    assert run.returncode == 1
    assert "\x1b" not in run.stderr
    assert r"\x1b]52" in run.stderr


def test_a_reader_that_leaves_early_ends_it_quietly() -> None:
    process = started("kantaibert", "--print", "json")
    assert process.stdout is not None
    process.stdout.close()  # as `| head -0` does
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(60) == 141


@pytest.mark.parametrize("seconds", [0, 1], ids=["at once", "importing torch"])
def test_ctrl_c_while_loading_ends_worker_and_command_without_a_traceback(seconds: float) -> None:
    process = started("kantaibert", "--print", "json", "--no-cache")
    workers = wait_for(lambda: children(process.pid))
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    output, complaints = process.communicate(timeout=20)
    assert (process.returncode, output, complaints) == (130, b"", b"")
    wait_for(lambda: not any(map(alive, workers)), seconds=2)


@pytest.mark.usefixtures("remembered")  # `--no-cache` builds it all the same
def test_on_a_terminal_stages_are_wiped_and_a_disk_that_fills_up_is_one_line(tmp_path: Path) -> None:
    control, terminal = pty.openpty()
    with (tmp_path / "out").open("w") as full:
        process = subprocess.Popen(
            # A file may have so many blocks and no more: what a full disk looks like to who writes.
            ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *COMMAND, "kantaibert", "--print", "loop", "--no-cache"],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=terminal,
            env=ENVIRONMENT,
        )
    os.close(terminal)
    shown = read_all(control)
    assert process.wait(20) == 2
    stages, complaint = shown.removesuffix("\r\n").rsplit("\r", maxsplit=1)
    assert complaint == "paramx: output: File too large"
    assert "importing torch" in stages
    assert "\n" not in stages
    assert "\x1b" not in stages
    assert stages.rsplit("\r", maxsplit=1)[1].isspace(), "the last stage is written over with spaces"
    assert max(map(len, stages.split("\r"))) < 80


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_help_to_a_full_disk_is_one_line_and_status_2() -> None:
    with Path("/dev/full").open("w") as full:
        run = paramx("--help", stdout=full, stderr=subprocess.PIPE)
    assert (run.returncode, run.stderr) == (2, "paramx: output: No space left on device\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_stream_that_the_shell_closed_is_no_crash(closed: str, broken: str) -> None:
    line = f"exec {shlex.join([*COMMAND, broken])} {closed}"
    run = subprocess.run(
        ["/bin/sh", "-c", line], capture_output=True, encoding="utf-8", env=ENVIRONMENT, timeout=60, check=False
    )
    assert (run.returncode, run.stdout) == (2 if closed == ">&-" else 1, "")
    assert len(run.stderr.splitlines()) == (0 if closed == "2>&-" else 1)


def read_all(control: int) -> str:
    """Return all that is written to a terminal until every process has closed it."""
    seen = b""
    while select.select([control], [], [], 60)[0]:
        try:
            seen += os.read(control, 65536)
        except OSError:  # how Linux tells that the other end is closed
            break
    os.close(control)
    return seen.decode()


def test_stats_of_a_file_are_torchs(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    tensors = {"a.weight": torch.randn(30, 20), "b.weight": torch.randn(5).to(torch.bfloat16)}
    save_file(tensors, tmp_path / "x.safetensors")
    lines = paramx(str(tmp_path / "x.safetensors"), "--print", "stats").stdout.splitlines()
    titles = lines[0].split()
    for line in lines[1:3]:
        row = dict(zip(titles, line.split(), strict=True))
        wide = tensors[row["name"]].double()
        assert float(row["mean"]) == pytest.approx(wide.mean().item(), rel=1e-8)
        assert float(row["norm"]) == pytest.approx(wide.norm().item(), rel=1e-8)
    assert "a.weight" not in paramx(str(tmp_path / "x.safetensors"), "--print", "stats", "--filter", "b.").stdout


def test_stats_that_lack_a_tensor_are_a_failure_that_says_which_share_and_why(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    path = tmp_path / "x.safetensors"
    save_file({name: torch.ones(100) for name in "abcd"}, path)
    os.truncate(path, path.stat().st_size - 600)
    run = paramx(str(path), "--print", "stats")
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert "2 of 4 tensors not measured: c and 1 more: x.safetensors: cut short" in run.stderr
    assert "not measured" not in run.stdout
    assert "2 of 4 tensors measured; in these 200 elements" in run.stdout
    rows = [line.split() for line in run.stdout.splitlines()[1:5]]
    assert [row[4:] == ["–"] * 9 for row in rows] == [False, False, True, True]
    whole = paramx(str(path), "--print", "stats", "--filter", "a")
    assert (whole.returncode, whole.stderr) == (0, ""), "what was asked for is there"


def test_stats_are_checked_when_asked_and_name_the_tensor_that_is_not_finite(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    odd = torch.zeros(4, 5)
    odd[1, 2] = torch.inf
    save_file({"clean": torch.ones(9), "odd": odd}, tmp_path / "x.safetensors")
    run = paramx(tmp_path / "x.safetensors", "--print", "stats")
    assert (run.returncode, run.stderr) == (0, "")
    line = "NaN or Inf in 1 tensor: odd (1 Inf at [1, 2])\n"
    assert run.stdout.endswith(line)
    run = paramx(tmp_path / "x.safetensors", "--print", "stats-json", "--check", "--top", "1")
    assert (run.returncode, run.stderr) == (1, f"paramx: {line}")
    assert json.loads(run.stdout)["not_finite"] == ["odd"]
    run = paramx(tmp_path / "x.safetensors", "--print", "stats", "--check", "--filter", "clean")
    assert (run.returncode, run.stderr) == (0, "")


def test_stats_of_tensors_of_which_none_can_be_measured_are_rows_and_one_line_of_how_many(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    whole, path = tmp_path / "whole.pt", tmp_path / "x.pt"
    torch.save({name: torch.ones(100) for name in "abcd"}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            if "/data/" not in name:
                target.writestr(name, source.read(name))
    run = paramx(str(path), "--print", "stats")
    assert run.returncode == 1
    assert run.stderr == "paramx: 4 of 4 tensors not measured: a and 3 more: its storage is not in the file\n"
    rows = [line.split() for line in run.stdout.splitlines()[1:5]]
    assert [row[1] for row in rows] == list("abcd")
    assert all(row[4:] == ["–"] * 9 for row in rows)


def test_stats_of_a_skeleton_are_one_line_that_says_what_would_load_weights() -> None:
    run = paramx("kantaibert", "--offline", "--print", "stats")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.count("\n") == 1
    assert "no weights here" in run.stderr
    assert "open a directory with weights" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["gpt2", "--dtype", "bfloat16"], "give --load"),
        (["gpt2", "--device", "cpu"], "give --load"),
        (["gpt2", "--max-memory", "0=1GiB"], "--max-memory is for --device-map auto"),
        (["gpt2", "--load", "--device", "cpu", "--device-map", "auto"], "give one of them"),
        (["gpt2", "--device-map", "auto", "--max-memory", "gpu=1"], "is not written 0=24GiB or cpu=64GiB"),
        (["gpt2", "--device-map", "auto", "--max-memory", "0=many"], "is no size of memory"),
    ],
)
def test_options_of_loading_that_make_no_sense_are_usage_errors(arguments: list[str], complaint: str) -> None:
    run = paramx(*arguments, "--print", "loop")
    assert run.returncode == 2
    assert complaint in run.stderr


def test_the_limit_of_open_files_is_named_where_it_is_what_fails(tmp_path: Path) -> None:
    file = tmp_path / "empty.safetensors"
    file.write_bytes((2).to_bytes(8, "little") + b"{}")
    run = paramx(file, "--print", "table", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8)))
    line = "paramx: too many open files; raise the limit of open files (ulimit -n)\n"
    assert (run.returncode, run.stdout, run.stderr) == (1, "", line)
