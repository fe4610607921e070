"""Where the time of rollout sessions goes: pure functions over sessions, for summaries and reports.

A session's *latency* is its time from its beginning to its status. Within it a phase takes the time in which
at least one of its spans was open; phases may overlap, so their shares may add up to more than 1. *Waiting*
is the time in which no phase was open.
"""

from __future__ import annotations

import heapq
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from sightline.tracing.session_files import PhaseRecord, SessionRecord, Source

WAITING = "waiting"  #: in no phase


class Times(NamedTuple):
    """Some durations, in seconds.

    Attributes:
        sessions: how many sessions have one.
        share: of the latencies of all sessions that have ended, 0 to 1.
        total_s, p50_s, p95_s, max_s: of the durations.
    """

    sessions: int
    share: float
    total_s: float
    p50_s: float
    p95_s: float
    max_s: float


class Staleness(NamedTuple):
    """How many versions the policy went on while sessions were made and waited.

    Attributes:
        sessions: how many know it.
        mean, p50, p95, max: of the differences of versions.
    """

    sessions: int
    mean: float
    p50: float
    p95: float
    max: int


class SlowSession(NamedTuple):
    """A session that took long, or is in flight.

    Attributes:
        id, task: which.
        status, reason: what became of it.
        step: the active step at its beginning.
        processes: where its parts were, in their order.
        start_ns: when it began, on the clock of the records.
        took_s: its latency; of one in flight the least that it can be: until the latest moment of which its
            processes have written something.
        phases: seconds by phase, and those in no phase as :data:`WAITING`; the longest first.
        open_phases: those that were open when the files ended.
        staleness: as in :class:`Staleness`; None where it is not known.
    """

    id: str
    task: Any
    status: str
    reason: str | None
    step: int | None
    processes: tuple[int, ...]
    start_ns: int
    took_s: float
    phases: dict[str, float]
    open_phases: tuple[str, ...]
    staleness: int | None


class SessionAnalysis(NamedTuple):
    """What the sessions of a run were like.

    Attributes:
        sessions: how many there are.
        statuses: how many of each status; ``"running"`` are those that were in flight when their files ended.
        retries: how many other tries there were.
        latency: of all that have ended.
        by_status: the same by status.
        phases: by phase, and :data:`WAITING`; the greatest share first.
        staleness: None where no session knows its own.
        slowest: the longest latencies, the longest first.
        in_flight: those that were running, the oldest first.
    """

    sessions: int
    statuses: dict[str, int]
    retries: int
    latency: Times | None
    by_status: dict[str, Times]
    phases: dict[str, Times]
    staleness: Staleness | None
    slowest: list[SlowSession]
    in_flight: list[SlowSession]


def analyse_sessions(
    sessions: Iterable[SessionRecord],
    slowest: int = 5,
    written_until: Callable[[Source], int] = lambda source: 0,
) -> SessionAnalysis | None:
    """Where the time of sessions went; None if there is no session.

    Takes some 8 bytes for a session and as much for each of its phases.

    Args:
        sessions: in any order, their times on one clock.
        slowest: how many to name.
        written_until: until when a process is known to have written, besides what its sessions say; on their
            clock.

    Example:
        >>> second = 1_000_000_000
        >>> def session(took: int) -> SessionRecord:
        ...     generate = PhaseRecord("generate", 0, took * second // 2, 0, None)
        ...     end = took * second
        ...     return SessionRecord(f"s{took}", f"task {took}", "accepted", end=end, phases=[generate])
        >>> found = analyse_sessions([session(2), session(4)], slowest=1)
        >>> found.latency.max_s, found.phases["generate"].share, found.slowest[0].task
        (4.0, 0.5, 'task 4')
    """
    statuses: Counter[str] = Counter()
    latencies: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
    phases: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
    versions: array[int] = array("q")
    longest: list[tuple[float, int, SessionRecord]] = []
    oldest: list[tuple[float, int, SessionRecord]] = []
    latest: defaultdict[Any, int] = defaultdict(int)  # by process
    retries = count = 0
    for count, session in enumerate(sessions, 1):
        for part in session.parts:
            process = part.source.header.get("process")
            latest[process] = max(latest[process], part.start, part.end or 0)
        for phase in session.phases:
            process = phase.source and phase.source.header.get("process")
            latest[process] = max(latest[process], phase.end or phase.start)
        retries += len(session.retries)
        if session.staleness is not None:
            versions.append(session.staleness)
        status = "running" if session.running else session.status
        statuses[status] += 1
        if session.end is None:
            if status == "running":
                _keep(oldest, slowest, -session.start, count, session)
            continue
        took = max(session.end - session.start, 0) / 1e9
        latencies[status].append(took)
        _keep(longest, slowest, took, count, session)
        for name, seconds in phase_times(session, session.end).items():
            phases[name].append(seconds)
    if not count:
        return None
    all_ = array("d", (took for each in latencies.values() for took in each))
    whole = sum(all_)
    by_phase = {name: _times(took, whole) for name, took in phases.items()}
    return SessionAnalysis(
        count,
        dict(sorted(statuses.items(), key=lambda item: -item[1])),
        retries,
        _times(all_, whole) if all_ else None,
        {name: _times(took, whole) for name, took in latencies.items()},
        dict(sorted(by_phase.items(), key=lambda item: -item[1].share)),
        _staleness(versions) if versions else None,
        [_slow(each, each.end or each.start) for _, _, each in sorted(longest, reverse=True)],
        [_slow(each, _known(each, latest, written_until)) for _, _, each in sorted(oldest, reverse=True)],
    )


