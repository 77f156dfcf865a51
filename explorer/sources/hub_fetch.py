"""Fetches one `config.json` from the hub under a deadline of our own, and tells apart the ways it can fail."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.text import visible

HUB_SECONDS = 10.0
"""Deadline for everything asked of the hub; without a network the library itself takes 25 s of retries."""

CODE_PATTERNS = ["config.json", "*.py"]
"""What is fetched of a repository whose code may run."""

ERRNO = re.compile(r"\[Errno -?\d+\] ")
"""What Python writes before an error of the system: a number for programmers."""


T = TypeVar("T")


class NoConfigError(ParamxError):
    """A repository that is there has no `config.json`."""


class NoHubError(ParamxError):
    """The hub can't be reached, or may not be."""


class NoSuchFileError(Exception):
    """A repository that is there has no such file."""


def is_missing_file(error: BaseException) -> bool:
    """Whether the hub library says that a repository has no such file."""
    from huggingface_hub import errors

    return isinstance(error, errors.RemoteEntryNotFoundError)


def fetch_config(spec: OpenSpec, suggestion: str) -> Path:
    """Fetch a repository's `config.json` into the hub cache; with `trust_remote_code` its `*.py` too.

    Args:
        spec: A target that is a repository's id, and how to open it.
        suggestion: What to offer when there is no such repository: `did you mean …?`, or nothing.

    Returns:
        The file in the cache; its directory's name is the commit.

    Raises:
        ParamxError: Not found, gated, rate limited, offline, too slow: each told apart.
    """
    import huggingface_hub
    from huggingface_hub import constants

    if spec.offline or constants.HF_HUB_OFFLINE:
        why = (
            "not on this disk, and offline (--offline)"
            if spec.offline
            else "not on this disk, and HF_HUB_OFFLINE is set"
        )
        raise NoHubError(spec.target, why, suggestion or "give a built-in name or a path, or go online")

    def fetch() -> Path:
        # Asked first and by itself: the download retries for half a minute before it tells of a refusal.
        _ask(spec)
        if spec.trust_remote_code:
            folder = huggingface_hub.snapshot_download(
                spec.target, revision=spec.revision, allow_patterns=CODE_PATTERNS, etag_timeout=HUB_SECONDS
            )
            if not Path(folder, "config.json").is_file():
                raise NoConfigError(*_no_config(spec.target))
            return Path(folder, "config.json")
        path = huggingface_hub.hf_hub_download(
            spec.target, "config.json", revision=spec.revision, etag_timeout=HUB_SECONDS
        )
        return Path(path)

    return _answer(spec, fetch, suggestion)


def check_there(spec: OpenSpec) -> None:
    """Ask the hub for a repository's `config.json`, and put nothing on this disk.

    Before the library is let to fetch weights: of a missing network it says after two minutes that a file is missing.

    Raises:
        ParamxError: As `fetch_config`.
    """
    _answer(spec, lambda: _ask(spec), "")


def _ask(spec: OpenSpec) -> None:
    import huggingface_hub

    url = huggingface_hub.hf_hub_url(spec.target, "config.json", revision=spec.revision)
    huggingface_hub.get_hf_file_metadata(url, timeout=HUB_SECONDS)


def _answer(spec: OpenSpec, ask: Callable[[], T], suggestion: str) -> T:
    """Return what the hub answers within `HUB_SECONDS`, its refusals told."""
    why = f"the hub did not answer within {HUB_SECONDS:g} s"
    try:
        return in_time(ask, HUB_SECONDS, ParamxError(spec.target, why, "try again, or give --offline"))
    except ParamxError:
        raise
    except Exception as error:
        raise told(spec, error, suggestion) from error


def in_time(work: Callable[[], T], seconds: float, late: ParamxError) -> T:
    """Do something in a thread that is left alone when it takes too long.

    Raises:
        ParamxError: It took longer than `seconds`: `late`.
        Exception: What it raised itself.
    """
    outcome: list[T] = []
    problem: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # handed to the thread that waits
            problem.append(error)

    # A daemon thread: the library's own timeouts are for each attempt, and a stalled one must not hold up the exit.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if problem:
        raise problem[0]
    if not outcome:
        raise late
    return outcome[0]


def _no_config(target: str) -> tuple[str, str, str]:
    why = "the repository has no config.json (an adapter, a GGUF or a dataset of files?)"
    return target, why, "give the base model's id, or open a downloaded file"


def told(spec: OpenSpec, error: BaseException, suggestion: str) -> ParamxError:
    """Tell what the hub library raised as one line."""
    from huggingface_hub import errors

    if isinstance(error, ParamxError):
        return error
    # The library wraps what went wrong first: "not in the cache either" is never the reason.
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and len(chain) < 10:
        chain.append(cause)
    target = spec.target
    if any(isinstance(one, errors.GatedRepoError) for one in chain):
        why = "the repository is gated: its owner must grant you access"
        return ParamxError(target, why, f"ask for access on {_page(target)}, then run `hf auth login`")
    if any(isinstance(one, errors.RevisionNotFoundError) for one in chain):
        return ParamxError(target, f"the repository has no revision {spec.revision}", "leave --revision out for main")
    if any(isinstance(one, errors.RemoteEntryNotFoundError) for one in chain):
        return NoConfigError(*_no_config(target))
    if any(isinstance(one, errors.RepositoryNotFoundError) for one in chain):
        remedy = f"{suggestion} " if suggestion else ""
        return ParamxError(
            target,
            "no such repository on the hub, or a private one",
            f"{remedy}for a private one run `hf auth login`",
        )
    status = next((code for one in chain if (code := _status(one)) is not None), None)
    if status is not None:
        return _told_status(target, status)
    if any(isinstance(one, errors.OfflineModeIsEnabled) for one in chain):
        return NoHubError(target, "not on this disk, and offline", suggestion or "go online, or give a built-in name")
    names = {kind.__name__ for one in chain for kind in type(one).__mro__}
    if "TimeoutException" in names or "TimeoutError" in names:
        return ParamxError(target, "the hub did not answer in time", "try again, or give --offline")
    if any(isinstance(one, errors.FileMetadataError) for one in chain):
        return ParamxError(target, "what answered is not a hub", "check HF_ENDPOINT, the proxy and the firewall")
    if names & {"NetworkError", "ConnectError", "ProtocolError", "ProxyError", "ConnectionError"}:
        reason = visible(" ".join(ERRNO.sub("", str(chain[-1])).split()))[:120]
        why = f"not on this disk, and no connection to the hub ({reason})" if reason else "no connection to the hub"
        return NoHubError(target, why, suggestion or "check the network, or give a built-in name or a path")
    text = " ".join(str(error).split())[:300]
    return ParamxError(target, f"the hub library failed: {type(error).__name__}: {text}")


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an exception carries, if it carries one."""
    response: Any = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    return status if isinstance(status, int) and status >= 400 else None


def _told_status(target: str, status: int) -> ParamxError:
    if status == 429:
        return ParamxError(target, "the hub limits your rate (429)", "wait a minute, or run `hf auth login` for more")
    if status in (401, 403):
        return ParamxError(target, f"the hub refuses access ({status})", "check your token: `hf auth login`")
    if status == 404:
        return ParamxError(target, "not found on the hub (404)", "check the name")
    if status >= 500:
        return ParamxError(
            target, f"the hub has a problem of its own ({status})", "try again later, or give --offline"
        )
    return ParamxError(target, f"the hub answered {status}", "check the name")


def _page(target: str) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{target}"
