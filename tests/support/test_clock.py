"""Clocks that are shifted and drift come together again, within what is said of them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.support.clock import RoundTrip, Straight, offset_of, without_steps

SHIFT_NS = 250_000_000
S = 1_000_000_000


def drifting(true: int) -> int:
    """A clock that is 250 ms ahead, and 50 ppm too fast."""
    return true + SHIFT_NS + true // 20_000


def trip(rng: random.Random, at: int) -> RoundTrip:
    """A round trip at a true time, which the root's clock shows."""
    there, thought, back = (round(rng.expovariate(1 / 200_000)) + 20_000 for _ in range(3))
    return RoundTrip(at, drifting(at + there), drifting(at + there + thought), at + there + thought + back)


@given(st.integers(0, 2**32))
def test_an_offset_is_right_within_its_uncertainty(seed: int) -> None:
    """Whatever the way there and the way back took."""
    rng = random.Random(seed)
    offset, uncertainty, at = offset_of([trip(rng, i * 2_000_000) for i in range(16)])
    assert abs((at + offset) - (at - SHIFT_NS - (at - SHIFT_NS) // 20_001)) <= uncertainty + 2


def test_the_quickest_round_trip_counts() -> None:
    slow, quick = RoundTrip(0, 900, 910, 1000), RoundTrip(0, 60, 70, 20)
    assert offset_of([slow, quick]) == offset_of([quick]) == (-55, 5, 65)


def test_a_drift_is_followed_between_comparisons_and_beyond() -> None:
    """Compared after 0, 5, 15, 35 … s, as a run does, for three hours; asked everywhere."""
    rng = random.Random(7)
    points, at, pause = [], 0, 5 * S
    while at < 3 * 3600 * S:
        offset, uncertainty, moment = offset_of([trip(rng, at + i * 2_000_000) for i in range(16)])
        points.append((moment, moment + offset))
        assert uncertainty < 500_000
        at, pause = at + pause, min(2 * pause, 600 * S)
    for known in (2, 3, len(points)):  # as far as a run that has ended then
        to_root = Straight(points[:known])
        end = points[known - 1][0]
        for true in range(0, end - SHIFT_NS, max(S, end // 500)):
            assert abs(to_root(drifting(true)) - true) < 500_000
    # Nobody compares at the end of a run: up to the next time, the line goes on.
    to_root = Straight(points[:-1])
    assert abs(to_root(points[-1][0]) - points[-1][1]) < 1_000_000


@given(st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)), min_size=1, max_size=20), st.data())
def test_no_line_ever_runs_backwards(points: list[tuple[int, int]], data: st.DataObject) -> None:
    line = Straight(points, apart=1000)
    times = sorted(data.draw(st.lists(st.integers(-(2**62), 2**63), min_size=2, max_size=10)))
    placed = [line(time) for time in times]
    assert placed == sorted(placed)


def test_points_that_are_too_near_to_each_other_make_no_slope() -> None:
    line = Straight([(0, 0), (1000, 3000)], apart=10_000)
    assert line(1_000_000) == 1_000_000


@pytest.mark.parametrize("step", [-3600 * S, -S, S, 3600 * S])
def test_a_time_of_day_that_is_set_moves_nothing(step: int) -> None:
    points = [(i * 10 * S, i * 10 * S + i * 500 + (step if i >= 5 else 0)) for i in range(10)]
    straight = Straight(without_steps(points))
    assert abs(straight(90 * S) - 90 * S - 4500) <= 1000
    assert straight(45 * S) - straight(44 * S) == pytest.approx(S, abs=1000)
