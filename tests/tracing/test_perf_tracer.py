"""Spans are recorded on the thread or task that they belong to, once, with what was said of them."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import sightline as sl
from sightline.recording.step import active_step
from sightline.tracing.perf_tracer import PerfTracer
from sightline.tracing.session_tracer import SessionTracer
from sightline.tracing.spans import ASYNC, COUNTER, FLOW, INSTANT, STEP, THREAD, TaskSpan
from tests.recorded import names, of_kind, spans
from tests.trace_files import events


@pytest.fixture
def tracer() -> PerfTracer:
    made = PerfTracer(enabled=True)
    made._begin_writing()
    return made


def test_the_innermost_open_span_is_known(tracer: PerfTracer) -> None:
    assert tracer.current_span() is None
    with tracer.trace_scope("outer"):
        with tracer.trace_scope("inner"):
            assert tracer.current_span() == "inner"
            assert [span.name for span in tracer._open_spans()] == ["outer", "inner"]
        assert tracer.current_span() == "outer"
    assert tracer.current_span() is None
    assert tracer._open_spans() == []


def test_a_thread_has_its_own_spans_and_name(tracer: PerfTracer) -> None:
    def work() -> None:
        assert tracer.current_span() is None
        with tracer.trace_scope("work"):
            pass

    with tracer.trace_scope("main"):
        thread = threading.Thread(target=work, name="worker")
        thread.start()
        thread.join()
    records = tracer._take()
    threads = {tid: name for tid, name, _ in of_kind(records, THREAD)}
    assert {threads[record[1]]: record[0] for record in spans(records)} == {
        "worker": "work",
        threading.current_thread().name: "main",
    }


def test_functions_of_all_kinds_are_one_span_each_call(tracer: PerfTracer) -> None:
    @tracer.trace_scope("function")
    def function() -> int:
        return 1

    @tracer.trace_scope("coroutine")
    async def coroutine() -> int:
        await asyncio.sleep(0)
        return 2

    @tracer.trace_scope("generator")
    def generator() -> Iterator[int]:
        got = yield 3
        yield got

    @tracer.trace_scope("async generator")
    async def async_generator() -> AsyncIterator[int]:
        try:
            yield 4
        except ValueError:
            yield 5

    async def main() -> list[int]:
        numbers = async_generator()
        found = [await anext(numbers), await numbers.athrow(ValueError())]  # type: ignore[attr-defined]
        await numbers.aclose()  # type: ignore[attr-defined]
        return [await coroutine(), *found]

    items = generator()
    assert [function(), next(items), items.send(7), *asyncio.run(main())] == [1, 3, 7, 2, 4, 5]  # type: ignore[attr-defined]
    assert next(items, None) is None
    records = tracer._take()
    assert names(records) == ["function"]
    assert sorted(record[0] for record in of_kind(records, ASYNC)) == [
        "async generator",
        "coroutine",
        "generator",
    ]
    assert function.__name__ == "function"


def test_a_generator_is_one_span_over_its_life_also_if_it_is_left(tracer: PerfTracer) -> None:
    @tracer.trace_scope("items")
    def items() -> Iterator[int]:
        yield from range(10)

    for item in items():
        if item == 3:
            break
    (life,) = of_kind(tracer._take(), ASYNC)
    assert life[0] == "items"


def test_work_that_a_task_gives_to_a_thread_knows_the_span_around_the_step_and_the_session(
    tracer: PerfTracer,
) -> None:
    """With `asyncio.to_thread`, which takes the context along; a bare executor knows the process's step."""

    sessions = SessionTracer(enabled=True)

    def work() -> tuple[str | None, str | None, int | None, object]:
        outside = tracer.current_span()
        with tracer.trace_scope("inside"):
            inside = tracer.current_span()
        session = sessions.current_session()
        return outside, inside, active_step(), session and session.task

    async def task(number: int) -> None:
        with (
            sl.step(number),
            sessions.session(task=number, otherwise="accepted"),
            tracer.trace_scope(f"around {number}"),
        ):
            await asyncio.sleep(0.001)
            found = await asyncio.to_thread(work)
            assert found == (f"around {number}", "inside", number, number)
            loop = asyncio.get_running_loop()
            bare = await loop.run_in_executor(None, work)
            assert (bare[:2], bare[3]) == ((None, "inside"), None)

    async def main() -> None:
        await asyncio.gather(*(task(number) for number in range(20)))

    tracer._notice_asyncio()
    asyncio.run(main())


