"""Says how a file and its model differ: findings that add up, and the file's table with what the model knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from explorer.core.compare_files import Held
from explorer.core.param import Column, Finding, Model, Place
from explorer.core.text import plural, quoted, visible
from explorer.sources.checkpoint.apart import NORM_BUFFERS
from explorer.sources.checkpoint.shards import files_text
from explorer.sources.overlay import EXPERT, Overlay, Stack

TOLD_NAMES = 1000
"""Most names that a finding carries."""


def findings(overlay: Overlay, of_file: bool = False, whole: bool = True) -> tuple[Finding, ...]:
    """Say how a file and its model differ, and that the differences add up to that of their counts.

    Args:
        overlay: The model laid over the file.
        of_file: Whether the rows that are shown are the file's tensors: findings then name these.
        whole: Whether the file is the whole checkpoint; of one shard nothing is missed.
    """
    if not whole:
        overlay = replace(overlay, missing=[], missing_buffers=[], unread={})
    found = list(_told(overlay, of_file))
    reasons = list(_reasons(overlay))
    if not reasons or not whole:
        return tuple(found)
    counts = f"{plural(overlay.tensors, 'tensor')} in the file, {len(overlay.params):,} in the model"
    message = visible(f"{counts}: {', '.join(reasons)}")
    if len(found) == 1:
        return (found[0]._replace(message=message),)
    return (Finding("file-and-model", "hint", message), *found)


def _reasons(overlay: Overlay) -> Iterator[str]:
    """Say in a few words why the counts differ; each with its number, so that they can be added up."""
    if overlay.buffers:
        yield _one_or_many(overlay.buffers, "is a buffer", "buffers")
    if overlay.extra:
        yield _one_or_many(list(overlay.extra), "is tied and saved twice", "tied tensors saved twice")
    for what, parts, params in _by_kind(overlay.stacks):
        yield f"{parts:,} {what} {params:,}"
    if overlay.ignored:
        yield _one_or_many(overlay.ignored, "is left unread", "left unread")
    if overlay.unexpected:
        yield _one_or_many(overlay.unexpected, "is not in the model", "not in the model")
    if overlay.missing:
        yield _one_or_many(overlay.missing, "is not in the file", "not in the file")
    if overlay.unread:
        names = list(overlay.unread)
        yield _one_or_many(names, "is in a shard that can't be read", "in shards that can't be read")


def _by_kind(stacks: Sequence[Stack]) -> Iterator[tuple[str, int, int]]:
    """Say in words what happens to tensors of the file, and sum these and the parameters that they become."""
    sums: dict[str, list[int]] = {}
    for stack in stacks:
        what = "put together to" if len(stack.parts) > len(stack.params) else "split into"
        counts = sums.setdefault("parts of experts stacked to" if is_experts(stack) else what, [0, 0])
        counts[0] += len(stack.parts)
        counts[1] += len(stack.params)
    for what, (parts, params) in sums.items():
        yield what, parts, params


def is_experts(stack: Stack) -> bool:
    """Whether the parts are those of a mixture of experts."""
    return EXPERT.match(stack.parts[0]) is not None


def _one_or_many(names: list[str], one: str, many: str) -> str:
    return f"{quoted(names[0])} {one}" if len(names) == 1 else f"{len(names):,} {many}"


def _told(overlay: Overlay, of_file: bool) -> Iterator[Finding]:
    """Yield a finding for each way in which a file and its model differ."""
    homes = overlay.homes
    if overlay.shapes:
        name, ours, theirs = overlay.shapes[0]
        message = f"{plural(len(overlay.shapes), 'tensor')} of another shape in the file than in the model"
        names = [name for name, _, _ in overlay.shapes]
        if of_file:
            wanted = set(names)
            names = [name for name, home in homes.items() if home in wanted]
        yield Finding(
            "shape-mismatch",
            "error",
            visible(f"{message}: {name} is {ours}, not {theirs}"),
            _names(names),
            "from_pretrained refuses such a file",
        )
    if missing := [*overlay.missing, *overlay.missing_buffers]:
        message = f"{plural(len(missing), 'tensor')} of the model not in the file"
        yield Finding("missing-tensors", "warning", message, _names(missing), "from_pretrained fills them at random")
    if overlay.unexpected:
        message = f"{plural(len(overlay.unexpected), 'tensor')} of the file not in the model"
        yield Finding("unexpected-tensors", "hint", message, _names(overlay.unexpected), "from_pretrained drops them")
    if overlay.ignored:
        message = _one_or_many(overlay.ignored, "is left unread by the class", "tensors are left unread by the class")
        why = "the class names them in its own list of what to ignore"
        yield Finding("ignored-tensors", "hint", visible(message), _names(overlay.ignored), why)
    for (ours, theirs), names in overlay.dtypes.items():
        message = f"{plural(len(names), 'tensor')} saved as {ours} that the model has as {theirs}"
        shown = names if of_file else list(dict.fromkeys(homes[name] for name in names))
        why = "the config names the dtype that from_pretrained converts to"
        yield Finding("dtype-differs", "hint", visible(message), _names(shown), why)
    if overlay.buffers:
        message = _one_or_many(overlay.buffers, "in the file is a buffer", "tensors of the file are buffers")
        why = "a buffer is state that no optimizer trains; older versions saved some that newer ones make themselves"
        yield Finding("buffers-in-file", "hint", visible(message), _names(overlay.buffers), why)
    if overlay.extra:
        message = _one_or_many(list(overlay.extra), "is tied and saved twice", "tied tensors are saved twice")
        why = "they hold the same values as another tensor; the model has one parameter for both"
        shown = list(overlay.extra if of_file else dict.fromkeys(overlay.extra.values()))
        yield Finding("tied-in-file", "hint", visible(message), _names(shown), why)
    for stack in overlay.stacks[:1]:
        yield _fused(overlay.stacks, stack, of_file)


def _fused(stacks: Sequence[Stack], example: Stack, of_file: bool) -> Finding:
    parts, params = sum(len(stack.parts) for stack in stacks), sum(len(stack.params) for stack in stacks)
    experts = is_experts(example)
    what = "fused experts" if experts else "another arrangement"
    message = f"{what}: {plural(parts, 'tensor')} of the file are {params:,} of the model"
    message += f" ({example.parts[0]}, … are {', '.join(example.params)})"
    names = [name for stack in stacks for name in (stack.parts if of_file else stack.params)]
    why = "transformers 5 stacks the experts of a layer to one tensor in memory; files hold each expert's own"
    if not experts:
        why = "transformers puts them together, or takes them apart, while it loads"
    return Finding("fused-experts" if experts else "rearranged", "hint", visible(message), _names(names), why)


def _names(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(visible, names[:TOLD_NAMES]))


def with_shards(table: Model, overlay: Overlay) -> Model:
    """Return a model's table with the files that hold each parameter, and a note where one could not be read.

    Args:
        table: The table of a model that was laid over a checkpoint.
        overlay: How it lies over it.
    """
    notes = dict(table.notes)
    for row, name in enumerate(overlay.params):
        if name in overlay.unread:
            notes[row] = ", ".join(filter(None, (notes.get(row, ""), "its shard can't be read")))
    files = (overlay.shards.get(name, ()) for name in overlay.params)
    return replace(table, shards=Column.of(files_text(held) for held in files), notes=notes)


def held(overlay: Overlay) -> Held:
    """Return how a checkpoint's files differ from the table of the model that was laid over them."""
    rows = {name: row for row, name in enumerate(overlay.params)}
    return Held(
        [rows[name] for name in overlay.missing],
        {rows[name]: visible(shard) for name, shard in overlay.unread.items()},
        # Of a parameter in parts the first other dtype: it stands for them all in a comparison.
        {rows[overlay.homes[name]]: ours for (ours, _), some in overlay.dtypes.items() for name in reversed(some)},
        {rows[name]: shape for name, shape in overlay.file_shapes.items() if name in rows},
        [param for _, param in overlay.beside],
    )


