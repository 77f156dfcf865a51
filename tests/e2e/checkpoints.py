"""Small checkpoints for tests that need something open, and no torch."""

from __future__ import annotations

import json
from pathlib import Path

SHOWN = "24 parameters"
"""On the screen when a checkpoint of four tensors is open."""


def safetensors(path: Path, names: list[str] | None = None) -> Path:
    """Write a file of 2 × 3 tensors (format: 8 bytes little-endian length, JSON header, data)."""
    header = {
        name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [24 * i, 24 * i + 24]}
        for i, name in enumerate(names or ["layer.0.weight", "layer.0.bias", "layer.1.weight", "layer.1.bias"])
    }
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(24 * len(header)))
    return path
