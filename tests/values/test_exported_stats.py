"""Exported dicts merge by what they say of themselves."""

import math

import numpy as np
import pytest

import sightline as sl
from tests.recording.local import local


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


def exported(seconds: float) -> dict[str, float | int | str]:
    tracker = sl.StatsTracker()
    tracker._add_timing("step", seconds)
    return tracker.export(reduce="local")


def test_a_timing_of_several_processes_is_their_mean_and_the_longest_is_named() -> None:
    """Each dict is one process's, so the mean is right and not listed."""
    dicts = [exported(1.0), exported(4.0) | {"time/step_s_slowest": 7}, exported(2.0)]
    merged = sl.merge_stats(dicts)
    assert merged == {
        "time/step_s": pytest.approx(7 / 3),
        "time/step_s_max": 4.0,
        "time/step_s_slowest": 7,
    }


def test_a_timing_of_dicts_that_were_merged_is_listed() -> None:
    """How many processes stand behind each mean is not known; the longest is right all the same."""
    merged = sl.merge_stats([sl.merge_stats([exported(1.0), exported(3.0)]), exported(5.0)])
    assert (merged["time/step_s"], merged["time/step_s_max"]) == (3.5, 5.0)
    assert merged["obs/unweighted"] == "time/step_s"


def test_keys_that_only_look_like_a_timing_are_none() -> None:
    """A text, or two of the three names."""
    dicts = [{"a": 1.0, "a_max": 2.0, "a_slowest": "me"}, {"a": 3.0, "a_max": 2.0, "a_slowest": "me"}]
    merged = sl.merge_stats(dicts)
    assert (merged["a"], merged["a_slowest"]) == (2.0, "me")
    assert "a" in str(merged["obs/unweighted"]).split(",")


def test_what_went_wrong_adds_up() -> None:
    """Keys under `obs/` are counts."""
    assert sl.merge_stats([{"obs/nonfinite": 2}, {}, {"obs/nonfinite": 3}]) == {"obs/nonfinite": 5}


def test_what_was_averaged_before_stays_listed() -> None:
    """Once each, however often dicts are merged."""
    first = sl.merge_stats([{"a": 1.0}, {"a": 2.0}])
    merged = sl.merge_stats([first, first, {"a": 1.0, "b": 1.0, "obs/unweighted": "b"}])
    assert merged["obs/unweighted"] == "a,b"
