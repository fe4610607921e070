"""From a recording call to the records: numbers and arrays of every kind, threads, signals, forks."""

import asyncio
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import sightline as sl
from sightline import RecordError
from tests.recording.local import local

FLOATS = [np.float16, np.float32, np.float64, np.longdouble, ml_dtypes.bfloat16]
FLOATS += [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3b11fnuz]
INTS = [
    np.int8,
    np.int16,
    np.int32,
    np.int64,
    np.uint8,
    np.uint16,
    np.uint32,
    np.uint64,
    ml_dtypes.int4,
    np.bool_,
]


@pytest.mark.parametrize("dtype", FLOATS + INTS, ids=lambda dtype: np.dtype(dtype).name)
def test_every_real_dtype_is_taken_as_it_is(tracker: sl.StatsTracker, dtype: Any) -> None:
    """Arrays, NumPy scalars and 0-d arrays of floats of 8 to 128 bits, ints and bools."""
    values = np.array([0, 1, 1, 0, 1], dtype)
    tracker.summary("s", values)
    tracker.masked("m", values, np.array([1, 1, 0, 0, 1]))
    tracker.scalar(x=values[1], y=values[1:2], z=np.array(1, dtype))
    tracker.total(t=values[1], u=values[1:2])
    tracker.last(l=values[1])
    tracker.ratio("r", values[1], values[2])
    tracker.rate("q", values[1])
    stats = local(tracker)
    assert stats["s/mean"] == 0.6
    assert stats["s/std"] == pytest.approx(np.array([0, 1, 1, 0, 1.0]).std())
    assert (stats["m/mean"], stats["m__count"]) == (pytest.approx(2 / 3), 3)
    assert [stats[key] for key in "xyztulr"] == [1] * 7


@pytest.mark.parametrize(
    "dtype", [jnp.float32, jnp.bfloat16, jnp.float16, jnp.int32, jnp.bool_, jnp.float8_e5m2]
)
def test_jax_arrays_are_converted(tracker: sl.StatsTracker, dtype: Any) -> None:
    """Of any dtype, as values, masks and numbers."""
    values = jnp.array([0, 1, 1, 0], dtype)
    tracker.summary("s", values)
    tracker.masked("m", values, values == 1)
    tracker.scalar(x=values[1])
    tracker.total(t=values[1])
    stats = local(tracker)
    assert (stats["s/mean"], stats["m/mean"], stats["x"], stats["t"]) == (0.5, 1.0, 1.0, 1)


@pytest.mark.parametrize(
    "number", [True, 3, 0.5, np.float32(0.5), np.int8(3), np.bool_(True), np.array([[2.0]])]
)
def test_numbers_of_any_kind_are_numbers(tracker: sl.StatsTracker, number: Any) -> None:
    """Python's, NumPy's, and arrays of one element."""
    tracker.scalar(a=number)
    tracker.total(b=number)
    tracker.last(c=number)
    stats = local(tracker)
    assert stats["a"] == stats["b"] == stats["c"] == float(np.asarray(number).item())


class Number(float):
    """A subclass of float is a float."""


def test_subclasses_of_numbers_are_numbers(tracker: sl.StatsTracker) -> None:
    """What is recorded is the plain number."""
    tracker.scalar(a=Number(0.5))
    tracker.last(b=Number(0.5))
    assert local(tracker) == {"a": 0.5, "a__count": 1, "b": 0.5}


@settings(deadline=None, max_examples=40)
@given(
    hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=6), elements=st.floats(-1e6, 1e6, width=32)),
    st.randoms(use_true_random=False),
)
def test_a_mask_of_any_kind_chooses_the_same(values: Any, random: Any) -> None:
    """Bool, int, float and bf16 masks, on C, Fortran and strided arrays."""
    mask = np.array([random.random() < 0.5 for _ in range(values.size)]).reshape(values.shape)
    chosen = values[mask].astype(np.float64)
    layouts: list[Callable[[Any], Any]] = [
        np.ascontiguousarray,
        np.asfortranarray,
        lambda x: np.repeat(x, 2, -1)[..., ::2],
    ]
    for layout in layouts:
        for dtype in (np.bool_, np.int32, np.float32, ml_dtypes.bfloat16):
            tracker = sl.StatsTracker()
            tracker.masked("x", layout(values), mask.astype(dtype))
            stats = local(tracker)
            assert stats["x__count"] == chosen.size
            if chosen.size:
                scale = max(abs(chosen.mean()), chosen.std())
                assert stats["x/mean"] == pytest.approx(chosen.mean(), rel=0, abs=1e-9 * scale)
                assert stats["x/std"] == pytest.approx(chosen.std(), rel=0, abs=1e-9 * scale)
                assert (stats["x/min"], stats["x/max"]) == (chosen.min(), chosen.max())
            else:
                assert stats == {"x__count": 0}


