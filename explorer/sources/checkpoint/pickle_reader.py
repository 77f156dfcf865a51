"""Reads a pickle without running it: every opcode is followed, but only inert records are built.

A pickle is a program for a stack machine (CPython, Lib/pickletools.py documents each opcode); the dangerous ones
import a global and call it. Here a global is a `Global`, two texts, and a call is given to `Rules.call`, which knows
the few functions that torch uses and makes an `Opaque` record of everything else. Nothing is imported or called.

Bounds: steps, containers, values and memo entries are counted, because one byte of a pickle can make a hundred of
memory; long bytes and texts are skipped, not read. Values are never hashed, compared or printed: a tuple nested a
million deep would overflow the C stack. Mappings are therefore lists of pairs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from explorer.sources.checkpoint.files import File, UnreadableError

MAX_STEPS = 20_000_000
"""Most opcodes of one pickle; a checkpoint of 100,000 tensors takes 4 million."""

MAX_CONTAINERS = 2_000_000
"""Most lists, tuples and mappings, up to 120 bytes of memory each; an object counts as three. A checkpoint of 100,000
tensors has a million."""

MAX_MEMO = 3_000_000
"""Most entries of the memo: up to 140 bytes of memory each."""

MAX_VALUES = 128 << 20
"""Most memory for numbers, texts and bytes, in bytes."""

VALUE_BYTES = 32
"""Memory that a number takes, and a text beside its characters: at least, in bytes."""

MAX_TEXT = 1 << 20
"""Longest text or bytes that are kept, in bytes; longer ones become `Skipped`."""

KEPT_BYTES = 256
"""Longest bytes that are kept: scalars, type codes; longer ones are data."""

MAX_LONG = 4096
"""Longest integer that is kept, in bytes."""

MAX_LINE = 1 << 16
"""Longest line of a text opcode, in bytes."""

CHUNK = 1 << 18
"""How much of the file is read at a time, in bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Global:
    """A name that a pickle wants imported; it is not."""

    module: str
    """`torch._utils`."""
    name: str
    """`_rebuild_tensor_v2`."""

    @property
    def path(self) -> str:
        """Both with a dot between."""
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Pairs:
    """A mapping as the pickle filled it: of two pairs with one key the last counts."""

    items: list[tuple[Any, Any]] = field(default_factory=list)
    """Keys and values."""


@dataclass(slots=True, eq=False)
class Opaque:
    """An object of a class, or the result of a function, that is known by its name only."""

    maker: Any
    """What would have made it: a `Global`, or another value that a pickle wants called."""
    args: Any = ()
    """What it would have been called with."""
    state: Any = None
    """What would have been its attributes."""
    pairs: list[tuple[Any, Any]] = field(default_factory=list)
    """Items that were set, if it is a mapping."""
    items: list[Any] = field(default_factory=list)
    """Items that were appended, if it is a list."""


@dataclass(frozen=True, slots=True, eq=False)
class Skipped:
    """Bytes or a text too long to be of interest."""

    offset: int
    """Where it starts, in the source's own count."""
    nbytes: int
    """Its length."""


class Rules(Protocol):
    """What a format makes of the opcodes that would run code."""

    def call(self, function: Any, args: Any) -> Any:
        """Return what stands for `function(*args)`."""

    def new(self, cls: Any, args: Any) -> Any:
        """Return what stands for a new object of a class."""

    def build(self, value: Any, state: Any) -> Any:
        """Return `value` with its state set."""

    def refer(self, name: Global) -> None:
        """Note that a global is named."""

    def alter(self, name: Global) -> None:
        """Note that items would be put into a global."""

    def persistent(self, key: Any) -> Any:
        """Return what a persistent id stands for."""


Read = Callable[[int, int], bytes]
"""Returns exactly so many bytes from an offset."""


def window(file: File, start: int, end: int) -> tuple[Read, int, int]:
    """Return what `PickleReader` takes for a part of a file."""
    return file.read, start, end