def with_classes(table: Model, names: Sequence[str], overlay: Overlay, built: Model, whole: bool = True) -> Model:
    """Return a file's table with what a model laid over it knows: module classes, ties, and which are buffers.

    `requires_grad` stays unknown for parameters: whoever loads the file decides. A buffer has none to speak of.

    Args:
        table: The file's table.
        names: Names of its rows as the file has them.
        overlay: The model laid over the file.
        built: The model's own table.
        whole: Whether the file is the whole checkpoint.
    """
    buffers = set(overlay.buffers)
    there = {*table.names, *(name for others in table.aliases.values() for name in others)}
    parts = {part for stack in overlay.stacks for part in stack.parts}
    index = {name: row for row, name in enumerate(built.names)}
    aliases = dict(table.aliases)
    for row, name in enumerate(names):
        home = overlay.homes.get(name)
        if home is None or name in parts:
            continue
        others = built.aliases.get(index.get(visible(home), -1), ())
        if further := tuple(other for other in others if other not in there):
            aliases[row] = (*aliases.get(row, ()), *further)
    origin = built.origin
    homes = [index.get(visible(overlay.homes.get(name, ""))) for name in names]
    renamed = {
        row: built.names[home]
        for row, (name, home) in enumerate(zip(names, homes, strict=True))
        if home is not None
        and name not in parts
        and built.names[home] != table.names[row]
        and built.shapes[home] == table.shapes[row]  # one that is transposed as it is loaded plays another part here
    }
    places = Column.of(_place(built, home, table.names[row], row in renamed) for row, home in enumerate(homes))
    return replace(
        table,
        origin=replace(
            table.origin,
            description=f"{table.origin.description}, with the classes of config.json",
            class_name=origin.class_name,
            model_type=origin.model_type,
            # The file's own metadata stays under its key.
            config={**(origin.config or {}), **(table.origin.config or {})} or None,
            versions=origin.versions,
        ),
        requires_grad=Column.of(
            None if name in buffers else table.requires_grad[row] for row, name in enumerate(names)
        ),
        modules=Column.of(overlay.owners.get(name) or table.modules[row] for row, name in enumerate(names)),
        aliases=aliases,
        findings=(
            *(finding for finding in table.findings if finding.id != NORM_BUFFERS),  # told by the model now
            *findings(overlay, of_file=True, whole=whole),
            *_renamed(table, renamed),
        ),
        places=places,
        renamed=renamed,
        apart={**table.apart, **{row: "buffer" for row, name in enumerate(names) if name in buffers}},
    )


def _renamed(table: Model, renamed: Mapping[int, str]) -> Iterator[Finding]:
    """Say that patterns will meet other names in the model than the file has; a prefix alone is not worth it."""
    names = {table.names[row]: home for row, home in renamed.items()}
    other = {
        name: home
        for name, home in names.items()
        if not f".{name}".endswith(f".{home}") and not f".{home}".endswith(f".{name}")
    }
    if other:
        name, home = next(iter(other.items()))
        message = f"{plural(len(other), 'tensor')} called otherwise in the model: {name} is {home} there"
        why = "transformers renames them as it loads; patterns for an optimizer meet the model's names"
        yield Finding("other-names", "hint", message, tuple(other)[:TOLD_NAMES], why)


def _place(built: Model, row: int | None, name: str, renamed: bool) -> Place | None:
    """Return where a tensor of a file stands in the model, by the model's parameter that it is."""
    place = built.places[row] if built.places is not None and row is not None else None
    if place is None or row is None or renamed or built.names[row] == name:
        return place
    return place._replace(named=False)
