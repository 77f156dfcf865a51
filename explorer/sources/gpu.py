"""Asks the box for its GPUs' memory. NVIDIA only: through its own tool, so that torch stays out of this process."""

from __future__ import annotations

import subprocess

TOOL = "nvidia-smi"
"""Comes with NVIDIA's driver; looked for on PATH."""

SECONDS = 3.0
"""How long it may take; a driver that hangs must not keep the memory screen waiting."""


def gpu_memory() -> int | None:
    """Return the memory of the smallest GPU of this box, in bytes.

    The smallest, because parallel training is bound by it. Every GPU is asked, also one that `CUDA_VISIBLE_DEVICES`
    hides. A GPU cut into MIG slices counts whole.

    Returns:
        Total memory, not what is free now; `None` without an NVIDIA GPU, driver or answer.
    """
    try:
        run = subprocess.run(  # noqa: S603 - fixed arguments, and the user's own PATH
            [TOOL, "--query-gpu=memory.total", "--format=csv,noheader,nounits"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if run.returncode:
        return None
    # One line a GPU, in MiB; `[N/A]` where the driver does not say.
    sizes = [int(line) for line in map(str.strip, run.stdout.splitlines()) if line.isascii() and line.isdigit()]
    return min((size for size in sizes if size), default=0) * 2**20 or None
