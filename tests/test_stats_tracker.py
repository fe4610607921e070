"""Recording: every call with every kind of value, errors that teach, and nothing lost between threads."""

import asyncio
import gc
import math
import os
import re
import signal
import sys
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
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


@pytest.fixture
def tracker() -> sl.StatsTracker:
    return sl.StatsTracker()


def local(tracker: sl.StatsTracker) -> dict[str, Any]:
    return tracker.export(reduce="local")


def line_of(text: str) -> int:
    """The line of this file that holds ``text`` for the first time."""
    with open(__file__, encoding="utf-8") as file:
        return next(number for number, line in enumerate(file, 1) if text in line)


# --- what each call exports --------------------------------------------------------------------------------


def test_every_call_exports_what_the_table_says(tracker: sl.StatsTracker) -> None:
    """All names and values of one step, nothing more and nothing less."""
    with tracker.scope("train"):
        tracker.scalar(loss=1.0, kl=0.5)
        tracker.scalar("loss", 2.0)
        tracker.total(tokens=3)
        tracker.total("tokens", 4)
        tracker.last(lr=0.1)
        tracker.last("lr", 0.2)
        tracker.ratio("accuracy", 1, 4)
        tracker.rate("samples", 8)
        tracker.rate("updates", 6, over="update")
        tracker.summary("reward/total", [[1.0, 3.0]])
        tracker.summary("length", [1, 2, 3, 4], emit=("sum", "count"), quantiles=(0.5, 1))
        tracker.masked("advantage", [[1.0, 2.0], [3.0, 9.0]], [[1, 1], [1, 0]])
        tracker.text(split="test")
        tracker.text("note", "a b")
        with tracker.record_timing("update"):
            time.sleep(0.002)
    stats = local(tracker)
    update = stats.pop("time/train/update_s")
    assert 0.002 <= update < 5
    assert stats.pop("time/train/update_s_max") == update
    assert stats.pop("throughput/train/updates_per_s") == pytest.approx(6 / update)
    assert 0 < stats.pop("throughput/train/samples_per_s") < 8 / 0.002
    assert stats.pop("train/length/p50") == pytest.approx(2, rel=0.01)
    assert stats.pop("train/length/p100") == pytest.approx(4, rel=0.01)
    assert stats == {
        "time/train/update_s_slowest": 0,
        "train/loss": 1.5, "train/loss__count": 2,
        "train/kl": 0.5, "train/kl__count": 1,
        "train/tokens": 7,
        "train/lr": 0.2,
        "train/accuracy": 0.25,
        "train/reward/total/mean": 2.0, "train/reward/total/std": 1.0,
        "train/reward/total/min": 1.0, "train/reward/total/max": 3.0, "train/reward/total__count": 2,
        "train/length/sum": 10.0, "train/length/count": 4, "train/length__count": 4,
        "train/advantage/mean": 2.0, "train/advantage/std": pytest.approx(math.sqrt(2 / 3)),
        "train/advantage/min": 1.0, "train/advantage/max": 3.0, "train/advantage__count": 3,
        "train/split": "test", "train/note": "a b",
    }  # fmt: skip
    assert type(stats["train/tokens"]) is int
    assert local(tracker) == {}


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


def test_a_histogram_is_of_all_elements_of_all_records(tracker: sl.StatsTracker) -> None:
    """Of any shape and dtype, under the scope; a mask chooses; what is not finite is in no bin."""
    with tracker.scope("train"):
        tracker.histogram("length", np.array([[1, 2], [2, 9]], np.int8), bins=4)
        tracker.histogram("length", [6.0, 100.0], mask=[1, 0], bins=4)
        tracker.histogram("length", jnp.array([1.0, math.nan], jnp.bfloat16), bins=4)
        tracker.histogram("dropped", [1.0, math.inf], bins=np.int64(1), nonfinite="drop")
    rendered = tracker.snapshot(reset=False).render()
    assert rendered.histograms == {
        "train/dropped": ([0.5, 1.5], [1]),
        "train/length": ([1.0, 3.0, 5.0, 7.0, 9.0], [4, 0, 1, 1]),
    }
    assert rendered.nonfinite == 1
    assert local(tracker) == {"train/dropped__count": 1, "train/length__count": 7}


