"""Two targets side by side: their differences by kind, each with both of its sides."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, Static

from explorer.core.compare import KINDS, Comparison, Pair, folded, reason, together, unknown
from explorer.core.compare_text import alike, difference_text, headline, matching, sides, wrong
from explorer.core.compare_values import Progress, compare_values
from explorer.core.errors import ParamxError
from explorer.core.loading import Event, Failed, Loaded, OpenSpec, Stage
from explorer.core.pairing import askers, compare, files_of
from explorer.core.text import plural, shape_text, short_bytes, visible
from explorer.ui.paint import cut_middle, fit
from explorer.ui.screens.dialog import Dialog
from explorer.ui.widgets.groups_panel import Field
from explorer.ui.widgets.line_list import LineList

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.widget import Widget

    from explorer.core.loading import Loading
    from explorer.core.param import Model
    from explorer.ui.services import Services

LETTERS = ("A", "B")
"""What the two sides are called."""

TICK = 0.5
"""Seconds between two looks at the clock while the two open."""

ODD_LINES = 3
"""Most lines that say what is wrong with the files; the list needs the room."""

KEYS = (
    ("↑↓", "move", "Home, End, PgUp and PgDn too"),
    ("Enter", "open", "Fold or unfold a kind or a run ×N; both sides of one tensor"),
    ("/", "filter", "Only names that contain a text; Esc clears it"),
    ("v", "values", "Compare the values too; Esc stops, v goes on"),
    ("?", "help", "This list"),
    ("q", "quit", "Leave; for an exit status use --print"),
)
"""Keys, what the keys bar says of them, and what the help says."""

UNKNOWN = "unknown"
"""Kind of the entries whose values could not be compared."""

TITLES = {**KINDS, UNKNOWN: "values not compared"}
"""What the list calls each kind of its entries."""


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


class CompareScreen(Screen[None]):
    """Two models: opening them at the same time, and walking through what differs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", show=False),
        Binding("v", "values", show=False),
        Binding("escape", "back", show=False),
        Binding("question_mark,f1", "help", show=False),
        Binding("q,ctrl+q,ctrl+c", "app.quit", show=False),
    ]

    @dataclass
    class Happened(Message):
        """An opening, in its thread, reports an event."""

        side: int
        """0 is A, 1 is B."""
        event: Event
        """What happened."""

    @dataclass
    class Went(Message):
        """The comparison of values, in its thread, is further."""

        progress: Progress
        """How far."""

    @dataclass
    class Compared(Message):
        """A comparison is made, or made more of."""

        comparison: Comparison
        """The comparison."""

    @dataclass
    class CouldNotOpen(Message):
        """A target can't be opened."""

        line: str
        """Why, in one line."""

    def __init__(self, specs: tuple[OpenSpec, OpenSpec], services: Services) -> None:
        """Compare two targets; they are opened when the screen is mounted."""
        super().__init__()
        self.specs = specs
        self.services = services
        self.comparison: Comparison | None = None
        self._loadings: list[Loading] = []
        self._models: list[Model | None] = [None, None]
        self._stages = ["starting", "starting"]
        self._began = time.monotonic()
        self._open: set[tuple[str, str]] = {*TITLES.items()}
        self._entries: list[Entry] = []
        self._stop = threading.Event()
        self._running = False

    def compose(self) -> ComposeResult:
        """A title, the two sides, what was done to match them, the list, the cursor's line, the keys."""
        yield Static(id="title")
        yield Static(id="compare-sides")
        yield Static(id="compare-told")
        yield Field("", placeholder="text in a name")
        yield LineList(id="compare-list")
        yield Static(id="detail")
        keys = Text()
        for key, label, _ in KEYS:
            keys.append(f"  {key}", "bold")
            keys.append(f" {label}")
        yield Static(keys, id="keys")

    # -- opening ----------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Open both at the same time, each in a worker of its own."""
        self.query_one(Field).display = False
        self.query_one(LineList).focus()
        self._loadings = [self.services.opener(spec) for spec in self.specs]
        for side in (0, 1):
            self.run_worker(partial(self._listen, side), thread=True, exit_on_error=True)
        self.set_interval(TICK, self._tell_sides)
        self._tell_sides()

    def _listen(self, side: int) -> None:
        """Pass on what an opening says; in a thread."""
        for event in self._loadings[side].events():
            self.post_message(self.Happened(side, event))

    def on_unmount(self) -> None:
        """Stop both, and what is compared."""
        self._stop.set()
        for loading in self._loadings:
            loading.cancel()

    def on_compare_screen_happened(self, message: Happened) -> None:
        """Show a stage; with the second model compare the two."""
        match message.event:
            case Stage(text):
                self._stages[message.side] = text
            case Loaded(model):
                self._models[message.side] = model
                self._stages[message.side] = ""
                a, b = self._models
                if a is not None and b is not None:
                    self.run_worker(partial(self._compare, a, b), thread=True, exit_on_error=True)
            case Failed(line):
                self.post_message(self.CouldNotOpen(line))
        self._tell_sides()

    def _compare(self, a: Model, b: Model) -> None:
        """Compare the two; in a thread, for 100,000 names take half a second."""
        asked = askers(a, b, *self._loadings), files_of(a, b, *self._loadings)
        self.post_message(self.Compared(compare(a, b, self.services.grouping, *asked)))

    def on_compare_screen_compared(self, message: Compared) -> None:
        """Show the differences."""
        first = self.comparison is None
        self.comparison = message.comparison
        if first and self.services.filter:
            self.action_filter()
            self.query_one(Field).value = self.services.filter
        self._running = False
        if first:
            self.services.shown()
        self._tell_sides()
        self._tell_values()
        self._fill()

    # -- what is told -----------------------------------------------------------------------------------------

    def _tell_sides(self) -> None:
        text = Text(no_wrap=True, overflow="ellipsis")
        seconds = int(time.monotonic() - self._began)
        for side, letter in enumerate(LETTERS):
            model = self._models[side]
            text.append(f" {letter}  ", "bold")
            if model is None:
                text.append(f"{visible(self.specs[side].target)}  ", "bold")
                text.append(f"{self._stages[side]}… {seconds} s", "dim")
            else:
                origin = model.origin
                counts = f"{plural(len(model), 'tensor')} · {plural(model.total, 'parameter')}"
                if self.comparison is not None:
                    counts = headline(self.comparison, side == 0)
                room = self.size.width - len(counts) - 8
                text.append(cut_middle(origin.target, max(12, room)), "bold")
                text.append(f"  {counts}")
                text.append(f" · {' · '.join(filter(None, (origin.class_name, origin.description)))}", "dim")
            text.append("\n" if side == 0 else "")
        self.query_one("#compare-sides", Static).update(text)
        self.query_one("#title", Static).update(self._title())

    def _title(self) -> Text:
        """Return the name of the program, what it does here, and how many differences there are."""
        text = Text(no_wrap=True)
        text.append(" paramx ", "bold reverse")
        text.append("  compare", "bold")
        if self.comparison is not None:
            number = sum(bool(pair.kinds) for pair in self.comparison.pairs)
            unsure = self.comparison.uncompared or self.comparison.doubtful
            told = "not all known " if unsure else "no difference "
            told = f"{plural(number, 'difference')} " if number else told
            text.append(" " * max(2, self.size.width - text.cell_len - len(told)))
            text.append(told, "bold")
        return text

    def _tell_values(self, progress: Progress | None = None) -> None:
        comparison = self.comparison
        if comparison is None:
            return
        told = "and in values" if comparison.compared else "values not compared: v"
        if progress is not None:
            told = f"values: {progress.text}; Esc stops"
        elif comparison.uncompared:
            told = (
                "and in values where those could be compared" if comparison.known else "no values could be compared"
            )
        elif comparison.known and not comparison.compared:
            told = f"values of {comparison.known:,} of {len(comparison.comparable):,} compared: v goes on"
        lines = [f"{alike(comparison)}, {told}", *matching(comparison)]
        odd = list(wrong(comparison))
        lines += odd[:ODD_LINES]
        if len(odd) > ODD_LINES:
            lines.append(f"and {len(odd) - ODD_LINES:,} more findings on the files: --print table has all")
        text = Text("\n".join(f" {line}" for line in lines), no_wrap=True, overflow="ellipsis")
        self.query_one("#compare-told", Static).update(text)

    def on_resize(self) -> None:
        """Say what fits now."""
        self.call_after_refresh(self._tell_sides)
        self.call_after_refresh(self._tell_values)

    # -- the list ---------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        comparison = self.comparison
        if comparison is None:
            return
        needle = self.query_one(Field).value if self.query_one(Field).display else ""
        entries = []
        for kind, title in TITLES.items():
            runs = unknown(comparison, needle) if kind == UNKNOWN else folded(comparison, kind, needle)
            if not runs:
                continue
            entries.append(Entry(kind, title, tuple(position for _, run in runs for position in run), 0))
            if (kind, title) in self._open:
                for label, run in runs:
                    entries.append(Entry(kind, label, tuple(run), 1))
                    if len(run) > 1 and (kind, label) in self._open:
                        entries += [Entry(kind, comparison.pairs[position].name, (position,), 2) for position in run]
        self._entries = entries
        listing = self.query_one(LineList)
        listing.show(len(entries), self._draw)
        if not entries:
            self._tell_empty(needle)

    def _tell_empty(self, needle: str) -> None:
        assert self.comparison is not None, "there is something to list"
        matched = any(matching(self.comparison))
        names = "names (matched as said above)" if matched else "names"
        if needle:
            told = "No difference has a name with the filter's text. Esc clears it."
        elif self.comparison.doubtful:
            told = "Nothing that was read differs; what is wrong with the files is said above."
        elif self.comparison.compared:
            told = f"Nothing differs: {names}, shapes, dtypes, groups and values are the same."
        else:
            values = "The values are being compared." if self._running else "v compares the values."
            told = f"Nothing differs in {names}, shapes, dtypes and groups. {values}"
        self.query_one("#detail", Static).update(Text(told, "bold"))

    def _draw(self, line: int, width: int) -> Text:
        """Draw a line of the list."""
        comparison, entry = self.comparison, self._entries[line]
        assert comparison is not None, "lines are those of a comparison"
        count = len(entry.positions)
        folds = entry.depth == 0 or count > 1
        glyph = ("▾ " if (entry.kind, entry.label) in self._open else "▸ ") if folds else "  "
        lead = f" {'  ' * entry.depth}{glyph}"
        text = Text(lead, "dim", no_wrap=True)
        if entry.depth == 0:
            numel = sum(comparison.numel(comparison.pairs[position]) for position in entry.positions)
            text.append(entry.label, "bold")
            text.append(f"  {plural(count, 'tensor')} · {plural(numel, 'parameter')}")
            return text
        pair = comparison.pairs[entry.positions[0]]
        found = [values for at in entry.positions if (values := comparison.pairs[at].values) is not None]
        if entry.kind == "values":
            told = difference_text(together(found))
        else:
            told = self._told(comparison, pair, entry.kind)
        times = f" ×{count}" if count > 1 else ""
        # A long reason must not hide the name: the lines below the list have it whole.
        room = max(min(cell_len(entry.label), width * 3 // 5), width - len(lead) - len(times) - cell_len(told) - 3)
        text.append(fit(cut_middle(entry.label, room) + times, room + len(times)), "")
        text.append(f"  {told}", "dim")
        return text

    def _told(self, comparison: Comparison, pair: Pair, kind: str) -> str:
        """Say what differs in one line: one side's facts, or both with an arrow."""
        if kind == UNKNOWN:
            return reason(comparison, pair)
        a, b = sides(comparison, Pair(pair.name, pair.a, pair.b, (kind,)))
        if kind in ("only_a", "only_b"):
            return a if kind == "only_a" else b
        return f"{a} → {b}" if kind != "tied" else (f"in A {a}" if a != "–" else f"in B {b}")

    def on_line_list_moved(self, message: LineList.Moved) -> None:
        """Say both sides of what the cursor is on."""
        comparison = self.comparison
        if comparison is None or not self._entries:
            return
        entry = self._entries[message.line]
        text = Text(overflow="fold")
        if entry.depth == 0:
            text.append(f"{entry.label}\n", "bold")
            text.append(f"{plural(len(entry.positions), 'tensor')}; Enter folds or unfolds", "dim")
        elif entry.kind == UNKNOWN:
            text.append(f"{entry.label}\n", "bold")
            text.append(f"not compared: {reason(comparison, comparison.pairs[entry.positions[0]])}")
        else:
            pair = comparison.pairs[entry.positions[0]]
            text.append(f"{entry.label}\n", "bold")
            found = [values for at in entry.positions if (values := comparison.pairs[at].values) is not None]
            if found:  # the list cuts it
                text.append(f"values: {difference_text(together(found))}\n")
            for letter, of_a in (("A", True), ("B", False)):
                text.append(f"{letter}  ", "bold")
                text.append(f"{_line(comparison, pair, of_a)}\n")
        text.rstrip()
        self.query_one("#detail", Static).update(text)

    def on_line_list_chosen(self, message: LineList.Chosen) -> None:
        """Fold or unfold; show both sides of one tensor."""
        comparison, entry = self.comparison, self._entries[message.line]
        if comparison is None:
            return
        if entry.depth == 0 or len(entry.positions) > 1:
            self._open ^= {(entry.kind, entry.label)}
            self._fill()
        else:
            self.app.push_screen(BothScreen(comparison, comparison.pairs[entry.positions[0]]))

    def action_help(self) -> None:
        """Show the keys of this screen."""
        self.app.push_screen(CompareHelp())

    # -- commands ---------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Narrow the list to names that contain a text."""
        if self.comparison is not None:
            field = self.query_one(Field)
            field.display = True
            field.focus()
            self._fill()

    def on_input_changed(self) -> None:
        """Filter with each keystroke."""
        self._fill()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter and go to the list."""
        if event.value:
            self.query_one(LineList).focus()
        else:
            self._clear()

    def action_back(self) -> None:
        """Stop the comparison of values; else clear the filter."""
        if self._running:
            self._stop.set()
        else:
            self._clear()

    def _clear(self) -> None:
        field = self.query_one(Field)
        field.display = False
        with self.prevent(Input.Changed):
            field.value = ""
        self.query_one(LineList).focus()
        self._fill()

    def action_values(self) -> None:
        """Compare the values of what has the same name and shape, in a thread."""
        comparison = self.comparison
        if comparison is None or self._running:
            return
        if not comparison.comparable:
            self.notify("No tensor has the same name and shape on both sides.", timeout=3)
            return
        self._running = True
        self._stop.clear()
        if not self._entries:
            self._tell_empty("")
        self.run_worker(partial(self._values, comparison), thread=True, exit_on_error=True)

    def _values(self, comparison: Comparison) -> None:
        last = 0.0

        def tell(progress: Progress) -> None:
            nonlocal last
            if time.monotonic() - last > TICK / 2:
                last = time.monotonic()
                self.post_message(self.Went(progress))

        done = compare_values(comparison, self.specs[1], self._ask, tell, self._stop.is_set)
        self.post_message(self.Compared(done))

    def _ask(self, request: str, arguments: Mapping[str, Any]) -> Any:
        if self._stop.is_set():
            raise ParamxError("values", "stopped")
        return self._loadings[0].ask(request, arguments)

    def on_compare_screen_went(self, message: Went) -> None:
        """Show the progress."""
        if self._running:
            self._tell_values(message.progress)


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


class CompareHelp(Dialog[None]):
    """The keys of the comparison."""

    HEADING = "Help"

    def content(self) -> list[Widget]:
        """Return a line a key, and what A → B means."""
        text = Text()
        for key, _, told in KEYS:
            text.append(f"  {key:<7}", "bold")
            text.append(f"{told}\n")
        text.append(
            "\n  A → B  what A has, and what B has in its place\n  ×12    differences that are alike but for numbers"
        )
        return [Static(text)]


class BothScreen(Dialog[None]):
    """Both sides of one tensor, fact by fact."""

    HEADING = "Both sides"

    def __init__(self, comparison: Comparison, pair: Pair) -> None:
        """Show one pair of `comparison`."""
        super().__init__()
        self._comparison, self._pair = comparison, pair

    def content(self) -> list[Widget]:
        """Return a table of facts with a column a side; what differs is marked."""
        comparison, pair = self._comparison, self._pair
        facts_a, facts_b = (_facts(comparison, pair, of_a) for of_a in (True, False))
        grid = Table.grid(padding=(0, 2))
        for _ in range(4):
            grid.add_column(overflow="fold")
        grid.add_row(Text(), Text(), Text("A", "bold"), Text("B", "bold"))
        for name, a in facts_a.items():
            b = facts_b[name]
            grid.add_row(Text("≠" if a != b else " ", "bold"), Text(name, "dim"), Text(a), Text(b))
        parts = [Static(Text(f"{pair.name}\n", "bold"))]
        if pair.values is not None:
            parts.append(Static(Text(f"values: {difference_text(pair.values)}\n")))
        elif pair.name in comparison.uncompared:
            parts.append(Static(Text(f"values not compared: {reason(comparison, pair)}\n")))
        return [*parts, Static(grid)]


def _facts(comparison: Comparison, pair: Pair, of_a: bool) -> dict[str, str]:
    found = comparison.facts(pair, of_a)
    if found is None:
        names = ("name", "index", "shape", "elements", "dtype", "bytes", "group", "class", "grad", "tied", "shard")
        return dict.fromkeys(names, "–")
    model = comparison.a if of_a else comparison.b
    param = model[found.index]
    more = f" and {len(found.parts) - 1:,} more that make one" if found.parts else ""
    return {
        "name": f"{found.name}{more}",
        "index": f"{found.index:,} of {len(model):,}",
        "shape": shape_text(found.shape),
        "elements": f"{found.numel:,}",
        "dtype": found.dtype or "–",
        "bytes": "–" if found.nbytes < 0 else f"{found.nbytes:,}",
        "group": found.group_text,
        "class": param.module_class.name if param.module_class else "–",
        "grad": {True: "yes", False: "no", None: "–"}[param.requires_grad],
        "tied": ", ".join(param.aliases) or "–",
        "shard": found.shard or "–",
    }
