"""How a run stands, as plain data: what a view shows, and what a program is told."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.run_logs.files import newer_said
from sightline.runs.run_state import RunState
from sightline.support.foreign_text import steady
from sightline.support.wording import counted, duration, processes
from sightline.tracing.session_metrics import PREFIX as SESSIONS
from sightline.values.naming import RESERVED
from sightline.values.samples import RANKED_BY, rank_of
from sightline.views.history import History, SampleTable
from sightline.views.step_time import RunTime, StageTime, run_time, step_time
from sightline.views.troubles import absences, stalls
from sightline.watching import curves
from sightline.watching.choosing import chosen, own
from sightline.watching.log_tail import Warned
from sightline.watching.slow_stages import SlowStage, slow_stages

_PACE_STEPS = 50  # over which the pace is taken; evaluations between them count, as in the time left
_SLOW_STEPS = 50  # of which processes are compared
_NOTHING = 0.005  # of a step: a stage that takes less is not shown
_POINTS = 200  # of a metric that a program is told
_PLACES = 3  # of processes in a stall
_BEHIND = 10  # commits, from which a sink is in trouble
_PROCESS_FILES = ("logs", "traces", "samples", "sessions")
_OF_PROCESS = re.compile(r"(?:.*\.)?p(\d+)\.a(\d+)\.")
_HAS_LIMIT = re.compile(r"memory/(used|in_use|peak)_bytes$")
_IS_LEFT = re.compile(r"/free_bytes$")
_SINK = re.compile(rf"{RESERVED}sink/(.+)/(lag_steps|commit_ms|errors)")


@dataclass(frozen=True)
class Progress:
    """How far the loop is.

    Attributes:
        step: of the last commit; None before the first.
        total: the step that the loop ends before, one above its last; None if it does not say.
        share: that is done, 0 to 1.
        step_s: seconds a step, the mean of the last fifty.
        left_s: from the last commit to the end of the loop.
        last_commit: when, in s since the epoch.
    """

    step: int | None
    total: int | None
    share: float | None
    step_s: float | None
    left_s: float | None
    last_commit: float | None


@dataclass(frozen=True)
class Metric:
    """A metric over the steps that are looked at.

    Attributes:
        key: its name.
        last: its last value.
        step: of the last value.
        mean: of what is finite.
        change: of the last quarter against the first, as a share; None where that means nothing.
        values: all of them, float64 ``[n]``.
    """

    key: str
    last: float
    step: int
    mean: float | None
    change: float | None
    values: NDArray[np.float64]


@dataclass(frozen=True)
class SinkState:
    """How a sink fares.

    Attributes:
        name: of the sink.
        lag: commits that it is behind; None if it does not store.
        commit_ms: how long it takes over one.
        errors: calls that failed in the steps that are looked at.
    """

    name: str
    lag: int | None
    commit_ms: float | None
    errors: int

    @property
    def is_well(self) -> bool:
        return not self.errors and (self.lag or 0) < _BEHIND


@dataclass(frozen=True)
class Trouble:
    """Something that is not as it should be.

    Attributes:
        about: what it is of, in one word: ``missing``, ``stall``, ``nonfinite``, ``late``, ``sink``, ``obs``,
            ``attempt``, ``journal``, ``logs``, ``cut``, ``files``.
        text: in a sentence.
        is_now: whether it still is so.
    """

    about: str
    text: str
    is_now: bool = False


@dataclass(frozen=True)
class HostFigure:
    """What machines or devices use of something.

    Attributes:
        name: of the figure, without ``host/``.
        mean: over the processes, of the latest reading of each.
        peak: of the process that is worst, by its share of the limit if it has one; of free space that is the
            least. None if only one number is known.
        limit: the most that it may be, for that process; None if that is unknown.
        worst: the process; None if the journal has no readings of each, so that the numbers are of the last
            commit.
    """

    name: str
    mean: float
    peak: float | None
    limit: float | None
    worst: int | None = None

    @property
    def share(self) -> float | None:
        """Of the limit, at its peak; a fraction is one by itself."""
        most = self.mean if self.peak is None else self.peak
        if self.name.endswith("_fraction"):
            return most
        return most / self.limit if self.limit else None


@dataclass(frozen=True)
class Samples:
    """Rows of the last commit of a table that had some.

    Attributes:
        table: its name.
        step: of the commit.
        recorded: how many rows there were in the tail that was read.
        rows: the best and the worst, each with what it is; where none can be told, the first ones.
        ranked_by: the column by which they are.
    """

    table: str
    step: int | None
    recorded: int
    rows: list[tuple[str, dict[str, Any]]]
    ranked_by: str = RANKED_BY


@dataclass(frozen=True)
class Files:
    """Whose files are here.

    Attributes:
        expected: how many processes the latest attempt has.
        here: whose files are here, of any attempt.
    """

    expected: int
    here: list[int]

    @property
    def missing(self) -> list[int]:
        return sorted(set(range(self.expected)) - set(self.here))


@dataclass(frozen=True)
class Facts:
    """All that a view shows.

    Attributes:
        run_dir: as it was given.
        name: of the run.
        state: how it stands.
        progress: how far it is.
        first_step, last_step: which steps are looked at; None: there are none.
        keys: all metrics, without old names.
        wanted: those to show.
        metrics: what these were like, or a page of them.
        unmatched: patterns that no metric fits.
        step_s: wall time of a step, over the steps that are looked at; None: unknown.
        stages: where it goes; those that take more than half a percent.
        kinds: share of it by kind of stage; they add up to 1 with ``other``.
        run_time: where the wall time of the run goes, not only of these steps; None if nothing is timed.
        overlaps: whether the stages together take longer than the steps, so that shares are of their sum.
        slow: who holds up the others.
        sinks: those that store, and those with errors.
        out: the processes that have dropped out, each with the step from which on.
        reported: how many processes the last commit is of, and of how many it should be.
        troubles: what is not as it should be.
        warned: the latest warnings of the logs that are here, in their order.
        warned_counts: how many lines of the logs' ends are ``errors``, and how many ``warnings``.
        samples: of each table.
        hosts: of the machines.
        files: whose are here.
        texts: the last text under each key, and its step.
    """

    run_dir: str
    name: str
    state: RunState
    progress: Progress
    first_step: int | None = None
    last_step: int | None = None
    keys: list[str] = field(default_factory=list)
    wanted: list[str] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    step_s: float | None = None
    stages: list[StageTime] = field(default_factory=list)
    kinds: dict[str, float] = field(default_factory=dict)
    run_time: RunTime | None = None
    overlaps: bool = False
    slow: list[SlowStage] = field(default_factory=list)
    sinks: list[SinkState] = field(default_factory=list)
    out: dict[int, int] = field(default_factory=dict)
    reported: tuple[int, int] | None = None
    troubles: list[Trouble] = field(default_factory=list)
    warned: list[Warned] = field(default_factory=list)
    warned_counts: dict[str, int] = field(default_factory=dict)
    samples: list[Samples] = field(default_factory=list)
    hosts: list[HostFigure] = field(default_factory=list)
    files: Files = field(default_factory=lambda: Files(1, [0]))
    texts: dict[str, tuple[int, str]] = field(default_factory=dict)

    def with_state(self, state: RunState) -> Facts:
        """With how the run stands now."""
        return replace(self, state=state)

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it (NaN and infinities become null); of each metric the last 200 values."""
        found = asdict(self)
        for metric in found["metrics"]:
            metric["values"] = metric["values"][-_POINTS:].tolist()
        for sink, said in zip(self.sinks, found["sinks"], strict=True):
            said["is_well"] = sink.is_well
        for stage, slow in zip(found["slow"], self.slow, strict=True):
            stage["slow"] = {**slow.slow._asdict(), "is_chronic": slow.slow.is_chronic}
        found["goodput"] = None if self.run_time is None else self.run_time.goodput
        found["state"]["lock"] = self.state.lock._asdict()
        found["state"]["is_live"] = self.state.is_live
        found["samples"] = [
            {**asdict(table), "rows": [{"which": which, **row} for which, row in table.rows]}
            for table in self.samples
        ]
        found["files"]["missing"] = self.files.missing
        found["out"] = {str(process): step for process, step in self.out.items()}
        found["texts"] = {key: {"step": step, "text": text} for key, (step, text) in self.texts.items()}
        return found