def phase_times(session: SessionRecord, end: int) -> dict[str, float]:
    """Seconds of each phase between a session's beginning and ``end``, in ns, and :data:`WAITING`.

    A phase that is still open counts up to ``end``.
    """
    by_name: defaultdict[str, list[PhaseRecord]] = defaultdict(list)
    for phase in session.phases:
        by_name[phase.name].append(phase)
    times = {name: _covered(spans, session.start, end) / 1e9 for name, spans in by_name.items()}
    waiting = max(end - session.start, 0) - _covered(session.phases, session.start, end)
    times[WAITING] = times.get(WAITING, 0.0) + waiting / 1e9  # a program may have a phase of that name
    return times


def _covered(phases: Iterable[PhaseRecord], start: int, end: int) -> int:
    """For how many ns of a stretch at least one is open."""
    covered, until = 0, start
    for phase in sorted(phases, key=lambda each: each.start):
        ends = min(end if phase.end is None else phase.end, end)
        begins = max(phase.start, until)
        if ends > begins:
            covered += ends - begins
            until = ends
    return covered


def _known(session: SessionRecord, latest: Mapping[Any, int], written_until: Callable[[Source], int]) -> int:
    """Until when those that have a session in flight are known to have had it."""
    sources = [part.source for part in session.parts]
    known = [max(latest.get(each.header.get("process"), 0), written_until(each)) for each in sources]
    return max(known, default=session.start)


def _keep(
    heap: list[tuple[float, int, SessionRecord]], most: int, by: float, number: int, session: SessionRecord
) -> None:
    """Keeps a session if it is among the ``most`` greatest; of equals the first."""
    heapq.heappush(heap, (by, -number, session))
    if len(heap) > most:
        heapq.heappop(heap)


def _times(took: array[float], whole: float) -> Times:
    p50, p95 = (float(each) for each in np.quantile(took, (0.5, 0.95)))
    total = sum(took)
    return Times(len(took), total / whole if whole else 0.0, total, p50, p95, max(took))


def _staleness(versions: array[int]) -> Staleness:
    p50, p95 = (float(each) for each in np.quantile(versions, (0.5, 0.95)))
    return Staleness(len(versions), sum(versions) / len(versions), p50, p95, max(versions))


def _slow(session: SessionRecord, end: int) -> SlowSession:
    times = sorted(phase_times(session, end).items(), key=lambda item: -item[1])
    processes = [part.source.header.get("process") for part in session.parts]
    return SlowSession(
        session.id,
        session.task,
        "running" if session.running else session.status,
        session.reason,
        session.step,
        tuple(dict.fromkeys(each for each in processes if isinstance(each, int))),
        session.start,
        max(end - session.start, 0) / 1e9,
        {name: seconds for name, seconds in times if seconds or name != WAITING},
        tuple(dict.fromkeys(phase.name for phase in session.phases if phase.end is None)),
        session.staleness,
    )
