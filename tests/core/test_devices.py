"""Memory by device adds up to the model's, and counts nothing where nothing lies."""

from __future__ import annotations

from dataclasses import replace

from explorer.core.param import Column, Model
from explorer.core.totals import by_device, totals


def test_memory_by_device_adds_up(tiny: Model) -> None:
    places = ["cuda:0" if index % 3 else "cpu" for index in range(len(tiny))]
    model = replace(tiny, devices=Column.of(places))
    found = by_device(model)
    assert [place.device for place in found] == ["cpu", "cuda:0"]
    assert sum(place.tensors for place in found) == len(tiny)
    assert sum(place.nbytes or 0 for place in found) == totals(tiny).nbytes


def test_skeletons_and_files_take_no_memory(tiny: Model) -> None:
    assert by_device(replace(tiny, devices=Column.constant("meta", len(tiny)))) == ()
    assert by_device(replace(tiny, devices=Column.constant(None, len(tiny)))) == ()