def test_a_histogram_has_one_number_of_bins_and_no_other_reduction(tracker: sl.StatsTracker) -> None:
    """In one process; both call sites are named."""
    tracker.histogram("a", [1.0], bins=8)
    tracker.histogram("a", [2.0], bins=8)
    with pytest.raises(RecordError, match=r"histogram\(bins=8\) at .*, and now histogram\(bins=64\) at"):
        tracker.histogram("a", [1.0])
    with pytest.raises(RecordError, match=r"histogram\(bins=8\) at .* and now summary\(emit="):
        tracker.summary("a", [1.0])
    with pytest.raises(RecordError, match=r"cannot stand beside what histogram 'a' at"):
        tracker.scalar("a/b", 1.0)
    assert tracker.snapshot().render().histograms["a"][1] == [1, 0, 0, 0, 0, 0, 0, 1]


def test_many_records_of_a_histogram_fold(tracker: sl.StatsTracker) -> None:
    """No element is lost or counted twice."""
    for i in range(1000):
        tracker.histogram("a", [float(i % 10)], bins=10)
    assert tracker.snapshot().render().histograms["a"][1] == [100] * 10


def test_two_values_under_one_mask_are_two_records(tracker: sl.StatsTracker) -> None:
    """Values belong to the mask that stands beside them, not to the next free one."""
    mask = np.array([True, False])
    tracker.masked("a", [1.0, 9.0], mask)
    tracker.masked("a", [3.0, 9.0], mask)
    assert local(tracker)["a/mean"] == 2.0


def test_integers_are_exact(tracker: sl.StatsTracker) -> None:
    """Totals past 2^53, over many records, also after folding."""
    for _ in range(70_000):
        tracker.total(tokens=2**40 + 1)
    tracker.total(tokens=2**53 + 1)
    assert local(tracker)["tokens"] == 70_000 * (2**40 + 1) + 2**53 + 1


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


def test_a_text_with_a_lone_surrogate_can_be_sent(tracker: sl.StatsTracker) -> None:
    """File names may hold them; JSON cannot."""
    tracker.text(path="a\udcff")
    assert sl.Snapshot.from_bytes(tracker.snapshot().to_bytes()).texts == ["a\\udcff"]


def test_reset_false_leaves_the_records(tracker: sl.StatsTracker) -> None:
    """A look at what is there, that changes nothing."""
    tracker.scalar(a=1.0)
    tracker.summary("b", [1.0], quantiles=(0.5,))
    tracker.total(c=1)
    tracker.text(d="x")
    looked = tracker.export(reduce="local", reset=False)
    tracker.scalar(a=3.0)
    assert looked["a"] == 1.0
    stats = local(tracker)
    assert (stats["a"], stats["b__count"], stats["c"], stats["d"]) == (2.0, 1, 1, "x")


def test_timing_key_spells_timings_otherwise() -> None:
    """As other libraries do; rates over a timing follow."""
    tracker = sl.StatsTracker(timing_key="timeperf/{key}")
    with tracker.scope("train"), tracker.record_timing("update") as timing:
        time.sleep(0.001)
    with tracker.scope("train"):
        tracker.rate("tokens", 10, over="update")
    stats = local(tracker)
    assert stats["timeperf/train/update"] == timing.seconds
    assert stats["throughput/train/tokens_per_s"] == pytest.approx(10 / timing.seconds)


def test_a_timing_is_recorded_on_an_exception_too(tracker: sl.StatsTracker) -> None:
    """And the exception goes on."""
    with pytest.raises(KeyError), tracker.record_timing("x"):
        raise KeyError
    assert local(tracker)["time/x_s"] > 0


# --- errors that teach -------------------------------------------------------------------------------------


class Number(float):
    """A subclass of float is a float."""


def test_subclasses_of_numbers_are_numbers(tracker: sl.StatsTracker) -> None:
    """What is recorded is the plain number."""
    tracker.scalar(a=Number(0.5))
    tracker.last(b=Number(0.5))
    assert local(tracker) == {"a": 0.5, "a__count": 1, "b": 0.5}


