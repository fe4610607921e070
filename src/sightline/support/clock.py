"""Clocks: where a process's own clock stands against the time of day, and against the root's."""

from __future__ import annotations

import itertools
import time
from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

_TRIES = 5
APART_NS = 1_000_000_000  #: that moments must be apart for their errors not to make a slope of their own


class Anchor(NamedTuple):
    """One moment on two clocks of a process.

    Attributes:
        perf_counter_ns: on the monotonic clock that spans are taken with.
        time_ns: since the epoch.
    """

    perf_counter_ns: int
    time_ns: int


def anchor() -> Anchor:
    """This moment on both clocks; of several readings the one that was taken fastest.

    Example:
        >>> first, second = anchor(), anchor()
        >>> first.perf_counter_ns <= second.perf_counter_ns
        True
    """
    best = None
    for _ in range(_TRIES):
        before = time.perf_counter_ns()
        now = time.time_ns()
        after = time.perf_counter_ns()
        if best is None or after - before < best[0]:
            best = (after - before, Anchor((before + after) // 2, now))
    assert best is not None
    return best[1]


class RoundTrip(NamedTuple):
    """A question of the root's to a process, and its answer; times on ``perf_counter_ns`` of where they are.

    Attributes:
        sent: on the root, when the question left.
        received: on the process, when it came.
        replied: on the process, when the answer left.
        returned: on the root, when that came.
    """

    sent: int
    received: int
    replied: int
    returned: int

    @property
    def under_way_ns(self) -> int:
        """How long question and answer took together, without the time between them."""
        return (self.returned - self.sent) - (self.replied - self.received)


class Sync(NamedTuple):
    """Where a process's clock stood against the root's at a moment.

    Attributes:
        perf_counter_ns: the moment, on the process's clock.
        offset_ns: to be added to that clock to have the root's ``perf_counter_ns``.
        uncertainty_ns: how far off the offset may be, either way.
        root_time_ns: since the epoch, by the root's time of day, at that moment.
    """

    perf_counter_ns: int
    offset_ns: int
    uncertainty_ns: int
    root_time_ns: int


def offset_of(trips: Iterable[RoundTrip]) -> tuple[int, int, int]:
    """The offset of a process's clock, by the quickest of several round trips.

    Question and answer are taken to be under way for equally long, as in NTP (RFC 5905, section 8). In truth
    one of them may have taken all of the time, so half of it is the uncertainty.

    Returns:
        What to add to the process's clock to have the root's, its uncertainty, and the moment on the
        process's clock; all in ns.

    Example:
        >>> offset_of([RoundTrip(1000, 50, 60, 1110), RoundTrip(2000, 1030, 1040, 2050)])
        (990, 20, 1035)
    """
    best = min(trips, key=lambda trip: trip.under_way_ns)
    offset = ((best.sent - best.received) + (best.returned - best.replied)) // 2
    return offset, max(0, -(-best.under_way_ns // 2)), (best.received + best.replied) // 2


class Straight:
    """From one clock to another, through moments that are known on both; straight between them and beyond.

    In integers, and monotone: what lies within something else stays within it.

    Args:
        points: pairs of ns on the first clock and on the second, at least one. Of those that are less than
            ``apart`` from the one before only that one is used: their errors would make a slope of their own.
            So it is with one that would lead backwards.
        apart: in ns.

    Example:
        >>> to_root = Straight([(0, 1000), (100, 1200)], apart=50)
        >>> to_root(50), to_root(200), Straight([(10, 25)])(0)
        (1100, 1400, 15)
    """

    def __init__(self, points: Iterable[tuple[int, int]], *, apart: int = APART_NS) -> None:
        known: list[tuple[int, int]] = []
        for x, y in sorted(points):
            if not known or (x - known[-1][0] >= apart and y >= known[-1][1]):
                known.append((x, y))
        self._starts = [x for x, _ in known[1:-1]]
        self._pieces = [
            (x, y, next_x - x, next_y - y) for (x, y), (next_x, next_y) in itertools.pairwise(known)
        ] or [(*known[0], 1, 1)]

    def __call__(self, at: int) -> int:
        x, y, run, rise = self._pieces[bisect_right(self._starts, at)]
        return y + (at - x) * rise // run


def without_steps(points: Iterable[tuple[int, int]], *, most: float = 1e-3) -> list[tuple[int, int]]:
    """Moments on a steady clock and by the time of day, as if nobody had set that.

    Args:
        points: pairs of ns.
        most: how much the rates of the two may differ; more between two moments, and 10 ms, is a step.

    Example:
        >>> without_steps([(0, 0), (10**9, 10**9 + 50_000), (2 * 10**9, 9 * 10**9)])
        [(0, 0), (1000000000, 1000050000), (2000000000, 2000050000)]
    """
    known: list[tuple[int, int]] = []
    step = 0
    for x, y in sorted(points):
        if known:
            run, rise = x - known[-1][0], y - step - known[-1][1]
            if abs(rise - run) > most * run + 10_000_000:
                step += rise - run
        known.append((x, y - step))
    return known
