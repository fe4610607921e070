"""The algebra: any split of the same data gives the same numbers, and they are NumPy's in float64."""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.values.aggregates import (
    COUNT,
    EMPTY_ROW,
    M2,
    MAX,
    MIN,
    N_COUNTS,
    Moments,
    Sketch,
    as_number,
    exact_sum,
    merge_sums,
    moments_row,
)

FINITE = st.floats(-1e12, 1e12, allow_subnormal=False)
ANY = FINITE | st.sampled_from([math.nan, math.inf, -math.inf])


def rows(*groups: npt.ArrayLike) -> Moments:
    return Moments.from_rows(np.array([moments_row(np.array(group, np.float64)) for group in groups]))


def merge(parts: Sequence[Moments]) -> Moments:
    """Moments of one key each, merged into one."""
    return Moments.concatenate(parts).merge_segments(np.array([0]))


def split(values: npt.NDArray[Any], cuts: Sequence[int]) -> list[npt.NDArray[Any]]:
    return np.split(values, sorted(cut % (len(values) + 1) for cut in cuts))


def assert_like_numpy(moments: Moments, data: npt.ArrayLike, tolerance: float = 1e-9) -> None:
    x = np.asarray(data, np.float64)
    finite = x[np.isfinite(x)]
    with np.errstate(invalid="ignore"):
        mean, std = x.mean(), x.std()
    scale = max(abs(finite.mean()), finite.std()) if finite.size else 0.0
    assert moments.counts[:, 0].tolist() == [
        x.size, np.isnan(x).sum(), np.isposinf(x).sum(), np.isneginf(x).sum(),
    ]  # fmt: skip
    assert moments.mean()[0] == pytest.approx(mean, rel=0, abs=tolerance * scale, nan_ok=True)
    assert moments.std()[0] == pytest.approx(std, rel=0, abs=tolerance * scale, nan_ok=True)
    assert moments.stats[MIN, 0] == finite.min(initial=math.inf)
    assert moments.stats[MAX, 0] == finite.max(initial=-math.inf)


