"""Whether two runs differ in a metric by more than their noise: pure functions over series."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.views.history import Series

WINDOW = 200  #: values before the place of comparison that tell of level and noise
CLEAR = 4.0  #: standard errors beyond which a difference is no noise
NEGLIGIBLE = 1e-3  #: of the larger level: less never matters
_FEWEST = 10
_MAD = 1.4826  # makes the median of absolute values the standard deviation, for normal ones
_OUTLIER = 3.0  # standard deviations, to which what is farther from the trend is drawn in
_SMOOTH = 1e-2  # of the deviation from the trend: neighbours that are closer to a line make a curve
_ROUNDING = 1e-12  # of the values: such noise is that of the arithmetic here


class Level(NamedTuple):
    """Where a series stands, apart from its noise.

    Attributes:
        value: the mean of its last quarter.
        error: its standard error; None: there are too few values to tell.
        noise: standard deviation of a single value around the trend; None as well.
    """

    value: float
    error: float | None
    noise: float | None


class Difference(NamedTuple):
    """A metric of two runs at one place.

    Attributes:
        key: the metric.
        first, second: its values there; NaN and infinities as they were recorded.
        first_step, second_step: of these values; the same, if steps are compared.
        change: ``second − first``.
        relative: the change over the size of ``first``; None where that is 0.
        score: how many standard errors the levels are apart; infinite for values without noise; None: there
            are too few values to tell.
        matters: whether the difference is no noise and not negligible; None: that cannot be told.
    """

    key: str
    first: float
    second: float
    first_step: int
    second_step: int
    change: float
    relative: float | None
    score: float | None
    matters: bool | None


def level_of(values: NDArray[np.float64]) -> Level:
    r"""The level at the end of a series, and how sure it is.

    Of the last 200 values, those that are not finite left out:

    - The trend is the line through the medians of the first and the last third (Tukey's resistant line,
      *Exploratory Data Analysis*, 1977). The noise :math:`s` is 1.4826 times the median of the absolute
      residuals (the MAD; Hampel, *JASA* 69, 1974), or their root mean square where that is 0. Residuals
      beyond :math:`3 s` are drawn in to it.
    - Values that follow each other are alike. :math:`\rho` is the residuals' autocorrelation at lag 1, and
      not below 0, with Kendall's correction for the bias of short series, :math:`(1 + 4\rho) / n`
      (*Biometrika* 41, 1954).
    - The level is the mean of the last quarter, of :math:`w = n / 4` values. Its standard error is
      :math:`s \sqrt{(1 + \rho) / (1 - \rho) / w}`, that of a mean of autoregressive noise, times
      :math:`1 + 6 / (n - 3)`, since a few values tell little of :math:`s`.
    - A smooth curve, such as a learning rate, is no noise: where second differences of neighbours are below
      a hundredth of :math:`s`, they are taken for all the noise that there is.

    Args:
        values: in their order, as if they were equally far apart; ``[n]``, one of them finite.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> level = level_of(np.arange(200) / 10 + rng.normal(0, 0.5, 200))
        >>> level.noise and round(level.noise, 1), level_of(np.array([1.0, 2.0])).error
        (0.5, None)
    """
    values = values[np.isfinite(values)][-WINDOW:]
    count = len(values)
    if count < _FEWEST:
        return Level(float(values[-1]), None, None)
    width = count // 4
    trend = _line(values)
    residuals = values - trend
    noise = _MAD * float(np.median(np.abs(residuals))) or _root_mean_square(residuals)
    if noise <= _ROUNDING * float(np.max(np.abs(values))):
        return Level(float(np.mean(values[-width:])), 0.0, 0.0)
    curve = values[:-2] - 2 * values[1:-1] + values[2:]
    if _root_mean_square(curve) <= _SMOOTH * noise:
        return Level(float(np.mean(values[-width:])), _root_mean_square(curve), noise)
    residuals = np.clip(residuals, -_OUTLIER * noise, _OUTLIER * noise)
    about = residuals - np.mean(residuals)
    alike = float(about[1:] @ about[:-1]) / float(about @ about)
    alike = min(max(0.0, alike + (1 + 4 * alike) / count), 1 - 1 / count)
    error = noise * math.sqrt((1 + alike) / (1 - alike) / width) * (1 + 6 / (count - 3))
    return Level(float(np.mean((trend + residuals)[-width:])), error, noise)


def _line(values: NDArray[np.float64]) -> NDArray[np.float64]:
    third = len(values) // 3
    places = np.arange(len(values), dtype=np.float64)
    rise = np.median(values[-third:]) - np.median(values[:third])
    slope = rise / (np.median(places[-third:]) - np.median(places[:third]))
    line: NDArray[np.float64] = slope * places
    return line + np.median(values - line)


def _root_mean_square(values: NDArray[np.float64]) -> float:
    return math.sqrt(float(np.mean(values**2)))


def at_step(key: str, first: Series, second: Series, step: int) -> Difference | None:
    """A metric of two runs at the last step that both have it, up to one; None if there is none.

    Example:
        >>> steps = np.arange(40)
        >>> noise = np.random.default_rng(1).normal(0, 0.1, (2, 40))
        >>> a, b = (Series(steps, steps * 1.0, base + each) for base, each in zip((1, 2), noise))
        >>> found = at_step("loss", a, b, 30)
        >>> found.first_step, found.matters
        (30, True)
    """
    common = np.intersect1d(first.steps, second.steps, assume_unique=True)
    common = common[common <= step]
    if not len(common):
        return None
    last = int(common[-1])
    ends = (int(np.searchsorted(each.steps, last)) for each in (first, second))
    return _at(key, first, second, *ends)


def at_times(
    key: str,
    first: Series,
    second: Series,
    first_elapsed: NDArray[np.float64],
    second_elapsed: NDArray[np.float64],
    elapsed: float,
) -> Difference | None:
    """A metric of two runs as it was after so many seconds; None if one had none by then.

    Args:
        key, first, second: the metric, and its series.
        first_elapsed, second_elapsed: of each of their values, seconds since the run's beginning, ascending.
        elapsed: seconds since the beginning.
    """
    ends = [int(np.searchsorted(each, elapsed, side="right")) - 1 for each in (first_elapsed, second_elapsed)]
    return None if min(ends) < 0 else _at(key, first, second, *ends)


def _at(key: str, first: Series, second: Series, first_end: int, second_end: int) -> Difference:
    a, b = float(first.values[first_end]), float(second.values[second_end])
    with np.errstate(all="ignore"):
        change = float(np.float64(b) - np.float64(a))
    relative = change / abs(a) if a and math.isfinite(a) else None
    score, matters = _judged(first.values[: first_end + 1], second.values[: second_end + 1])
    return Difference(
        key,
        a,
        b,
        int(first.steps[first_end]),
        int(second.steps[second_end]),
        change,
        relative,
        score,
        matters,
    )


def _judged(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float | None, bool | None]:
    ends = (first[-1], second[-1])
    if not all(map(math.isfinite, ends)):
        alike = ends[0] == ends[1] or all(map(math.isnan, ends))
        return (0.0, False) if alike else (math.inf, True)
    with np.errstate(all="ignore"):
        a, b = level_of(first), level_of(second)
    apart = abs(b.value - a.value)
    is_small = apart <= NEGLIGIBLE * max(abs(a.value), abs(b.value))
    if a.error is None or b.error is None:
        return None, False if is_small else None
    error = math.hypot(a.error, b.error)
    score = apart / error if error else math.inf if apart else 0.0
    return (None, None) if math.isnan(score) else (score, score > CLEAR and not is_small)


def order(found: Difference) -> tuple[int, float, str]:
    """Those that matter first, then what cannot be told; within them by how far apart they are."""
    rank = {True: 0, None: 1, False: 2}[found.matters]
    size = found.score if found.score is not None else abs(found.relative or 0.0)
    return rank, -size, found.key
