"""How long a run has run: the time of its attempts together, without the pauses between them. For views."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sightline.history import History


class RunClock:
    """Seconds that a run had run for at some moments: without the pauses between its attempts.

    Args:
        history: of the run, read from its beginning.

    Attributes:
        total: at the last commit, in s; 0 before it.

    Example:
        >>> import sightline as sl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with sl.start(folder, sinks=[]) as run:
        ...         run.commit(0)
        ...     history = History(run.dir)
        ...     _ = history.update()
        >>> clock = RunClock(history)
        >>> bool(clock.total == clock(np.array([history.last_time]))[0])
        True
    """

    def __init__(self, history: History) -> None:
        _, times, attempts = history.rows()
        started = {
            int(run.get("attempt") or 1): float(run["started"]) for run in history.runs if "started" in run
        }
        first = float(times[0]) if len(times) else 0.0
        self._begin = min([*started.values(), first])
        self._resumed: list[float] = []
        self._pauses: list[float] = []
        for attempt, moment in sorted(started.items()):
            before = times[attempts < attempt]
            if len(before):
                self._resumed.append(moment)
                self._pauses.append(max(0.0, moment - float(before.max())))
        self.total = float(self(times)[-1]) if len(times) else 0.0

    def __call__(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        passed = times - self._begin
        for resumed, pause in zip(self._resumed, self._pauses, strict=True):
            passed = passed - pause * (times >= resumed)
        # Where the clock of the machine was put back, what comes later is not earlier.
        return np.maximum.accumulate(passed) if len(passed) else passed
