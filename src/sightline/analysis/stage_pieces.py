"""What a thread is in, moment by moment: the innermost of its stages, or where it waits, what devices do."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sightline.analysis.stage_kinds import OTHER, STEP, kind_of

DEVICE = "device"  #: category of the spans that say when a stage's work was done on devices

Where = tuple[int, int]  #: a process, and one of its threads or lanes


class Source(NamedTuple):
    """What an arrow comes from.

    Attributes:
        process, tid: whose span.
        at: when the arrow began, in ns.
    """

    process: int
    tid: int
    at: int


class StageSpan(NamedTuple):
    """A span of a thread or a lane.

    Attributes:
        process: whose.
        tid: on which thread.
        name: what.
        category: of which kind the program says it is.
        start, end: in ns, on one clock for all processes.
        step: in which it began; None outside of steps.
        waits_for: where the last arrow into it came from.
    """

    process: int
    tid: int
    name: str
    category: str
    start: int
    end: int
    step: int | None
    waits_for: Source | None = None


class Track:
    """A thread or lane over the whole run.

    Args:
        spans: of it.
        devices: work on devices that it waits for, in the order in which it begins.

    Attributes:
        pieces: what it is in, one after the other: parts of stages; between them in none.
    """

    def __init__(self, spans: Iterable[StageSpan], devices: Sequence[StageSpan] = ()) -> None:
        self.pieces = [piece for piece in _overlaid(_pieces(spans), devices) if piece.category != STEP]
        self._starts = [piece.start for piece in self.pieces]

    def under_way(self, at: int) -> StageSpan | None:
        """The piece that is under way just before a moment."""
        place = bisect_left(self._starts, at) - 1
        return self.pieces[place] if place >= 0 and self.pieces[place].end >= at else None

    def last_end(self, before: int, default: int) -> int:
        """When the last piece ended that began before a moment at which none is under way."""
        place = bisect_left(self._starts, before) - 1
        return self.pieces[place].end if place >= 0 else default


def _pieces(spans: Iterable[StageSpan]) -> Iterator[StageSpan]:
    """The innermost span of each moment, with the moments in which it is that as its beginning and end.

    What is in a stage of waiting waits for the same, if for nothing else.
    """
    open_: list[StageSpan] = []
    now = 0

    def until(moment: int) -> Iterator[StageSpan]:
        nonlocal now
        while open_:
            inner = open_[-1]
            end = min(inner.end, moment)
            if end > now:
                yield inner._replace(start=now, end=end)
                now = end
            if inner.end > moment:
                break
            open_.pop()

    for span in sorted(spans, key=lambda each: (each.start, -each.end)):
        yield from until(span.start)
        now = max(now, span.start)
        if span.waits_for is None and open_ and kind_of(open_[-1].name, open_[-1].category) == "waiting":
            span = span._replace(waits_for=open_[-1].waits_for)
        open_.append(span)
    yield from until(1 << 63)


def _overlaid(pieces: Iterable[StageSpan], devices: Sequence[StageSpan]) -> Iterator[StageSpan]:
    """The pieces of a loop, where it waits for devices as those of what they do."""
    names = {span.name for span in devices}
    following = iter(devices)
    coming = next(following, None)
    at_work: list[StageSpan] = []
    for piece in pieces:
        at_work = [span for span in at_work if span.end > piece.start]
        while coming is not None and coming.start < piece.end:
            if coming.end > piece.start:
                at_work.append(coming)
            coming = next(following, None)
        waits = piece.name in names or kind_of(piece.name, piece.category) == OTHER
        if not waits or not at_work:
            yield piece
            continue
        edges = {edge for span in at_work for edge in (span.start, span.end)}
        cuts = sorted({piece.start, piece.end, *(e for e in edges if piece.start < e < piece.end)})
        for start, end in itertools.pairwise(cuts):
            on = [span for span in at_work if span.start <= start and span.end >= end]
            newest = max(on, key=lambda span: span.start, default=piece)
            waits_for = piece.waits_for if newest.name == piece.name else None
            yield newest._replace(tid=piece.tid, start=start, end=end, waits_for=waits_for)
