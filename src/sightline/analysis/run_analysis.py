"""Where the time of a run goes: pure functions over spans, for summaries, comparisons and reports.

The *loop* of a process is the thread that runs its steps; a *stage* is a span of that thread within a step.
Stages nest, and what is shared out is their exclusive time: a stage's own, without that of the stages in it.
So the exclusive times of all stages and the rest, ``other``, add up to the steps' wall time.

A loop that runs ahead of its devices waits in one stage for another: in the rollout for the update before
it. Where the program has said when a stage's work begins and ends on the devices (``timing.since``,
``until``), time in which the loop is in such a stage, or in none, belongs to the stage that they are in.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.analysis.critical_path import Loop, Segment, critical_path
from sightline.analysis.stage_kinds import OTHER, STEP, goodput, is_unknown, kind_of, waited_for
from sightline.analysis.stage_pieces import DEVICE, StageSpan, Track, Where

_CHRONIC = 0.5  # of the steps in which the same process is the slow one
_EXCESS = 0.1  # of the median: less is nobody's fault
_EXCESS_NS = 1_000_000

_Step = tuple[int, int]  # its number, and the how manieth of this number it is


class Slow(NamedTuple):
    """The process that takes longest over a stage, beyond what the others take.

    Attributes:
        process: which.
        excess_s: seconds above the median of all processes, the mean over the steps in which it was slowest.
        steps: in how many steps it was slowest, and clearly so.
        of_steps: how many steps there are to compare.
        worst_step: where it was slowest of all.
    """

    process: int
    excess_s: float
    steps: int
    of_steps: int
    worst_step: int

    @property
    def is_chronic(self) -> bool:
        """Slow in most steps, and not once."""
        return self.of_steps > 1 and self.steps > _CHRONIC * self.of_steps


class Stage(NamedTuple):
    """What became of one name, over all steps and processes.

    Attributes:
        name: of the spans.
        kind: see :data:`sightline.analysis.stage_kinds.KINDS`.
        spans: how many there are.
        total_s, mean_s, p50_s, p95_s: of their durations, in seconds.
        exclusive_s: of the total, without the stages inside.
        share: of the steps' wall time that ``exclusive_s`` is, 0 to 1.
        slow: who takes longest, if somebody clearly does.
    """

    name: str
    kind: str
    spans: int
    total_s: float
    mean_s: float
    p50_s: float
    p95_s: float
    exclusive_s: float
    share: float
    slow: Slow | None


@dataclass
class StepTimes:
    """One step.

    Attributes:
        step: its number.
        wall_s: of the process that took longest, from its own beginning of the step to its end.
        stages: exclusive seconds by stage, the mean over the processes, with ``other``.
        critical: what made it as long as it was, in order.
        occurrence: the how manieth step of this number it is, from 1: a program may loop over them again.
    """

    step: int
    wall_s: float
    stages: dict[str, float]
    critical: list[Segment] = field(default_factory=list)
    occurrence: int = 1


class ProcessTime(NamedTuple):
    """Where the time of one process went.

    Attributes:
        kinds: share of ``wall_s`` by kind, adding up to 1 with ``other``, the largest first.
        waits: of the share that is waiting, what for: by kind.
        wall_s: of its steps; of a process without steps from the first beginning of a step of the others to
            the last end, or where nobody has any, from its own first span to its last one.
        has_steps: whether it has steps. If not, what all of its threads do counts: time is shared out among
            those that are in a stage, and is waiting where all of these wait.
    """

    kinds: dict[str, float]
    waits: dict[str, float]
    wall_s: float
    has_steps: bool

    @property
    def goodput(self) -> float:
        """See :attr:`Analysis.goodput`."""
        return goodput(self.kinds)


@dataclass
class Analysis:
    """Where the time went.

    Attributes:
        processes: which have steps.
        steps: each step, by its number.
        stages: by exclusive time, the longest first.
        kinds: share of the steps' wall time by kind, adding up to 1 with ``other``.
        waits: of the share that is waiting, what for: by kind.
        unknown: of the share that is ``other``, that of stages that are of no kind: by stage.
        by_process: the same of each process, also of those without steps: where they have roles, it differs.
        beside: what other threads and lanes did meanwhile, by total time: name, how many spans, seconds.
        wall_s: of all steps together, the mean over the processes.
        loops: how many steps there are of all processes together: one that drops out has fewer.
    """

    processes: list[int]
    steps: list[StepTimes]
    stages: list[Stage]
    kinds: dict[str, float]
    waits: dict[str, float]
    unknown: dict[str, float]
    by_process: dict[int, ProcessTime]
    beside: list[tuple[str, int, float]]
    wall_s: float
    loops: int

    @property
    def goodput(self) -> float:
        """Share of the steps' wall time that goes into training: all but evaluation, checkpoints, waiting
        and what is not known."""
        return goodput(self.kinds)


def analyse(spans: Iterable[StageSpan], steps: tuple[int, int] | None = None) -> Analysis:
    """Where the time of all processes went. Linear in the spans, but for their being sorted.

    Args:
        spans: of all threads and processes, in any order.
        steps: only these, from the first to the last.
    """
    by_thread: defaultdict[Where, list[StageSpan]] = defaultdict(list)
    for span in spans:
        by_thread[span.process, span.tid].append(span)
    loops = {where: own for where, own in by_thread.items() if any(span.category == STEP for span in own)}
    devices = _taken_devices(by_thread, loops)

    @cache
    def track_of(where: Where) -> Track:
        return Track(by_thread.get(where, ()), devices[where[0]] if where in loops else ())

    by_step: defaultdict[_Step, dict[Where, Loop]] = defaultdict(dict)
    for where in loops:
        for step, loop in _steps_of(by_thread[where], track_of(where)).items():
            if _is_in(steps, step[0]):
                by_step[step][where] = loop
    durations: defaultdict[str, list[float]] = defaultdict(list)
    exclusive: defaultdict[str, float] = defaultdict(float)
    took: defaultdict[str, defaultdict[_Step, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
    of_process: defaultdict[int, Counter[_Doing]] = defaultdict(Counter)
    walls: Counter[int] = Counter()
    categories: dict[str, str] = {}
    at_work = {process: Counter((span.name, span.step) for span in own) for process, own in devices.items()}
    for step, of_step in by_step.items():
        for (process, _), loop in of_step.items():
            walls[process] += loop.wall
            for span in loop.spans:
                categories.setdefault(span.name, span.category)
                known = at_work.get(process, Counter())
                if known[span.name, span.step]:  # how long its work took is what counts, below
                    known[span.name, span.step] -= 1
                else:
                    durations[span.name].append((span.end - span.start) / 1e9)
            for piece in loop.pieces:
                ns = piece.end - piece.start
                exclusive[piece.name] += ns / 1e9
                of_process[process][_doing(piece)] += ns
                took[piece.name][step][process] += ns
    for own in devices.values():
        for span in own:
            if span.step is not None and _is_in(steps, span.step):
                durations[span.name].append((span.end - span.start) / 1e9)
    wall_s = walls.total() / 1e9
    stages = [
        Stage(
            name, kind_of(name, categories.get(name, "")), len(each), sum(each), sum(each) / len(each),
            float(np.quantile(each, 0.5)), float(np.quantile(each, 0.95)), exclusive[name],
            exclusive[name] / wall_s if wall_s else 0.0, _slow_process(took[name]),
        )
        for name, each in durations.items()
    ]  # fmt: skip
    stages.sort(key=lambda stage: -stage.exclusive_s)
    kinds: defaultdict[str, float] = defaultdict(float)
    waits: defaultdict[str, float] = defaultdict(float)
    for stage in stages:
        kinds[stage.kind] += stage.share
        if stage.kind == "waiting":
            waits[waited_for(stage.name)] += stage.share
    if wall_s:
        kinds[OTHER] += 1.0 - sum(kinds.values())
    begin = min((loop.start for each in by_step.values() for loop in each.values()), default=None)
    end = max((loop.end for each in by_step.values() for loop in each.values()), default=None)
    by_process = {process: _process_time(of_process[process], wall, True) for process, wall in walls.items()}
    without = {process for process, _ in by_thread} - {process for process, _ in loops}
    for process in without if steps is None or by_step else ():
        tracks = [track_of(where) for where in by_thread if where[0] == process]
        by_process[process] = _process_time(*_done_in_all(tracks, begin, end), False)
    return Analysis(
        processes=sorted(walls),
        steps=[_step_times(step, by_step[step], track_of) for step in sorted(by_step)],
        stages=stages,
        kinds=_by_size(kinds),
        waits=_by_size(waits),
        unknown=_by_size(
            {
                stage.name: stage.share
                for stage in stages
                if is_unknown(stage.name, categories.get(stage.name, ""))
            }
        ),
        by_process=dict(sorted(by_process.items())),
        beside=_beside(by_thread, loops, steps, begin, end),
        wall_s=wall_s / max(len({where for each in by_step.values() for where in each}), 1),
        loops=sum(map(len, by_step.values())),
    )


def _is_in(steps: tuple[int, int] | None, step: int) -> bool:
    return steps is None or steps[0] <= step <= steps[1]


def _by_size(shares: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


class _Doing(NamedTuple):
    """Of which kind something is, and of waiting, what for."""

    kind: str
    what: str


def _doing(piece: StageSpan) -> _Doing:
    kind = kind_of(piece.name, piece.category)
    return _Doing(kind, waited_for(piece.name) if kind == "waiting" else "")


def _process_time(spent: Mapping[_Doing, float], wall: int, has_steps: bool) -> ProcessTime:
    """Of a wall time in ns, with what is in no stage as ``other``."""
    kinds: defaultdict[str, float] = defaultdict(float)
    waits: defaultdict[str, float] = defaultdict(float)
    for doing, ns in spent.items():
        if wall:
            kinds[doing.kind] += ns / wall
            if doing.what:
                waits[doing.what] += ns / wall
    kinds[OTHER] += 1.0 - sum(kinds.values()) if wall else 0.0
    return ProcessTime(_by_size(kinds), _by_size(waits), wall / 1e9, has_steps)


def _done_in_all(
    tracks: Iterable[Track], begin: int | None, end: int | None
) -> tuple[dict[_Doing, float], int]:
    """What all threads of a process do in a stretch of time: ns of each, and those of the stretch."""
    pieces = [piece for track in tracks for piece in track.pieces]
    if begin is None or end is None:
        begin = min((piece.start for piece in pieces), default=0)
        end = max((piece.end for piece in pieces), default=0)
    edges = []
    for piece in pieces:
        if piece.start < end and piece.end > begin:
            doing = _doing(piece)
            edges += [(max(piece.start, begin), 1, doing), (min(piece.end, end), -1, doing)]
    edges.sort()
    spent: defaultdict[_Doing, float] = defaultdict(float)
    under_way: Counter[_Doing] = Counter()
    now = begin
    for at, change, doing in edges:
        if at > now and under_way:
            busy = {each: n for each, n in under_way.items() if each.kind != "waiting"} or under_way
            for each, n in busy.items():
                spent[each] += (at - now) * n / sum(busy.values())
        now = at
        under_way[doing] += change
        if not under_way[doing]:
            del under_way[doing]
    return spent, end - begin


def _beside(
    by_thread: Mapping[Where, list[StageSpan]],
    loops: Mapping[Where, object],
    steps: tuple[int, int] | None,
    begin: int | None,
    end: int | None,
) -> list[tuple[str, int, float]]:
    """Of chosen steps what says that it is of them, or begins between their begin and their end."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for where, spans in by_thread.items():
        for span in spans if where not in loops else ():
            if span.step is not None:
                counts = _is_in(steps, span.step)
            else:
                counts = steps is None or (
                    begin is not None and end is not None and begin <= span.start < end
                )
            if counts:
                found[span.name].append((span.end - span.start) / 1e9)
    rows = [(name, len(took), sum(took)) for name, took in found.items()]
    return sorted(rows, key=lambda row: -row[2])


