"""Rollout sessions on the timeline: each in a lane of the process that began it, its phases inside.

Phases of one session that overlap have further lanes. A session whose parts are in several processes is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sightline.session_files import Damage, PhaseRecord, SessionRecord, Source, read_sessions
from sightline.timeline.clocks import ProcessClock
from sightline.timeline.events import Args, Span
from sightline.timeline.finding import ProcessTrace
from sightline.timeline.report import Report

CATEGORY = "session"
_FIRST_LANE = 1 << 20  # those below are the tracer's


class _Lanes:
    """The first lane in which everything has ended."""

    def __init__(self) -> None:
        self._ends: list[int] = []

    def take(self, start: int, end: int) -> int:
        free = next((i for i, ends in enumerate(self._ends) if ends <= start), len(self._ends))
        self._ends[free : free + 1] = [end]
        return _FIRST_LANE + free


def session_spans(
    traces: Sequence[ProcessTrace], clocks: Sequence[ProcessClock], report: Report
) -> Iterator[tuple[int, Span]]:
    """The sessions of all processes, as spans, each with the place of its process in ``traces``.

    Args:
        traces, clocks: of the processes whose traces are there.
        report: told what could not be read.
    """
    paths = sorted({path for trace in traces for path in (trace.run_dir / "sessions").glob("*.jsonl")})
    places = {(trace.run_id, trace.attempt, trace.process): i for i, trace in enumerate(traces)}
    lanes: list[_Lanes] = [_Lanes() for _ in traces]
    damaged: dict[str, int] = {}

    def place_of(source: Source) -> int | None:
        header = source.header
        return places.get((header.get("run_id"), header.get("attempt"), header.get("process")))  # type: ignore[arg-type]

    def clock(source: Source, at: int) -> int:
        place = place_of(source)
        return source.time_ns(at) if place is None else clocks[place].at(at - traces[place].base_ns)

    def note(damage: Damage) -> None:
        damaged[str(damage.path)] = damaged.get(str(damage.path), 0) + 1

    homeless = 0
    for session in read_sessions(paths, clock=clock, on_damage=note) if paths else ():
        place = place_of(session.parts[0].source)
        if place is None:
            homeless += 1
            continue
        report.events["sessions"] += 1
        for span in _spans_of(session, lanes[place]):
            yield place, span
    report.problems += [
        f"{path}: {count} lines are damaged; the rest is merged" for path, count in damaged.items()
    ]
    if homeless:
        report.problems.append(f"{homeless} sessions are of processes whose traces are not here: left out")


def _spans_of(session: SessionRecord, lanes: _Lanes) -> Iterator[Span]:
    ends = [part.end for part in session.parts] + [phase.end for phase in session.phases]
    known = [session.start, *(each for each in (*ends, session.end) if each is not None)]
    known += [phase.start for phase in session.phases]
    end = max(known)
    lane = lanes.take(session.start, end)
    open_until = [end]  # of the spans that are open in the lane, the innermost last
    overlapping: list[PhaseRecord] = []
    inside: list[Span] = []
    for phase in sorted(session.phases, key=lambda each: (each.start, -(each.end or end))):
        start, until = max(phase.start, session.start), phase.end if phase.end is not None else end
        while len(open_until) > 1 and open_until[-1] <= start:
            open_until.pop()
        if until > open_until[-1]:
            overlapping.append(phase)
            continue
        open_until.append(until)
        inside.append(_phase(phase, start, until, lane))
    yield Span("session", session.start, end, 1, lane, CATEGORY, _facts(session))
    yield from inside
    for phase in overlapping:
        until = phase.end if phase.end is not None else end
        yield _phase(phase, phase.start, until, lanes.take(phase.start, until))


def _phase(phase: PhaseRecord, start: int, end: int, lane: int) -> Span:
    args: Args = dict(phase.args) if isinstance(phase.args, dict) else {}
    if phase.error is not None:
        args["exception"] = phase.error
    if phase.end is None:
        args["unfinished"] = True
    if phase.retry:
        args["retry"] = phase.retry
    return Span(phase.name, start, max(end, start), 1, lane, CATEGORY, args)


def _facts(session: SessionRecord) -> Args:
    facts = {
        "id": session.id, "task": session.task, "status": "running" if session.running else session.status,
        "reason": session.reason, "step": session.step, "policy_version": session.policy_version,
        "staleness": session.staleness, "retries": len(session.retries) or None,
        "counters": session.counters, "payload": session.payload,
    }  # fmt: skip
    return {name: value for name, value in facts.items() if value not in (None, {})}
