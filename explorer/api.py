"""What `from explorer import …` gives: the interface, groups and tables for a model in one's own process.

Beside `__main__`, the only place that joins `ui` and `sources`. Both are imported inside functions, as are torch and
rich: `import explorer` costs milliseconds, and `load` needs no torch in this process.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from explorer.core import grouping_file
from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec, wait_for_model
from explorer.core.param import Model
from explorer.core.rules import Grouping
from explorer.core.saving import save_text
from explorer.core.terminal import can_show_the_interface

if TYPE_CHECKING:
    import torch

    from explorer.notebook import Summary
    from explorer.sources import Opened

KIND: Final = "live"
"""`Origin.kind` of a module of this process."""

LEARNING_RATE_KEYS = ("lr", "lr_mult")
"""Options that together say a group's learning rate."""


def explore(
    model: torch.nn.Module | Model,
    grouping: Grouping | None = None,
    *,
    filter: str = "",  # noqa: A002 - the name of the command's option
) -> Grouping | None:
    """Open the interface on a model of this process, and return the groups as they were when it was left.

    The module is read as it is: frozen layers, real devices, wrappers and adapters. It is never changed.

    Where there is nothing to draw on (a notebook, a running event loop, no terminal, a thread other than the main
    one) it opens nothing and writes one line to stderr that says what to do instead. It is no warning of Python's:
    those are shown once only, or turned into errors by test suites.

    Args:
        model: A module, or the table that `load` returned.
        grouping: The groups to start with; those of the classic recipe if left out.
        filter: A text to filter names with at the start.

    Returns:
        The groups as last typed, for `param_groups`; `None` if the interface could not be opened.

    Raises:
        ParamxError: The module can't be read.
    """
    hindrance = _hindrance()
    if hindrance:
        print(
            f"paramx: explore: {hindrance}; summary(model) shows the parameters, "
            "param_groups(model, grouping) makes groups without the interface",
            file=sys.stderr,
        )
        return None
    from explorer.core.choice import Choice
    from explorer.sources.gpu import gpu_memory
    from explorer.sources.live_loading import LiveLoading
    from explorer.ui.app import run
    from explorer.ui.services import Services

    target = model.origin.target if isinstance(model, Model) else type(model).__name__
    choice = Choice(target, target, KIND, "in this process")  # what `o` offers: nothing else
    services = Services(
        opener=lambda _: LiveLoading(target, lambda: _opened(model)),
        choices=lambda: (choice,),
        grouping=grouping or Grouping.classic(),
        gpu_memory=gpu_memory,
        filter=filter,
    )
    outcome = run(OpenSpec(target), services)
    if outcome.error:
        raise ParamxError("", outcome.error)
    return outcome.grouping


def param_groups(
    model: torch.nn.Module,
    grouping: Grouping,
    *,
    lr: float | None = None,
    optimizer: str | None = None,
) -> list[dict[str, Any]]:
    """Return parameter groups for one of torch's optimizers, split as the interface shows them.

    Groups stand in the order of the rules and parameters in `named_parameters()` order; a tied tensor is in one
    group, once. Frozen parameters and empty groups are left out. Call it before FSDP or DeepSpeed wrap the model
    (they flatten shapes and hide classes); after `torch.compile`, `DataParallel` and DDP it works as well, because
    `module.`, `_orig_mod.` and `_fsdp_wrapped_module.` are left out of names.

    A group with the option `freeze` is frozen here: its parameters' `requires_grad` is set to False.

    Args:
        model: The module to train.
        grouping: The groups, from `explore`, `load_grouping` or made by hand.
        lr: The learning rate of groups that set none, and what `lr_mult` multiplies; give the optimizer the same.
        optimizer: Only the groups of this optimizer, where rules name several.

    Returns:
        A dictionary a group: `params` (a list of parameters), `name`, and its options as the optimizer takes them.

    Raises:
        ParamxError: A term can't be read or is too slow, `lr_mult` has nothing to multiply, several optimizers are
            named, FSDP has flattened the parameters, or nothing is left to train.
    """
    from explorer.core.groups import Grouper

    if grouping is None:  # what `explore` returns where it has no terminal
        raise ParamxError(
            "param_groups", "there are no groups: grouping is None", "pass Grouping.classic(), or a file's"
        )
    table = _opened(model).model
    grouper = Grouper(table)
    try:
        assignment = grouper.assign(grouping)
    finally:
        grouper.close()
    _refuse(table, grouping, assignment.problems)
    rules = [rule for rule in grouping.rules if not rule.options.get("freeze")]
    kinds = list(dict.fromkeys(str(rule.options.get("optimizer", grouping.optimizer)) for rule in rules))
    if optimizer is None and len(kinds) > 1:
        raise ParamxError(
            "param_groups", f"the groups name {', '.join(kinds)}", f"ask for each: optimizer={kinds[0]!r}"
        )
    wanted = optimizer or (kinds[0] if kinds else grouping.optimizer)
    parameters = [parameter for _, parameter in model.named_parameters()]
    groups: list[dict[str, Any]] = []
    for code, rule in enumerate(grouping.rules):
        members = [parameters[index] for index in assignment.members(code)]
        if rule.options.get("freeze"):
            for parameter in members:
                parameter.requires_grad_(False)
            continue
        trained = [parameter for parameter in members if parameter.requires_grad]
        if trained and str(rule.options.get("optimizer", grouping.optimizer)) == wanted:
            groups.append({"params": trained, "name": rule.name, **_options(rule.name, rule.options, lr)})
    if not groups:
        why = f"no group of {wanted} holds a parameter that is trained"
        raise ParamxError("param_groups", why, "unfreeze one, or name another optimizer")
    return groups