class PickleReader:
    """Reads one pickle after the other from a part of a file."""

    def __init__(self, read: Read, start: int, end: int, rules: Rules) -> None:
        """Begin at `start`.

        Args:
            read: Reads from the file, or from inflated bytes.
            start: Where the first pickle begins.
            end: Where the file, or the entry, ends.
            rules: What calls become.
        """
        self._read = read
        self._end = end
        self._rules = rules
        self._base = start
        self._buffer = b""
        self._at = 0
        self._containers = MAX_CONTAINERS
        self._values = MAX_VALUES
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    @property
    def position(self) -> int:
        """Where the next byte is read."""
        return self._base + self._at

    def load(self) -> Any:
        """Read one pickle and return what it builds.

        Raises:
            UnreadableError: It is damaged, cut short, or larger than any checkpoint's.
        """
        self._stack, self._marks, self._memo = [], [], {}
        start = self.position
        operations = [None if name is None else getattr(self, name) for name in _OPERATIONS]
        try:
            for _ in range(MAX_STEPS):
                if self._at >= len(self._buffer):
                    self._fill(1)
                code = self._buffer[self._at]
                self._at += 1
                if code == 0x2E:  # STOP
                    return self._stack.pop()
                operation = operations[code]
                if operation is None:
                    where = self.position - 1 - start
                    raise UnreadableError(f"not a pickle: opcode {code:#04x} at its byte {where:,}")
                operation()
        except (IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError, struct.error):
            where = self.position - 1 - start
            raise UnreadableError(f"a damaged pickle: it goes wrong at its byte {where:,}", "save it again") from None
        finally:
            self._stack, self._marks, self._memo = [], [], {}
        raise UnreadableError("a pickle of more steps than any checkpoint's", "it may be made to do harm")

    # --- reading ------------------------------------------------------------------------------------------------

    def _fill(self, nbytes: int) -> None:
        """Make the next `nbytes` bytes be in the buffer."""
        position = self.position
        left = self._end - position
        if nbytes > left:
            raise UnreadableError("cut short: the file ends within its pickle", "download it again", "truncated")
        self._buffer = self._read(position, min(left, max(nbytes, CHUNK)))
        self._base, self._at = position, 0

    def _take(self, nbytes: int) -> bytes:
        if self._at + nbytes > len(self._buffer):
            self._fill(nbytes)
        taken = self._buffer[self._at : self._at + nbytes]
        self._at += nbytes
        return taken

    def _line(self) -> bytes:
        line = bytearray()
        while len(line) <= MAX_LINE:
            if self._at >= len(self._buffer):
                self._fill(1)
            found = self._buffer.find(b"\n", self._at)
            stop = len(self._buffer) if found < 0 else found + 1
            line += self._buffer[self._at : stop]
            self._at = stop
            if found >= 0:
                self._weigh(len(line))
                return bytes(line[:-1])
        raise UnreadableError("a pickle with an endless line", "it may be made to do harm")

    def _long_bytes(self, nbytes: int) -> bytes | Skipped:
        """Return so many bytes, or skip them if they are too many to be a name."""
        if nbytes <= MAX_TEXT:
            return self._take(self._weigh(nbytes))
        position = self.position
        if nbytes > self._end - position:
            raise UnreadableError("cut short: the file ends within its pickle", "download it again", "truncated")
        self._buffer, self._base, self._at = b"", position + nbytes, 0
        return Skipped(position, nbytes)

    def _text(self, nbytes: int) -> None:
        data = self._long_bytes(nbytes)
        self._stack.append(data.decode("utf-8", "surrogatepass") if isinstance(data, bytes) else data)

    def _int(self, nbytes: int) -> int:
        return int.from_bytes(self._take(nbytes), "little")

    def _count(self, containers: int = 1) -> None:
        self._containers -= containers
        if self._containers < 0:
            raise UnreadableError("a pickle of more objects than any checkpoint's", "it may be made to do harm")

    def _weigh(self, nbytes: int) -> int:
        self._values -= nbytes + VALUE_BYTES
        if self._values < 0:
            raise UnreadableError("a pickle of more values than any checkpoint's", "it may be made to do harm")
        return nbytes

    def _pop_mark(self) -> list[Any]:
        items = self._stack
        self._stack = self._marks.pop()
        return items

    # --- opcodes: values ----------------------------------------------------------------------------------------

    def _none(self) -> None:
        self._stack.append(None)

    def _true(self) -> None:
        self._stack.append(True)

    def _false(self) -> None:
        self._stack.append(False)

    def _text_int(self) -> None:
        line = self._line()
        self._stack.append({b"00": False, b"01": True}[line] if line in (b"00", b"01") else int(line))

    def _text_long(self) -> None:
        self._stack.append(int(self._line().rstrip(b"L")))

    def _text_float(self) -> None:
        self._stack.append(float(self._line()))

    def _binint(self) -> None:
        self._stack.append(int.from_bytes(self._take(4 + self._weigh(0)), "little", signed=True))

    def _binint1(self) -> None:
        self._stack.append(self._take(1)[0])

    def _binint2(self) -> None:
        self._stack.append(self._int(2 + self._weigh(0)))

    def _long1(self) -> None:
        self._long(self._int(1))

    def _long4(self) -> None:
        self._long(int.from_bytes(self._take(4), "little", signed=True))

    def _long(self, nbytes: int) -> None:
        if not 0 <= nbytes <= MAX_LONG:
            raise UnreadableError(f"a pickle with an integer of {nbytes:,} bytes", "it may be made to do harm")
        self._stack.append(int.from_bytes(self._take(self._weigh(nbytes)), "little", signed=True))

    def _binfloat(self) -> None:
        self._stack.append(struct.unpack(">d", self._take(8 + self._weigh(0)))[0])

    def _text_string(self) -> None:
        self._stack.append(self._line().strip()[1:-1].decode("latin-1"))

    def _text_unicode(self) -> None:
        self._stack.append(self._line().decode("raw-unicode-escape"))

    def _short_binstring(self) -> None:
        self._stack.append(self._take(self._weigh(self._int(1))).decode("utf-8", "backslashreplace"))

    def _binstring(self) -> None:
        data = self._long_bytes(int.from_bytes(self._take(4), "little", signed=True))
        self._stack.append(data.decode("utf-8", "backslashreplace") if isinstance(data, bytes) else data)

    def _short_binunicode(self) -> None:
        self._text(self._int(1))

    def _binunicode(self) -> None:
        self._text(self._int(4))

    def _binunicode8(self) -> None:
        self._text(self._int(8))

    def _short_binbytes(self) -> None:
        self._stack.append(self._take(self._weigh(self._int(1))))

    def _binbytes(self) -> None:
        self._bytes(self._int(4))

    def _binbytes8(self) -> None:
        self._bytes(self._int(8))

    def _buffer_outside(self) -> None:
        raise UnreadableError("a pickle whose buffers are kept outside of it (protocol 5)", "save it with torch.save")

    def _bytes(self, nbytes: int) -> None:
        # Where an array's data lies is worth more than the data.
        if nbytes > KEPT_BYTES:
            position = self.position
            self._long_bytes(nbytes) if nbytes > MAX_TEXT else self._take(nbytes)
            self._stack.append(Skipped(position, nbytes + self._weigh(0)))
        else:
            self._stack.append(self._take(self._weigh(nbytes)))

    # --- opcodes: containers ------------------------------------------------------------------------------------

    def _mark(self) -> None:
        self._count()
        self._marks.append(self._stack)
        self._stack = []

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._pop_mark()

    def _dup(self) -> None:
        self._stack.append(self._stack[-1])

    def _empty_list(self) -> None:
        self._count()
        self._stack.append([])

    def _empty_tuple(self) -> None:
        self._stack.append(())

    def _empty_dict(self) -> None:
        self._count()
        self._stack.append(Pairs())

    def _list(self) -> None:
        self._count()
        items = self._pop_mark()
        self._stack.append(items)

    def _tuple(self) -> None:
        self._count()
        items = tuple(self._pop_mark())
        self._stack.append(items)

    def _dict(self) -> None:
        self._count()
        items = self._pop_mark()
        self._stack.append(Pairs(list(zip(items[::2], items[1::2], strict=True))))

    def _tuple1(self) -> None:
        self._count()
        self._stack[-1] = (self._stack[-1],)

    def _tuple2(self) -> None:
        self._count()
        self._stack[-2:] = [(self._stack[-2], self._stack[-1])]

    def _tuple3(self) -> None:
        self._count()
        self._stack[-3:] = [(self._stack[-3], self._stack[-2], self._stack[-1])]

    def _append(self) -> None:
        value = self._stack.pop()
        self._extend([value])

    def _appends(self) -> None:
        self._extend(self._pop_mark())

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, Opaque):
            target.items.extend(values)
        elif isinstance(target, Global):
            self._rules.alter(target)

    def _setitem(self) -> None:
        value = self._stack.pop()
        self._update([self._stack.pop(), value])

    def _setitems(self) -> None:
        self._update(self._pop_mark())

    def _update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        pairs = zip(items[::2], items[1::2], strict=True)
        if isinstance(target, Pairs):
            target.items.extend(pairs)
        elif isinstance(target, Opaque):
            target.pairs.extend(pairs)
        elif isinstance(target, Global):
            self._rules.alter(target)

    # --- opcodes: memo ------------------------------------------------------------------------------------------

    def _remember(self, key: int) -> None:
        if len(self._memo) >= MAX_MEMO:
            raise UnreadableError("a pickle of more objects than any checkpoint's", "it may be made to do harm")
        self._memo[key] = self._stack[-1]

    def _text_put(self) -> None:
        self._remember(int(self._line()))

    def _binput(self) -> None:
        self._remember(self._take(1)[0])

    def _long_binput(self) -> None:
        self._remember(self._int(4))

    def _memoize(self) -> None:
        self._remember(len(self._memo))

    def _text_get(self) -> None:
        self._stack.append(self._memo[int(self._line())])

    def _binget(self) -> None:
        self._stack.append(self._memo[self._take(1)[0]])

    def _long_binget(self) -> None:
        self._stack.append(self._memo[self._int(4)])

    # --- opcodes: what would run code ---------------------------------------------------------------------------

    def _name(self, module: Any, name: Any) -> Global:
        self._count()
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("a global without a name")
        found = Global(module, name)
        self._rules.refer(found)
        return found

    def _global(self) -> None:
        module, name = self._line().decode("utf-8"), self._line().decode("utf-8")
        self._stack.append(self._name(module, name))

    def _stack_global(self) -> None:
        name = self._stack.pop()
        self._stack[-1] = self._name(self._stack[-1], name)

    def _extension(self, nbytes: int) -> None:
        # A number that a program has registered a global under (copyreg.add_extension).
        self._stack.append(self._name("copyreg", f"extension {self._int(nbytes)}"))

    def _ext1(self) -> None:
        self._extension(1)

    def _ext2(self) -> None:
        self._extension(2)

    def _ext4(self) -> None:
        self._extension(4)

    def _reduce(self) -> None:
        self._count(3)
        args = self._stack.pop()
        self._stack[-1] = self._rules.call(self._stack[-1], args)

    def _newobj(self) -> None:
        self._count(3)
        args = self._stack.pop()
        self._stack[-1] = self._rules.new(self._stack[-1], args)

    def _newobj_ex(self) -> None:
        self._stack.pop()  # keyword arguments
        self._newobj()

    def _inst(self) -> None:
        self._count(3)
        module, name = self._line().decode("utf-8"), self._line().decode("utf-8")
        args = tuple(self._pop_mark())
        self._stack.append(self._rules.call(self._name(module, name), args))

    def _obj(self) -> None:
        self._count(3)
        cls, *args = self._pop_mark()
        self._stack.append(self._rules.call(cls, tuple(args)))

    def _build(self) -> None:
        state = self._stack.pop()
        self._stack[-1] = self._rules.build(self._stack[-1], state)

    def _persid(self) -> None:
        self._stack.append(self._rules.persistent(self._line().decode("utf-8")))

    def _binpersid(self) -> None:
        self._stack[-1] = self._rules.persistent(self._stack[-1])

    # --- opcodes: about the pickle ------------------------------------------------------------------------------

    def _proto(self) -> None:
        if (version := self._take(1)[0]) > 5:
            raise UnreadableError(f"a pickle of protocol {version}, newer than any", "save it with another Python")

    def _frame(self) -> None:
        self._take(8)  # its length: a hint for reading ahead


