"""A trace file holds every span with its times to the nanosecond, and can be read at any moment."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import sightline as sl
from sightline.files.process_files import Place, ProcessFiles
from sightline.tracing.event_values import dumps, plain, text
from sightline.tracing.perf_tracer import PerfTracer
from sightline.tracing.spans import BASE_NS
from sightline.tracing.trace_writer import TraceWriter
from tests.harness import until
from tests.jax.several_devices import Callback
from tests.trace_files import events, whole_lines


@pytest.fixture
def tracer() -> PerfTracer:
    return PerfTracer(enabled=True)


@pytest.fixture
def start(tracer: PerfTracer, tmp_path: Path) -> Iterator[Callable[..., TraceWriter]]:
    opened: list[tuple[TraceWriter, ProcessFiles]] = []

    def start(**options: Any) -> TraceWriter:
        files = ProcessFiles(lambda: Place(tmp_path, "run", 2), process=3, processes=4, role="rollout")
        opened.append((TraceWriter(tracer, files, **options), files))
        return opened[-1][0]

    yield start
    for writer, files in opened:
        assert writer.close()
        assert files.close()


def test_a_file_says_whose_it_is_and_where_its_clock_stands(
    start: Callable[..., TraceWriter], tracer: PerfTracer, tmp_path: Path
) -> None:
    writer = start()
    with tracer.trace_scope("a"):
        pass
    before = time.time_ns()
    assert writer.close()
    header, *rest = events(tmp_path)
    args = header["args"]
    assert header["name"] == "sightline"
    assert (args["run_id"], args["attempt"], args["process"], args["processes"]) == ("run", 2, 3, 4)
    assert (args["role"], args["host"], args["segment"]) == ("rollout", os.uname().nodename, 0)
    span_ns = next(event for event in rest if event["ph"] == "X")["ts"] * 1000
    at = args["time_ns"] + int(span_ns) + args["base_ns"] - args["perf_counter_ns"]
    assert 0 <= before - at < 10_000_000_000
    labels = {event["name"]: event["args"] for event in rest if event["ph"] == "M"}
    assert labels["process_name"]["name"].startswith("process 3 · rollout")
    assert labels["process_sort_index"] == {"sort_index": 3}
    assert labels["thread_name"] == {"name": threading.current_thread().name}
    assert {"perf_counter_ns", "time_ns"} <= set(labels["sightline clock"])


def test_times_are_whole_nanoseconds(
    start: Callable[..., TraceWriter], tracer: PerfTracer, tmp_path: Path
) -> None:
    writer = start()
    given = [(1, 1), (999, 1000), (1000, 1), (123_456_789_012, 7), (5_000_000_000_000_123, 999_999_999_999)]
    for since, took in given:
        tracer.add_span("a", BASE_NS + since, BASE_NS + since + took)
        tracer.add_span("b", BASE_NS + since, BASE_NS + since + took, n=1)
    assert writer.close()
    for name in "ab":
        found = [(e["ts"] * 1000, e["dur"] * 1000) for e in events(tmp_path, "X") if e["name"] == name]
        assert found == given


def test_a_span_has_its_step_category_and_arguments(
    start: Callable[..., TraceWriter], tracer: PerfTracer, tmp_path: Path
) -> None:
    writer = start()
    tracer._note_step(3)
    outer = tracer.trace_scope("outer")
    outer.__enter__()
    with tracer.trace_scope("plain"):
        pass
    tracer._note_step(4)
    with tracer.trace_scope("a", category="io", bytes=12, odd={1, 2}, nan=float("nan")):
        pass
    outer.__exit__(None, None, None)
    tracer._note_step(None)
    with tracer.trace_scope("after"):
        pass
    assert writer.close()
    found = {event["name"]: event for event in events(tmp_path, "X")}
    assert found["outer"]["args"] == {"step": 3}  # the one that it began in
    assert found["plain"]["args"] == {"step": 3}
    assert found["a"]["args"] == {"step": 4, "bytes": 12, "odd": [1, 2], "nan": "nan"}
    assert found["a"]["cat"] == "io"
    assert "args" not in found["after"]


def test_each_thread_may_have_a_step_of_its_own(
    start: Callable[..., TraceWriter], tracer: PerfTracer, tmp_path: Path
) -> None:
    writer = start()
    tracer._note_step(1)

    def work() -> None:
        with tracer.trace_scope("before"):
            pass
        tracer._note_step(2)
        with tracer.trace_scope("own"):
            pass

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    with tracer.trace_scope("main"):
        pass
    assert writer.close()
    assert {event["name"]: event["args"]["step"] for event in events(tmp_path, "X")} == {
        "before": 1, "own": 2, "main": 1,
    }  # fmt: skip


def test_whatever_the_arguments_and_names_are_the_file_stays_whole(
    start: Callable[..., TraceWriter], tracer: PerfTracer, tmp_path: Path
) -> None:
    class Hostile:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

    class Ends(list[int]):
        def __len__(self) -> int:
            raise SystemExit

        def __bool__(self) -> bool:
            raise KeyboardInterrupt

    circular: list[Any] = []
    circular.append(circular)
    hostile: list[Any] = [
        Hostile(), Ends(), circular, float("inf"), "\ud800", b"\xff", "x" * 10**6, {"a": {1: object()}},
        "\n\0\u2028", ["a", 1], np.arange(3), {"\ud800": [{}]},
    ]  # fmt: skip
    writer = start()
    for value in hostile:
        with tracer.trace_scope('a\ud800\n"', category=value, value=value) as span:
            span.set(**{"\ud800": value})
        tracer.instant("\0", **{"category": value, "value": value})
        tracer.counter("c", value)
        tracer.add_span("lane", BASE_NS + 1, BASE_NS + 2, lane=True, category=value, value=value)
        with pytest.raises(ValueError, match="broken"), tracer.trace_scope("raises"):
            raise ValueError("broken \ud800")
    with tracer.trace_scope("after"):
        pass
    assert writer.close()
    found = events(tmp_path, "X", "i", "C", "b")
    assert len([event for event in found if event["name"] != "c"]) == 4 * len(hostile) + 2
    (dropped,) = (event for event in found if event["name"] == "sightline: events dropped")
    assert dropped["args"] == {"dropped": len(hostile), "counters that are no numbers": len(hostile)}
    categories = [event["cat"] for event in found if event["ph"] in "Xi" and "cat" in event]
    assert categories == [text for value in hostile for text in [shown(value)] * 2]
    assert [e["args"]["category"] for e in found if e["ph"] == "b"] == [shown(value) for value in hostile]


def shown(value: Any) -> str:
    """A category as text: short, whatever it was."""
    given = value if type(value) is str else plain_in_thread(value)
    return text(given if isinstance(given, str) else dumps(given).decode(), 1000)


def plain_in_thread(value: Any) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(plain(value)))
    thread.start()
    thread.join()
    return found[0]


def test_a_record_that_cannot_be_written_costs_itself_only_and_is_counted(
    start: Callable[..., TraceWriter], tracer: PerfTracer, tmp_path: Path
) -> None:
    writer = start()
    for i in range(3):
        tracer.add_span("odd", "no", "times")  # type: ignore[arg-type]
        with tracer.trace_scope("fine", i=i):
            pass
    assert writer.close()
    assert [event["name"] for event in events(tmp_path, "X")] == ["fine"] * 3
    (told,) = [event for event in events(tmp_path, "i") if event["name"] == "sightline: events dropped"]
    assert told["args"]["dropped"] == 3


def test_the_tracer_of_a_writer_that_has_failed_keeps_no_more_than_before_a_run(
    start: Callable[..., TraceWriter],
    tracer: PerfTracer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    writer = start()

    def fails(now: int) -> list[str]:
        raise SystemExit

    monkeypatch.setattr(writer, "_begin_open", fails)
    tracer.instant("a")
    assert writer._files.flush()
    assert "a source of files fails" in caplog.text
    for i in range(100_000):
        tracer.instant("b", i=i)
    assert tracer._waiting() <= 5000
    assert writer._files._ticker is not None
    assert writer._files._ticker.is_alive()


def test_very_long_names_are_cut_and_that_is_said(
    start: Callable[..., TraceWriter], tracer: PerfTracer, tmp_path: Path
) -> None:
    long = "x" * (17 << 20)
    writer = start()
    for args in ({}, {"n": 1}, {"category": long}):
        with tracer.trace_scope(long, **args):
            pass
    tracer.instant(long, category=long)
    tracer.counter(long, 1)
    tracer.counter("c", **{long: 1})
    tracer.add_span(long, BASE_NS + 1, BASE_NS + 2, lane=True, category=long)
    with tracer.trace_scope("deep", **{str(i): ["\0" * 10_000] * 100 for i in range(50)}):
        pass
    assert writer.close()
    cut = f"{'x' * 1000}… ({len(long) - 1000} characters more)"
    found = events(tmp_path, "X", "i", "C", "b", "e")
    assert [event["name"] for event in found] == [cut] * 5 + ["c"] + [cut] * 2 + ["deep"]
    assert found[2]["cat"] == found[3]["cat"] == found[6]["args"]["category"] == cut
    assert list(found[5]["args"]) == [cut]
    assert max(path.stat().st_size for path in tmp_path.glob("traces/*")) < 1 << 20


def test_counters_are_numbers_or_are_counted_as_dropped(
    start: Callable[..., TraceWriter], tracer: PerfTracer, tmp_path: Path
) -> None:
    """No line is written that has no number, and none that has NaN, of which Perfetto never comes back."""
    writer = start()
    good: list[Any] = [
        1, 0.5, True, np.float32(0.5), np.array(2), jnp.float32(0.5), jnp.bfloat16(0.5), -(2**63),
    ]  # fmt: skip
    for value in good:
        tracer.counter("good", value)
    bad: list[Any] = [float("nan"), float("inf"), "x", None, 2**63, np.ones(2), 10**400, np.float32("nan")]
    for value in bad:
        tracer.counter("bad", value)
    tracer.counter("mixed", a=1, b=float("nan"), c="x")
    assert writer.close()
    found = events(tmp_path, "C")
    assert [event["args"]["value"] for event in found if event["name"] == "good"] == [
        1, 0.5, 1, 0.5, 2, 0.5, 0.5, -(2**63),
    ]  # fmt: skip
    assert [event["args"] for event in found if event["name"] != "good"] == [{"a": 1}]
    (dropped,) = (event["args"] for event in events(tmp_path, "i"))
    assert dropped["dropped"] == len(bad) + 2


def test_a_counter_on_a_device_is_drawn_when_it_is_there_at_its_own_time(
    start: Callable[..., TraceWriter], tracer: PerfTracer, tmp_path: Path
) -> None:
    """One that never comes is counted as dropped."""
    over = threading.Event()

    def wait(x: Any) -> Any:
        over.wait(60)
        return np.float32(7)

    writer = start()
    slow = Callback(wait)()
    tracer.counter("slow", slow)
    with tracer.trace_scope("after"):
        pass
    assert writer._files.flush()
    assert [event["name"] for event in events(tmp_path, "X", "C")] == ["after"]
    over.set()
    slow.block_until_ready()
    assert writer._files.flush()
    after, counter = events(tmp_path, "X", "C")
    assert counter["args"] == {"value": 7}
    assert counter["ts"] < after["ts"]
    over.clear()
    slow = Callback(wait)()
    tracer.counter("never", slow)
    assert writer.close()
    over.set()
    assert [event["args"]["dropped"] for event in events(tmp_path, "i")] == [1]


def test_what_is_open_at_the_end_stands_there_however_short_it_has_been(
    start: Callable[..., TraceWriter], tracer: PerfTracer, tmp_path: Path
) -> None:
    """Of the main thread, of others, and of tasks."""
    writer = start()
    over = threading.Event()

    def work() -> None:
        with tracer.trace_scope("background", n=1):
            begun.wait(120)
            over.wait(120)

    async def main() -> None:
        async with tracer.trace_scope("task"):
            with tracer.trace_scope("done"):
                pass
            assert writer.close()

    begun = threading.Barrier(2)
    thread = threading.Thread(target=work)
    thread.start()
    begun.wait(120)
    with tracer.trace_scope("main"):
        asyncio.run(main())
    over.set()
    thread.join()
    assert {event["name"] for event in events(tmp_path, "B", "b")} == {"main", "background", "task", "done"}
    (background,) = (each for each in events(tmp_path, "B") if each["name"] == "background")
    assert background["args"] == {"n": 1}


def test_spans_of_tasks_that_are_open_for_long_are_looked_at_once(
    start: Callable[..., TraceWriter], tracer: PerfTracer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not ten times a second, for as long as they are open; a new segment has them again."""
    seen: list[int] = []
    ask = tracer._open_spans

    def noted(**given: Any) -> Any:
        found = ask(**given)
        seen.append(len(found))
        return found

    monkeypatch.setattr(tracer, "_open_spans", noted)
    writer = start(segment_bytes=20_000)

    async def main() -> None:
        spans = [tracer.trace_scope("task", n=i) for i in range(100)]
        for span in spans:
            span.__enter__()
        deadline = time.monotonic() + 120
        while not (len(events(tmp_path, "b")) >= 100 and seen[-1] == 0) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        assert seen[-1] == 0
        assert len(events(tmp_path, "b")) == 100
        for i in range(200):
            tracer.instant("so that it is full", text="x" * 100, i=i)
        assert writer._files.flush()
        tracer.instant("so that another one begins")
        assert writer._files.flush()
        assert len(events(tmp_path, "b")) == 200
        for span in spans:
            span.__exit__(None, None, None)

    asyncio.run(main())
    assert writer.close()
    assert len(events(tmp_path, "e")) == 100


