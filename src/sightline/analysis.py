"""Where the time of a run goes: pure functions over spans, for summaries, comparisons and reports.

The *loop* of a process is the thread that runs its steps; a *stage* is a span of that thread within a step.
Stages nest, and what is shared out is their exclusive time: a stage's own, without that of the stages in it.
So the exclusive times of all stages and the rest, ``other``, add up to the steps' wall time.

A loop that runs ahead of its devices waits in one stage for another: in the rollout for the update before
it. Where the program has said when a stage's work begins and ends on the devices (``timing.since``,
``until``), time in which the loop is in such a stage, or in none, belongs to the stage that they are in.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

OTHER = "other"
STEP = "step"  #: category of the spans that ``run.steps`` makes
DEVICE = "device"  #: category of the spans that say when a stage's work was done on devices

#: Of which kind a stage is, by the last part of its name of which a word matches.
KINDS: tuple[tuple[str, str], ...] = (
    ("waiting", r"wait(s|ing)?|barrier|idle"),
    ("weights", r"weights?|sync\w*|publish\w*|pull\w*|broadcast\w*|releas\w*"),
    ("evaluation", r"eval|evals|evaluat\w*|valid|validat\w*"),
    ("checkpoint", r"checkpoint\w*|ckpt|sav(e|es|ing)|restor\w*"),
    ("reward", r"rewards?|verif\w*|judg\w*|scor(e|es|ing)"),
    ("rollouts", r"rollouts?|generat\w*|gen|sampl\w*|decod\w*|prefill\w*|flush|completions?"),
    ("data", r"data\w*|batch\w*|load|loads|loading|loader|shard\w*|tokeniz\w*|fetch\w*|collat\w*"),
    (
        "training",
        r"train\w*|updat\w*|forward|backward|optim\w*|loss|losses|advantages?|reference|ref|grads?|gradients?"
        r"|logp|logprobs?|actor|critic",
    ),
)
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

_NO_TRAINING = (OTHER, "evaluation", "checkpoint", "waiting")
_CHRONIC = 0.5  # of the steps in which the same process is the slow one
_EXCESS = 0.1  # of the median: less is nobody's fault
_EXCESS_NS = 1_000_000
_TOGETHER = 0.1  # of a stage's duration: ends that lie so close are one end, as after a collective
_TOGETHER_NS = 500_000


class StageSpan(NamedTuple):
    """A span of a process's loop.

    Attributes:
        process: whose.
        tid: on which thread.
        name: what.
        category: of which kind the program says it is.
        start, end: in ns, on one clock for all processes.
        step: in which it began; None outside of steps.
        waits_for: process and moment of what an arrow into it came from.
    """

    process: int
    tid: int
    name: str
    category: str
    start: int
    end: int
    step: int | None
    waits_for: tuple[int, int] | None = None


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
        kind: see :data:`KINDS`.
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


class Segment(NamedTuple):
    """A part of a critical path: what the step was waiting for, where.

    Attributes:
        process: whose stage.
        stage: its name; ``other`` between stages.
        took_s: how long this part is.
    """

    process: int
    stage: str
    took_s: float


@dataclass
class StepTimes:
    """One step.

    Attributes:
        step: its number.
        wall_s: of the process that took longest, from its own beginning of the step to its end.
        stages: exclusive seconds by stage, the mean over the processes, with ``other``.
        critical: what made it as long as it was, in order.
    """

    step: int
    wall_s: float
    stages: dict[str, float]
    critical: list[Segment] = field(default_factory=list)


@dataclass
class Analysis:
    """Where the time went.

    Attributes:
        processes: which have steps.
        steps: each step.
        stages: by exclusive time, the longest first.
        kinds: share of the steps' wall time by kind, adding up to 1 with ``other``.
        waits: of the share that is waiting, what for: by kind.
        by_process: the same as ``kinds``, of each process: where they have roles, it differs.
        beside: what other threads and lanes did meanwhile, by total time: name, how many spans, seconds.
        wall_s: of all steps together, the mean over the processes.
    """

    processes: list[int]
    steps: list[StepTimes]
    stages: list[Stage]
    kinds: dict[str, float]
    waits: dict[str, float]
    by_process: dict[int, dict[str, float]]
    beside: list[tuple[str, int, float]]
    wall_s: float

    @property
    def goodput(self) -> float:
        """Share of the steps' wall time that goes into training: all but evaluation, checkpoints, waiting
        and what is not known."""
        return goodput(self.kinds)


def goodput(kinds: Mapping[str, float]) -> float:
    """The share of kinds that are training, as :attr:`Analysis.goodput`."""
    return sum(share for kind, share in kinds.items() if kind not in _NO_TRAINING)


def kind_of(name: str, category: str = "") -> str:
    """Of which kind a stage is.

    A category that is a kind decides; else the last part of the name that says something.

    Example:
        >>> [kind_of(name) for name in ("train/rollout_sync", "train/update", "train/step", "rollout_wait")]
        ['weights', 'training', 'other', 'waiting']
    """
    if any(category == kind for kind, _ in KINDS):
        return category
    parts = name.split("/")
    if parts[0].lower().startswith("eval"):  # whatever it does
        return "evaluation"
    for part in reversed(parts):
        if part == STEP:  # around all of them: what is in no stage
            break
        words = [word.lower() for word in _WORDS.findall(re.sub("([Ll])og_?[Pp]rob", r"\1ogprob", part))]
        for kind, pattern in KINDS:
            if any(re.fullmatch(pattern, word) for word in words):
                return kind
    return OTHER


def waited_for(name: str) -> str:
    """Of which kind is what a stage of waiting waits for, by the rest of its name.

    Example:
        >>> [waited_for(name) for name in ("train/wait_rollouts", "weights_wait", "idle")]
        ['rollouts', 'weights', 'other']
    """
    (_, waiting), *_ = KINDS
    parts = [
        " ".join(word for word in _WORDS.findall(part) if not re.fullmatch(waiting, word.lower()))
        for part in name.split("/")
    ]
    return kind_of("/".join(parts))


def analyse(spans: Iterable[StageSpan]) -> Analysis:
    """Where the time of all processes went.

    Args:
        spans: of all threads and processes, in any order.
    """
    by_thread: defaultdict[tuple[int, int], list[StageSpan]] = defaultdict(list)
    for span in spans:
        by_thread[span.process, span.tid].append(span)
    loops = _loops(by_thread)
    devices = _taken_devices(by_thread, {process for process, _ in loops})
    beside = _beside(by_thread, loops)
    durations: defaultdict[str, list[float]] = defaultdict(list)
    exclusive: defaultdict[str, float] = defaultdict(float)
    of_process: defaultdict[int, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    walls: defaultdict[int, int] = defaultdict(int)
    categories: dict[str, str] = {}
    by_step: defaultdict[int, dict[int, _Loop]] = defaultdict(dict)
    wall = 0.0
    for (process, _), own in loops.items():
        at_work = devices[process]
        names = {span.name for span in at_work}
        for step, loop in _steps_of(own, at_work).items():
            by_step[step][process] = loop
            wall += loop.wall
            walls[process] += loop.wall
            for span in loop.spans:
                categories.setdefault(span.name, span.category)
                if span.name not in names:
                    durations[span.name].append((span.end - span.start) / 1e9)
            for piece in loop.pieces:
                exclusive[piece.name] += (piece.end - piece.start) / 1e9
                of_process[process][kind_of(piece.name, piece.category)] += piece.end - piece.start
        for span in at_work:
            if span.step is not None:
                durations[span.name].append((span.end - span.start) / 1e9)
    steps = [_step_times(step, by_step[step]) for step in sorted(by_step)]
    wall_s = wall / 1e9
    stages = [
        Stage(
            name, kind_of(name, categories.get(name, "")), len(took), sum(took), sum(took) / len(took),
            float(np.quantile(took, 0.5)), float(np.quantile(took, 0.95)), exclusive[name],
            exclusive[name] / wall_s if wall_s else 0.0, slow_process(name, by_step),
        )
        for name, took in durations.items()
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
    return Analysis(
        processes=sorted({process for process, _ in loops}),
        steps=steps,
        stages=stages,
        kinds=_by_size(kinds),
        waits=_by_size(waits),
        by_process={
            process: _by_size(_shares(of_process[process], wall)) for process, wall in sorted(walls.items())
        },
        beside=beside,
        wall_s=wall_s / max(len(loops), 1),
    )


def _by_size(shares: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _shares(spent: Mapping[str, float], wall: float) -> dict[str, float]:
    """Of a wall time, with what is in no stage as ``other``."""
    shares = {kind: each / wall for kind, each in spent.items() if wall}
    shares[OTHER] = shares.get(OTHER, 0.0) + 1.0 - sum(shares.values()) if wall else 0.0
    return shares


class _Loop(NamedTuple):
    """One step of one process's loop."""

    start: int
    end: int
    spans: list[StageSpan]  # the stages that begin in it
    pieces: list[StageSpan]  # what it is in, one after the other: parts of stages; between them in none

    @property
    def wall(self) -> int:
        return self.end - self.start