def facts_of(
    run_dir: Path,
    history: History,
    state: RunState,
    *,
    warned: Sequence[Warned] = (),
    warned_counts: Mapping[str, int] | None = None,
    newer_logs: Mapping[Path, int] | None = None,
    files: Files | None = None,
    patterns: Sequence[str] = (),
    choose: Callable[[list[str]], list[str]] | None = None,
    page: tuple[int, int] | None = None,
    window: int = 200,
) -> Facts:
    """What is to be shown of a run.

    Args:
        run_dir: as it was given.
        history: its journal, or the end of it.
        state: how it stands.
        warned: the latest warnings of its logs.
        warned_counts: how many errors and warnings there are; None: as many as are in ``warned``.
        newer_logs: files of logs that a newer version wrote, each with its format.
        files: whose are here; None: look.
        patterns: of metrics; none: a sensible choice.
        choose: which of all metrics to show; None: by the patterns.
        page: which of these to look at, from one number on before another; None: at all of them.
        window: how many of the last steps are looked at.

    Example:
        >>> import sightline as sl, tempfile
        >>> from sightline.runs.run_state import state_of
        >>> with tempfile.TemporaryDirectory() as folder, sl.start(folder, name="grpo", sinks=[]) as run:
        ...     for step in run.steps(4):
        ...         sl.scalar("train/loss", 1.0 + step)
        ...         run.commit(step)
        ...     run.flush()
        ...     history = History(run.dir)
        ...     history.update()
        ...     facts = facts_of(run.dir, history, state_of(run.dir))
        True
        True
        >>> facts.name, facts.progress.step, facts.progress.share
        ('grpo', 3, 1.0)
        >>> [(metric.key, metric.last, metric.change) for metric in facts.metrics]
        [('train/loss', 4.0, 3.0)]
    """
    run = history.runs[-1] if history.runs else {}
    keys = own(history.keys, run)
    steps = history.steps()[0][-window:]
    first = int(steps[0]) if len(steps) else 0
    took = step_time(history, keys, last=window)
    known = history.step_seconds()[-window:]
    known = known[np.isfinite(known)]  # not the pause before an attempt
    step_s = took.wall_s if took else float(known.mean()) if len(known) else None
    wanted = chosen(keys, patterns, flat_counters(history, first)) if choose is None else choose(keys)
    files = files or files_of(run_dir, max(state.processes, history.processes))
    sinks = _sinks(history, first)
    return Facts(
        run_dir=str(run_dir),
        name=str(run.get("name") or run_dir.resolve().name),
        state=state,
        progress=_progress(history, state),
        first_step=first if len(steps) else None,
        last_step=int(steps[-1]) if len(steps) else None,
        keys=keys,
        wanted=wanted,
        metrics=metrics_of(history, wanted[slice(*page)] if page else wanted, first),
        unmatched=[each for each in patterns if not chosen(keys, [each])],
        step_s=step_s,
        stages=[each for each in took.stages if each.share > _NOTHING] if took else [],
        kinds=took.kinds if took else {},
        run_time=run_time(history, keys),
        overlaps=took.overlaps if took else False,
        slow=slow_stages(history, int(steps[-_SLOW_STEPS:][0]) if len(steps) else 0, step_s),
        sinks=sinks,
        out=dict(history.out),
        reported=history.reported,
        troubles=_troubles(history, state, sinks, files, first, newer_logs or {}),
        warned=list(warned),
        warned_counts=dict(_counts(warned) if warned_counts is None else warned_counts),
        samples=[_last_rows(name, table) for name, table in history.samples.items() if table.rows],
        hosts=_hosts(history, keys, first),
        files=files,
        texts={key: said for key, said in history.texts.items() if key in set(own(history.texts, run))},
    )


