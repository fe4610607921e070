"""What a recording call costs."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

import sightline as sl
from benchmarks.pairs import Figure, figure, ratios


class Appending:
    """The least that can be called recording: a method that appends to a dict of lists."""

    def __init__(self) -> None:
        self.lists: dict[str, list[float]] = {}

    def scalar(self, **kvs: float) -> None:
        for key, value in kvs.items():
            values = self.lists.get(key)
            if values is None:
                values = self.lists.setdefault(key, [])
            values.append(value)


def figures() -> Iterator[Figure]:
    yield _scalar()
    yield _scalar_long()
    yield _masked()


def _scalar() -> Figure:
    tracker, plain = sl.StatsTracker(), Appending()

    def ours() -> None:
        tracker.scalar(loss=0.5)

    def theirs() -> None:
        plain.scalar(loss=0.5)

    with tracker.scope("train"):
        return figure("scalar / append to a dict of lists", ratios(ours, theirs, times=10_000), 2.5)


def _scalar_long() -> Figure:
    """Blocks of ours and theirs in turn, until each holds a million records that nobody has exported."""
    tracker, plain = sl.StatsTracker(), Appending()
    found = []
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(50_000):
            tracker.scalar(loss=0.5)
        middle = time.perf_counter()
        for _ in range(50_000):
            plain.scalar(loss=0.5)
        found.append((middle - start) / (time.perf_counter() - middle))
    count = tracker.export(reduce="local")["loss__count"]
    assert count == 1_000_000, count
    return figure("the same, over 1,000,000 records without export", found, 2.5)


def _masked() -> Figure:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(64, 1024)).astype(np.float32)
    mask = rng.random((64, 1024)) < 0.8
    tracker = sl.StatsTracker()

    def ours() -> None:
        tracker.masked("advantage", values, mask)

    def theirs() -> tuple[object, ...]:
        chosen = values[mask].astype(np.float64)
        return chosen.size, chosen.mean(), chosen.std(), chosen.min(), chosen.max()

    found = ratios(ours, theirs, rounds=40, times=20)
    return figure("masked 64×1024 float32 / the same in plain NumPy", found, 2.0)
