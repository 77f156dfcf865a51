"""Remembers the tables of built skeletons on disk: opening the same model again needs no torch.

One file a table, `$XDG_CACHE_HOME/paramx/tables/KEY.pxm`: 32 bytes SHA-256 of what follows, then the table as
`explorer.core.wire` lays it out. KEY is the SHA-256 of all that a table depends on. A file that does not read back is
no table; it is written anew, as a whole or not at all. Nothing here is worth an error: without it, paramx is slower.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.core.paths import own_folder
from explorer.core.wire import decode, encode
from explorer.version import __version__

if TYPE_CHECKING:
    from explorer.core.loading import OpenSpec
    from explorer.core.param import Model
    from explorer.sources.hub import Found

MAX_TABLES = 64
"""Most tables that are kept; those not used for longest go."""

MAX_BYTES = 100 << 20
"""Most bytes that they take together."""

SUFFIX = ".pxm"
"""How a table's file name ends."""

DIGEST_BYTES = hashlib.sha256().digest_size

LIBRARIES = ("torch", "transformers")
"""What builds the tables; another version may build another."""


def folder() -> Path:
    """Return where tables lie.

    Raises:
        OSError: Nobody knows where home is.
    """
    return own_folder("XDG_CACHE_HOME", ".cache") / "tables"


def key_of(spec: OpenSpec, found: Found) -> str | None:
    """Return the name of a target's table, `None` where none may be remembered.

    That is where code or weights beside the config have a say: neither is in the key. Other files there are told.

    Args:
        spec: What is opened.
        found: The configuration that it means.
    """
    from explorer.sources.hf_weights import others_beside

    if spec.trust_remote_code or spec.weights or (found.directory is not None and _has_weights(found.directory)):
        return None
    versions = [_version(library) for library in LIBRARIES]
    if None in versions:
        return None
    path = str(found.path) if found.path is not None else None
    others = others_beside(found.directory) if found.directory is not None else ""
    parts = [spec.target, spec.class_name, found.description, path, found.config, others]
    # A paramx that is installed anew between two releases has the version of the one before.
    installed = Path(__file__).stat().st_mtime_ns
    text = json.dumps([__version__, installed, sys.version, versions, parts], sort_keys=True)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def load(key: str | None) -> Model | None:
    """Return a remembered table, marked as such; `None` where there is none that reads back."""
    if key is None:
        return None
    try:
        path = folder() / f"{key}{SUFFIX}"
        data = path.read_bytes()
        if hashlib.sha256(data[DIGEST_BYTES:]).digest() != data[:DIGEST_BYTES]:
            return None
        model = decode(memoryview(data)[DIGEST_BYTES:])
    except (OSError, ValueError):
        return None
    with suppress(OSError):
        os.utime(path)  # used last
    return replace(model, origin=replace(model.origin, remembered=True))


def store(key: str | None, model: Model) -> None:
    """Remember a table, and forget the oldest where there are too many."""
    if key is None:
        return
    block = encode(model)
    if len(block) > MAX_BYTES:
        return
    with suppress(OSError):
        import tempfile

        place = folder()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        # In the same folder: a file of that name is whole, whoever else writes it at the same time.
        descriptor, draft = tempfile.mkstemp(dir=place, prefix=".", suffix=SUFFIX)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
                file.write(hashlib.sha256(block).digest() + block)
            Path(draft).replace(place / f"{key}{SUFFIX}")
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        _forget(place)


def _forget(place: Path) -> None:
    """Remove the tables that were not used for longest until the rest is within the bounds."""
    taken = 0
    stats = [(path, path.stat()) for path in place.iterdir() if path.suffix == SUFFIX]
    last_first = sorted(stats, key=lambda each: each[1].st_mtime_ns, reverse=True)
    for kept, (path, status) in enumerate(last_first, 1):
        taken += status.st_size
        if kept > MAX_TABLES or taken > MAX_BYTES:
            path.unlink(missing_ok=True)


def _version(library: str) -> str | None:
    """Return the version of an installed library; `None` where there is none.

    Told by the name of its `.dist-info` folder (PEP 491): `importlib.metadata` takes 25 ms to import and to read the
    same from a file, as long as all the rest of this.
    """
    for place in sys.path:
        with suppress(OSError):
            for entry in os.scandir(place or "."):
                if entry.name.startswith(f"{library}-") and entry.name.endswith(".dist-info"):
                    return entry.name.removeprefix(f"{library}-").removesuffix(".dist-info")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _has_weights(directory: Path) -> bool:
    from explorer.sources.hf_weights import weights_beside

    return weights_beside(directory) is not None