def flat_counters(history: History, first: int) -> set[str]:
    """The counters of sessions that have been the same in all steps from ``first`` on: they show nothing."""
    found = set()
    for key in history.keys:
        if key.startswith(SESSIONS):
            series = history.series(key)
            values = series.values[series.steps >= first]
            if len(values) and (values == values[0]).all():
                found.add(key)
    return found


def first_of(history: History, window: int) -> int:
    """The first of the last steps that are looked at; 0 before the first commit."""
    steps = history.steps()[0][-window:]
    return int(steps[0]) if len(steps) else 0


def _counts(warned: Sequence[Warned]) -> dict[str, int]:
    errors = sum(each.count for each in warned if each.is_error)
    return {"errors": errors, "warnings": sum(each.count for each in warned) - errors}


def metrics_of(history: History, keys: Sequence[str], first: int) -> list[Metric]:
    """Metrics over the steps from ``first`` on; those without a value there are left out."""
    found = []
    for key in keys:
        series = history.series(key)
        values = series.values[series.steps >= first]
        if len(values):
            step = int(series.steps[-1])
            last = float(values[-1])
            found.append(Metric(key, last, step, curves.mean(values), curves.change(values), values))
    return found


def _progress(history: History, state: RunState) -> Progress:
    """Of the latest attempt, which may have gone back."""
    steps, _ = history.steps()
    _, commit_times, attempts = history.rows()
    last_commit = float(commit_times[-1]) if len(commit_times) else state.last_commit
    step, total = history.last_step, state.total_steps
    if step is None:
        step = state.last_step
    seconds = history.step_seconds()
    begins = np.flatnonzero(np.isnan(seconds))
    begin = int(begins[-1]) if len(begins) else 0
    steps, seconds = steps[begin:], seconds[begin:]
    if len(attempts) and attempts[-1] < state.attempt:  # its first commit is yet to come
        steps = steps[:0]
        starts = [start.first_step for start in history.starts if start.attempt == state.attempt]
        first = min([*starts, *([] if state.first_step is None else [state.first_step])], default=None)
        step = step if first is None or step is None else min(step, first - 1)
        step = None if step is not None and step < 0 else step
    steps = steps[-_PACE_STEPS:]
    step_s = None
    if len(steps) > 1:
        step_s = float(seconds[1 - len(steps) :].sum()) / int(steps[-1] - steps[0])
    share = left = None
    if total and step is not None:
        share = min(1.0, max(0.0, (step + 1) / total))
        left = None if step_s is None else step_s * max(0, total - step - 1)
    return Progress(step, total, share, step_s, left, last_commit)


