"""A run in a process of its own that makes some commits, says so, and waits; for what looks at runs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import sightline as sl
from tests.harness import Worker, Workers, until


def one_run(steps: int, total: int, fails_at: int, sinks: list[str]) -> None:
    """A run in ``runs/run``."""
    logger = sl.StatsLoggerConfig(wandb=sl.WandbConfig(mode="offline"))
    with sl.start("runs", name="run", sinks=sinks, naming="off", resume="allow", logger=logger) as run:
        for step in run.steps(total or steps):
            if step == fails_at:
                raise ValueError("no \x1b[31mgradient")
            if step >= steps:
                break
            sl.scalar(loss=1.0)
            run.commit(step)
        run.flush()
        Path("committed").touch()
        while not Path("end").exists():
            time.sleep(0.01)


def started(
    workers: Workers, steps: int = 0, *, total: int = 0, fails_at: int = -1, sinks: Sequence[str] = ()
) -> Worker:
    """A run that has made its commits and waits for ``end``.

    Args:
        workers: of this file.
        steps: how many it makes.
        total: how long its loop says that it is; 0: as many.
        fails_at: the step in which it raises; -1: in none.
        sinks: of the run.
    """
    worker = workers.start("one_run", steps=steps, total=total, fails_at=fails_at, sinks=list(sinks))
    until(lambda: (worker.disk / "committed").exists() or worker.popen.poll() is not None, worker.output)
    return worker


if __name__ == "__main__":
    globals()[sys.argv[1]](**json.loads(sys.argv[2]))
