"""What TensorBoard shows of a folder, by its own readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import (
    EventAccumulator as PluginEventAccumulator,
)
from tensorboard.util import tensor_util

from sightline.sinks.commits import SEQ
from sightline.sinks.tensorboard import events


def read(folder: Path) -> EventAccumulator:
    """All that TensorBoard would show."""
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


def numbers(accumulator: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


def shown_by_plugins(folder: Path, tag: str) -> list[tuple[int, Any]]:
    """As TensorBoard itself shows it, where it reads without its data server."""
    accumulator = PluginEventAccumulator(str(folder), size_guidance={"tensors": 0})
    accumulator.Reload()
    found = [
        (event.step, tensor_util.make_ndarray(event.tensor_proto).item())
        for event in accumulator.Tensors(tag)
    ]
    return [(step, value.decode() if isinstance(value, bytes) else value) for step, value in found]


def seqs(folder: Path) -> list[int]:
    """Of all events in all files, in the order of their names."""
    return [
        int(value.tensor.double_val[0])
        for path in sorted(folder.glob("events.*"))
        for event in events(path)
        for value in event.summary.value
        if value.tag == SEQ
    ]
