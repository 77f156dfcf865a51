"""Finds the configuration of a target: a local path, then the hub cache, then built-in names, then the hub."""

from __future__ import annotations

import difflib
import math
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.paths import expanded
from explorer.sources import Report
from explorer.sources.checkpoint.files import UnreadableError, inside, parse_json
from explorer.sources.factory import misspelt
from explorer.sources.hub_cache import REVISION, SHORT_COMMIT, is_repo_id, snapshot
from explorer.sources.hub_fetch import fetch_config

UNREAD_FORMATS = {
    ".onnx": "an ONNX graph",
    ".h5": "an HDF5 file, as of Keras",
    ".keras": "a Keras model",
    ".msgpack": "Flax weights",
    ".tflite": "a TensorFlow Lite model",
    ".npz": "numpy arrays",
    ".npy": "a numpy array",
    ".engine": "a TensorRT engine",
}
"""What other programs' files are, by suffix; they are named, not read."""
MAX_CONFIG = 64 << 20
"""Longest `config.json` that is read, in bytes; real ones have at most a few million (label lists)."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a target turned out to be."""

    config: Mapping[str, Any]
    """The parsed `config.json`, an object."""
    description: str
    """What was used, in words, as if there were no weights; who finds some rewrites it."""
    path: Path | None = None
    """The `config.json` itself; `None` for a built-in architecture."""
    directory: Path | None = None
    """The directory to look for weights and code in; `None` where there are none."""
    repo_id: str | None = None
    """The repository on the hub that the config is of; `None` of a path and of a built-in architecture."""

    @property
    def commit(self) -> str | None:
        """The repository's commit: the name of the snapshot in the hub's cache."""
        return None if self.repo_id is None or self.path is None else self.path.parent.name


def find(spec: OpenSpec, report: Report) -> Found:
    """Find the configuration of a target.

    Args:
        spec: What to open.
        report: Called with each stage that takes time.

    Raises:
        ParamxError: Nothing is there; the message says which of the many reasons it is.
    """
    target = spec.target
    if "\0" in target or not target.strip():
        raise ParamxError(repr(target), "not a name or a path", "give a hub id, a built-in name or a path")
    if (wrong := misspelt(target)) is not None:
        raise wrong
    if (found := _local(target)) is not None:
        if spec.revision is not None:
            raise ParamxError(target, "a path has no revisions", "leave --revision out")
        return found
    if looks_like_path(target):
        raise _no_such_path(target)
    if not is_repo_id(target):
        raise ParamxError(target, "not a hub id", "hub ids are ORG/NAME with letters, digits, '-', '_' and '.'")
    if spec.revision is not None and (not REVISION.fullmatch(spec.revision) or ".." in spec.revision):
        raise ParamxError(target, f"not a revision: {spec.revision}", "give a branch, a tag or a commit")
    if (found := _cached(spec)) is not None:
        return found
    if spec.revision is None and (found := _builtin(target)) is not None:
        return found
    try:
        return _from_hub(spec, report)
    except ParamxError as error:
        # The name may be meant as what lies here: "not on this disk" would then be a lie.
        if (Path(target).exists() or Path(target).is_symlink()) and spec.revision is None:
            raise _nothing_in(Path(target)) from error
        raise


def looks_like_path(target: str) -> bool:
    """Whether a target can only be meant as a path, so that the network is never asked for it."""
    return (
        target.startswith((".", "/", "~"))
        or target.endswith((".json", "/"))
        or target.count("/") > 1
        or "\\" in target
    )


BUILT_ONE_BY_ONE = {
    re.compile(
        r"(layers?|blocks|depths?|experts|stages|groups|group_num|codebooks|quantizers|levels|repeats|per_block|block_sizes)$"
    ): 10_000,
    re.compile(r"labels$"): 1_000_000,
}
"""Ends of a config's keys whose number is a number of things that are built one by one, as `num_hidden_layers` and
`depths`, and the most of them that a config may ask for: models have hundreds. What they make together, multiplied,
is counted as it is built (`explorer.sources.built_parts`)."""

TOGETHER = 1_000_000
"""Most that the numbers of one list under such a key may sum to: a library makes a rate for each layer of all
`depths` before it builds the first. Far above `BUILT_ONE_BY_ONE`, for some lists name layers by their places
(`mlp_only_layers`)."""

MAX_NUMBERS = 5_000
"""Most numbers of one list of a config: some models have a layer for each (`conv_dim`, `hidden_sizes`, `depths`)."""

