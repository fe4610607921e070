"""The lines of all processes, in the order of corrected time, in bounded memory."""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sightline.errors import SightlineError
from sightline.run_logs.attendance import Attendance
from sightline.run_logs.choosing import Choice
from sightline.run_logs.clocks import Clocks, Life, anchor_of
from sightline.run_logs.files import Cursor, Damage, Key, RunFiles, Segment, missing
from sightline.run_logs.repeats import Repeats
from sightline.run_logs.sentences import numbers, sentence
from sightline.runs.run_state import state_of
from sightline.support.clock import Anchor
from sightline.support.wording import counted

_NEAR_NS = 5_000_000_000  # lines of one process are in order but for threads that were held up for so long
_NEAR_LINES = 512
_NEAR_BYTES = 64 << 10
_EVENT_LEVELS = {"failed": logging.ERROR, "sigterm": logging.WARNING, "stall": logging.WARNING,
                 "stacks": logging.WARNING, "nonfinite": logging.WARNING, "steps": logging.DEBUG,
                 "unended": logging.ERROR, "out": logging.WARNING}  # fmt: skip
_ABOUT = {"out": "processes", "back": "processes", "resumed": "missing"}  # events, and where they name whom
_NOT_FIELDS = frozenset(("type", "event", "time", "attempt", "level", "step", "process"))


class LogLine(NamedTuple):
    """A line of a process's text log, or an event of the journal.

    Attributes:
        time_ns: corrected: by the root's time of day, in ns since the epoch.
        process, attempt: whose.
        number: of its source, which makes lines of the same time comparable.
        level: as a number.
        record: what the file has: ``time``, ``level``, ``logger``, ``message`` and more.
        size: in bytes.
    """

    time_ns: int
    process: int
    attempt: int
    number: int
    level: int
    record: dict[str, Any]
    size: int

    @property
    def is_event(self) -> bool:
        """Whether it is an event of the journal."""
        return "event" in self.record or self.record.get("type") == "run"

    def shown_record(self) -> dict[str, Any]:
        """A record as people read it: with level, logger and message, of events too."""
        if not self.is_event:
            return self.record
        record = self.record
        if record.get("type") == "run":
            return {
                "level": "INFO", "logger": "run", "fields": {},
                "message": f"attempt {self.attempt} begins with {_processes(record.get('processes'))}",
            }  # fmt: skip
        message, told = sentence(record, self.attempt, self.time_ns / 1e9)
        shown: dict[str, Any] = {
            "level": logging.getLevelName(self.level), "logger": "run", "message": message,
            "fields": {
                name: value for name, value in record.items()
                if name not in _NOT_FIELDS and name != "stacks" and name not in told
            },
        }  # fmt: skip
        if isinstance(record.get("stacks"), str):
            shown["stack"] = record["stacks"]
        if type(record.get("step")) is int:
            shown["step"] = record["step"]
            if "step" not in told:
                shown["fields"] = {"step": record["step"], **shown["fields"]}
        return shown


