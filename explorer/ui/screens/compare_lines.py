"""The lines of the comparison screen: those of its list and what stands around it, without any widget."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from explorer.core.compare import KINDS, Comparison, Pair
from explorer.core.compare_runs import folded, reason, together, unknown
from explorer.core.compare_text import alike, difference_text, headline, matching, sides, wrong
from explorer.core.compare_values import Progress
from explorer.core.param import Model
from explorer.core.text import plural, shape_text, short_bytes, visible
from explorer.ui.paint import cut_middle, fit
from explorer.ui.screens.compare_dialogs import KEYS

ODD_LINES = 3
"""Most lines that say what is wrong with the files, so that the list keeps its room."""

LETTERS = ("A", "B")
"""What the two sides are called."""

UNKNOWN = "unknown"
"""Kind of the entries whose values could not be compared."""

TITLES = {
    kind: KINDS[kind] for kind in ("values", "shape", "dtype", "group", "tied", "unread", "only_a", "only_b")
} | {UNKNOWN: "values not compared"}
"""Headings of the kinds of entries in the list: what changed comes before what only one side has."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the list."""

    kind: str
    """The way to differ that it stands under."""
    label: str
    """The name, or the kind's own."""
    positions: tuple[int, ...]
    """The pairs that it stands for."""
    depth: int
    """0 is a kind, 1 a difference or several alike, 2 one of these."""


def entries_of(comparison: Comparison, needle: str, unfolded: Collection[tuple[str, str]]) -> list[Entry]:
    """Return the lines of the list.

    Args:
        comparison: What differs.
        needle: Only names that contain it.
        unfolded: Kind and label of the entries that are open.
    """
    entries = []
    for kind, title in TITLES.items():
        runs = unknown(comparison, needle) if kind == UNKNOWN else folded(comparison, kind, needle)
        if not runs:
            continue
        entries.append(Entry(kind, title, tuple(position for _, run in runs for position in run), 0))
        if (kind, title) in unfolded:
            for label, run in runs:
                entries.append(Entry(kind, label, tuple(run), 1))
                if len(run) > 1 and (kind, label) in unfolded:
                    entries += [Entry(kind, comparison.pairs[position].name, (position,), 2) for position in run]
    return entries


def title_text(comparison: Comparison | None, width: int) -> Text:
    """Return the name of the program, what it does here, and how many differences there are."""
    text = Text(no_wrap=True)
    text.append(" paramx ", "bold reverse")
    text.append("  compare", "bold")
    if comparison is not None:
        number = sum(bool(pair.kinds) for pair in comparison.pairs)
        unsure = comparison.uncompared or comparison.doubtful
        told = "no difference " if comparison.compared else "values not compared "
        told = "not all known " if unsure else told
        told = f"{plural(number, 'difference')} " if number else told
        text.append(" " * max(2, width - text.cell_len - len(told)))
        text.append(told, "bold")
    return text


def sides_text(
    comparison: Comparison | None, models: Sequence[Model | None], opening: Sequence[tuple[str, str]], width: int
) -> Text:
    """Return a line a side: what it is, or how far its opening is.

    Args:
        comparison: What is known of both.
        models: Each side; `None` while it is opened.
        opening: Of each side the target, and the stage of its opening.
        width: Cells of a line.
    """
    text = Text(no_wrap=True, overflow="ellipsis")
    for side, (letter, model, (target, stage)) in enumerate(zip(LETTERS, models, opening, strict=True)):
        text.append(f" {letter}  ", "bold")
        if model is None:
            text.append(f"{visible(target)}  ", "bold")
            text.append(stage, "dim")
        else:
            origin = model.origin
            counts = f"{plural(len(model), 'tensor')} · {plural(model.total, 'parameter')}"
            if comparison is not None:
                counts = headline(comparison, side == 0)
            room = width - len(counts) - 8
            text.append(cut_middle(origin.target, max(12, room)), "bold")
            text.append(f"  {counts}")
            text.append(f" · {' · '.join(filter(None, (origin.class_name, origin.description)))}", "dim")
        text.append("\n" if side == 0 else "")
    return text


def values_text(comparison: Comparison, progress: Progress | None) -> Text:
    """Say what is alike, how far the values are compared, and how names were matched."""
    told = "values compared" if comparison.compared else "values not compared: v"
    if progress is not None:
        told = f"values: {progress.text}; Esc stops"
    elif comparison.uncompared:
        told = "values compared where they could be" if comparison.known else "no values could be compared"
    elif comparison.known and not comparison.compared:
        told = f"values of {comparison.known:,} of {len(comparison.comparable):,} compared: v goes on"
    lines = [f"{alike(comparison)}, {told}", *matching(comparison)]
    odd = list(wrong(comparison))
    lines += odd[:ODD_LINES]
    if len(odd) > ODD_LINES:
        lines.append(f"and {len(odd) - ODD_LINES:,} more findings on the files: --print table has all")
    return Text("\n".join(f" {line}" for line in lines), no_wrap=True, overflow="ellipsis")


