"""Any number of groups for torch's optimizers: the group of each name is decided before the model is wrapped."""

from __future__ import annotations

from explorer.core.errors import ParamxError
from explorer.core.export.conditions import condition
from explorer.core.export.sheet import (
    LEARNING_RATE,
    Sheet,
    class_of,
    import_of,
    options_items,
    quoted,
    strings,
)
from explorer.core.wrapped import INSIDE, WRAPPED


def write(sheet: Sheet) -> str:
    """Return groups of parameters and their optimizer."""
    return "\n".join([*body(sheet), "", "", *maker(sheet)]) + "\n"


def body(sheet: Sheet, named: bool = False, imports: tuple[str, ...] = ()) -> list[str]:
    """Return the lines every form of several groups shares: `group_of`, `group_names`, `param_groups`.

    Args:
        sheet: The groups.
        named: Whether groups hold `(name, parameter)` pairs; torch 2.6 and later.
        imports: Further lines of imports.
    """
    rules = sheet.grouping.rules
    takes = [condition(sheet.grouping, i) for i in range(len(rules) - 1)]
    text = "\n".join(takes)
    used = sorted({sheet.optimizer(i) for i in range(len(rules)) if not sheet.frozen(i)})
    stripped = not any(WRAPPED.search(name) for name in sheet.model.names)
    kinds, needs_re = " kinds" in text, "re.search(" in text or stripped
    standard = ["import re"] * needs_re + ["from fnmatch import fnmatchcase"] * ("fnmatchcase(" in text)
    lines = [
        *sheet.comments(),
        "",
        *standard,
        *[""] * bool(standard),
        *sorted({"import torch", *imports, *filter(None, map(import_of, used))}, key=_import_order),
        "",
        "",
        *_group_of(sheet, takes, kinds),
        "",
        "",
        *_clean(stripped),
        "def group_names(model):",
        '    """Return the group of each parameter. Call it before FSDP, ZeRO or DDP wrap the model:',
        "",
        "    wrapping changes names, hides the modules' classes and may flatten shapes.",
        '    """',
    ]
    if kinds:
        lines += [
            "    modules = dict(model.named_modules(remove_duplicate=False))",
            "    groups = {}",
            "    for name, param in model.named_parameters():",
            '        owner = type(modules[name.rpartition(".")[0]])',
            "        bases = [base.__name__ for base in owner.__mro__[1:]]",
            '        kinds = [owner.__name__, *(base for base in bases if base not in ("Module", "object"))]',
            "        groups[clean(name)] = group_of(clean(name), param.ndim, kinds)",
            "    return groups",
        ]
    else:
        named_parameters = "for name, param in model.named_parameters()"
        lines.append(f"    return {{clean(name): group_of(clean(name), param.ndim) {named_parameters}}}")
    return [*lines, "", "", *_param_groups(sheet, named)]


def _group_of(sheet: Sheet, takes: list[str], kinds: bool) -> list[str]:
    rules = sheet.grouping.rules
    lines = [
        f"def group_of(name, ndim{', kinds' * kinds}):",
        '    """Return the group of one parameter; the first match wins."""',
    ]
    for rule, test in zip(rules[:-1], takes, strict=True):
        if test != "False":
            lines += [f"    if {test}:", f"        return {quoted(rule.name)}"]
    return [*lines, f"    return {quoted(rules[-1].name)}"]


def _clean(stripped: bool) -> list[str]:
    if not stripped:
        return [
            "def clean(name):",
            '    """Return the name as it is: the groups were tried on a model that was wrapped already."""',
            "    return name",
            "",
            "",
        ]
    return [
        f'INSIDE = "{INSIDE}"',
        "",
        "",
        "def clean(name):",
        '    """Return the name as it was before torch.compile, FSDP or DDP wrapped the model."""',
        r'    return re.sub(rf"^(?:(?:module|{INSIDE})\.)+|\b(?:{INSIDE})\.", "", name)',
        "",
        "",
    ]


