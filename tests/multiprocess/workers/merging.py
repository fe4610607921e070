"""What the processes of the tests of merging do."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import sightline as sl
from tests.multiprocess.workers.common import (
    LONG_S,
    RANK,
    backends_are_up,
    connect,
    main,
    note,
    settings,
    transport_of,
    wait_for,
)


def rewards(process: int, step: int) -> np.ndarray[Any, Any]:
    """What a process records at a step: of different length everywhere, far from zero, and for some none."""
    size = 0 if (process + step) % 5 == 4 else 3 + 2 * process + step
    return np.random.default_rng([process, step]).normal(1e6, 1.0, size)


BIG = 2**53  # an amount whose neighbours float64 cannot hold


def merge(*, steps: int, skips: Mapping[str, Sequence[int]], transport: str = "auto") -> None:
    """Trains and evaluates with every reduction, skips steps, commits on the root alone, and simply ends."""
    connect()
    run = sl.start(logger=settings(), transport=None if transport == "auto" else transport_of(transport))
    for step in run.steps(steps):
        if step in skips.get(str(RANK), ()):
            continue
        if RANK == 0:
            run.commit(step, {"root/before": step})
        with sl.scope("train"):
            _record(step)
        run.commit(step)
        if step % 2 == 0:
            with sl.scope("eval"):
                for value in rewards(RANK, step):
                    sl.scalar(accuracy=value)
            run.commit(step)
        if RANK == 0 and transport == "auto":
            sl.last("root/step", step)
            run.commit(step)
    note("backends", backends_are_up())


def diverges(*, process: int, step: int, steps: int) -> None:
    """One process's loss is NaN from a step on; histograms are recorded by all."""
    connect()
    run = sl.start(logger=settings())
    for current in run.steps(steps):
        with sl.scope("train"):
            sl.scalar(loss=float("nan") if process == RANK and current >= step else 1.0)
            sl.histogram("reward", rewards(RANK, current), bins=16)
        run.commit(current)


def _record(step: int) -> None:
    values = rewards(RANK, step)
    sl.summary("reward", values, emit=("mean", "std", "min", "max", "sum", "count"))
    sl.masked("kept", values, values > 1e6, emit=("mean",))
    for value in values:
        sl.scalar(f"only/{RANK}", value)
        sl.scalar(loss=value)
    sl.total(tokens=BIG + RANK)
    sl.total("documents", 7, replicated=True)
    sl.ratio("solved", int((values > 1e6).sum()), values.size)
    sl.last(version=10 * step + RANK)
    sl.text(split=f"from {RANK}")
    sl.scalar("shard", RANK + 0.5, per_process=True)
    with sl.record_timing("rollout") as timing:
        time.sleep(0.002 * (RANK + 1))
    note("rollout_s", timing.seconds)


def names_keys_oddly(*, naming: Any) -> None:
    """Each process by itself, and all alike; what a commit raises is noted."""
    connect()
    logging.basicConfig(format="%(message)s")
    with sl.start(logger=settings(), naming=naming) as run:
        for step in run.steps(3):
            sl.scalar("train/loss", 1.0)
            sl.scalar("everyone", 1.0)
            if RANK == 1:
                sl.scalar("only_one", 1.0)
            try:
                run.commit(step)
            except sl.RecordError as error:
                note("raised", str(error))


def two_unnamed_trackers() -> None:
    """Two trackers made without a name export in turn, under steps that NumPy's numbers give."""
    connect()
    losses, accuracies = sl.StatsTracker(), sl.StatsTracker()
    for step in np.arange(3):
        with sl.step(step):
            losses.scalar(loss=float(step))
            accuracies.scalar(accuracy=10.0 + step)
            note("exported", [losses.export(timeout=LONG_S), accuracies.export(timeout=LONG_S)])


def two_calls(
    *,
    steps: int,
    reduce: str = "process",
    skip: Mapping[str, Sequence[int]] | None = None,
    active: bool = False,
    hang: Sequence[int] = (),
    timeout: float = LONG_S,
) -> None:
    """``logger.commit(step, tracker.export())`` by hand, without ``sl.start``."""
    connect()
    tracker = sl.StatsTracker("mine")
    logger = sl.StatsLogger(settings(name="run"), tracker=tracker)
    for step in range(steps):
        if step in (skip or {}).get(str(RANK), ()):
            continue
        if RANK in hang and step == 1:
            wait_for("go")
        for value in rewards(RANK, step):
            tracker.scalar(loss=value)
        tracker.total(tokens=BIG + RANK)
        tracker.text(split="train")
        if active:
            with sl.step(step):
                stats = tracker.export(reduce=reduce, timeout=timeout)  # type: ignore[arg-type]
        else:  # all have begun when the first has been exported; a start may take long
            patience = timeout if step else LONG_S
            stats = tracker.export(reduce=reduce, timeout=patience)  # type: ignore[arg-type]
        note("exported", [step, stats])
        logger.commit(step, stats)
    logger.finish()


if __name__ == "__main__":
    main(globals())
