"""Groups for Lightning."""

from __future__ import annotations

from explorer.core.export.sheet import LEARNING_RATE, Sheet, class_of
from explorer.core.export.torch_groups import body, make_several, optimizers


def write(sheet: Sheet) -> str:
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
