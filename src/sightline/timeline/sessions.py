"""Rollout sessions as events: a lane for each that is in flight, its phases in it.

A session may have parts in several processes. Each is a span of category ``session`` in a lane of its
process, and arrows lead from one part to the next. A phase that overlaps another one of its part, without
being within it, has a lane of its own.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from zlib import crc32

from sightline.timeline.clocks import ProcessClock
from sightline.timeline.events import SESSION_LANES, Args, Event, FlowEnd, Span
from sightline.timeline.timed import Timed
from sightline.tracing.session_files import (
    Clock,
    Damage,
    PartRecord,
    PhaseRecord,
    SessionRecord,
    Source,
    read_sessions,
)

_CATEGORY = "session"


#: Gives all sessions, their times by the clock that it is given; asked twice.
Read = Callable[[Clock], Iterable[SessionRecord]]


class _Bar(NamedTuple):
    """Something that needs a lane, from start to end, with what lies within it."""

    which: int  # of the traces
    start: int
    end: int
    spans: list[tuple[str, int, int, Args]]
    flows: tuple[FlowEnd, ...]


def sessions_of(timeline: Timed) -> Iterator[tuple[int, Event]]:
    """The sessions of a timeline's run directories; what cannot be read is reported."""
    files = _Files(timeline)
    yield from session_events(timeline, files.read)
    files.report()


def records_of(timeline: Timed) -> Iterator[SessionRecord]:
    """The same as they were recorded, joined, their times by the timeline's clocks."""
    files = _Files(timeline)
    yield from files.read(SessionClocks(timeline).of)
    files.report()


class _Files:
    """The files of sessions beside the traces of a timeline."""

    def __init__(self, timeline: Timed) -> None:
        folders = dict.fromkeys(trace.run_dir / "sessions" for trace in timeline.traces)
        self._paths = [path for folder in folders for path in sorted(folder.glob("*.jsonl"))]
        self._timeline = timeline
        self._damaged: dict[tuple[str, int], Damage] = {}  # may be read twice, and is told once

    def read(self, clock: Clock) -> Iterable[SessionRecord]:
        """All sessions, on a clock."""
        return read_sessions(self._paths, clock=clock, on_damage=self._note) if self._paths else ()

    def report(self) -> None:
        """Says what could not be read."""
        for damage in self._damaged.values():
            self._timeline.report.note_sessions(damage)

    def _note(self, damage: Damage) -> None:
        self._damaged[str(damage.path), damage.line] = damage


class SessionClocks:
    """Brings the times of sessions to the clock of a timeline."""

    def __init__(self, timeline: Timed) -> None:
        self._clocks = timeline.clocks
        self._places = {
            (trace.run_id, trace.attempt, trace.process): i for i, trace in enumerate(timeline.traces)
        }

    def place(self, source: Source) -> int | None:
        """Which of the traces is that of the process; None if there is none."""
        header = source.header
        return self._places.get((header.get("run_id"), header.get("attempt"), header.get("process")))  # type: ignore[arg-type]

    def written_until(self, source: Source) -> int:
        """The latest moment of which a process has written what time it was: seconds before its last line."""
        which, last = self.place(source), self.of(source, source.anchors[-1][0])
        return last if which is None else max(last, self._clocks[which].last_ns)

    def of(self, source: Source, at: int) -> int:
        """A moment of a process's ``perf_counter_ns``; by its own time of day if it has no trace."""
        which = self.place(source)
        return source.time_ns(at) if which is None else self._clocks[which].of(at)


def session_events(timeline: Timed, read: Read) -> Iterator[tuple[int, Event]]:
    """The spans of all sessions, each with the place of its process in ``timeline.traces``.

    Sessions are read twice: the lanes are known when all have been seen, and 24 bytes of each are kept.
    Those of processes without traces are left out.
    """
    clocks = SessionClocks(timeline)

    def bars() -> Iterator[_Bar]:
        for session in read(clocks.of):
            yield from _bars(session, clocks.place, timeline.clocks)

    lanes = _lanes((bar.which, bar.start, bar.end) for bar in bars())
    for bar, lane in zip(bars(), lanes, strict=False):
        flows = bar.flows
        # As in a trace file, by their ends, the inner ones first.
        for name, start, end, args in sorted(bar.spans, key=lambda span: (span[2], -span[1])):
            is_bar = (start, end) == (bar.start, bar.end)
            yield bar.which, Span(name, start, end, 1, lane, _CATEGORY, args, flows if is_bar else ())
            if is_bar:
                flows = ()


