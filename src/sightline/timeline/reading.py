"""The events of one process, from its files: begins and ends joined, times on the timeline.

A span that is open for long stands in the file as begun, and again in each further segment; its end, or all
of it, comes later. Of that one span is made. What never ended ends with the span around it, or where the
files end, and has the argument ``unfinished``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sightline.timeline.clocks import ProcessClock
from sightline.timeline.events import Args, Counter, Event, Flow, FlowEnd, Instant, Span, Thread
from sightline.timeline.finding import ProcessTrace, flow_id
from sightline.timeline.flows import FlowStarts
from sightline.timeline.lines import Damage, parsed, raw_lines
from sightline.trace_writer import DROPPED

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
    end: FlowEnd
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
        self._latest = 0
        self._threads: set[int] = set()

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
                except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
                    damage.torn += 1  # JSON, but no event of ours
        yield from self._rest()

    def _events(self, event: dict[str, Any], damage: Damage) -> Iterator[Event]:
        phase, name, tid = event["ph"], event["name"], event.get("tid", 0)
        category, args = event.get("cat", ""), event.get("args") or {}
        if (
            type(name) is not str
            or type(tid) is not int
            or type(category) is not str
            or type(args) is not dict
        ):
            raise TypeError(name)
        if phase == "M":
            if name == "thread_name" and tid not in self._threads:
                self._threads.add(tid)
                yield Thread(tid, str(args["name"]))
            return
        ns = _ns(event["ts"])
        at = self._at(ns)
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
            yield from self._ended(
                where, name, each.start, max(at, each.start), each.tid, each.category, args
            )
        elif phase == "i":
            if "lane" not in event:  # else it is of an arrow, which has its place by now
                if name == DROPPED:
                    self.dropped += int(args["dropped"])
                yield Instant(name, at, tid, "p" if event.get("s") == "p" else "t", category, args)
        elif phase == "C":
            yield Counter(name, at, {key: v for key, v in args.items() if isinstance(v, (int, float))})
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
        yield Span(name, start, end, tid, where[1] if where[0] else None, category, args, flows)

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
        waiting.append(_Waiting(FlowEnd(flow_id(event["id"]), at, is_out), tid))
        if len(waiting) > _FLOWS:
            yield self._loose(waiting.pop(0))

    def _taken(self, where: Where, start: int, end: int) -> tuple[FlowEnd, ...]:
        """The arrows of a span that has ended."""
        waiting = self._flows.get(where)
        if not waiting:
            return ()
        taken = [each.end for each in waiting if start <= each.end.at <= end]
        if taken:
            self._flows[where] = [each for each in waiting if not start <= each.end.at <= end]
        return tuple(
            each if each.is_out else each._replace(at=min(self._starts.not_before(each.id, each.at), end))
            for each in taken
        )

    def _loose(self, waiting: _Waiting) -> Flow:
        end, tid = waiting
        return Flow(tid, end if end.is_out else end._replace(at=self._starts.not_before(end.id, end.at)))

    def _rest(self) -> Iterator[Event]:
        for where, begun in self._begun.items():
            for each in reversed(begun):
                yield self._unfinished(where, each, self._latest)
        for waiting in self._flows.values():
            for flow in waiting:
                yield self._loose(flow)


def _ns(us: float) -> int:
    ns = round(us * 1000)
    if not -_FAR_NS < ns < _FAR_NS:
        raise ValueError(us)
    return ns


def _lane(event: dict[str, Any]) -> int:
    given = event["id2"]["local"] if "id2" in event else event["id"]
    return int(given, 16) % (1 << 32)
