"""A merged trace as Chrome's JSON, compressed: for Perfetto, and all else that reads that format."""

from __future__ import annotations

import gzip
from typing import IO, Any, BinaryIO, cast

import orjson

from sightline.timeline.events import SESSION_LANES, Counter, Event, Flow, FlowEnd, Instant, Span, Thread
from sightline.timeline.rows import Row
from sightline.timeline.writing import Ties, TraceFile, us

_LEVEL = 3
_NAMES = 100_000
_BLOCK = 4096  # events that are compressed at a time


class ChromeJson(TraceFile):
    """Writes ``{"traceEvents": [...]}``; compressed where the name ends in ``.gz``.

    Spans of threads are ``X`` events, those in lanes ``b`` and ``e``, with the ``id2`` that viewers need to
    draw them in their process. ``cat`` and ``id2`` together make the track, so the category of a span in a
    lane is an argument; but sessions have lanes for themselves. Arrows are ``s`` and ``f``. One of a lane, or
    of no span, gets a moment named ``flow`` on its thread, since arrows bind to slices of threads; so does
    one of a span with others in it, since they bind to the slice that began last, also if it has ended.
    """

    def begin(self, file: BinaryIO) -> None:
        self._file: IO[bytes] = file
        if self.path.suffix == ".gz":
            self._file = cast(IO[bytes], gzip.GzipFile("", "wb", _LEVEL, file, mtime=0))
        self._names: dict[str, str] = {}
        self._ties = Ties()
        self._latest: dict[tuple[int, int], int] = {}  # when the span began that ended last on a thread
        self._lines: list[str] = []
        self._comma = ""
        self._file.write(
            b'{"displayTimeUnit":"ms","otherData":%b,"traceEvents":[\n' % _json(self.about).encode()
        )

    def row(self, row: Row) -> None:
        self._metadata(row, row.pid, "process_name", {"name": row.name})
        self._metadata(row, row.pid, "process_sort_index", {"sort_index": row.order})

    def write(self, row: Row, event: Event) -> None:
        match event:
            case Span():
                self._span(row, event)
            case Instant():
                place = f'"pid":{row.pid},"tid":{row.tid(event.tid)},"ts":{us(event.at - self.zero_ns)}'
                self._add(
                    f'{{"ph":"i","name":{self._name(event.name)},{place},"s":"{event.scope}"'
                    f"{_more(event.category, event.args)}}}"
                )
            case Counter():
                self._add(
                    f'{{"ph":"C","name":{self._name(event.name)},"pid":{row.pid},'
                    f'"ts":{us(event.at - self.zero_ns)},"args":{_json(event.values)}}}'
                )
            case Flow():
                self._moment(row, event.tid, event.end)
                self._flow(row, event.tid, event.end)
            case Thread():
                self._metadata(row, row.tid(event.tid), "thread_name", {"name": event.name})

    def end(self) -> None:
        self._put()
        self._file.write(b"\n]}\n")
        if self._file is not self._raw:
            self._file.close()

    def _span(self, row: Row, span: Span) -> None:
        name, start, end, tid, lane, category, args, flows = span
        zero = self.zero_ns
        if lane is None:
            more = _more(category, args) if category or args else ""
            self._add(
                f'{{"ph":"X","name":{self._name(name)},"pid":{row.pid},"tid":{row.tid(tid)},'
                f'"ts":{us(start - zero)},"dur":{us(end - start)}{more}}}'
            )
        else:
            start = self._ties.start((row.pid, lane), start, end)
            about = f'"name":{self._name(name)},"pid":{row.pid},"tid":{row.tid(tid)}'
            cat = category if lane >= SESSION_LANES else "lane"
            if category and cat == "lane":
                args = {"category": category, **args}
            where = f'"cat":{_json(cat)},"id2":{{"local":"0x{lane:x}"}}'
            self._add(f'{{"ph":"b",{about},{where},"ts":{us(start - zero)}{_more("", args)}}}')
            self._add(f'{{"ph":"e",{about},{where},"ts":{us(end - zero)}}}')
        is_leaf = False
        if lane is None:
            is_leaf = self._latest.get((row.pid, tid), start - 1) < start
            self._latest[row.pid, tid] = start
        for each in flows:
            if not is_leaf:
                self._moment(row, tid, each)
            self._flow(row, tid, each)

    def _flow(self, row: Row, tid: int, flow: FlowEnd) -> None:
        phase, bound = ("s", "") if flow.is_out else ("f", ',"bp":"e"')
        self._add(
            f'{{"ph":"{phase}","cat":"flow","name":"flow","id":"0x{row.flow(flow.id):x}","pid":{row.pid},'
            f'"tid":{row.tid(tid)},"ts":{us(flow.at - self.zero_ns)}{bound}}}'
        )

    def _moment(self, row: Row, tid: int, flow: FlowEnd) -> None:
        self._add(
            f'{{"ph":"i","name":"flow","pid":{row.pid},"tid":{row.tid(tid)},'
            f'"ts":{us(flow.at - self.zero_ns)},"s":"t"}}'
        )

    def _metadata(self, row: Row, tid: int, name: str, args: dict[str, Any]) -> None:
        self._add(f'{{"ph":"M","name":"{name}","pid":{row.pid},"tid":{tid},"args":{_json(args)}}}')

    def _name(self, name: str) -> str:
        text = self._names.get(name)
        if text is None:
            if len(self._names) > _NAMES:
                self._names.clear()
            text = self._names[name] = _json(name)
        return text

    def _add(self, line: str) -> None:
        self._lines.append(line)
        if len(self._lines) >= _BLOCK:
            self._put()

    def _put(self) -> None:
        if self._lines:
            self._file.write((self._comma + ",\n".join(self._lines)).encode())
            self._comma = ",\n"
            self._lines.clear()


def _more(category: str, args: dict[str, Any]) -> str:
    text = f',"cat":{_json(category)}' if category else ""
    return f'{text},"args":{_json(args)}' if args else text


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
