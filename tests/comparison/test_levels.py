"""What is more than noise, judged on series of which the truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline.comparison.levels import at_step, at_times, level_of, order
from sightline.views.history import Series

Noise = Callable[[np.random.Generator, int], NDArray[np.float64]]


def white(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    return rng.normal(size=count)


def alike(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Autoregressive, with the coefficient 0.9."""
    values = rng.normal(size=count)
    for at in range(1, count):
        values[at] = 0.9 * values[at - 1] + math.sqrt(1 - 0.9**2) * values[at]
    return values


def wild(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """With outliers."""
    return rng.standard_t(3, size=count)


def counted(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Shares of a few trials, which are often the same."""
    return rng.binomial(16, 0.5, size=count) / 2


def series(values: NDArray[np.float64], first: int = 0) -> Series:
    steps = np.arange(first, first + len(values))
    return Series(steps, steps * 10.0, np.asarray(values, np.float64))


def told(noise: Noise, count: int, apart: float) -> float:
    """In how many of 300 pairs a difference is said to matter."""
    rng = np.random.default_rng(count)
    trend = 10 / (1 + np.arange(count) / count)
    found = [
        at_step("a", series(trend + noise(rng, count)), series(trend + apart + noise(rng, count)), count)
        for _ in range(300)
    ]
    return sum(each is not None and each.matters is True for each in found) / len(found)


@pytest.mark.parametrize("noise", [white, alike, wild, counted])
@pytest.mark.parametrize("count", [20, 60, 300])
def test_noise_alone_hardly_ever_matters(noise: Noise, count: int) -> None:
    assert told(noise, count, 0.0) <= (0.05 if noise is alike else 0.01)


@pytest.mark.parametrize("noise", [white, wild, counted])
def test_what_is_clearly_apart_matters(noise: Noise) -> None:
    """By three deviations of a single value where there are some values; by one, where there are many."""
    assert told(noise, 60, 3.0) > 0.9
    assert told(noise, 300, 1.0) > 0.5
    assert told(noise, 60, 0.05) < 0.05


def test_what_has_no_noise_differs_or_does_not() -> None:
    """Also smooth curves, as learning rates are."""
    curve = 1e-3 * np.cos(np.arange(300) / 200)
    for first, second, verdict in (
        (np.full(50, 3.0), np.full(50, 4.0), True),
        (np.full(50, 3.0), np.full(50, 3.0), False),
        (np.arange(50.0), np.arange(50.0), False),
        (curve, curve, False),
        (curve, 1.5 * curve, True),
    ):
        found = at_step("lr", series(first), series(second), 1000)
        assert found is not None
        assert found.matters is verdict


def test_next_to_nothing_never_matters() -> None:
    found = at_step("a", series(np.full(50, 3.0)), series(np.full(50, 3.0001)), 49)
    assert found is not None
    assert (found.score, found.matters) == (math.inf, False)


def test_a_few_values_tell_nothing_unless_they_are_the_same() -> None:
    found = at_step("a", series(np.arange(5.0)), series(np.arange(5.0) + 1), 9)
    assert found is not None
    assert (found.first, found.second, found.change, found.relative) == (4.0, 5.0, 1.0, 0.25)
    assert (found.score, found.matters) == (None, None)
    found = at_step("a", series(np.arange(5.0)), series(np.arange(5.0)), 9)
    assert found is not None
    assert found.matters is False


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [(math.nan, 1.0, True), (1.0, math.inf, True), (math.nan, math.nan, False), (math.inf, math.inf, False),
     (math.inf, -math.inf, True)],
)  # fmt: skip
def test_what_is_not_finite_in_one_run_alone_matters(first: float, second: float, verdict: bool) -> None:
    a, b = (series(np.array([*np.full(20, 1.0), end])) for end in (first, second))
    found = at_step("a", a, b, 20)
    assert found is not None
    assert found.matters is verdict


def test_the_last_step_that_both_have_is_compared() -> None:
    a = Series(np.array([0, 10, 20, 30]), np.zeros(4), np.array([0.0, 1.0, 2.0, 3.0]))
    b = Series(np.array([5, 10, 15, 20]), np.zeros(4), np.array([5.0, 6.0, 7.0, 8.0]))
    found = at_step("a", a, b, 25)
    assert found is not None
    assert (found.first_step, found.first, found.second) == (20, 2.0, 8.0)
    found = at_step("a", a, b, 19)
    assert found is not None
    assert (found.first_step, found.second) == (10, 6.0)
    assert at_step("a", a, b, 5) is None


def test_the_values_of_a_moment_may_be_of_different_steps() -> None:
    a, b = series(np.arange(40.0)), series(np.arange(40.0))
    found = at_times("a", a, b, np.arange(40.0), np.arange(40.0) * 2, 20.5)
    assert found is not None
    assert (found.first_step, found.second_step) == (20, 10)
    assert at_times("a", a, b, np.arange(40.0) + 30, np.arange(40.0), 20.5) is None


@pytest.mark.parametrize("scale", [1e-300, 1e300, 1e-12])
def test_sizes_beyond_reason_break_nothing(scale: float) -> None:
    rng = np.random.default_rng(0)
    a, b = (series(scale * (base + rng.normal(size=50))) for base in (0, 100))
    found = at_step("a", a, b, 49)
    assert found is not None
    assert found.matters in (True, None)


def test_what_matters_comes_first_then_what_cannot_be_told() -> None:
    rng = np.random.default_rng(0)
    found = []
    for name, apart, count in (("same", 0, 50), ("few", 5, 5), ("far", 50, 50), ("near", 10, 50)):
        a, b = (series(10 + add + rng.normal(size=count)) for add in (0, apart))
        one = at_step(name, a, b, 100)
        assert one is not None
        found.append(one)
    assert [each.key for each in sorted(found, key=order)] == ["far", "near", "few", "same"]


def test_outliers_and_gaps_do_not_move_a_level_far() -> None:
    values = np.random.default_rng(0).normal(5, 0.1, 200)
    values[[20, 150, 180]] = 1000.0
    values[[30, 190]] = math.nan
    level = level_of(values)
    assert level.value == pytest.approx(5, abs=0.1)
    assert level.noise == pytest.approx(0.1, rel=0.3)