def test_sigterm_loses_no_open_span_and_no_session(tmp_path: Path) -> None:
    code = """
import asyncio, os, signal, sys, time, sightline as sl
run = sl.start(sys.argv[1], name="run", sinks=[])
async def main():
    async with sl.trace_scope("task"):
        with sl.session(task="in flight") as session, session.phase("generate"):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
with sl.trace_scope("outer"):
    with sl.trace_scope("inner"):
        pass
    asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=100, stderr=subprocess.DEVNULL)
    assert done.returncode == -signal.SIGTERM
    names = {event["name"] for event in events(tmp_path / "run", "X", "B", "b")}
    assert names >= {"outer", "inner", "task"}
    (session,) = sl.read_sessions(tmp_path / "run")
    assert (session.task, session.running, len(session.phases)) == ("in flight", True, 1)


def test_a_number_that_goes_to_another_thread_has_the_name_of_both_and_not_the_step(
    start: Callable[..., TraceWriter], tracer: PerfTracer, tmp_path: Path
) -> None:
    writer = start(segment_bytes=1)

    def work(step: int | None) -> None:
        if step is not None:
            tracer._note_step(step)
        with tracer.trace_scope("work"):
            pass

    for i, step in enumerate((5, None, None)):
        thread = threading.Thread(target=work, args=(step,), name=f"worker-{i}")
        thread.start()
        thread.join()
        tracer._note_step(None)
        assert writer._files.flush()
    first, *others = events(tmp_path, "X")
    assert {event["tid"] for event in others} == {first["tid"]}
    assert first["args"] == {"step": 5}
    assert [event.get("args") for event in others] == [None, None]
    names = [
        each["args"]["name"]
        for each in events(tmp_path, "M")
        if each["name"] == "thread_name" and each["tid"] == first["tid"]
    ]
    assert (names[0], names[-1]) == ("worker-0", "worker-*")


def test_a_span_that_is_open_for_long_stands_there_as_begun_and_ends_later(
    start: Callable[..., TraceWriter], tracer: PerfTracer, tmp_path: Path
) -> None:
    start()
    with tracer.trace_scope("long", n=1), tracer.trace_scope("inner"):
        deadline = time.monotonic() + 120
        while len(events(tmp_path, "B")) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        with tracer.trace_scope("short"):
            pass
    assert tracer._waiting() >= 0
    while not (ended := events(tmp_path, "E")) and time.monotonic() < deadline:
        time.sleep(0.05)
    begun = events(tmp_path, "B")
    assert [event["name"] for event in begun] == ["long", "inner"]
    assert [event["name"] for event in ended] == ["inner", "long"]
    assert begun[0]["ts"] <= begun[1]["ts"] <= ended[0]["ts"] <= ended[1]["ts"]


def test_overlapping_spans_have_lanes_in_which_they_do_not_overlap(
    start: Callable[..., TraceWriter], tracer: PerfTracer, tmp_path: Path
) -> None:
    writer = start()
    for i in range(20):
        tracer.add_span("device", BASE_NS + 10 * i, BASE_NS + 10 * i + 35, lane=True)
    assert writer.close()
    by_id: dict[str, list[Any]] = {}
    for event in events(tmp_path, "b", "e"):
        by_id.setdefault(event["id2"]["local"], []).append(event)
    assert len(by_id) == 4
    for lane in by_id.values():
        assert [event["ph"] for event in lane] == ["b", "e"] * (len(lane) // 2)
        assert [event["ts"] for event in lane] == sorted(event["ts"] for event in lane)


def test_segments_are_files_of_their_own_and_the_oldest_go(
    start: Callable[..., TraceWriter], tracer: PerfTracer, tmp_path: Path
) -> None:
    writer = start(segment_bytes=100_000, keep_bytes=350_000)
    with tracer.trace_scope("long"):
        time.sleep(0.6)
        for i in range(20_000):
            with tracer.trace_scope("a", i=i):
                pass
            if i % 1000 == 0:
                assert writer._files.flush()
    assert writer.close()
    paths = sorted(tmp_path.glob("traces/*.json"))
    assert paths[0].name != "p00003.a02.0000.json"
    assert sum(path.stat().st_size for path in paths) < 600_000
    for path in paths:
        header, *rest = whole_lines(path)
        assert header["name"] == "sightline"
        assert any(event["name"] == "thread_name" for event in rest)
        assert any(event["name"] == "long" for event in rest)
        open_here = [event["name"] for event in rest if event["ph"] == "B"]
        assert all(event["name"] in open_here for event in rest if event["ph"] == "E")
    numbers = [event["args"]["i"] for event in events(tmp_path, "X") if event["name"] == "a"]
    assert numbers == list(range(numbers[0], 20_000))


def test_what_the_disk_refuses_is_counted_in_the_file_when_there_is_space_again(
    start: Callable[..., TraceWriter], tracer: PerfTracer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = start()
    tracer.instant("before")
    assert writer._files.flush()
    write = os.write

    def refuse(file: int, data: Any) -> int:
        if file == writer._file._file:
            write(file, bytes(data)[:5])
            raise OSError(28, "No space left on device")
        return write(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        for _ in range(3):
            tracer.instant("lost")
        assert writer._files.flush()
    tracer.instant("after")
    assert writer.close()
    names = [event["name"] for event in events(tmp_path, "i")]
    assert "before" in names
    assert "after" in names
    assert "lost" not in names
    (told,) = [event for event in events(tmp_path, "i") if event["name"] == "sightline: events dropped"]
    assert told["args"]["dropped"] >= 3


_LOOP = """
import sys, time, sightline as sl
with sl.start(sys.argv[1], name="run", resume="allow", sinks=[]) as run:
    for step in run.steps(10**9):
        with sl.trace_scope("work", step_is=step):
            time.sleep(0.002)
        sl.counter("queue", step)
        if step == 5:
            print("ready", flush=True)
