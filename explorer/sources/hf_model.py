"""Builds a model's skeleton with transformers on the meta device, and reads its parameters off the real object."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from explorer.core.compare_files import FILES
from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.param import Finding, Origin
from explorer.core.text import QUOTED, cut, short_count, visible
from explorer.sources import Opened, Report, hf_load, out_of_memory, table_cache
from explorer.sources.built_parts import TooManyPartsError, bounded
from explorer.sources.checkpoint.limits import MAX_PARAMETERS
from explorer.sources.config_findings import findings as config_findings
from explorer.sources.hf_classes import (
    architecture,
    cannot_build,
    classes,
    config_for,
    version,
    without_trace,
)
from explorer.sources.hf_weights import Weights, others_beside, over_weights, read_beside, weights_beside
from explorer.sources.hub import Found, find, json_kind, nearest
from explorer.sources.json_safe import json_safe
from explorer.sources.live_module import table_of
from explorer.sources.module_answers import answers_of
from explorer.sources.no_weights import what_loads
from explorer.sources.overlay import Overlay
from explorer.sources.overlay_findings import findings as overlay_findings
from explorer.sources.overlay_findings import held, with_shards
from explorer.sources.values import OpenTensor
from explorer.sources.values.answers import value_answers
from explorer.sources.values.providers import ModuleValues, OverlaidValues

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

KIND = "transformers"
"""This source's name in the SOURCES table."""

CODE_WITHOUT_CONFIG = "its own code (auto_map) is not run: --trust-remote-code needs an AutoConfig there"
"""What is told of a config whose code could not be run for it either: transformers asks it for the config first."""

BEFORE = "Shapes, dtypes and bytes are those of the model before; open the checkpoint's own file for what is stored."
"""What the skeleton of a config shows whose weights are quantized: transformers builds it as if they were not."""


def open_model(spec: OpenSpec, report: Report) -> Opened:
    """Open a hub id, a built-in name, a directory with a config or a config file.

    Args:
        spec: What to open.
        report: Called with each stage as it begins.

    Returns:
        The skeleton's parameters: shapes and dtypes, no values; and what can be asked of the skeleton.

    Raises:
        ParamxError: It can't be found, or not be built.
    """
    found = find(spec, report)
    if spec.load or spec.device_map is not None:  # what is loaded, or planned for these devices, is of this run only
        return build(spec, found, report)[0]
    key = table_cache.key_of(spec, found) if spec.remember else None
    known = table_cache.load(key) if spec.remember == "use" else None
    if known is not None:
        return Opened(known)
    opened = build(spec, found, report)[0]
    table_cache.store(key, opened.model)
    return opened


