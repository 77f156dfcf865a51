"""Answers requests only while the files on disk are still those that were opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from explorer.core.windows import Selection
from explorer.sources.values import Facts, OpenTensor, Readable

if TYPE_CHECKING:
    from explorer.sources import Answer
    from explorer.sources.checkpoint.unchanged import OpenedFiles


def watched_answers(files: OpenedFiles, answers: Mapping[str, Answer]) -> dict[str, Answer]:
    """Return answers that read the files of the open target only while they are as they were."""
    return {name: partial(_watched, files, answer) for name, answer in answers.items()}


def _watched(files: OpenedFiles, answer: Answer, arguments: Mapping[str, Any]) -> Any:
    with files.watched():
        return answer(arguments)


def watched_values(files: OpenedFiles, open_tensor: OpenTensor) -> OpenTensor:
    """Return what opens tensors that are read from the files only while they are as they were."""

    def opened(index: int) -> Readable:
        with files.watched():
            return _Watched(files, open_tensor(index))

    return opened


class _Watched:
    """A tensor whose reads are compared (an `explorer.sources.values.Readable`), whoever asks for them."""

    def __init__(self, files: OpenedFiles, tensor: Readable) -> None:
        self._files, self._tensor = files, tensor

    @property
    def facts(self) -> Facts:
        return self._tensor.facts

    @property
    def in_order(self) -> bool:
        with self._files.watched():
            return self._tensor.in_order

    def take(self, selection: Selection) -> bytes:
        with self._files.watched():
            return self._tensor.take(selection)

    def chunks(self, elements: int) -> Iterator[bytes]:
        parts = iter(self._tensor.chunks(elements))
        while True:
            with self._files.watched():  # not around the `yield`: what runs meanwhile may read another target
                part = next(parts, None)
            if part is None:
                return
            yield part
