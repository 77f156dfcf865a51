"""Reads which attributes of a TorchScript archive's modules are buffers: the source texts in it say so.

A script's pickle has a module's parameters, buffers and children as plain attributes of one object. Its class stands
as text in `code/`, one file a module of Python, and begins with two lists (torch 2.13,
torch/csrc/jit/serialization/python_print.cpp):

    class BatchNorm1d(Module):
      __parameters__ = ["weight", "bias", ]
      __buffers__ = ["running_mean", "running_var", "num_batches_tracked", ]

The text is searched for these lines; nothing of it is run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from explorer.sources.checkpoint.files import File, UnreadableError
from explorer.sources.checkpoint.pickle_reader import Global
from explorer.sources.checkpoint.zip_entries import STORED, Archive, data_offset, inflate

MAX_TEXTS = 64 << 20
"""Most bytes of all source texts that are read; those of large models have a few hundred KB."""

_CLASS = re.compile(
    r"^class (\w+)\(Module\):\n  __parameters__ = \[([^\]\n]*)\]\n  __buffers__ = \[([^\]\n]*)\]", re.M
)
_NAME = re.compile(r'"(\w+)"')


@dataclass(frozen=True, slots=True)
class Members:
    """What the attributes of one class are."""

    parameters: frozenset[str]
    """Names of its parameters."""
    buffers: frozenset[str]
    """Names of its buffers."""


class ScriptClasses:
    """The classes of one archive, each file of them read when the first of its classes is asked for."""

    def __init__(self, file: File, archive: Archive, root: str) -> None:
        """Read nothing yet.

        Args:
            file: The archive, open as long as this is asked.
            archive: Its directory.
            root: Name of the folder in it, with a slash.
        """
        self._file, self._archive, self._root = file, archive, root
        self._known: dict[str, dict[str, Members]] = {}
        self._left = MAX_TEXTS

    def members(self, maker: Global) -> Members | None:
        """Return what a class's attributes are; `None` where the archive does not say."""
        if maker.module not in self._known:
            text = self._text(f"{self._root}code/{maker.module.replace('.', '/')}.py")
            self._known[maker.module] = {
                name: Members(frozenset(_NAME.findall(parameters)), frozenset(_NAME.findall(buffers)))
                for name, parameters, buffers in _CLASS.findall(text)
            }
        return self._known[maker.module].get(maker.name)

    def _text(self, name: str) -> str:
        entry = self._archive.entries.get(name)
        if entry is None or max(entry.size, entry.compressed) > self._left:
            return ""
        self._left -= max(entry.size, entry.compressed)
        try:
            if entry.method == STORED:
                content = self._file.read(data_offset(self._file, entry), entry.compressed)
            else:
                content = inflate(self._file, entry)
        except UnreadableError:
            return ""  # the tensors are worth showing without it
        return content.decode("utf-8", "replace")
