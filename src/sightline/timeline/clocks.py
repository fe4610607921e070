"""Every process's clock against the root's time of day.

Through the root's own anchors where its files are here, and else through the time of day that it told with
each comparison. A process that was never compared goes by its own time of day.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from sightline.support.clock import APART_NS, Anchor, Straight, Sync, without_steps
from sightline.timeline.finding import ProcessTrace

_GOOD_NS = 1_000_000
_MOST_DRIFT = 1e-4  # of two clocks that were compared once only


class Clocked(Protocol):
    """What files of a process tell of its clock; a :class:`ProcessTrace` does."""

    @property
    def process(self) -> int: ...
    @property
    def base_ns(self) -> int: ...
    @property
    def anchors(self) -> Sequence[Anchor]: ...
    @property
    def syncs(self) -> Sequence[Sync]: ...


class ProcessClock:
    """Where moments of one process are on the timeline.

    Attributes:
        zero_ns: where times of its files count from, on the timeline.
        last_ns: the last of its anchors, on the timeline.
        uncertainty_ns: how far off it may be against the root's, at the worst moment, as long as its drift is
            steady; None if it was never compared.

    Args:
        trace: of the process.
        root: of the root; None where its files are not here.
        last_ns: up to when, on the process's clock, there is something to place; at least to its last anchor.
    """

    def __init__(self, trace: Clocked, root: Clocked | None, last_ns: int = 0) -> None:
        self._base = trace.base_ns
        self.uncertainty_ns: int | None = 0 if trace.process == 0 else None
        if trace.process != 0 and trace.syncs:
            syncs = _good(trace.syncs)
            last_ns = max(last_ns, *(each.perf_counter_ns for each in trace.anchors), trace.base_ns)
            self.uncertainty_ns = _uncertainty(syncs, trace.base_ns, last_ns)
            self._straight = _through_syncs(trace, syncs, root)
        else:
            self._straight = _time_of_day(trace)
        self.zero_ns = self.at(0)
        self.last_ns = self.of(max(each.perf_counter_ns for each in trace.anchors))

    def of(self, perf_counter_ns: int) -> int:
        """Ns since the epoch of a moment on the process's clock."""
        return self._straight(perf_counter_ns)

    def at(self, ns: int) -> int:
        """Ns since the epoch of a time in the process's files, in ns."""
        return self._straight(ns + self._base)


def _time_of_day(trace: Clocked) -> Straight:
    return Straight(without_steps((each.perf_counter_ns, each.time_ns) for each in trace.anchors))


def _good(syncs: Sequence[Sync]) -> list[Sync]:
    """Without those that were so disturbed that the line through their neighbours is nearer to the truth."""
    usual = sorted(sync.uncertainty_ns for sync in syncs)[len(syncs) // 2]
    return [sync for sync in syncs if sync.uncertainty_ns <= max(4 * usual, _GOOD_NS)]


def _uncertainty(syncs: Sequence[Sync], first_ns: int, last_ns: int) -> int:
    """How far off a clock may be between two moments on it.

    Between two comparisons it is the worse of both, since the line between them is in both of their ranges.
    Beyond the last one, and before the first, the line is drawn on, and what is unknown of its slope grows
    with the distance.
    """
    known: list[Sync] = []
    for sync in sorted(syncs):
        if not known or sync.perf_counter_ns - known[-1].perf_counter_ns >= APART_NS:  # as lines are drawn
            known.append(sync)
    worst = max(sync.uncertainty_ns for sync in known)
    for end, inner, beyond in (
        (known[0], known[1:2], known[0].perf_counter_ns - first_ns),
        (known[-1], known[-2:-1], last_ns - known[-1].perf_counter_ns),
    ):
        slope = _MOST_DRIFT if end.uncertainty_ns else 0.0  # of one kernel all processes have one clock
        for other in inner:
            run = abs(end.perf_counter_ns - other.perf_counter_ns)
            slope = (end.uncertainty_ns + other.uncertainty_ns) / run
        worst = max(worst, end.uncertainty_ns + math.ceil(max(0, beyond) * slope))
    return worst


def _through_syncs(trace: Clocked, syncs: Sequence[Sync], root: Clocked | None) -> Straight:
    if root is None:
        return Straight(without_steps((sync.perf_counter_ns, sync.root_time_ns) for sync in syncs))
    # A drift is a change of the offset. Drawn between the moments of all anchors, so that those of the root,
    # which are closer together, are followed too.
    offsets = Straight((sync.perf_counter_ns, sync.perf_counter_ns + sync.offset_ns) for sync in syncs)
    times = _time_of_day(root)
    moments = {trace.base_ns, *(each.perf_counter_ns for each in trace.anchors)}
    moments |= {each.perf_counter_ns for each in syncs}
    return Straight((moment, times(offsets(moment))) for moment in moments)


def clocks_of(traces: Sequence[ProcessTrace]) -> list[ProcessClock]:
    """The clock of each process, whose anchors have been read."""
    roots = {(trace.run, trace.attempt): trace for trace in traces if trace.process == 0}
    return [
        ProcessClock(trace, roots.get((trace.run, trace.attempt)), trace.base_ns + trace.last_ns)
        for trace in traces
    ]
