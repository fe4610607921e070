"""What went wrong and when, from everywhere, on one axis of time."""

from __future__ import annotations

import bisect
import itertools
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sightline.history import History
from sightline.host_health import Place, Stall
from sightline.report.events import stalls
from sightline.report.log_lines import LogLines

_MOST = 3000
_TEXT = 4000
_TOLD = 4  # processes of a stall that have a row of their own


class Problem(NamedTuple):
    """One of them, or several alike in a row.

    Attributes:
        time: seconds since the epoch.
        kind: ``attempt``, ``end``, ``error``, ``warning``, ``non-finite``, ``missing``, ``stall``,
            ``silent``, ``resumed``, ``late``.
        step: where; None if that is unknown.
        process: whose; None for all, or none.
        text: what.
        times: how many are meant.
        more: a traceback, or stacks.
        until: when it was over, if it lasted; as ``time``.
    """

    time: float
    kind: str
    step: int | None
    process: int | None
    text: str
    times: int = 1
    more: str = ""
    until: float | None = None


def problems(history: History, logs: LogLines) -> list[Problem]:
    """All of them by time; of too many the first and the last, but each kind has its share."""
    found = sorted(
        [*_attempts(history), *_events(history), *_stalls(history), *_missing(history), *_nonfinite(history),
         *_late(history), *_logged(logs)],
        key=lambda each: each.time,
    )  # fmt: skip
    if len(found) <= _MOST:
        return found
    by_kind: defaultdict[str, list[Problem]] = defaultdict(list)
    for each in found:
        by_kind[each.kind].append(each)
    half = _MOST // len(by_kind) // 2
    ends = (of if len(of) <= 2 * half else of[:half] + of[-half:] for of in by_kind.values())
    return sorted(itertools.chain.from_iterable(ends), key=lambda each: each.time)


def _attempts(history: History) -> Iterator[Problem]:
    for run in history.runs:
        attempt = run.get("attempt")
        first = next((each.first_step for each in history.starts if each.attempt == attempt), None)
        text = f"attempt {attempt} begins, {run.get('processes', 1)} processes"
        yield Problem(_time(run.get("started")), "attempt", first, None, text)


def _events(history: History) -> Iterator[Problem]:
    for event in history.events:
        name, at, step = event.get("event"), event.get("time", 0.0), event.get("step")
        if name == "finish":
            missing = event.get("missing")
            more = f"; without the end of {_named(missing)}" if missing else ""
            yield Problem(at, "end", None, None, f"attempt {event.get('attempt')} ends{more}")
        elif name == "failed":
            yield Problem(at, "error", step, None, f"the run ended by an exception: {event.get('error')}")
        elif name == "silent":
            processes = event.get("processes", [])
            text = f"{_named(processes)} cannot say where: dead, stopped, cut off, or in C code"
            yield Problem(at, "silent", step, _only(processes), text)
        elif name == "resumed":
            missing = event.get("missing")
            without = f", without {_named(missing)}" if missing else ""
            text = f"going on after {event.get('seconds', 0.0):.0f} s: step {step} is complete{without}"
            yield Problem(at, "resumed", step, None, text)
        elif name == "nonfinite":
            processes = event.get("processes", [])
            where = f"on {_named(processes)}" if processes else "on unknown processes"
            site = f", recorded at {event['site']}" if event.get("site") else ""
            text = f"{event.get('key')}: first non-finite value, {where}{site}"
            yield Problem(at, "non-finite", step, None, text)


def _stalls(history: History) -> Iterator[Problem]:
    """Of each stall, where those were whom it was about; what the others said stands below."""
    for stall in stalls(history):
        said = [stall.places[process] for process in stall.suspects if process in stall.places]
        said = said or list(stall.places.values())
        rest = [place for place in stall.places.values() if place not in said[:_TOLD]]
        more = "\n\n".join(f"{_told(place, stall)}\n{place.stack}".rstrip() for place in [*said, *rest])
        if not said:
            waits = f"waits for {_named(stall.waiting_for)}" if stall.waiting_for else "does not come"
            text = f"{'the next step' if stall.step is None else f'step {stall.step}'} {waits}"
            yield Problem(stall.begin, "stall", stall.step, _only(stall.waiting_for), text, until=stall.end)
        for place in said[:_TOLD]:
            yield Problem(
                stall.begin, "stall", stall.step, place.process, _told(place, stall), more=more[:_TEXT],
                until=stall.end,
            )  # fmt: skip


def _told(place: Place, stall: Stall) -> str:
    """Where a process was, in the past if that is over."""
    if stall.end is None:
        return place.told()
    told = place.told(now=stall.end)
    return told.replace(" has been in ", " was in ", 1).replace(" has not ", " had not ", 1)


def _named(processes: Sequence[int]) -> str:
    shown = ", ".join(map(str, processes[:16])) + (" …" if len(processes) > 16 else "")
    return f"process{'es' if len(processes) != 1 else ''} {shown}"


def _only(processes: Sequence[int]) -> int | None:
    return processes[0] if len(processes) == 1 else None


def _missing(history: History) -> Iterator[Problem]:
    for processes, group in itertools.groupby(history.missing, key=lambda each: tuple(each.processes)):
        same = list(group)
        last = f" to {same[-1].step}" if len(same) > 1 else ""
        yield Problem(
            same[0].time, "missing", same[0].step, _only(processes),
            f"{_named(processes)} missing in step {same[0].step}{last}", len(same),
        )  # fmt: skip


def _nonfinite(history: History) -> Iterator[Problem]:
    steps, times, _ = history.rows()
    when = dict(zip(steps.tolist(), times.tolist(), strict=True)) if history.nonfinite else {}
    in_order = sorted(when)
    found: dict[tuple[str, str], list[int]] = {}
    for step, key, kind in history.nonfinite:
        found.setdefault((key, kind), []).append(step)
    for (key, kind), at in found.items():
        spans: list[list[int]] = []
        for step in at:
            if spans and _follows(in_order, spans[-1][-1], step):
                spans[-1].append(step)
            else:
                spans.append([step])
        for span in spans:
            where = f"step {span[0]}" if len(span) == 1 else f"steps {span[0]} to {span[-1]}"
            text = f"{key} is {kind} in {where}"
            yield Problem(when[span[0]], "non-finite", span[0], None, text, len(span))


def _follows(steps: list[int], before: int, step: int) -> bool:
    """Whether no other step lies between two."""
    return bisect.bisect_left(steps, step) - bisect.bisect_left(steps, before) <= 1


def _late(history: History) -> Iterator[Problem]:
    for late in history.late:
        process = late.get("process")
        text = f"a snapshot of step {late.get('step')} came after the step was closed"
        yield Problem(_time(late.get("time")), "late", late.get("step"), process, text)


def _logged(logs: LogLines) -> Iterator[Problem]:
    for line in logs.lines:
        said = line.record
        kind = "warning" if line.level < logging.ERROR else "error"
        more = "\n".join(str(said[name]) for name in ("exception", "stack") if said.get(name))
        step = said.get("step") if type(said.get("step")) is int else None
        text = f"{said.get('logger', '')}: {said.get('message', '')}"[:_TEXT]
        yield Problem(line.time_ns / 1e9, kind, step, line.process, text, more=more[:_TEXT])


def _time(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
