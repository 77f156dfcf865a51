"""paramx: every parameter of a model, in the terminal."""

from __future__ import annotations

__version__ = "0.1.0"
"""Version of the distribution `paramx`."""
