"""Where the wall time of a run and of its steps goes, by the timings of its journal. For views.

The wall time of a step is that from the last commit of the step before to its own last one. Of the first step
of an attempt it is not known, so that step is left out where another one has been timed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.analysis.stage_kinds import OTHER, goodput, is_unknown, kind_of
from sightline.views.history import History
from sightline.views.run_clock import RunClock

#: The kind of wall time that lies in no step.
OUTSIDE = "outside"
_PREFIX, _SUFFIX = "time/", "_s"
_STEP = "step"
_OVERLAP = 1.01  # times as much as the steps take: more is no error of measuring


@dataclass(frozen=True)
class StageTime:
    """A stage of the steps that are looked at.

    Attributes:
        name: without ``time/`` and what all stages begin with; ``other``: in none of them.
        key: of its timing; empty for ``other``.
        kind: see :data:`sightline.analysis.stage_kinds.KINDS`.
        seconds: a step, the mean; a stage of every tenth step counts a tenth.
        share: of the steps' wall time, 0 to 1.
        is_part: whether it lies in another stage, by its name, and so counts in that one too.
        own_s: of ``seconds``, without the parts.
        own_share: of the steps' wall time, without the parts; those of all stages add up to 1.
    """

    name: str
    key: str
    kind: str
    seconds: float
    share: float
    is_part: bool
    own_s: float
    own_share: float


class StepTime(NamedTuple):
    """Where the time goes.

    Attributes:
        wall_s: a step, the mean over those that count.
        stages: the longest first, each with its parts behind it, and ``other`` at the end.
        kinds: share of the steps' wall time by kind, the largest first; they add up to 1 with ``other``.
        overlaps: whether the stages together take longer than the steps, so that shares are of their sum.
        steps: all that are looked at, ascending, int64 ``[n]``.
        own: by the name of a stage its seconds in each of these steps, without its parts, and those of
            ``other``: float64 ``[n]``.
    """

    wall_s: float
    stages: list[StageTime]
    kinds: dict[str, float]
    overlaps: bool
    steps: NDArray[np.int64]
    own: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class RunTime:
    """Where the wall time of a run goes: that of its attempts, without the pauses between them.

    Attributes:
        wall_s: from when an attempt began to when it ended, or was heard of last; of all of them.
        kinds: share of it by kind, the largest first; they add up to 1 with ``other``, which is in steps and
            in none of their stages, and ``outside``: of an attempt what is before its first step's stages and
            after its last step, and steps that a later attempt went over again.
        goodput: the share that goes into training: all but evaluation, checkpoints, waiting, ``other`` and
            ``outside``.
        since: the first step that is known, where not all of the journal was read; None: all was.
        unknown: of the share that is ``other``, that of stages that are of no kind, by their names without
            what all begin with.
    """

    wall_s: float
    kinds: dict[str, float]
    goodput: float
    since: int | None
    unknown: dict[str, float]


def timings(keys: Iterable[str]) -> dict[str, str]:
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


def scope_of(paths: Iterable[str]) -> str:
    """The scope that all of them are in, with its slash.

    Example:
        >>> scope_of(["train/rollout", "train/update"]), scope_of(["train/rollout", "eval/all"])
        ('train/', '')
    """
    paths = list(paths)
    folder = paths[0][: paths[0].rfind("/") + 1] if paths else ""
    while not all(path.startswith(folder) for path in paths):
        folder = folder[: folder.rfind("/", 0, -1) + 1]
    return folder


def step_time(history: History, keys: Iterable[str], *, last: int | None = None) -> StepTime | None:
    """Where the time of a run's steps goes; None where nothing was timed.

    Args:
        history: of the run.
        keys: that count: without other names of keys.
        last: of so many of the last steps only; None: of all.

    Example:
        >>> import sightline as sl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with sl.start(folder, sinks=[]) as run:
        ...         for step in run.steps(3):
        ...             with sl.record_timing("train/update"):
        ...                 pass
        ...             run.commit(step)
        ...     history = History(run.dir)
        ...     _ = history.update()
        >>> found = step_time(history, history.keys)
        >>> [stage.name for stage in found.stages], round(sum(found.kinds.values()), 9)
        (['update', 'other'], 1.0)
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return _step_time(history, keys, last)