@pytest.mark.parametrize("values", [np.zeros((0,)), np.zeros((3, 0), np.int8), [], jnp.zeros((0, 2))])
def test_an_empty_array_counts_nothing(tracker: sl.StatsTracker, values: Any) -> None:
    """Its key is there with count 0, and adds nothing to other records."""
    tracker.summary("x", values, quantiles=(0.5,))
    tracker.masked("y", [1.0], [0])
    assert local(tracker) == {"x__count": 0, "y__count": 0}
    tracker.summary("x", values, quantiles=(0.5,))
    tracker.summary("x", [2.0], quantiles=(0.5,))
    assert local(tracker) == {
        "x/mean": 2.0,
        "x/std": 0.0,
        "x/min": 2.0,
        "x/max": 2.0,
        "x/p50": 2.0,
        "x__count": 1,
    }


def test_huge_and_tiny_values_raise_no_warning(tracker: sl.StatsTracker) -> None:
    """1e300, the largest float, subnormals, NaN and infinities, in every call."""
    for value in (1e300, -1.7976931348623157e308, 5e-324, math.nan, math.inf, -math.inf, 10**308):
        tracker.scalar(a=value)
        tracker.total(b=value)
        tracker.last(c=value)
        tracker.ratio("d", value, value)
        tracker.summary(
            "e", [float(value), 1.0, -1.0], quantiles=(0.5,), emit=("mean", "std", "min", "max", "sum")
        )
    stats = local(tracker)
    assert stats["e__count"] == 21
    assert math.isnan(stats["a"])
    assert (stats["e/min"], stats["e/max"]) == (-1.7976931348623157e308, 1e308)


def test_values_beyond_the_spread_of_float64(tracker: sl.StatsTracker) -> None:
    """Means of ±1e300 in scalars, over records and arrays."""
    for value in (1e300, -1e300):
        tracker.scalar(a=value)
        tracker.summary("b", [value])
    stats = local(tracker)
    assert (stats["a"], stats["b/mean"], stats["b/std"]) == (0.0, 0.0, math.inf)


def test_nonfinite_values_are_shown_or_dropped(tracker: sl.StatsTracker) -> None:
    """As the call says; dropped ones are not counted."""
    for value in (1.0, math.nan, 3.0):
        tracker.scalar(shown=value)
        tracker.scalar("dropped", value, nonfinite="drop")
    tracker.summary("s", [1.0, math.inf, 3.0], nonfinite="drop", quantiles=(1.0,))
    tracker.masked("m", [1.0, math.inf, 3.0], [1, 1, 0], nonfinite="drop")
    stats = local(tracker)
    assert math.isnan(stats["shown"])
    assert (stats["dropped"], stats["dropped__count"]) == (2.0, 2)
    assert (stats["s/mean"], stats["s/max"], stats["s__count"]) == (2.0, 3.0, 2)
    assert (stats["m/mean"], stats["m__count"]) == (1.0, 1)


def test_nothing_recorded_is_a_view_of_the_callers_array(tracker: sl.StatsTracker) -> None:
    """The buffer may be overwritten on the next line."""
    buffer = np.array([1.0, 3.0])
    tracker.summary("s", buffer, quantiles=(0.5,))
    tracker.masked("m", buffer, buffer > 0)
    tracker.scalar(x=buffer[:1])
    tracker.total(t=buffer[:1])
    tracker.last(l=buffer[1:])
    buffer[:] = 99.0
    stats = local(tracker)
    assert (stats["s/max"], stats["m/max"], stats["x"], stats["t"], stats["l"]) == (3.0, 3.0, 1.0, 1, 3.0)


def test_a_value_inside_jit_is_told_so(tracker: sl.StatsTracker) -> None:
    """A tracer has no value to record."""
    jax = pytest.importorskip("jax")
    with pytest.raises(RecordError, match=r"scalar\('loss'\): this value is traced") as raised:
        jax.jit(lambda x: tracker.scalar(loss=x))(1.0)
    assert "right:  step = jax.jit(sl.collect(update))" in str(raised.value)


