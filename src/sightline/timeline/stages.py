"""The spans and sessions of one run, as they are analysed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sightline.analysis import StageSpan
from sightline.errors import RunDirectoryError
from sightline.session_files import SessionRecord
from sightline.timeline.events import Span
from sightline.timeline.merging import Timeline
from sightline.timeline.sessions import records_of

LANES = 1 << 20  #: beyond this, the numbers of threads are those of lanes


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
    begins: dict[int, tuple[int, int]] = {}  # where arrows begin
    ends: list[tuple[int, int, int]] = []  # the span that an arrow ends in, which arrow, when
    for process, span in _spans(timeline, last_attempt(timeline), advance):
        for flow in span.flows:
            if flow.is_out:
                begins[flow.id] = process, flow.at
            else:
                ends.append((len(spans), flow.id, flow.at))
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
    for place, flow_id, _ in ends:  # of several arrows into a span the last to begin is what it waited for
        source = begins.get(flow_id)
        known = spans[place].waits_for
        if source is not None and (known is None or source[1] > known[1]):
            spans[place] = spans[place]._replace(waits_for=source)
    return spans


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
