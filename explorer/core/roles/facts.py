"""What is known about one parameter, and sizes by the names that its model's configuration gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from explorer.core.param import ModuleClass

Part = Literal["embeddings", "attention", "MLP", "experts", "norms", "heads", "other"]


@dataclass(frozen=True, slots=True)
class Positions:
    """How many positions a table has for tokens."""

    name: str
    """What the configuration calls its size: `max_position_embeddings`."""
    usable: int | None
    """Positions, without rows that no token gets; `None` where the class keeps back some that can't be told."""


@dataclass(frozen=True, slots=True)
class Role:
    """What a parameter is for."""

    text: str
    """One line: `query projection, 12 heads × 64`."""
    part: Part
    """The share of the model that it counts to."""
    formula: str | None = None
    """Its shape in the configuration's own names, `vocab_size × hidden_size`; `None` where they don't give it."""
    routed: tuple[int, int] | None = None
    """How many of how many experts each token is sent to, for a tensor of routed experts; `None` for all others, and
    where the configuration does not tell."""
    lookup: bool = False
    """Whether it is a table of which each token only reads one row."""
    specific: bool = True
    """Whether more is known than what torch's own layers always are."""
    positions: Positions | None = None
    """Of a table of positions, how long an input it allows; `None` for all others."""


@dataclass(frozen=True, slots=True)
class Size:
    """A size that a configuration gives a name to."""

    text: str
    """`hidden_size`, or an expression of such names; one that is no product stands in parentheses."""
    value: int
    """Its value."""

    def __mul__(self, other: Size) -> Size:
        """Return the product."""
        return Size(f"{self.text} × {other.text}", self.value * other.value)

    def __rmul__(self, factor: int) -> Size:
        """Return a multiple: `2 × intermediate_size`."""
        return Size(f"{factor} × {self.text}", factor * self.value)

    def __add__(self, other: Size) -> Size:
        """Return the sum."""
        return Size(f"({self.text} + {other.text})", self.value + other.value)

    def plus(self, number: int) -> Size:
        """Return the sum with a number that the class has of its own; zero changes nothing."""
        return Size(f"({self.text} + {number})", self.value + number) if number else self


def literal(number: int) -> Size:
    """Return a size that is a number of the class's own: a kernel of 3."""
    return Size(str(number), number)


WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "embed_dim")
"""Keys of the width of the residual stream; `attribute_map` maps most to the first."""

STAGES = ("depths", "hidden_sizes", "embed_dims")
"""Lists of configurations whose models have stages, each of its own width: Swin, ConvNeXt, ResNet."""

HEADS = ("num_attention_heads", "num_heads", "n_head", "n_heads")
"""Keys of the number of query heads, beside `encoder_attention_heads` and `decoder_attention_heads`."""

KEY_VALUE_HEADS = ("num_key_value_heads", "num_kv_heads")
"""Keys of the number of key and value heads, where it may differ."""

HEAD_DIMS = ("head_dim", "d_kv", "attention_head_size")
"""Keys of the width of one head, where it is not the width divided by the heads."""

EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
"""Keys of the number of routed experts."""

EXPERTS_PER_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "moe_topk", "moe_k")
"""Keys of the number of experts that each token is sent to."""


def size_in(config: Mapping[str, Any], *names: str) -> Size | None:
    """Return the first of the named sizes that a configuration has as a positive whole number."""
    for name in names:
        value = config.get(name)
        if type(value) is int and value > 0:
            return Size(name, value)
    return None


