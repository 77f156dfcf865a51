"""The version, apart from the public API, so that every layer may read it."""

from __future__ import annotations

__version__ = "0.1.0"
"""Version of the distribution `paramx`."""
