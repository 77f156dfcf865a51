"""What a case of the hostile corpus is, and what its files are written with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

OK, WARN, ERROR = "ok", "warn", "error"
"""What comes out: a table, perhaps with a hint; a table and a warning; one line of error."""

Make = Callable[[Path], "Path | str"]
"""Writes a case's files into an empty folder and returns the target."""


@dataclass(frozen=True, slots=True)
class Case:
    """One hostile thing to open."""

    family: str
    """What it attacks: `safetensors`, `pattern`, …"""
    name: str
    """What is wrong with it."""
    expected: str
    """`ok`, `warn` or `error`."""
    make: Make
    """Writes it."""
    told: str = ""
    """Text that the findings or the error must have."""
    seconds: float = 15.0
    """How much processor time it may take before it is ended: several times what it needs, for slow machines."""
    megabytes: int = 512
    """How much memory it may take at once beyond what the reader itself has, in MiB."""
    skeleton: bool = False
    """Whether the skeleton of the config beside it is laid over it."""

    @property
    def id(self) -> str:
        """Its name in the tests."""
        return f"{self.family}: {self.name}"


NAMES: dict[str, str] = {
    "colour": "a\x1b[31mred\x1b[0m.weight",
    "clear screen": "\x1b[2J\x1b[H.weight",
    "clipboard": "\x1b]52;c;cm0gLXJmIH4K\x07.weight",
    "title": "\x1b]0;owned\x1b\\.weight",
    "hyperlink": "\x1b]8;;file:///etc/passwd\x1b\\x\x1b]8;;\x1b\\.weight",
    "device query": "\x1b[6n\x1b[c\x1b]11;?\x07.weight",
    "8-bit controls": "a\x9b31m\x9d52;c;eA==\x9c.weight",
    "newline": "a\nparamx: all is well\n.weight",
    "return": "weight\rbias",
    "tab and bell": "a\tb\x07c\x08d.weight",
    "nul": "a\0b.weight",
    "bidi override": "a\u202egnp.thgiew\u202c",
    "bidi isolate": "\u2066a\u2069.weight",
    "zero width": "we\u200bight\u200d.\ufeffbias",
    "line separator": "a\u2028b\u2029c",
    "tags": "a\U000e0041\U000e0042.weight",
    "private use": "a\ue000.weight",
    "noncharacter": "a\uffff.weight",
    "combining": "e" + "\u0301" * 500 + ".weight",
    "wide": "層" * 200 + ".weight",
    "emoji": "👩‍👩‍👧‍👦.weight",
    "right to left": "שלום.weight",
    "markup": "[bold red]a[/bold red].weight",
    "closing markup": "[/foo].weight",
    "action markup": "[@click=app.quit]a[/].weight",
    "nested markup": "[[/]][b].weight\\[",
    "10,000 characters": "n" * 10_000,
    "parent": "../../../etc/passwd",
    "dots": "...",
    "empty segments": "a..b...weight",
    "leading dot": ".weight.",
    "1,000 levels": ".".join(["m"] * 1000),
    "empty": "",
    "space": "   ",
    "format": "{0.__class__}%s%n$(touch x)`id`",
    "quotes": "a'b\"c\\d;--.weight",
    "spreadsheet": "=cmd|'/c calc'!A1",
    "huge number": "layer." + "9" * 5000 + ".weight",
    "digits of others": "layer.٣.weight",
}
"""Names of tensors that a terminal, a shell, a sheet or a markup language could take for something else."""
