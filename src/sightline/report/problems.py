"""What went wrong and when, from everywhere, on one axis of time; each thing once.

Log lines in which sightline itself tells what an event of the journal tells are left out, or lie in its row.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sightline.report.log_lines import LogLines, Said, fair_share
from sightline.runs.host_health import Place, Stall
from sightline.support.wording import counted, duration, ended_silently, processes
from sightline.views.history import History
from sightline.views.troubles import absences, stalls, unended

_MOST = 3000
_TEXT = 4000
_STACKS = 40_000  # characters of a stall's
_TOLD = 4  # processes of a stall whose places stand in its row
_LATER_S = 5.0  # in which a stall that is over is still spoken of
_OF_STALLS = re.compile(
    r"no step has been complete for |no commit for .+ s, since step |going on after |open spans: "
    r"|process(es)? .+ (cannot say where|has been in |has not committed for )"
)
_OF_NONFINITE = re.compile(r"(.+) has non-finite values \(\d+\) at step ")


class Problem(NamedTuple):
    """One of them, or several alike in a row.

    Attributes:
        time: seconds since the epoch.
        kind: ``attempt``, ``end``, ``crash``, ``error``, ``warning``, ``non-finite``, ``missing``, ``stall``,
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


def problems(
    history: History, logs: LogLines, *, goes_on: bool = True
) -> tuple[list[Problem], dict[str, int]]:
    """All of them by time; of too many the first and the last, but each kind has its share.

    Args:
        history: of the run.
        logs: of its processes.
        goes_on: whether the last attempt may still be at work, so that it need not have said that it ends.

    Returns:
        the problems, and of each kind how many more there are, where there are.
    """
    stalled = stalls(history)
    said, repeated = _apart(history, logs.said, stalled)
    found = sorted(
        [*_attempts(history, goes_on), *_events(history, stalled), *_missing(history), *_nonfinite(history),
         *(_stall(stall, repeated.get(at, [])) for at, stall in enumerate(stalled)),
         *_late(history), *_logged(said)],
        key=lambda each: each.time,
    )  # fmt: skip
    left_out = dict(logs.skipped)
    if len(found) > _MOST:
        by_kind: defaultdict[str, list[Problem]] = defaultdict(list)
        for each in found:
            by_kind[each.kind].append(each)
        half = fair_share([len(of) for of in by_kind.values()], _MOST) // 2
        for kind, of in by_kind.items():
            if len(of) > 2 * half:
                by_kind[kind] = of[:half] + of[-half:]
                left_out[kind] = left_out.get(kind, 0) + sum(each.times for each in of[half:-half])
        found = sorted(itertools.chain.from_iterable(by_kind.values()), key=lambda each: each.time)
    return found, {kind: count for kind, count in left_out.items() if count}


def _apart(
    history: History, lines: Sequence[Said], stalled: Sequence[Stall]
) -> tuple[list[Said], dict[int, list[Said]]]:
    """What log lines say that is new, and what belongs to a stall, by its place."""
    keys = {repr(each.get("key")) for each in history.events if each.get("event") == "nonfinite"}
    new: list[Said] = []
    repeated: defaultdict[int, list[Said]] = defaultdict(list)
    for said in lines:
        message = said.line.record.get("message")
        if said.line.record.get("logger") != "sightline" or not isinstance(message, str):
            new.append(said)
        elif _OF_STALLS.match(message):
            place = _stall_at(stalled, said.line.time_ns / 1e9)
            (new if place is None else repeated[place]).append(said)
        elif (match := _OF_NONFINITE.match(message)) is None or match[1] not in keys:
            new.append(said)
    return new, repeated


def _stall_at(stalled: Sequence[Stall], time: float) -> int | None:
    """The latest one that a moment lies in."""
    return next(
        (
            at
            for at in range(len(stalled) - 1, -1, -1)
            if stalled[at].begin <= time <= (stalled[at].end or time) + _LATER_S
        ),
        None,
    )


def _attempts(history: History, goes_on: bool) -> Iterator[Problem]:
    cut_off = _cut_off(history, goes_on)
    starts = {each.attempt: each for each in history.starts}
    for run in history.runs:
        attempt = run.get("attempt", 1)
        text = f"attempt {attempt} begins, {counted(run.get('processes', 1), 'process', 'processes')}"
        start = starts.get(attempt)
        if start is not None and start.is_rewound and start.after is not None:
            again = counted(start.after - start.first_step + 1, "step")
            text += f", at step {start.first_step}: it goes over {again} again"
        first = None if start is None else start.first_step
        yield Problem(run.get("started", 0.0), "attempt", first, None, text)
        if attempt in cut_off:
            yield cut_off[attempt]