def test_spans_of_executor_threads_go_by_the_steps_of_an_async_loop(tmp_path: Path) -> None:
    """Those of `run.steps`, and of tasks that end theirs in any order: the latest that is open."""

    def work(name: str) -> None:
        with sl.trace_scope(name):
            pass

    async def stays(number: int, entered: asyncio.Event, end: asyncio.Event) -> None:
        with sl.step(number):
            entered.set()
            await end.wait()

    async def main(run: sl.Run) -> None:
        loop = asyncio.get_running_loop()
        for step in run.steps(2):
            await loop.run_in_executor(None, work, f"in {step}")
        await loop.run_in_executor(None, work, "after")
        first, second, entered = asyncio.Event(), asyncio.Event(), [asyncio.Event() for _ in range(2)]
        tasks = [asyncio.create_task(stays(10, entered[0], first))]
        await entered[0].wait()
        tasks.append(asyncio.create_task(stays(11, entered[1], second)))
        await entered[1].wait()
        first.set()
        await tasks[0]
        await loop.run_in_executor(None, work, "first has ended")
        second.set()
        await tasks[1]
        await loop.run_in_executor(None, work, "both have ended")

    with sl.start(tmp_path, name="run", sinks=[]) as run:
        asyncio.run(main(run))
    found = {event["name"]: event.get("args", {}).get("step") for event in events(tmp_path / "run", "X")}
    assert found == {
        "in 0": 0, "in 1": 1, "after": None, "first has ended": 11, "both have ended": None,
    }  # fmt: skip


def test_a_span_of_a_task_that_is_open_for_long_begins_with_its_own_step(tmp_path: Path) -> None:
    """Also where others have entered later steps by then."""

    async def long(run: sl.Run) -> None:
        with sl.step(3):
            await asyncio.sleep(0)
            with sl.trace_scope("long", n=1):
                while not any("long" in path.read_text() for path in run.wait_dir().glob("traces/*")):
                    await asyncio.sleep(0.05)

    async def main(run: sl.Run) -> None:
        with sl.step(4):
            first = asyncio.create_task(long(run))
            await asyncio.sleep(0)
            with sl.step(5):
                await first

    with sl.start(tmp_path, name="run", sinks=[]) as run:
        asyncio.run(main(run))
    (begins,) = events(tmp_path / "run", "b")
    assert begins["args"] == {"step": 3, "n": 1}


def test_a_thread_that_ends_its_step_leaves_those_of_others(tmp_path: Path) -> None:
    """Spans of threads without a step go by the latest that is open."""

    def work() -> None:
        with sl.trace_scope("bare"):
            pass

    def other() -> None:
        with sl.step(7):
            pass

    with sl.start(tmp_path, name="run", sinks=[]) as run, sl.step(3):
        for target in (other, work):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        run.flush()
    (span,) = events(tmp_path / "run", "X")
    assert span["args"] == {"step": 3}


def test_a_task_within_a_block_of_its_thread_knows_it(tracer: PerfTracer) -> None:
    async def main() -> None:
        assert tracer.current_span() == "block"
        with tracer.trace_scope("task"):
            assert tracer.current_span() == "task"
        assert tracer.current_span() == "block"

    tracer._notice_asyncio()
    with tracer.trace_scope("block"):
        asyncio.run(main())


def test_a_task_that_outlives_the_span_it_was_made_in_is_in_none(tracer: PerfTracer) -> None:
    async def later(ended: asyncio.Event) -> str | None:
        await ended.wait()
        return tracer.current_span()

    async def main() -> str | None:
        ended = asyncio.Event()
        with tracer.trace_scope("ends"):
            task = asyncio.create_task(later(ended))
            await asyncio.sleep(0)
        ended.set()
        return await task

    tracer._notice_asyncio()
    assert asyncio.run(main()) is None


