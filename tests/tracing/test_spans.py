"""A span is recorded once, where it was, with what was said of it, however its object is used."""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import sightline as sl
from sightline.tracing.perf_tracer import PerfTracer
from sightline.tracing.spans import ASYNC, Lanes
from tests.recorded import names, of_kind, spans


@pytest.fixture
def tracer() -> PerfTracer:
    made = PerfTracer(enabled=True)
    made._begin_writing()
    return made


def test_spans_nest_and_each_ends_after_what_is_in_it(tracer: PerfTracer) -> None:
    with tracer.trace_scope("outer"), tracer.trace_scope("inner"):
        pass
    inner, outer = spans(tracer._take())
    assert (inner[0], outer[0]) == ("inner", "outer")
    assert outer[2] <= inner[2] <= inner[3] <= outer[3]


def test_arguments_belong_to_one_span_though_objects_are_used_again(tracer: PerfTracer) -> None:
    first, second = tracer.trace_scope("a", n=1), tracer.trace_scope("a")
    with second, tracer.trace_scope("a", n=3), first as span:
        span.set(more=2)
    with tracer.trace_scope("a"):
        pass
    assert [record[4] for record in spans(tracer._take())] == [{"n": 1, "more": 2}, {"n": 3}, None, None]


def test_an_exception_is_noted_and_goes_on(tracer: PerfTracer) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    for error in (ValueError("bad"), Odd()):
        with pytest.raises(type(error)), tracer.trace_scope("a"):
            raise error
    assert [record[4]["exception"] for record in spans(tracer._take())] == ["ValueError: bad", "Odd"]


def test_blocks_that_overlap_on_a_thread_get_a_place_of_their_own(tracer: PerfTracer) -> None:
    first, second = tracer.trace_scope("first"), tracer.trace_scope("second")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert tracer.current_span() == "second"
    second.__exit__(None, None, None)
    assert tracer.current_span() is None
    records = tracer._take()
    assert names(records) == ["second"]
    assert [record[0] for record in of_kind(records, ASYNC)] == ["first"]


def test_a_span_that_is_kept_may_be_entered_again_and_by_other_threads_and_tasks(tracer: PerfTracer) -> None:
    kept, other = tracer.trace_scope("kept", n=1), tracer.trace_scope("other")

    def work() -> None:
        for _ in range(500):
            with kept, other, kept:
                assert tracer.current_span() == "kept"
            assert tracer.current_span() is None

    with kept:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    records = tracer._take()
    assert tracer._open_spans() == []
    found = [record[0] for record in spans(records)] + [record[0] for record in of_kind(records, ASYNC)]
    assert (found.count("kept"), found.count("other")) == (4 * 500 * 2 + 1, 4 * 500)
    assert {record[4]["n"] for record in spans(records) if record[0] == "kept"} == {1}


def test_a_span_that_is_kept_stays_on_its_thread(tracer: PerfTracer) -> None:
    """Also when it has ended in between, and another block of its name could have it."""
    kept = tracer.trace_scope("a")
    for _ in range(3):
        with kept:
            pass
        with tracer.trace_scope("a"), tracer.trace_scope("a"), kept:
            pass
    found = spans(tracer._take())
    assert len(found) == 12
    assert {record[1] for record in found} == {tracer._local.track.tid}


def test_a_span_that_is_left_twice_or_never_entered_disturbs_nobody(tracer: PerfTracer) -> None:
    with tracer.trace_scope("outer"):
        left = tracer.trace_scope("a")
        with left:
            pass
        left.__exit__(None, None, None)
        tracer.trace_scope("b").__exit__(None, None, None)
        assert tracer.current_span() == "outer"
        left.set(late=1)
        with tracer.trace_scope("a"):
            pass
    records = tracer._take()
    assert names(records) == ["a", "a", "outer"]
    assert [record[4] for record in spans(records)][1:] == [None, None]


def test_a_span_of_a_task_is_for_one_block(tracer: PerfTracer) -> None:
    async def main() -> None:
        span = tracer.trace_scope("a")
        with span, pytest.raises(sl.RecordError, match="is entered already"):
            span.__enter__()
        span.__exit__(None, None, None)
        with tracer.trace_scope("b"):
            pass

    tracer._notice_asyncio()
    asyncio.run(main())
    assert [lane for _, lane, *_ in of_kind(tracer._take(), ASYNC)] == [1, 1]


def test_leaving_a_generator_is_no_exception(tracer: PerfTracer) -> None:
    def steps() -> Iterator[int]:
        for i in range(3):
            with tracer.trace_scope("step"):
                yield i

    for _ in steps():
        break
    (step,) = spans(tracer._take())
    assert step[4] is None


def test_tasks_keep_their_spans_apart(tracer: PerfTracer) -> None:
    async def task(number: int) -> None:
        async with tracer.trace_scope("outer", number=number):
            await asyncio.sleep(0.001 * (number % 7))
            with tracer.trace_scope("inner", number=number):
                await asyncio.sleep(0.001 * (number % 5))
                assert tracer.current_span() == "inner"
            assert tracer.current_span() == "outer"

    async def main() -> None:
        await asyncio.gather(*(task(number) for number in range(1000)))

    tracer._notice_asyncio()
    asyncio.run(main())
    records = of_kind(tracer._take(), ASYNC)
    assert len(records) == 2000
    by_number: dict[int, dict[str, Any]] = {}
    for name, lane, _, start, end, args, _ in records:
        assert name not in by_number.setdefault(args["number"], {})
        by_number[args["number"]][name] = (lane, start, end)
    for one in by_number.values():
        (lane, start, end), (inner_lane, inner_start, inner_end) = one["outer"], one["inner"]
        assert lane == inner_lane
        assert start <= inner_start <= inner_end <= end
    in_lane: dict[int, list[tuple[int, int]]] = {}
    for one in by_number.values():
        in_lane.setdefault(one["outer"][0], []).append(one["outer"][1:])
    for times in in_lane.values():
        times.sort()
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(times))
    assert tracer._open_spans() == []


