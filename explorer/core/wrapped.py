"""Removes what wrappers put into names: groups tried on the bare model are found in the wrapped one."""

from __future__ import annotations

import re
from collections.abc import Sequence

INSIDE = r"_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module"
"""Where torch.compile, FSDP1 and activation checkpointing keep what they wrap, at any depth. Torch 2.13:
`_dynamo/eval_frame.py`, `distributed/fsdp/_common_utils.py`,
`distributed/algorithms/_checkpoint/checkpoint_wrapper.py`."""

WRAPPED = re.compile(rf"^(?:(?:module|{INSIDE})\.)+|\b(?:{INSIDE})\.")
"""What wrappers put into names; DataParallel, DDP and DeepSpeed put `module.` in front."""

_PLAIN = re.compile(rf"^(?:(?:{INSIDE})\.)+|\b(?:{INSIDE})\.")


def unwrapped(names: Sequence[str]) -> list[str]:
    """Return a model's names as they were before it was wrapped.

    `module.`, where DataParallel, DDP and DeepSpeed keep what they wrap, is taken out only where every name begins
    with it, perhaps behind other wrappers: a model may well have one child among others that is called `module`.

    Args:
        names: Every name of one model.

    Returns:
        As many names; the same ones if taking the wrappers out would make two of them equal.
    """
    below = all(name.startswith("module.") for name in (_PLAIN.sub("", name) for name in names))
    pattern = WRAPPED if below else _PLAIN
    plain = [pattern.sub("", name) for name in names]
    return plain if len(set(plain)) == len(set(names)) else list(names)
