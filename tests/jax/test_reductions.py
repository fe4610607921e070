"""What a device computes of an array is what NumPy computes of it in float64, whatever dtype and shape."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.jax import reductions
from sightline.jax.reductions import (
    is_number,
    moments_words,
    read_merged_sketch,
    read_moments,
    read_moments_table,
    read_sketches,
    scalar_dtype,
    scalar_words,
    sketch_words,
)
from sightline.values.aggregates import (
    COUNT,
    LOG_GAMMA,
    M2,
    MAX,
    MEAN,
    MEAN_LO,
    MIN,
    N_COUNTS,
    Row,
    Sketch,
    _middles,
    moments_row,
)

SHAPES = [(), (1,), (0,), (5,), (3, 0), (64, 1024), (3, 5, 7, 2), (100_003,), (2, 5000)]
TABLE = (30, 71)  # one shape for tests of other things: a program is compiled for each
FLOATS = ["float32", "bfloat16", "float16"]
FLOATS += ["float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz", "float8_e3m4", "float8_e8m0fnu"]
FLOATS += ["float4_e2m1fn"]
INTS = ["int2", "int4", "int8", "int16", "int32", "uint2", "uint4", "uint8", "uint16", "uint32", "bool"]
WIDE = ["float64", "int64", "uint64"]

_compiled = jax.jit(moments_words, static_argnames="pad")
_compiled_sketch = jax.jit(sketch_words)


def dtype_of(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, name))


def limits(name: str) -> tuple[float, float]:
    """The least and the largest finite value of a dtype."""
    if name == "bool":
        return 0, 1
    if name not in FLOATS and name != "float64":
        return int(ml_dtypes.iinfo(name).min), int(ml_dtypes.iinfo(name).max)
    info = ml_dtypes.finfo(name)
    return (2.0**-126 if "e8m0" in name else float(info.min)), float(info.max)


def some(name: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Numbers of a dtype: whole ones over its range up to 1000, or floats about 0.7 with a spread of 2."""
    random = np.random.default_rng(0)
    low, high = limits(name)
    if name not in FLOATS:
        return random.integers(max(low, -1000), min(high, 1000), shape, endpoint=True).astype(dtype_of(name))
    x = 0.7 + 2 * random.standard_normal(shape)
    return np.asarray(np.clip(x if low < 0 else np.exp(x), low, high)).astype(dtype_of(name))