"""


def of_work(run: Path) -> list[dict[str, Any]]:
    return [event for event in events(run) if event["name"] == "work"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGTERM])
def test_a_process_that_is_ended_leaves_what_is_older_than_a_second(number: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _LOOP, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        until(lambda: len(of_work(tmp_path / "run")) > 20, "spans that nobody has flushed")
        at = time.time_ns()
        process.send_signal(number)
    found = events(tmp_path / "run")
    header = found[0]["args"]
    last = max(event["ts"] for event in of_work(tmp_path / "run"))
    ended = header["time_ns"] + int(last * 1000) + header["base_ns"] - header["perf_counter_ns"]
    assert at - ended < 15_000_000_000  # a second, where the machine has time
    steps = [
        event["args"]["step_is"] for event in found if event["name"] == "work" and event["ph"] != "E"
    ]  # of one that was open at the signal there is the beginning, too
    assert steps == list(range(len(steps)))


def test_a_restarted_run_begins_another_file(tmp_path: Path) -> None:
    for _ in range(2):
        with sl.start(tmp_path, name="run", resume="allow", sinks=[]), sl.trace_scope("once"):
            pass
    names = sorted(path.name for path in (tmp_path / "run" / "traces").iterdir())
    assert names == ["p00000.a01.0000.json", "p00000.a02.0000.json"]
    assert [event["name"] for event in events(tmp_path / "run", "X")].count("once") == 2


def test_tracing_can_be_left_out(tmp_path: Path) -> None:
    off = sl.PerfTracerConfig(enabled=False)
    with sl.start(tmp_path, name="run", sinks=[], tracing=off), sl.trace_scope("a"), sl.record_timing("b"):
        pass
    assert not (tmp_path / "run" / "traces").exists()
    with sl.start(tmp_path, name="next", sinks=[]), sl.trace_scope("a"):
        pass
    assert "a" in [event["name"] for event in events(tmp_path / "next", "X")]


def test_warnings_are_instants_and_log_lines_know_their_span(tmp_path: Path) -> None:
    log = sl.get_logger("worker")
    with sl.start(tmp_path, name="run", sinks=[]) as run:
        for _ in run.steps(1):
            with sl.trace_scope("load"):
                log.info("fine")
                log.warning("%s is %d", "disk", 99)
    found = [event for event in events(tmp_path / "run", "i") if event.get("cat") == "log"]
    assert [event["name"] for event in found] == ["WARNING"]
    assert found[0]["args"] == {"step": 0, "logger": "sightline.worker", "message": "disk is 99"}
    (path,) = (tmp_path / "run" / "logs").glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["span"] for line in lines if line.get("logger") == "worker"] == ["load"] * 2
