"""Reads the keyboard; what is no UTF-8, or no character, is no key, where Textual's own driver ends the program.

It comes from line noise, from a terminal set to Latin-1, from a paste of a binary file, and in the mouse reports of
old terminals. Leans on private parts of Textual 8.2.8: its parser, and the loop of `LinuxDriver`.
"""

from __future__ import annotations

import os
import selectors
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING

from textual import events
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textual.message import Message

NO_CHARACTER = "\ufffd"
"""What the decoder puts in the place of bytes that are no UTF-8."""


class LenientParser(XTermParser):
    """Textual's parser, but for numbers of keys that no character has."""

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterator[events.Key]:
        try:
            yield from super()._sequence_to_key_events(sequence, alt)
        except (ValueError, OverflowError):  # of `chr`
            yield events.Key(Keys.Ignore, sequence)


class LenientDriver(LinuxDriver):
    """Textual's driver, but for how it decodes and parses what it reads."""

    def run_input_thread(self) -> None:
        """Read until the interface is closed, as Textual's method does.

        A byte that can't be decoded is replaced here, and dropped only as a key: the parser counts the characters of
        a mouse report, and would take a key for the one that is missing.
        """
        parser = LenientParser(self._debug)
        decoder = getincrementaldecoder("utf-8")("replace")

        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            closing = False
            while not closing:
                closing = self.exit_event.is_set()  # what has come by then is read, or the shell would get it
                # Nothing, where a character is not whole yet, would be the end to the parser.
                if selector.select(0.1) and (text := decoder.decode(os.read(self.fileno, 4096))):
                    for event in parser.feed(text):
                        self.process_message(event)
                for event in parser.tick():
                    self.process_message(event)

    def process_message(self, message: Message) -> None:
        """Pass on what was read, without what stands for no character."""
        if isinstance(message, events.Paste):
            message = events.Paste(message.text.replace(NO_CHARACTER, ""))
        elif isinstance(message, events.Key) and message.character == NO_CHARACTER:
            return
        super().process_message(message)