def _taken_devices(
    by_thread: defaultdict[Where, list[StageSpan]], loops: Mapping[Where, object]
) -> defaultdict[int, list[StageSpan]]:
    """Takes the spans of devices out, of the processes that have a loop: in the order in which they begin."""
    processes = {process for process, _ in loops}
    found: defaultdict[int, list[StageSpan]] = defaultdict(list)
    for where, spans in by_thread.items():
        if where[0] in processes and any(span.category == DEVICE for span in spans):
            found[where[0]] += [span for span in spans if span.category == DEVICE]
            by_thread[where] = [span for span in spans if span.category != DEVICE]
    for at_work in found.values():
        at_work.sort(key=lambda span: span.start)
    return found


def _steps_of(spans: Iterable[StageSpan], track: Track) -> dict[_Step, Loop]:
    """The steps of a loop, with what is in each; a step within a step is a part of it."""
    times: Counter[int] = Counter()
    steps: dict[_Step, Loop] = {}
    end = -1
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if span.category == STEP and span.step is not None and (span.start >= end or not steps):
            end = span.end
            times[span.step] += 1
            steps[span.step, times[span.step]] = Loop(span.start, span.end)
    loops = list(steps.values())
    starts = [loop.start for loop in loops]

    def at(moment: int) -> Loop | None:
        place = bisect_right(starts, moment) - 1
        return loops[place] if place >= 0 and moment < loops[place].end else None

    for span in spans:
        if span.category != STEP and (loop := at(span.start)) is not None:
            loop.spans.append(span)
    for piece in track.pieces:
        if (loop := at(piece.start)) is not None:
            loop.pieces.append(piece)
    return steps


