"""Every process's clock against the root's time of day.

Through the root's own anchors where its files are here, and else through the time of day that it told with
each comparison. A process that was never compared goes by its own time of day.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sightline.clock import Anchor, Straight, Sync, without_steps
from sightline.timeline.finding import ProcessTrace

_GOOD_NS = 1_000_000


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
        uncertainty_ns: how far off it may be against the root's; None if it was never compared.
    """

    def __init__(self, trace: Clocked, root: Clocked | None) -> None:
        self._base = trace.base_ns
        self.uncertainty_ns: int | None = 0 if trace.process == 0 else None
        if trace.process != 0 and trace.syncs:
            syncs = _good(trace.syncs)
            self.uncertainty_ns = max(sync.uncertainty_ns for sync in syncs)
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
    return [ProcessClock(trace, roots.get((trace.run, trace.attempt))) for trace in traces]
