"""Other programs that show a checkpoint's tensors in the terminal, as far as they are installed.

pip install safe-view sft-cli      # into this environment, or name another's `bin` in PARAMX_PEERS
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Peer:
    """One of them."""

    name: str
    """Its name on the package index."""
    command: tuple[str, ...]
    """What runs it; the file follows."""
    shown: bytes
    """What is on its screen once the tensors are."""

    def argv(self, path: Path) -> list[str]:
        """Return the command line that opens a file."""
        return [*self.command, str(path)]


KNOWN = (
    Peer("safe-view", ("safe-view",), b"input_layernorm"),
    Peer("sft-cli", ("sft", "browse"), b"input_layernorm"),
    Peer("safetensors_explorer", ("safetensors_explorer",), b"layers"),
)


def peers() -> list[Peer]:
    """Return those that are installed."""
    path = os.pathsep.join(filter(None, (os.environ.get("PARAMX_PEERS"), os.environ.get("PATH"))))
    found = ((peer, shutil.which(peer.command[0], path=path)) for peer in KNOWN)
    return [Peer(peer.name, (where, *peer.command[1:]), peer.shown) for peer, where in found if where]
