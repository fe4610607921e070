"""Arrows of real runs lead from the span that began them to the one that ended them, in whatever file."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

import sightline as sl
import sightline.timeline.reading
import sightline.tracing.trace_writer
from sightline.files.process_files import Place, ProcessFiles
from sightline.timeline.events import Flow, Span
from sightline.timeline.merging import Format, Timeline
from sightline.timeline.stages import one_run, stage_spans
from sightline.tracing.perf_tracer import PerfTracer
from sightline.tracing.trace_writer import TraceWriter
from tests.perfetto import Engine, Trace
from tests.timeline.conftest import Merged

#: From which span to which, in the run of :func:`traced`.
ARROWS = {
    ("leaf", "last"), ("after a child", "in a thread"), ("begun", "after its child"), ("lane", "other lane"),
    ("last", "loop"),
}  # fmt: skip


def work(flow: int) -> None:
    with sl.trace_scope("around"), sl.trace_scope("in a thread") as span:
        span.flow_in(flow)


async def task(name: str, flow: int | None = None) -> int:
    with sl.trace_scope(f"around {name}"), sl.trace_scope(name) as span:
        if flow is not None:
            span.flow_in(flow)
        await asyncio.sleep(0)
        return span.flow_out() if flow is None else 0


@pytest.fixture
def traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with arrows between spans of all kinds, and spans without any between them."""
    monkeypatch.setattr(sightline.tracing.trace_writer, "_BEGUN_AFTER_NS", 50_000_000)
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        with sl.trace_scope("loop") as loop:
            with sl.trace_scope("leaf") as leaf:
                first = leaf.flow_out()
            with sl.trace_scope("after a child") as span:
                with sl.trace_scope("child"):
                    pass
                second = span.flow_out()
                with sl.trace_scope("child"):
                    pass
            thread = threading.Thread(target=work, args=(second,))
            thread.start()
            thread.join()
            with sl.trace_scope("last") as last:
                last.flow_in(first)
                fifth = last.flow_out()
            loop.flow_in(fifth)
        with sl.trace_scope("begun") as begun:
            path = run.wait_dir()
            while b'"ph":"B","name":"begun"' not in b"".join(p.read_bytes() for p in path.glob("traces/*")):
                time.sleep(0.02)
            with sl.trace_scope("child"):
                pass
            third = begun.flow_out()
            with sl.trace_scope("after its child") as span:
                with sl.trace_scope("child"):
                    pass
                span.flow_in(third)

        async def main() -> None:
            flow = await task("lane")
            await asyncio.gather(task("other lane", flow), task("bystander", 0))

        asyncio.run(main())
        run.commit(0)
    return tmp_path / "run"


def bound(trace: Trace) -> set[tuple[str, str]]:
    """The spans that arrows are drawn between: their slices, or those around the moments of arrows."""
    rows = trace.query(
        "select iif(o.name = 'flow', op.name, o.name) as a, iif(i.name = 'flow', ip.name, i.name) as b"
        " from flow join slice o on o.id = slice_out join slice i on i.id = slice_in"
        " left join slice op on op.id = o.parent_id left join slice ip on ip.id = i.parent_id"
    )
    return {(row["a"], row["b"]) for row in rows}


def test_an_arrow_is_in_the_innermost_span_around_it(traced: Path) -> None:
    ends: dict[int, dict[bool, str]] = {}
    for _, event in Timeline([traced]).events():
        assert not isinstance(event, Flow)
        if isinstance(event, Span):
            for flow in event.flows:
                assert event.start <= flow.at <= event.end
                ends.setdefault(flow.id, {})[flow.is_out] = event.name
    assert {(each[True], each[False]) for each in ends.values()} == ARROWS


def test_what_an_arrow_leads_to_waits_for_where_it_began(traced: Path) -> None:
    spans = stage_spans(one_run([traced]))
    by_name = {span.name: span for span in spans if span.name != "child"}
    waiting = {name: span.waits_for for name, span in by_name.items() if span.waits_for is not None}
    assert set(waiting) == {target for _, target in ARROWS}
    for source, target in ARROWS:
        process, tid, at = waiting[target]
        assert process == 0
        assert tid == by_name[source].tid
        assert by_name[source].start < at < by_name[source].end


@pytest.mark.parametrize("kind", ["json", "pftrace"])
def test_perfetto_draws_arrows_between_those_spans(traced: Path, merged: Merged, kind: Format) -> None:
    trace, report = merged(traced, kind=kind)
    assert report.problems == []
    of_threads = {each for each in ARROWS if "lane" not in each[0]}
    assert of_threads <= bound(trace)
    assert trace.counts().flows == len(ARROWS)
    if kind == "pftrace":  # where lanes may have arrows
        assert bound(trace) == ARROWS


def test_perfetto_draws_them_so_in_the_live_file(traced: Path, engine: Engine) -> None:
    (path,) = traced.glob("traces/*.json")
    trace = engine.load(path)
    assert trace.errors() == {}
    assert {each for each in ARROWS if "lane" not in each[0]} <= bound(trace)
    assert trace.counts().flows == len(ARROWS)


def test_arrows_that_are_in_no_span_are_bounded_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merged: Merged
) -> None:
    """Their spans' objects were used when the blocks had ended."""
    monkeypatch.setattr(sightline.tracing.trace_writer, "_FLOWS", 100)
    monkeypatch.setattr(sightline.timeline.reading, "_FLOWS", 100)
    tracer = PerfTracer(enabled=True)
    files = ProcessFiles(lambda: Place(tmp_path, "run", 1))
    writer = TraceWriter(tracer, files)
    with tracer.trace_scope("ended") as span:
        pass
    for i in range(1000):
        with tracer.trace_scope("inside") as inside:
            flow = inside.flow_out()
        span.flow_in(flow)
        if i % 100 == 0:
            assert files.flush()
            assert sum(map(len, writer._flows.values())) <= 200
    assert writer.close()
    assert files.close()
    events = [event for _, event in Timeline([tmp_path]).events()]
    inside_flows = [flow for e in events if isinstance(e, Span) and e.name == "inside" for flow in e.flows]
    assert [flow.is_out for flow in inside_flows] == [True] * 1000
    assert len([event for event in events if isinstance(event, Flow)]) == 1000
    trace, _ = merged(tmp_path)
    assert trace.counts().flows == 1000
