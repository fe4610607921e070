"""Long series made short without hiding anything: of each bucket its lowest, highest, non-finite values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Means(NamedTuple):
    """Means over neighbouring values.

    Attributes:
        first: index of each bucket's first value, int64 ``[b]``.
        size: how many values a bucket has; the last may have fewer.
        means: over the finite ones, float64 ``[b]``; NaN where there are none.
    """

    first: NDArray[np.int64]
    size: int
    means: NDArray[np.float64]


def kept(values: NDArray[np.float64], buckets: int) -> NDArray[np.int64]:
    """Which values a drawing needs: the first, the last, and of each of ``buckets`` equal parts the lowest,
    the highest, and the first of each kind that is not finite.

    Args:
        values: float64 ``[n]``.
        buckets: into how many parts; up to three times as many values are all kept.

    Returns:
        ascending indices, int64.

    Example:
        >>> values = np.zeros(1000)
        >>> values[[333, 777]] = 9.0, np.nan
        >>> {0, 333, 777, 999} <= set(kept(values, 10).tolist())
        True
    """
    n = len(values)
    if n <= 3 * buckets:
        return np.arange(n)
    size = -(-n // buckets)
    table = _table(values, size)
    finite = np.isfinite(table)
    first = np.arange(len(table)) * size
    lows = first + np.argmin(np.where(finite, table, np.inf), axis=1)
    highs = first + np.argmax(np.where(finite, table, -np.inf), axis=1)
    found = [[0, n - 1], lows, highs]
    if not finite.all():
        inside = np.arange(table.size).reshape(table.shape) < n
        for kind in (np.isnan(table), np.isposinf(table), np.isneginf(table)):
            kind &= inside
            has = kind.any(axis=1)
            found.append(first[has] + np.argmax(kind[has], axis=1))
    chosen = np.unique(np.concatenate(found))
    return chosen[chosen < n].astype(np.int64)


def means(values: NDArray[np.float64], buckets: int) -> Means:
    """The mean of each of ``buckets`` equal parts, over what is finite.

    Example:
        >>> means(np.array([1.0, 3.0, np.nan, 5.0]), 2).means
        array([2., 5.])
    """
    size = max(1, -(-len(values) // buckets))
    table = _table(values, size)
    finite = np.isfinite(table)
    counts = finite.sum(axis=1)
    sums = np.where(finite, table, 0.0).sum(axis=1)
    found = np.divide(sums, counts, out=np.full(len(table), np.nan), where=counts > 0)
    return Means(np.arange(len(table), dtype=np.int64) * size, size, found)


def _table(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Values in rows of ``size``, the last filled up with NaN."""
    rows = -(-len(values) // size)
    if rows * size != len(values):
        values = np.concatenate([values, np.full(rows * size - len(values), np.nan)])
    return values.reshape(rows, size)
