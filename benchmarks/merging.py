"""What the root pays to merge the snapshots of a large job."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

import sightline as sl
from benchmarks.pairs import Figure, figure

PROCESSES, KEYS = 1024, 200


def figures() -> Iterator[Figure]:
    encoded = [_snapshot(process).to_bytes() for process in range(PROCESSES)]
    decoding, merging = [], []
    for _ in range(9):
        start = time.process_time()
        snapshots = [sl.Snapshot.from_bytes(data) for data in encoded]
        middle = time.process_time()
        merged = sl.Snapshot.merge(snapshots)
        decoding.append(middle - start)
        merging.append(time.process_time() - middle)
    assert merged.render().counts["train/key0__count"] == PROCESSES
    size = f"{len(encoded[0]) / 1000:.1f} kB each"
    yield figure(f"merging {PROCESSES} snapshots × {KEYS} keys, CPU", merging, 0.1, " s", size)
    yield figure("  decoding them, CPU", decoding, None, " s")


def _snapshot(process: int) -> sl.Snapshot:
    tracker = sl.StatsTracker()
    rng = np.random.default_rng(process)
    with tracker.scope("train"):
        for i, value in enumerate(rng.normal(size=KEYS).tolist()):
            tracker.scalar(f"key{i}", value)
    return tracker.snapshot(process=process)