WRONG: list[tuple[Callable[[sl.StatsTracker], object], str]] = [
    (lambda t: t.masked("a", np.ones((2, 3)), np.ones(2)),
     r"the mask has shape \(2,\) and the values \(2, 3\); they must be equal. .* np.broadcast_to"),
    (lambda t: t.masked("a", [1.0, 2.0], [0.5, 1.0]),
     r"the mask holds 0.5; expected bools or 0 and 1. .* use ratio"),
    (lambda t: t.masked("a", [1.0], [math.nan]), "the mask holds nan"),
    (lambda t: t.masked("a", [1.0], [2]), "the mask holds 2"),
    (lambda t: t.masked("a", [1.0], ["x"]), "the mask holds 'x'"),
    (lambda t: t.masked("a", 1.0, None), "the mask holds None"),
    (lambda t: t.scalar(a="0.5"), r"scalar\('a'\): got '0.5' \(<U3\); expected real numbers"),
    (lambda t: t.scalar(a=None), r"scalar\('a'\): got None \(object\)"),
    (lambda t: t.scalar(a=1j), r"scalar\('a'\): got 1j \(complex128\)"),
    (lambda t: t.scalar(a={}), r"got {} \(object\)"),
    (lambda t: t.scalar("a"), r"the value is missing; write scalar\('a', value\)"),
    (lambda t: t.scalar(a=[1.0, 2.0]),
     r"array of shape \(2,\), expected one number; .* use summary\('a', values\)"),
    (lambda t: t.scalar(a=10**400), "an int beyond"),
    (lambda t: t.scalar("a", 1.0, nonfinite="skip"), "nonfinite='skip'; expected 'show' or 'drop'"),
    (lambda t: t.total(a="x"), r"total\('a'\): got 'x'"),
    (lambda t: t.total(a=10**400), "an int beyond"),
    (lambda t: t.total("a"), r"write total\('a', value\)"),
    (lambda t: t.last(a=object()), r"last\('a'\): got <object"),
    (lambda t: t.last(a=10**400), "an int beyond"),
    (lambda t: t.ratio("a", 1, None), r"ratio\('a'\): got None"),
    (lambda t: t.rate("a", "x"), r"rate\('a'\): got 'x'"),
    (lambda t: t.rate("a", 1, over="b/"), "'b/' has an empty part"),
    (lambda t: t.summary("a", [[1.0], [1.0, 2.0]]), r"summary\('a'\): not one array of numbers"),
    (lambda t: t.summary("a", ["x"]), r"got \['x'\]"),
    (lambda t: t.summary("a", [1.0, None]), r"got \[1.0, None\] \(object\)"),
    (lambda t: t.summary("a", np.array(["2020"], "M8[Y]")), "datetime64"),
    (lambda t: t.summary("a", np.zeros(2, [("x", "f4")])), "expected real numbers"),
    (lambda t: t.summary("a", [1.0], emit=("avg",)),
     r"emit=\('avg',\); expected some of mean, std, .* 'avg' is none"),
    (lambda t: t.summary("a", [1.0], emit="avg"), r"emit=\('avg',\)"),
    (lambda t: t.summary("a", [1.0], emit=()), "expected some of mean, std"),
    (lambda t: t.summary("a", [1.0], quantiles=(50,)), r"quantiles=\(50,\); expected numbers in \[0, 1\]"),
    (lambda t: t.summary("a", [1.0], quantiles=("p50",)), r"quantiles=\('p50',\)"),
    (lambda t: t.summary("a", [1.0], quantiles=(math.nan,)), "quantiles="),
    (lambda t: t.summary("a", [1.0], quantiles=0.5), "quantiles=0.5"),
    (lambda t: t.summary("a", [1.0], nonfinite="no"), "nonfinite='no'"),
    (lambda t: t.histogram("a", ["x"]), r"histogram\('a'\): got \['x'\]"),
    (lambda t: t.histogram("a", [1.0], bins=0),
     r"histogram\('a'\): bins=0; expected how many, an int from 1 to 1024, as in bins=64"),
    (lambda t: t.histogram("a", [1.0], bins=1025), "bins=1025; expected"),
    (lambda t: t.histogram("a", [1.0], bins=8.0), r"bins=8\.0; expected"),  # type: ignore[arg-type]
    (lambda t: t.histogram("a", [1.0], bins=True), "bins=True; expected"),
    (lambda t: t.histogram("a", [1.0], bins=[0, 1]), r"bins=\[0, 1\]; .* edges follow"),  # type: ignore[arg-type]
    (lambda t: t.histogram("a", [1.0, 2.0], mask=[1]), r"histogram\('a'\): the mask has shape \(1,\)"),
    (lambda t: t.histogram("a", [1.0], mask=[0.5]), r"histogram\('a'\): the mask holds 0\.5"),
    (lambda t: t.histogram("a", [1.0], nonfinite="no"), "nonfinite='no'"),
    (lambda t: t.text(a=3), r"text\(a=3\): expected a str, got int"),
    (lambda t: t.text("a"), r"write text\('a', value\)"),
    (lambda t: t.scope(""), "'' has an empty part"),
    (lambda t: t.scope("a/"), "'a/' has an empty part"),
    (lambda t: t.scope(None), "None is a NoneType"),  # type: ignore[arg-type]
    (lambda t: t.record_timing("a//b"), "'a//b' has an empty part"),
    (lambda t: t.scalar("", 1.0), "'' has an empty part"),
    (lambda t: t.scalar("a//b", 1.0), "'a//b' has an empty part"),
    (lambda t: t.scalar("a__count", 1.0), "ends in '__count', which is reserved"),
    (lambda t: t.scalar("obs/x", 1.0), "'obs/x': keys under 'obs/' are sightline's own"),
    (lambda t: t.scalar("obs", 1.0), "'obs': keys under 'obs/' are sightline's own"),
    (lambda t: t.scalar("a\nb", 1.0), "control characters"),
    (lambda t: t.total(3, 1), "3 is a int; a key is a string"),  # type: ignore[arg-type]
    (lambda t: t.export(reduce="sum"), "reduce='sum'.*expected 'process', 'local' or 'all'"),  # type: ignore[arg-type]
]  # fmt: skip


