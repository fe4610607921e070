"""What a session tracer has recorded, as lines of ``sessions/{process}.jsonl`` and as metrics.

:mod:`sightline.tracing.session_files` documents the lines and reads them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from time import perf_counter_ns
from typing import Any

import orjson

from sightline.files.process_files import ProcessFiles
from sightline.recording.sampling import Recorder, add_sampler
from sightline.support.clock import anchor
from sightline.tracing.event_values import bounded, dumps, plain
from sightline.tracing.session_metrics import SessionMetrics
from sightline.tracing.session_tracer import SessionTracer
from sightline.tracing.sessions import Phase, Session

_AT_ONCE = 512  # sessions that are counted, or turned into text, at a time
_WAITING = 100_000  # that wait to be turned into text; new ones are dropped beyond
_BEGUN_AFTER_NS = 500_000_000  # a session that is open for so long is written as one that has begun
_MANY = 5_000  # in flight at once; beyond, looking at each of them takes its time
_LOOK_EVERY_NS = 200_000_000
_ANCHOR_EVERY_NS = 10_000_000_000
_ARGS_BYTES = 4 << 10  # of a phase, as JSON
_NAME = 200  # characters


class SessionWriter:
    """Turns what a tracer has recorded into lines and metrics, several times a second.

    Args:
        tracer: whose sessions.
        files: of the process.
        flush_threshold: when so many have ended, they are written without waiting for the next time.
        is_ours: whether a commit of what a tracker has is one of the run, which has the metrics then.
        segment_bytes: how long a file becomes, before another one is begun.
        keep_bytes: how much is kept; the oldest files go first.
    """

    def __init__(
        self,
        tracer: SessionTracer,
        files: ProcessFiles,
        *,
        flush_threshold: int = 256,
        is_ours: Callable[[Recorder], bool] = lambda tracker: True,
        segment_bytes: int = 128 << 20,
        keep_bytes: int = 4 << 30,
    ) -> None:
        self._tracer = tracer
        self._files = files
        self._is_ours = is_ours
        self._file = files.open(
            "sessions/{name}.jsonl", _header, segment_bytes=segment_bytes, keep_bytes=keep_bytes
        )
        self._metrics = SessionMetrics(tracer._in_flight)
        self._taking = threading.Lock()  # at a commit the committing thread takes, too
        self._unwritten: deque[Session] = deque()
        self._written = tracer._given - tracer._waiting()  # so far
        self._begun: dict[int, _Begun] = {}
        self._begun_after = _BEGUN_AFTER_NS
        self._shows_open = False
        self._dropped = 0  # since the file has said so
        self._lost = 0  # since the last commit
        self._anchored = self._told = perf_counter_ns()
        tracer._begin_writing(flush_threshold, files.hurry)
        files.add_source(
            self.write, left_out=tracer._end_writing, place=lambda: (tracer._given, self._written)
        )
        self._remove_sampler = add_sampler(self.sample)

    def close(self, timeout: float = 10.0) -> bool:
        """Writes what has been recorded by now; returns whether that was done in time."""
        self._remove_sampler()
        self._begun_after = 0  # whatever is in flight is shown
        self._tracer._end_writing()
        done = self._files.flush(timeout)
        self._files.remove_source(self.write)
        return done

    def show_open(self) -> None:
        """Writes all sessions that are in flight now, not only those that are for long. From any thread."""
        self._shows_open = True
        self._files.hurry()

    def sample(self, tracker: Recorder) -> None:
        """Records the metrics of all that has ended by now; called at each commit."""
        if not self._tracer.enabled or not self._is_ours(tracker):
            return
        while self._take() == _AT_ONCE:
            pass
        with self._taking:
            self._metrics.record(tracker)
            lost, self._lost = self._lost, 0
        for name, count in (
            ("session_conflicts", self._tracer._take_conflicts()),
            ("dropped_sessions", lost),
        ):
            if count:
                tracker._count_trouble(name, count)

    def write(self) -> bool:
        """Writes some of what has been recorded, and says whether there is more."""
        taken = self._take()
        now = perf_counter_ns()
        lines: list[bytes] = []
        ended: dict[int, Session] = {}
        in_hand = 0
        while self._unwritten and len(ended) < _AT_ONCE:
            session = self._unwritten.popleft()
            ended[session.number] = session  # one that has changed again is written once
            in_hand += 1
        lines += map(self._whole, ended.values())
        has_more = bool(self._unwritten) or taken == _AT_ONCE
        pause = _BEGUN_AFTER_NS if has_more else _LOOK_EVERY_NS if self._tracer._in_flight() > _MANY else 0
        shows = self._shows_open
        if shows:  # else another thread may just be setting it
            self._shows_open = False
        if shows or now - self._told > pause or not self._begun_after:
            self._told = now
            lines += self._in_flight(now, 0 if shows else self._begun_after)
        if dropped := self._take_dropped():
            lines.append(_line({"type": "dropped", "sessions": dropped, "at": now}))
        if lines and now - self._anchored > _ANCHOR_EVERY_NS:
            self._anchored = now
            lines.append(_line({"type": "clock", **anchor()._asdict()}))
        if lines:
            self._file.put(b"".join(lines), len(ended))
        self._written += in_hand
        return has_more

    def _take(self) -> int:
        """Counts some of those that have ended, and returns how many; ``_AT_ONCE`` if there may be more."""
        with self._taking:
            taken = self._tracer._take(_AT_ONCE)
            for session in taken:
                self._metrics.add(session)
            free = max(0, _WAITING - len(self._unwritten))
            self._unwritten += taken[:free]
            dropped = len(taken) - len(taken[:free])
            self._dropped += dropped
            self._tracer._leave_out(dropped)
        return len(taken)

    def _take_dropped(self) -> int:
        """How many sessions have been lost since the last call."""
        with self._taking:
            dropped = self._dropped + self._file.take_dropped() + self._tracer._take_dropped()
            self._dropped = 0
            self._lost += dropped
        return dropped

    def _whole(self, session: Session) -> bytes:
        """A session, or a part of one, that has ended."""
        self._begun.pop(session.number, None)
        session.settle(last=True)
        return _line(
            {
                "type": "session",
                **_identity(session),
                "end": session.end,
                **_state(session),
                "payload": session.payload,
                "phases": [_phase(each) for each in session.phases],
            }
        )

    def _in_flight(self, now: int, begun_after: int) -> list[bytes]:
        """Sessions that are open for long, and what has changed in them, for readers after a crash."""
        lines = []
        for session in self._tracer._open_sessions():
            session.settle()
            if session.closed or now - session.start < begun_after:
                continue
            begun = self._begun.get(session.number)
            if begun is None:
                begun = self._begun[session.number] = _Begun()
                head = {"type": "begin", **_identity(session)}
            elif begun.has_all(session):
                continue
            else:
                head = {"type": "more", "id": session.id, "part": session.part}
            lines.append(_line(head | begun.changes(session)))
        return lines


class _Begun:
    """What of a session in flight stands in the file already."""

    __slots__ = ("_open", "_payload", "_payload_bytes", "_phases", "version")

    def __init__(self) -> None:
        self.version = -1
        self._phases = 0
        self._open: list[int] = []  # phases that stand there without their end
        self._payload: dict[str, Any] = {}
        self._payload_bytes = 0

    def has_all(self, session: Session) -> bool:
        """Whether nothing has changed since :meth:`changes` was asked."""
        return self.version == session.version and self._payload_bytes == session.payload_bytes

    def changes(self, session: Session) -> dict[str, Any]:
        """What has changed since the last call."""
        self.version = session.version  # before all else is read: what changes from now on is seen next time
        phases = session.phases[: len(session.phases)]
        touched = [at for at in self._open if phases[at].end]
        new = range(self._phases, len(phases))
        ends = {at: phases[at].end for at in (*touched, *new)}
        self._open = [at for at in self._open if at not in ends] + [at for at in new if not ends[at]]
        self._phases = len(phases)
        changed: dict[str, Any] = _state(session)
        if ends:
            changed["phases"] = [{"n": at, **_phase(phases[at], end)} for at, end in ends.items()]
        self._payload_bytes = session.payload_bytes
        before, self._payload = self._payload, session.payload.copy()
        noted = {
            name: value
            for name, value in self._payload.items()
            if name not in before or before[name] is not value
        }
        if noted:
            changed["payload"] = noted
        return changed


def _header(facts: Mapping[str, Any]) -> bytes:
    return _line({"type": "header", "format": 1, **facts})


def _identity(session: Session) -> dict[str, Any]:
    """What does not change."""
    said: dict[str, Any] = {"id": session.id, "part": session.part, "task": plain(session.task)}
    said["start"] = session.start
    if session.started_ns is not None:
        said["started_ns"] = plain(session.started_ns)
    if session.step is not None:
        said["step"] = session.step
    return said


def _state(session: Session) -> dict[str, Any]:
    """What changes, and is short."""
    status = session.status  # said last, so that what belongs to it is there
    said: dict[str, Any] = {"status": status}
    if status != "pending":
        said["decided"] = session.decided
    for name in ("reason", "error", "policy_version", "end_version"):
        value = getattr(session, name)
        if value is not None and (value.__class__ is int or not name.endswith("version")):
            said[name] = plain(value)
    if session.retries:
        said["retries"] = [{"at": at, "reason": plain(why)} for at, why in list(session.retries)]
    if session.counters:
        said["counters"] = plain(session.counters.copy())
    if session.lost:
        said["lost"] = session.lost.copy()
    return said


def _phase(phase: Phase, end: int | None = None) -> dict[str, Any]:
    said: dict[str, Any] = {"name": plain(phase.name[:_NAME]), "start": phase.start}
    said["end"] = (phase.end if end is None else end) or None
    if phase.error is not None:
        said["error"] = plain(phase.error)
    if phase.args:
        said["args"] = bounded(phase.args, _ARGS_BYTES)[0]
    return said


def _line(said: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # nothing that is recorded should bring that about; a line is cut rather than lost
        return dumps(plain(said)) + b"\n"