def _cut_off(history: History, goes_on: bool) -> dict[int, Problem]:
    """The attempts that no line ends, where they were heard of last; the page says when that was."""
    steps, _, attempts = history.rows()
    heard = {each.attempt: each.time for each in unended(history)}
    if history.runs and not goes_on:
        last, started = history.runs[-1].get("attempt", 1), history.runs[-1].get("started", 0.0)
        events = [each for each in history.events if each.get("attempt") == last]
        if not any(each.get("event") == "finish" for each in events):
            heard[last] = max(
                [started, history.last_time or 0.0, *(each.get("time", 0.0) for each in events)]
            )
    found = {}
    for attempt, time in heard.items():
        step = next(iter(steps[attempts == attempt][-1:].tolist()), None)
        found[attempt] = Problem(time, "crash", step, None, ended_silently(attempt, None))
    return found


def _events(history: History, stalled: Sequence[Stall]) -> Iterator[Problem]:
    for event in history.events:
        name, at, step = event.get("event"), event.get("time", 0.0), event.get("step")
        who = event.get("missing") or []
        if name == "finish":
            more = f"; without the end of {processes(who)}" if who else ""
            yield Problem(at, "end", None, None, f"attempt {event.get('attempt')} ends{more}")
        elif name == "failed":
            yield Problem(at, "error", step, None, f"the run ended by an exception: {event.get('error')}")
        elif name == "silent" and _stall_at(stalled, at) is None:
            who = event.get("processes") or []
            text = f"{processes(who)} cannot say where: dead, stopped, cut off, or in C code"
            yield Problem(at, "silent", step, _only(who), text)
        elif name == "resumed" and _stall_at(stalled, at) is None:
            without = f", without {processes(who)}" if who else ""
            text = f"going on after {event.get('seconds', 0.0):.0f} s: step {step} is complete{without}"
            yield Problem(at, "resumed", step, None, text)


def _stall(stall: Stall, lines: Sequence[Said]) -> Problem:
    """A stall and all that was said of it: who was waited for, where they were, with their stacks."""
    what = "the next step" if stall.step is None else f"step {stall.step}"
    took = "" if stall.seconds is None else f" {duration(stall.seconds)}"
    if stall.waiting_for:
        text = f"{what} {'waited' if took else 'waits'}{took} for {processes(stall.waiting_for)}"
    else:
        text = f"{what} did not come for{took}" if took else f"{what} does not come"
    named = [stall.places[process] for process in stall.suspects if process in stall.places]
    places = [*named, *(place for place in stall.places.values() if place not in named)]
    told = [_told(place, stall) for place in (named or places)[:_TOLD]]
    if len(named or places) > _TOLD:
        told.append(f"{len(named or places) - _TOLD} more say where")
    if stall.silent:
        told.append(f"{processes(stall.silent)} {'could not' if took else 'cannot'} say where")
    if stall.missing:
        told.append(f"it went on without {processes(stall.missing)}")
    # Of all threads; the journal has the main thread's.
    stacks = {
        process: said.line.record["message"]
        for said in lines
        if "threads are at" in said.line.record["message"]
        for process in sorted(said.processes)
    }
    more = [f"{_told(place, stall)}\n{stacks.pop(place.process, place.stack)}".rstrip() for place in places]
    more += [f"process {process}: {message}" for process, message in sorted(stacks.items())]
    return Problem(
        stall.begin, "stall", stall.step, _only(stall.suspects or stall.waiting_for),
        f"{text}: {'; '.join(told)}" if told else text, more="\n\n".join(more)[:_STACKS], until=stall.end,
    )  # fmt: skip


def _told(place: Place, stall: Stall) -> str:
    """Where a process was, in the past if that is over."""
    if stall.end is None:
        return place.told()
    told = place.told(now=stall.end)
    return told.replace(" has been in ", " was in ", 1).replace(" has not ", " had not ", 1)


def _only(which: Sequence[int]) -> int | None:
    return which[0] if len(which) == 1 else None


