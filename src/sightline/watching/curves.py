"""A series of numbers as a row of characters, and what it has done lately."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN = "_.-~=+*#"  #: where the terminal has no block characters
_GAP = " "
_QUARTER = 4


def sparkline(values: NDArray[np.float64], width: int, levels: str = BLOCKS) -> str:
    """Values as a curve one row high; each character is the mean of those that fall together.

    Args:
        values: ``[n]``; what is not finite leaves a gap where nothing else falls.
        width: characters at most; fewer if there are fewer values.
        levels: characters, the lowest first.

    Example:
        >>> sparkline(np.array([0.0, 1.0, 2.0, np.nan, 7.0]), 5), sparkline(np.arange(100.0), 4)
        ('▁▂▃ █', '▁▃▆█')
        >>> sparkline(np.ones(3), 9)
        '▄▄▄'
    """
    means = binned(values, width)
    finite = means[np.isfinite(means)]
    if not len(finite):
        return _GAP * len(means)
    low, high = float(finite.min()), float(finite.max())
    if high <= low:
        places = np.full(len(means), (len(levels) - 1) / 2)
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            # Halved first: the span of the largest numbers would be infinite.
            places = (means / 2 - low / 2) / (high / 2 - low / 2) * (len(levels) - 1)
    return "".join(
        levels[min(len(levels) - 1, max(0, round(float(place) - 1e-9)))] if np.isfinite(mean) else _GAP
        for place, mean in zip(places, means, strict=True)
    )


def binned(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Means of what is finite in ``width`` neighbouring groups; NaN where nothing is.

    Example:
        >>> binned(np.array([1.0, 3.0, np.nan, 5.0]), 2).tolist()
        [2.0, 5.0]
    """
    if len(values) <= width:
        return np.where(np.isfinite(values), values, np.nan)
    edges = np.linspace(0, len(values), max(width, 1) + 1).astype(np.int64)
    return np.array([_mean(values[a:b]) for a, b in itertools.pairwise(edges)])


def _mean(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return float("nan")
    with np.errstate(over="ignore"):
        mean = float(finite.mean())
    return mean if np.isfinite(mean) else float((finite / len(finite)).sum())


def mean(values: NDArray[np.float64]) -> float | None:
    """Of what is finite; None if nothing is."""
    found = _mean(values)
    return found if np.isfinite(found) else None


def change(values: NDArray[np.float64]) -> float | None:
    """How the last quarter lies against the first one, by their means: 0.5 is half as much again.

    None with fewer than four finite values, and where the first quarter's mean is 0 or has another sign,
    since a share means nothing there.

    Example:
        >>> change(np.array([1.0, 1.0, 1.2, 1.4, 1.5, 1.5])), change(np.array([-1.0, 0.0, 1.0, 2.0]))
        (0.5, None)
    """
    values = values[np.isfinite(values)]
    if len(values) < _QUARTER:
        return None
    size = max(1, len(values) // _QUARTER)
    first, last = _mean(values[:size]), _mean(values[-size:])
    if first == 0 or first * last < 0:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        found = float(np.float64(last) / np.float64(first) - 1)
    return round(found, 12) if np.isfinite(found) else None