def _hosts(history: History, keys: Sequence[str], first: int) -> list[HostFigure]:
    seen: dict[str, dict[str, float]] = {}
    for key in keys:
        if key.startswith(("host/", "jax/memory/")) and not key.startswith("jax/memory/process_"):
            name = key.removeprefix("host/").removeprefix("jax/")
            base, slash, part = name.rpartition("/")
            base, part = (base, part) if slash and part in ("mean", "max", "min") else (name, "mean")
            series = history.series(key)
            if len(series.steps) and series.steps[-1] >= first and np.isfinite(series.values[-1]):
                seen.setdefault(base, {})[part] = float(series.values[-1])
    found = []
    for name, said in seen.items():
        mean, peak = said.get("mean", said.get("max")), said.get("max")
        if mean is None or name.rpartition("/")[2] == "limit_bytes":
            continue
        if each := _of_processes(history, name):
            found.append(each)
            continue
        limit = seen.get(f"{name.rpartition('/')[0]}/limit_bytes", {}) if _HAS_LIMIT.search(name) else {}
        found.append(HostFigure(name, mean, peak, limit.get("mean", limit.get("max"))))
    return found


def _of_processes(history: History, name: str) -> HostFigure | None:
    """A figure by what each process that is there has said last: a commit has those that just spoke."""

    def latest(name: str) -> dict[int, float]:
        found = history.health.get(f"host/{name}") or history.health.get(f"jax/{name}") or {}
        return {process: value for process, value in found.items() if process not in history.out}

    own = latest(name)
    if not own:
        return None
    limits = latest(f"{name.rpartition('/')[0]}/limit_bytes") if _HAS_LIMIT.search(name) else {}
    sign = -1 if _IS_LEFT.search(name) else 1
    worst = max(own, key=lambda process: sign * own[process] / (limits.get(process) or 1.0))
    return HostFigure(name, sum(own.values()) / len(own), own[worst], limits.get(worst), worst)


