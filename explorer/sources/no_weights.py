"""Says how to get values for a transformers skeleton, and why its weights could not be loaded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.sources import Report, builtin, hub_fetch
from explorer.sources.checkpoint.targets import INDEX
from explorer.sources.hf_weights import FILES, weights_beside
from explorer.sources.hub import Found
from explorer.sources.hub_cache import SHORT_COMMIT

REMEDY = "open it with --load, or open a directory or cached snapshot with weights, or the checkpoint file itself"
"""What gives a skeleton of a configuration values."""

OTHERWISE = "open a directory with weights, or the checkpoint file itself"
"""What works for every model."""


def weights_of(found: Found) -> Path | None:
    """Return the directory that weights are loaded from; `None` where the hub library is to find them by their name.

    A cached snapshot may have the config only, or some of the shards: the library fetches the rest into it. Without a
    network it looks into no other snapshot, nor do we.
    """
    of_the_cache = found.repo_id is not None
    return None if found.directory is None or (of_the_cache and not _has_all(found.directory)) else found.directory


def _has_all(snapshot: Path) -> bool:
    beside = weights_beside(snapshot)
    if beside is None or not beside.endswith(INDEX):
        return beside is not None
    try:
        named = json.loads(Path(beside).read_bytes())["weight_map"].values()
        return all((snapshot / name).exists() for name in named)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # the library will tell what it is
        return True


def _older(found: Found) -> str:
    """Name another cached snapshot of the repository that has weights; empty without one."""
    if found.repo_id is None or found.path is None:
        return ""
    for other in sorted(found.path.parent.parent.iterdir()):
        if other.name != found.commit and (other / "config.json").exists() and _has_all(other):
            return f"give --revision {other.name[:SHORT_COMMIT]}, a cached snapshot with weights, or "
    return ""


def repository(spec: OpenSpec, found: Found) -> str | None:
    """Return the hub id to load weights from; `None` where a built-in architecture has none of its own."""
    known = builtin.find(spec.target) if found.path is None else None
    if known is None:
        return found.repo_id or spec.target
    return next((known_as for known_as in known.ids if "/" in known_as), None)


def what_loads(spec: OpenSpec, found: Found) -> str:
    """Return what a user of a skeleton can do to see values.

    Args:
        spec: What was opened, as a skeleton.
        found: Its configuration.
    """
    if weights_of(found) is not None:  # it was looked into: `--load` would find nothing either
        return OTHERWISE
    if found.path is not None and found.repo_id is None:
        return REMEDY
    name = repository(spec, found)
    if name is None:
        return OTHERWISE
    fetched = f"open it with --load, which fetches the weights from {name} over the network"
    return f"{fetched}, or {_older(found)}{OTHERWISE}"


def can_fetch(spec: OpenSpec, found: Found, name: str, revision: str, report: Report) -> bool:
    """Whether weights can be fetched from a repository; if not, they are on this disk or the network is off.

    Asked before the library is let to: without a network that says, minutes later, that a file is missing.

    Args:
        spec: What is to be loaded.
        found: Its configuration.
        name: The repository.
        revision: Its revision.
        report: Called with the stage.

    Raises:
        ParamxError: The hub can't be reached or refuses, and its weights are not on this disk.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    if constants.HF_HUB_OFFLINE:
        return False
    report(f"asking the hub for {name}")
    try:
        hub_fetch.check_there(replace(spec, target=name, revision=revision))
    except hub_fetch.NoConfigError:
        pass  # it is there, and may have weights
    except ParamxError as error:
        if any(isinstance(try_to_load_from_cache(name, file, revision=revision), str) for _, file in FILES):
            return False
        offline = isinstance(error, hub_fetch.NoHubError)
        remedy = f"{_older(found)}check the network, or {OTHERWISE}" if offline else error.remedy
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

    if weights_of(found) is not None:
        return ParamxError(spec.target, f"no weights could be loaded: {text}", OTHERWISE)
    name = repository(spec, found)
    if name is None:
        return ParamxError(spec.target, "a built-in architecture whose weights are in no repository", OTHERWISE)
    where = "" if name == spec.target else f" in the cache of {name}"
    if found.directory is not None and found.commit is not None:
        where += f" (the cached snapshot {found.commit[:SHORT_COMMIT]} lacks them)"
    if spec.offline or constants.HF_HUB_OFFLINE:
        network = "leave --offline out" if spec.offline else "unset HF_HUB_OFFLINE"
        why = f"its weights are not on this machine{where}, and the network is off"
        return ParamxError(spec.target, why, f"{_older(found)}{network}, or {OTHERWISE}")
    why = f"its weights are not on this machine, and {name} gave none: {text}"
    return ParamxError(spec.target, why, f"check the name and the network, or {OTHERWISE}")