def _loops(
    by_thread: Mapping[tuple[int, int], list[StageSpan]],
) -> dict[tuple[int, int], list[StageSpan]]:
    return {
        where: spans for where, spans in by_thread.items() if any(span.category == STEP for span in spans)
    }


def _beside(
    by_thread: Mapping[tuple[int, int], list[StageSpan]], loops: Mapping[tuple[int, int], object]
) -> list[tuple[str, int, float]]:
    found: defaultdict[str, list[float]] = defaultdict(list)
    for where, spans in by_thread.items():
        if where not in loops:
            for span in spans:
                found[span.name].append((span.end - span.start) / 1e9)
    rows = [(name, len(took), sum(took)) for name, took in found.items()]
    return sorted(rows, key=lambda row: -row[2])


def _taken_devices(
    by_thread: defaultdict[tuple[int, int], list[StageSpan]], processes: set[int]
) -> defaultdict[int, list[StageSpan]]:
    """Takes the spans of devices out, of the processes that have a loop."""
    found: defaultdict[int, list[StageSpan]] = defaultdict(list)
    for where, spans in by_thread.items():
        if where[0] in processes and any(span.category == DEVICE for span in spans):
            found[where[0]] += [span for span in spans if span.category == DEVICE]
            by_thread[where] = [span for span in spans if span.category != DEVICE]
    for at_work in found.values():
        at_work.sort(key=lambda span: span.start)
    return found


