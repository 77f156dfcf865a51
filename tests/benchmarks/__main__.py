"""Measures paramx in a terminal beside its floors and peers and prints the table.

    python -m tests.benchmarks [--small] [MEASURE …]

Everything is made by the run itself: models are real headers over sparse data in a temporary folder. Figures are
medians with the least and the most; a ratio compares two figures of the same run.
"""

from __future__ import annotations

import argparse
import compileall
import tempfile
from collections.abc import Callable
from pathlib import Path

import explorer
from tests.benchmarks.flood import flood
from tests.benchmarks.growth import growth
from tests.benchmarks.idle import idle
from tests.benchmarks.keys import keys
from tests.benchmarks.opening import beside_peers, large_files, named, small_file
from tests.benchmarks.stall import stall
from tests.benchmarks.table import FULL, SMALL, Row, Size, markdown

MEASURES: dict[str, Callable[[Size, Path], list[Row]]] = {
    "small": small_file,
    "named": named,
    "large": large_files,
    "peers": beside_peers,
    "keys": keys,
    "flood": flood,
    "idle": idle,
    "stall": stall,
    "growth": growth,
}
"""Every measure; a new one is an entry."""


def main() -> None:
    """Take the measures that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"of {', '.join(MEASURES)}; default: all")
    parser.add_argument("--small", action="store_true", help="only see that everything runs")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.measures if name not in MEASURES]:
        parser.error(f"no measure {', '.join(unknown)}: give some of {', '.join(MEASURES)}")
    # As an install leaves it; where PYTHONDONTWRITEBYTECODE is set, every run of ours would compile, and no peer's.
    compileall.compile_dir(Path(explorer.__file__).parent, quiet=1)
    rows: list[Row] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name in arguments.measures or MEASURES:
                rows += MEASURES[name](SMALL if arguments.small else FULL, Path(folder))
    finally:
        # A measure that fails late must not take minutes of the others with it.
        print(markdown(rows))


if __name__ == "__main__":
    main()
