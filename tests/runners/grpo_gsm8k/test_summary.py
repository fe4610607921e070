"""The claim at the end of a run is computed from the same problems before and after."""

from __future__ import annotations

import numpy as np

from runners.common.comparison import compare


def test_the_interval_is_the_paired_bootstrap_over_problems() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.random(500) < 0.4, rng.random(500) < 0.5
    got = compare(before, after)
    difference = after.astype(float) - before
    resampled = [difference[rng.integers(0, 500, 500)].mean() for _ in range(4000)]
    low, high = np.quantile(resampled, [0.025, 0.975])
    assert abs(got.gain - difference.mean()) < 1e-12
    assert abs(got.gain_low - low) < 0.006
    assert abs(got.gain_high - high) < 0.006


def test_no_change_is_a_gain_of_exactly_nothing() -> None:
    answers = np.array([0, 1, 1, 0])
    got = compare(answers, answers)
    assert (got.gain, got.gain_low, got.gain_high) == (0, 0, 0)
    assert (got.before, got.after, got.problems) == (0.5, 0.5, 4)
