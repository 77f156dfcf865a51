"""The two groups of the classic recipe, as short as people write them."""

from __future__ import annotations

from explorer.core.export import torch_groups
from explorer.core.export.conditions import plain_substrings
from explorer.core.export.sheet import LEARNING_RATE, Sheet, class_of, import_of, options_items, quoted, strings
from explorer.core.rules import OWN_OPTIONS, Grouping


def write(sheet: Sheet) -> str:
    """Return `optimizer_grouped_parameters` for two groups of plain substrings, else the general form."""
    texts = short_terms(sheet.grouping)
    if texts is None:
        return torch_groups.write(sheet)
    optimizer = sheet.optimizer(1)
    test = "any(nd in n for nd in no_decay)"
    lines = [
        *sheet.comments(),
        "",
        "import torch",
        *filter(None, [import_of(optimizer)]),
        "",
        f"no_decay = [{strings(texts)}]",
        "# named_parameters() lists a tied tensor once; frozen parameters are not for the optimizer.",
        "named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]",
        "# The key is weight_decay. weight_decay_rate would be accepted without a word and change nothing:",
        "# both groups would decay at the optimizer's default.",
        "optimizer_grouped_parameters = [",
        f'    {{"params": [p for n, p in named if {test}]{_options(sheet, 0)}}},',
        f'    {{"params": [p for n, p in named if not {test}]{_options(sheet, 1)}}},',
        "]",
    ]
    if not all(sheet.assignment.trained(rule) for rule in range(2)):
        lines += [
            "# On this model one of the groups is empty.",
            'optimizer_grouped_parameters = [g for g in optimizer_grouped_parameters if g["params"]]',
        ]
    rate = f"lr={LEARNING_RATE!r})  # set your own learning rate"
    lines.append(f"optimizer = {class_of(optimizer)}(optimizer_grouped_parameters, {rate}")
    return "\n".join(lines) + "\n"


def short_terms(grouping: Grouping) -> list[str] | None:
    """Return the substrings of two groups that can be written so; `None` where the general form is needed."""
    own = any(key in OWN_OPTIONS for rule in grouping.rules for key in rule.options)
    return None if own or len(grouping.rules) != 2 else plain_substrings(grouping, 0)


def _options(sheet: Sheet, rule: int) -> str:
    return "".join(f", {quoted(key)}: {code}" for key, code in options_items(sheet, rule))