def run_time(history: History, keys: Iterable[str]) -> RunTime | None:
    """Where the wall time of a run goes; None where nothing was timed.

    Args:
        history: of the run.
        keys: that count: without other names of keys.

    Example:
        >>> import sightline as sl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with sl.start(folder, sinks=[]) as run:
        ...         for step in run.steps(3):
        ...             with sl.record_timing("train/update"):
        ...                 pass
        ...             run.commit(step)
        ...     history = History(run.dir)
        ...     _ = history.update()
        >>> found = run_time(history, history.keys)
        >>> sorted(found.kinds), round(sum(found.kinds.values()), 9), found.goodput == found.kinds["training"]
        (['other', 'outside', 'training'], 1.0, True)
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return _run_time(history, keys)


def _run_time(history: History, keys: Iterable[str]) -> RunTime | None:
    steps, wall = history.steps()[0], history.step_seconds()
    if not len(steps):
        return None
    spent = _spent(history, keys, steps, np.ones(len(steps), bool))
    if not spent.own:
        return None
    known = np.sum(list(spent.own.values()), axis=0)
    # Of an attempt's first step it is known how long its stages took, and perhaps how long itself.
    whole = np.where(np.isfinite(wall), wall, np.maximum(known, spent.steps))
    known_s, in_steps = float(known.sum()), float(whole.sum())
    wall_s = RunClock(history).wall or in_steps
    if not 0 < wall_s < math.inf or not 0 < in_steps < math.inf:
        return None
    shrunk = min(1.0, wall_s / in_steps)  # where the first steps' stages overlap
    part = min(1.0, in_steps / known_s) if known_s else 1.0  # as they may in all
    seconds: defaultdict[str, float] = defaultdict(float)
    unknown: dict[str, float] = {}
    common = scope_of(spent.own)
    for path, each in spent.own.items():
        took = part * float(each.sum())
        seconds[kind_of(path)] += took
        if is_unknown(path):
            unknown[path[len(common) :]] = shrunk * took / wall_s
    seconds[OTHER] += max(0.0, in_steps - part * known_s)
    kinds = {kind: shrunk * each / wall_s for kind, each in seconds.items()}
    kinds[OUTSIDE] = 1 - shrunk * in_steps / wall_s
    return RunTime(
        wall_s, dict(sorted(kinds.items(), key=lambda item: -item[1])),
        goodput({kind: share for kind, share in kinds.items() if kind != OUTSIDE}),
        int(steps[0]) if history.begins_at else None, unknown,
    )  # fmt: skip


class _Spent(NamedTuple):
    """What the stages take, by their paths; arrays are of each step, ``[n]``.

    Attributes:
        mean: a step, over those that count.
        key: of the timing.
        inside: see :func:`_inside`.
        own: without the parts.
        steps: what steps say of themselves to have taken; 0 where they do not.
        steps_s: of that the mean over those that count; None where no step says so.
    """

    mean: dict[str, float]
    key: dict[str, str]
    inside: dict[str, list[str]]
    own: dict[str, NDArray[np.float64]]
    steps: NDArray[np.float64]
    steps_s: float | None


def _spent(
    history: History, keys: Iterable[str], steps: NDArray[np.int64], counts: NDArray[np.bool_]
) -> _Spent:
    spent: dict[str, NDArray[np.float64]] = {}
    key_of: dict[str, str] = {}
    for key, path in timings(keys).items():
        series = history.series(key)
        is_there = np.isin(series.steps, steps[counts], assume_unique=True) & np.isfinite(series.values)
        if is_there.any():
            spent[path], key_of[path] = _on(steps, series.steps, series.values), key
    of_steps = [spent.pop(path) for path in list(spent) if path.split("/")[-1] == _STEP]
    mean = {path: float(each[counts].mean()) for path, each in spent.items()}
    inside = {path: _inside(path, mean) for path in mean}
    own = {path: np.maximum(spent[path] - _sum(spent, inside, path), 0.0) for path in mean}
    longest = np.max(of_steps, axis=0) if of_steps else np.zeros(len(steps))
    steps_s = max((float(each[counts].mean()) for each in of_steps), default=None)
    return _Spent(mean, key_of, inside, own, longest, steps_s)


def _step_time(history: History, keys: Iterable[str], last: int | None) -> StepTime | None:
    steps, wall = history.steps()[0], history.step_seconds()
    if not len(steps):
        return None
    if last is not None:
        steps, wall = steps[-last:], wall[-last:]
    counts = np.isfinite(wall) if np.isfinite(wall).any() else np.ones(len(steps), bool)
    mean, key_of, inside, own, _, steps_s = _spent(history, keys, steps, counts)
    own_s = {path: float(each[counts].mean()) for path, each in own.items()}
    known_s = sum(own_s.values())
    wall_s = float(wall[counts].mean()) if np.isfinite(wall[counts]).all() else 0.0
    wall_s = wall_s or (known_s if steps_s is None else steps_s)
    whole = max(wall_s, known_s)
    if not mean or not 0 < whole < math.inf:
        return None
    common = scope_of(mean)

    def stage(path: str) -> StageTime:
        return StageTime(
            path[len(common) :], key_of[path], kind_of(path), mean[path], mean[path] / whole,
            bool(inside[path]), own_s[path], own_s[path] / whole,
        )  # fmt: skip

    def longest(paths: Iterable[str]) -> list[str]:
        return sorted(paths, key=lambda path: -mean[path])

    stages = []
    for top in longest(path for path in mean if not inside[path]):
        parts = longest(path for path in mean if inside[path] and inside[path][-1] == top)
        stages += [stage(path) for path in (top, *parts)]
    rest = whole - known_s
    stages.append(StageTime(OTHER, "", OTHER, rest, rest / whole, False, rest, rest / whole))
    kinds: defaultdict[str, float] = defaultdict(float)
    for each in stages:
        kinds[each.kind] += each.own_share
    known = np.sum(list(own.values()), axis=0)
    by_name = {path[len(common) :]: each for path, each in own.items()}
    by_name[OTHER] = by_name.get(OTHER, np.zeros(len(steps))) + np.maximum(np.nan_to_num(wall) - known, 0.0)
    return StepTime(
        wall_s, stages, dict(sorted(kinds.items(), key=lambda item: -item[1])),
        known_s > _OVERLAP * wall_s, steps, by_name,
    )  # fmt: skip


def _on(steps: NDArray[np.int64], at: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values at some steps laid on others, 0 where there is none."""
    place = np.searchsorted(steps, at)
    is_there = (place < len(steps)) & np.isfinite(values)
    is_there[is_there] &= steps[place[is_there]] == at[is_there]
    found = np.zeros(len(steps))
    found[place[is_there]] = values[is_there]
    return found


def _inside(path: str, seconds: Mapping[str, float]) -> list[str]:
    """The stages that this one lies in, by its name, the innermost first: of ``rollout/decode`` and
    ``rollout_sync`` that is ``rollout``."""
    wholes = [
        other
        for other in seconds
        if path.startswith((f"{other}/", f"{other}_")) and seconds[path] <= seconds[other] * 1.001
    ]
    return sorted(wholes, key=len, reverse=True)


def _sum(
    spent: Mapping[str, NDArray[np.float64]], inside: Mapping[str, list[str]], whole: str
) -> NDArray[np.float64]:
    """What the stages take that lie in one immediately."""
    parts = [spent[path] for path, wholes in inside.items() if wholes[:1] == [whole]]
    return sum(parts, start=np.zeros_like(spent[whole]))
