"""The events of one process, from its files: begins and ends joined, times on the timeline.

A span that is open for long stands in the file as begun, and again in each further segment; its end, or all
of it, comes later. Of that one span is made. What never ended ends with the span around it, or where the
files end, and has the argument ``unfinished``.

The ends of an arrow that lie in a span on a thread stand in the lines after it, or, while a span around it
has only begun, before it. Then, as in lanes, the first to end of the spans around an arrow has it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sightline.timeline.clocks import ProcessClock
from sightline.timeline.events import Args, Counter, Event, Flow, FlowEnd, Instant, Span, Thread
from sightline.timeline.finding import ProcessTrace, flow_id
from sightline.timeline.flows import FlowStarts
from sightline.timeline.lines import Damage, parsed, raw_lines
from sightline.tracing.trace_writer import DROPPED

_FLOWS = 10_000  # of a thread, that wait for their spans
_FAR_NS = 1 << 61  # beyond, a time is none
Where = tuple[bool, int]  # whether it is a lane, and its number


class _Begun(NamedTuple):
    name: str
    start: int
    tid: int
    category: str
    args: Args


class _Waiting(NamedTuple):
    """An end of an arrow; in their order in time."""

    at: int
    id: int
    is_out: bool
    tid: int


class Reader:
    """Reads one process.

    Args:
        trace: whose files.
        clock: of the process.
        starts: where arrows begin.

    Attributes:
        dropped: how many events the process says it could not write.
    """

    def __init__(self, trace: ProcessTrace, clock: ProcessClock, starts: FlowStarts) -> None:
        self.dropped = 0
        self._trace = trace
        self._at = clock.at
        self._starts = starts
        self._begun: defaultdict[Where, list[_Begun]] = defaultdict(list)
        self._flows: defaultdict[Where, list[_Waiting]] = defaultdict(list)
        self._held: Span | None = None  # of a thread, while the arrows in it may follow
        self._latest = 0
        self._threads: dict[int, str] = {}

    def read(self, advance: Callable[[int], object] = lambda size: None) -> Iterator[Event]:
        """All events, in the order of the files; spans where they end."""
        for path in self._trace.files:
            damage = self._trace.damage[path] = Damage()
            for line in raw_lines(path, damage, advance):
                event = parsed(line, damage)
                if event is None:
                    continue
                try:
                    yield from self._events(event, damage)
                except NO_EVENT:
                    damage.torn += 1
        yield from self._rest()

    def _events(self, event: dict[str, Any], damage: Damage) -> Iterator[Event]:
        check(event)
        phase, name, given = event["ph"], event["name"], event.get("tid", 0)
        category, args = event.get("cat", ""), event.get("args") or {}
        tid = given - self._trace.shift if given > self._trace.shift else given
        if phase == "i" and ("arrow" in event or "lane" in event):
            return  # it is there for an arrow only
        if self._held is not None:
            if phase in ("s", "f") and self._is_in_held(event, tid):
                return
            held, self._held = self._held, None
            yield held
        if phase == "M":
            if name == "thread_name" and self._threads.get(tid) != (shown := str(args["name"])):
                self._threads[tid] = shown  # the number may go to another thread
                yield Thread(tid, shown)
            return
        ns = _ns(event["ts"])
        at = self._at(ns)
        if phase in ("b", "e"):  # `cat` and the lane together are the track
            args = dict(args)
            given = args.pop("category", "")
            category = given if type(given) is str else ""
        if phase == "X":
            end = self._at(ns + max(0, _ns(event["dur"])))
            yield from self._ended((False, tid), name, at, end, tid, category, args)
            return
        self._latest = max(self._latest, at)
        if phase in ("B", "b"):
            begun = self._begun[(True, _lane(event)) if phase == "b" else (False, tid)]
            if not any(each.name == name and each.start == at for each in begun):
                begun.append(_Begun(name, at, tid, category, args))
        elif phase in ("E", "e"):
            where = (True, _lane(event)) if phase == "e" else (False, tid)
            begun = self._begun[where]
            place = next((i for i in reversed(range(len(begun))) if begun[i].name == name), None)
            if place is None:
                damage.unbegun += 1
                return
            each = begun.pop(place)
            args = {**each.args, **args}
            if phase == "e" and category:
                each = each._replace(category=category)
            yield from self._ended(
                where, name, each.start, max(at, each.start), each.tid, each.category, args
            )
        elif phase == "i":
            if name == DROPPED:
                self.dropped += int(args["dropped"])
            yield Instant(name, at, tid, "p" if event.get("s") == "p" else "t", category, args)
        elif phase == "C":
            if values := numbers(args):
                yield Counter(name, at, values)
        elif phase in ("s", "f"):
            yield from self._flow(event, tid, at, phase == "s")

    def _ended(
        self, where: Where, name: str, start: int, end: int, tid: int, category: str, args: Args
    ) -> Iterator[Event]:
        if end > self._latest:
            self._latest = end
        if self._begun:
            thread = self._begun.get((False, tid))
            if thread:  # it may stand there as begun
                self._begun[False, tid] = [
                    each for each in thread if each.name != name or each.start != start
                ]
            if self._begun.get(where):
                yield from self._inner(where, start, end)
        flows = self._taken(where, start, end) if self._flows else ()
        if where[0]:
            yield Span(name, start, end, tid, where[1], category, args, flows)
        else:
            self._held = Span(name, start, end, tid, None, category, args, flows)

    def _inner(self, where: Where, start: int, end: int) -> Iterator[Event]:
        """Begun spans within one that ends: their own ends have been lost."""
        inner = [each for each in self._begun[where] if start <= each.start < end]
        for each in reversed(inner):
            self._begun[where].remove(each)
            yield self._unfinished(where, each, end)

    def _unfinished(self, where: Where, each: _Begun, end: int) -> Span:
        return Span(
            each.name, each.start, max(end, each.start), each.tid, where[1] if where[0] else None,
            each.category, {**each.args, "unfinished": True}, self._taken(where, each.start, end),
        )  # fmt: skip

    def _flow(self, event: dict[str, Any], tid: int, at: int, is_out: bool) -> Iterator[Event]:
        where = (True, int(event["lane"], 16) % (1 << 32)) if "lane" in event else (False, tid)
        waiting = self._flows[where]
        insort(waiting, _Waiting(at, flow_id(event["id"]), is_out, tid))
        if len(waiting) > 2 * _FLOWS:
            loose, self._flows[where] = waiting[:_FLOWS], waiting[_FLOWS:]
            for each in loose:
                yield self._loose(each)

    def _is_in_held(self, event: dict[str, Any], tid: int) -> bool:
        """Whether an arrow belongs to the span before it; it has it then."""
        held, at = self._held, self._at(_ns(event["ts"]))
        if held is None or "lane" in event or tid != held.tid or not held.start <= at <= held.end:
            return False
        end = self._drawn(FlowEnd(flow_id(event["id"]), at, event["ph"] == "s"), held.end)
        self._held = held._replace(flows=(*held.flows, end))
        return True

    def _taken(self, where: Where, start: int, end: int) -> tuple[FlowEnd, ...]:
        """The arrows of a span that has ended."""
        waiting = self._flows.get(where)
        if not waiting:
            return ()
        first, last = bisect_left(waiting, (start,)), bisect_left(waiting, (end + 1,))
        taken = waiting[first:last]
        if len(taken) == len(waiting):
            del self._flows[where]
        else:
            del waiting[first:last]
        return tuple(self._drawn(FlowEnd(each.id, each.at, each.is_out), end) for each in taken)

    def _drawn(self, flow: FlowEnd, end: int) -> FlowEnd:
        """An arrow's end in a span, not before its beginning."""
        if flow.is_out:
            return flow
        return flow._replace(at=min(self._starts.not_before(flow.id, flow.at), end))

    def _loose(self, waiting: _Waiting) -> Flow:
        at, id, is_out, tid = waiting
        return Flow(tid, FlowEnd(id, at if is_out else self._starts.not_before(id, at), is_out))

    def _rest(self) -> Iterator[Event]:
        if self._held is not None:
            yield self._held
        for where, begun in self._begun.items():
            for each in reversed(begun):
                yield self._unfinished(where, each, self._latest)
        for waiting in self._flows.values():
            for flow in waiting:
                yield self._loose(flow)