def test_eight_threads_and_200_tasks_lose_nothing_while_another_exports() -> None:
    """Every kind of record, first uses of keys included, each exactly once over all the exports."""
    tracker = sl.StatsTracker()
    rounds, threads, tasks = 300, 8, 200
    exports: list[dict[str, Any]] = []
    done = threading.Event()

    def export() -> None:
        while not done.is_set():
            exports.append(local(tracker))

    def record(who: str, i: int) -> None:
        tracker.scalar(shared=1.0)
        tracker.scalar(shared=1.0, second=2.0)
        tracker.total(total=1)
        tracker.ratio("ratio", 1, 2)
        tracker.summary("summary", [1.0, 3.0], emit=("count", "sum"), quantiles=(0.5,))
        tracker._add_timing("timing", 0.5)
        with tracker.scope(who):
            tracker.scalar(**{f"new{i % 50}": 1.0})  # first used by this thread or task

    def in_thread(number: int) -> None:
        for i in range(rounds):
            record(f"thread{number}", i)

    async def in_task(number: int) -> None:
        for i in range(4):
            record(f"task{number}", i)
            await asyncio.sleep(0)

    async def all_tasks() -> None:
        await asyncio.gather(*(in_task(i) for i in range(tasks)))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        exporter = threading.Thread(target=export)
        workers = [threading.Thread(target=in_thread, args=(i,)) for i in range(threads)]
        for thread in (exporter, *workers):
            thread.start()
        asyncio.run(all_tasks())
        for thread in workers:
            thread.join()
        done.set()
        exporter.join()
    finally:
        sys.setswitchinterval(before)
    exports.append(local(tracker))
    records = threads * rounds + tasks * 4

    def counted(key: str) -> float:
        return sum(float(each.get(key, 0)) for each in exports)

    assert len(exports) > 2
    assert counted("shared__count") == 2 * records
    assert counted("second__count") == records
    assert counted("total") == records
    assert counted("summary/count") == 2 * records
    assert counted("summary/sum") == 4 * records
    assert counted("time/timing_s") == 0.5 * records
    assert all(each["ratio"] == 0.5 for each in exports if "ratio" in each)
    assert all(each["second"] == 2.0 for each in exports if "second" in each)
    for number in range(threads):
        assert sum(counted(f"thread{number}/new{i}__count") for i in range(50)) == rounds
    for number in range(tasks):
        assert sum(counted(f"task{number}/new{i}__count") for i in range(4)) == 4


def test_a_signal_handler_may_record_while_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """No deadlock, and each record of both counts once, folds included."""
    for room in ("recording.records", "tracking.stats_tracker"):
        monkeypatch.setattr(f"sightline.{room}.FOLD_AT", 16)
    tracker = sl.StatsTracker()
    handled = 0

    def handler(number: int, frame: object) -> None:
        nonlocal handled
        handled += 1
        tracker.scalar(x=1.0)
        tracker.scalar(x=1.0, y=1.0)
        tracker.total(t=1)
        tracker.summary("s", [1.0], emit=("sum",))

    before = signal.signal(signal.SIGALRM, handler)
    recorded = 0
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            recorded += 1
            tracker.scalar(x=1.0)
            tracker.scalar(x=1.0, y=1.0)
            tracker.total(t=1)
            tracker.summary("s", [1.0], emit=("sum",))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    stats = local(tracker)
    assert handled > 20
    both = recorded + handled
    assert (stats["x__count"], stats["y__count"], stats["t"], stats["s/sum"]) == (2 * both, both, both, both)


def test_a_forked_child_can_record_whatever_the_parents_threads_held() -> None:
    """Its locks are its own, and what the parent had recorded stays the parent's."""
    tracker = sl.StatsTracker()
    tracker.scalar(x=1.0)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with tracker._lock:
            held.set()
            release.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking with threads, which is the point
        child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            tracker.scalar(x=5.0)
            os.write(writing, repr(tracker.export(reduce="local")).encode())
        finally:
            os._exit(0)
    release.set()
    thread.join()
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "{'x': 5.0, 'x__count': 1}"
    os.waitpid(child, 0)
    assert local(tracker) == {"x": 1.0, "x__count": 1}
