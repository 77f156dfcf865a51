"""`--print json`: the contract for scripts, documented in the README under "For scripts"."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from explorer.core.listing.listing import BATCH, Listing, notes_of
from explorer.core.param import Finding, Origin, Param
from explorer.core.parts import Part
from explorer.core.roles import Roles
from explorer.core.totals import totals

JSON_FORMAT = 1
"""Version of the JSON contract; a key is added under the same number, changed or removed under the next."""

ENCODER = json.JSONEncoder(allow_nan=False)
"""Strict JSON in ASCII, whatever the terminal's encoding."""


def json_text(listing: Listing) -> Iterator[str]:
    """Yield the contract for scripts, one parameter a line."""
    model = listing.model
    encode = ENCODER.encode
    yield f'{{"format": {JSON_FORMAT},\n "model": {encode(head_of(model.origin))},\n "parameters": ['
    running = model.running()
    roles = Roles(model)
    rows = (
        encode(_parameter(model[index], running[index], listing.group(index), roles)) for index in listing.shown()
    )
    between = "\n  "
    while batch := list(islice(rows, BATCH)):
        yield between + ",\n  ".join(batch)
        between = ",\n  "
    whole = totals(model)
    counters = model.counters
    state = model.state if counters is None else (counters.state_dict_tensors, counters.state_dict_elements)
    sums = {
        "tensors": whole.tensors,
        "parameters": whole.parameters,
        "nbytes": whole.nbytes,
        "trainable": whole.trainable,
        "state_dict_tensors": state[0] if state else None,
        "state_dict_elements": state[1] if state else None,
        "without_embeddings": counters.without_embeddings if counters else None,
    }
    if listing.depth is not None:
        modules = ",\n  ".join(encode(_module(listing, part)) for part in listing.parts)
        yield f'],\n "modules": [\n  {modules}'
    yield f'],\n "totals": {encode(sums)},\n "groups": {encode(groups_of(listing))},'
    yield f'\n "findings": {encode(findings_of(listing.findings))}}}\n'


def head_of(origin: Origin) -> dict[str, Any]:
    """Return what was opened, as the contract has it under `model`."""
    return {
        "target": origin.target,
        "kind": origin.kind,
        "class": origin.class_name,
        "model_type": origin.model_type,
        "origin": origin.description,
        "config": strict(origin.config),
        "versions": dict(origin.versions),
        "remembered": origin.remembered,
    }


def groups_of(listing: Listing) -> list[dict[str, Any]]:
    """Return the groups over the whole model, as the contract has them."""
    return [
        {
            "name": rule.name,
            "terms": list(rule.terms),
            "options": strict(rule.options),
            "tensors": listing.assignment.tensors[code],
            "parameters": listing.assignment.parameters[code],
            "frozen": listing.assignment.frozen(code)._asdict(),
        }
        for code, rule in enumerate(listing.assignment.grouping.rules)
    ]


def findings_of(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return findings, as the contract has them."""
    return [
        {"id": finding.id, "severity": finding.severity, "message": finding.message, "names": list(finding.names)}
        for finding in findings
    ]


def _parameter(param: Param, running: int, group: str | None, roles: Roles) -> dict[str, Any]:
    return {
        "index": param.index,
        "name": param.name,
        "shape": param.shape,
        "numel": param.numel,
        "dtype": param.dtype,
        "nbytes": param.nbytes,
        "device": param.device,
        "requires_grad": param.requires_grad,
        "module_class": param.module_class.name if param.module_class else None,
        "aliases": param.aliases,
        "running": running,
        "group": group,
        "shard": param.shard,
        "notes": notes_of(param) or None,
        "role": roles.line(param.index),
        "formula": roles.formula(param.index),
    }


def _module(listing: Listing, part: Part) -> dict[str, Any]:
    model, sums = listing.model, part.totals(listing.model)
    return {
        "name": part.name,
        "tensors": sums.tensors,
        "parameters": sums.parameters,
        "nbytes": sums.nbytes,
        "dtypes": part.values(model.dtypes),
        "requires_grad": part.values(model.requires_grad),
        "groups": listing.groups(part),
    }


def strict(value: Any) -> Any:
    """Return a value with floats that JSON lacks as text: `time_step_limit: [0.0, Infinity]` is in real configs.

    `null` would say that the value is unknown; `float("Infinity")` reads the text back.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return value
