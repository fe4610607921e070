"""The spans of a timeline as :mod:`sightline.analysis` takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sightline.analysis import StageSpan
from sightline.errors import RunDirectoryError
from sightline.timeline.events import Span
from sightline.timeline.merging import Timeline
from sightline.timeline.report import Report

LANES = 1 << 20  #: beyond this, the numbers of threads are those of lanes


def stage_spans(
    run_dirs: Sequence[Path], *, advance: Callable[[int], object] = lambda size: None
) -> tuple[list[StageSpan], Report]:
    """All spans of the last attempt of a run, and what could not be read of it.

    Args:
        run_dirs: of one run: of each of its hosts.
        advance: told how many bytes have been read, of twice the size of all files.

    Raises:
        RunDirectoryError: directories without traces, or of several runs.
    """
    timeline = Timeline(run_dirs, advance=advance)
    runs = sorted({trace.run_id for trace in timeline.traces})
    if len(runs) > 1:
        raise RunDirectoryError(
            f"directories of several runs ({', '.join(runs)}): `sightline trace diff` compares two"
        )
    last = max(trace.attempt for trace in timeline.traces)
    if timeline.report.attempts > 1:
        timeline.report.notes.append(f"attempt {last}, the last one, of {timeline.report.attempts}")
    spans: list[StageSpan] = []
    begins: dict[int, tuple[int, int]] = {}  # where arrows begin
    ends: list[tuple[int, int, int]] = []  # the span that an arrow ends in, which arrow, when
    for process, span in _spans(timeline, last, advance):
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
    return spans, timeline.report


def _spans(timeline: Timeline, attempt: int, advance: Callable[[int], object]) -> Iterator[tuple[int, Span]]:
    for i, event in timeline.events(advance):
        trace = timeline.traces[i]
        if isinstance(event, Span) and trace.attempt == attempt:
            yield trace.process, event
