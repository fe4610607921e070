"""The events of a journal, without what is not of its type; and the stalls that they tell of."""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline.history import History
from sightline.host_health import Stall, Stalls

_NUMBERS = frozenset(("time", "seconds", "span_s", "waited_s", "started"))
_INTS = frozenset(("attempt", "step", "process", "start", "total"))
_LISTS = frozenset(("waiting_for", "processes", "missing"))  # of processes
_LONGEST = 1e11  # s since the epoch: the year 5138


def events(history: History) -> list[dict[str, Any]]:
    """All that are kept, in the journal's order, without fields that have another type than they should."""
    return [_sane(each) for each in history.events]


def stalls(history: History) -> list[Stall]:
    """The stalls of a run, from first to last; the last one may go on."""
    reader = Stalls()
    commits = np.sort(history.rows()[1])
    runs = [{**_sane(each), "type": "run"} for each in history.runs]
    runs = [each for each in runs if "started" in each]
    seen = 0
    for event in events(history):
        time = event.get("time")
        if time is None:
            continue
        while runs and runs[0]["started"] <= time:
            reader.add(runs.pop(0))
        before, seen = seen, max(seen, int(np.searchsorted(commits, time)))
        if seen > before:
            reader.add({"type": "commit"})
        reader.add({**event, "type": "event"})
    for run in runs:
        reader.add(run)
    return reader.found


def _sane(record: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in record.items():
        if name in _NUMBERS:
            if type(value) in (int, float) and abs(value) < _LONGEST:
                found[name] = float(value)
        elif name in _INTS:
            if type(value) is int:
                found[name] = value
        elif name in _LISTS:
            found[name] = [each for each in value if type(each) is int] if isinstance(value, list) else []
        else:
            found[name] = value
    return found