def empty_text(comparison: Comparison, needle: str, running: bool) -> Text:
    """Say why the list is empty.

    Args:
        comparison: What was compared.
        needle: The filter.
        running: Whether values are being compared.
    """
    names = "names (matched as said above)" if any(matching(comparison)) else "names"
    if needle:
        told = "No difference has a name with the filter's text. Esc clears it."
    elif comparison.doubtful:
        told = "Nothing that was read differs; what is wrong with the files is said above."
    elif comparison.compared:
        told = f"Nothing differs: {names}, shapes, dtypes, groups and values are the same."
    else:
        values = "The values are being compared." if running else "v compares the values."
        told = f"Nothing differs in {names}, shapes, dtypes and groups. {values}"
    return Text(told, "bold")


def entry_text(comparison: Comparison, entry: Entry, unfolded: bool, width: int) -> Text:
    """Return a line of the list."""
    count = len(entry.positions)
    folds = entry.depth == 0 or count > 1
    glyph = ("▾ " if unfolded else "▸ ") if folds else "  "
    lead = f" {'  ' * entry.depth}{glyph}"
    text = Text(lead, "dim", no_wrap=True)
    if entry.depth == 0:
        numel = sum(comparison.numel(comparison.pairs[position]) for position in entry.positions)
        text.append(entry.label, "bold")
        # Buffers and an optimizer's state stand here too, which are no parameters.
        text.append(f"  {plural(count, 'tensor')} · {plural(numel, 'element')}")
        return text
    pair = comparison.pairs[entry.positions[0]]
    found = [values for at in entry.positions if (values := comparison.pairs[at].values) is not None]
    told = difference_text(together(found)) if entry.kind == "values" else _told(comparison, pair, entry.kind)
    times = f" ×{count}" if count > 1 else ""
    # A long reason must not hide the name: the lines below the list have it whole.
    room = max(min(cell_len(entry.label), width * 3 // 5), width - len(lead) - len(times) - cell_len(told) - 3)
    text.append(fit(cut_middle(entry.label, room) + times, room + len(times)), "")
    text.append(f"  {told}", "dim")
    return text


def _told(comparison: Comparison, pair: Pair, kind: str) -> str:
    """Say what differs in one line: one side's facts, or both with an arrow."""
    if kind == UNKNOWN:
        return reason(comparison, pair)
    a, b = sides(comparison, Pair(pair.name, pair.a, pair.b, (kind,)))
    if kind in ("only_a", "only_b"):
        return a if kind == "only_a" else b
    return f"{a} → {b}" if kind != "tied" else (f"in A {a}" if a != "–" else f"in B {b}")


def detail_text(comparison: Comparison, entry: Entry) -> Text:
    """Describe both sides of what the cursor is on."""
    text = Text(overflow="fold")
    text.append(f"{entry.label}\n", "bold")
    pair = comparison.pairs[entry.positions[0]]
    if entry.depth == 0:
        text.append(f"{plural(len(entry.positions), 'tensor')}; Enter folds or unfolds", "dim")
    elif entry.kind == UNKNOWN:
        text.append(f"not compared: {reason(comparison, pair)}")
    else:
        found = [values for at in entry.positions if (values := comparison.pairs[at].values) is not None]
        if found:  # the list cuts it
            text.append(f"values: {difference_text(together(found))}\n")
        for letter, of_a in (("A", True), ("B", False)):
            text.append(f"{letter}  ", "bold")
            text.append(f"{_line(comparison, pair, of_a)}\n")
    text.rstrip()
    return text


def _line(comparison: Comparison, pair: Pair, of_a: bool) -> str:
    """Say the facts of one side in one line."""
    found = comparison.facts(pair, of_a)
    if found is None:
        return "–"
    model = comparison.a if of_a else comparison.b
    owner = model.modules[found.index]
    shape = shape_text(found.shape)
    facts = (
        f"{found.name} and {len(found.parts) - 1:,} more" if found.parts else None,
        f"{shape} = {found.numel:,}" if found.shape and len(found.shape) > 1 else shape,
        found.dtype,
        "" if found.nbytes < 0 else short_bytes(found.nbytes),
        found.group_text,
        owner.name if owner else None,
        found.shard,
    )
    return " · ".join(filter(None, facts))


def lost_text(line: str) -> Text:
    """Say why there is no comparison, and the keys that help."""
    return Text.assemble((f"{line}\n", "bold"), ("r tries again   q quit", "dim"), overflow="fold")


def keys_text(lost: str = "", compared: bool = False) -> Text:
    """Return the line of the keys.

    Args:
        lost: What is gone, if anything is: the keys that help then come first, and all may not fit.
        compared: Whether the values are compared already.
    """
    text = Text()
    if lost:
        text.append("  r", "bold")
        text.append(f" opens both again: {lost}")
    for key, label, _ in KEYS[-2:] if lost else KEYS:
        if key != "r" and not (key == "v" and compared):
            text.append(f"  {key}", "bold")
            text.append(f" {label}")
    return text
