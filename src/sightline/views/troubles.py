"""What befell the processes of a run, by its journal: who dropped out, when no step came, which
attempts were killed. For views.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sightline.runs.host_health import Stall, Stalls
from sightline.support.wording import counted, ended_silently, processes
from sightline.views.history import History


class Absence(NamedTuple):
    """Processes that a run goes on without.

    Attributes:
        processes: which; none where the journal, as far as it was read, does not name them.
        step: from which on; None where that is unknown.
        time: of that step's commit, s since the epoch; None where that is unknown.
        text: in a sentence.
    """

    processes: list[int]
    step: int | None
    time: float | None
    text: str


def absences(history: History) -> list[Absence]:
    """Who has dropped out of the last attempt, so that metrics are of the others; the first ones first."""
    if history.reported is None or history.reported[0] >= history.reported[1]:
        return []
    reported, expected = history.reported
    rest = f"metrics are of {reported:,} of {counted(expected, 'process', 'processes')}"
    if not history.out:  # it has lost them before what was read of it, or they are behind
        return [Absence([], None, None, rest)]
    since: dict[int, list[int]] = {}
    for process, step in history.out.items():
        since.setdefault(step, []).append(process)
    times = {each.step: each.time for each in history.missing}
    found = []
    for step, who in sorted(since.items()):
        text = f"{processes(who)} {'is' if len(who) == 1 else 'are'} out since step {step}"
        found.append(Absence(sorted(who), step, times.get(step), text))
    return [*found[:-1], found[-1]._replace(text=f"{found[-1].text}: {rest}")]


def stalls(history: History) -> list[Stall]:
    """The stalls of a run, from first to last; the last one may go on."""
    if not any(event.get("event") == "stall" for event in history.events):
        return []
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


class Unended(NamedTuple):
    """An attempt that was killed, or its machine.

    Attributes:
        attempt: which.
        time: when its journal got its last line, s since the epoch.
        text: in a sentence.
    """

    attempt: int
    time: float
    text: str


def unended(history: History) -> list[Unended]:
    """The attempts before the last one whose end no line tells; the first ones first."""
    _, times, attempts = history.rows()
    heard: dict[int, float] = {run.get("attempt", 1): run.get("started", 0.0) for run in history.runs}
    for attempt in heard:
        heard[attempt] = max([heard[attempt], *times[attempts == attempt][-1:].tolist()])
    ended = set()
    for event in history.events:
        attempt = event.get("attempt", 1)
        heard[attempt] = max(heard.get(attempt, 0.0), event.get("time", 0.0))
        if event.get("event") == "finish":
            ended.add(attempt)
    last = max(heard, default=0)
    return [
        Unended(attempt, time, ended_silently(attempt, time))
        for attempt, time in sorted(heard.items())
        if attempt < last and attempt not in ended
    ]