def _missing(history: History) -> Iterator[Problem]:
    """Those that came back, as far as is known, and those that did not, until the end of what is known."""
    away = absences(history)
    out = {(each.step, process) for each in away for process in each.processes}
    for each in away:
        yield Problem(
            each.time or history.last_time or 0.0, "missing", each.step,
            _only(each.processes), each.text, until=None if each.time is None else history.last_time,
        )  # fmt: skip
    lately = (
        (each, tuple(process for process in each.processes if (each.step, process) not in out))
        for each in history.missing
    )
    for who, group in itertools.groupby(lately, key=lambda each: each[1]):
        same = [each for each, _ in group]
        if not who:
            continue
        last = f" to {same[-1].step}" if len(same) > 1 else ""
        yield Problem(
            same[0].time, "missing", same[0].step, _only(who),
            f"{processes(who)} missing in step {same[0].step}{last}", len(same),
        )  # fmt: skip


def _nonfinite(history: History) -> Iterator[Problem]:
    """Steps in a row as one, with where the first of them comes from."""
    events: defaultdict[tuple[Any, Any], list[dict[str, Any]]] = defaultdict(list)
    for event in history.events:
        if event.get("event") == "nonfinite":
            events[str(event.get("key")), event.get("step")].append(event)
    for key, kind, span in _spans(history):
        of = next((each for step, _ in span if (each := events.get((key, step)))), None)
        first = of.pop(0) if of else {}
        where = f"step {span[0][0]}" if len(span) == 1 else f"steps {span[0][0]} to {span[-1][0]}"
        text = f"{key} is {kind} in {where}{_source(first, 'first ' if len(span) > 1 else '')}"
        who = first.get("processes") or []
        yield Problem(span[0][1], "non-finite", span[0][0], _only(who), text, len(span))
    for (key, step), rest in events.items():  # what the values of commits do not show
        for event in rest:
            text = f"{key}: first non-finite value{_source(event)}"
            yield Problem(event.get("time", 0.0), "non-finite", step, None, text)


def _source(event: dict[str, Any], first: str = "") -> str:
    """Where a value that is not finite comes from, as far as its event knows."""
    who = event.get("processes")
    return (f", {first}on {processes(who)}" if who else "") + (
        f", recorded at {event['site']}" if event.get("site") else ""
    )


def _spans(history: History) -> Iterator[tuple[str, str, list[tuple[int, float]]]]:
    """Of each key and kind the steps in a row, each with its time; other attempts have rows of their own."""
    steps, times, _ = history.rows()
    row = 0
    found: dict[tuple[str, str], list[list[tuple[int, int]]]] = {}  # step and row
    for step, key, kind in history.nonfinite:  # in the order of the rows
        spans = found.setdefault((key, kind), [])
        before, at = spans[-1][-1] if spans else (step, -1)
        row = max(row, at + 1)  # a commit has a key once
        while steps[row] != step:
            row += 1
        between = steps[at + 1 : row]
        if not spans or before > step or not ((between == before) | (between == step)).all():
            spans.append([(step, row)])
        elif before == step:  # which was committed again
            spans[-1][-1] = (step, row)
        else:
            spans[-1].append((step, row))
    for (key, kind), spans in found.items():
        for span in spans:
            yield key, kind, [(step, float(times[row])) for step, row in span]


def _late(history: History) -> Iterator[Problem]:
    for late in history.late:
        text = f"a snapshot of step {late.get('step')} came after the step was closed"
        yield Problem(late.get("time", 0.0), "late", late.get("step"), late.get("process"), text)


def _logged(lines: Sequence[Said]) -> Iterator[Problem]:
    for said in lines:
        line, record = said.line, said.line.record
        kind = "warning" if line.level < logging.ERROR else "error"
        more = [str(record[name]) for name in ("exception", "stack") if record.get(name)]
        step = record.get("step") if type(record.get("step")) is int else None
        if said.times > 1:
            until = "" if said.last_step in (None, step) else f", until step {said.last_step}"
            more.insert(0, f"{said.times:,} times by {processes(sorted(said.processes))}{until}")
        text = f"{record.get('logger', '')}: {record.get('message', '')}"[:_TEXT]
        lasted = said.times > 1 and said.last_ns > line.time_ns
        yield Problem(
            line.time_ns / 1e9, kind, step, _only(sorted(said.processes)), text, said.times,
            "\n".join(more)[:_TEXT], said.last_ns / 1e9 if lasted else None,
        )  # fmt: skip
