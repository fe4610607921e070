"""A merged trace as one Chrome event a line, with times since the epoch: AReaL's ``traces.jsonl``."""

from __future__ import annotations

from typing import Any, BinaryIO

import orjson

from sightline.timeline.events import SESSION_LANES, Args, Counter, Event, Flow, Instant, Span, Thread
from sightline.timeline.rows import Row
from sightline.timeline.writing import TraceFile

_GRAIN_NS = 250  # of a double that holds µs since the epoch; coarser times still lie within one another


class JsonLines(TraceFile):
    """Writes an event a line, with ``ts`` and ``dur`` in µs, ``pid`` and ``tid``.

    Times are since the epoch, and so exact to a quarter of a µs only: they are doubles. Each lane has a
    ``tid`` of its own, from the last number of its process downwards, since ``X`` events of one ``tid`` must
    nest. Spans and moments have the process as ``rank``, by which AReaL's tools number processes, and its
    ``role``; an argument of such a name has ``_`` behind it. Arrows are left out.
    """

    def begin(self, file: BinaryIO) -> None:
        self._file = file
        self._lanes: dict[tuple[int, int], int] = {}  # their numbers, by process
        self._lane_counts: dict[int, int] = {}

    def row(self, row: Row) -> None:
        self._line(ph="M", name="process_name", pid=row.pid, tid=row.pid, args={"name": row.name})

    def write(self, row: Row, event: Event) -> None:
        match event:
            case Span(name, start, end, tid, lane, category, args):
                begin = _us(start)
                self._line(
                    ph="X", name=name, cat=category or "misc", pid=row.pid,
                    tid=row.tid(tid) if lane is None else self._lane(row, lane),
                    ts=begin, dur=_us(end) - begin, args=_args(row, args),
                )  # fmt: skip
            case Instant(name, at, tid, scope, category, args):
                self._line(
                    ph="i", name=name, cat=category or "instr", pid=row.pid, tid=row.tid(tid), ts=_us(at),
                    s=scope, args=_args(row, args),
                )  # fmt: skip
            case Counter(name, at, values):
                self._line(ph="C", name=name, pid=row.pid, tid=row.pid, ts=_us(at), args=values)
            case Thread(tid, name):
                self._line(ph="M", name="thread_name", pid=row.pid, tid=row.tid(tid), args={"name": name})
            case Flow():
                pass

    def end(self) -> None:
        pass

    def _lane(self, row: Row, lane: int) -> int:
        tid = self._lanes.get((row.pid, lane))
        if tid is None:
            count = self._lane_counts[row.pid] = self._lane_counts.get(row.pid, 0) + 1
            tid = self._lanes[row.pid, lane] = row.pid + row.threads - 1 - count % row.threads
            name = f"{'sessions' if lane >= SESSION_LANES else 'lane'} {count}"
            self._line(ph="M", name="thread_name", pid=row.pid, tid=tid, args={"name": name})
        return tid

    def _line(self, **fields: object) -> None:
        self._file.write(orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE))


def _us(ns: int) -> float:
    return ns // _GRAIN_NS * _GRAIN_NS / 1000


def _args(row: Row, args: Args) -> Args:
    if row.process is None:
        return args
    own: dict[str, Any] = {"rank": row.process, **({"role": row.role} if row.role else {})}
    return {**{f"{name}_" if name in own else name: value for name, value in args.items()}, **own}
