"""paramx: every parameter of a model, in the terminal.

```python
from explorer import Grouping, explore, param_groups

grouping = explore(model) or Grouping.classic()  # None where there is no terminal
optimizer = torch.optim.AdamW(param_groups(model, grouping), lr=5e-5)
```

The names below are loaded when they are first used: to import the package costs milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from explorer.version import __version__

if TYPE_CHECKING:
    from explorer.api import explore, load, load_grouping, param_groups, save_grouping, summary
    from explorer.core.errors import ParamxError
    from explorer.core.param import Model, Param
    from explorer.core.rules import Grouping, Rule

__all__ = [
    "Grouping",
    "Model",
    "Param",
    "ParamxError",
    "Rule",
    "__version__",
    "explore",
    "load",
    "load_grouping",
    "param_groups",
    "save_grouping",
    "summary",
]

_HOMES = {
    "Grouping": "explorer.core.rules",
    "Model": "explorer.core.param",
    "Param": "explorer.core.param",
    "ParamxError": "explorer.core.errors",
    "Rule": "explorer.core.rules",
}
"""Where each public name lives; the others are in `explorer.api`."""

if not TYPE_CHECKING:  # a type checker would take every misspelt name for one of these

    def __getattr__(name: str) -> object:
        """Load a public name when it is first used (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES.get(name, "explorer.api")), name)

    def __dir__() -> list[str]:
        return sorted(__all__)
