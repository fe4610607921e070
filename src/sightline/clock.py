"""Clocks: where a process's own clock stands against the time of day, and against the root's."""

from __future__ import annotations

import time
from typing import NamedTuple

_TRIES = 5


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