def on_device(
    values: npt.ArrayLike, mask: npt.ArrayLike | None = None, *, pad: bool = False
) -> tuple[Row, int]:
    """The row that a device makes of an array, and the odd elements of the mask."""
    x = jnp.asarray(values)
    words = _compiled(x, None if mask is None else jnp.asarray(mask), pad=pad)
    assert (words.dtype, words.shape) == (jnp.uint32, (reductions.moments_dtype(x.dtype).itemsize // 4,))
    ((row, odd),) = read_moments(np.asarray(words), x.dtype)
    table, odds = read_moments_table(np.asarray(words)[None, None], x.dtype)
    assert (table.shape, odds.tolist()) == ((1, 1, len(row)), [[odd]])
    assert_same(tuple(table[0, 0].tolist()), row, 1e-12)
    return row, odd


def numpys(values: npt.ArrayLike, mask: npt.ArrayLike | None = None) -> Row:
    x = np.asarray(values)
    return moments_row((x if mask is None else x[np.asarray(mask) != 0]).astype(np.float64))


def mean_and_std(row: Row) -> tuple[float, float]:
    counts, stats = row[:N_COUNTS], row[N_COUNTS:]
    finite = counts[COUNT] - sum(counts[1:])
    return stats[MEAN] + stats[MEAN_LO], math.sqrt(stats[M2] / finite) if finite else 0.0


def assert_same(row: Row, expected: Row, tolerance: float = 1e-6) -> None:
    """Counts and extrema exactly, the mean and the spread nearly."""
    assert row[:N_COUNTS] == expected[:N_COUNTS]
    extrema = slice(N_COUNTS + MIN, N_COUNTS + MAX + 1)
    assert row[extrema] == expected[extrema]
    (mean, std), (true_mean, true_std) = mean_and_std(row), mean_and_std(expected)
    assert mean == pytest.approx(true_mean, rel=0, abs=tolerance * max(abs(true_mean), true_std))
    assert std == pytest.approx(true_std, rel=10 * tolerance)


# --- moments -----------------------------------------------------------------------------------------------


PADDED = [(100_003,), (2, 5000)]  # elsewhere it makes no difference


@pytest.mark.parametrize(
    ("shape", "pad"), [*((shape, False) for shape in SHAPES), *((shape, True) for shape in PADDED)], ids=str
)
@pytest.mark.parametrize("name", ["float32", "int32"])
def test_any_shape_gives_numpys_moments(name: str, shape: tuple[int, ...], pad: bool) -> None:
    """No axes, empty ones, one long one, and lengths that no block divides."""
    values = some(name, shape)
    assert_same(on_device(values, pad=pad)[0], numpys(values))


@pytest.mark.parametrize("name", FLOATS + INTS)
def test_any_dtype_gives_numpys_moments(name: str) -> None:
    """All floats and ints of JAX, down to 2 bits, with a mask and without."""
    values = some(name, TABLE)
    for density in (0.3, 1.0):
        mask = np.random.default_rng(1).random(TABLE) < density
        assert_same(on_device(values, mask)[0], numpys(values, mask))


@pytest.mark.parametrize("name", WIDE)
def test_64_bits_keep_their_digits(name: str) -> None:
    """Where JAX has them: against sums of Python's ints, about 1e8, 2^53 and 2^63."""
    about = {"float64": 10**8, "int64": -(2**53), "uint64": 2**63}[name]
    whole = [about + int(x) for x in np.random.default_rng(0).normal(0, 1000, 10_000)]
    with jax.enable_x64(True):
        row, _ = on_device(np.array(whole, name))
    counts, stats = row[:N_COUNTS], row[N_COUNTS:]
    assert counts == (10_000, 0, 0, 0)
    assert (stats[MIN], stats[MAX]) == (float(min(whole)), float(max(whole)))
    error = Fraction(stats[MEAN]) + Fraction(stats[MEAN_LO]) - Fraction(sum(whole), len(whole))
    spread = np.std([x - about for x in whole])
    assert abs(float(error)) < 1e-9 * spread
    assert mean_and_std(row)[1] == pytest.approx(spread, rel=1e-9)


def test_the_extremes_of_64_bits_do_not_wrap() -> None:
    """The least and the largest are 2^64 − 1 apart; a float64 may be as large as it gets."""
    with jax.enable_x64(True):
        for name in WIDE:
            low, high = limits(name)
            values = np.array([low, high, high, 0, 1], name)
            with np.errstate(over="ignore"):
                assert_same(on_device(values)[0], numpys(values))


@pytest.mark.parametrize("name", FLOATS)
def test_values_that_are_not_finite_are_counted_by_kind(name: str) -> None:
    """And leave the statistics of the others alone. Not every dtype has all kinds."""
    values = some(name, TABLE).astype(np.float32)
    values.flat[[3, 50, 51, 2000]] = math.nan, math.inf, math.inf, -math.inf
    with np.errstate(over="ignore", invalid="ignore"):
        odd = values.astype(dtype_of(name))
    expected = numpys(odd)
    assert_same(on_device(odd, np.ones(TABLE, bool))[0], expected)
    if name in ("float32", "bfloat16", "float16", "float8_e5m2", "float8_e3m4"):
        assert expected[:N_COUNTS] == (2130, 1, 2, 1)


@pytest.mark.parametrize("kind", [math.nan, math.inf, -math.inf])
def test_nothing_finite_is_no_statistics(kind: float) -> None:
    values = np.full(TABLE, kind, np.float32)
    assert on_device(values, values == values)[0] == numpys(values, values == values)
    assert on_device(values, np.ones(TABLE, bool))[0] == numpys(values)


_rng = np.random.default_rng(7)
_MANY = 20_001
HARD: dict[str, npt.NDArray[Any]] = {
    "far from zero": (1e8 + _rng.standard_normal(20_000)).astype(np.float32),
    "far from zero, whole": (1e8 + _rng.normal(0, 1, 20_000)).round().astype(np.int32),
    "far below zero, whole": (-(2**31) + _rng.integers(0, 5, 20_000)).astype(np.int32),
    "large unsigned": (2**32 - 1 - _rng.integers(0, 5, 20_000)).astype(np.uint32),
    "one outlier": np.append(_rng.standard_normal(20_000), 1e6).astype(np.float32),
    "a huge outlier": np.append(_rng.standard_normal(20_000), -3e38).astype(np.float32),
    "huge": np.resize(np.array([3e38, -3e38, 3e38, 1e38], np.float32), _MANY),
    "huge and positive": np.full(_MANY, 3.4e38, np.float32) - np.arange(_MANY, dtype=np.float32) * 1e33,
    "tiny": (_rng.standard_normal(20_000) * 1e-32).astype(np.float32),
    "tiny and far from zero": (1e-30 * (1 + 1e-6 * _rng.standard_normal(20_000))).astype(np.float32),
    "a constant": np.full(_MANY, 0.1, np.float32),
    "a constant of bf16": np.full(_MANY, 0.1, ml_dtypes.bfloat16),
    "a huge constant": np.full(_MANY, -3.4e38, np.float32),
    "a constant of ints": np.full(_MANY, 2**31 - 1, np.int32),
    "zeros": np.zeros(_MANY, np.float32),
    "far apart": np.resize(np.array([-1e30, 1e-30], np.float32), _MANY),
    "sorted": np.sort(_rng.standard_normal(_MANY)).astype(np.float32),
    "largest of float16": np.full(_MANY, 65_504, np.float16),
}


@pytest.mark.parametrize("values", HARD.values(), ids=HARD)
def test_hard_values_give_numpys_moments(values: npt.NDArray[Any]) -> None:
    """Cancellation, overflow and underflow, against NumPy in float64 on the same (rounded) data."""
    for pad in (False, True):
        assert_same(on_device(values, pad=pad)[0], numpys(values))


@pytest.mark.parametrize("name", ["int8", "int16", "int32", "uint8", "uint16", "uint32"])
def test_ints_over_their_whole_range_do_not_wrap(name: str) -> None:
    """The least and the largest are 2^n − 1 apart."""
    low, high = (int(limit) for limit in limits(name))
    values = np.array([low, high, high, 0, 1], name)
    assert_same(on_device(values)[0], numpys(values))


def test_denormals_are_what_they_are_or_zero() -> None:
    """Devices may flush them."""
    values = np.array([1e-40, -3e-45, 2.0**-126, 0.0], np.float32)
    row, _ = on_device(values)
    assert row[:N_COUNTS] == (4, 0, 0, 0)
    assert row[N_COUNTS + MIN] in (0.0, float(values[1]))
    assert row[N_COUNTS + MAX] == 2.0**-126
    assert row[N_COUNTS + MEAN] == pytest.approx(2.0**-128, rel=0.01)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.floats(width=32) | st.floats(-1, 1, width=32) | st.sampled_from([math.nan, math.inf, 0.0, 1.0]),
        min_size=12, max_size=12,
    ),
    st.lists(st.booleans(), min_size=12, max_size=12),
)  # fmt: skip
def test_any_floats_give_numpys_moments(values: list[float], mask: list[bool]) -> None:
    """Any exponents beside each other, under any mask."""
    x = np.array(values, np.float32)
    x[np.abs(x) < 2.0**-126] = 0  # without denormals
    assert_same(on_device(x, np.array(mask))[0], numpys(x, mask), tolerance=1e-5)


