"""What a tracer has recorded, as events of Chrome's trace format: a file that Perfetto opens, at any moment.

A live file is ``[`` and an event a line, each with a comma behind it. It stays readable when the process is
killed. Times are microseconds with three decimals, made of whole nanoseconds, from the process's start on;
the header says where that is on other clocks.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Mapping
from math import isfinite
from time import perf_counter_ns
from typing import Any, Literal

from sightline.files.process_files import ProcessFiles
from sightline.support.clock import Sync, anchor
from sightline.support.given_numbers import NOT_YET, number
from sightline.tracing.event_values import bounded, dumps, plain, text
from sightline.tracing.perf_tracer import PerfTracer
from sightline.tracing.spans import (
    ASYNC,
    BASE_NS,
    COUNTER,
    FLOW,
    INSTANT,
    STEP,
    THREAD,
    OpenSpan,
    Record,
    shared_name,
)

HEADER = "sightline"  #: the name of a file's first event, which says what it is
CLOCK = "sightline clock"  #: the name of the events that anchor the clock
DROPPED = "sightline: events dropped"  #: the name of the instants that say how many

_AT_ONCE = 8192  # records that are turned into text at a time
_MANY = 1 << 16  # records that wait; beyond, recording threads let this one go first
_WAITING = 1 << 18  # beyond, new ones are dropped
_BEGUN_AFTER_NS = 500_000_000  # a span that is open for so long is written as one that has begun
_ANCHOR_EVERY_NS = 10_000_000_000
_FLOWS = 10_000  # ends of arrows of a thread that wait for the spans around them
_LONGEST_NAME = 1000  # characters, also of a category
_ARGUMENTS = 4 << 20  # characters of a span's arguments, beyond which they are a text of their beginning
_SHOWN = 10_000  # bytes of it
_STEPS = 256  # changes of the step that are remembered, by thread
_NAMES = 10_000
_LATE = 1000  # counters that wait for their devices


class TraceWriter:
    """Turns a tracer's records into lines of the process's trace file, several times a second.

    Args:
        tracer: whose records.
        files: of the process.
        segment_bytes: how long a file becomes, before another one is begun.
        keep_bytes: how much is kept; the oldest files go first.
    """

    def __init__(
        self,
        tracer: PerfTracer,
        files: ProcessFiles,
        *,
        segment_bytes: int = 256 << 20,
        keep_bytes: int = 8 << 30,
    ) -> None:
        self._tracer = tracer
        self._files = files
        self._pid = files.process + 1
        # The main thread is the one with the number of its process.
        self._shift = files.process
        self._segment_bytes = segment_bytes
        self._file = files.open(
            "traces/{name}.{segment}.json", self._header, segment_bytes=1 << 62, keep_bytes=keep_bytes
        )
        self._in_segment = 0  # bytes
        self._threads: dict[int, tuple[str, int]] = {}  # names and the system's numbers
        self._heads: dict[str, str] = {}  # how a span of this name begins
        self._steps = _Steps()
        # Spans that stand there as begun: by their threads and beginnings, and by their lanes.
        self._begun: set[tuple[int, int]] = set()
        self._begun_in_lanes: set[tuple[int | None, int]] = set()
        self._begun_until = 0  # so far all that are open stand there
        self._shows_open = False
        self._late_lanes: list[int] = []  # when the last span of each ends
        self._anchored = 0
        self._syncs: deque[Sync] = deque()
        self._late: deque[Record] = deque()  # counters whose values devices have yet to compute
        self._no_numbers = 0  # values of counters that could not be drawn, of those that were dropped
        # Ends of arrows by thread, when and how, until the spans around them stand there.
        self._flows: dict[int, list[tuple[int, str]]] = {}
        self._latest: dict[int, int] = {}  # when the span began that ended last on a thread
        self._is_closing = False
        self._is_taking = True
        self._holds_back: Literal["no", "yield", "drop"] = "no"
        self._dropped = 0
        tracer._begin_writing()
        files.add_source(self.write, left_out=self._stop_taking)

    def close(self, timeout: float = 10.0) -> bool:
        """Writes what has been recorded by now; returns whether that was done in time."""
        self._stop_taking()
        self._anchored = 0  # the last anchor
        self._is_closing = True
        done = self._files.flush(timeout)
        self._files.remove_source(self.write)
        return done

    def show_open(self) -> None:
        """Writes all spans that are open now as begun, not only those that are for long. From any thread."""
        self._shows_open = True
        self._files.hurry()

    def _stop_taking(self) -> None:
        """The tracer keeps the last few records only, as it does while nobody writes."""
        if self._is_taking:
            self._is_taking = False
            self._tracer._end_writing()

    def note_sync(self, sync: Sync) -> None:
        """Writes where this process's clock stands against the root's. From any thread."""
        self._syncs.append(sync)

    def write(self) -> bool:
        """Writes some of what has been recorded, and says whether there is more."""
        tracer = self._tracer
        records = tracer._take(_AT_ONCE)
        waits = tracer._waiting()
        self._hold_back(waits)
        now = perf_counter_ns()
        begins = self._in_segment > self._segment_bytes
        if begins:
            self._in_segment = 0
            # What is still open begins again in the new file.
            self._begun.clear()
            self._begun_in_lanes.clear()
            self._begun_until = 0
        late, self._late = self._late, deque()
        lines = self.lines((*late, *records) if late else records)
        if not waits:
            lines += self._begin_open(now)
            if self._is_closing:
                lines += self._loose_flows()
        if now - self._anchored > _ANCHOR_EVERY_NS:
            self._anchored = now
            lines.append(self.metadata(CLOCK, anchor()._asdict()))
        while self._syncs:
            lines.append(self.metadata(CLOCK, self._syncs.popleft()._asdict()))
        self._dropped += self._file.take_dropped() + tracer._take_dropped()
        if self._dropped and self._holds_back != "drop":
            why = {"counters that are no numbers": self._no_numbers} if self._no_numbers else {}
            lines.append(self._instant(DROPPED, 0, now, {"dropped": self._dropped, **why}, None, "p"))
            self._dropped = self._no_numbers = 0
        if lines:
            data = "".join(lines).encode()
            self._in_segment += len(data)
            self._file.put(data, len(records), begins=begins)
        return waits > 0

    def _hold_back(self, waits: int) -> None:
        how = self._holds_back
        if waits > _WAITING:
            how = "drop"
        elif waits < _MANY // 2:
            how = "no"
        elif (waits > _MANY and how == "no") or (waits < _WAITING // 2 and how == "drop"):
            how = "yield"
        if how != self._holds_back:
            self._holds_back = how
            self._tracer._hold_back(how)

    # --- events --------------------------------------------------------------------------------------------

    def lines(self, records: Iterable[Record]) -> list[str]:
        """Records as lines of the file."""
        out: list[str] = []
        add = out.append
        heads, steps, begun, flows, latest, shift = (
            self._heads, self._steps.latest, self._begun, self._flows, self._latest, self._shift,
        )  # fmt: skip
        for record in records:
            try:
                if len(record) != 5:
                    self._other(record[0], record[1], add)
                    continue
                name, tid, start, end, args = record
                if begun and (tid, start) in begun:
                    begun.discard((tid, start))
                    add(self._event("E", name, args, tid, end, self._steps.at(tid, start)))
                elif args is not None or start - BASE_NS < 1000:
                    step = self._steps.at(tid, start)
                    add(self._event("X", name, args, tid, start, step, f',"dur":{_us(end - start)}'))
                else:  # the usual case, of which there may be millions
                    try:
                        head, (since, tail) = heads[name], steps[tid]
                    except KeyError:
                        head, (since, tail) = self._head(name), self._tail(tid)
                    if start < since:
                        tail = _tail(self._steps.at(tid, start))
                    ns = end - start
                    ts, took = str(start - BASE_NS), str(ns) if ns > 999 else f"{ns:04d}"
                    add(f'{head}{tid + shift},"ts":{ts[:-3]}.{ts[-3:]},"dur":{took[:-3]}.{took[-3:]}{tail}')
                if flows:
                    out += self._flows_within(tid, start, end)
                latest[tid] = start
            except Exception:  # noqa: BLE001 - whatever is in a record, it is that record's trouble
                self._dropped += 1
        return out

    def _other(self, kind: int, what: Any, add: Any) -> None:
        if kind == STEP:
            self._steps.note(*what)
        elif kind == ASYNC:
            name, lane, tid, start, end, args, step = what
            step = self._steps.at(tid, start) if step is None else step
            where = self._in_lane(lane, start, end)
            if (lane, start) in self._begun_in_lanes:
                self._begun_in_lanes.discard((lane, start))
                add(self._event("e", name, args, tid, end, step, where))  # more may be known by now
            else:
                add(self._event("b", name, args, tid, start, step, where))
                add(self._event("e", name, None, tid, end, None, where))
        elif kind == INSTANT:
            name, tid, now, args = what
            add(self._instant(name, tid, now, args, self._steps.at(tid, now), "t"))
        elif kind == COUNTER:
            self._counter(what, add)
        elif kind == FLOW:
            phase, flow, tid, lane, now = what
            self._flow(phase, flow, tid, lane, now, add)
        elif kind == THREAD:
            tid, name, native = what
            known = self._threads.get(tid)
            shown = name if known is None else shared_name(known[0], name) or "threads, one after another"
            if known is None or shown != known[0]:
                add(self._thread_name(tid, shown))
            if known is not None and native != known[1]:
                self._steps.forget(tid)
            self._threads[tid] = (shown, native)

    def _counter(self, what: Any, add: Any) -> None:
        name, now, series = what
        given = {text(key, _LONGEST_NAME): number(value) for key, value in series.items()}
        if NOT_YET in given.values() and not self._is_closing and len(self._late) < _LATE:
            self._late.append((COUNTER, what))
            return
        # Perfetto's engine never comes back from a NaN.
        values = {key: value for key, value in given.items() if _can_be_drawn(value)}
        missing = max(len(given), 1) - len(values)
        self._dropped += missing
        self._no_numbers += missing
        if values:
            add(
                f'{{"ph":"C","name":{_name(name)},"pid":{self._pid},"ts":{_us(now - BASE_NS)},'
                f'"args":{_json(values)}}},\n'
            )

    def _event(
        self, phase: str, name: str, args: Any, tid: int, at: int, step: int | None, more: str = ""
    ) -> str:
        shown: dict[str, Any] = {} if step is None else {"step": step}
        about = tail = ""
        if args:
            given = dict(args)
            if (category := _category(given.pop("category", None))) and phase in "be":
                shown["category"] = category  # the place of `cat` is taken by what makes a lane one track
            elif category:
                about = f',"cat":{_json(category)}'
            shown |= plain(given)
        if shown:
            tail = f',"args":{_json(shown)}'
            if len(tail) > _ARGUMENTS:
                kept = {key: shown[key] for key in ("step", "category") if key in shown}
                tail = f',"args":{_json({**kept, "arguments": bounded(shown, _SHOWN)[0]})}'
        return (
            f'{{"ph":"{phase}","name":{_name(name)}{about},"pid":{self._pid},'
            f'"tid":{tid + self._shift if tid else 0},'
            f'"ts":{_us(at - BASE_NS)}{more}{tail}}},\n'
        )

    def _instant(self, name: str, tid: int, now: int, args: Any, step: int | None, scope: str) -> str:
        return self._event("i", name, args, tid, now, step, f',"s":"{scope}"')

    def _flow(self, phase: str, flow: int, tid: int, lane: int | None, now: int, add: Any) -> None:
        bound = ',"bp":"e"' if phase == "f" else ""
        of_lane = "" if lane is None else f',"lane":"{self._lane_id(0, lane)}"'
        line = (
            f'{{"ph":"{phase}","cat":"flow","name":"flow","id":"0x{flow:x}","pid":{self._pid},'
            f'"tid":{tid + self._shift},"ts":{_us(now - BASE_NS)}{bound}{of_lane}}},\n'
        )
        if lane is not None:
            # Arrows are drawn between slices of threads, so one of a lane gets a moment on its thread.
            add(self._moment(tid, now, of_lane))
        elif any(where == tid and start <= now for where, start in self._begun):
            add(self._moment(tid, now))  # whether it is the innermost one that has begun, is not known
        else:  # without a slice around it, it is an error, so it waits for its span
            waiting = self._flows.setdefault(tid, [])
            insort(waiting, (now, line))
            if len(waiting) > 2 * _FLOWS:
                loose, self._flows[tid] = waiting[:_FLOWS], waiting[_FLOWS:]
                for each in self._with_moments(tid, loose):
                    add(each)
            return
        add(line)

    def _moment(self, tid: int, now: int, more: str = ',"arrow":1') -> str:
        """A slice that takes no time, for an arrow that would not find the right one.

        Perfetto draws an arrow at the slice that has begun last on its thread, also if that has ended.
        """
        at = f'"pid":{self._pid},"tid":{tid + self._shift},"ts":{_us(now - BASE_NS)}'
        return f'{{"ph":"i","name":"flow",{at},"s":"t"{more}}},\n'

    def _with_moments(self, tid: int, flows: Iterable[tuple[int, str]]) -> list[str]:
        return [each for at, line in flows for each in (self._moment(tid, at), line)]

    def _flows_within(self, tid: int, start: int, end: int, *, is_open: bool = False) -> list[str]:
        """Arrows whose span stands there now: the lines that follow that of the span at once."""
        waiting = self._flows.get(tid)
        if not waiting:
            return []
        first, last = bisect_left(waiting, (start,)), bisect_left(waiting, (end + 1,))
        found = waiting[first:last]
        if len(found) == len(waiting):
            del self._flows[tid]
        elif found:
            del waiting[first:last]
        if is_open or self._latest.get(tid, -1) >= start:  # others lie within
            return self._with_moments(tid, found)
        return [line for _, line in found]

    def _loose_flows(self) -> list[str]:
        """Arrows that are in no span: the objects of the spans were used after their blocks."""
        lines = [each for tid, flows in self._flows.items() for each in self._with_moments(tid, flows)]
        self._flows.clear()
        return lines

    def _in_lane(self, lane: int | None, start: int, end: int) -> str:
        """Where an asynchronous span is drawn; without a lane of its own the first one that is free."""
        if lane is None:
            free = next(
                (i for i, ends in enumerate(self._late_lanes) if ends <= start), len(self._late_lanes)
            )
            self._late_lanes[free : free + 1] = [end]
            return self._lane(1, free)
        return self._lane(0, lane)

    def _lane(self, kind: int, lane: int) -> str:
        # With a plain id Perfetto draws it beside the processes.
        return f',"cat":"lane","id2":{{"local":"{self._lane_id(kind, lane)}"}}'

    def _lane_id(self, kind: int, lane: int) -> str:
        return f"0x{self._pid:x}{kind:02x}{lane:06x}"

    def _begin_open(self, now: int) -> list[str]:
        """Spans that are open for long, so that a file that is cut short shows them."""
        until = now - _BEGUN_AFTER_NS
        if self._shows_open or self._is_closing:
            self._shows_open = False
            until = now
        lines = []
        for span in self._tracer._open_spans(tasks=(self._begun_until, until)):
            if span.start >= until:
                continue
            if span.tid is None and (span.lane, span.start) not in self._begun_in_lanes:
                self._begun_in_lanes.add((span.lane, span.start))
                lines.append(self._begin(span))
            elif span.tid is not None and (span.tid, span.start) not in self._begun:
                self._begun.add((span.tid, span.start))
                lines.append(self._begin(span))
                lines += self._flows_within(span.tid, span.start, now, is_open=True)
        self._begun_until = max(self._begun_until, until)
        return lines

    def _begin(self, span: OpenSpan) -> str:
        step = self._steps.at(span.tid or 0, span.start)
        if span.tid is not None:
            return self._event("B", span.name, span.args, span.tid, span.start, step)
        return self._event("b", span.name, span.args, 0, span.start, step, self._in_lane(span.lane, 0, 0))

    def _head(self, name: str) -> str:
        if len(self._heads) > _NAMES:
            self._heads.clear()
        head = f'{{"ph":"X","name":{_name(name)},"pid":{self._pid},"tid":'
        if len(name) <= _LONGEST_NAME:
            self._heads[name] = head
        return head

    def _tail(self, tid: int) -> tuple[int, str]:
        since, step = self._steps.newest(tid)
        found = since, _tail(step)
        self._steps.latest[tid] = found
        return found

    # --- what a file begins with ---------------------------------------------------------------------------

    def _header(self, facts: Mapping[str, Any]) -> bytes:
        role = f" · {facts['role']}" if facts.get("role") else ""
        label = f"process {facts['process']}{role} · {facts['host']}"
        lines = [
            "[\n",
            self.metadata(HEADER, {"format": 1, "base_ns": BASE_NS, "main_tid": self._pid, **facts}),
            self.metadata("process_name", {"name": label}),
            self.metadata("process_sort_index", {"sort_index": facts["process"]}),
            *(self._thread_name(tid, name) for tid, (name, _) in sorted(self._threads.items())),
        ]
        return "".join(lines).encode()

    def metadata(self, name: str, args: Mapping[str, Any], tid: int = 1) -> str:
        """A line that says something about the file, a process or a thread."""
        where = f'"pid":{self._pid},"tid":{tid + self._shift}'
        about = f'"name":{_json(name)},{where},"args":{_json(dict(args))}'
        return f'{{"ph":"M",{about}}},\n'

    def _thread_name(self, tid: int, name: str) -> str:
        return self.metadata("thread_name", {"name": text(name, _LONGEST_NAME)}, tid)


class _Steps:
    """Which step was active where, and when.

    Attributes:
        latest: for a thread since when its step is what it is, and how a span without arguments ends then.
    """

    def __init__(self) -> None:
        self.latest: dict[int, tuple[int, str]] = {}
        self._changes: dict[int, tuple[list[int], list[int | None]]] = {}  # by thread, 0 for the process

    def note(self, tid: int, at: int, number: int | None) -> None:
        self.latest.clear()
        for where in (tid, 0):
            times, numbers = self._changes.setdefault(where, ([], []))
            times.append(at)
            numbers.append(number)
            if len(times) > 2 * _STEPS:
                del times[:_STEPS], numbers[:_STEPS]

    def forget(self, tid: int) -> None:
        """Another thread has this number now, and no step of its own."""
        self.latest.pop(tid, None)
        self._changes.pop(tid, None)

    def newest(self, tid: int) -> tuple[int, int | None]:
        """Since when the step of a thread is what it is, and which it is."""
        since = max((self._changes[where][0][-1] for where in (tid, 0) if where in self._changes), default=0)
        return since, self.at(tid, since)

    def at(self, tid: int, at: int) -> int | None:
        """The step of a thread at a moment, or else the process's."""
        for where in (tid, 0):
            if where in self._changes:
                times, numbers = self._changes[where]
                place = bisect_right(times, at)
                number = numbers[place - 1] if place else None
                if number is not None:
                    return number
        return None


def _tail(step: int | None) -> str:
    return "},\n" if step is None else f',"args":{{"step":{step}}}}},\n'


def _name(name: str) -> str:
    """A name as JSON, cut where it is very long."""
    return _json(name if str.__len__(name) <= _LONGEST_NAME else text(name, _LONGEST_NAME))


def _category(given: Any) -> str:
    """A category as text, whatever it is; empty if there is none."""
    if given is None:
        return ""
    shown = given if type(given) is str else plain(given)
    return text(shown if type(shown) is str else _json(shown), _LONGEST_NAME)


def _json(value: Any) -> str:
    try:
        return dumps(value).decode()
    except Exception:  # noqa: BLE001 - a name that is no text
        return dumps(plain(value)).decode()


def _us(ns: int) -> str:
    """Microseconds with three decimals, of whole nanoseconds; not negative, which Perfetto refuses."""
    ns = max(ns, 0)
    return f"{ns // 1000}.{ns % 1000:03d}"


def _can_be_drawn(value: Any) -> bool:
    return (type(value) is int and -(2**63) <= value < 2**63) or (type(value) is float and isfinite(value))
