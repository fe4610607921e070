"""Rows of threads in Perfetto: the main thread is the one that is, and threads in turn have one row."""

from __future__ import annotations

import threading
from pathlib import Path

from sightline.files.process_files import Place, ProcessFiles
from sightline.timeline.merging import WRITERS, merge
from sightline.tracing.perf_tracer import PerfTracer
from sightline.tracing.trace_writer import TraceWriter
from tests.perfetto import Engine, Trace

ROWS = """
    select is_main_thread, thread.name, group_concat(slice.name) as spans from slice
    join thread_track on slice.track_id = thread_track.id join thread using (utid)
    group by utid order by process.pid, is_main_thread desc, thread.name
""".replace("group by", "join process using (upid) group by")


def rows(trace: Trace) -> list[tuple[int, str, str]]:
    return [(row["is_main_thread"], row["name"], row["spans"]) for row in trace.query(ROWS)]


def record(run: Path, process: int) -> Path:
    """A process's trace: a span of the main thread, and one of each of three other threads in turn."""
    tracer = PerfTracer(enabled=True)
    files = ProcessFiles(lambda: Place(run, "run", 1), process=process, processes=3)
    writer = TraceWriter(tracer, files)

    def work() -> None:
        with tracer.trace_scope("work"):
            pass

    with tracer.trace_scope("step"):
        pass
    for i in range(3):
        thread = threading.Thread(target=work, name=f"worker-{i}")
        thread.start()
        thread.join()
    assert writer.close()
    assert files.close()
    (path,) = run.glob(f"traces/p{process:05d}*.json")
    return path


def test_the_main_thread_and_threads_in_turn_are_shown_as_such(tmp_path: Path, engine: Engine) -> None:
    """Of any process, in its live file as well as merged."""
    expected = [(1, "MainThread", "step"), (0, "worker-*", "work,work,work")]
    for process in range(3):
        path = record(tmp_path / "run", process)
        assert rows(engine.load(path)) == expected
    for kind in ("tar", *WRITERS):
        if kind != "jsonl":
            out = tmp_path / f"merged.{kind}"
            assert merge([tmp_path / "run"], out, kind).problems == []  # type: ignore[arg-type]
            assert rows(engine.load(out)) == expected * 3, kind
