"""Bounds on what a checkpoint may hold, whatever its format."""

from __future__ import annotations

MAX_DIMENSIONS = 64
"""Most dimensions of a shape: numpy's limit (numpy 2, `NPY_MAXDIMS`); weights have at most 6."""

MAX_NAME = 100_000
"""Longest name of a tensor in characters: a thousand levels of long keys."""

MAX_ELEMENTS = 1 << 56
"""Most elements of one tensor, and of a whole model: sums and byte counts then fit in 64 bits."""

MAX_PARAMETERS = 10**14
"""Most parameters of a model that is built from a config: some ten times the largest that was ever told of. A file
proves its tensors by its size, a config proves nothing."""
