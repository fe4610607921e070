"""The files of rollout sessions: their format, reading them, and joining the parts of a session.

``sessions/p00003.a01.jsonl`` is that of process 3 in the run's first attempt; full segments are
``p00003.a01.0000.jsonl`` and so on. One JSON object a line, told apart by ``"type"``; readers skip unknown
types and fields. Times are integer nanoseconds on the process's ``perf_counter_ns``, unless said otherwise.

- ``header``: begins each segment. ``format`` (1), ``run_id``, ``attempt``, ``process``, ``processes``,
  ``role``, ``host``, ``pid``, ``segment``, and an anchor: ``perf_counter_ns`` and, at the same moment,
  ``time_ns`` since the epoch.
- ``clock``: another anchor, now and then.
- ``session``: a part of a session that has ended, complete. ``id``, the session's, the same for all its
  parts, and no other's anywhere; ``part`` (that of the first part is the session's id); ``task``; ``start``,
  ``end``; ``status``, and once that is final ``decided``, ``reason``; ``phases``, each with ``name``,
  ``start``, ``end`` (null while it is open), ``error``, ``args``; ``retries``, each with ``at`` and
  ``reason``; ``counters``; ``payload``; ``policy_version``, ``end_version``; ``step``; ``error``, the
  exception that left its block; ``lost``, how many phases and so on were too many to be kept, and how many
  numbers a device had not computed;
  ``started_ns``, for a part that was resumed, when the session began, since the epoch. If something happens
  to it after its end, the line is written again: the last one counts.
- ``begin``: a part that has been in flight for half a second: the same, without ``end``.
- ``more``: what has changed in such a part, within a fraction of a second: ``id``, ``part``, and fields as
  they are now; of the phases and the payload what has changed, a phase with its place among the part's
  under ``n``.
- ``dropped``: how many ``sessions`` could not be recorded or written since the last such line.

A part of which the files have no ``session`` line was in flight when they ended.
"""

from __future__ import annotations

import bisect
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from sightline.files.file_lines import WholeLines, zeros_said
from sightline.support.clock import Straight, without_steps
from sightline.support.wording import counted

log = logging.getLogger("sightline")

_OPEN_FILES = 64
_PART = ("begin", "more", "session")
_CUT = "it is cut short"
_EMPTY = "it is empty"


class Damage(NamedTuple):
    """What could not be read.

    Attributes:
        path: the file.
        line: counted from 1; 0 for the file as a whole.
        reason: what is wrong with it.
    """

    path: Path
    line: int
    reason: str

    @property
    def is_cut(self) -> bool:
        """Whether it is a last line that a kill cut, or that is being written."""
        return self.reason == _CUT

    @property
    def is_harmless(self) -> bool:
        """Whether it is but the end of a file whose process was killed, or goes on."""
        return self.reason in (_CUT, _EMPTY)


@dataclass
class Source:
    """Who wrote a part: what the header of its file says.

    Attributes:
        path: the file.
        header: as it stands there: ``process``, ``host``, ``pid``, ``role``, ``attempt``, ``run_id``, …
        anchors: pairs of (``perf_counter_ns``, ``time_ns``).
    """

    path: Path
    header: dict[str, Any]
    anchors: list[tuple[int, int]]
    _straight: Straight | None = field(default=None, init=False, repr=False, compare=False)

    def time_ns(self, at: int) -> int:
        """A moment of the process's ``perf_counter_ns``, in nanoseconds since the epoch.

        By the straight line through the anchors, whose steps (somebody has set the time) are left out.

        Example:
            >>> Source(Path("x"), {}, [(0, 1000), (2_000_000_000, 2_000_003_000)]).time_ns(1_000_000_000)
            1000002000
        """
        if self._straight is None:
            self._straight = Straight(without_steps(self.anchors))
        return self._straight(at)


Clock = Callable[
    [Source, int], int
]  #: a source, and a moment on its ``perf_counter_ns``, to a common time in ns


@dataclass
class PhaseRecord:
    """A span of a phase, as it was recorded.

    Attributes:
        name: of the phase.
        start, end: nanoseconds; ``end`` is None if no end was recorded.
        retry: in which try, from 0.
        source: where.
        error: the exception that has ended it.
        args: what was said about it.
    """

    name: str
    start: int
    end: int | None
    retry: int
    source: Source
    error: str | None = None
    args: Any = None