def test_sixteen_threads_lose_no_span(tracer: PerfTracer) -> None:
    together = threading.Barrier(16)

    def work(number: int) -> None:
        together.wait()
        for i in range(2000):
            with tracer.trace_scope(f"thread {number}"), tracer.trace_scope("inner", i=i):
                pass
        together.wait()  # one that has gone would leave its number to others

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = spans(tracer._take())
    assert len(records) == 16 * 2000 * 2
    by_thread: dict[int, list[Any]] = {}
    for record in records:
        by_thread.setdefault(record[1], []).append(record)
    assert sorted(map(len, by_thread.values())) == [4000] * 16
    for own in by_thread.values():
        assert len({record[0] for record in own}) == 2
        assert [record[4]["i"] for record in own[::2]] == list(range(2000))


def test_steps_instants_counters_and_flows_are_recorded(tracer: PerfTracer) -> None:
    tracer._note_step(3)
    tracer.instant("weights", category="sync", version=2)
    tracer.counter("queue", 5)
    tracer.counter("memory", used=1.0, free=2.0)
    with tracer.trace_scope("send") as span:
        flow = span.flow_out()
    with tracer.trace_scope("receive") as span:
        span.flow_in(flow)
        span.flow_in(0)  # from where tracing is off
    records = tracer._take()
    assert [number for _, _, number in of_kind(records, STEP)] == [3]
    assert [(name, args) for name, _, _, args in of_kind(records, INSTANT)] == [
        ("weights", {"version": 2, "category": "sync"})
    ]
    assert [series for _, _, series in of_kind(records, COUNTER)] == [
        {"value": 5},
        {"used": 1.0, "free": 2.0},
    ]
    assert [(phase, id_) for phase, id_, *_ in of_kind(records, FLOW)] == [("s", flow), ("f", flow)]
    assert 0 < flow < 2**53


def test_a_name_that_is_none_raises_where_it_is_given(tracer: PerfTracer) -> None:
    with pytest.raises(sl.RecordError, match=r"trace_scope\(3\): expected a name, got int"):
        tracer.trace_scope(3)


def test_names_without_end_take_no_memory_without_end(tracer: PerfTracer) -> None:
    for i in range(5000):
        with tracer.trace_scope(f"step {i}"):
            pass
    assert len(tracer._local.track.spans) <= 1000
    assert len(spans(tracer._take())) == 5000


def test_before_a_run_the_last_records_are_kept_and_later_ones_are_not_lost() -> None:
    tracer = PerfTracer(enabled=True)
    for i in range(10_000):
        with tracer.trace_scope("before", i=i):
            pass
    tracer._begin_writing()
    for _ in range(10_000):
        with tracer.trace_scope("after"):
            pass
    found = names(tracer._take())
    assert found.count("after") == 10_000
    assert 4000 <= found.count("before") <= 4096


def test_what_is_dropped_is_counted(tracer: PerfTracer) -> None:
    tracer._hold_back("drop")
    for _ in range(7):
        tracer.instant("a")
    tracer._note_step(1)  # without which later spans would have a wrong one
    tracer._hold_back("yield")
    tracer.instant("b")
    assert tracer._take_dropped() == 7
    assert tracer._take_dropped() == 0
    records = tracer._take()
    assert [record[0] for record in of_kind(records, INSTANT)] == ["b"]
    assert len(of_kind(records, STEP)) == 1


def test_off_is_one_shared_nothing_and_functions_stay_what_they_are() -> None:
    tracer = PerfTracer(enabled=False)
    scope = tracer.trace_scope("a", n=1)
    assert scope is tracer.trace_scope("b")

    def function() -> None: ...

    assert scope(function) is function
    with scope as span:
        span.set(n=2)
        span.flow_in(span.flow_out())
    tracer.instant("a")
    tracer.counter("a", 1)
    assert tracer._take() == []


