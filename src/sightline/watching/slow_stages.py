"""Who is slow in which stage, from the timings that the journal has of each process."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sightline.analysis.run_analysis import Slow, slow_in_table
from sightline.views.history import History
from sightline.views.step_time import scope_of, timings

_STEP = "step"
_MATTERS = 0.01  # of a step: a process that costs less is nobody's trouble


@dataclass(frozen=True)
class SlowStage:
    """A process that holds up the others.

    Attributes:
        stage: in which one.
        slow: who, by how much, how often.
        median_s: what the others take.
    """

    stage: str
    slow: Slow
    median_s: float


def slow_stages(history: History, first_step: int, wall_s: float | None) -> list[SlowStage]:
    """Who holds up the others in which stage, the costliest first; nobody who costs under 1 % of a step.

    Args:
        history: of the run.
        first_step: of those that are looked at.
        wall_s: a step takes so long; None: that is unknown.
    """
    paths = timings(history.process_keys)
    common = scope_of(paths.values())
    found = []
    for key, path in paths.items():
        table = history.process_table(key, first_step=first_step)
        if table is None or len(table.processes) < 2:
            continue
        slow = slow_in_table(table.steps, table.processes, table.values)
        if slow is None or slow.excess_s * slow.steps <= _MATTERS * (wall_s or 0) * slow.of_steps:
            continue
        others = [at for at, process in enumerate(table.processes) if process != slow.process]
        median = float(np.nanmedian(table.values[:, others]))
        found.append(SlowStage(path[len(common) :], slow, median))
    found.sort(key=lambda each: -each.slow.excess_s * each.slow.steps / each.slow.of_steps)
    inner = [each for each in found if each.stage.split("/")[-1] != _STEP]
    return inner or found  # a step is slow because of one of its stages, if there are any
