"""Notices that something regular has not come for long."""

from __future__ import annotations

import time
from collections import deque

_FACTOR = 5.0
_AT_LEAST_S = 10.0
_ENOUGH = 5  # intervals, before their median means something


class StallWatch:
    """Overdue after five times the median interval between beats, and 10 s at least.

    Says so at that moment, and again each time that the wait has become twice as long.

    Example:
        >>> watch = StallWatch()
        >>> for second in range(10):
        ...     watch.beat(now=second)
        >>> [now for now in range(60) if watch.overdue(now=now)]
        [19, 29, 49]
    """

    def __init__(self) -> None:
        self._intervals: deque[float] = deque(maxlen=64)
        self._last: float | None = None
        self._times = 1

    def beat(self, *, now: float) -> None:
        if self._last is not None:
            self._intervals.append(now - self._last)
        self._last = now
        self._times = 1

    def overdue(self, *, now: float) -> bool:
        limit = self._limit()
        if limit is None or self._last is None or now - self._last < limit * self._times:
            return False
        while now - self._last >= limit * self._times:
            self._times *= 2
        return True

    def wait_s(self) -> float | None:
        """Seconds until it may be overdue; None if it cannot be."""
        limit = self._limit()
        if limit is None or self._last is None:
            return None
        return max(0.1, self._last + limit * self._times - time.monotonic())

    def since_s(self, *, now: float) -> float:
        """Seconds since the last beat; 0 before the first."""
        return 0.0 if self._last is None else now - self._last

    def _limit(self) -> float | None:
        if len(self._intervals) < _ENOUGH:
            return None
        return max(_FACTOR * sorted(self._intervals)[len(self._intervals) // 2], _AT_LEAST_S)
