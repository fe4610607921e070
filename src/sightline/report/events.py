"""The stalls that the events of a journal tell of."""

from __future__ import annotations

import numpy as np

from sightline.history import History
from sightline.host_health import Stall, Stalls


def stalls(history: History) -> list[Stall]:
    """The stalls of a run, from first to last; the last one may go on."""
    reader = Stalls()
    commits = np.sort(history.rows()[1])
    runs = [run for run in history.runs if "started" in run]
    seen = 0
    for event in history.events:
        time = event.get("time")
        if time is None:
            continue
        while runs and runs[0]["started"] <= time:
            reader.add(runs.pop(0))
        before, seen = seen, max(seen, int(np.searchsorted(commits, time)))
        if seen > before:
            reader.add({"type": "commit"})
        reader.add(event)
    for run in runs:
        reader.add(run)
    return reader.found
