"""Times groups, lints, presets and memory on the names of a large mixture of experts, without torch.

python tests/benchmarks/regroup.py [tensors]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

from explorer.core.export.writing import export
from explorer.core.groups import Grouper, Grouping, moved
from explorer.core.lints import lint
from explorer.core.memory import memory_column, training_memory
from explorer.core.param import Model, ModuleClass, Origin, Param
from explorer.core.presets import PRESETS

LINEAR, NORM, EMBEDDING = ModuleClass("Linear"), ModuleClass("DeepseekV3RMSNorm"), ModuleClass("Embedding")


def names(tensors: int) -> Iterator[tuple[str, tuple[int, ...], ModuleClass]]:
    """Iterate over so many names, shapes and classes, as DeepSeek-V3's checkpoint has them."""
    yield "model.embed_tokens.weight", (129280, 7168), EMBEDDING
    layer = 0
    while True:
        prefix = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm", "self_attn.q_a_layernorm"):
            yield f"{prefix}{norm}.weight", (7168,), NORM
        for projection in ("q_a_proj", "q_b_proj", "kv_b_proj", "o_proj"):
            yield f"{prefix}self_attn.{projection}.weight", (1536, 7168), LINEAR
        for expert in range(256):
            for projection in ("gate_proj", "up_proj", "down_proj"):
                for kind, shape in (("weight", (2048, 7168)), ("weight_scale_inv", (16, 56)), ("bias", (2048,))):
                    yield f"{prefix}mlp.experts.{expert}.{projection}.{kind}", shape, LINEAR
        layer += 1


def table(tensors: int) -> Model:
    """Return a table of so many parameters."""
    params = []
    for index, (name, shape, module) in zip(range(tensors), names(tensors), strict=False):
        numel = shape[0] * (shape[1] if len(shape) > 1 else 1)
        params.append(Param(index, name, shape, numel, "bfloat16", 2 * numel, None, True, module, (), None))
    return Model.from_params(Origin("benchmark", "benchmark", "benchmark"), params)


def milliseconds(work: Callable[[], object], runs: int = 5) -> str:
    """Return the best of a few runs."""
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return f"{1000 * best:8.2f} ms"


def main() -> None:
    """Print the times."""
    model = table(int(sys.argv[1]) if len(sys.argv) > 1 else 150_000)
    start = time.perf_counter()
    grouper = Grouper(model)
    print(f"{len(model):,} tensors, {grouper.classes.size} classes of names")
    print(f"{1000 * (time.perf_counter() - start):8.2f} ms  prepare the names, once")

    def typed(*terms: str) -> Callable[[], object]:
        def again() -> object:
            grouper._masks.clear()
            return grouper.assign(Grouping.classic(terms))

        return again

    for terms in (
        ("bias", "LayerNorm.weight"),
        ("bias", "type:*Norm", "ndim<2", "glob:*norm*", "re:norm", "!re:_proj$"),
        ("bias", "layers.1."),
        ("bias", r"re:layers\.[0-5]\."),
        ("bias", "re:(?:a|1)*norm"),
    ):
        kept = Grouping.classic(terms)
        first, again = milliseconds(typed(*terms)), milliseconds(lambda kept=kept: grouper.assign(kept))  # type: ignore[misc]
        assignment = grouper.assign(kept)
        judged = milliseconds(lambda kept=kept, assignment=assignment: lint(model, kept, assignment))  # type: ignore[misc]
        print(f"{first}  assign {', '.join(terms)}; remembered {again.strip()}; lint {judged.strip()}")
    classic = Grouping.classic()
    assignment = grouper.assign(classic)
    other = grouper.assign(Grouping.classic(("bias", "norm")))
    print(f"{milliseconds(lambda: moved(assignment, other))}  moved")
    print(f"{milliseconds(lambda: training_memory(assignment))}  training memory")
    print(f"{milliseconds(lambda: memory_column(assignment))}  memory column")
    print(f"{milliseconds(lambda: export('torch', model, classic, assignment))}  export")
    for name, preset in PRESETS.items():
        grouping = preset.build(model)
        built = milliseconds(lambda preset=preset: preset.build(model), 1)  # type: ignore[misc]
        grouper._masks.clear()
        assigned = milliseconds(lambda grouping=grouping: grouper.assign(grouping), 1)  # type: ignore[misc]
        print(f"{built}  build {name}, {len(grouping.rules)} groups; assign {assigned.strip()}")


if __name__ == "__main__":
    main()