ONE_EACH = re.compile(r"layer|block|stage|pattern")
"""Keys whose list, or text, has an entry or a letter for each layer: `attn_layers`, `layer_types`."""

LAYERS, EXPERTS = re.compile(r"layers?$"), re.compile(r"experts$")
"""Keys that are multiplied: each layer has its experts."""

MAX_EXPERTS = 200_000
"""Most experts of all layers together."""


def read_config(path: Path, what: str) -> dict[str, Any]:
    """Read a `config.json`.

    Args:
        path: The file.
        what: How an error names it.

    Raises:
        ParamxError: It can't be read, is not JSON, or not an object.
    """
    try:
        # Without O_NONBLOCK a named pipe would block for ever.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - a descriptor
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ParamxError(what, "not a regular file", "give a config.json or a directory that has one")
            if status.st_size > MAX_CONFIG:
                raise ParamxError(what, f"{status.st_size:,} bytes are too many for a config.json")
            # Without data a descriptor that does not block gives None: files of /proc say they are regular.
            data = file.read(MAX_CONFIG) or b""
    except OSError as error:
        raise ParamxError(
            what, (error.strerror or str(error)).lower(), "check the path and its permissions"
        ) from None
    if not path.suffix and not data.lstrip().startswith(b"{"):
        raise _unknown(path)
    try:
        config = parse_json(data, "the config")
    except UnreadableError as error:
        raise ParamxError(what, error.why, "repair the file") from None
    if not isinstance(config, dict):
        raise ParamxError(
            what, f"the config is a JSON {json_kind(config)}, not an object", "give a model's config.json"
        )
    _refuse_endless(config, what)
    return config


def _refuse_endless(config: dict[str, Any], what: str) -> None:
    """Refuse a config whose building would not end: libraries loop over the number of layers, at 1 ms a turn.

    Raises:
        ParamxError: It asks for more than `BUILT_ONE_BY_ONE` or `MAX_NUMBERS` allows.
    """
    left: list[Any] = [config]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left += value.values()
            if (experts := _most(value, EXPERTS)) * _most(value, LAYERS) > MAX_EXPERTS:
                raise ParamxError(
                    what, f"{experts:,} experts in each layer: no model has so many", "correct the config"
                )
            for key, numbers in value.items():
                most = next((most for end, most in BUILT_ONE_BY_ONE.items() if end.search(key)), math.inf)
                if isinstance(numbers, list | str) and len(numbers) > 10_000 and ONE_EACH.search(key):
                    raise ParamxError(
                        what, f"{key} lists {len(numbers):,}: no model has so many", "correct the config"
                    )
                if most is math.inf:
                    continue
                counts = [
                    number
                    for number in (numbers if isinstance(numbers, list) else [numbers])
                    if type(number) in (int, float) and number > 0
                ]
                for number in counts:
                    if number > most:
                        count = f"{number:,}" if number < 1 << 63 else "2⁶³ or more"
                        raise ParamxError(what, f"{key} is {count}: no model has so many", "correct the config")
                if isinstance(numbers, list) and sum(counts) > TOGETHER:
                    raise ParamxError(
                        what, f"{key} sums to {sum(counts):,}: no model has so many", "correct the config"
                    )
        elif isinstance(value, list):
            left += value
            if sum(type(item) in (int, float) for item in value) > MAX_NUMBERS:
                raise ParamxError(
                    what, f"a list of {len(value):,} numbers: no model has so many", "correct the config"
                )


def _most(config: Mapping[str, Any], keys: re.Pattern[str]) -> int:
    """Return the largest number under keys of a kind; 0 without one."""
    return max((value for key, value in config.items() if type(value) is int and keys.search(key)), default=0)


def nearest(word: str, names: Sequence[str]) -> str:
    """Return `did you mean X or Y?` for the names most like `word`, or nothing."""
    folded = {name.lower(): name for name in names}
    close = difflib.get_close_matches(word.lower(), list(folded), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(folded[name] for name in close)}?" if close else ""