def load(
    target: str | Path,
    *,
    class_name: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    offline: bool = False,
    arguments: Mapping[str, object] | None = None,
) -> Model:
    """Open what `paramx TARGET` opens, in a worker process, and return the table of its parameters.

    Neither torch nor transformers is imported in this process.

    Args:
        target: A hub id, a built-in name, a path, or `package.module:factory`.
        class_name: Class to build instead of the one the config names.
        revision: Branch, tag or commit of a hub repository.
        trust_remote_code: Whether a repository's own Python may run.
        offline: Whether the network is left alone.
        arguments: Keywords of a factory; Python literals.

    Raises:
        ParamxError: It can't be opened; the message says why and what would work.
    """
    typed = tuple((name, repr(value)) for name, value in (arguments or {}).items())
    return open_and_wait(OpenSpec(str(target), class_name, revision, trust_remote_code, offline, typed))


def open_and_wait(spec: OpenSpec, tell: Callable[[str], None] = lambda text: None) -> Model:
    """Open a target in a worker and wait for it.

    Args:
        spec: What to open.
        tell: Called with the text of each stage as it begins.

    Raises:
        ParamxError: It can't be opened.
    """
    from explorer.sources.worker import open_in_worker

    loading = open_in_worker(spec)
    try:
        return wait_for_model(loading, spec.target, tell)
    finally:
        loading.cancel()


def summary(model: torch.nn.Module | Model, grouping: Grouping | None = None) -> Summary:
    """Return a model's parameters as a table for notebooks, Rich consoles and `print`.

    Args:
        model: A module of this process, or the table that `load` returned.
        grouping: Groups to show each parameter's; without, the column is left out.

    Raises:
        ParamxError: The module can't be read.
    """
    from explorer.notebook import Summary

    return Summary(_opened(model).model, grouping)


def load_grouping(path: str | Path) -> Grouping:
    """Read groups from a TOML file, as the interface exports them.

    Raises:
        ParamxError: It can't be read, or does not say groups; the line is told.
    """
    return grouping_file.load(path)


def save_grouping(grouping: Grouping, path: str | Path) -> None:
    """Write groups to a TOML file that `load_grouping` and `paramx TARGET --groups` read.

    Raises:
        ParamxError: An option is nothing that TOML can hold (`None`), or the file can't be written.
    """
    save_text(Path(path), grouping_file.dumps(grouping), overwrite=True)


def _hindrance() -> str:
    """Return why the interface can't be shown here, or nothing."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if getattr(shell, "kernel", None) is not None:
        return "a notebook can't show the interface"
    if _loop_runs():
        return "an event loop runs already, and the interface needs its own"
    if threading.current_thread() is not threading.main_thread():
        return "the interface runs in the main thread only"
    return "" if can_show_the_interface() else "there is no terminal to show the interface on"


def _loop_runs() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _opened(model: torch.nn.Module | Model) -> Opened:
    """Return the table of a module, and what can be asked of it.

    Raises:
        ParamxError: It is no module, or can't be read.
    """
    from explorer.sources import Opened

    if isinstance(model, Model):
        return Opened(model)
    import torch

    if not isinstance(model, torch.nn.Module):
        raise ParamxError(type(model).__name__, "it is no torch.nn.Module", "give a module, or what load() returned")
    from explorer.sources.live_module import live_origin, table_of
    from explorer.sources.module_answers import answers_of

    return Opened(table_of(model, live_origin(model, KIND)), answers_of(model))


def _refuse(table: Model, grouping: Grouping, problems: Any) -> None:
    """Raise on what would make another split than the one that was tried.

    Raises:
        ParamxError: See `param_groups`. A blank term is dropped, as on the screen.
    """
    for problem in problems:
        if problem.kind != "blank":
            rule = grouping.rules[problem.rule]
            raise ParamxError(f"{rule.name}: {rule.terms[problem.term]}", problem.message)
    flat = next((name for name in table.names if name.rpartition(".")[2] == "_flat_param"), None)
    if flat is not None and len(grouping.rules) > 1:
        raise ParamxError(
            flat, "FSDP has made one parameter of many, which can't be split", "wrap with use_orig_params=True"
        )


def _options(name: str, options: Mapping[str, Any], lr: float | None) -> dict[str, Any]:
    """Return a group's options as the optimizer takes them.

    Raises:
        ParamxError: `lr_mult` has nothing to multiply, or an option would take the parameters' place.
    """
    if "params" in options:
        raise ParamxError(f"{name}: params", "not an option: it holds the group's parameters", "rename it")
    rate = options.get("lr", lr)
    if "lr_mult" in options:
        if rate is None:
            raise ParamxError(f"{name}: lr_mult", "there is no learning rate to multiply", "give lr=…")
        rate = rate * options["lr_mult"]
    plain = {key: value for key, value in options.items() if key not in ("freeze", "optimizer", *LEARNING_RATE_KEYS)}
    return plain if rate is None else {**plain, "lr": rate}