@pytest.mark.parametrize(("call", "said"), WRONG, ids=range(len(WRONG)))
def test_what_cannot_be_right_is_refused_where_it_stands(
    call: Callable[[sl.StatsTracker], object], said: str
) -> None:
    """With the value, what was expected, and the fix; nothing is recorded by halves."""
    tracker = sl.StatsTracker()
    with pytest.raises(RecordError, match=said):
        call(tracker)
    assert local(tracker) == {}
    assert not tracker.drain()


def test_a_long_value_is_not_poured_into_the_message(tracker: sl.StatsTracker) -> None:
    """The start of it says enough."""
    with pytest.raises(RecordError) as raised:
        tracker.summary("a", ["x" * 10_000])
    assert len(str(raised.value)) < 300


def test_a_value_inside_jit_is_told_so(tracker: sl.StatsTracker) -> None:
    """A tracer has no value to record."""
    jax = pytest.importorskip("jax")
    with pytest.raises(RecordError, match=r"scalar\('loss'\): this value is traced") as raised:
        jax.jit(lambda x: tracker.scalar(loss=x))(1.0)
    assert "right:  step = jax.jit(sl.collect(update))" in str(raised.value)


def test_a_call_with_several_values_records_all_or_none(tracker: sl.StatsTracker) -> None:
    """One wrong value, wherever it stands, keeps the right ones out."""
    tracker.scalar(a=1.0, b=1.0)
    calls: list[Callable[[], object]] = [
        lambda: tracker.scalar(a=2.0, b="x"),
        lambda: tracker.scalar(**{"a": 2.0, "b": 2.0, "c//d": 2.0}),
        lambda: tracker.scalar(**{"a": 2.0, "a/b": 2.0}),
        lambda: tracker.total(t=1, u=None),
        lambda: tracker.total(**{"t": 1, "a": 1}),
        lambda: tracker.last(**{"l": 1, "a": 1}),
        lambda: tracker.text(**{"x": "y", "a": "z"}),
    ]
    for call in calls:
        with pytest.raises(RecordError):
            call()
    assert local(tracker) == {"a": 1.0, "a__count": 1, "b": 1.0, "b__count": 1}


