"""Where the time of a step goes, and who is slow, from the timings that the journal has."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.analysis import Slow, kind_of, slow_in_table
from sightline.history import History

_PREFIX, _SUFFIX = "time/", "_s"
_STEP = "step"
_NOTHING = 0.005  # of a step: less is not shown
_MATTERS = 0.01  # of a step: a process that costs less is nobody's trouble
OTHER = "other"


@dataclass(frozen=True)
class StageTime:
    """A stage of the steps that are looked at.

    Attributes:
        name: without ``time/`` and what all stages begin with; ``other``: in none of them.
        key: of its timing; empty for ``other``.
        kind: see :data:`sightline.analysis.KINDS`.
        seconds: a step, the mean; a stage of every tenth step counts a tenth.
        share: of the wall time of a step, 0 to 1.
        is_part: whether it lies in another stage, by its name, and so counts in that one too.
    """

    name: str
    key: str
    kind: str
    seconds: float
    share: float
    is_part: bool


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


def timings(keys: list[str]) -> dict[str, str]:
    """The stages among some keys: of each timing its path, without ``time/`` and ``_s``.

    Example:
        >>> timings(["time/train/step_s", "time/train/step_s_max", "train/loss"])
        {'time/train/step_s': 'train/step'}
    """
    return {
        key: key[len(_PREFIX) : -len(_SUFFIX)]
        for key in keys
        if key.startswith(_PREFIX) and key.endswith(_SUFFIX)
    }


def stages_of(
    history: History, keys: list[str], steps: NDArray[np.int64], wall_s: float | None
) -> list[StageTime]:
    """The stages, the longest first, each with its parts behind it, and ``other`` at the end.

    Args:
        keys: that count.
        steps: those that are looked at, int64 ``[n]``, ascending.
        wall_s: of these, the mean; None: unknown, so that the timing of the step counts.
    """
    count = len(steps)
    seconds: dict[str, float] = {}
    key_of: dict[str, str] = {}
    for key, path in timings(keys).items():
        series = history.series(key)
        values = series.values[np.isin(series.steps, steps, assume_unique=True)]
        values = values[np.isfinite(values)]
        if len(values) and count:
            seconds[path] = float((values / count).sum())
            key_of[path] = key
    of_steps = [seconds.pop(path) for path in list(seconds) if path.split("/")[-1] == _STEP]
    whole = wall_s or max(of_steps, default=sum(seconds.values()))
    if not 0 < whole < math.inf or not seconds:
        return []
    part_of = {path: _whole_of(path, seconds) for path in seconds}
    tops = sorted((path for path in seconds if part_of[path] is None), key=lambda path: -seconds[path])
    common = _common([*seconds])
    found: list[StageTime] = []
    for top in tops:
        parts = sorted((p for p in seconds if part_of[p] == top), key=lambda path: -seconds[path])
        found += [
            StageTime(path[len(common) :], key_of[path], kind_of(path), seconds[path],
                      seconds[path] / whole, path != top)
            for path in (top, *parts)
            if seconds[path] > _NOTHING * whole
        ]  # fmt: skip
    rest = whole - sum(seconds[path] for path in tops)
    if rest > _NOTHING * whole:
        found.append(StageTime(OTHER, "", OTHER, rest, rest / whole, False))
    return found


def _whole_of(path: str, seconds: dict[str, float]) -> str | None:
    """The outermost stage that this one lies in: ``rollout`` of ``rollout/generate`` and ``rollout_sync``."""
    wholes = [
        other
        for other in seconds
        if path.startswith((f"{other}/", f"{other}_")) and seconds[path] <= seconds[other] * 1.001
    ]
    return min(wholes, key=len, default=None)


def _common(paths: list[str]) -> str:
    """The scope that all of them are in, with its slash."""
    folder = paths[0][: paths[0].rfind("/") + 1]
    while not all(path.startswith(folder) for path in paths):
        folder = folder[: folder.rfind("/", 0, -1) + 1]
    return folder


def slow_stages(history: History, first_step: int, wall_s: float | None) -> list[SlowStage]:
    """Who holds up the others in which stage, the costliest first; nobody who costs under 1 % of a step."""
    paths = timings(history.process_keys)
    common = _common(list(paths.values())) if paths else ""
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
