"""Groups for the Hugging Face Trainer."""

from __future__ import annotations

from explorer.core.errors import ParamxError
from explorer.core.export.sheet import Sheet
from explorer.core.export.torch_groups import body, optimizers


def write(sheet: Sheet) -> str:
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