def _bars(
    session: SessionRecord, place: Callable[[Source], int | None], clocks: Sequence[ProcessClock]
) -> Iterator[_Bar]:
    flow = crc32(session.id.encode(errors="replace")) << 16
    parts = [(which, part) for part in session.parts if (which := place(part.source)) is not None]
    phases = list(session.phases)
    for n, (which, part) in enumerate(parts):
        ours = [each for each in phases if each.source is part.source and _is_of(each, part, parts)]
        latest = max([part.start, *(each.end or each.start for each in ours)])
        end = max(part.end if part.end is not None else clocks[which].last_ns, latest)
        begin = min([part.start, *(each.start for each in ours)])
        spans = [("session", begin, end, _about(session, part))]
        apart: list[tuple[str, int, int, Args]] = []
        around = [(begin, end)]
        for each in sorted(ours, key=lambda phase: (phase.start, -(phase.end or end))):
            until = end if each.end is None else each.end
            while len(around) > 1 and around[-1][1] <= each.start:
                around.pop()
            # Not in the same ns as what is around it, since viewers would not know which that is.
            start = min(max(each.start, around[-1][0] + 1), until)
            said = (each.name, start, until, _about_phase(each))
            if until <= around[-1][1]:
                around.append((start, until))
                spans.append(said)
            else:
                apart.append(said)
        flows = []
        if n + 1 < len(parts):
            flows.append(FlowEnd(flow + n, min(end, max(begin, parts[n + 1][1].start - 1)), True))
        if n:
            flows.append(FlowEnd(flow + n - 1, begin, False))
        yield _Bar(which, begin, end, spans, tuple(flows))
        for said in apart:
            yield _Bar(which, said[1], said[2], [said], ())


def _is_of(phase: PhaseRecord, part: PartRecord, parts: Sequence[tuple[int, PartRecord]]) -> bool:
    """Whether it is in this part, of those that one file has of a session."""
    same = [each for _, each in parts if each.source is part.source]
    before = [each for each in same if each.start <= phase.start]
    return (before or same)[-1 if before else 0] is part


def _about(session: SessionRecord, part: PartRecord) -> Args:
    said: dict[str, Any] = {"id": session.id, "task": session.task, "status": session.status}
    for name in ("reason", "step", "policy_version", "end_version"):
        value = getattr(session, name)
        if value is not None:
            said[name] = value
    if session.policy_version is not None and session.end_version is not None:
        said["staleness"] = session.end_version - session.policy_version
    said |= {
        name: value for name, value in (("counters", session.counters), ("payload", session.payload)) if value
    }
    if part.end is None:
        said["running"] = True
    return said


def _about_phase(phase: PhaseRecord) -> Args:
    said: Args = dict(phase.args) if isinstance(phase.args, Mapping) else {}
    if phase.error is not None:
        said["exception"] = phase.error
    if phase.end is None:
        said["unfinished"] = True
    return said


def _lanes(bars: Iterable[tuple[int, int, int]]) -> list[int]:
    """A lane for each, in which no other of its process is at the same time; the lowest that is free."""
    known = list(bars)
    lanes = [0] * len(known)
    free: dict[int, list[int]] = {}
    taken: dict[int, list[tuple[int, int]]] = {}
    counts: dict[int, int] = {}
    for i in sorted(range(len(known)), key=lambda i: (known[i][1], known[i][2])):
        which, start, end = known[i]
        ours = taken.setdefault(which, [])
        again = free.setdefault(which, [])
        while ours and ours[0][0] < start:
            heapq.heappush(again, heapq.heappop(ours)[1])
        if again:
            lane = heapq.heappop(again)
        else:
            lane = counts[which] = counts.get(which, 0) + 1
        heapq.heappush(ours, (end, lane))
        lanes[i] = SESSION_LANES + lane
    return lanes
