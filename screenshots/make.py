"""Makes the pictures of the README: `python screenshots/make.py [NAME …]`, with the extras `test` and `dev`.

Each is what a real terminal shows: the real program runs in a pseudo-terminal, keys are pressed as a user would, and
the screen is drawn with a monospace font of this system. Remake them whenever the screen looks different.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from tests.e2e.terminal import Terminal  # noqa: E402 - the checkout is not a package on the path

FONTS = ("DejaVuSansMono.ttf", "LiberationMono-Regular.ttf", "Menlo.ttc", "consola.ttf")
"""Monospace fonts that hold the signs ▾ ▸ ⚠ Δ ✔ ×, the first that is here is taken."""

SIZE = 15
"""Height of the font in pixels."""

INK, PAPER = "#d7d7ff", "#17181e"
"""What a terminal draws where the program names no colour."""

SIXTEEN = {
    "black": "#000000",
    "red": "#ff8787",
    "green": "#afd75f",
    "brown": "#d7af5f",
    "blue": "#87afff",
    "magenta": "#bb9af7",
    "cyan": "#87d7ff",
    "white": "#d7d7ff",
}
"""The sixteen colours, by pyte's names; the bright ones are drawn alike."""


@dataclass(frozen=True)
class Picture:
    """One picture."""

    name: str
    """File name without its suffix."""
    arguments: tuple[str, ...]
    """The command line after `paramx`."""
    size: tuple[int, int]
    """Columns and rows of the terminal."""
    keys: tuple[str, ...] = ()
    """Keys pressed once the model is there."""


PICTURES = (
    Picture("roberta", ("roberta-base",), (140, 38), ("down",) * 3),
    Picture("typing", ("roberta-base",), (140, 38), ("tab", *", layer_norm")),
    Picture("warnings", ("llama-7b",), (100, 28), ("w", "down")),
    Picture("recipes", ("t5-small",), (100, 32), ("p", "down", "down")),
    Picture("moe", ("deepseek-v3",), (140, 32), ("down", "down", "down")),
    Picture("narrow", ("gpt2",), (80, 24), ("/", *"h.3.", "enter")),
    Picture("memory", ("llama-7b",), (100, 24), ("t", "g", *"80GiB", "enter")),
    Picture("export", ("roberta-base",), (100, 34), ("e",)),
)
"""The pictures, in the README's order."""


def make(picture: Picture) -> None:
    """Run the program, press the keys, and draw what is on the screen."""
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": str(HERE.parent)}
    environment.pop("NO_COLOR", None)
    columns, rows = picture.size
    with tempfile.TemporaryDirectory() as folder:
        # The program is killed with what was typed in it: that is offered to nobody, and none is offered here.
        environment["XDG_STATE_HOME"] = str(Path(folder, "state"))
        argv = [sys.executable, "-m", "explorer", *picture.arguments, "--offline"]
        with Terminal(argv, columns, rows, environment, Path(folder)) as terminal:
            terminal.wait_for("no_decay")
            terminal.settle(1.0)
            for key in picture.keys:
                terminal.press(key)
                terminal.settle(0.5)
            draw(terminal, columns, rows).save(HERE / f"{picture.name}.png", optimize=True)
    sys.stdout.write(f"{picture.name}.png\n")


def draw(terminal: Terminal, columns: int, rows: int) -> Image.Image:
    """Draw the screen cell by cell."""
    font = _font()
    width, height = round(font.getlength("M")), round(SIZE * 1.35)
    image = Image.new("RGB", (columns * width, rows * height), PAPER)
    canvas = ImageDraw.Draw(image)
    for row in range(rows):
        for column in range(columns):
            cell = terminal.screen.buffer[row][column]
            ink, paper = _colour(cell.fg, INK), _colour(cell.bg, PAPER)
            if cell.reverse:
                ink, paper = paper, ink
            left, top = column * width, row * height
            canvas.rectangle([left, top, left + width - 1, top + height - 1], fill=paper)
            if cell.data.strip():
                canvas.text((left, top + 1), cell.data, font=font, fill=ink, stroke_width=0.25 if cell.bold else 0)
            if cell.underscore:
                canvas.line([left, top + height - 2, left + width - 1, top + height - 2], fill=ink)
    return image


def _colour(name: str, default: str) -> str:
    if name == "default":
        return default
    return SIXTEEN.get(name.removeprefix("bright")) or (f"#{name}" if len(name) == 6 else default)


def _font() -> ImageFont.FreeTypeFont:
    for name in FONTS:
        try:
            return ImageFont.truetype(name, SIZE)
        except OSError:
            continue
    raise SystemExit(f"no monospace font here; any of {', '.join(FONTS)} will do")


def main() -> None:
    """Make the pictures named on the command line; all of them without any."""
    wanted = sys.argv[1:]
    for picture in PICTURES:
        if not wanted or picture.name in wanted:
            make(picture)


if __name__ == "__main__":
    main()
