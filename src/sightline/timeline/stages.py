"""The spans and sessions of one run, as they are analysed."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from sightline.analysis.stage_kinds import STEP
from sightline.analysis.stage_pieces import Source, StageSpan
from sightline.errors import RunDirectoryError
from sightline.timeline.events import Span
from sightline.timeline.merging import Timeline
from sightline.timeline.sessions import records_of
from sightline.tracing.session_files import SessionRecord

LANES = 1 << 20  #: beyond this, the numbers of threads are those of lanes; itself that of a loop in lanes


def one_run(run_dirs: Sequence[Path], *, advance: Callable[[int], object] = lambda size: None) -> Timeline:
    """The timeline of one run, without what lies beside its trace files.

    Args:
        run_dirs: of one run: of each of its hosts.
        advance: told how many bytes have been read, of twice the size of all files.

    Raises:
        RunDirectoryError: directories without traces, or of several runs.
    """
    timeline = Timeline(run_dirs, advance=advance, sources=())
    runs = sorted({trace.run_id for trace in timeline.traces})
    if len(runs) > 1:
        raise RunDirectoryError(
            f"directories of several runs ({', '.join(runs)}): `sightline trace diff` compares two"
        )
    if timeline.report.attempts > 1:
        timeline.report.notes.append(
            f"attempt {last_attempt(timeline)}, the last one, of {timeline.report.attempts}"
        )
    return timeline


def last_attempt(timeline: Timeline) -> int:
    """The last attempt of a run, of which stages and sessions are told."""
    return max(trace.attempt for trace in timeline.traces)


def stage_spans(
    timeline: Timeline, *, advance: Callable[[int], object] = lambda size: None
) -> list[StageSpan]:
    """All spans of the last attempt of a run.

    Args:
        timeline: of one run.
        advance: as in :func:`one_run`.
    """
    spans: list[StageSpan] = []
    begins: dict[int, tuple[int, int]] = {}  # the span that an arrow begins in, when
    ends: list[tuple[int, int]] = []  # the span that an arrow ends in, which arrow
    for process, span in _spans(timeline, last_attempt(timeline), advance):
        for flow in span.flows:
            if flow.is_out:
                begins[flow.id] = len(spans), flow.at
            else:
                ends.append((len(spans), flow.id))
        step = span.args.get("step")
        tid = span.tid if span.lane is None else LANES + span.lane
        spans.append(
            StageSpan(
                process,
                tid,
                span.name,
                span.category,
                span.start,
                span.end,
                step if type(step) is int else None,
            )
        )
    _gather_loops(spans)
    for place, flow_id in ends:  # of several arrows into a span the last to begin is what it waited for
        if flow_id in begins:
            source, at = begins[flow_id]
            known = spans[place].waits_for
            if known is None or at > known.at:
                spans[place] = spans[place]._replace(
                    waits_for=Source(spans[source].process, spans[source].tid, at)
                )
    return spans


def _gather_loops(spans: list[StageSpan]) -> None:
    """Brings a loop that is an asyncio task together: each step is in the lane that was free."""
    steps: defaultdict[int, list[StageSpan]] = defaultdict(list)
    for span in spans:
        if span.tid >= LANES and span.category == STEP:
            steps[span.process].append(span)
    lanes: dict[tuple[int, int], list[StageSpan]] = {}  # the steps in each, in order
    for process, own in steps.items():
        own.sort(key=lambda span: span.start)
        if all(before.end <= after.start for before, after in pairwise(own)):  # else there are several loops
            for span in own:
                lanes.setdefault((process, span.tid), []).append(span)
    for i, span in enumerate(spans):
        own = lanes.get((span.process, span.tid), [])
        place = bisect_right(own, span.start, key=lambda step: step.start) - 1
        if place >= 0 and span.end <= own[place].end:
            spans[i] = span._replace(tid=LANES)


def sessions(timeline: Timeline) -> Iterator[SessionRecord]:
    """The sessions of the last attempt of a run: those that began in it."""
    attempt = last_attempt(timeline)
    for session in records_of(timeline):
        if session.parts[0].source.header.get("attempt") == attempt:
            yield session


def _spans(timeline: Timeline, attempt: int, advance: Callable[[int], object]) -> Iterator[tuple[int, Span]]:
    for i, event in timeline.events(advance):
        trace = timeline.traces[i]
        if isinstance(event, Span) and trace.attempt == attempt:
            yield trace.process, event