def _steps_of(spans: Sequence[StageSpan], devices: Sequence[StageSpan]) -> dict[int, _Loop]:
    """The steps of a loop.

    Args:
        spans: of its thread.
        devices: of its process, in the order in which they begin.
    """
    steps = {
        span.step: _Loop(span.start, span.end, [], [])
        for span in spans
        if span.category == STEP and span.step is not None
    }
    loops = sorted(steps.values())
    starts = [loop.start for loop in loops]

    def at(moment: int) -> _Loop | None:
        place = bisect_right(starts, moment) - 1
        return loops[place] if place >= 0 and moment < loops[place].end else None

    for span in spans:
        if span.category != STEP and (loop := at(span.start)) is not None:
            loop.spans.append(span)
    for piece in _overlaid(_pieces(spans), devices):
        if piece.category != STEP and (loop := at(piece.start)) is not None:
            loop.pieces.append(piece)
    return steps


def _pieces(spans: Iterable[StageSpan]) -> Iterator[StageSpan]:
    """The innermost span of each moment, with the moments in which it is that as its beginning and end."""
    open_: list[StageSpan] = []
    now = 0

    def until(moment: int) -> Iterator[StageSpan]:
        nonlocal now
        while open_:
            end = min(open_[-1].end, moment)
            if end > now:
                yield open_[-1]._replace(start=now, end=end)
                now = end
            if open_[-1].end > moment:
                break
            open_.pop()

    for span in sorted(spans, key=lambda each: (each.start, -each.end)):
        yield from until(span.start)
        now = max(now, span.start)
        open_.append(span)
    yield from until(1 << 63)


def _overlaid(pieces: Iterable[StageSpan], devices: Sequence[StageSpan]) -> Iterator[StageSpan]:
    """The pieces of a loop, where it waits for devices as those of what they do."""
    names = {span.name for span in devices}
    following = iter(devices)
    coming = next(following, None)
    at_work: list[StageSpan] = []
    for piece in pieces:
        at_work = [span for span in at_work if span.end > piece.start]
        while coming is not None and coming.start < piece.end:
            if coming.end > piece.start:
                at_work.append(coming)
            coming = next(following, None)
        waits = piece.name in names or kind_of(piece.name, piece.category) == OTHER
        if not waits or not at_work:
            yield piece
            continue
        edges = {edge for span in at_work for edge in (span.start, span.end)}
        cuts = sorted({piece.start, piece.end, *(e for e in edges if piece.start < e < piece.end)})
        for start, end in itertools.pairwise(cuts):
            on = [span for span in at_work if span.start <= start and span.end >= end]
            newest = max(on, key=lambda span: span.start, default=piece)
            waits_for = piece.waits_for if newest.name == piece.name else None
            yield newest._replace(tid=piece.tid, start=start, end=end, waits_for=waits_for)


