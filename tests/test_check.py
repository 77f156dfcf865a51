"""`--groups`, `--check` and `--gpu-memory`, as scripts and CI use them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from unittest import mock

import pytest
from command import paramx

from explorer.arguments import make_parser
from explorer.core.check import check_json, check_text, passes
from explorer.core.groups import Grouper, Grouping, Rule
from explorer.core.listing import Listing
from explorer.core.loading import OpenSpec
from explorer.core.param import Finding, Model, Origin, Param
from explorer.core.presets import PRESETS

RIGHT = """
[[groups]]
name = "no_decay"
terms = ["bias", "type:*Norm"]
options = { weight_decay = 0.0 }

[[groups]]
name = "decay"
options = { weight_decay = 0.05 }
"""

OLD_RECIPE = RIGHT.replace("{ weight_decay = 0.0 }", "{ weight_decay_rate = 0.0 }")


@pytest.fixture
def toml(tmp_path: Path):
    def write(text: str) -> str:
        (tmp_path / "my.toml").write_text(text)
        return str(tmp_path / "my.toml")

    return write


def test_a_right_recipe_passes_with_status_0(toml) -> None:
    run = paramx("kantaibert", "--groups", toml(RIGHT), "--check")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.splitlines()[-1] == "kantaibert: 0 errors, 0 warnings, 0 hints: passed"


def test_weight_decay_rate_fails_with_status_1_and_says_what_is_meant(toml) -> None:
    run = paramx("kantaibert", "--groups", toml(OLD_RECIPE), "--check")
    assert (run.returncode, run.stderr) == (1, "")
    assert "error: ignored-option: no_decay: AdamW ignores weight_decay_rate" in run.stdout
    assert "fix: no_decay.weight_decay_rate -> weight_decay" in run.stdout
    assert run.stdout.splitlines()[-1].endswith("failed")


def test_the_findings_as_json_say_the_same(toml) -> None:
    run = paramx("kantaibert", "--groups", toml(OLD_RECIPE), "--check", "--print", "json")
    assert (run.returncode, run.stderr) == (1, "")
    data = json.loads(run.stdout)
    assert list(data) == ["format", "model", "passed", "groups", "findings"]
    assert (data["format"], data["passed"], data["model"]["class"]) == (1, False, "RobertaForMaskedLM")
    errors = {finding["id"] for finding in data["findings"] if finding["severity"] == "error"}
    assert "ignored-option" in errors
    assert data["groups"][0]["options"] == {"weight_decay_rate": 0.0}
    assert {tuple(finding) for finding in data["findings"]} == {("id", "severity", "message", "names", "why", "fix")}


def test_without_a_file_the_classic_recipe_is_judged_and_a_warning_passes() -> None:
    run = paramx("kantaibert", "--check")
    assert (run.returncode, run.stderr) == (0, "")
    assert "warning: norm-decays: 1 of 14 norm weights decays" in run.stdout
    assert "in: lm_head.layer_norm.weight" in run.stdout


def test_a_file_s_groups_reach_the_printout(toml) -> None:
    run = paramx("kantaibert", "--groups", toml(RIGHT), "--print", "json")
    data = json.loads(run.stdout)
    assert [(group["name"], group["tensors"], group["options"]) for group in data["groups"]] == [
        ("no_decay", 66, {"weight_decay": 0.0}),
        ("decay", 40, {"weight_decay": 0.05}),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[groups]]\nname = \n", "line 2"),
        (RIGHT.replace('"bias"', '"re:("'), "line 2"),
        (RIGHT.replace("weight_decay = 0.05", "weight_decay = -1"), "line 7"),
        ("", "it has no groups"),
    ],
)
def test_a_wrong_file_is_one_line_with_its_place_and_no_model_is_opened(toml, text: str, said: str) -> None:
    run = paramx("no-such-model", "--groups", toml(text), "--check")
    assert (run.returncode, run.stdout) == (1, "")
    (line,) = run.stderr.splitlines()
    assert line.startswith("paramx: ")
    assert "my.toml" in line and said in line


def test_a_recipe_is_judged_printed_and_exported_by_its_name() -> None:
    run = paramx("kantaibert", "--recipe", "layerwise", "--check", "--print", "json")
    data = json.loads(run.stdout)
    assert (run.returncode, run.stderr, data["passed"]) == (0, "", True)
    groups = [(group["name"], group["options"]) for group in data["groups"]]
    assert groups[0] == ("embeddings_no_decay", {"weight_decay": 0.0, "lr_mult": pytest.approx(0.9**7, rel=1e-5)})
    assert len(groups) == 2 * (6 + 2)
    printed = json.loads(paramx("kantaibert", "--recipe", "layerwise", "--print", "json").stdout)
    assert printed["groups"] == data["groups"]
    exported = json.loads(paramx("kantaibert", "--recipe", "layerwise", "--export", "json").stdout)
    assert [(group["name"], group["options"]) for group in exported["groups"]] == groups


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    run = paramx("kantaibert", "--groups", str(tmp_path / "none.toml"))
    assert run.returncode == 1
    assert re.fullmatch(r"paramx: .*none\.toml: No such file or directory\n", run.stderr)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x", "--groups", "f", "--no-decay", "bias"], "--no-decay"),
        (["x", "--groups", "f", "--weight-decay", "0.1"], "--weight-decay"),
        (["x", "--recipe", "tim"], f"'tim' is none of {', '.join(PRESETS)}; near: timm"),
        (["x", "--recipe", "timm", "--groups", "f"], "leave --groups, --no-decay and --weight-decay out"),
        (["x", "--recipe", "timm", "--weight-decay", "0"], "leave --groups, --no-decay and --weight-decay out"),
        (["x", "y", "--recipe", "timm"], "leave OTHER out"),
        (["x", "--print", "stats", "--recipe", "timm"], "statistics are of no groups"),
        (["x", "--print", "stats-json", "--groups", "f"], "statistics are of no groups"),
        (["x", "--print", "stats", "--no-decay", ""], "statistics are of no groups"),
        (["x", "--check", "--print", "csv"], "csv"),
        (["x", "--check", "--filter", "bias"], "--filter"),
        (["--check"], "TARGET is missing"),
        (["x", "--gpu-memory", "much"], "much"),
        (["x", "--gpu-memory", "-1GiB"], "--gpu-memory"),
        (["x", "--arg", "a=1"], "package.module:factory"),
        (["a:b", "--arg", "a"], "NAME=VALUE"),
        (["a:b", "--arg", "1a=2"], "NAME=VALUE"),
    ],
    ids=repr,
)
def test_wrong_usage_is_one_line_the_short_usage_and_status_2(arguments: list[str], said: str) -> None:
    run = paramx(*arguments)
    assert (run.returncode, run.stdout) == (2, "")
    line, usage = run.stderr.splitlines()
    assert said in line
    assert usage.startswith("usage: ")


def judged(*findings: Finding) -> Listing:
    rows = [Param(0, "a.bias", (1,), 1, "float32", 4, "cpu", True, None, (), None)]
    model = Model.from_params(Origin("m", "test", "test"), rows)
    return Listing(model, Grouper(model).assign(Grouping.classic()), findings)


@pytest.mark.parametrize(("severity", "passed"), [("error", False), ("warning", True), ("hint", True)])
def test_only_an_error_fails(severity, passed: bool) -> None:
    listing = judged(Finding("x", "hint", "said"), Finding("y", severity, "said"))
    assert passes(listing) is passed
    assert json.loads("".join(check_json(listing)))["passed"] is passed
    assert "".join(check_text(listing)).endswith("passed\n" if passed else "failed\n")


def test_a_finding_names_a_few_parameters_and_counts_the_rest() -> None:
    text = "".join(check_text(judged(Finding("x", "error", "said", tuple("abcde"), "because", "g += t"))))
    assert text.splitlines() == [
        "error: x: said",
        "  in: a, b, c and 2 more",
        "  why: because",
        "  fix: g += t",
        "m: 1 error, 0 warnings, 0 hints: failed",
    ]


def test_a_fix_that_would_empty_a_group_is_not_printed(monkeypatch) -> None:
    from explorer import printing

    params = [
        Param(i, name, shape, 4, "float32", 16, "cpu", True, None, (), None)
        for i, (name, shape) in enumerate((("norm", (4,)), ("w", (2, 2))))
    ]
    monkeypatch.setattr(printing, "_load", lambda _: Model.from_params(Origin("m", "test", "test"), params))
    grouping = Grouping((Rule("muon", ("norm",), {"optimizer": "Muon", "weight_decay": 0.0}), Rule("rest")))
    arguments = make_parser().parse_args(["m", "--groups", "file"])
    listing = printing._listing(OpenSpec("m"), lambda _: grouping, arguments)
    assert "refused-shape: muon" in "".join(check_text(listing))
    assert "fix:" not in "".join(check_text(listing))


@pytest.mark.parametrize(
    ("options", "severities"), [((), {"hint"}), (("--groups", "file"), {"error", "warning", "hint"})]
)
def test_an_adapter_is_no_error_of_the_default_groups_and_one_of_a_file_s(monkeypatch, options, severities) -> None:
    from explorer import printing

    names = [f"base_model.model.layers.0.q_proj.lora_{kind}.weight" for kind in "AB"]
    params = [Param(i, name, (2, 2), 4, "float32", 16, None, None, None, (), None) for i, name in enumerate(names)]
    monkeypatch.setattr(printing, "_load", lambda _: Model.from_params(Origin("m", "test", "test"), params))
    arguments = make_parser().parse_args(["m", *options])
    findings = printing._listing(OpenSpec("m"), lambda _: Grouping.classic(), arguments).findings
    assert {finding.severity for finding in findings} == severities
    assert [finding.severity for finding in findings if finding.id == "empty-group"] == [findings[0].severity]


def test_the_memory_that_was_given_reaches_the_interface(monkeypatch) -> None:
    import explorer.__main__ as command
    import explorer.ui.app
    from explorer.ui.app import Outcome

    seen = []
    monkeypatch.setattr(command, "can_show_the_interface", lambda: True)
    monkeypatch.setattr("explorer.supervisor.supervise", lambda run, *_: run(mock.Mock()))
    monkeypatch.setattr("explorer.__main__.drop_textuals_switches", lambda: None)  # the environment is pytest's
    monkeypatch.setattr(
        explorer.ui.app,
        "run",
        lambda spec, services, other: seen.append(services) or Outcome(None, services.grouping),
    )
    assert command.main(["kantaibert", "--gpu-memory", "80GiB"]) == 0
    assert command.main(["kantaibert"]) == 0
    assert [services.gpu for services in seen] == [80 * 2**30, None]
    assert {services.gpu_memory for services in seen} == {command._gpu_memory}