class Source:
    """Lines of one process's files as they come: parsed, chosen, on corrected time.

    Args:
        key: attempt and process.
        clocks: of all processes.
        choice: what is wanted.
        damage: gets what cannot be read.
    """

    def __init__(self, key: Key, clocks: Clocks, choice: Choice, damage: Damage) -> None:
        self.key = key
        self.cursors: list[tuple[Segment, Cursor]] = []
        self.ended = False  #: the process has said that this is all
        self._clocks = clocks
        self._choice = choice
        self._quick = choice.quick()
        self._damage = damage
        self._life: Life | None = None
        self._anchor: Anchor | None = None
        self._seeks_anchor = False  # it began in the middle of a file
        self._number = 0
        self._latest_ns = 0

    def add(self, segment: Segment) -> None:
        """A file more, after those that are known."""
        self.cursors.append((segment, Cursor(segment.path, self._damage, segment.inode)))

    def skip_to_last(self, lines: int) -> None:
        """Begins with about the last so many lines, of which there may be more."""
        for segment, cursor in reversed(self.cursors):
            if lines <= 0:
                cursor.skip_all()
                continue
            lines -= cursor.skip_to_last(lines)
            if cursor.offset:
                self._life = self._clocks.note(self.key, None, segment.facts)
                self._seeks_anchor = True

    def read(self, cursor: Cursor) -> list[LogLine] | None:
        """The chosen ones of the next lines of a file; None if there are no more now."""
        raw = cursor.read()
        if not raw:
            return None
        lines = [self._line(each, cursor.path) for each in raw]
        return [line for line in lines if line is not None]

    def _line(self, raw: bytes, path: Path) -> LogLine | None:
        if not raw or (not self._quick(raw) and raw.startswith(b'{"time"')):
            return None
        try:
            record = orjson.loads(raw)
        except orjson.JSONDecodeError:
            record = None
        if not isinstance(record, dict):
            self._damage.lines[str(path)] += 1
            return None
        if "type" in record:
            self._take(record)
            return None
        self.ended = False
        time_ns, said = self._latest_ns, record.get("time")
        if isinstance(said, (int, float)) and abs(said) < 1e11 and self._life is not None:
            if self._seeks_anchor:
                self._seeks_anchor = False
                self._anchor = self._clocks.before(self._life, round(said * 1e9))
            time_ns = self._clocks.at(self._life, self._anchor, round(said * 1e9))
            self._latest_ns = time_ns
        level = _level(record.get("level"))
        if not self._choice.wants(record, level, time_ns):
            return None
        self._number += 1
        return LogLine(time_ns, self.key[1], self.key[0], self._number, level, record, len(raw))

    def _take(self, record: dict[str, Any]) -> None:
        kind = record.get("type")
        if kind in ("header", "clock"):
            self._life = self._clocks.note(self.key, self._life, record)
            if "offset_ns" not in record and (anchor := anchor_of(record)) is not None:
                self._anchor = anchor
        self.ended = kind == "end"


class Events:
    """Events of a journal as lines, by the root's own time of day."""

    def __init__(self, path: Path, choice: Choice, damage: Damage) -> None:
        self.cursor = Cursor(path, damage)
        self.processes: dict[int, int] = {}  #: how many each attempt has
        self.finished: set[int] = set()  #: attempts
        self._choice = choice
        self._damage = damage
        self._number = -1 << 62  # before lines of logs at the same time
        self._attendance = Attendance()

    def read(self) -> list[LogLine] | None:
        """The chosen ones of the next lines; None if there are no more now."""
        raw = self.cursor.read()
        if not raw:
            return None
        found = [self._line(record, len(each)) for each in raw for record in self._records(each)]
        return [line for line in found if line is not None]

    def at_end(self) -> list[LogLine]:
        """Who is out since a stall that has no end, and that the last attempt was killed, if it was."""
        records = [*self._attendance.untold()]
        if (unended := self._attendance.unended()) is not None:
            with suppress(SightlineError, OSError):
                if state_of(self.cursor.path.parent).state == "crashed":
                    records.append(unended)
        lines = [self._line(each, 0) for each in records]
        return [line for line in lines if line is not None]

    def _records(self, raw: bytes) -> Iterator[dict[str, Any]]:
        yield from self._attendance.take(raw)
        if b'"type":"event"' not in raw and b'"type":"run"' not in raw:
            return
        try:
            record = orjson.loads(raw)
        except orjson.JSONDecodeError:
            self._damage.lines[str(self.cursor.path)] += 1
            return
        if isinstance(record, dict) and record.get("type") in ("event", "run"):
            yield record

    def _line(self, record: dict[str, Any], size: int) -> LogLine | None:
        attempt = record.get("attempt")
        attempt = attempt if type(attempt) is int else 0
        if record["type"] == "run" and type(record.get("processes")) is int:
            self.processes[attempt] = record["processes"]
        if record.get("event") == "finish":
            self.finished.add(attempt)
        said = record.get("started" if record["type"] == "run" else "time")
        if not isinstance(said, (int, float)) or abs(said) >= 1e11:
            return None
        of = record.get("process")
        process = of if type(of) is int else 0
        level = _EVENT_LEVELS.get(str(record.get("event")), logging.INFO)
        about = numbers(record.get(_ABOUT.get(str(record.get("event")), "")))
        if about and record.get("event") == "resumed":
            level = logging.WARNING  # as for those who drop out without a stall
        self._number += 1
        line = LogLine(round(said * 1e9), process, attempt, self._number, level, record, size)
        if not any(self._choice.wants_process(attempt, each) for each in (process, *about)):
            return None
        return line if self._choice.wants(line.shown_record(), level, line.time_ns) else None


