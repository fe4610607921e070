"""What XLA did on the devices, from profiles of JAX's profiler, on the same timeline as the spans.

A profile says when it began, by its host's time of day; the process's anchors say when that was on its clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sightline.support.clock import Straight, without_steps
from sightline.timeline.clocks import ProcessClock
from sightline.timeline.events import Event, Span, Thread
from sightline.timeline.timed import Timed

CATEGORY = "xla"
_FIRST_TID = 50_000  # those below are the tracer's
_FOLDER = re.compile(r"p(\d+)\.a(\d+)\.s\d+")
_STARTED = "profile_start_time"  # of the plane "Task Environment", in ns since the epoch


class _Took(NamedTuple):
    name: str
    start: int
    end: int


def xla_events(timeline: Timed) -> Iterator[tuple[int, Event]]:
    """The events of all profiles in a timeline's run directories, each with the place of its process.

    On accelerators those of the devices; on the CPU back end those of XLA's threads. Reading them needs JAX.
    """
    places = {(trace.run, trace.attempt, trace.process): i for i, trace in enumerate(timeline.traces)}
    runs = {trace.run_dir: trace.run for trace in timeline.traces}
    tids: dict[tuple[int, str], int] = {}
    for run_dir, run in runs.items():
        for path in sorted(run_dir.glob("profiles/*/**/*.xplane.pb")):
            folder = _FOLDER.fullmatch(path.relative_to(run_dir / "profiles").parts[0])
            place = places.get((run, int(folder[2]), int(folder[1]))) if folder else None
            if place is None:
                timeline.report.problems.append(f"{path}: of no process whose trace is here; left out")
                continue
            try:
                yield from _events(path, place, timeline, tids)
            except Exception as error:  # noqa: BLE001 - no JAX, or a file that is damaged
                timeline.report.problems.append(f"{path}: cannot be read: {error}; left out")


def _events(
    path: Path, place: int, timeline: Timed, tids: dict[tuple[int, str], int]
) -> Iterator[tuple[int, Event]]:
    from jax.profiler import ProfileData

    planes = list(ProfileData.from_file(str(path)).planes)
    started = next((int(value) for plane in planes for name, value in plane.stats if name == _STARTED), None)
    if started is None:
        raise ValueError("it does not say when it began")
    trace, clock = timeline.traces[place], timeline.clocks[place]
    to_clock = Straight(
        (at, own) for own, at in without_steps((a.perf_counter_ns, a.time_ns) for a in trace.anchors)
    )
    for plane in planes:
        for line in plane.lines:
            if not (plane.name.startswith("/device:") or line.name.startswith("tf_XLA")):
                continue  # of the host, our own spans among them
            took = _of_line(line, started, to_clock, clock)
            if not took:
                continue
            name = (
                f"{plane.name.removeprefix('/device:')} {line.name}" if "device" in plane.name else line.name
            )
            tid = tids.get((place, name))
            if tid is None:
                tid = tids[place, name] = _FIRST_TID + sum(each == place for each, _ in tids)
                yield place, Thread(tid, name)
            timeline.report.events["device events"] += len(took)
            for span in _nested(took):
                yield place, Span(span.name, span.start, span.end, tid, None, CATEGORY, {})


def _of_line(line: Any, started: int, to_clock: Straight, clock: ProcessClock) -> list[_Took]:
    """Its events that took their time, on the timeline, the outer ones first."""
    found = []
    for event in line.events:
        if event.duration_ns > 0:
            start = started + round(event.start_ns)
            end = start + round(event.duration_ns)
            found.append(_Took(event.name, clock.of(to_clock(start)), clock.of(to_clock(end))))
    return sorted(found, key=lambda each: (each.start, -each.end))


def _nested(spans: Iterable[_Took]) -> Iterator[_Took]:
    """Cut where they would reach out of what they began in, by which a viewer would drop them."""
    around: list[int] = []
    for span in spans:
        while around and around[-1] <= span.start:
            around.pop()
        end = min([span.end, *around[-1:]])
        around.append(end)
        yield span._replace(end=end)