@dataclass
class PartRecord:
    """What one process, in one place, recorded of a session.

    Attributes:
        id: of the part.
        source: where.
        start, end: nanoseconds; ``end`` is None if it was in flight when its file ended.
    """

    id: str
    source: Source
    start: int
    end: int | None


@dataclass
class SessionRecord:
    """A session, its parts joined.

    Times are nanoseconds, since the epoch unless another clock was asked for.

    Attributes:
        id: the same in all parts, and no other's.
        task: what it tried; sessions of one task belong together.
        status: ``"pending"``, or what became of it: what was said first, over all parts.
        reason: why.
        start: when it began.
        end: when its status was said, or else the last of its parts ended; None while one is in flight.
        policy_version, end_version: the policy's version at start and end; None where nobody has said.
        step: the active step at the start.
        phases: of all parts, by their starts.
        retries: when another try began, and why.
        counters: sums over the parts.
        payload: of all parts.
        parts: the first one first.
        conflicts: other final statuses that were said later, as (status, reason).
        lost: how many phases, payloads, counters and retries were not kept.
    """

    id: str
    task: Any
    status: str = "pending"
    reason: str | None = None
    start: int = 0
    end: int | None = None
    policy_version: int | None = None
    end_version: int | None = None
    step: int | None = None
    phases: list[PhaseRecord] = field(default_factory=list)
    retries: list[tuple[int, str | None]] = field(default_factory=list)
    counters: dict[str, float] = field(default_factory=dict)
    payload: dict[str, Any] = field(default_factory=dict)
    parts: list[PartRecord] = field(default_factory=list)
    conflicts: list[tuple[str, str | None]] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """Whether it has no status, and a part of it was in flight when its file ended."""
        return self.status == "pending" and any(part.end is None for part in self.parts)

    @property
    def staleness(self) -> int | None:
        """How many versions the policy went on meanwhile; None where one is not known."""
        if self.policy_version is None or self.end_version is None:
            return None
        return self.end_version - self.policy_version


def read_sessions(
    paths: str | PathLike[str] | Iterable[str | PathLike[str]],
    *,
    clock: Clock = Source.time_ns,
    on_damage: Callable[[Damage], None] | None = None,
) -> Iterator[SessionRecord]:
    """The sessions of some files, each once, its parts joined; in the order in which the files name them.

    The files are read twice: what is kept in memory is the places of lines, some 200 bytes a session.

    Args:
        paths: files of sessions, or run directories, of which all files of sessions are read.
        clock: brings times of processes together; default: the time of day, as each process had it.
        on_damage: told of each line that cannot be read, and of sessions that the files say were dropped;
            default: logs it. Such lines are left out.

    Raises:
        OSError: a file cannot be opened.

    Example:
        >>> import sightline as sl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with sl.start(folder, name="run", sinks=[]):
        ...         with sl.session(task=7) as session, session.phase("generate"):
        ...             session.accept()
        ...     [(each.task, each.status, each.phases[0].name) for each in read_sessions(f"{folder}/run")]
        [(7, 'accepted', 'generate')]
    """
    index = _Index(on_damage or _log_damage)
    for path in _files_of(paths):
        index.add(path)
    return index.sessions(clock)


def _files_of(paths: str | PathLike[str] | Iterable[str | PathLike[str]]) -> Iterator[Path]:
    for path in map(Path, [paths] if isinstance(paths, (str, PathLike)) else paths):
        if path.is_dir():
            yield from sorted(path.glob("sessions/p*.jsonl"))
        else:
            yield path


def _log_damage(damage: Damage) -> None:
    log.warning("sightline: %s, line %d: %s", *damage)


class _Place(NamedTuple):
    """Where a line about a part stands."""

    source: int
    offset: int