def _local(target: str) -> Found | None:
    """Look at the local disk; `None` when the target may still be a name."""
    path = expanded(target)
    try:
        if path.is_dir():
            config = path / "config.json"
            if config.exists():
                if inside(path, config.name) is None:
                    raise ParamxError(str(config), "the link leads out of the directory", "name the file itself")
                return Found(read_config(config, str(config)), "config.json, no weights", config, path)
            if looks_like_path(target) or not is_repo_id(target):
                if (path / "adapter_config.json").exists():
                    raise ParamxError(
                        target, "an adapter, not a whole model", "give the base model's id or directory"
                    )
                raise ParamxError(target, "the directory has no config.json", "give a directory that has one")
            return None
        if path.exists():
            if is_repo_id(target) and not looks_like_path(target) and not path.suffix:
                return None  # a file that is called as a model is, and is no config
            if path.is_file() and path.suffix.lower() not in ("", ".json"):
                raise _unknown(path)
            return Found(read_config(path, target), "config.json, no weights", path)
    except (OSError, ValueError) as error:  # a name too long for a path
        if looks_like_path(target):
            why = (getattr(error, "strerror", None) or str(error)).lower()
            raise ParamxError(target, why, "check the path and its permissions") from None
    return None


def _unknown(path: Path) -> ParamxError:
    """Return why a file that is neither a checkpoint nor a config can't be opened."""
    known = UNREAD_FORMATS.get(path.suffix.lower())
    what = f"{known}, which paramx does not read" if known else "neither a checkpoint nor a config"
    return ParamxError(str(path), what, "give a .safetensors, .pt, .bin or .gguf, a config.json or a directory")


def _nothing_in(path: Path) -> ParamxError:
    """Return why a path that is there, and could be a name as well, can't be opened as either."""
    what = str(path)
    if not os.access(path, os.R_OK | os.X_OK if path.is_dir() else os.R_OK):
        return ParamxError(what, "permission denied", "check the path and its permissions")
    if path.is_dir():
        return ParamxError(what, "the directory has no config.json and no weights", "give one that has")
    return _unknown(path)


def _no_such_path(target: str) -> ParamxError:
    parent = Path(target).parent
    try:
        siblings = [str(parent / path.name) for path in parent.iterdir()]
    except OSError:
        siblings = []
    return ParamxError(target, "no such file or directory", nearest(str(Path(target)), siblings) or "check the path")


def _ids(target: str) -> tuple[str, ...]:
    """Return the ids that name the same repository: `roberta-base` moved to `FacebookAI/roberta-base`."""
    from explorer.sources import builtin

    known = builtin.find(target)
    return tuple(dict.fromkeys([target, *known.ids, known.name])) if known else (target,)


def _cached(spec: OpenSpec) -> Found | None:
    for repo_id in _ids(spec.target):
        if is_repo_id(repo_id) and (path := snapshot(repo_id, spec.revision)) is not None:
            content = read_config(path / "config.json", f"{repo_id} in the hub cache")
            if spec.trust_remote_code and not spec.offline and _lacks_code(path, content):
                continue
            description = f"cached snapshot {path.name[:SHORT_COMMIT]}, no weights"
            return Found(content, description, path / "config.json", path, repo_id)
    return None


def _lacks_code(snapshot: Path, config: Mapping[str, Any]) -> bool:
    """Whether the config names code of its own repository that an earlier opening did not fetch."""
    auto_map = config.get("auto_map")
    refs = [ref for ref in auto_map.values() if isinstance(ref, str)] if isinstance(auto_map, Mapping) else []
    return any(not (snapshot / f"{ref.partition('.')[0]}.py").exists() for ref in refs if "--" not in ref)


def _builtin(target: str) -> Found | None:
    from explorer.sources import builtin

    known = builtin.find(target)
    return Found(known.config, "built-in architecture, no weights") if known else None


def _from_hub(spec: OpenSpec, report: Report) -> Found:
    """Fetch the configuration, and the repository's code where it may run; never weights."""
    report(f"asking the hub for {spec.target}")
    known = spec.target in _names()
    offer = "the built-in architecture opens without --revision" if known else nearest(spec.target, _names())
    path = fetch_config(spec, offer)
    config = read_config(path, f"{spec.target} on the hub")
    directory = path.parent if spec.trust_remote_code else None
    description = f"config from the hub ({path.parent.name[:SHORT_COMMIT]}), no weights"
    return Found(config, description, path, directory, spec.target)


def _names() -> tuple[str, ...]:
    from explorer.sources import builtin

    return tuple(builtin.names())


def json_kind(value: Any) -> str:
    """Return what JSON calls a value of this kind."""
    kinds = {"NoneType": "null", "bool": "boolean", "dict": "object", "list": "array", "str": "string"}
    return kinds.get(type(value).__name__, "number")