def test_one_key_with_two_reductions_names_both_call_sites(tracker: sl.StatsTracker) -> None:
    """File and line of the callers, with the reductions and their options."""
    with tracker.scope("train"):
        tracker.summary("loss", [1.0], quantiles=(0.5,))  # the first site
        with pytest.raises(RecordError) as raised:
            tracker.total(loss=1)  # the second site
    message = str(raised.value)
    here = os.path.relpath(__file__)
    assert message.startswith(
        "'train/loss' has two reductions: summary(emit=('mean', 'std', 'min', 'max'), quantiles="
    )
    assert (
        f"at {here}:{line_of('# the first site')}, and now total at {here}:{line_of('# the second site')}"
        in message
    )
    assert "rename one" in message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda t: t.scalar(a=1.0), lambda t: t.last(a=1.0)),
        (lambda t: t.total(a=1), lambda t: t.scalar(a=1.0)),
        (lambda t: t.total(a=1), lambda t: t.total(a=1, replicated=True)),
        (lambda t: t.summary("a", [1.0]), lambda t: t.summary("a", [1.0], emit=("mean",))),
        (lambda t: t.masked("a", [1.0], [1]), lambda t: t.summary("a", [1.0], quantiles=(0.5,))),
        (lambda t: t.rate("a", 1), lambda t: t.rate("a", 1, over="b")),
        (lambda t: t.ratio("a", 1, 1), lambda t: t.text(a="x")),
    ],
)
def test_a_key_keeps_its_reduction(first: Callable[..., object], second: Callable[..., object]) -> None:
    """From its first record on, over exports, options included."""
    tracker = sl.StatsTracker()
    first(tracker)
    local(tracker)
    with pytest.raises(RecordError, match="two reductions"):
        second(tracker)


def test_masked_and_summary_of_one_key_are_one_reduction(tracker: sl.StatsTracker) -> None:
    """A mask chooses elements; what is done with them is the same."""
    tracker.masked("a", [1.0, 9.0], [1, 0])
    tracker.summary("a", [3.0])
    assert local(tracker)["a/mean"] == 2.0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda t: t.scalar(a=1.0), lambda t: t.scalar(**{"a/b": 1.0})),
        (lambda t: t.scalar(**{"a/b/c": 1.0}), lambda t: t.scalar(a=1.0)),
        (lambda t: t.scalar(**{"a/mean": 1.0}), lambda t: t.summary("a", [1.0])),
        (lambda t: t.summary("a", [1.0]), lambda t: t.scalar(**{"a": 1.0, "b": 1.0})),
        (lambda t: t.text(a="x"), lambda t: t.total(**{"a/b": 1})),
        (lambda t: t._add_timing("x", 1.0), lambda t: t.scalar(**{"time/x_s_max": 1.0})),
        (lambda t: t.rate("x", 1), lambda t: t.last(**{"throughput/x_per_s/y": 1})),
    ],
)  # fmt: skip
def test_no_key_is_a_folder_of_another(first: Callable[..., object], second: Callable[..., object]) -> None:
    """Exported names count: ``a/mean`` of a summary, ``…_s_max`` of a timing."""
    tracker = sl.StatsTracker()
    first(tracker)
    with pytest.raises(RecordError, match=r"two reductions|no key may be another, or a folder of another"):
        second(tracker)


def test_a_summary_beside_its_own_folder_is_fine(tracker: sl.StatsTracker) -> None:
    """``reward/total/mean`` and ``reward/total/median`` do not hide each other."""
    tracker.summary("reward/total", [1.0])
    tracker.scalar("reward/total/median", 1.0)
    assert local(tracker)["reward/total/median"] == 1.0


@pytest.mark.parametrize("key", ["time", "{key", "{key}/{other}", "{0}", "{key}//s", "{key.x}", ""])
def test_a_timing_key_that_cannot_work_is_refused(key: str) -> None:
    """When the tracker is made, not at the first timing."""
    with pytest.raises(RecordError, match=re.escape(f"timing_key={key!r}")):
        sl.StatsTracker(timing_key=key)