def build(
    spec: OpenSpec, found: Found, report: Report, weights: Weights | None = None
) -> tuple[Opened, Overlay | None]:
    """Build the skeleton of a configuration, over a checkpoint's header where there is one.

    Args:
        spec: What to open.
        found: The configuration.
        report: Called with each stage as it begins.
        weights: The header; without it that of the weights beside the config, if any lie there.

    Returns:
        The model, and what the checkpoint's tensors are in it; `None` where it is the skeleton of the config alone.

    Raises:
        ParamxError: It can't be built.
    """
    remote = spec.trust_remote_code and found.directory is not None
    with out_of_memory.importing():
        report("importing torch")
        import torch

        report("importing transformers")
        import transformers
        from torch.nn.parameter import is_lazy

        # Configs with a backbone would fetch its config; code of a repository may need more of it.
        with nullcontext() if remote else _nothing_fetched():
            config = _config(spec, found)
        from transformers import PreTrainedModel  # noqa: F401 - what loads most libraries, scipy's among them
    overlay: Overlay | None = None
    if spec.load:
        model, description, findings = hf_load.load(spec, found, config, report)
    else:
        model, description, findings, overlay = _build(spec, found, config, report, weights)
    built = model.config
    report("reading parameters")
    origin = Origin(
        target=visible(spec.target),
        kind=KIND,
        description=description,
        class_name=visible(type(model).__name__),
        model_type=visible(str(built.model_type)) or None,
        config=json_safe(_as_written(built.to_dict(), found)),
        versions={
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
    )
    count = sum(parameter.numel() for parameter in model.parameters() if not is_lazy(parameter))
    if count > MAX_PARAMETERS:
        why = f"its {short_count(count)} parameters are more than any model's"
        raise ParamxError(spec.target, why, "correct the sizes in the config")
    table = table_of(model, origin, (*findings, *config_findings(found, spec, type(model).__name__)))
    values: OpenTensor = ModuleValues(model, what_loads(spec, found))
    if overlay is not None:
        table = with_shards(table, overlay)
        beside = weights_beside(found.directory) if found.directory is not None else None
        values = OverlaidValues(table, overlay, lambda: weights or read_beside(beside or ""))
    answers = {**answers_of(model), **value_answers(values)}
    if overlay is not None:
        laid_over = overlay
        answers[FILES] = lambda arguments: held(laid_over).to_json()
    opened = Opened(table, answers, values)
    if spec.device_map is not None and not spec.load:
        opened = hf_load.plan(opened, model, spec, report)
    return opened, overlay


def _as_written(built: dict[str, Any], found: Found) -> dict[str, Any]:
    """Return a built config with the version of transformers that wrote the file, over which it puts its own."""
    version = "transformers_version"
    kept = {key: value for key, value in built.items() if key not in ("_name_or_path", version)}
    return {**kept, version: found.config[version]} if version in found.config else kept


def _config(spec: OpenSpec, found: Found) -> PreTrainedConfig:
    """Make the configuration object."""
    from huggingface_hub.errors import OfflineModeIsEnabled
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES

    config, target = dict(found.config), spec.target
    model_type = config.get("model_type")
    remote = isinstance(config.get("auto_map"), Mapping) and "AutoConfig" in config["auto_map"]
    try:
        if remote and spec.trust_remote_code and found.directory is not None:
            return AutoConfig.from_pretrained(str(found.directory), trust_remote_code=True)
        if isinstance(model_type, str) and model_type in CONFIG_MAPPING_NAMES:
            if found.path is None:
                return CONFIG_MAPPING[model_type].from_dict(config)
            # By path, so that the library's own corrections of old configs apply.
            return AutoConfig.from_pretrained(str(found.path), trust_remote_code=False, local_files_only=True)
        if remote:
            raise ParamxError(
                target,
                f"model type {model_type!r} is defined by code in the repository",
                "give --trust-remote-code if you trust it",
            )
        if not model_type and "pretrained_cfg" in config:  # timm's own kind of config
            return AutoConfig.from_pretrained(str(found.path), trust_remote_code=False, local_files_only=True)
        if model_type is None and (owner := _config_class_of(spec, config)) is not None:
            return owner.from_dict(config)
    except ParamxError:
        raise
    except OfflineModeIsEnabled as error:
        raise _far_backbone(target, config) from error
    except Exception as error:
        raise cannot_build(target, "the config", error, "is not one that transformers takes", config) from error
    if model_type is not None and not isinstance(model_type, str):
        raise ParamxError(target, f"model_type is a JSON {json_kind(model_type)}, not text", "correct the config")
    # A name like that of another model would mislead where the type is one of the repository's own.
    ignored = CODE_WITHOUT_CONFIG if config.get("auto_map") else ""
    if not model_type:
        hint = ignored or "add one, or name the class with --class"
        raise ParamxError(target, "the config has no model_type", hint)
    hint = ignored or nearest(model_type, list(CONFIG_MAPPING_NAMES)) or "a newer transformers may know it"
    raise ParamxError(target, f"transformers {version()} has no model type {model_type!r}", hint)


def _far_backbone(target: str, config: Mapping[str, Any]) -> ParamxError:
    """Tell that transformers would ask the hub for a part of a config; its own advice is to unset HF_HUB_OFFLINE."""
    named = config.get("backbone")
    which = f"its backbone {visible(cut(named))}" if isinstance(named, str) else "a part of it"
    why = f"{which} may be a repository of the hub, which is not asked for it"
    return ParamxError(target, why, "write the backbone's own config into this one as backbone_config")


def _config_class_of(spec: OpenSpec, config: Mapping[str, Any]) -> type[PreTrainedConfig] | None:
    """Return the config class of the model class that is named, for old configs without a `model_type`."""
    import transformers

    name = spec.class_name or architecture(config)
    found = getattr(transformers, name, None) if name else None
    return getattr(found, "config_class", None)


def _build(
    spec: OpenSpec, found: Found, config: PreTrainedConfig, report: Report, weights: Weights | None
) -> tuple[PreTrainedModel, str, tuple[Finding, ...], Overlay | None]:
    """Build the skeleton; return it, what was used in words, what was noticed, and how it lies over the weights."""
    problem: tuple[str, Exception] | None = None
    for model_class in classes(spec, found, config):
        report(f"building {model_class.__name__}")
        try:
            with _nothing_fetched():
                built = _skeleton(found, model_class, config_for(model_class, config), weights)
        except TooManyPartsError as error:  # another class would take as long
            raise error.of(spec.target) from None
        except ImportError as error:  # what another class could show without the package would be a part at best
            raise cannot_build(spec.target, model_class.__name__, error) from error
        except Exception as error:
            problem = problem or (model_class.__name__, error)
        else:
            model, description, notes, overlay = built
            if problem is not None:
                message = f"{cannot_build('', *problem, config=found.config).line}; this is {model_class.__name__}"
                notes = (*notes, Finding("other-class", "warning", message))
            return model, description, notes, overlay
    if problem is None:
        raise ParamxError(spec.target, f"no model class takes a {type(config).__name__}", "name one with --class")
    raise cannot_build(spec.target, *problem, config=found.config) from problem[1]


@contextmanager
def _nothing_fetched() -> Iterator[None]:
    """Keep the hub library off the network: some vision configs would download a backbone's weights."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _skeleton(
    found: Found, model_class: type[PreTrainedModel], config: PreTrainedConfig, weights: Weights | None
) -> tuple[PreTrainedModel, str, tuple[Finding, ...], Overlay | None]:
    """Build one class on the meta device, over a checkpoint's header where there is one."""
    import torch

    _use_plain_attention(config)
    notes: tuple[Finding, ...] = ()
    why = ""
    description = found.description
    beside = weights_beside(found.directory) if weights is None and found.directory is not None else None
    quantized = getattr(config, "quantization_config", None)
    if weights is not None or beside is not None:
        if quantized is not None:
            reason, why = f"quantized ({_quant_method(quantized)})", BEFORE
        else:
            try:
                weights = weights or read_beside(beside or "")
                model, overlay, notes = over_weights(model_class, config, weights)
                description = description.replace("config.json, no weights", "directory with weights")
                notes = (*notes, *overlay_findings(overlay))
                return model, description.removesuffix(", no weights"), notes, overlay
            except TooManyPartsError:
                raise
            except ParamxError as error:
                reason = error.line.removeprefix(f"{visible(beside)}: " if beside else "")
            except Exception as error:  # the skeleton of the config is still worth showing
                reason = visible(" ".join(without_trace(f"{error}").split())[:QUOTED]) or type(error).__name__
        message = f"the weights beside the config were not read: {reason}"
        notes = (Finding("weights-not-read", "warning", message, why=why),)
        description = description.replace("no weights", "weights not read")
    elif found.directory is not None and (others := others_beside(found.directory)):
        notes = (Finding("other-files", "warning", f"not read: {others}"),)
        description = description.replace("no weights", "other files not read")
    if quantized and not why:
        message = (
            f"the config says that its weights are quantized ({_quant_method(quantized)}), which is not shown here"
        )
        notes = (*notes, Finding("quantized", "hint", message, why=BEFORE))
    with torch.device("meta"), bounded():
        model = model_class._from_config(config)
    _to_meta(model)
    return model, description, notes, None


def _to_meta(model: PreTrainedModel) -> None:
    """Move what the meta context did not reach, keeping ties: `torch.Tensor(n)`, as in wav2vec2, heeds no device.

    Not `model.to("meta")`: that makes two parameters of a tied one.
    """
    import torch

    moved: dict[int, torch.nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.device.type != "meta" and type(parameter) is torch.nn.Parameter:
                if id(parameter) not in moved:
                    empty = torch.empty_like(parameter, device="meta")
                    moved[id(parameter)] = torch.nn.Parameter(empty, parameter.requires_grad)
                module._parameters[name] = moved[id(parameter)]


def _use_plain_attention(config: PreTrainedConfig) -> None:
    """Ask for no attention kernel that a config may name: its package may be missing, and no shape depends on it."""
    parts = [getattr(config, name, None) for name in getattr(config, "sub_configs", {})]
    wanted = {getattr(part, "_attn_implementation", None) for part in (config, *parts)}
    if wanted - {None, "eager", "sdpa"}:
        config._attn_implementation = "eager"


def _quant_method(quantized: Any) -> str:
    method = quantized.get("quant_method") if isinstance(quantized, Mapping) else None
    return visible(str(method or getattr(quantized, "quant_method", "unknown")))
