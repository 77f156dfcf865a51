"""Which transformers class to build for a config: the one it names, or the ones that fit, best first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.text import cut
from explorer.sources import out_of_memory
from explorer.sources.hub import Found, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

HEADS = (
    "ImageTextToText",
    "MultimodalLM",
    "SpeechSeq2Seq",
    "Seq2SeqLM",
    "MaskedLM",
    "CausalLM",
)
"""Tasks whose head belongs to the pretrained model. A config that names no architecture is built as the first of
these that transformers maps its type to, so that bart is a Seq2SeqLM though it is also mapped as a CausalLM.
After them comes the bare `AutoModel`, then any other task (classification heads depend on the data set). A type that
is mapped nowhere, such as CLAP's audio encoder, is built by the class that declares the config as its own."""

FITTING = 3
"""Classes that are offered where the one that is named does not exist."""


def classes(spec: OpenSpec, found: Found, config: PreTrainedConfig) -> Iterator[type[PreTrainedModel]]:
    """Yield the class to build, and where none is named the ones to try, best first."""
    name = spec.class_name or architecture(found.config)
    auto_map = getattr(config, "auto_map", None) or {}
    if spec.trust_remote_code and found.directory is not None and (ref := _remote_class(auto_map, name)):
        from transformers.dynamic_module_utils import get_class_from_dynamic_module

        yield get_class_from_dynamic_module(ref, str(found.directory))
    elif name is not None:
        yield _named_class(spec, name, config)
    else:
        yield from _mapped_classes(config)


def _remote_class(auto_map: Mapping[str, Any], name: str | None) -> str | None:
    """Return the reference `module.Class` of the repository's own model class, if it has one that fits."""
    refs = {auto: ref for auto, ref in auto_map.items() if auto.startswith("AutoModel") and isinstance(ref, str)}
    if name is not None:
        return next((ref for ref in refs.values() if ref.rpartition(".")[2] == name), None)
    order = [*(f"AutoModelFor{head}" for head in HEADS), "AutoModel", *refs]
    return next((refs[auto] for auto in order if auto in refs), None)


def _named_class(spec: OpenSpec, name: str, config: PreTrainedConfig) -> type[PreTrainedModel]:
    import transformers

    try:
        found = getattr(transformers, name, None)
        if found is not None and name.startswith("AutoModel"):
            found = next(_from_mapping(found, config), None)
            if found is None:
                raise ParamxError(spec.target, f"{name} has no class for a {type(config).__name__}")
    except ImportError as error:
        raise cannot_build(spec.target, name, error) from error
    # The abstract bases build an empty model, and one of them a lasting mess in the library's caches.
    abstract = name.endswith("PreTrainedModel")
    if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel) and not abstract:
        return found
    where = "--class names" if spec.class_name else "the config names"
    what = "which is not a model class" if found is not None else f"which transformers {version()} does not have"
    models = [word for word in dir(transformers) if re.search(r"Model(?!Output)|For[A-Z]", word)]
    hint = nearest(name, models) or _fitting(config)
    if not spec.class_name and getattr(config, "auto_map", None) and not spec.trust_remote_code:
        hint = "give --trust-remote-code if you trust the repository's code, or name a class with --class"
    raise ParamxError(spec.target, f"{where} {name}, {what}", hint)


def _fitting(config: PreTrainedConfig) -> str:
    """Return what `--class` could be for a config."""
    names = [found.__name__ for found in islice(_mapped_classes(config), FITTING)]
    return f"for this config give --class {' or '.join(names)}" if names else "name a class with --class"


def _mapped_classes(config: PreTrainedConfig) -> Iterator[type[PreTrainedModel]]:
    """Yield the classes that transformers maps this config's type to, in the order that `HEADS` explains."""
    from transformers.models.auto import modeling_auto

    first = [*(f"AutoModelFor{head}" for head in HEADS), "AutoModel"]
    others = sorted(name for name in dir(modeling_auto) if name.startswith("AutoModel") and name not in first)
    seen: set[type] = set()
    for name in (*first, *others):
        for model_class in _from_mapping(getattr(modeling_auto, name, None), config):
            if model_class not in seen:
                seen.add(model_class)
                yield model_class
    if not seen:
        yield from _declaring_classes(config)


