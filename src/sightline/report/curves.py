"""The metrics of a run, thinned and packed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.report.other_names import alias_names
from sightline.report.packing import Packer
from sightline.report.thinning import kept, means
from sightline.views.history import History, Series, bands

_VALUES = 1_200_000  # of all series of a page together
_BUCKETS = 150, 4000  # of a series: at least, at most
_CLOCK = 20_000  # points that say when a step was


def curves(history: History, packer: Packer, runs: int = 1) -> dict[str, Any]:
    """Every metric as the page draws it.

    Args:
        history: of the run.
        packer: takes the numbers.
        runs: how many share the page.

    Returns:
        ``keys``, each with ``key``, ``n``, ``first``, ``last``, ``min``, ``max`` (of what is finite), ``x``
        and ``y`` (kept points), ``mean`` (bucket means, where points were left out), ``over`` (values that a
        later attempt has gone over); ``bands``; ``aliases``, keys that are other names of others; ``clock``,
        steps and their times; ``start``.
    """
    keys = history.keys
    most = int(_VALUES / max(1, runs) / max(1, len(keys)) / 3)
    buckets = min(max(most, _BUCKETS[0]), _BUCKETS[1])
    entries: list[dict[str, Any]] = []
    clock = _clock(history)
    for key in keys:
        series = history.series(key)
        entry = {"key": key, **_packed(series, packer, buckets)}
        if len(history.runs) > 1:
            over = history.gone_over(key)
            if len(over.steps):
                some = kept(over.values, buckets // 4 + 1)
                entry["over"] = {
                    "x": packer.add(over.steps[some]), "y": packer.add(over.values[some]),
                    "t": packer.add(over.times[some]),
                }  # fmt: skip
        entries.append(entry)
    at = np.unique(np.linspace(0, len(clock[0]) - 1, min(_CLOCK, len(clock[0]))).astype(np.int64))
    start = history.runs[0].get("started") if history.runs else None
    if not isinstance(start, (int, float)):
        start = float(clock[1][0]) if len(clock[1]) else 0.0
    return {
        "keys": entries,
        "aliases": sorted(alias_names(history)),
        "bands": {base: parts for base, parts in bands(keys).items() if len(parts) > 1},
        "clock": {"x": packer.add(clock[0][at]), "t": packer.add(clock[1][at])},
        "start": start,
    }


def _clock(history: History) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Steps, and when each was committed last; what a later attempt has gone over is left out."""
    steps, times, attempts = history.rows()
    is_over = np.zeros(len(steps), bool)
    for start in history.starts:
        is_over |= (attempts < start.attempt) & (steps >= start.first_step)
    steps, times = steps[~is_over][::-1], times[~is_over][::-1]
    steps, last = np.unique(steps, return_index=True)
    return steps, times[last]


def _packed(series: Series, packer: Packer, buckets: int) -> dict[str, Any]:
    steps, _, values = series
    at = kept(values, buckets)
    finite = values[np.isfinite(values)]
    entry: dict[str, Any] = {
        "n": len(values),
        "x": packer.add(steps[at]),
        "y": packer.add(values[at]),
        "bad": len(values) - len(finite),
    }
    if len(values):
        entry |= {"first": float(values[0]), "last": float(values[-1]), "step": int(steps[-1])}
    if len(finite):
        entry |= {"min": float(finite.min()), "max": float(finite.max())}
    if len(at) < len(values):
        thinned = means(values, buckets)
        middle = np.minimum(thinned.first + thinned.size // 2, len(steps) - 1)
        entry["mean"] = {
            "x": packer.add(steps[middle]),
            "y": packer.add(thinned.means),
            "size": thinned.size,
        }
    return entry