def _sinks(history: History, first: int) -> list[SinkState]:
    seen: dict[str, dict[str, float]] = {}
    for key in history.keys:
        match = _SINK.fullmatch(key)
        if match is None:
            continue
        series = history.series(key)
        values = series.values[series.steps >= first]
        values = values[np.isfinite(values)]
        if len(values):
            value = values.sum() if match[2] == "errors" else values[-1]
            seen.setdefault(match[1], {})[match[2]] = float(value)
    return [
        SinkState(
            name,
            int(said["lag_steps"]) if "lag_steps" in said else None,
            said.get("commit_ms"),
            int(said.get("errors", 0)),
        )
        for name, said in seen.items()
    ]


def _troubles(
    history: History,
    state: RunState,
    sinks: Sequence[SinkState],
    files: Files,
    first: int,
    newer_logs: Mapping[Path, int],
) -> list[Trouble]:
    events = _events(history, state, first)
    found = [
        *_out(history, state),
        *_missing(history, state, first),
        *events,
        *(_of_sink(sink) for sink in sinks if not sink.is_well),
        *_counted(history, first, but={each.about for each in events}),
    ]
    late = [each for each in history.late if _at_least(each.get("step"), first)]
    if late:
        who = processes([each["process"] for each in late if isinstance(each.get("process"), int)])
        found.append(Trouble("late", f"{counted(len(late), 'snapshot')} came late, from {who}"))
    if said := history.unreadable.said():
        found.append(Trouble("journal", f"the journal: {said}"))
    found += [
        Trouble("logs", f"{path.parent.name}/{path.name}: {newer_said(written)}")
        for path, written in newer_logs.items()
    ]
    if state.cut:
        found.append(Trouble("cut", f"the journal: {state.cut}"))
    if files.missing:
        text = f"files of {len(files.here)} of {files.expected} processes are here"
        found.append(Trouble("files", f"{text}: warnings of the others are not shown"))
    return sorted(found, key=lambda each: not each.is_now)


def _out(history: History, state: RunState) -> list[Trouble]:
    """Who has dropped out, so that the metrics are of the others."""
    return [Trouble("missing", each.text, state.is_live) for each in absences(history)]


def _missing(history: History, state: RunState, first: int) -> list[Trouble]:
    if state.missing and state.state == "stalled":
        return []  # said with the stall
    lately = [each for each in history.missing if each.step >= first]
    if not lately:
        return []
    last = lately[-1]
    is_now = state.is_live and last.step == history.last_step
    who = sorted({process for each in lately for process in each.processes})
    if history.out and set(who) <= set(history.out) and len(lately) == len({*history.out.values()}):
        return []  # said with who is out
    steps = f"step {last.step}" if len(lately) == 1 else f"{len(lately)} commits, last in step {last.step}"
    return [Trouble("missing", f"{processes(who)} missing in {steps}", is_now)]


def _events(history: History, state: RunState, first: int) -> list[Trouble]:
    found = []
    for event in history.events:
        name, step = event.get("event"), event.get("step")
        if name == "sigterm" and event.get("attempt") == state.attempt:
            found.append(Trouble("attempt", "it was asked to end (SIGTERM)", state.is_live))
        if not _at_least(step, first):
            continue
        if name == "nonfinite":
            where = event.get("processes")
            who = f" on {processes(where)}" if isinstance(where, list) and where else ""
            site = f", recorded at {event['site']}" if event.get("site") else ""
            kinds = " and ".join(kind for kind in ("nan", "inf", "-inf") if event.get(kind))
            found.append(
                Trouble("nonfinite", f"{event.get('key')} is {kinds} first in step {step}{who}{site}")
            )
    found += _stalls(history, state, first)
    for start in history.starts[-1:]:
        if start.attempt > 1 and start.after is not None and start.first_step >= first - 1:
            again = start.after - start.first_step + 1
            text = f"attempt {start.attempt} began at step {start.first_step:,}"
            if again > 0:
                text += f", and went over {counted(again, 'step')} again"
            found.append(Trouble("attempt", text))
    return found