def test_switched_off_later_functions_that_are_traced_cost_a_look_and_no_more(tracer: PerfTracer) -> None:
    @tracer.trace_scope("a")
    def function() -> None: ...

    function()
    tracer._turn(False)  # while a run is traced, another one cannot switch it off
    function()
    assert names(tracer._take()) == ["a", "a"]
    tracer._end_writing()
    tracer._turn(False)
    function()
    assert tracer._take() == []
    tracer._turn(True)
    function()
    assert names(tracer._take()) == ["a"]


def test_a_forked_child_records_nothing_and_hangs_nowhere() -> None:
    code = """
import os, sys, threading, sightline as sl
from sightline.tracing.perf_tracer import TRACER
stop = threading.Event()
def busy():
    while not stop.is_set():
        with sl.trace_scope("busy"):
            pass
threads = [threading.Thread(target=busy) for _ in range(3)]
[thread.start() for thread in threads]
for _ in range(20):
    child = os.fork()
    if not child:
        with sl.trace_scope("child"):
            sl.instant("child")
        os._exit(0 if TRACER._take() == [] else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60, env=dict(os.environ))


@pytest.mark.parametrize("flow", [-1, 2**63, "abc", 0.5, b"7"])
def test_an_arrow_that_nobody_began_is_refused(flow: Any, tracer: PerfTracer) -> None:
    """Also while tracing is off, so that no program fails only when it is traced."""
    with tracer.trace_scope("a") as span, pytest.raises(sl.RecordError, match="expected what flow_out"):
        span.flow_in(flow)
    tracer._turn(False)
    with tracer.trace_scope("a") as span, pytest.raises(sl.RecordError, match="expected what flow_out"):
        span.flow_in(flow)
    with PerfTracer(enabled=False).trace_scope("a") as span:
        span.flow_in(flow)


@pytest.mark.parametrize("kind", [int, float, np.int64, np.uint64, np.float64, np.array, jnp.float32])
def test_an_arrow_may_come_through_arrays_and_tables(kind: Any, tracer: PerfTracer) -> None:
    flow = 1 << 45 if kind is not jnp.float32 else 1 << 20
    for loop in (False, True):
        with TaskSpan.alone("a", {}, tracer) if loop else tracer.trace_scope("a") as span:
            for each in (kind(flow), None, float("nan"), np.int64(0)):
                span.flow_in(each)
    assert [(phase, id_) for phase, id_, *_ in of_kind(tracer._take(), FLOW)] == [("f", flow)] * 2


def test_a_thread_has_the_number_of_one_that_has_gone(tracer: PerfTracer) -> None:
    """If it is called alike; those that are there together have numbers of their own."""

    def work(_: int) -> None:
        with tracer.trace_scope("work"):
            together.wait(20)

    for pool in range(20):
        together = threading.Barrier(4)
        with ThreadPoolExecutor(4, thread_name_prefix=f"pool-{pool}") as executor:
            list(executor.map(work, range(4)))
    records = spans(tracer._take())
    by_pool = [records[4 * pool : 4 * pool + 4] for pool in range(20)]
    assert all(len({record[1] for record in pool}) == 4 for pool in by_pool)
    assert len({record[1] for record in records}) <= 8  # a thread may still be going when the next one begins
    by_thread: dict[int, list[Any]] = {}
    for record in records:
        by_thread.setdefault(record[1], []).append(record)
    for own in by_thread.values():
        assert all(one[3] <= other[2] for one, other in itertools.pairwise(own))


def test_a_thread_that_leaves_a_span_open_keeps_its_number(tracer: PerfTracer) -> None:
    """Spans of others would lie in it."""
    for _ in range(3):
        thread = threading.Thread(target=lambda: tracer.trace_scope("open").__enter__(), name="worker")
        thread.start()
        thread.join()
    assert len({span.tid for span in tracer._open_spans()}) == 3


def test_numbers_are_bounded_whatever_threads_are_called(tracer: PerfTracer) -> None:
    for i in range(600):
        name = "".join(chr(97 + int(digit)) for digit in str(i))
        thread = threading.Thread(target=lambda: tracer.instant("here"), name=name)
        thread.start()
        thread.join()
    assert len({tid for _, tid, _, _ in of_kind(tracer._take(), INSTANT)}) < 300


def test_the_main_thread_has_the_first_number_whoever_asks_first() -> None:
    code = """