class _Index:
    """Which lines of which files are about which session."""

    def __init__(self, damaged: Callable[[Damage], None]) -> None:
        self._damaged = damaged
        self._sources: list[Source] = []
        self._places: dict[str, _Place | list[_Place]] = {}  # of a session, one line for most

    def add(self, path: Path) -> None:
        """Notes the lines of a file."""
        has_header = False
        with open(path, "rb", 0) as file:
            lines = WholeLines(file.fileno())
            for line in lines:
                place, number = lines.place - len(line) - 1, lines.number
                said = self._parsed(path, number, line)
                if said is None:
                    continue
                kind = said.get("type")
                if kind == "header":
                    has_header = self._header(path, number, said)
                    if not has_header:
                        return  # what follows is of that format too
                elif not has_header:
                    self._damaged(Damage(path, number, "no header stands before it"))
                elif kind == "clock":
                    self._clock(path, number, said)
                elif kind == "dropped":
                    self._damaged(Damage(path, number, _dropped(said.get("sessions"))))
                elif kind in _PART:
                    identity = said.get("id")
                    if isinstance(identity, str) and isinstance(said.get("part"), str):
                        self._note(identity, _Place(len(self._sources) - 1, place))
                    else:
                        self._damaged(Damage(path, number, "it names no session"))
        if lines.torn or lines.zeros:
            self._damaged(Damage(path, 0, zeros_said(lines.zeros) or "it has a line of more than 64 MiB"))
        if lines.cut:
            self._damaged(Damage(path, lines.number + 1, _CUT))
        if not lines.place and not lines.cut:
            self._damaged(Damage(path, 0, _EMPTY))

    def sessions(self, clock: Clock) -> Iterator[SessionRecord]:
        """All of them, joined."""
        files: dict[Path, BinaryIO] = {}
        try:
            for identity, places in self._places.items():
                parts: dict[str, tuple[Source, dict[str, Any]]] = {}
                places = [places] if isinstance(places, _Place) else places
                path = self._sources[places[0].source].path
                try:
                    for place in places:
                        source = self._sources[place.source]
                        _take_in(parts, source, orjson.loads(_line_at(files, source.path, place.offset)))
                except (OSError, ValueError, AttributeError, TypeError) as error:  # it is another file now
                    self._damaged(Damage(path, 0, f"session {identity} is not as it should be: {error!r}"))
                    continue
                whole = {part: of for part, of in parts.items() if isinstance(of[1].get("start"), int)}
                if not whole:  # its beginning is in a segment that is gone
                    self._damaged(Damage(path, 0, f"session {identity} has no beginning"))
                    continue
                try:
                    session = _joined(identity, whole, clock)
                except (AttributeError, KeyError, TypeError, ValueError) as error:
                    self._damaged(Damage(path, 0, f"session {identity} is not as it should be: {error!r}"))
                    continue
                yield session
        finally:
            for file in files.values():
                file.close()

    def _parsed(self, path: Path, number: int, line: bytes) -> dict[str, Any] | None:
        try:
            said = orjson.loads(line)
            if isinstance(said, dict):
                return said
            reason = "it is no JSON object"
        except orjson.JSONDecodeError as error:
            reason = f"it is no JSON ({error})"
        self._damaged(Damage(path, number, reason))
        return None

    def _header(self, path: Path, number: int, said: dict[str, Any]) -> bool:
        anchor, form = _anchor_of(said), said.get("format")
        if anchor is None or form != 1:
            is_newer = isinstance(form, int) and form > 1
            reason = (
                f"it has format {form}, and this sightline reads 1: a newer version wrote it: "
                f"pip install --upgrade sightline"
            )
            self._damaged(Damage(path, number, reason if is_newer else "its header lacks format or clock"))
            return False
        self._sources.append(Source(path, said, [anchor]))
        return True

    def _clock(self, path: Path, number: int, said: dict[str, Any]) -> None:
        anchor = _anchor_of(said)
        if anchor is None:
            self._damaged(Damage(path, number, "it is no anchor of the clock"))
        else:  # a little before the header's, where the first sessions came late
            bisect.insort(self._sources[-1].anchors, anchor)

    def _note(self, identity: str, place: _Place) -> None:
        known = self._places.get(identity)
        if known is None:
            self._places[identity] = place
        elif isinstance(known, list):
            known.append(place)
        else:
            self._places[identity] = [known, place]