def _stalls(history: History, state: RunState, first: int) -> list[Trouble]:
    """The latest one, with where each process was; while it goes on, for how long by now."""
    found = stalls(history)
    lately = [
        each for each in found if (_at_least(each.step, first) if each.step is not None else each.waiting_for)
    ]
    if not lately:
        return []
    last = lately[-1]
    is_now = state.state == "stalled" and last.end is None
    now = time.time() if is_now else None
    step = "no step" if last.step is None else f"step {last.step}"
    said = f"{step} {'waits' if is_now else 'waited'} long"
    if last.step is None:
        said = "no step comes" if is_now else "no step came for long"
    if last.waiting_for:
        said += f" for {processes(last.waiting_for)}"
    if last.seconds is not None:
        said += f", {duration(last.seconds)} in all"
    if len(lately) > 1:
        said += f"; {len(lately)} stalls so far"
    told = [Trouble("stall", said, is_now)]
    told += [Trouble("stall", each.told(now, is_over=not is_now), is_now) for each in last.told[:_PLACES]]
    if last.silent:
        can = "cannot" if is_now else "could not"
        told.append(Trouble("stall", f"{processes(last.silent)} {can} say where", is_now))
    return told


def _of_sink(sink: SinkState) -> Trouble:
    said = []
    if (sink.lag or 0) >= _BEHIND:
        said.append(f"is {sink.lag or 0:,} commits behind")
    if sink.errors:
        said.append(f"has failed {counted(sink.errors, 'time')}")
    return Trouble("sink", f"sink {sink.name} {' and '.join(said)}", is_now=(sink.lag or 0) >= _BEHIND)


def _counted(history: History, first: int, but: Container[str]) -> list[Trouble]:
    """What is counted under ``obs/``, as the commits have it, but for what events have told."""
    found = []
    for key in history.keys:
        name = key.removeprefix(RESERVED)
        if name == key or name.startswith("sink/") or name == "late_snapshots" or name in but:
            continue
        series = history.series(key)
        lately = (series.steps >= first) & np.isfinite(series.values) & (series.values != 0)
        if not lately.any():
            continue
        step, total = int(series.steps[lately][-1]), float(series.values[lately].sum())
        is_now = name == "transport_down" and step == history.last_step
        count = f"{int(total):,}" if total == int(total) else f"{total:.4g}"
        found.append(
            Trouble("obs", f"{name.replace('_', ' ')}: {count}, last in step {step} ({key})", is_now)
            if name != "transport_down"
            else Trouble(
                "obs", f"the store is gone since step {int(series.steps[lately][0])} ({key})", is_now
            )
        )
    return found


def _last_rows(name: str, table: SampleTable) -> Samples:
    step = table.rows[-1].get("step")
    rows = [row for row in table.rows[-64:] if row.get("step") == step]
    ranked = [(rank, row) for row in rows if (rank := rank_of(row, table.ranked_by)) is not None]
    if ranked:
        best, worst = (choose(ranked, key=lambda each: each[0])[1] for choose in (max, min))
        picked = [("best", best)] if best is worst else [("best", best), ("worst", worst)]
    else:
        picked = [("a row", row) for row in rows[:2]]
    at = step if isinstance(step, int) else None
    return Samples(name, at, table.recorded, picked, table.ranked_by)


def files_of(run_dir: Path, expected: int) -> Files:
    """Whose files are here, by their names; the journal is the root's."""
    return Files(max(expected, 1), sorted({0, *processes_here(run_dir)}))


def processes_here(run_dir: Path) -> set[int]:
    """The processes that have written files of their own into a directory."""
    here: set[int] = set()
    for folder in _PROCESS_FILES:
        try:
            names = os.listdir(run_dir / folder)
        except OSError:
            continue
        here.update(int(match[1]) for name in names if (match := _OF_PROCESS.match(name)) is not None)
    return here


def _at_least(step: Any, first: int) -> bool:
    return isinstance(step, int) and step >= first


def headline(facts: Facts) -> str:
    """The run in a line, as a program's log would have it.

    Example:
        >>> from sightline.runs.run_state import RunState
        >>> headline(Facts("runs/x", "x", RunState("running", "held"), Progress(9, 40, 0.25, 2.0, 60, 0.0)))
        'x: running, step 9 of 39 (25 %), 2 s a step'
    """
    progress = facts.progress
    text = f"{steady(facts.name, 100)}: {facts.state.state}"
    if progress.step is None:
        return f"{text}, no commit yet"
    text += f", step {progress.step}"
    if progress.total is not None and progress.share is not None:
        text += f" of {progress.total - 1} ({math.floor(100 * progress.share)} %)"
    return text if progress.step_s is None else f"{text}, {duration(progress.step_s)} a step"