class RunLogs:
    """The text logs of a run, over all its processes and attempts, and the events of its journal.

    Args:
        run_dirs: directories of one run, one of each host.
        choice: which lines.
        events: whether the journal's events are lines, too.

    Attributes:
        damage: what could not be read, after :meth:`lines`.
        sizes: how many processes each attempt has, as far as that is told.

    Raises:
        RunDirectoryError: no run directory, or one of another run.
        JournalError: a newer version of sightline wrote the journal.

    Example:
        >>> import sightline as sl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with sl.start(folder, name="run", sinks=[]) as run:
        ...         sl.get_logger("talk").warning("late by %d s", 3)
        ...     logs = RunLogs([run.dir], Choice(levels={"": 30}), events=False)
        ...     [(line.process, line.record["message"]) for line in logs.lines()]
        [(0, 'late by 3 s')]
    """

    def __init__(
        self, run_dirs: Iterable[Path], choice: Choice | None = None, *, events: bool = True
    ) -> None:
        self.damage = Damage()
        self.choice = choice or Choice()
        self.files = RunFiles(run_dirs, self.damage)
        self.clocks = Clocks()
        self.repeats = Repeats()
        self.sources: dict[Key, Source] = {}
        self.headers: list[dict[str, Any]] = []
        self.sizes: dict[int, int] = {}
        self.events = [Events(path, self.choice, self.damage) for path in self.files.journals if events]
        self.add(self.files.segments())

    def add(self, segments: Sequence[Segment]) -> None:
        """Takes files in, and what they tell of clocks."""
        of_ours = []
        for segment in segments:
            self.headers.append(segment.facts)
            if type(of := segment.facts.get("processes")) is int:
                self.sizes[segment.key[0]] = max(of, self.sizes.get(segment.key[0], 0))
            if self.choice.wants_process(*segment.key):
                of_ours.append(segment)
                source = self.sources.get(segment.key)
                if source is None:
                    source = self.sources[segment.key] = Source(
                        segment.key, self.clocks, self.choice, self.damage
                    )
                source.add(segment)
        wanted = {segment.key[0] for segment in of_ours}
        roots = [each for each in segments if each.key[1] == 0 and each.key[0] in wanted]  # all go by it
        self.clocks.scan(dict.fromkeys([*of_ours, *roots]))

    def skip_to_last(self, lines: int) -> None:
        """Leaves out most of what comes before the last so many lines; nothing where lines are chosen."""
        if not self.choice.takes_all:
            return
        for source in self.sources.values():
            source.skip_to_last(2 * lines + 64)  # among them may be lines of clocks

    def lines(self, *, is_live: bool = False) -> Iterator[LogLine]:
        """All lines that can be read now, ordered by time; what comes later is not waited for.

        Args:
            is_live: parts of lines at the ends of files are to come yet, and no damage.
        """
        streams: list[Iterator[LogLine]] = [_in_order(self._lines_of(each)) for each in self.sources.values()]
        streams += [_in_order(self._events_of(each, is_live)) for each in self.events]
        yield from self.once(heapq.merge(*streams, key=place))
        if not is_live:
            self.note_ends()

    def once(self, lines: Iterable[LogLine]) -> Iterator[LogLine]:
        """Lines in their order, without events that a log tells already."""
        for line in lines:
            if not self.repeats.sees(line.attempt, line.process, line.time_ns, line.record):
                yield line

    def note_ends(self) -> None:
        """Looks for lines that were cut, when nothing is to come."""
        cursors = [cursor for source in self.sources.values() for _, cursor in source.cursors]
        for cursor in [*cursors, *(each.cursor for each in self.events)]:
            cursor.note_end()

    def missing(self) -> dict[int, list[int]]:
        """By attempt the processes of which no file is here; complete after :meth:`lines`."""
        told = [
            {"attempt": attempt, "processes": of}
            for each in self.events
            for attempt, of in each.processes.items()
        ]
        roots = {(each["attempt"], 0) for each in told}  # the journal is the root's
        lacking = missing([*self.headers, *told], self.files.present() | roots)
        wanted = {
            attempt: [each for each in processes if self.choice.wants_process(attempt, each)]
            for attempt, processes in lacking.items()
        }
        return {attempt: processes for attempt, processes in wanted.items() if processes}

    def _lines_of(self, source: Source) -> Iterator[LogLine]:
        for _, cursor in source.cursors:
            while (lines := source.read(cursor)) is not None:
                yield from lines

    def _events_of(self, events: Events, is_live: bool) -> Iterator[LogLine]:
        while (lines := events.read()) is not None:
            yield from lines
        if not is_live:
            yield from events.at_end()