def _table() -> list[str | None]:
    names = {
        0x28: "mark",
        0x29: "empty_tuple",
        0x30: "pop",
        0x31: "pop_mark",
        0x32: "dup",
        0x42: "binbytes",
        0x43: "short_binbytes",
        0x46: "text_float",
        0x47: "binfloat",
        0x49: "text_int",
        0x4A: "binint",
        0x4B: "binint1",
        0x4C: "text_long",
        0x4D: "binint2",
        0x4E: "none",
        0x50: "persid",
        0x51: "binpersid",
        0x52: "reduce",
        0x53: "text_string",
        0x54: "binstring",
        0x55: "short_binstring",
        0x56: "text_unicode",
        0x58: "binunicode",
        0x5D: "empty_list",
        0x61: "append",
        0x62: "build",
        0x63: "global",
        0x64: "dict",
        0x65: "appends",
        0x67: "text_get",
        0x68: "binget",
        0x69: "inst",
        0x6A: "long_binget",
        0x6C: "list",
        0x6F: "obj",
        0x70: "text_put",
        0x71: "binput",
        0x72: "long_binput",
        0x73: "setitem",
        0x74: "tuple",
        0x75: "setitems",
        0x7D: "empty_dict",
        0x80: "proto",
        0x81: "newobj",
        0x82: "ext1",
        0x83: "ext2",
        0x84: "ext4",
        0x85: "tuple1",
        0x86: "tuple2",
        0x87: "tuple3",
        0x88: "true",
        0x89: "false",
        0x8A: "long1",
        0x8B: "long4",
        0x8C: "short_binunicode",
        0x8D: "binunicode8",
        0x8E: "binbytes8",
        0x8F: "empty_list",  # a set
        0x90: "appends",  # ADDITEMS
        0x91: "tuple",  # a frozenset
        0x92: "newobj_ex",
        0x93: "stack_global",
        0x94: "memoize",
        0x95: "frame",
        0x96: "binbytes8",  # a bytearray
        0x97: "buffer_outside",  # NEXT_BUFFER
        0x98: "buffer_outside",  # READONLY_BUFFER
    }
    return [f"_{names[code]}" if code in names else None for code in range(256)]


_OPERATIONS = _table()
"""For each opcode the method that follows it; `None`: there is no such opcode."""
