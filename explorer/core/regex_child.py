"""A helper process that runs one regular expression at a time and can be killed.

Run as a file, standard library only. It reads frames from standard input: one byte of kind, four bytes of
little-endian length, the payload.

| Kind | Payload | Answer |
|---|---|---|
| `N` | a digit that says which table, then names joined by newlines, UTF-8 | none |
| `P` | a digit that says which table, then the expression, UTF-8 | one frame |

An answer is a frame of kind `M` (one byte a name: 0 or 1), `E` (JSON: message and position) or `L` (out of memory).
The process ends itself when an expression takes longer than `SECONDS`, so that it never outlives its parent.
"""

from __future__ import annotations

import json
import re
import signal
import sys

SECONDS = 2.0
"""When the alarm ends a search from inside, whatever has become of the parent."""
MEMORY = 1 << 30
"""Bytes of address space that it may take."""


def main() -> None:
    """Serve until standard input ends."""
    try:
        import resource  # noqa: PLC0415 - not on every system

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):
        pass
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in the terminal is the interface's to handle
    tables: dict[bytes, list[str]] = {}
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while len(head := source.read(5)) == 5:
        payload = source.read(int.from_bytes(head[1:], "little"))
        table, text = payload[:1], payload[1:].decode("utf-8", "surrogatepass")
        if head[:1] == b"N":
            tables[table] = text.split("\n")
            continue
        kind, answer = _search(text, tables.get(table, []))
        sink.write(kind + len(answer).to_bytes(4, "little") + answer)
        sink.flush()


def _search(pattern: str, names: list[str]) -> tuple[bytes, bytes]:
    alarm = hasattr(signal, "setitimer")
    if alarm:
        # The default action of the alarm ends the process even while `re` holds the interpreter.
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        search = re.compile(pattern).search
        return b"M", bytes([search(name) is not None for name in names])
    except re.error as error:
        return b"E", json.dumps([error.msg, error.pos or 0]).encode()
    except (RecursionError, OverflowError):
        return b"E", json.dumps(["too deeply nested", 0]).encode()
    except MemoryError:
        return b"L", b""
    finally:
        if alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    main()