import threading
def load():
    from sightline.tracing.perf_tracer import TRACER
    TRACER.instant("elsewhere")
thread = threading.Thread(target=load)
thread.start()
thread.join()
from sightline.tracing.perf_tracer import TRACER
TRACER.instant("main")
from sightline.tracing.spans import INSTANT
tids = {what[0]: what[1] for kind, what in TRACER._take() if kind == INSTANT}
assert tids["main"] == 1 and tids["elsewhere"] > 1, tids
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_of_many_open_tasks_those_of_some_time_can_be_asked_for(tracer: PerfTracer) -> None:
    """Whoever looks again and again need not look at those that it has seen."""

    async def main() -> None:
        first = tracer.trace_scope("first")
        async with first:
            middle = time.perf_counter_ns()
            async with tracer.trace_scope("second"):
                end = time.perf_counter_ns()
                assert [each.name for each in tracer._open_spans()] == ["first", "second"]
                assert [each.name for each in tracer._open_spans(tasks=(0, middle))] == ["first"]
                assert tracer._open_spans(tasks=(end + 2 * 10**9, 1 << 63)) == []

    asyncio.run(main())


def test_a_run_in_a_forked_process_is_traced() -> None:
    code = """
import multiprocessing, tempfile, pathlib, sightline as sl
with sl.trace_scope("parent"):
    pass
def work(folder):
    with sl.start(folder, name="run", sinks=[]) as run, sl.trace_scope("child"):
        with sl.session(task=1) as session:
            session.accept()
with tempfile.TemporaryDirectory() as folder:
    child = multiprocessing.get_context("fork").Process(target=work, args=(folder,))
    child.start()
    child.join()
    assert child.exitcode == 0
    (trace,) = pathlib.Path(folder, "run", "traces").iterdir()
    text = trace.read_text()
    assert '"child"' in text and '"parent"' not in text, text
    assert list(pathlib.Path(folder, "run", "sessions").iterdir())
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60, env=dict(os.environ))


@pytest.mark.parametrize("when", ["before the run", "in the run"])
def test_an_asyncio_that_is_loaded_late_is_noticed_at_once(when: str, tmp_path: Path) -> None:
    """Spans of a task stand in one lane, though no trace was written since asyncio was imported."""
    code = """
import sys, sightline as sl
from sightline.tracing.perf_tracer import TRACER
with sl.trace_scope("without"):
    pass
assert "asyncio" not in sys.modules
def tasks():
    import asyncio
    async def task(i):
        with sl.trace_scope(f"outer {i}"):
            await asyncio.sleep(0.001)
            with sl.trace_scope(f"inner {i}"):
                await asyncio.sleep(0.001)
                assert TRACER.current_span() == f"inner {i}"
    async def main():
        await asyncio.gather(*map(task, range(6)))
    asyncio.run(main())
if sys.argv[1] == "before the run":
    tasks()
with sl.start("runs", name="run", sinks=[]):
    if sys.argv[1] == "in the run":
        assert "asyncio" not in sys.modules
        tasks()
    with sl.trace_scope("on the thread"):
        pass
"""
    subprocess.run(
        [sys.executable, "-c", code, when], check=True, timeout=60, cwd=tmp_path, env=dict(os.environ)
    )
    run = tmp_path / "runs" / "run"
    lanes = {event["name"]: event["id2"] for event in events(run, "b")}
    assert len(lanes) == 12
    for i in range(6):
        assert lanes[f"outer {i}"] == lanes[f"inner {i}"]
    assert {event["name"] for event in events(run, "X")} == {"without", "on the thread"}
