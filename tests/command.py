"""The command as another program starts it, and the processes that it starts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "explorer"]

CACHE = tempfile.TemporaryDirectory(prefix="paramx-tests-")
"""Where tables are remembered while the tests run, and no longer: of each model the first run builds."""

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COLUMNS", "PYTHON"))},
    "HF_HUB_OFFLINE": "1",
    "XDG_CACHE_HOME": CACHE.name,
    "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])),
}


def paramx(
    *arguments: object, environment: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command without a terminal and wait for its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output="stdout" not in options,
        encoding="utf-8",
        env={**ENVIRONMENT, **(environment or {})},
        timeout=120,
        check=False,
        **options,
    )


def started(*arguments: str) -> subprocess.Popen[bytes]:
    """Start the command without a terminal."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )


def children(pid: int) -> list[int]:
    """Return the processes that `pid` started, once they have become what they run (Linux)."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed if "explorer" in Path(f"/proc/{child}/cmdline").read_text()]


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that waits for init does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(look: Any, seconds: float = 60) -> Any:
    """Return what `look` finds, as soon as it finds something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.01)
    raise AssertionError("nothing came")
