"""How long a run has run: the time of its attempts together, without the pauses between them. For views."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sightline.views.history import History


class RunClock:
    """Seconds that a run had run for at some moments: without the pauses between its attempts.

    Args:
        history: of the run, read from its beginning.

    Attributes:
        total: at the last commit, in s; 0 before it.
        wall: at its end, in s: when the last attempt said so, or else when it was heard of last. 0 before a
            commit.
        end: when that was, seconds since the epoch; None before a commit.

    Example:
        >>> import sightline as sl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with sl.start(folder, sinks=[]) as run:
        ...         run.commit(0)
        ...     history = History(run.dir)
        ...     _ = history.update()
        >>> clock = RunClock(history)
        >>> bool(clock.total == clock(np.array([history.last_time]))[0] < clock.wall)
        True
    """

    def __init__(self, history: History) -> None:
        _, times, attempts = history.rows()
        runs = history.runs[1:] if history.begins_at else history.runs  # what was before is not known
        started = {int(run.get("attempt") or 1): float(run["started"]) for run in runs if "started" in run}
        first = float(times[0]) if len(times) else 0.0
        self._begin = min([*started.values(), first])
        ends = _ends(history, times, attempts, started)
        self._resumed: list[float] = []
        self._pauses: list[float] = []
        for attempt, moment in sorted(started.items()):
            before = [end for which, end in ends.items() if which < attempt]
            if before:
                self._resumed.append(moment)
                self._pauses.append(max(0.0, moment - max(before)))
        self.total = float(self(times)[-1]) if len(times) else 0.0
        self.end = max(ends.values()) if len(times) else None
        self.wall = float(self(np.array([*times, self.end]))[-1]) if self.end is not None else 0.0

    def __call__(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        passed = times - self._begin
        for resumed, pause in zip(self._resumed, self._pauses, strict=True):
            passed = passed - pause * (times >= resumed)
        # Where the clock of the machine was put back, what comes later is not earlier.
        return np.maximum.accumulate(passed) if len(passed) else passed


def _ends(
    history: History, times: NDArray[np.float64], attempts: NDArray[np.int64], started: dict[int, float]
) -> dict[int, float]:
    """When each attempt was heard of last, by its commits and events, before the next one began."""
    ends: dict[int, float] = {}
    for attempt in np.unique(attempts).tolist():
        ends[attempt] = float(times[attempts == attempt].max())
    for event in history.events:
        attempt, time = event.get("attempt"), event.get("time")
        if attempt in ends and isinstance(time, (int, float)):
            ends[attempt] = max(ends[attempt], float(time))
    for attempt, end in ends.items():
        ends[attempt] = min([end, *(moment for later, moment in started.items() if later > attempt)])
    return ends