def _declaring_classes(config: PreTrainedConfig) -> list[type[PreTrainedModel]]:
    """Return the classes, in the package that defines a config, whose own config class it is; `…Model` first."""
    from importlib import import_module

    from transformers import PreTrainedModel

    module = type(config).__module__.replace(".configuration_", ".modeling_")
    if ".modeling_" not in module:
        return []
    try:
        members = vars(import_module(module)).values()
    except ImportError:
        return []
    found = [
        member
        for member in members
        if isinstance(member, type)
        and issubclass(member, PreTrainedModel)
        and getattr(member, "config_class", None) is type(config)
        and not member.__name__.endswith("PreTrainedModel")
    ]
    return sorted(found, key=lambda member: not member.__name__.endswith("Model"))


def _from_mapping(auto_class: Any, config: PreTrainedConfig) -> Iterator[type[PreTrainedModel]]:
    mapping = getattr(auto_class, "_model_mapping", None)
    if mapping is None or type(config) not in mapping:
        return
    try:
        found = mapping[type(config)]
    except (KeyError, ValueError, AttributeError):  # mapped to a class that this version does not have
        return
    # A type may map to several classes: transformers itself then picks by `architectures`, or takes the first.
    yield from found if isinstance(found, tuple | list) else (found,)


def config_for(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedConfig:
    """Return the part of a composite config that a class takes: CLIPTextModel takes CLIP's text config."""
    wanted = getattr(model_class, "config_class", None)
    if not isinstance(wanted, type) or isinstance(config, wanted):
        return config
    parts = (getattr(config, name, None) for name in getattr(config, "sub_configs", {}))
    return next((part for part in parts if isinstance(part, wanted)), config)


def architecture(config: Mapping[str, Any]) -> str | None:
    """Return the class that a config names, if it names one."""
    named = config.get("architectures")
    return named[0] or None if isinstance(named, list) and named and isinstance(named[0], str) else None


def version() -> str:
    """Return the version of transformers."""
    import transformers

    return str(transformers.__version__)


def cannot_build(
    target: str,
    what: str,
    error: Exception,
    how: str = "can't be built on the meta device",
    config: Mapping[str, Any] | None = None,
) -> ParamxError:
    """Tell why transformers could not make something.

    Args:
        target: What was opened.
        what: What could not be made.
        error: Why; a missing package is named with the line that installs it.
        how: What could not be done.
        config: The configuration, if it may be at fault.
    """
    if out_of_memory.was_short(error):  # a library that does not fit is an ImportError too
        return ParamxError(target, out_of_memory.shortage(), out_of_memory.REMEDY)
    text = " ".join(str(error).split())
    if isinstance(error, ImportError):
        missing = re.search(r"requires the (\S+) library", text)
        package = re.search(r"pip install (?:-\S+ )*([\w.\[\]-]+)", text)
        name = missing[1] if missing else getattr(error, "name", None) or (package[1] if package else "")
        if name:
            return ParamxError(
                target, f"{what} needs the package {name}", f"pip install {package[1] if package else name}"
            )
    # What torch quotes may end in a line of its own with nothing but a closing quote.
    lines = [line.strip() for line in without_trace(str(error)).splitlines() if re.search(r"\w", line)]
    last = cut(lines[-1]) if lines else ""
    why = f"{type(error).__name__}: {last}"
    if blamed := _blamed(config or {}, error):
        return ParamxError(target, f"{what} {how}: {blamed} ({why})", "correct the config")
    return ParamxError(target, f"{what} {how}: {why}")


SIZE = re.compile(r"num_|size|dim|heads|layers|width|^[dn]_")
"""In the name of what a config counts: 0 of a `pad_token_id` is no size."""

LARGE = 1 << 40
"""From here on a number of a config may be what overflows."""


def _blamed(config: Mapping[str, Any], error: Exception) -> str:
    """Name the entries of a config that an exception comes from, where its kind and its text show them."""
    text = str(error)

    def at_fault(key: str, value: Any) -> bool:
        if isinstance(error, ZeroDivisionError):
            return type(value) is int and value == 0 and SIZE.search(key) is not None
        if isinstance(error, KeyError | AttributeError):  # they end with the name that they looked for
            return isinstance(value, str) and text.endswith(repr(value))
        return type(value) is int and value >= LARGE and "overflow" in text

    return ", ".join(f"{key} is {cut(repr(value))}" for key, value in config.items() if at_fault(key, value))


TRACE = re.compile(r"Exception raised from |frame #\d+:|C\+\+ CapturedTraceback|\n\nStack [Tt]race")
"""Where the backtrace of torch's C++ begins, which follows what went wrong (c10/util/Exception.cpp)."""


def without_trace(text: str) -> str:
    """Return the message of an exception without the C++ backtrace below it: addresses tell nobody anything."""
    found = TRACE.search(text)
    if found is None:
        return text
    message = text[: found.start()].rstrip()
    return message + '"' * (message.count('"') % 2)  # the trace was within what it quotes
