"""Who is slow in which stage, from the timings that the journal has of each process."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sightline.analysis.run_analysis import Slow, slow_in_table
from sightline.views.history import History
from sightline.views.step_time import scope_of, timings

_STEP = "step"
_MOST = 0.8  # of what a stage costs, in a part of it
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

    Of a stage and its part the part alone, where it is most of that: it says where.

    Args:
        history: of the run.
        first_step: of those that are looked at, over all of which the costs are.
        wall_s: a step takes so long; None: that is unknown.
    """
    paths = timings(history.process_keys)
    common = scope_of(paths.values())
    of_all = max(1, int((history.steps()[0] >= first_step).sum()))
    found: list[SlowStage] = []
    for key, path in paths.items():
        table = history.process_table(key, first_step=first_step)
        if table is None or len(table.processes) < 2:
            continue
        slow = slow_in_table(table.steps, table.processes, table.values)
        if slow is None or slow.excess_s * slow.steps <= _MATTERS * (wall_s or 0) * of_all:
            continue
        others = [at for at, process in enumerate(table.processes) if process != slow.process]
        median = float(np.nanmedian(table.values[:, others]))
        found.append(SlowStage(path[len(common) :], slow, median))
    found.sort(key=_cost, reverse=True)
    inner = [each for each in found if each.stage.split("/")[-1] != _STEP]
    found = inner or found  # a step is slow because of one of its stages, if there are any
    return [whole for whole in found if not any(_is_most_of(part, whole) for part in found)]


def _cost(each: SlowStage) -> float:
    return each.slow.excess_s * each.slow.steps


def _is_most_of(part: SlowStage, whole: SlowStage) -> bool:
    return (
        part.slow.process == whole.slow.process
        and part.stage.startswith((f"{whole.stage}/", f"{whole.stage}_"))
        and _cost(part) >= _MOST * _cost(whole)
    )
