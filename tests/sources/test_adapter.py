"""A LoRA adapter's file: told as one, with what the `adapter_config.json` beside it says, if that can be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from checkpoint_files import entry, findings, opened, safetensors_bytes, written

from explorer.core.lora import KEY

CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "org/base"}


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """Return a directory with an adapter as PEFT saves one, without its configuration."""
    header = {
        "base_model.model.q.lora_A.weight": entry(0, 8, "F16", [2, 2]),
        "base_model.model.q.lora_B.weight": entry(8, 16, "F16", [2, 2]),
    }
    written(tmp_path / "adapter_model.safetensors", safetensors_bytes(header, bytes(16)))
    return tmp_path


@pytest.mark.parametrize("target", ["", "adapter_model.safetensors"])
def test_an_adapter_says_what_it_is_and_for_what(adapter: Path, target: str) -> None:
    written(adapter / "adapter_config.json", json.dumps(CONFIG).encode())
    model = opened(adapter / target)
    assert model.origin.description.endswith("a LoRA adapter of rank 2 for org/base")
    assert model.origin.config is not None
    assert model.origin.config[KEY] == CONFIG
    assert model.notes == {0: "LoRA A of q: 2 → rank 2", 1: "LoRA B of q: rank 2 → 2"}
    (told,) = (finding for finding in model.findings if finding.id == "lora")
    assert told.message == "a LoRA adapter of rank 2 for org/base: 1 pair beside q"


def test_without_a_configuration_names_and_shapes_say_it(adapter: Path) -> None:
    model = opened(adapter)
    assert model.origin.description.endswith("a LoRA adapter of rank 2")
    assert KEY not in (model.origin.config or {})


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (b"{", "bad-adapter-config"),
        (b"[]", "bad-adapter-config"),
        (b"", "bad-adapter-config"),
        (b'{"base_model_name_or_path": "\\u001b[2J"}', "lora"),
        (b'{"base_model_name_or_path": 7, "r": "x", "lora_alpha": []}', "lora"),
    ],
    ids=["cut short", "a list", "empty", "controls", "other types"],
)
def test_a_bad_configuration_is_a_finding_and_no_end(adapter: Path, config: bytes, told: str) -> None:
    written(adapter / "adapter_config.json", config)
    model = opened(adapter)
    assert told in findings(model)
    assert model.origin.description.isprintable()


def test_a_configuration_that_leads_out_of_the_directory_is_not_read(adapter: Path) -> None:
    outside = written(adapter.parent / f"{adapter.name}-outside.json", json.dumps(CONFIG).encode())
    (adapter / "adapter_config.json").symlink_to(outside)
    model = opened(adapter)
    assert "refused-path" in findings(model)
    assert KEY not in (model.origin.config or {})
