"""Says how to get values for a transformers skeleton, and why its weights could not be loaded."""

from __future__ import annotations

from dataclasses import replace

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.sources import Report, builtin, hub_fetch
from explorer.sources.hf_weights import FILES
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


def can_fetch(spec: OpenSpec, name: str, report: Report) -> bool:
    """Whether weights can be fetched from a repository; if not, they are on this disk or the network is off.

    Asked before the library is let to: without a network that says, minutes later, that a file is missing.

    Args:
        spec: What is to be loaded.
        name: The repository.
        report: Called with the stage.

    Raises:
        ParamxError: The hub can't be reached or refuses, and its weights are not on this disk.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    if constants.HF_HUB_OFFLINE:
        return False
    report(f"asking the hub for {name}")
    try:
        hub_fetch.check_there(replace(spec, target=name))
    except hub_fetch.NoConfigError:
        pass  # it is there, and may have weights
    except ParamxError as error:
        if any(isinstance(try_to_load_from_cache(name, file), str) for _, file in FILES):
            return False
        remedy = f"check the network, or {OTHERWISE}" if isinstance(error, hub_fetch.NoHubError) else error.remedy
        why = f"its weights are in {name} on the hub: {error.why}"
        raise ParamxError(spec.target, why, remedy) from error
    return True


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