def test_ten_million_sorted_values_keep_their_mean() -> None:
    """One sum from left to right would be off by more than the values themselves."""
    values = np.sort(np.random.default_rng(0).standard_normal(10_000_128, np.float32))
    for each, pad in ((values, False), (values[:-1], True)):
        row, _ = on_device(each, pad=pad)
        (mean, std), expected = mean_and_std(row), numpys(each)
        true_mean, true_std = mean_and_std(expected)
        assert abs(mean - true_mean) < 1e-5 * true_std
        assert std == pytest.approx(true_std, rel=1e-5)


# --- masks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask_dtype", ["bool", "int8", "int32", "uint8", "float32", "bfloat16", "float16"])
def test_masks_of_any_dtype_choose(mask_dtype: str) -> None:
    """Bools, and 0 and 1 as ints or floats."""
    values = some("float32", TABLE)
    mask = (np.random.default_rng(2).random(TABLE) < 0.5).astype(dtype_of(mask_dtype))
    row, odd = on_device(values, mask)
    assert_same(row, numpys(values, mask))
    assert odd == 0


@pytest.mark.parametrize("name", ["float32", "bfloat16", "int8", "uint32", "bool"])
def test_an_empty_mask_is_an_empty_row(name: str) -> None:
    """As of an array without elements."""
    row, odd = on_device(some(name, TABLE), np.zeros(TABLE, bool))
    assert (row, odd) == (moments_row(np.zeros(0)), 0)