def test_recording_works_in_a_deleted_directory(
    tracker: sl.StatsTracker, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call site is then named in full."""
    monkeypatch.chdir(tmp_path)
    os.rmdir(tmp_path)
    tracker.scalar(a=1.0)
    with pytest.raises(RecordError, match=re.escape(__file__)):
        tracker.total(a=1)


# --- scopes ------------------------------------------------------------------------------------------------


def test_scopes_nest_and_end_on_exceptions(tracker: sl.StatsTracker) -> None:
    """What is recorded afterwards is outside again."""
    with pytest.raises(RecordError), tracker.scope("a"), tracker.scope("b/c"):
        tracker.scalar(x=1.0, y="wrong")
    with tracker.scope("a"), tracker.scope("b/c"):
        tracker.scalar(x=1.0)
    tracker.scalar(y=1.0)
    assert {key for key in local(tracker) if "__" not in key} == {"a/b/c/x", "y"}


def test_a_scope_object_may_be_used_again(tracker: sl.StatsTracker) -> None:
    """Nested in itself, and after an exception."""
    scope = tracker.scope("a")
    with scope, scope:
        tracker.scalar(x=1.0)
    with scope:
        tracker.scalar(y=1.0)
    assert {key for key in local(tracker) if "__" not in key} == {"a/a/x", "a/y"}


def test_scopes_left_out_of_order_take_only_themselves(tracker: sl.StatsTracker) -> None:
    """A generator that holds a scope open over a yield does not bend its consumer's scope for ever."""

    def holding() -> Iterator[int]:
        with tracker.scope("inner"):
            yield 1

    generator = holding()
    next(generator)
    with tracker.scope("outer"):
        generator.close()
        tracker.scalar(x=1.0)
    tracker.scalar(y=1.0)
    assert {key for key in local(tracker) if "__" not in key} == {"outer/x", "y"}


def test_scopes_of_threads_and_tasks_do_not_disturb_each_other(tracker: sl.StatsTracker) -> None:
    """Each task and each thread sees its own path, however they interleave."""

    async def nested(name: str) -> None:
        with tracker.scope(name):
            await asyncio.sleep(0)
            with tracker.scope("in"):
                await asyncio.sleep(0)
                tracker.scalar(x=1.0)
            await asyncio.sleep(0)
            tracker.scalar(y=1.0)

    async def many() -> None:
        await asyncio.gather(*(nested(f"task{i}") for i in range(20)))

    threads = [threading.Thread(target=asyncio.run, args=(nested(f"thread{i}"),)) for i in range(4)]
    with tracker.scope("main"):
        for thread in threads:
            thread.start()
        asyncio.run(many())
        for thread in threads:
            thread.join()
    names = {f"main/task{i}" for i in range(20)} | {f"thread{i}" for i in range(4)}
    assert {key for key in local(tracker) if "__" not in key} == {
        f"{n}/{k}" for n in names for k in ("in/x", "y")
    }


def test_trackers_have_scopes_of_their_own(tracker: sl.StatsTracker) -> None:
    """The scope of one means nothing to another."""
    other = sl.StatsTracker("other")
    with tracker.scope("a"):
        other.scalar(x=1.0)
    assert local(other)["x"] == 1.0


# --- threads, tasks, signals, forks ------------------------------------------------------------------------


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
    for room in ("records", "stats_tracker"):
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


# --- memory ------------------------------------------------------------------------------------------------


def test_a_million_records_without_an_export_stay_small_and_right(tracker: sl.StatsTracker) -> None:
    """They fold; the numbers are those of NumPy on all of them."""
    data = (1e8 + np.random.default_rng(0).standard_normal(1_000_000)).tolist()
    gc.collect()
    tracemalloc.start()
    try:
        for value in data:
            tracker.scalar(x=value)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 2_000_000
    moments = tracker.snapshot().moments
    assert moments.counts[0, 0] == 1_000_000
    assert moments.mean()[0] == pytest.approx(np.mean(data), rel=1e-15)
    assert moments.std()[0] == pytest.approx(np.std(data), rel=1e-9)


def test_other_records_fold_too(tracker: sl.StatsTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Totals, ratios, timings, summaries and sketches keep their numbers and not their records."""
    for room in ("records", "stats_tracker"):
        monkeypatch.setattr(f"sightline.{room}.FOLD_AT", 64)
    for i in range(1000):
        tracker.total(t=0.1)
        tracker.total(n=i)
        tracker.ratio("r", 0.1, 0.2)
        tracker.last(l=i)
        tracker._add_timing("x", 0.25)
        tracker.summary("s", [float(i)], quantiles=(0.5,))
    records = tracker._records
    assert all(len(values) <= 64 for values in (*records.singles.values(), *records.rows.values()))
    assert all(len(sketches) <= 65 for sketches in records.sketches.values())
    stats = local(tracker)
    assert (stats["t"], stats["n"], stats["l"]) == (math.fsum([0.1] * 1000), 499_500, 999)
    assert stats["r"] == pytest.approx(0.5, rel=1e-15)
    assert stats["time/x_s"] == 250.0
    assert (stats["s/mean"], stats["s__count"]) == (499.5, 1000)
    assert stats["s/p50"] == pytest.approx(499, rel=0.01)


def test_draining_does_not_depend_on_the_number_of_keys() -> None:
    """It swaps the store; the training thread does not pay for the reduction."""
    tracker = sl.StatsTracker()
    tracker.scalar(**{f"k{i}": 1.0 for i in range(5000)})
    store = tracker._records
    drained = tracker.drain()
    assert drained._records is store
    assert len(drained.recorded()) == 5000


# --- off ---------------------------------------------------------------------------------------------------


def test_a_disabled_tracker_does_nothing(tracker: sl.StatsTracker) -> None:
    """No check, no record, no wait; decorators give the function itself."""
    off = sl.StatsTracker(enabled=False)
    with off.scope(name="a") as _, off.record_timing(key="b") as timing:
        off.scalar(x="nonsense")
        off.total(x=None)
        off.masked("x", 1, None)
        off.summary("//", object())
        off.ratio("x", 1, 0)
        off.rate("x", 1)
        off.last(x=1)
        off.text(x=1)  # type: ignore[arg-type]
    assert timing.seconds == 0.0
    assert off.scope("a")(local) is local
    assert off.record_timing("a")(local) is local
    assert off.export() == {}
    assert not off.drain()
    assert tracker.enabled
    assert not off.enabled


# --- dicts -------------------------------------------------------------------------------------------------


def test_merge_stats_weighs_by_counts_and_keeps_them() -> None:
    """As if all records had been one tracker's."""
    data = [np.array([1.0, 2.0, 3.0]), np.array([10.0])]
    exported = []
    for part in data:
        tracker = sl.StatsTracker()
        for value in part:
            tracker.scalar(loss=float(value))
        tracker.summary("reward", part, emit=("mean", "std", "min", "max", "sum", "count"))
        exported.append(local(tracker))
    merged = sl.merge_stats(exported)
    both = np.concatenate(data)
    assert merged == pytest.approx(
        {
            "loss": both.mean(), "loss__count": 4,
            "reward/mean": both.mean(), "reward/std": both.std(), "reward/min": 1.0, "reward/max": 10.0,
            "reward/sum": both.sum(), "reward/count": 4, "reward__count": 4,
        }
    )  # fmt: skip


def test_merge_stats_drops_nothing_and_says_what_it_could_not_weigh() -> None:
    """Keys of some dicts only, keys without counts, texts, quantiles, NaN, empty masks."""
    merged = sl.merge_stats(
        [
            {"lr": 0.1, "tokens": 5, "only": 1.0, "split": "a", "x/p50": 1.0, "x__count": 1, "y__count": 0},
            {"lr": 0.1, "tokens": 7, "split": "b", "x/p50": 3.0, "x__count": 3, "y__count": 0},
        ]
    )
    unweighted = str(merged.pop("obs/unweighted")).split(",")
    assert set(unweighted) == {"lr", "tokens", "split", "x/p50"}
    assert merged == {
        "lr": 0.1,
        "tokens": 6.0,
        "only": 1.0,
        "split": "a",
        "x/p50": 2.5,
        "x__count": 4,
        "y__count": 0,
    }


def test_merge_stats_of_little_is_that() -> None:
    """Nothing, one dict, dicts with equal or non-finite values."""
    assert sl.merge_stats([]) == {}
    assert sl.merge_stats([{"a": 1, "b": "x"}]) == {"a": 1, "b": "x"}
    assert sl.merge_stats([{"s/std": 1.0, "s/mean": 2.0, "s__count": 0}] * 2)["s/std"] == 1.0
    nan = sl.merge_stats([{"a": math.nan, "a__count": 1}, {"a": 1.0, "a__count": 1}])
    assert math.isnan(float(nan["a"]))
