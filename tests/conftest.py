"""Settings that every test shares."""

from __future__ import annotations

from hypothesis import settings

# The machines that run this are small and shared: a slow example is no failure.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
