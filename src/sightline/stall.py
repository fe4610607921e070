"""Notices that something regular has not come for long, and says where the threads are."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import deque

_FACTOR = 5.0
_AT_LEAST_S = 10.0
_ENOUGH = 5  # intervals, before their median means something


class StallWatch:
    """Overdue after five times the median interval between beats, and 10 s at least; says so once a stall.

    Example:
        >>> watch = StallWatch()
        >>> for second in range(10):
        ...     watch.beat(now=second)
        >>> watch.overdue(now=15), watch.overdue(now=20), watch.overdue(now=21)
        (False, True, False)
    """

    def __init__(self) -> None:
        self._intervals: deque[float] = deque(maxlen=64)
        self._last: float | None = None
        self._said = False

    def beat(self, *, now: float) -> None:
        if self._last is not None:
            self._intervals.append(now - self._last)
        self._last = now
        self._said = False

    def overdue(self, *, now: float) -> bool:
        limit = self._limit()
        if limit is None or self._last is None or self._said or now - self._last < limit:
            return False
        self._said = True
        return True

    def wait_s(self) -> float | None:
        """Seconds until it may be overdue; None if it cannot be."""
        limit = self._limit()
        if limit is None or self._last is None or self._said:
            return None
        return max(0.1, self._last + limit - time.monotonic())

    def _limit(self) -> float | None:
        if len(self._intervals) < _ENOUGH:
            return None
        return max(_FACTOR * sorted(self._intervals)[len(self._intervals) // 2], _AT_LEAST_S)


def stacks() -> str:
    """The stacks of all threads but this one, the main thread's last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    main = threading.main_thread().ident
    frames = {
        ident: frame for ident, frame in sys._current_frames().items() if ident != threading.get_ident()
    }
    ordered = sorted(frames.items(), key=lambda item: item[0] == main)
    return "\n".join(
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in ordered
    )
