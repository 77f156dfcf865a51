"""Says how to get values for a transformers skeleton, and why its weights could not be loaded."""

from __future__ import annotations

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.sources import builtin
from explorer.sources.hub import Found

REMEDY = "open it with --load, or open a directory or cached snapshot with weights, or the checkpoint file itself"
"""What gives a skeleton of a configuration values."""

OTHERWISE = "open a directory with weights, or the checkpoint file itself"
"""What works for every model."""


def repository(spec: OpenSpec, found: Found) -> str | None:
    """Return the hub id to load weights from; `None` where a built-in architecture has none of its own."""
    known = builtin.find(spec.target) if found.path is None else None
    if known is None:
        return spec.target
    return next((known_as for known_as in known.ids if "/" in known_as), None)


def what_loads(spec: OpenSpec, found: Found) -> str:
    """Return what a user of a skeleton can do to see values.

    Args:
        spec: What was opened, as a skeleton.
        found: Its configuration.
    """
    if found.directory is not None:  # it was looked into: `--load` would find nothing either
        return OTHERWISE
    if found.path is not None:
        return REMEDY
    name = repository(spec, found)
    if name is None:
        return OTHERWISE
    return f"open it with --load, which fetches the weights from {name} over the network, or {OTHERWISE}"


def not_loaded(spec: OpenSpec, found: Found, text: str) -> ParamxError:
    """Return why no weights could be loaded.

    Args:
        spec: What was to be loaded.
        found: Its configuration.
        text: What the library said, in one line.
    """
    from huggingface_hub import constants

    if found.directory is not None:
        return ParamxError(spec.target, f"no weights could be loaded: {text}", OTHERWISE)
    name = repository(spec, found)
    if name is None:
        return ParamxError(spec.target, "a built-in architecture whose weights are in no repository", OTHERWISE)
    where = "" if name == spec.target else f" in the cache of {name}"
    if spec.offline or constants.HF_HUB_OFFLINE:
        network = "leave --offline out" if spec.offline else "unset HF_HUB_OFFLINE"
        why = f"its weights are not on this machine{where}, and the network is off"
        return ParamxError(spec.target, why, f"{network}, or {OTHERWISE}")
    why = f"its weights are not on this machine, and {name} gave none: {text}"
    return ParamxError(spec.target, why, f"check the name and the network, or {OTHERWISE}")
