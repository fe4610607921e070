"""Two results on the same cases, and how sure the difference is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Comparison:
    """The same cases before and after; the interval is a paired bootstrap over cases."""

    problems: int
    before: float
    after: float
    gain: float
    gain_low: float  # 2.5 % quantile
    gain_high: float  # 97.5 % quantile


def compare(before: np.ndarray, after: np.ndarray, resamples: int = 10_000, seed: int = 0) -> Comparison:
    """The means before and after, on the same cases; both (N,), of 0 and 1 or of a few other values."""
    difference = after.astype(np.float64) - before.astype(np.float64)
    n = len(difference)
    # A resample is how often each different value is drawn: the bootstrap without N × 10,000 draws.
    values, counts = np.unique(difference, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(n, counts / n, resamples)
    low, high = np.quantile(draws @ values / n, [0.025, 0.975])
    return Comparison(n, float(before.mean()), float(after.mean()), float(difference.mean()), low, high)
