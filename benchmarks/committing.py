"""What a commit costs the thread that makes it, beside ``wandb.log``."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import sightline as sl
from benchmarks.pairs import Figure, figure

_METRICS = 100
_ROUNDS = 200


def figures() -> Iterator[Figure]:
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    names = [f"metric_{i}" for i in range(_METRICS)]
    found, ours_us = [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        sl.start(folder, sinks=[], naming="off") as run,
        wandb.init(
            mode="offline", dir=folder, project="bench", settings=wandb.Settings(console="off")
        ) as theirs,
    ):
        for step in range(_ROUNDS):
            metrics: dict[str, Any] = {name: float(step + i) for i, name in enumerate(names)}
            sl.scalar(**metrics)
            start = time.perf_counter()
            run.commit(step)
            ours = time.perf_counter() - start
            time.sleep(0.01)  # as a training step would leave time to; both have background work
            start = time.perf_counter()
            theirs.log(metrics)
            logged = time.perf_counter() - start
            time.sleep(0.01)
            found.append(ours / logged)
            ours_us.append(ours * 1e6)
    yield figure(f"commit of {_METRICS} metrics / wandb.log offline, on the caller", found[10:], 0.1)