def _step_times(step: int, loops: Mapping[int, _Loop]) -> StepTimes:
    stages: defaultdict[str, float] = defaultdict(float)
    for loop in loops.values():
        known = 0
        for piece in loop.pieces:
            stages[piece.name] += (piece.end - piece.start) / 1e9 / len(loops)
            known += piece.end - piece.start
        stages[OTHER] += (loop.wall - known) / 1e9 / len(loops)
    # Each from its own beginning: processes that are a step apart, as without a collective, are not slow.
    wall = max(loop.wall for loop in loops.values())
    return StepTimes(step, wall / 1e9, dict(stages), critical_path(loops))


def slow_process(name: str, by_step: Mapping[int, Mapping[int, _Loop]]) -> Slow | None:
    """Who takes longest over a stage, clearly above the median; None if nobody does, or there is one process.

    A stage that ends with a collective takes equally long for all: the slow process shows in the stages
    before it.
    """
    excess: defaultdict[int, list[tuple[float, int]]] = defaultdict(list)
    compared = 0
    for step, loops in by_step.items():
        took = {
            process: sum(parts)
            for process, loop in loops.items()
            if (parts := [piece.end - piece.start for piece in loop.pieces if piece.name == name])
        }
        if len(took) < 2:
            continue
        compared += 1
        # The upper of two middle ones would be the slow one itself, with two processes.
        median = sorted(took.values())[(len(took) - 1) // 2]
        slowest = max(took, key=lambda process: took[process])
        over = took[slowest] - median
        if over > max(_EXCESS * median, _EXCESS_NS):
            excess[slowest].append((over / 1e9, step))
    if not excess:
        return None
    process, over_s = max(excess.items(), key=lambda item: sum(each for each, _ in item[1]))
    return Slow(process, sum(s for s, _ in over_s) / len(over_s), len(over_s), compared, max(over_s)[1])


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
    if not excess:
        return None
    process, over_s = max(excess.items(), key=lambda item: sum(each for each, _ in item[1]))
    mean_s = sum(s for s, _ in over_s) / len(over_s)
    return Slow(process, mean_s, len(over_s), compared, max(over_s)[1])


def critical_path(loops: Mapping[int, _Loop]) -> list[Segment]:
    """What a step waited for, from its last end backwards, to where the process that it leads to began it.

    Within a process a stage waits for the one before it. An arrow into a stage leads to where it came from.
    Where a stage of one name ends together on several processes, as a collective does, it waited for the
    process that came to it last.
    """
    leaves = {process: loop.pieces for process, loop in loops.items()}
    process = max(loops, key=lambda each: loops[each].end)
    at = loops[process].end
    found: list[Segment] = []
    for _ in range(10_000):
        start = loops[process].start
        if at <= start:
            break
        stage = _innermost(leaves[process], at)
        if stage is None:
            before = max((span.end for span in leaves[process] if span.end < at), default=start)
            before = max(before, start)
            found.append(Segment(process, OTHER, (at - before) / 1e9))
            at = before
            continue
        source, since = process, _begins(leaves[process], stage, at)
        if stage.waits_for is not None and since < stage.waits_for[1] < at and stage.waits_for[0] in loops:
            source, since = stage.waits_for
        elif since == stage.start:
            process, since = _last_to_come(leaves, stage, process)
            source = process
        found.append(Segment(process, stage.name, (at - since) / 1e9))
        process, at = source, since
    return _joined(reversed(found))


def _innermost(spans: Sequence[StageSpan], at: int) -> StageSpan | None:
    """The stage that is under way just before a moment."""
    inside = [span for span in spans if span.start < at <= span.end]
    return max(inside, key=lambda span: span.start, default=None)


def _begins(spans: Sequence[StageSpan], stage: StageSpan, at: int) -> int:
    """Since when it has been that stage itself, and not one inside of it."""
    inner = [span.end for span in spans if stage.start <= span.start and span.end < at and span is not stage]
    return max([stage.start, *inner])


def _last_to_come(
    leaves: Mapping[int, Sequence[StageSpan]], stage: StageSpan, process: int
) -> tuple[int, int]:
    source, since = process, stage.start
    for other, spans in leaves.items():
        for span in spans:
            apart = max(_TOGETHER * (span.end - span.start), _TOGETHER_NS)
            ends_together = span.name == stage.name and abs(span.end - stage.end) <= apart
            if ends_together and since < span.start < stage.end:
                source, since = other, span.start
    return source, since


def _joined(segments: Iterable[Segment]) -> list[Segment]:
    out: list[Segment] = []
    for segment in segments:
        if out and out[-1][:2] == segment[:2]:
            out[-1] = segment._replace(took_s=out[-1].took_s + segment.took_s)
        else:
            out.append(segment)
    return out


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