def _dropped(count: Any) -> str:
    return f"{counted(count, 'session') if isinstance(count, int) else 'sessions'} dropped"


def _anchor_of(said: dict[str, Any]) -> tuple[int, int] | None:
    clock, epoch = said.get("perf_counter_ns"), said.get("time_ns")
    return (clock, epoch) if isinstance(clock, int) and clock >= 0 and isinstance(epoch, int) else None


def _line_at(files: dict[Path, BinaryIO], path: Path, offset: int) -> bytes:
    file = files.get(path)
    if file is None:
        if len(files) >= _OPEN_FILES:
            oldest = next(iter(files))
            files.pop(oldest).close()
        file = files[path] = open(path, "rb")  # noqa: SIM115 - closed by whoever asks
    file.seek(offset)
    return file.readline()


def _take_in(parts: dict[str, tuple[Source, dict[str, Any]]], source: Source, said: dict[str, Any]) -> None:
    """Takes a line into what is known of its part."""
    part = said["part"]
    known = parts.get(part)
    if said["type"] == "session" or known is None:
        if said["type"] != "session":
            said["phases"] = {each.pop("n", at): each for at, each in enumerate(said.get("phases", []))}
        parts[part] = (source, said)
        return
    state = known[1]
    if state["type"] == "session":
        return  # complete already
    state["phases"] |= {each.pop("n", at): each for at, each in enumerate(said.pop("phases", []))}
    state["payload"] = state.get("payload", {}) | said.pop("payload", {})
    state |= {key: value for key, value in said.items() if key != "type"}


def _joined(identity: str, parts: dict[str, tuple[Source, dict[str, Any]]], clock: Clock) -> SessionRecord:
    """One session of its parts, the first one first, the others by their starts."""
    ordered = sorted(
        parts.items(), key=lambda item: (item[0] != identity, clock(item[1][0], item[1][1]["start"]))
    )
    session = SessionRecord(identity, next((of["task"] for _, (_, of) in ordered if "task" in of), identity))
    verdicts: list[tuple[int, str, str | None]] = []
    begins: list[int] = []
    for name, (source, said) in ordered:
        start, end = clock(source, said["start"]), said.get("end")
        ended = clock(source, end) if isinstance(end, int) else None
        session.parts.append(PartRecord(name, source, start, ended))
        begins.append(start)
        if said.get("status", "pending") != "pending" and isinstance(said.get("decided"), int):
            verdicts.append((clock(source, said["decided"]), said["status"], said.get("reason")))
        _add(session, source, said, clock)
    session.start = min(begins)
    session.phases.sort(key=lambda phase: phase.start)
    session.retries.sort(key=lambda retry: retry[0])
    for phase in session.phases:
        phase.retry = sum(at <= phase.start for at, _ in session.retries)
    ends = [part.end for part in session.parts]
    if None not in ends:
        session.end = max(end for end in ends if end is not None)
    if verdicts:
        verdicts.sort(key=lambda verdict: verdict[0])
        session.end, session.status, session.reason = verdicts[0]
        session.conflicts = [(status, why) for _, status, why in verdicts[1:] if status != session.status]
    return session


def _add(session: SessionRecord, source: Source, said: dict[str, Any], clock: Clock) -> None:
    """Adds what a part has."""
    for name in ("policy_version", "end_version", "step"):
        if getattr(session, name) is None or name == "end_version":
            setattr(session, name, said.get(name, getattr(session, name)))
    phases = said.get("phases", [])
    for phase in phases.values() if isinstance(phases, dict) else phases:
        end = phase.get("end")
        session.phases.append(
            PhaseRecord(
                phase["name"],
                clock(source, phase["start"]),
                None if end is None else clock(source, end),
                0,
                source,
                phase.get("error"),
                phase.get("args"),
            )
        )
    session.retries += [(clock(source, each["at"]), each.get("reason")) for each in said.get("retries", [])]
    for name, amount in said.get("counters", {}).items():
        session.counters[name] = session.counters.get(name, 0) + (
            float(amount) if isinstance(amount, str) else amount
        )
    session.payload |= said.get("payload", {})
    for what, count in said.get("lost", {}).items():
        session.lost[what] = session.lost.get(what, 0) + count
