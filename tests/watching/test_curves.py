"""Sparklines and changes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.watching.curves import BLOCKS, binned, change, mean, sparkline

ANY = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60)


@given(ANY, st.integers(1, 30))
@pytest.mark.filterwarnings("error")
def test_any_numbers_make_a_curve_that_fits(values: list[float], width: int) -> None:
    """Also the largest ones, whose span is infinite; without a warning."""
    drawn = sparkline(np.array(values, np.float64), width)
    assert len(drawn) == min(len(values), width)
    assert set(drawn) <= set(BLOCKS) | {" "}


@given(ANY)
@pytest.mark.filterwarnings("error")
def test_any_numbers_have_a_mean_and_a_change_or_none(values: list[float]) -> None:
    for found in (mean(np.array(values)), change(np.array(values))):
        assert found is None or math.isfinite(found)


def test_a_spike_and_a_gap_are_seen() -> None:
    values = np.zeros(100)
    values[50] = 1.0
    values[80:] = np.nan
    drawn = sparkline(values, 10)
    assert (drawn[5], drawn[:5], drawn[8:]) == ("█", "▁" * 5, "  ")


def test_groups_hold_all_values() -> None:
    assert binned(np.arange(10.0), 3).tolist() == [1.0, 4.0, 7.5]


def test_a_change_that_means_nothing_is_none() -> None:
    """Too few values, zero to begin with, another sign."""
    for values in ([1.0, 2.0], [0.0, 0.0, 0.0, 1.0], [-1.0, 0.0, 0.0, 1.0], [math.nan] * 9):
        assert change(np.array(values)) is None
    assert change(np.array([-2.0, -2.0, -1.0, -1.0])) == -0.5