def _step_times(step: _Step, loops: Mapping[Where, Loop], track_of: Callable[[Where], Track]) -> StepTimes:
    stages: defaultdict[str, float] = defaultdict(float)
    for loop in loops.values():
        known = 0
        for piece in loop.pieces:
            stages[piece.name] += (piece.end - piece.start) / 1e9 / len(loops)
            known += piece.end - piece.start
        stages[OTHER] += (loop.wall - known) / 1e9 / len(loops)
    # Each from its own beginning: processes that are a step apart, as without a collective, are not slow.
    wall = max(loop.wall for loop in loops.values())
    return StepTimes(step[0], wall / 1e9, dict(stages), critical_path(loops, track_of), step[1])


def _slow_process(by_step: Mapping[_Step, Mapping[int, int]]) -> Slow | None:
    """Who takes longest over a stage, clearly above the median; None if nobody does, or there is one process.

    A stage that ends with a collective takes equally long for all: the slow process shows in the stages
    before it.

    Args:
        by_step: ns of each process that has the stage.
    """
    excess: defaultdict[int, list[tuple[float, int]]] = defaultdict(list)
    compared = 0
    for (step, _), took in by_step.items():
        if len(took) < 2:
            continue
        compared += 1
        # The upper of two middle ones would be the slow one itself, with two processes.
        median = sorted(took.values())[(len(took) - 1) // 2]
        slowest = max(took, key=lambda process: took[process])
        over = took[slowest] - median
        if over > max(_EXCESS * median, _EXCESS_NS):
            excess[slowest].append((over / 1e9, step))
    return _worst(excess, compared)


def slow_in_table(
    steps: Iterable[int] | NDArray[np.int64],
    processes: Sequence[int],
    seconds: NDArray[np.float64],
) -> Slow | None:
    """The same of a stage's seconds as the journal has them of each process.

    Args:
        steps: ``[n]``.
        processes: ``[p]``.
        seconds: ``[n, p]``; NaN where a process has none.

    Example:
        >>> slow_in_table([7, 8, 9], [0, 1, 2], np.array([[1, 1, 3], [1, 1, 2], [2, 1, 1.0]]))
        Slow(process=2, excess_s=1.5, steps=2, of_steps=3, worst_step=7)
    """
    excess: defaultdict[int, list[tuple[float, int]]] = defaultdict(list)
    compared = 0
    for step, row in zip(steps, np.asarray(seconds, np.float64), strict=True):
        there = np.flatnonzero(np.isfinite(row))
        if len(there) < 2:
            continue
        compared += 1
        took = row[there]
        median = float(np.partition(took, (len(took) - 1) // 2)[(len(took) - 1) // 2])
        slowest = int(np.argmax(took))
        over = float(took[slowest]) - median
        if over > max(_EXCESS * median, _EXCESS_NS / 1e9):
            excess[processes[there[slowest]]].append((over, int(step)))
    return _worst(excess, compared)


def _worst(excess: Mapping[int, list[tuple[float, int]]], compared: int) -> Slow | None:
    """Of processes with the seconds and steps in which each was slowest."""
    if not excess:
        return None
    process, over_s = max(excess.items(), key=lambda item: sum(each for each, _ in item[1]))
    mean_s = sum(s for s, _ in over_s) / len(over_s)
    return Slow(process, mean_s, len(over_s), compared, max(over_s)[1])


class Difference(NamedTuple):
    """A stage in two runs.

    Attributes:
        name: of the stage.
        before_s, after_s: exclusive seconds a step; None where there is no such stage.
    """

    name: str
    before_s: float | None
    after_s: float | None

    @property
    def change_s(self) -> float:
        """How much longer it takes, in seconds a step."""
        return (self.after_s or 0.0) - (self.before_s or 0.0)


def differences(before: Analysis, after: Analysis) -> list[Difference]:
    """The stages of two runs, by how much they differ, the greatest first; with ``other``."""
    first, second = _per_step(before), _per_step(after)
    names = dict.fromkeys([*first, *second])
    found = [Difference(name, first.get(name), second.get(name)) for name in names]
    return sorted(found, key=lambda each: -abs(each.change_s))


def _per_step(analysis: Analysis) -> dict[str, float]:
    total: defaultdict[str, float] = defaultdict(float)
    for step in analysis.steps:
        for name, seconds in step.stages.items():
            total[name] += seconds
    return {name: seconds / len(analysis.steps) for name, seconds in total.items()}
