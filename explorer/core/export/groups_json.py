"""Groups as JSON, with each group's parameters."""

from __future__ import annotations

import json

from explorer.core.errors import ParamxError
from explorer.core.export.sheet import Sheet
from explorer.core.listing.contract import findings_of

FORMAT = 1
"""Version of the JSON's layout."""


def write(sheet: Sheet) -> str:
    """Return the groups with the names of their parameters, and the findings.

    Raises:
        ParamxError: An option can't be written as JSON.
    """
    assignment, names = sheet.assignment, sheet.model.names
    document = {
        "format": FORMAT,
        "target": sheet.model.origin.target,
        "class": sheet.model.origin.class_name,
        "optimizer": sheet.grouping.optimizer,
        "groups": [
            {
                "name": rule.name,
                "terms": list(rule.terms),
                "options": dict(rule.options),
                "tensors": assignment.tensors[i],
                "parameters": assignment.parameters[i],
                "frozen": assignment.frozen(i)._asdict(),
                "nbytes": assignment.nbytes[i],
                "members": [names[index] for index in assignment.members(i)],
            }
            for i, rule in enumerate(sheet.grouping.rules)
        ],
        "findings": findings_of(sheet.findings),
    }
    try:
        return json.dumps(document, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ParamxError("JSON", f"an option can't be written: {error}") from error
