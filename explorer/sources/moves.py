"""Asks transformers how it renames, stacks and splits the tensors of a file as it loads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from explorer.core.arrange import Move

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def library_moves(model: PreTrainedModel, names: Sequence[str]) -> dict[str, Move]:
    """Return what becomes of each tensor of a file.

    By transformers' own functions (5.23, `conversion_mapping.py`, `core_model_loading.py`); by the base model's
    prefix alone where a version has others.

    Args:
        model: The model that the file is loaded into.
        names: The file's names.
    """
    state = model.state_dict()
    prefix = model.base_model_prefix
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

        transforms = get_model_conversion_mapping(model)
    except (ImportError, AttributeError, TypeError):
        return {name: Move((_prefixed(name, prefix, state),)) for name in names}
    renamings = [transform for transform in transforms if isinstance(transform, WeightRenaming)]
    converters = [transform for transform in transforms if isinstance(transform, WeightConverter)]
    known = {pattern: converter for converter in converters for pattern in converter.source_patterns}
    found: dict[str, Move] = {}
    for name in names:
        place, pattern = rename_source_key(name, renamings, converters, prefix, state)
        if place not in state and name in state:
            place, pattern = name, None
        if pattern is None:
            found[name] = Move((place,))
            continue
        # The library renames to the first of the converter's targets; the others differ from it by the pattern.
        converter = known[pattern]
        first = converter.target_patterns[0]
        targets = tuple(place.replace(first, other, 1) for other in converter.target_patterns)
        found[name] = Move(targets, list(converter.source_patterns).index(pattern), _steps(converter.operations))
    return found


def _steps(operations: Sequence[Any]) -> tuple[tuple[str, int | None], ...]:
    return tuple((type(operation).__name__, getattr(operation, "dim", None)) for operation in operations)


def _prefixed(name: str, prefix: str, state: Mapping[str, Any]) -> str:
    """Return a name with or without the base model's prefix, whichever the model has."""
    names = (name, f"{prefix}.{name}", name.removeprefix(f"{prefix}."))
    return next((name for name in names if name in state), name)