#: What :func:`check` raises.
NO_EVENT = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


def check(event: dict[str, Any]) -> None:
    """Raises one of :data:`NO_EVENT` for what is JSON, but no event of ours; the same in all formats."""
    phase, name = event["ph"], event["name"]
    if (
        type(name) is not str
        or type(phase) is not str
        or type(event.get("tid", 0)) is not int
        or type(event.get("cat", "")) is not str
        or type(event.get("args") or {}) is not dict
    ):
        raise TypeError(name)
    if phase == "M":
        if name == "thread_name":
            event["args"]["name"]
        return
    _ns(event["ts"])
    if phase == "X":
        _ns(event["dur"])
    elif phase in ("b", "e"):
        _lane(event)
    elif phase in ("s", "f"):
        flow_id(event["id"])
        if "lane" in event:
            int(event["lane"], 16)
    elif phase == "i" and name == DROPPED:
        int(event["args"]["dropped"])


def numbers(args: Args) -> dict[str, float]:
    """The values of a counter that can be drawn."""
    return {key: value for key, value in args.items() if type(value) in (int, float)}


def _ns(us: float) -> int:
    if type(us) is bool:
        raise TypeError(us)
    ns = round(us * 1000)
    if not -_FAR_NS < ns < _FAR_NS:
        raise ValueError(us)
    return ns


def _lane(event: dict[str, Any]) -> int:
    given = event["id2"]["local"] if "id2" in event else event["id"]
    return int(given, 16) % (1 << 32)
