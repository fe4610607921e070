"""Mergeable aggregates: the one idea that the rest of sightline carries around.

Every recorded value becomes an aggregate that can be merged with others of its kind, in any order and in any
grouping, to the same result. Everything here works on NumPy arrays for many keys at once and does no I/O.

*Segments.* Many small groups of entries lie one after another in one flat array; ``starts`` holds the index
at which each group begins. ``np.add.reduceat`` and its siblings then reduce all groups in one call.

*Moments* use Chan, Golub and LeVeque's pairwise update ("Updating Formulae and a Pairwise Algorithm for
Computing Sample Variances", 1979), generalised to n parts at once around a pivot. The mean is kept as a high
and a low float64 part, so that a mean of 1e8 with a standard deviation of 1, merged from single records,
keeps its digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Rows of `Moments.counts` and `Moments.stats`.
COUNT, NAN, POSINF, NEGINF = range(4)
MEAN, MEAN_LO, M2, MIN, MAX = range(5)
N_COUNTS, N_STATS = 4, 5

# One entry's worth of moments as plain floats: the four counts, then the five statistics.
Row = tuple[float, ...]
EMPTY_ROW: Row = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, math.inf, -math.inf)
ROW_LENGTH = len(EMPTY_ROW)


def two_sum(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """``a + b``, rounded, and the exact error, 0 where it is not finite (Knuth, TAOCP 2, 4.2.2)."""
    high = a + b
    bb = high - a
    low = (a - (high - bb)) + (b - bb)
    return high, np.where(np.isfinite(low), low, 0.0)


@np.errstate(over="ignore", invalid="ignore")
def moments_row(values: npt.NDArray[np.generic]) -> Row:
    """The moments of one array of any shape, as plain floats (see :data:`ROW_LENGTH`).

    Two passes around a pivot, not E[x²] − E[x]². Statistics are over the finite values; NaN and infinities
    are counted.

    Args:
        values: any shape; any real dtype that casts to float64 (bf16 and float8 of ml_dtypes included).
    """
    x = np.asarray(values, dtype=np.float64).ravel()
    if x.size == 0:
        return EMPTY_ROW
    pivot = float(x[0])
    d = x - pivot
    shift = float(d.sum()) / d.size
    if not math.isfinite(shift):
        return _moments_row_with_care(x)
    d -= shift
    np.multiply(d, d, out=d)  # not d @ d: a thread pool of BLAS would wake up for it
    mean = pivot + shift
    low = (pivot - mean) + shift
    return (float(x.size), 0.0, 0.0, 0.0, mean, low, float(d.sum()), float(x.min()), float(x.max()))


def _moments_row_with_care(x: Floats) -> Row:
    """The same where some values are not finite, or so large that their differences are not."""
    nonfinite = (float(np.isnan(x).sum()), float(np.isposinf(x).sum()), float(np.isneginf(x).sum()))
    x = x[np.isfinite(x)]
    least, most = float(x.min(initial=math.inf)), float(x.max(initial=-math.inf))
    exponent = math.frexp(float(np.abs(x).max(initial=0.0)))[1]
    scale = 2.0 ** max(exponent - 1, 0)  # a power of two, so that scaling is exact
    mean, low, m2 = moments_row(x / scale)[N_COUNTS : N_COUNTS + 3]
    count = x.size + sum(nonfinite)
    return (count, *nonfinite, mean * scale, low * scale, m2 * scale * scale, least, most)


def only_finite_row(row: Row) -> Row:
    """A row without its NaNs and infinities, which are in its counts alone."""
    return (row[COUNT] - sum(row[NAN:N_COUNTS]), 0.0, 0.0, 0.0, *row[N_COUNTS:])


@dataclass(slots=True)
class Moments:
    """Count, mean, spread and extrema of K keys; merging is exact in the counts and stable in the rest.

    Attributes:
        counts: int64 ``(4, K)``: all records, NaNs, positive infinities, negative infinities.
        stats: float64 ``(5, K)``, over the finite records: mean (high part), mean (low part), M2 (the sum of
            squared deviations), min, max. A key without finite records has 0, 0, 0, +inf, −inf.
    """

    counts: Ints
    stats: Floats

    @classmethod
    def empty(cls, keys: int = 0) -> Moments:
        rows = np.tile(np.array(EMPTY_ROW)[:, None], (1, keys))
        return cls(rows[:N_COUNTS].astype(np.int64), rows[N_COUNTS:])

    @classmethod
    def from_rows(cls, rows: Floats) -> Moments:
        """From ``(K, 9)`` rows of :func:`moments_row`."""
        columns = np.ascontiguousarray(rows.T)
        return cls(columns[:N_COUNTS].astype(np.int64), columns[N_COUNTS:])

    @classmethod
    def of_segments(cls, values: Floats, starts: Ints) -> Moments:
        """The moments of each group of single records; groups must not be empty.

        Args:
            values: float64 ``(N,)``, the groups one after another.
            starts: int ``(K,)``, ascending, the first index of each group.
        """
        finite = np.isfinite(values)
        if finite.all():
            nonfinite = np.zeros((3, values.size), np.int64)
            x = values
        else:
            kinds = (np.isnan(values), np.isposinf(values), np.isneginf(values))
            nonfinite = np.stack(kinds).astype(np.int64)
            x = np.where(finite, values, 0.0)
        ok = finite.astype(np.int64)
        counts = np.concatenate([ok[None] + nonfinite.sum(0, keepdims=True), nonfinite])
        stats = np.stack(
            [x, np.zeros_like(x), np.zeros_like(x), np.where(finite, x, np.inf), np.where(finite, x, -np.inf)]
        )
        return cls(counts, stats).merge_segments(starts)

    def merge_segments(self, starts: Ints) -> Moments:
        """Merges each group of entries into one; K entries become ``len(starts)``.

        Example:
            >>> rows = [moments_row(np.array(values)) for values in ([1.0, 2.0], [6.0])]
            >>> merged = Moments.from_rows(np.array(rows)).merge_segments(np.array([0]))
            >>> int(merged.counts[COUNT, 0]), float(merged.mean()[0]), float(merged.std()[0])
            (3, 3.0, 2.160246899469287)
        """
        if len(starts) == self.counts.shape[1]:
            return self
        lengths = np.diff(starts, append=self.counts.shape[1])
        counts = np.add.reduceat(self.counts, starts, axis=1)
        n = (self.counts[COUNT] - self.counts[NAN:].sum(0)).astype(np.float64)
        total = (counts[COUNT] - counts[NAN:].sum(0)).astype(np.float64)
        whole = np.where(total > 0, total, 1.0)
        weight = n / np.repeat(whole, lengths)
        mean, low = self.stats[MEAN], self.stats[MEAN_LO]
        with np.errstate(over="ignore", invalid="ignore"):
            # The pivot is near the mean, so the differences below are small and (by Sterbenz) mostly exact.
            pivot = np.add.reduceat(weight * mean, starts)
            d = np.where(n > 0, (mean - np.repeat(pivot, lengths)) + low, 0.0)
            shift = np.add.reduceat(weight * d, starts)
            shift = np.where(np.isfinite(shift), shift, 0.0)  # means 1e308 apart: the pivot must do
            spread = n * (d - np.repeat(shift, lengths)) ** 2
            spread = np.where(n > 0, spread, 0.0)
            m2 = np.add.reduceat(self.stats[M2] + spread, starts)
            high, lower = two_sum(pivot, shift)
        return Moments(
            counts,
            np.stack(
                [
                    high,
                    lower,
                    m2,
                    np.minimum.reduceat(self.stats[MIN], starts),
                    np.maximum.reduceat(self.stats[MAX], starts),
                ]
            ),
        )

    def select(self, index: npt.NDArray[np.intp]) -> Moments:
        """The entries at ``index``, in that order."""
        return Moments(self.counts[:, index], self.stats[:, index])

    @staticmethod
    def concatenate(parts: Sequence[Moments]) -> Moments:
        return Moments(
            np.concatenate([part.counts for part in parts], axis=1),
            np.concatenate([part.stats for part in parts], axis=1),
        )

    def finite(self) -> Ints:
        """How many finite records each key has, int64 ``(K,)``."""
        result: Ints = self.counts[COUNT] - self.counts[NAN:].sum(0)
        return result

    def nonfinite(self) -> Ints:
        """How many NaN or infinite records each key has, int64 ``(K,)``."""
        result: Ints = self.counts[NAN:].sum(0)
        return result

    def mean(self) -> Floats:
        """The mean as NumPy would give it: NaN or infinite where such values were recorded."""
        with np.errstate(invalid="ignore"):
            mean = self.stats[MEAN] + self.stats[MEAN_LO]
        _, nan, posinf, neginf = self.counts > 0
        mean = np.where(posinf, np.inf, np.where(neginf, -np.inf, mean))
        return np.where(nan | (posinf & neginf) | (self.counts[COUNT] == 0), np.nan, mean)

    def std(self) -> Floats:
        """The population standard deviation; NaN where a non-finite value was recorded, as in NumPy."""
        n = self.finite()
        with np.errstate(invalid="ignore"):
            std = np.sqrt(self.stats[M2] / np.where(n > 0, n, 1))
        return np.where((self.nonfinite() > 0) | (n == 0), np.nan, std)

    def total(self) -> Floats:
        """Mean × count, to a rounding; what is a whole number but for the rounding is that number."""
        with np.errstate(over="ignore", invalid="ignore"):
            n = self.counts[COUNT].astype(np.float64)
            product = self.stats[MEAN] * n + self.stats[MEAN_LO] * n
            whole = np.rint(product)
            rounding = 4 * np.finfo(np.float64).eps * n * (np.abs(self.stats[MEAN]) + self.std())
            product = np.where(np.abs(product - whole) <= rounding, whole, product)
        return np.where(self.nonfinite() > 0, self.mean(), product)


# --- sums --------------------------------------------------------------------------------------------------


def exact_sum(values: Sequence[float | int]) -> tuple[float, float]:
    """The sum of host numbers as a high and a low float64, to 1e-32; infinite or NaN as NumPy would have it.

    Example:
        >>> exact_sum([2**53, 1])
        (9007199254740992.0, 1.0)
        >>> exact_sum([1e16, 0.25, 0.5])
        (1e+16, 0.75)
    """
    try:
        ints = sum(value for value in values if type(value) is int)
        high = float(ints)
        parts = [value for value in values if type(value) is not int]
        parts += [high, float(ints - int(high))]
        high = math.fsum(parts)
        return high, math.fsum((*parts, -high)) if math.isfinite(high) else 0.0
    except (OverflowError, ValueError):  # beyond float64, or inf and -inf
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.sum(np.array(values, np.float64))), 0.0


def merge_sums(high: Floats, low: Floats, starts: Ints) -> tuple[Floats, Floats]:
    """Adds (high, low) pairs within each group, keeping the rounding errors.

    A tree of two-sums: pairs of neighbours of one group are added level by level, so that the error stays at
    1e-32 relative and integers are exact past 2^53.
    """
    ids = np.repeat(np.arange(len(starts)), np.diff(starts, append=high.size))
    with np.errstate(over="ignore", invalid="ignore"):
        while ids.size > len(starts):
            first = np.concatenate([[True], ids[1:] != ids[:-1]])
            at = np.flatnonzero(first)
            place = np.arange(ids.size) - np.repeat(at, np.diff(at, append=ids.size))
            left = np.flatnonzero(place % 2 == 0)
            right = left + 1
            paired = (right < ids.size) & (ids[np.minimum(right, ids.size - 1)] == ids[left])
            other = np.where(paired, right, 0)
            s, e = two_sum(high[left], np.where(paired, high[other], 0.0))
            high, low = two_sum(s, e + low[left] + np.where(paired, low[other], 0.0))
            ids = ids[left]
    return high, low


def as_number(high: float, low: float) -> float | int:
    """A (high, low) sum as an int where both parts are whole and 64 bits hold them, else as a float."""
    if abs(high) < 2**63 and high.is_integer() and low.is_integer():
        return int(high) + int(low)
    return high + low


# --- quantiles ---------------------------------------------------------------------------------------------

_ACCURACY = 0.0099  # 1 %, less what the logarithm of a float32 device may add
_GAMMA = (1 + _ACCURACY) / (1 - _ACCURACY)
LOG_GAMMA = math.log(_GAMMA)
BIAS = 40_000  # above |log_gamma(5e-324)|, so that every positive value has a positive bucket number
WINDOW = 2048  # buckets below the largest magnitude; 17 decades. What is smaller counts as zero.


Histogram = tuple[list[float], list[int]]  # edges, and one count fewer


@dataclass(slots=True)
class Sketch:
    """A mergeable quantile sketch with 1 % relative accuracy, for one key.

    DDSketch (Masson, Rim, Lee: "DDSketch: A Fast and Fully-Mergeable Quantile Sketch", VLDB 2019): a count
    for each bucket (γ^(i−1), γ^i] of the magnitude, with γ = 1.0099/0.9901. Merging adds counts, so that any
    split of the data gives the same sketch. Bucket numbers are signed, and ordered as their values are;
    0 holds zeros and magnitudes 17 decades below the largest. A used bucket takes 12 bytes, and there are
    4,097 at most: 2,048 of either sign, and 0.

    Attributes:
        buckets: int32 ``(B,)``, ascending.
        counts: int64 ``(B,)``.
    """

    buckets: npt.NDArray[np.int32]
    counts: Ints

    @classmethod
    def of(cls, values: npt.NDArray[np.generic]) -> Sketch:
        """The sketch of the finite values of an array of any shape and real dtype."""
        x = np.asarray(values, dtype=np.float64).ravel()
        x = x[np.isfinite(x)]
        magnitude = np.abs(x)
        with np.errstate(divide="ignore"):
            index = np.ceil(np.log(magnitude) / LOG_GAMMA)
        buckets = np.where(magnitude > 0, np.copysign(index + BIAS, x), 0).astype(np.int32)
        return cls._tidy(buckets, np.ones(buckets.size, np.int64))

    @classmethod
    def merge(cls, parts: Sequence[Sketch]) -> Sketch:
        return cls._tidy(
            np.concatenate([part.buckets for part in parts]), np.concatenate([part.counts for part in parts])
        )

    @classmethod
    def _tidy(cls, buckets: npt.NDArray[np.int32], counts: Ints) -> Sketch:
        if buckets.size:
            # The limit depends on the largest magnitude alone, so the order of merging cannot matter.
            limit = int(np.abs(buckets).max()) - WINDOW
            buckets = np.where(np.abs(buckets) > limit, buckets, 0).astype(np.int32)
        unique, inverse = np.unique(buckets, return_inverse=True)
        merged = np.zeros(unique.size, np.int64)
        np.add.at(merged, inverse, counts)
        return cls(unique, merged)

    def quantile(self, q: float) -> float:
        """The value at rank ``q·(n−1)``, rounded down, within 1 %; NaN for an empty sketch.

        Example:
            >>> sketch = Sketch.of(np.arange(1.0, 1001.0))
            >>> abs(sketch.quantile(0.5) - 500) <= 0.01 * 501
            True
        """
        if not self.counts.size:
            return math.nan
        rank = q * (int(self.counts.sum()) - 1)
        at = int(np.searchsorted(np.cumsum(self.counts), rank, side="right"))
        return float(_middles(self.buckets[at : at + 1])[0])

    def histogram(self, low: float, high: float, bins: int) -> Histogram:
        """The counts over equal bins, as ``np.histogram`` has them; each bucket counts where its middle is.

        Args:
            low, high: the smallest and the largest value of the sketch, which it does not know to the bit;
                the outer edges. If they are too close for so many bins, as for a constant, the edges are half
                below and half above.
            bins: how many.

        Returns:
            The ``bins + 1`` edges, ascending, and the ``bins`` counts, whose sum is that of the sketch.

        Example:
            >>> Sketch.of(np.array([1.0, 2.0, 2.0, 9.0])).histogram(1.0, 9.0, 4)
            ([1.0, 3.0, 5.0, 7.0, 9.0], [3, 0, 0, 1])
        """
        edges = _edges(low, high, bins)
        place = np.searchsorted(edges, np.clip(_middles(self.buckets), low, high), side="right") - 1
        counts = np.zeros(bins, np.int64)
        np.add.at(counts, np.clip(place, 0, bins - 1), self.counts)
        return edges.tolist(), counts.tolist()


def _middles(buckets: npt.NDArray[np.int32]) -> Floats:
    """The value that stands for each bucket: none of the bucket's is further away than 1 % of itself."""
    with np.errstate(over="ignore"):
        low = _GAMMA ** (np.abs(buckets) - (BIAS + 1.0))
        middle = np.minimum(low * (2 * _GAMMA / (_GAMMA + 1)), np.finfo(np.float64).max)
    return np.where(buckets == 0, 0.0, np.copysign(middle, buckets))


def _edges(low: float, high: float, bins: int) -> Floats:
    # By halves, since high − low may be beyond float64; a factor of two changes no digit.
    edges: Floats = 2 * np.linspace(low / 2, high / 2, bins + 1)
    edges[0], edges[-1] = low, high
    if not (edges[1:] > edges[:-1]).all():  # a constant, or floats do not lie as close as the edges would
        largest = float(np.finfo(np.float64).max)
        room = max(0.5, bins * math.ulp(max(abs(low), abs(high))))
        edges = np.linspace(max(low - room, -largest), min(high + room, largest), bins + 1)
    return edges
