"""Times of log lines on the root's time of day, by what the log files tell of clocks.

A line has its process's time of day. The anchor before it in its file leads to the process's steady clock,
and the comparisons with the root lead from there to the root's.
"""

from __future__ import annotations

from collections.abc import Iterable
from io import FileIO
from pathlib import Path
from typing import Any

import orjson

from sightline.files.sparse_files import data_from
from sightline.run_logs.files import Segment
from sightline.support.clock import Anchor, Sync
from sightline.timeline.clocks import ProcessClock

_TYPE = b'\n{"type":"'  # how lines begin that are no entries
_BLOCK = 4 << 20
_LONGEST = 1 << 20
_MOST = 4096  # anchors of a process; of more, every second one is kept
_APART_NS = 60_000_000_000

Life = tuple[int, int, str, int]  #: attempt, process, host and pid: one steady clock


class _Told:
    """What a process has told of its clock."""

    base_ns = 0

    def __init__(self, process: int) -> None:
        self.process = process
        self.anchors: list[Anchor] = []
        self.syncs: list[Sync] = []
        self._latest: int | None = None  # what comes from before it was told already
        self._apart_ns = _APART_NS

    def note(self, facts: dict[str, Any]) -> bool:
        """Takes a line of clocks; returns whether it changes anything."""
        values = {name: value for name, value in facts.items() if type(value) is int}
        if values.keys() >= set(Sync._fields):
            sync = Sync(*(values[name] for name in Sync._fields))
            if self.syncs and sync.perf_counter_ns <= self.syncs[-1].perf_counter_ns:
                return False
            self.syncs.append(sync)
            return True
        if not values.keys() >= set(Anchor._fields):
            return False
        anchor = Anchor(*(values[name] for name in Anchor._fields))
        if self._latest is not None and anchor.perf_counter_ns < self._latest + self._apart_ns:
            return False
        self._latest = anchor.perf_counter_ns
        self.anchors.append(anchor)
        if len(self.anchors) > _MOST:
            self._apart_ns *= 2
            del self.anchors[1::2]
        return True


class Clocks:
    """The clocks of all processes; they get better as more is told."""

    def __init__(self) -> None:
        self._told: dict[Life, _Told] = {}
        self._made: dict[Life, ProcessClock] = {}

    def scan(self, segments: Iterable[Segment]) -> None:
        """Takes all that files tell of clocks: their lines are looked for, and no others are parsed."""
        for segment in segments:
            life = self.note(segment.key, None, segment.facts)
            for record in _told_in(segment.path):
                life = self.note(segment.key, life, record)

    def note(self, key: tuple[int, int], life: Life | None, record: dict[str, Any]) -> Life:
        """Takes a header, or a line of clocks that follows one; returns whose clock it is."""
        if record.get("type") == "header" or life is None:
            pid = record.get("pid")
            life = (*key, str(record.get("host")), pid if type(pid) is int else 0)
        told = self._told.get(life)
        if told is None:
            told = self._told[life] = _Told(key[1])
        if told.note(record):
            if key[1] == 0:
                self._made.clear()
            else:
                self._made.pop(life, None)
        return life

    def before(self, life: Life, time_ns: int) -> Anchor | None:
        """The last anchor before a moment of the process's time of day."""
        told = self._told.get(life)
        if told is None or not told.anchors:
            return None
        return max((each for each in told.anchors if each.time_ns <= time_ns), default=told.anchors[0])

    def at(self, life: Life, anchor: Anchor | None, time_ns: int) -> int:
        """A line's time by the root's time of day, in ns since the epoch.

        Args:
            life: whose line.
            anchor: the last one before it in its file.
            time_ns: by the process's time of day.
        """
        if anchor is None:
            return time_ns
        clock = self._made.get(life)
        if clock is None:
            told = self._told.get(life)
            if told is None or not told.anchors:
                return time_ns
            clock = self._made[life] = ProcessClock(told, self._root(life[0]))
        return clock.of(anchor.perf_counter_ns + time_ns - anchor.time_ns)

    def _root(self, attempt: int) -> _Told | None:
        return next(
            (told for life, told in self._told.items() if life[:2] == (attempt, 0) and told.anchors), None
        )


def anchor_of(record: dict[str, Any]) -> Anchor | None:
    """The anchor that a header or a line of clocks holds."""
    perf, day = record.get("perf_counter_ns"), record.get("time_ns")
    return Anchor(perf, day) if type(perf) is int and type(day) is int else None


def _told_in(path: Path) -> Iterable[dict[str, Any]]:
    try:
        with open(path, "rb", 0) as file:
            while data := file.read(_BLOCK):
                if data.endswith(b"\0"):
                    file.seek(data_from(file.fileno(), file.tell()))
                data = b"\n" + data + (b"" if data.endswith((b"\n", b"\0")) else _rest_of_line(file))
                at = data.find(_TYPE)
                while at >= 0:
                    end = data.find(b"\n", at + 1)
                    try:
                        record = orjson.loads(data[at : end if end >= 0 else None])
                    except orjson.JSONDecodeError:
                        record = {}  # told when the lines are read
                    if record.get("type") in ("header", "clock"):
                        yield record
                    at = data.find(_TYPE, at + 1)
    except OSError:
        return  # told when the lines are read


def _rest_of_line(file: FileIO) -> bytes:
    rest = b""
    while len(rest) < _LONGEST:
        more = file.read(4096)
        end = more.find(b"\n")
        if end >= 0:
            file.seek(end + 1 - len(more), 1)
            return rest + more[: end + 1]
        if not more:
            break
        rest += more
    return rest
