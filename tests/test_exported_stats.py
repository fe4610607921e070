"""Exported dicts merge by what they say of themselves; `test_stats_tracker.py` has the rest of it."""

import pytest

import sightline as sl


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