def _param_groups(sheet: Sheet, named: bool) -> list[str]:
    rules = sheet.grouping.rules
    frozen = [rule.name for i, rule in enumerate(rules) if sheet.frozen(i)]
    lines = [
        f"def param_groups(model, names=None, lr={LEARNING_RATE!r}):",
        '    """Return the optimizer\'s groups.',
        "",
        "    Args:",
        "        model: The model, wrapped or not.",
        "        names: What group_names(model) returned before it was wrapped.",
        "        lr: The learning rate; set your own.",
        '    """',
        "    names = names or group_names(model)",
        "    # The key is weight_decay: weight_decay_rate would be accepted without a word and change nothing.",
        "    options = {",
    ]
    for i, rule in enumerate(rules):
        if not sheet.frozen(i):
            pairs = [*options_items(sheet, i)]
            if named and all(key != "name" for key, _ in pairs):
                pairs.insert(0, ("name", quoted(rule.name)))
            inside = ", ".join(f"{quoted(key)}: {code}" for key, code in pairs)
            lines.append(f"        {quoted(rule.name)}: {{{inside}}},")
    member = "(clean(name), param)" if named else "param"
    lines += [
        "    }",
        "    members = {group: [] for group in options}",
        "    # named_parameters() lists a tied tensor once.",
        "    for name, param in model.named_parameters():",
        "        group = names[clean(name)]",
    ]
    if frozen:
        lines += [
            f"        if group in [{strings(frozen)}]:",
            "            param.requires_grad_(False)",
        ]
    return [
        *lines,
        "        if param.requires_grad:",
        f"            members[group].append({member})",
        "    # torch refuses an empty group of named parameters.",
        '    return {group: {"params": params, **options[group]} for group, params in members.items() if params}',
    ]


def maker(sheet: Sheet) -> list[str]:
    """Return `make_optimizers` and, where it makes a single one, `make_optimizer`.

    The first is always there: a script that calls it need not change with the groups.
    """
    kinds = optimizers(sheet)
    if len(kinds) == 1:
        only = next(iter(kinds))
        return [
            f"def make_optimizer(model, names=None, lr={LEARNING_RATE!r}):",
            '    """Return the optimizer over all groups; see param_groups."""',
            f"    return {class_of(only)}(list(param_groups(model, names, lr).values()), lr=lr)",
            "",
            "",
            f"def make_optimizers(model, names=None, lr={LEARNING_RATE!r}):",
            '    """Return that one in a list: a loop over it works with several too."""',
            "    return [make_optimizer(model, names, lr)]",
        ]
    return make_several(kinds)


def make_several(kinds: dict[str, list[str]]) -> list[str]:
    """Return the function that makes several optimizers."""
    lines = [
        f"def make_optimizers(model, names=None, lr={LEARNING_RATE!r}):",
        '    """Return the optimizers; each takes its own groups. Step and zero them all."""',
        "    groups = param_groups(model, names, lr)",
        "    kinds = [",
    ]
    lines += [f"        ({class_of(kind)}, [{strings(names)}])," for kind, names in kinds.items()]
    return [
        *lines,
        "    ]",
        "    return [",
        "        kind([groups[group] for group in own if group in groups], lr=lr)",
        "        for kind, own in kinds",
        "        if any(group in groups for group in own)",
        "    ]",
    ]


def optimizers(sheet: Sheet) -> dict[str, list[str]]:
    """Return the names of the groups that each optimizer takes.

    Raises:
        ParamxError: Every group is frozen.
    """
    kinds: dict[str, list[str]] = {}
    for i, rule in enumerate(sheet.grouping.rules):
        if not sheet.frozen(i):
            kinds.setdefault(sheet.optimizer(i), []).append(rule.name)
    if not kinds:
        raise ParamxError("export", "every group is frozen, so there is nothing to optimize", "unfreeze one")
    return kinds


def _import_order(line: str) -> tuple[bool, str]:
    return line.startswith(("from ", "# from ")), line
