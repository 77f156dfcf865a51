"""The GPU's memory, asked of a made-up `nvidia-smi`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from explorer.sources import gpu


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Put a script that answers as `nvidia-smi` on PATH; without a body there is none."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def make(body):
        path = tmp_path / gpu.TOOL
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    return make


def test_without_the_tool_there_is_no_gpu(tool):
    assert gpu.gpu_memory() is None


@pytest.mark.parametrize(
    ("answer", "nbytes"),
    [
        ("81559", 81559 * 2**20),
        ("81559\n24564\n81559", 24564 * 2**20),
        ("[N/A]\n24564", 24564 * 2**20),
        ("[N/A]", None),
        ("0", None),
        ("", None),
        ("No devices were found", None),
    ],
    ids=repr,
)
def test_the_smallest_gpu_counts(tool, answer, nbytes):
    tool(f"cat <<'EOF'\n{answer}\nEOF".replace("cat", "/bin/cat"))
    assert gpu.gpu_memory() == nbytes


def test_a_driver_that_fails_is_no_gpu(tool):
    tool("echo 81559; exit 9")
    assert gpu.gpu_memory() is None


def test_a_file_that_does_not_run_is_no_gpu(tool, tmp_path):
    tool("echo 81559")
    (tmp_path / gpu.TOOL).chmod(0o644)
    assert gpu.gpu_memory() is None


def test_a_driver_that_hangs_is_given_up(tool, monkeypatch):
    monkeypatch.setattr(gpu, "SECONDS", 0.2)
    tool(f"exec {sys.executable} -c 'import time; time.sleep(20); print(81559)'")
    assert gpu.gpu_memory() is None, "it was waited for"


def test_it_is_asked_for_total_memory_in_plain_mib(tool, tmp_path):
    tool(f'echo "$@" > {tmp_path}/asked; echo 1')
    assert gpu.gpu_memory() == 2**20
    assert (tmp_path / "asked").read_text() == "--query-gpu=memory.total --format=csv,noheader,nounits\n"


def test_torch_is_not_imported_for_it():
    code = "import sys; from explorer.sources.gpu import gpu_memory; gpu_memory(); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert run.stdout == "False\n"