def test_what_the_mask_leaves_out_does_not_matter() -> None:
    """Not even NaN, infinities and the largest floats."""
    values = np.array([1.0, math.nan, math.inf, 3.0, 3.4e38, -math.inf], np.float32)
    mask = np.array([1, 0, 0, 1, 0, 0])
    assert_same(on_device(values, mask)[0], moments_row(np.array([1.0, 3.0])))


@pytest.mark.parametrize(
    ("mask", "odd"),
    [
        (np.array([0.0, 1.0, 0.5, 2.0, -0.0, math.nan], np.float32), 3),
        (np.array([0, 1, 2, -1, 0, 1], np.int32), 2),
        (np.array([0, 1, 255, 1, 0, 1], np.uint8), 1),
        (np.array([True, False, True, True, False, True]), 0),
    ],
    ids=["float32", "int32", "uint8", "bool"],
)
def test_mask_elements_that_are_neither_0_nor_1_are_counted(mask: npt.NDArray[Any], odd: int) -> None:
    """A mask of weights is a mistake that the host can name then."""
    assert on_device(np.ones(6, np.float32), mask)[1] == odd


# --- counts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limb", [1, 2, 12])
@pytest.mark.parametrize("shape", [(1000,), (3, 5, 7, 2), (2, 600, 3)], ids=str)
def test_counts_in_two_words_carry(
    shape: tuple[int, ...], limb: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they do for arrays of more than 2^31 elements: with few elements, a low limit, and short words."""
    monkeypatch.setattr(reductions, "_LARGE", 2)
    monkeypatch.setattr(reductions, "_LIMB", limb)
    for density in (0.0, 0.4, 1.0):
        chosen = np.random.default_rng(3).random(shape) < density
        low, high = np.asarray(reductions._count(jnp.asarray(chosen)[None]))[:, 0].tolist()
        assert low + (high << limb) == chosen.sum()
        assert low < 1 << limb


def test_large_arrays_have_numpys_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as small ones, where counts take two words each."""
    monkeypatch.setattr(reductions, "_LARGE", 2)
    monkeypatch.setattr(reductions, "_LIMB", 3)
    values = some("float32", TABLE)
    values[3, 5:50] = math.nan
    mask = np.random.default_rng(4).random(TABLE) < 0.7
    for chosen in (mask, None):
        words = moments_words(jnp.asarray(values), None if chosen is None else jnp.asarray(chosen))
        ((row, _),) = read_moments(np.asarray(words), np.dtype(np.float32))
        assert_same(row, numpys(values, chosen))


@pytest.mark.parametrize("size", [2**24 + 1, 2**31, 2**32 + 5, 2**40 + 4097])
def test_sizes_are_exact(size: int) -> None:
    """Where float32 stops at 2^24, and 32 bits at 2^32."""
    low, high = np.asarray(reductions._size_words(size))[:, 0].tolist()
    assert low + (high << 12) == size


# --- scalars -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FLOATS + INTS + WIDE)
def test_a_scalar_travels_bit_for_bit(name: str) -> None:
    """The limits of its dtype, and one."""
    with jax.enable_x64(True):
        low, high = limits(name)
        for value in (low, high, 1):
            x = np.array(value).astype(dtype_of(name))
            words = np.asarray(scalar_words(jnp.asarray(x)))
            (number,) = words.view(scalar_dtype(x.dtype)).tolist()
            assert number == x.astype(scalar_dtype(x.dtype)).item()
            assert number == value


def test_what_is_a_number() -> None:
    """Complex numbers and keys of random generators are none."""
    assert all(is_number(dtype_of(name)) for name in FLOATS + INTS + WIDE)
    assert not is_number(np.dtype("complex64"))
    assert not is_number(jax.random.key(0).dtype)


# --- sketches ----------------------------------------------------------------------------------------------


def sketch_of(values: npt.ArrayLike, mask: npt.ArrayLike | None = None) -> Sketch:
    words = _compiled_sketch(jnp.asarray(values), None if mask is None else jnp.asarray(mask))
    assert (words.dtype, words.shape) == (jnp.uint32, (reductions.SKETCH_WORDS,))
    (sketch,) = read_sketches(np.asarray(words))
    return sketch


def listed(sketch: Sketch) -> tuple[list[int], list[int]]:
    return sketch.buckets.tolist(), sketch.counts.tolist()


def assert_quantiles(sketch: Sketch, values: npt.NDArray[Any], qs: Sequence[float] | None = None) -> None:
    """Each within 1 % of NumPy's, or of 17 decades below the largest."""
    x = values.astype(np.float64).ravel()
    assert sketch.counts.sum() == x.size
    assert (np.diff(sketch.buckets) > 0).all()
    for q in qs or (0, 0.01, 0.1, 0.25, 0.5, 0.77, 0.9, 0.99, 1):
        true = np.quantile(x, q, method="lower")
        assert abs(sketch.quantile(q) - true) <= 0.01 * abs(true) + 1e-17 * np.abs(x).max(), q


SKETCHED: dict[str, Callable[[np.random.Generator], npt.NDArray[Any]]] = {
    "normal": lambda r: r.standard_normal(20_000).astype(np.float32),
    "lognormal": lambda r: r.lognormal(0, 5, (20, 1000)).astype(np.float32),
    "all of float32": lambda r: (10 ** r.uniform(-37.5, 38.5, 20_000)).astype(np.float32),
    "large": lambda r: (10 ** r.uniform(22, 38.5, 20_000)).astype(np.float32),
    "small": lambda r: (-(10 ** r.uniform(-37.5, -21, 20_000))).astype(np.float32),
    "bf16": lambda r: r.normal(3, 1, (7, 3000)).astype(ml_dtypes.bfloat16),
    "float16": lambda r: r.normal(0, 100, 5000).astype(np.float16),
    "float8": lambda r: r.normal(0, 10, 5000).astype(ml_dtypes.float8_e4m3fn),
    "int8": lambda r: r.integers(-128, 128, 5000).astype(np.int8),
    "int32": lambda r: r.integers(-(2**31), 2**31, 5000).astype(np.int32),
    "uint32": lambda r: r.integers(0, 2**32, 5000).astype(np.uint32),
    "bool": lambda r: r.random(100) < 0.3,
    "a constant": lambda r: np.full(1000, 0.7, np.float32),
    "zeros": lambda r: np.zeros(1000, np.float32),
    "one": lambda r: np.array([-2.5], np.float32),
}


@pytest.mark.parametrize("make", SKETCHED.values(), ids=SKETCHED)
def test_quantiles_of_a_device_are_within_one_percent(
    make: Callable[[np.random.Generator], npt.NDArray[Any]],
) -> None:
    """Alone, under a mask, and merged with what the host sketched."""
    values = make(np.random.default_rng(5))
    sketch = sketch_of(values)
    assert_quantiles(sketch, values)
    mask = np.random.default_rng(6).random(values.shape) < 0.5
    mask.flat[0] = True
    assert_quantiles(sketch_of(values, mask), values[mask])
    more = (values.astype(np.float64) * 0.5).ravel()[:777]
    merged = Sketch.merge([sketch, Sketch.of(more)])
    assert_quantiles(merged, np.concatenate([values.astype(np.float64).ravel(), more]))
    assert listed(Sketch.merge([Sketch.of(more), sketch])) == listed(merged)
    rows = [np.asarray(_compiled_sketch(jnp.asarray(part))) for part in (values, values[:0], values)]
    assert listed(read_merged_sketch(np.array(rows))) == listed(Sketch.merge([sketch, sketch]))


@pytest.mark.parametrize("exponents", [(-37.9, -21), (-21, -5), (-8, 8), (5, 21), (22, 38.5)])
def test_no_value_of_a_device_is_more_than_one_percent_off(exponents: tuple[float, float]) -> None:
    """Every single one of many, those next to the edges of buckets among them."""
    gamma = math.exp(LOG_GAMMA)
    low, high = (math.log(10) * e / LOG_GAMMA for e in exponents)
    edges = (gamma ** np.arange(math.ceil(low), math.floor(high))).astype(np.float32)
    near = [edges, np.nextafter(edges, np.float32(0)), np.nextafter(edges, np.float32(np.inf))]
    values = np.sort(np.concatenate([*near, (10 ** np.random.default_rng(8).uniform(*exponents, 5000))]))
    values = values.astype(np.float32)
    sketch = sketch_of(values)
    stand_for = np.repeat(_middles(sketch.buckets), sketch.counts)  # the quantile of every rank
    exact = values.astype(np.float64)
    assert (np.abs(stand_for - exact) / exact).max() <= 0.01


def test_a_sketch_of_a_device_leaves_out_what_is_not_finite() -> None:
    """As the host's does."""
    values = np.array([1.0, math.nan, math.inf, 2.0, -math.inf, 0.0, -3.0], np.float32)
    sketch = sketch_of(values)
    assert_quantiles(sketch, np.array([1.0, 2.0, 0.0, -3.0]))
    assert listed(sketch) == listed(Sketch.of(values))


@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_a_sketch_of_nothing_is_empty(shape: tuple[int, ...]) -> None:
    """No elements, none chosen, or none finite; and merging it changes nothing."""
    empty = [sketch_of(np.zeros(shape, np.float32)), sketch_of(np.ones(5, np.float32), np.zeros(5))]
    empty.append(sketch_of(np.full(5, math.nan, np.float32)))
    for sketch in empty:
        assert sketch.counts.sum() == 0
        assert math.isnan(sketch.quantile(0.5))
    one = Sketch.of(np.array([3.0]))
    assert Sketch.merge([*empty, one]).buckets.tolist() == one.buckets.tolist()


def test_a_sketch_in_64_bits_is_the_hosts() -> None:
    """Bucket by bucket, but for the last digit of the logarithm."""
    values = 10 ** np.random.default_rng(9).uniform(-300, 300, 3000)
    with jax.enable_x64(True):
        assert_quantiles(sketch_of(values), values)
        large = np.arange(2**62, 2**62 + 9)
        assert_quantiles(sketch_of(large), large)


def test_subnormal_numbers_are_zeros_of_a_sketch_and_none_is_lost() -> None:
    """Devices may flush them."""
    for values in ([1e-40] * 90 + [1.0] * 10, [3e38, -3e38, 1e-38]):
        x = jnp.array(values, jnp.float32)
        (sketch,) = reductions.read_sketches(np.asarray(jax.jit(reductions.sketch_words)(x)))
        assert sketch.counts.sum() == len(values)
        assert abs(sketch.quantile(0.5)) < 1e-37
