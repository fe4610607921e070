"""Thinning hides no peak and no gap, and means are those of all values."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sightline.report.thinning import kept, means

VALUES = st.lists(
    st.one_of(st.floats(allow_nan=True, allow_infinity=True, width=32), st.just(math.nan)),
    min_size=1,
    max_size=400,
)


@given(VALUES, st.integers(1, 50))
def test_the_extremes_and_every_kind_of_value_are_kept(values: list[float], buckets: int) -> None:
    array = np.array(values)
    at = kept(array, buckets)
    assert at[0] == 0
    assert at[-1] == len(values) - 1
    assert np.all(np.diff(at) > 0)
    finite = array[np.isfinite(array)]
    shown = array[at][np.isfinite(array[at])]
    if len(finite):
        assert (shown.min(), shown.max()) == (finite.min(), finite.max())
    for is_kind in (np.isnan, np.isposinf, np.isneginf):
        assert is_kind(array[at]).any() == is_kind(array).any()
    assert len(at) <= max(3 * buckets, 5 * buckets + 2)


@given(VALUES, st.integers(1, 50))
def test_means_count_every_finite_value_once(values: list[float], buckets: int) -> None:
    array = np.clip(np.array(values, np.float64), -1e6, 1e6)
    array[~np.isfinite(np.array(values))] = np.nan
    found = means(array, buckets)
    ends = np.append(found.first[1:], len(array))
    for first, end, mean in zip(found.first, ends, found.means, strict=True):
        part = array[first:end][np.isfinite(array[first:end])]
        if len(part):
            np.testing.assert_allclose(mean, part.mean(), rtol=1e-9, atol=1e-6)
        else:
            assert math.isnan(mean)
