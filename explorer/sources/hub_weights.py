"""Opens a hub repository with the headers of its weights (`--weights`): by range requests, never the weights.

A safetensors file begins with its header (see `checkpoint.safetensors_header`): its first bytes are asked for, then,
if the header is longer, the rest of it. A server that sends more than it was asked for is not listened to.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.param import Finding
from explorer.core.text import visible
from explorer.sources import Opened, Report, hub_fetch
from explorer.sources.checkpoint.files import File, UnreadableError, parse_json
from explorer.sources.checkpoint.safetensors_file import Checkpoint, read_shards
from explorer.sources.checkpoint.shards import MAX_INDEX, Shards, shards_of
from explorer.sources.hub_cache import SHORT_COMMIT, is_repo_id, snapshot

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
"""What transformers calls its weights, in one file and in shards."""

FIRST_BYTES = 100_000
"""What is asked for first of each file: of the 1,000 most used repositories 97 % have a shorter header
(huggingface_hub 2.4, hf_api.py, `parse_safetensors_file_metadata`)."""

ALL_SECONDS = 120.0
"""Deadline for all headers of a repository: 200 shards of 1 MB at a few MB a second."""

AT_ONCE = 8
"""Shards that are asked for at the same time."""

BLOCK = 65_536
"""Bytes that are taken from a connection at a time, at most."""

RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
"""A `Content-Range` (RFC 9110, section 14.4): first byte, last byte, size of the whole."""


def open_model(spec: OpenSpec, report: Report) -> Opened:
    """Open a repository of the hub by its id, or by the name of the built-in architecture that it has the weights of.

    Args:
        spec: What to open.
        report: Called with each stage as it begins.

    Returns:
        The model laid over the headers; where the config builds none, the headers' own table.

    Raises:
        ParamxError: It is no repository, or can't be read; each reason is told apart.
    """
    named = _named(spec)
    try:
        return _open(named, report)
    except hub_fetch.NoHubError as error:
        if named.target == spec.target:
            raise
        # Of the name that was typed all but the weights is known without a network.
        why = f"its weights are in {named.target} on the hub: {error.why}"
        raise ParamxError(spec.target, why, "check the network, or leave --weights out") from error


def _open(spec: OpenSpec, report: Report) -> Opened:
    """Open a repository by its config and the headers of its weights."""
    from explorer.sources import hf_model
    from explorer.sources.hf_weights import Weights, weights_beside
    from explorer.sources.hub import Found, read_config

    cached = snapshot(spec.target, spec.revision)
    if cached is not None and weights_beside(cached) is not None:
        return hf_model.open_model(replace(spec, weights=False), report)
    report(f"asking the hub for {spec.target}")
    config: Path | None = None
    problem = ""
    try:
        config = cached / "config.json" if cached is not None else hub_fetch.fetch_config(spec, "")
    except hub_fetch.NoConfigError as error:
        problem = error.why
    pinned = spec if config is None else replace(spec, revision=config.parent.name)
    report("reading the headers of the weights")
    why = f"the headers of its weights did not come within {ALL_SECONDS:g} s"
    late = ParamxError(spec.target, why, "try again, or download the weights")
    checkpoint = hub_fetch.in_time(lambda: read_headers(pinned, report), ALL_SECONDS, late)
    short = (pinned.revision or "main")[:SHORT_COMMIT]
    table = replace(
        checkpoint.model,
        origin=replace(
            checkpoint.model.origin,
            target=visible(spec.target),
            description=f"{checkpoint.model.origin.description}, from the hub ({visible(short)})",
        ),
    )
    if config is not None:
        directory = config.parent if spec.trust_remote_code else None
        content = read_config(config, f"{spec.target} on the hub")
        found = Found(content, f"config and headers from the hub ({short}), no weights", config, directory)
        try:
            opened, overlay = hf_model.build(
                spec, found, report, Weights(table, checkpoint.names, unread=checkpoint.unread)
            )
            if overlay is not None and overlay.fits:
                return opened
            problem = "config.json is of another model"
            if overlay is None:
                problem = "; ".join(note.message for note in opened.model.findings if note.id == "weights-not-read")
        except ParamxError as error:
            problem = error.line.removeprefix(f"{spec.target}: ")
    why = "without it no module classes are known"
    note = Finding("no-skeleton", "hint", f"no config was laid over the headers: {problem}", why=why)
    return Opened(replace(table, findings=(*table.findings, note)))


def is_repository(target: str) -> bool:
    """Whether a target can only be a repository of the hub; weights that lie beside a path are read anyway."""
    from explorer.sources.hub import looks_like_path

    try:
        return is_repo_id(target) and not looks_like_path(target) and not Path(target).exists()
    except (OSError, ValueError):
        return False


def _named(spec: OpenSpec) -> OpenSpec:
    """Return the request with the repository's own id: `roberta-base` moved to `FacebookAI/roberta-base`.

    Raises:
        ParamxError: The revision can't be one.
    """
    from explorer.sources import builtin
    from explorer.sources.hub_cache import REVISION

    target = spec.target
    if spec.revision is not None and (not REVISION.fullmatch(spec.revision) or ".." in spec.revision):
        raise ParamxError(target, f"not a revision: {spec.revision}", "give a branch, a tag or a commit")
    known = builtin.find(target)
    return replace(spec, target=known.ids[0]) if known is not None and known.ids else spec


def read_headers(spec: OpenSpec, report: Report) -> Checkpoint:
    """Read the headers of a repository's weights.

    Args:
        spec: The repository; its revision should be a commit, lest the files be of several.
        report: Called with how many shards are read.

    Raises:
        ParamxError: The repository has none, or they can't be read.
    """
    shards = Shards({WHOLE: Path(WHOLE)}, None, None, {}, ())
    files: dict[str, File | UnreadableError]
    try:
        files = {WHOLE: RemoteFile(spec, WHOLE)}
    except hub_fetch.NoSuchFileError:
        shards = _shards(spec)
        files = _open_all(spec, shards, report)
    except UnreadableError as error:
        raise ParamxError(spec.target, f"{WHOLE}: {error.why}", error.remedy) from None

    def opened(path: Path) -> File:
        found = files[str(path)]
        if isinstance(found, UnreadableError):
            raise found
        return found

    return read_shards(spec.target, shards, opened)


def _shards(spec: OpenSpec) -> Shards:
    """Fetch the index, which may be large, and say which files it names.

    Raises:
        ParamxError: There is no index, or it names no shard.
    """
    try:
        with RemoteFile(spec, INDEX) as file:
            if file.size > MAX_INDEX:
                raise UnreadableError(f"{file.size:,} bytes are too many for an index")
            content = parse_json(file.read(0, file.size), "the index")
    except hub_fetch.NoSuchFileError:
        why = f"the repository has neither {WHOLE} nor {INDEX}"
        raise ParamxError(spec.target, why, "download its weights, and open the file") from None
    except UnreadableError as error:
        raise ParamxError(spec.target, f"{INDEX}: {error.why}", error.remedy) from None
    # Below the null device nothing can lie, and no link can lead anywhere: names are looked at by themselves.
    shards = shards_of(spec.target, Path(os.devnull, INDEX), content)
    return replace(shards, files={name: Path(name) for name in shards.files})


def _open_all(spec: OpenSpec, shards: Shards, report: Report) -> dict[str, File | UnreadableError]:
    """Ask for the first bytes of every shard, some at the same time."""
    done = 0
    lock = threading.Lock()

    def ask(name: str) -> File | UnreadableError:
        nonlocal done
        try:
            found: File | UnreadableError = RemoteFile(spec, name).whole_header()
        except hub_fetch.NoSuchFileError:
            found = UnreadableError("not in the repository", finding="missing-shard")
        except UnreadableError as error:
            found = error
        except ParamxError as error:
            found = UnreadableError(error.why, error.remedy)
        with lock:
            done += 1
            report(f"reading the headers of the weights, {done} of {len(shards.files)} shards")
        return found

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(shards.files, pool.map(ask, shards.files), strict=True))


class RemoteFile(File):
    """A file of a repository, read by range requests. Only what begins it is ever asked for."""

    def __init__(self, spec: OpenSpec, name: str) -> None:
        """Ask for its first bytes, and how long it is.

        Raises:
            NoSuchFileError: The repository has no such file.
            ParamxError: The hub refuses.
            UnreadableError: What answers does not say how long the file is.
        """
        self.path = Path(name)
        self._spec, self._name = spec, name
        self._head, self.size = self._ask(0, FIRST_BYTES)

    def __enter__(self) -> RemoteFile:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def whole_header(self) -> RemoteFile:
        """Ask now for what a safetensors header needs, so that several can be asked for at the same time."""
        from explorer.sources.checkpoint.safetensors_header import LENGTH_BYTES, MAX_HEADER

        length = int.from_bytes(self._head[:LENGTH_BYTES], "little")
        # An impossible length is reported by the reader of the header.
        if len(self._head) >= LENGTH_BYTES and length <= min(MAX_HEADER, self.size - LENGTH_BYTES):
            self.read(0, LENGTH_BYTES + length)
        return self

    def read(self, offset: int, nbytes: int) -> bytes:
        """Return exactly `nbytes` bytes from `offset`; what is new of them is asked for.

        Raises:
            UnreadableError: The file has not that many, or they were not sent.
        """
        end = offset + nbytes
        if nbytes < 0 or offset < 0 or end > self.size:
            raise UnreadableError("cut short: the file ends in the middle", "", "truncated")
        if end > len(self._head):
            try:
                rest, _ = self._ask(len(self._head), end - len(self._head))
            except (ParamxError, hub_fetch.NoSuchFileError) as error:
                raise UnreadableError(error.why if isinstance(error, ParamxError) else "it is gone") from None
            self._head += rest
        if end > len(self._head):
            raise UnreadableError("the server sent less than it has", "try again", "truncated")
        return self._head[offset:end]

    def _ask(self, start: int, nbytes: int) -> tuple[bytes, int]:
        """Ask for some bytes; return those that came, and the size of the file."""
        with _answer(self._spec, self._name, start, start + nbytes - 1) as response:
            if response.status_code == 206:
                match = RANGE.fullmatch(response.headers.get("content-range", ""))
                if match is None or int(match[1]) != start:
                    raise UnreadableError("the server answered with another part than it was asked for", "try again")
                return _take(response.iter_bytes(BLOCK), nbytes), int(match[3])
            # It ignores ranges: what was asked for is taken out of the whole, and the rest is not listened to.
            length = response.headers.get("content-length", "")
            if not (length.isascii() and length.isdecimal() and len(length) < 19):
                raise UnreadableError(
                    "the server does not say how long the file is", "download it, and open the file"
                )
            return _take(response.iter_bytes(BLOCK), start + nbytes)[start:], int(length)


def _take(blocks: Iterable[bytes], nbytes: int) -> bytes:
    """Return the first bytes of what comes."""
    taken = bytearray()
    for block in blocks:
        taken += block
        if len(taken) >= nbytes:
            break
    return bytes(taken[:nbytes])


@contextmanager
def _answer(spec: OpenSpec, name: str, first: int, last: int) -> Iterator[Any]:
    """Ask for a range of a file's bytes, inclusive, by the hub library's own session, and check the answer's status.

    Raises:
        NoSuchFileError: The repository has no such file.
        ParamxError: It could not be asked for, or the connection broke.
    """
    import huggingface_hub
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = huggingface_hub.hf_hub_url(spec.target, name, revision=spec.revision)
    # `identity`: of a compressed answer a range would be one of the compressed bytes.
    headers = {**build_hf_headers(), "range": f"bytes={first}-{last}", "accept-encoding": "identity"}
    try:
        with get_session().stream("GET", url, headers=headers, timeout=hub_fetch.HUB_SECONDS) as answer:
            response = answer
            if response.status_code == 416:  # an empty file has no bytes in any range
                raise UnreadableError("the file is empty", "", "truncated")
            if response.status_code >= 400:
                # The library reads the reason out of the answer's text, of which there may be any amount.
                kept = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
                text = _take(response.iter_bytes(BLOCK), BLOCK)
                response = type(response)(response.status_code, headers=kept, content=text, request=response.request)
            hf_raise_for_status(response)
            yield response
    except (UnreadableError, ParamxError):
        raise
    except Exception as error:
        if hub_fetch.is_missing_file(error):
            raise hub_fetch.NoSuchFileError(name) from None
        raise hub_fetch.told(spec, error, "") from error
