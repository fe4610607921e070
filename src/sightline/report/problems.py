"""What went wrong and when, from everywhere, on one axis of time."""

from __future__ import annotations

import bisect
import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from sightline.history import History
from sightline.report.log_lines import LogLines

_MOST = 3000
_TEXT = 4000


class Problem(NamedTuple):
    """One of them, or several alike in a row.

    Attributes:
        time: seconds since the epoch.
        kind: ``attempt``, ``end``, ``error``, ``warning``, ``non-finite``, ``missing``, ``stall``, ``late``.
        step: where; None if that is unknown.
        process: whose; None for all, or none.
        text: what.
        times: how many are meant.
        more: a traceback, or stacks.
    """

    time: float
    kind: str
    step: int | None
    process: int | None
    text: str
    times: int = 1
    more: str = ""


def problems(history: History, logs: LogLines) -> list[Problem]:
    """All of them by time; of too many the newest, but each kind has its share."""
    found = sorted(
        [*_attempts(history), *_events(history), *_missing(history), *_nonfinite(history), *_late(history),
         *_logged(logs)],
        key=lambda each: each.time,
    )  # fmt: skip
    if len(found) <= _MOST:
        return found
    by_kind: defaultdict[str, list[Problem]] = defaultdict(list)
    for each in found:
        by_kind[each.kind].append(each)
    share = _MOST // len(by_kind)
    return sorted(
        itertools.chain.from_iterable(of[-share:] for of in by_kind.values()), key=lambda each: each.time
    )


def _attempts(history: History) -> Iterator[Problem]:
    for run in history.runs:
        attempt = run.get("attempt")
        first = next((each.first_step for each in history.starts if each.attempt == attempt), None)
        text = f"attempt {attempt} begins, {run.get('processes', 1)} processes"
        yield Problem(_time(run.get("started")), "attempt", first, None, text)


def _events(history: History) -> Iterator[Problem]:
    for event in history.events:
        name, at = event.get("event"), _time(event.get("time"))
        step = event.get("step") if isinstance(event.get("step"), int) else None
        if name == "finish":
            missing = event.get("missing") or []
            more = f"; without the end of processes {', '.join(map(str, missing))}" if missing else ""
            yield Problem(at, "end", None, None, f"attempt {event.get('attempt')} ends{more}")
        elif name == "failed":
            yield Problem(at, "error", step, None, f"the run ended by an exception: {event.get('error')}")
        elif name == "stall":
            waits = ", ".join(map(str, (event.get("waiting_for") or [])[:16]))
            yield Problem(at, "stall", step, None, f"step {step} waits for processes {waits}")
        elif name == "stacks":
            process = event.get("process")
            stacks = str(event.get("stacks", ""))[:_TEXT]
            yield Problem(at, "stall", step, process, "one step has taken long", more=stacks)
        elif name == "nonfinite":
            where = ", ".join(map(str, event.get("processes") or []))
            site = f", recorded at {event['site']}" if event.get("site") else ""
            text = f"{event.get('key')}: first non-finite value, on processes {where or 'unknown'}{site}"
            yield Problem(at, "non-finite", step, None, text)


def _missing(history: History) -> Iterator[Problem]:
    for processes, group in itertools.groupby(history.missing, key=lambda each: tuple(each.processes)):
        same = list(group)
        shown = ", ".join(map(str, processes[:16])) + (" …" if len(processes) > 16 else "")
        until = f" to {same[-1].step}" if len(same) > 1 else ""
        yield Problem(
            same[0].time, "missing", same[0].step, processes[0] if len(processes) == 1 else None,
            f"processes {shown} missing in step {same[0].step}{until}", len(same),
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
        kind = "warning" if line.get("level") == "WARNING" else "error"
        more = "\n".join(str(line[name]) for name in ("exception", "stack") if line.get(name))
        step = line.get("step") if isinstance(line.get("step"), int) else None
        text = f"{line.get('logger', '')}: {line.get('message', '')}"[:_TEXT]
        yield Problem(line["time"], kind, step, line.get("process"), text, more=more[:_TEXT])


def _time(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
