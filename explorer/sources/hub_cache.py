"""Reads the hub's cache on this disk with the standard library alone, so that the start screen lists it quickly.

Layout (huggingface_hub, "Understand caching"): `ROOT/models--ORG--NAME/refs/REVISION` holds a commit, and
`ROOT/models--ORG--NAME/snapshots/COMMIT/` the files of it, as links into `blobs/`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from explorer.core.paths import expanded

REPO_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
"""What a repository's id looks like: `gpt2`, `FacebookAI/roberta-base`. Narrower than what the hub library takes."""

REVISION = re.compile(r"[A-Za-z0-9_][\w.+-]*(?:/[\w+-][\w.+-]*)*", re.ASCII)
"""What a branch, tag or commit looks like: `main`, `v1.0`, `refs/pr/3`."""

SHORT_COMMIT = 7
"""Characters of a commit that are shown, as git shows them."""


def cache_root() -> Path:
    """Return where the hub library keeps its files, by its own rules (huggingface_hub 2.4, constants.py)."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    hf_home = os.environ.get("HF_HOME") or f"{home}/huggingface"
    root = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or f"{hf_home}/hub"
    return expanded(os.path.expandvars(root))


def is_repo_id(text: str) -> bool:
    """Whether `text` may name a repository of the hub."""
    odd = ".." in text or "--" in text or text.endswith((".", "-", ".git", ".json"))
    return REPO_ID.fullmatch(text) is not None and not odd


def repository_at(address: str) -> str | None:
    """Return the id of the repository whose page on the hub is at an address; `None` for other addresses."""
    from huggingface_hub import constants

    for begin in ("hf://", f"{constants.ENDPOINT}/"):
        name = address.removeprefix(begin).removesuffix("/").removesuffix("/tree/main")
        if name != address and "/" in name and is_repo_id(name):
            return name
    return None


def snapshot(repo_id: str, revision: str | None = None) -> Path | None:
    """Return the cached snapshot of a repository that has a `config.json`; its name is the commit.

    Args:
        repo_id: `ORG/NAME` or `NAME`; the caller has checked it with `is_repo_id`.
        revision: Branch, tag, or commit (7 characters of it are enough); `main` when `None`.
    """
    folder = cache_root() / f"models--{repo_id.replace('/', '--')}"
    wanted = revision or "main"
    try:
        commit = (folder / "refs" / wanted).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        commit = wanted
    if not commit or "/" in commit or commit.startswith("."):
        return None
    snapshots = folder / "snapshots"
    if (snapshots / commit / "config.json").is_file():
        return snapshots / commit
    if revision and len(revision) >= SHORT_COMMIT and re.fullmatch(r"[0-9a-f]+", revision):
        found = [path for path in _entries(snapshots) if path.name.startswith(revision)]
        if len(found) == 1 and (found[0] / "config.json").is_file():
            return found[0]
    return None


def cached_models() -> Iterator[tuple[str, Path]]:
    """Yield the id and snapshot of every cached model that has a `config.json`, in order of name."""
    for folder in sorted(_entries(cache_root())):
        if not folder.name.startswith("models--"):
            continue
        repo_id = folder.name.removeprefix("models--").replace("--", "/")
        if is_repo_id(repo_id) and (path := snapshot(repo_id)) is not None:
            yield repo_id, path


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
