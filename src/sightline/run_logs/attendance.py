"""Who drops out of a run and is back, and which attempts were killed, from its journal's lines as they come.

A journal names a process as missing once, and tells nothing of the end of an attempt that was killed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

_HEAD = 256  # bytes in which a commit says who is missing
_COUNTS = re.compile(rb'"expected":(\d+),"reported":(\d+)')
_PROCESSES = re.compile(rb'"step":(\d+),.*?"processes":\[([\d,]*)\]')


class Attendance:
    """Reads the lines of a journal, and gives records of events that no line tells by itself.

    They are ``out`` and ``back``, with a step and ``processes``; and ``unended``, of an attempt that another
    one follows, or that is known to be over, at the time of its last line. Who is out when a stall ends is
    told by its ``resumed``.

    Example:
        >>> attendance = Attendance()
        >>> run, commit = b'{"type":"run","attempt":%d}', b'{"type":"commit","attempt":1,"time":7,"step":8%s}'
        >>> for line in (run % 1, commit % b"", commit % b',"missing":[1]', run % 2):
        ...     for record in attendance.take(line):
        ...         print(record["event"], record["time"], record.get("processes"))
        out 7 [1]
        unended 7 None
    """

    def __init__(self) -> None:
        self._attempt = 0
        self._of = 0  # processes
        self._has_ended = True
        self._out: set[int] = set()
        self._stalls = False
        self._untold: dict[str, Any] | None = None  # who is out, unless the end of a stall says so
        self._last = b""  # with a time

    def take(self, raw: bytes) -> Iterator[dict[str, Any]]:
        """The events that a line tells of besides its own."""
        if raw.startswith(b'{"type":"commit"'):
            yield from self.untold()
            self._last = raw
            head = raw[:_HEAD]
            if b'"missing":[' in head:
                yield from self._missing(raw)
            elif self._out and self._is_whole(head):
                yield from self._back(sorted(self._out), raw)
        elif b'"type":"run"' in raw:
            yield from self._run(raw)
        elif b'"type":"event"' in raw:
            self._last = raw
            if b'"event":"finish"' in raw:
                self._has_ended = True
                yield from self.untold()
            elif b'"event":"stall"' in raw:
                self._stalls = True
            elif b'"event":"resumed"' in raw:
                self._stalls, self._untold = False, None
        elif self._out and raw.startswith(b'{"type":"process_values"'):
            if found := _PROCESSES.search(raw):
                here = {int(each) for each in found[2].split(b",") if each}
                yield from self._back(sorted(self._out & here), self._last, int(found[1]))
        elif self._out and raw.startswith(b'{"type":"late"'):
            yield from self._back([_record(raw).get("process", -1)], raw)

    def untold(self) -> Iterator[dict[str, Any]]:
        """Who is out since a stall whose end no line has told so far."""
        out, self._untold = self._untold, None
        if out is not None:
            self._stalls = False
            yield out

    def unended(self) -> dict[str, Any] | None:
        """The event of an attempt that has said no end so far; None if it has."""
        return None if self._has_ended else self._event("unended", {**_record(self._last), "step": None})

    def _is_whole(self, head: bytes) -> bool:
        found = _COUNTS.search(head)
        return found is not None and int(found[2]) >= int(found[1]) >= self._of

    def _missing(self, raw: bytes) -> Iterator[dict[str, Any]]:
        commit = _record(raw)
        missing = commit.get("missing")
        who = [each for each in missing if type(each) is int] if isinstance(missing, list) else []
        new = sorted({*who} - self._out)
        self._out.update(new)
        if new:
            out = self._event("out", commit, processes=new)
            if self._stalls:
                self._untold = out
            else:
                yield out

    def _back(self, who: list[int], raw: bytes, step: int | None = None) -> Iterator[dict[str, Any]]:
        here = [each for each in who if each in self._out]
        self._out.difference_update(here)
        if here:
            record = _record(raw)
            yield self._event("back", record if step is None else {**record, "step": step}, processes=here)

    def _run(self, raw: bytes) -> Iterator[dict[str, Any]]:
        run = _record(raw)
        if run.get("type") != "run":  # but a text of somebody's has it
            return
        yield from self.untold()
        if (record := self.unended()) is not None:
            yield record
        self._attempt = run["attempt"] if type(run.get("attempt")) is int else 0
        self._of = run["processes"] if type(run.get("processes")) is int else 0
        self._has_ended = False
        self._out.clear()
        self._stalls = False
        self._last = raw

    def _event(self, name: str, record: dict[str, Any], **more: Any) -> dict[str, Any]:
        time = record.get("time", record.get("started"))
        step = {} if type(record.get("step")) is not int else {"step": record["step"]}
        return {"type": "event", "event": name, "attempt": self._attempt, "time": time, **step, **more}


def _record(raw: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return record if isinstance(record, dict) else {}
