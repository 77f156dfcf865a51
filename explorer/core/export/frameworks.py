"""Groups for the Hugging Face Trainer and for Lightning."""

from __future__ import annotations

from explorer.core.errors import ParamxError
from explorer.core.export.sheet import LEARNING_RATE, Sheet, class_of
from explorer.core.export.torch_groups import body, make_several, optimizers


def write_trainer(sheet: Sheet) -> str:
    """Return a Trainer whose optimizer has these groups.

    Raises:
        ParamxError: The groups name several optimizers; a Trainer runs one.
    """
    kinds = optimizers(sheet)
    if len(kinds) > 1:
        why = f"the groups name {len(kinds)} optimizers ({', '.join(kinds)}), and Trainer runs one"
        raise ParamxError("Trainer", why, "take the form for torch, or one optimizer")
    lines = [
        *body(sheet, imports=("from transformers import Trainer",)),
        "",
        "",
        "class GroupedTrainer(Trainer):",
        '    """A Trainer with these groups; optimizer class and learning rate come from its arguments."""',
        "",
        "    def create_optimizer(self, model=None):",
        '        """Make the optimizer; a wrapped model is recognized by its cleaned names."""',
        "        if self.optimizer is None:",
        "            # self.model is not wrapped: names, shapes and classes are decided on it.",
        "            names = group_names(self.model)",
        "            model = self.model if model is None else model",
        "            groups = param_groups(model, names, self.args.learning_rate)",
        "            kind, options = self.get_optimizer_cls_and_kwargs(self.args, model)",
        "            self.optimizer = kind(list(groups.values()), **options)",
        "        return self.optimizer",
    ]
    return "\n".join(lines).replace("import torch\n", "", 1) + "\n"


def write_lightning(sheet: Sheet) -> str:
    """Return a mixin for a LightningModule that holds the network as `self.model`, or is it itself."""
    kinds = optimizers(sheet)
    several = len(kinds) > 1
    made = (
        "make_optimizers(network, lr=lr)  # several optimizers: set self.automatic_optimization = False"
        if several
        else f"{class_of(next(iter(kinds)))}(list(groups.values()), lr=lr)"
    )
    lines = [
        *body(sheet),
        *(["", "", *make_several(kinds)] if several else []),
        "",
        "",
        "class GroupedOptimizer:",
        '    """Mix into a LightningModule: class Mine(GroupedOptimizer, LightningModule)."""',
        "",
        "    def configure_optimizers(self):",
        '        """Make the optimizer; LearningRateMonitor labels its groups by name."""',
        f'        lr = getattr(self, "learning_rate", {LEARNING_RATE!r})',
        "        # The groups were tried on the network, so its names are matched without the prefix `model.`.",
        '        network = getattr(self, "model", self)',
        *(
            []
            if several
            else [
                "        groups = param_groups(network, lr=lr)",
                "        for name, group in groups.items():",
                '            group.setdefault("name", name)',
            ]
        ),
        f"        return {made}",
    ]
    return "\n".join(lines) + "\n"
