"""What a tracker holds between two drains: records fold, and their numbers stay exact."""

import gc
import math
import tracemalloc

import numpy as np
import pytest

import sightline as sl
from sightline.recording.drained import Drained
from sightline.recording.records import Records
from tests.recording.local import local


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
    for room in ("recording.records", "tracking.stats_tracker"):
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


def test_many_records_of_a_histogram_fold(tracker: sl.StatsTracker) -> None:
    """No element is lost or counted twice."""
    for i in range(1000):
        tracker.histogram("a", [float(i % 10)], bins=10)
    assert tracker.snapshot().render().histograms["a"][1] == [100] * 10


def test_integers_are_exact(tracker: sl.StatsTracker) -> None:
    """Totals past 2^53, over many records, also after folding."""
    for _ in range(70_000):
        tracker.total(tokens=2**40 + 1)
    tracker.total(tokens=2**53 + 1)
    assert local(tracker)["tokens"] == 70_000 * (2**40 + 1) + 2**53 + 1


def test_a_scalar_recorded_singly_and_folded_is_one_key() -> None:
    """Rows of folded moments and single records of one key end in one column."""
    tracker = sl.StatsTracker()
    for value in range(70_000):
        tracker.scalar(x=float(value))
    snapshot = tracker.snapshot()
    assert [spec.key for spec in snapshot.specs("moments")] == ["x"]
    assert snapshot.render().values == {"x": 34_999.5}
    assert snapshot.render().counts == {"x__count": 70_000}


def test_records_that_a_signal_handler_drains_before_they_fold_count_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The call that it interrupts finds nothing to fold, and does not record again."""
    tracker = sl.StatsTracker()
    monkeypatch.setattr("sightline.tracking.stats_tracker.FOLD_AT", 2)
    drained: list[Drained] = []
    fold = Records.fold_scalars

    def drain_and_fold(records: Records, scope: str, key: str) -> None:
        drained.append(tracker.drain())
        fold(tracker._records, scope, key)

    monkeypatch.setattr(Records, "fold_scalars", drain_and_fold)
    tracker.scalar(x=1.0)
    tracker.scalar(x=1.0)
    assert [each.snapshot(0).render().counts for each in drained] == [{"x__count": 2}]
    assert tracker.export(reduce="local") == {}