def test_while_a_profile_runs_spans_are_annotations_too(tracer: PerfTracer) -> None:
    seen: list[str] = []

    class Annotation:
        def __init__(self, name: str) -> None:
            self.name = name

        def __enter__(self) -> None:
            seen.append(f"+{self.name}")

        def __exit__(self, *_: object) -> None:
            seen.append(f"-{self.name}")

    tracer._annotate(Annotation)
    with tracer.trace_scope("a"):
        tracer._annotate(None)
        with tracer.trace_scope("b"):
            pass
    with tracer.trace_scope("a"):
        pass
    assert seen == ["+a", "-a"]
    assert names(tracer._take()) == ["b", "a", "a"]


def test_a_task_knows_the_span_it_was_made_in_whatever_its_maker_enters_later(tracer: PerfTracer) -> None:
    """Until that one ends, and then the one around that."""
    seen: list[str | None] = []

    async def made(turn: asyncio.Event, taken: asyncio.Event) -> None:
        for _ in range(4):
            await turn.wait()
            turn.clear()
            seen.append(tracer.current_span())
            taken.set()

    async def main() -> None:
        turn, taken = asyncio.Event(), asyncio.Event()

        async def look() -> None:
            turn.set()
            await taken.wait()
            taken.clear()

        with tracer.trace_scope("outer"):
            with tracer.trace_scope("inner"):
                task = asyncio.create_task(made(turn, taken))
                await look()
                with tracer.trace_scope("later"):
                    await look()
            with tracer.trace_scope("other"):
                await look()
        await look()
        await task

    tracer._notice_asyncio()
    asyncio.run(main())
    assert seen == ["inner", "inner", "outer", None]


def test_spans_that_end_out_of_order_leave_the_right_one_open(tracer: PerfTracer) -> None:
    async def main() -> None:
        first, second = tracer.trace_scope("first"), tracer.trace_scope("second")
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert tracer.current_span() == "second"
        second.__exit__(None, None, None)
        assert tracer.current_span() is None
        with tracer.trace_scope("third"):
            assert tracer.current_span() == "third"

    tracer._notice_asyncio()
    asyncio.run(main())
    assert tracer._open_spans() == []


def test_tasks_that_make_their_successors_keep_no_chain_of_spans(tracer: PerfTracer) -> None:
    """Each is made within the span of the one before, and ends after that."""

    class Marker:
        pass

    markers: list[weakref.ref[Marker]] = []

    async def task(left: int, before: asyncio.Event, end: asyncio.Event) -> None:
        after = asyncio.Event()
        with tracer.trace_scope("task", marker=Marker()) as span:
            markers.append(weakref.ref(span.args["marker"]))  # type: ignore[union-attr,index]
            if left:
                successor = asyncio.create_task(task(left - 1, after, end))
                del successor
                await asyncio.sleep(0)
            await before.wait()
        after.set()
        if not left:
            tracer._take()
            gc.collect()
            alive.extend(number for number, marker in enumerate(markers) if marker() is not None)
            end.set()

    async def main() -> None:
        begin, end = asyncio.Event(), asyncio.Event()
        begin.set()
        first = asyncio.create_task(task(50, begin, end))
        del first
        await end.wait()

    alive: list[int] = []
    tracer._notice_asyncio()
    asyncio.run(main())
    assert len(markers) == 51
    assert set(alive) <= {49, 50}


def test_a_span_of_a_loop_that_another_thread_enters_has_a_lane_of_its_own(tracer: PerfTracer) -> None:
    """It is in no task there, whatever the loop does meanwhile."""

    async def main() -> None:
        with tracer.trace_scope("around"):
            span = tracer.trace_scope("elsewhere")

            def enter() -> None:
                with span:
                    pass

            await asyncio.to_thread(enter)

    tracer._notice_asyncio()
    asyncio.run(main())
    records = {name: (lane, tid) for name, lane, tid, *_ in of_kind(tracer._take(), ASYNC)}
    assert records["around"][0] != records["elsewhere"][0]
    assert records["around"][1] != records["elsewhere"][1]


def test_threads_take_and_give_back_lanes_and_none_has_anothers() -> None:
    lanes, held = Lanes(), [0] * 1000
    begin = threading.Barrier(8)

    def work() -> None:
        begin.wait()
        for _ in range(5000):
            mine = [lanes.take() for _ in range(3)]
            for lane in mine:
                held[lane] += 1
                assert held[lane] == 1
            for lane in mine:
                held[lane] -= 1
                lanes.give_back(lane)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(work) for _ in range(8)]:
                done.result()
    finally:
        sys.setswitchinterval(before)
    taken = [lanes.take() for _ in range(24)]
    assert len(set(taken)) == 24