@dataclass(frozen=True, slots=True)
class Facts:
    """One parameter, as far as its role may depend on it."""

    owner: ModuleClass
    """Class of the module that owns it."""
    leaf: str
    """Its attribute in that module: `weight`."""
    path: tuple[str, ...]
    """The module's path, segment by segment; the last is its attribute in the module around it."""
    around: tuple[str, ...]
    """Classes of the modules around the owner, as many as `path` has segments."""
    shape: tuple[int, ...]
    """Size of each dimension."""
    config: Mapping[str, Any]
    """The configuration that the module was built from; empty where none is known."""

    @property
    def attribute(self) -> str:
        """The owner's attribute in the module around it; empty for the model itself."""
        return self.path[-1] if self.path else ""

    @property
    def parent(self) -> str:
        """Class of the module around the owner."""
        return self.around[-1] if self.around else ""

    @property
    def grandparent(self) -> str:
        """Class of the module around that."""
        return self.around[-2] if len(self.around) > 1 else ""

    @property
    def side(self) -> str | None:
        """`encoder` or `decoder`, by the innermost class around that says so."""
        for name in (self.owner.name, *reversed(self.around)):
            for side in ("Encoder", "Decoder"):
                if side in name:
                    return side.lower()
        return None

    def is_a(self, *names: str) -> bool:
        """Whether the owner's class, or a base of it, is one of these."""
        return self.owner.name in names or any(base in names for base in self.owner.bases)

    @property
    def linear(self) -> tuple[int, int | None] | None:
        """Outputs and inputs of a linear layer whose weight or bias this is; a bias tells no inputs."""
        turned = self.owner.name == "Conv1D"  # GPT-2's linear layer holds its weight as inputs × outputs
        if not (turned or self.is_a("Linear")):
            return None
        if self.leaf == "weight" and len(self.shape) == 2:
            return (self.shape[1], self.shape[0]) if turned else (self.shape[0], self.shape[1])
        return (self.shape[0], None) if self.leaf == "bias" and len(self.shape) == 1 else None

    def size(self, *names: str) -> Size | None:
        """Return the first of the named sizes that the configuration has."""
        return size_in(self.config, *names)

    @property
    def widths(self) -> tuple[Size, ...]:
        """What may be the width of the residual stream; nothing where it changes from stage to stage."""
        if any(isinstance(self.config.get(name), list) for name in STAGES):
            return ()
        return tuple(found for name in WIDTHS if (found := self.size(name)))

    @property
    def heads(self) -> Size | None:
        """The number of query heads; unknown where it changes from layer to layer."""
        if any("heads" in name and isinstance(value, list) for name, value in self.config.items()):
            return None
        return self.size(f"{self.side}_attention_heads", *HEADS)

    @property
    def experts(self) -> Size | None:
        """The number of routed experts."""
        return self.size(*EXPERTS)

    @property
    def routed(self) -> tuple[int, int] | None:
        """How many of how many experts each token is sent to."""
        some, all_of_them = self.size(*EXPERTS_PER_TOKEN), self.experts
        return None if some is None or all_of_them is None else (some.value, all_of_them.value)

    def width_of(self, value: int | None) -> Size | None:
        """Return the name of the width that has this value."""
        return named(value, self.widths)

    def formula(self, *sizes: Size | None) -> str | None:
        """Return the shape in the configuration's names, if they give each dimension exactly."""
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes) or tuple(size.value for size in known) != self.shape:
            return None
        told = [size.text for size in known if size.text != "1"]
        # Numbers alone would repeat the shape, and name nothing.
        return " × ".join(told) if any(not text.isdigit() for text in told) else None

    def linear_formula(self, out: Size | None, inputs: Size | None) -> str | None:
        """Return the formula of a linear layer's weight or bias, in the order of its shape."""
        if len(self.shape) == 1:
            return self.formula(out)
        return self.formula(inputs, out) if self.owner.name == "Conv1D" else self.formula(out, inputs)


def named(value: int | None, sizes: tuple[Size | None, ...]) -> Size | None:
    """Return the first of some sizes that has a value."""
    return next((size for size in sizes if size is not None and size.value == value), None)


def times(more: int, less: int) -> str:
    """Write a ratio where two decimals tell it exactly: ` (×4)`; empty where they don't."""
    hundredths, rest = divmod(100 * more, less)
    return "" if rest else f" (×{hundredths / 100:g})"