class Warned(NamedTuple):
    """Warnings and errors of a run.

    Attributes:
        lines: the first and the last ones, ordered by time.
        left_out: how many there are between them.
        missing: by attempt the processes of which no file is here.
        damage: what could not be read.
    """

    lines: list[LogLine]
    left_out: int
    missing: dict[int, list[int]]
    damage: Damage


def warnings_of(run_dirs: Iterable[Path], *, most: int = 1000, level: int = logging.WARNING) -> Warned:
    """The warnings and errors of all processes, for summaries; in bounded memory.

    Args:
        run_dirs: directories of one run.
        most: how many lines are kept, the first half of them and the last.
        level: the least level.

    Raises:
        RunDirectoryError: as :class:`RunLogs`.

    Example:
        >>> import sightline as sl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with sl.start(folder, name="run", sinks=[]) as run:
        ...         for i in range(9):
        ...             sl.get_logger("talk").warning("number %d", i)
        ...     found = warnings_of([run.dir], most=4)
        >>> [line.record["message"] for line in found.lines], found.left_out
        (['number 0', 'number 1', 'number 7', 'number 8'], 5)
    """
    logs = RunLogs(run_dirs, Choice(levels={"": level}))
    first: list[LogLine] = []
    last: deque[LogLine] = deque(maxlen=max(0, most - most // 2))
    count = 0
    for line in logs.lines():
        count += 1
        if len(first) < most // 2:
            first.append(line)
        else:
            last.append(line)
    return Warned([*first, *last], count - len(first) - len(last), logs.missing(), logs.damage)


def _in_order(lines: Iterator[LogLine]) -> Iterator[LogLine]:
    """Puts nearly ordered lines into order."""
    held: list[tuple[int, int, LogLine]] = []
    size, latest = 0, 0
    for line in lines:
        heapq.heappush(held, (line.time_ns, line.number, line))
        size += line.size
        latest = max(latest, line.time_ns)
        while len(held) > 1 and (
            len(held) > _NEAR_LINES or size > _NEAR_BYTES or latest - held[0][0] > _NEAR_NS
        ):
            ready = heapq.heappop(held)[2]
            size -= ready.size
            yield ready
    while held:
        yield heapq.heappop(held)[2]


def place(line: LogLine) -> tuple[int, int, int, int]:
    """What lines are ordered by."""
    return line.time_ns, line.attempt, line.process, line.number


def _processes(number: object) -> str:
    return counted(number, "process", "processes") if type(number) is int else "unknown processes"


def _level(name: object) -> int:
    """A level's number by its name; INFO if it has none that is known."""
    found = _LEVELS.get(name) if isinstance(name, str) else None
    if found is not None:
        return found
    if isinstance(name, str) and name.startswith("Level ") and name[6:].isdecimal():
        return int(name[6:12])
    return logging.INFO


_LEVELS: dict[str, int] = logging.getLevelNamesMapping()
