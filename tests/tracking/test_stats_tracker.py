"""Recording: what every call exports, and errors that teach."""

import math
import re
import time
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest

import sightline as sl
from sightline import RecordError
from tests.recording.local import local


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


def test_two_values_under_one_mask_are_two_records(tracker: sl.StatsTracker) -> None:
    """Values belong to the mask that stands beside them, not to the next free one."""
    mask = np.array([True, False])
    tracker.masked("a", [1.0, 9.0], mask)
    tracker.masked("a", [3.0, 9.0], mask)
    assert local(tracker)["a/mean"] == 2.0


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


@pytest.mark.parametrize("key", ["time", "{key", "{key}/{other}", "{0}", "{key}//s", "{key.x}", ""])
def test_a_timing_key_that_cannot_work_is_refused(key: str) -> None:
    """When the tracker is made, not at the first timing."""
    with pytest.raises(RecordError, match=re.escape(f"timing_key={key!r}")):
        sl.StatsTracker(timing_key=key)


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
