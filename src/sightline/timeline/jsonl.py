"""A merged trace as one Chrome event a line, with times since the epoch: AReaL's ``traces.jsonl``."""

from __future__ import annotations

from typing import BinaryIO

import orjson

from sightline.timeline.events import Counter, Event, Flow, Instant, Span, Thread
from sightline.timeline.rows import Row
from sightline.timeline.writing import TraceFile


class JsonLines(TraceFile):
    """Writes an event a line, with ``ts`` and ``dur`` in µs, ``pid`` and ``tid``.

    Since the epoch, so that ``ts`` is exact to a quarter of a µs only: it is a double. A span in a lane has
    the number of that as the argument ``lane``. Arrows are left out.
    """

    def begin(self, file: BinaryIO) -> None:
        self._file = file

    def row(self, row: Row) -> None:
        self._line(ph="M", name="process_name", pid=row.pid, tid=row.pid, args={"name": row.name})

    def write(self, row: Row, event: Event) -> None:
        match event:
            case Span(name, start, end, tid, lane, category, args):
                where = {} if lane is None else {"lane": lane}
                self._line(
                    ph="X", name=name, cat=category or "misc", pid=row.pid, tid=row.tid(tid),
                    ts=start / 1000, dur=(end - start) / 1000, args={**args, **where},
                )  # fmt: skip
            case Instant(name, at, tid, scope, category, args):
                self._line(
                    ph="i", name=name, cat=category or "instr", pid=row.pid, tid=row.tid(tid), ts=at / 1000,
                    s=scope, args=args,
                )  # fmt: skip
            case Counter(name, at, values):
                self._line(ph="C", name=name, pid=row.pid, tid=row.pid, ts=at / 1000, args=values)
            case Thread(tid, name):
                self._line(ph="M", name="thread_name", pid=row.pid, tid=row.tid(tid), args={"name": name})
            case Flow():
                pass

    def end(self) -> None:
        pass

    def _line(self, **fields: object) -> None:
        self._file.write(orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE))