@settings(deadline=None)
@given(st.lists(ANY, min_size=1, max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_any_partition_gives_numpys_numbers(values: list[float], cuts: list[int]) -> None:
    """Cut the data anywhere, empty pieces included: counts are exact and the rest is NumPy's to 1e-9."""
    data = np.array(values)
    assert_like_numpy(merge([rows(part) for part in split(data, cuts)]), data)


@settings(deadline=None)
@given(st.lists(ANY, min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_any_tree_of_merges_gives_numpys_numbers(values: list[float], random: Any) -> None:
    """Pairwise in any shape of tree and any order, from single records."""
    forest = [rows([value]) for value in values]
    while len(forest) > 1:
        random.shuffle(forest)
        forest.append(merge([forest.pop() for _ in range(random.randint(2, min(4, len(forest))))]))
    assert_like_numpy(forest[0], values)


@settings(deadline=None)
@given(st.lists(st.lists(ANY, min_size=1, max_size=9), min_size=1, max_size=9))
def test_many_keys_at_once_are_each_key_alone(groups: list[list[float]]) -> None:
    """The vectorised reduction of single records keeps the keys apart."""
    starts = np.cumsum([0, *(len(group) for group in groups[:-1])])
    together = Moments.of_segments(np.concatenate([np.array(g, np.float64) for g in groups]), starts)
    for i, group in enumerate(groups):
        assert_like_numpy(together.select(np.array([i])), group)


def test_a_mean_of_1e8_with_a_spread_of_1_survives_single_records() -> None:
    """One float64 mean would drift to 1e-8; the high and low part keep 1e-9 of the *spread*."""
    data = 1e8 + np.random.default_rng(0).standard_normal(4096)
    forest = [rows([value]) for value in data]
    while len(forest) > 1:
        forest = [merge(forest[i : i + 2]) for i in range(0, len(forest), 2)]
    one_by_one = rows([data[0]])
    for value in data[1:]:
        one_by_one = merge([one_by_one, rows([value])])
    exact = sum(map(Fraction, data.tolist())) / len(data)
    for merged in (forest[0], one_by_one, rows(data)):
        error = Fraction(merged.stats[0, 0]) + Fraction(merged.stats[1, 0]) - exact
        assert abs(float(error)) < 1e-9
        assert merged.std()[0] == pytest.approx(data.std(), rel=1e-9)


@pytest.mark.parametrize("count", [2**24 + 1, 2**32 + 1, 2**53 + 1])
def test_counts_are_exact_at_any_size(count: int) -> None:
    """Where float32 stops at 2^24, int32 at 2^31 and float64 at 2^53."""
    many = rows([3.0])
    many.counts[COUNT] = count
    merged = merge([many, rows([3.0]), rows([])])
    assert merged.counts[COUNT, 0] == count + 1
    assert merged.mean()[0] == 3.0


def test_big_counts_weigh_what_they_should() -> None:
    """Two halves of 2^33 records, means 0 and 2."""
    low, high = rows([0.0]), rows([2.0])
    low.counts[COUNT] = high.counts[COUNT] = 2**33
    merged = merge([low, high])
    assert (merged.mean()[0], merged.std()[0]) == (1.0, 1.0)


def test_a_part_without_records_changes_nothing() -> None:
    """Also beside values whose squares overflow."""
    assert tuple(EMPTY_ROW) == moments_row(np.zeros((0, 3)))
    for value in (1e-300, 1.0, 1e200, -1.7e308):
        merged = merge([rows([]), rows([value]), rows([])])
        assert (merged.mean()[0], merged.std()[0]) == (value, 0.0)


def test_a_part_without_records_among_huge_ones_is_no_nan() -> None:
    """Their spread overflows to infinity, as NumPy's does; nothing times infinity would be NaN."""
    data = np.random.default_rng(0).standard_normal(50) * 1e200
    merged = merge([rows([]), *(rows([value]) for value in data)])
    assert merged.std()[0] == math.inf


def test_huge_values_overflow_where_numpys_do() -> None:
    """The spread of ±1e308 is beyond float64; their mean and extrema are not."""
    for merged in (merge([rows([1e308]), rows([-1e308])]), rows([1e308, -1e308])):
        assert merged.mean()[0] == 0.0
        assert merged.std()[0] == math.inf
        assert (merged.stats[MIN, 0], merged.stats[MAX, 0]) == (-1e308, 1e308)


def test_extrema_beside_nonfinite_values_keep_their_bits() -> None:
    """Scaling, where it is needed, does not round."""
    values = [0.1, 1e8 / 3, math.nan, -7.7e307]
    row = moments_row(np.array(values))
    assert row[N_COUNTS + MIN] == -7.7e307
    assert row[N_COUNTS + MAX] == 1e8 / 3


def test_subnormal_values_are_values() -> None:
    """The smallest ones there are keep their mean and extrema."""
    merged = merge([rows([5e-324]), rows([15e-324])])
    assert merged.mean()[0] == 10e-324
    assert merged.stats[MIN, 0] == 5e-324


def test_constant_values_have_no_spread() -> None:
    """M2 of equal values is 0 and not a rounding error, in one array and over many parts."""
    assert rows([0.1] * 1000).stats[M2, 0] == 0.0
    assert merge([rows([0.1])] * 1000).std()[0] <= 1e-16


def test_nothing_recorded_has_no_mean() -> None:
    """NaN, and no warning."""
    empty = Moments.empty(1)
    assert math.isnan(empty.mean()[0])
    assert math.isnan(empty.std()[0])


def test_infinities_of_both_signs_have_no_mean() -> None:
    """As in NumPy: inf, −inf, and NaN where they meet."""
    parts = rows([math.inf, 1.0]), rows([-math.inf]), rows([2.0])
    assert merge([parts[0], parts[2]]).mean()[0] == math.inf
    assert merge([parts[1], parts[2]]).mean()[0] == -math.inf
    assert math.isnan(merge(parts).mean()[0])


def test_the_sum_of_whole_numbers_is_whole() -> None:
    """1/49·49 is below 1 in float64; a sum emitted as 0.9999999999999999 would be ugly and wrong."""
    for n in range(1, 200):
        for ones in (1, n // 2, n):
            data = np.arange(n) < ones
            assert rows(data).total()[0] == ones
            assert merge([rows(part) for part in np.array_split(data, 3)]).total()[0] == ones


# --- sums --------------------------------------------------------------------------------------------------


def summed(parts: Sequence[tuple[float, float]]) -> float | int:
    high, low = (np.array(column) for column in zip(*parts, strict=True))
    return as_number(*(column.item() for column in merge_sums(high, low, np.array([0]))))


@settings(deadline=None)
@given(
    st.lists(st.integers(-(2**60), 2**60), min_size=1, max_size=40), st.lists(st.integers(0, 40), max_size=6)
)
def test_sums_of_ints_are_exact_past_2_to_the_53(values: list[int], cuts: list[int]) -> None:
    """Any split over records and processes, as long as 64 bits hold the result."""
    edges = [0, *sorted(cut % (len(values) + 1) for cut in cuts), len(values)]
    parts = [exact_sum(values[a:b]) for a, b in pairwise(edges)]
    total = sum(values)
    assert summed(parts) == (total if abs(total) < 2**63 else float(total))


@settings(deadline=None)
@given(st.lists(FINITE, min_size=1, max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_sums_of_floats_are_right_to_a_rounding(values: list[float], cuts: list[int]) -> None:
    """Also where the parts cancel."""
    edges = [0, *sorted(cut % (len(values) + 1) for cut in cuts), len(values)]
    parts = [exact_sum(values[a:b]) for a, b in pairwise(edges)]
    assert summed(parts) == pytest.approx(math.fsum(values), rel=1e-15, abs=1e-18)


def test_sums_of_several_keys_stay_apart() -> None:
    """Groups of different lengths in one call."""
    high = np.arange(10.0)
    sums, _ = merge_sums(high, np.zeros(10), np.array([0, 1, 4]))
    assert sums.tolist() == [0.0, 6.0, 39.0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([math.inf, 1.0], math.inf),
        ([math.inf, -math.inf], math.nan),
        ([math.nan, 1], math.nan),
        ([1e308, 1e308], math.inf),
        ([10**308, 10**308], math.inf),
    ],
)
def test_sums_beyond_float64_are_numpys(values: list[float], expected: float) -> None:
    """No exception, whatever was recorded."""
    assert exact_sum(values) == pytest.approx((expected, 0.0), nan_ok=True)
    assert summed([exact_sum([v]) for v in values]) == pytest.approx(expected, nan_ok=True)


def test_whole_sums_are_ints_while_64_bits_hold_them() -> None:
    """JSON and its readers take no more."""
    assert type(as_number(3.0, 0.0)) is int
    assert as_number(2.0**62, 1.0) == 2**62 + 1
    assert type(as_number(1e300, 0.0)) is float
    assert type(as_number(math.inf, 0.0)) is float


# --- quantiles ---------------------------------------------------------------------------------------------


def negligible(data: npt.NDArray[Any]) -> float:
    """What counts as zero beside the largest: 17 decades below it."""
    return float(np.abs(data).max()) * 1e-17


@settings(deadline=None)
@given(st.lists(FINITE, min_size=1, max_size=80), st.lists(st.integers(0, 80), max_size=6), st.floats(0, 1))
def test_quantiles_are_within_one_percent_and_the_same_for_any_split(
    values: list[float], cuts: list[int], q: float
) -> None:
    """Merged sketches are equal to the sketch of all data, bucket by bucket."""
    data = np.array(values)
    whole = Sketch.of(data)
    merged = Sketch.merge([Sketch.of(part) for part in split(data, cuts)])
    assert merged.buckets.tolist() == whole.buckets.tolist()
    assert merged.counts.tolist() == whole.counts.tolist()
    true = np.quantile(data, q, method="lower")
    assert abs(whole.quantile(q) - true) <= 0.01 * abs(true) + negligible(data)


def test_quantiles_of_extreme_values() -> None:
    """The largest and the smallest floats, zeros, and nothing at all."""
    largest = Sketch.of(np.array([1.7976931348623157e308])).quantile(0.5)
    assert largest == pytest.approx(1.7976931348623157e308, rel=0.01)
    assert Sketch.of(np.array([-1e-320])).quantile(0.5) == pytest.approx(-1e-320, rel=0.02)
    assert Sketch.of(np.zeros(3)).quantile(1.0) == 0.0
    assert math.isnan(Sketch.of(np.array([math.nan, math.inf])).quantile(0.5))


def test_a_sketch_stays_small() -> None:
    """A million values over 40 decades need no more than 2,048 buckets of either sign, and one for zeros."""
    values = 10.0 ** np.random.default_rng(0).uniform(-20, 20, 1_000_000)
    sketch = Sketch.of(values)
    assert sketch.buckets.size == 2049
    sketch = Sketch.merge([sketch, Sketch.of(-values)])
    assert sketch.buckets.size == 4097
    assert sketch.buckets.nbytes + sketch.counts.nbytes == 12 * 4097


def test_the_window_of_a_sketch_is_17_decades() -> None:
    """What is nearer to zero than that counts as zero, whichever came first."""
    for values in ([1.0, 1e-17, 1e-18], [1e-18, 1e-17, 1.0]):
        sketch = Sketch.merge([Sketch.of(np.array([value])) for value in values])
        assert sketch.quantile(0) == 0.0
        assert sketch.quantile(0.5) == pytest.approx(1e-17, rel=0.01)


# --- histograms --------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(FINITE | st.integers(-5, 5).map(float), min_size=1, max_size=80),
    st.lists(st.integers(0, 80), max_size=6),
    st.integers(1, 40),
)
def test_histograms_are_numpys_within_one_percent_of_a_value(
    values: list[float], cuts: list[int], bins: int
) -> None:
    """NumPy's edges; all values counted; and none on the wrong side of an edge that is not near to it."""
    data = np.array(values)
    low, high = float(data.min()), float(data.max())
    merged = Sketch.merge([Sketch.of(part) for part in split(data, cuts)])
    edges, counts = merged.histogram(low, high, bins)
    assert (edges, counts) == Sketch.of(data).histogram(low, high, bins)
    assert (len(edges), len(counts), sum(counts)) == (bins + 1, bins, len(data))
    try:
        assert edges == np.histogram(data, bins)[1].tolist()
    except ValueError:  # newer NumPy refuses bins that floats cannot tell apart
        assert np.all(np.diff(edges) > 0)
    tolerance = 0.01 * np.abs(data) + negligible(data)
    for edge, below in zip(edges[1:-1], np.cumsum(counts)[:-1], strict=True):
        assert (data + tolerance < edge).sum() <= below <= (data - tolerance < edge).sum()


def test_a_histogram_of_values_apart_is_numpys() -> None:
    """Where no value is within 1 % of an edge, the counts are NumPy's too."""
    data = np.repeat([-3.0, -1.0, 0.0, 0.4, 2.0, 5.0], [1, 4, 2, 3, 7, 5])
    edges, counts = Sketch.of(data).histogram(-3.0, 5.0, 16)
    expected_counts, expected_edges = np.histogram(data, 16)
    assert (edges, counts) == (expected_edges.tolist(), expected_counts.tolist())


@pytest.mark.parametrize("value", [0.0, 3.0, -0.25, 1e17, -1e300, 1.7976931348623157e308, 5e-324])
def test_a_constant_has_a_histogram(value: float) -> None:
    """Half to either side, as in NumPy, or as much more as it takes for the edges to differ."""
    edges, counts = Sketch.of(np.full(7, value)).histogram(value, value, 10)
    assert np.isfinite(edges).all()
    assert (np.diff(edges) > 0).all()
    assert edges[0] <= value <= edges[-1]
    assert (sum(counts), max(counts)) == (7, 7)
    if abs(value) < 1e9:
        assert edges == pytest.approx(np.histogram([value], 10)[1].tolist())


@pytest.mark.parametrize(
    ("low", "high"),
    [(-1.7976931348623157e308, 1.7976931348623157e308), (1.0, math.nextafter(1.0, 2.0)), (0.0, 5e-324)],
    ids=["everything", "neighbours", "denormals"],
)
def test_a_histogram_of_odd_ranges_has_edges_that_ascend(low: float, high: float) -> None:
    """No overflow in their distance, and no two edges alike."""
    edges, counts = Sketch.of(np.array([low, low, high])).histogram(low, high, 64)
    assert (np.diff(np.array(edges) / 2) > 0).all()
    assert edges[0] <= low < high <= edges[-1]
    assert sum(counts) == 3
