"""Merging exported dicts, for code that receives names and numbers rather than snapshots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from sightline.values import naming
from sightline.values.snapshot import Value

UNWEIGHTED = naming.RESERVED + "unweighted"  #: under which the keys stand that could only be averaged

Exported = Mapping[str, Value | str]


def merge_stats(dicts: Sequence[Exported]) -> dict[str, Value | str]:
    """Merges exported dicts: values weighted by their ``__count``, counts added up.

    For code that receives dicts rather than snapshots. ``<key>/mean`` is weighted by ``<key>__count``;
    ``/min``, ``/max``, ``/sum`` and ``/count`` merge as their names say; ``/std`` merges exactly where
    ``/mean`` is there too. A timing, which has ``_max`` and ``_slowest`` beside it, is averaged over the
    dicts, exactly if each is of one process; ``obs/*`` add up. What has no count is taken if all agree, else
    averaged without weights (quantiles: with them); such keys are listed under ``"obs/unweighted"``,
    so that nothing is dropped or bent in silence. Histograms are no part of such dicts, but for their counts;
    merge snapshots to have them.

    Example:
        >>> merge_stats([{"loss": 1.0, "loss__count": 3}, {"loss": 5.0, "loss__count": 1}])
        {'loss': 2.0, 'loss__count': 4}
    """
    merged, unweighted = merge_dicts(dicts)
    if unweighted:
        merged[UNWEIGHTED] = ",".join(unweighted)
    return merged


@np.errstate(over="ignore", invalid="ignore")
def merge_dicts(dicts: Sequence[Exported]) -> tuple[dict[str, Value | str], list[str]]:
    """What :func:`merge_stats` merges, and apart from it the keys that could only be averaged."""
    merged: dict[str, Value | str] = {}
    unweighted: dict[str, None] = {}
    for key in dict.fromkeys(key for each in dicts for key in each):
        having = [each for each in dicts if key in each]
        if key == UNWEIGHTED:
            unweighted.update(dict.fromkeys(name for each in having for name in str(each[key]).split(",")))
        elif key.endswith(naming.COUNT_SUFFIX) or key.startswith(naming.RESERVED):
            merged[key] = sum(int(each[key]) for each in having)  # of records, or of what went wrong
        else:
            merged[key], right = _merge_dict_values(key, having)
            if not right:
                unweighted[key] = None
    return merged, list(unweighted)


def timing_of(key: str, stats: Exported) -> str | None:
    """The timing that ``key`` belongs to: itself, or what it is the ``_max`` or ``_slowest`` of."""
    base = key.removesuffix("_max").removesuffix("_slowest")
    together = [stats.get(name) for name in (base, f"{base}_max", f"{base}_slowest")]
    known = all(isinstance(each, (int, float)) and math.isfinite(each) for each in together)
    return base if known else None


def is_of_one_process(timing: str, stats: Exported) -> bool:
    """Whether a timing of an exported dict is one process's, by all that the dict says."""
    return stats[timing] == stats[f"{timing}_max"]


def _merge_dict_values(key: str, dicts: Sequence[Exported]) -> tuple[Value | str, bool]:
    """One key of dicts that all have it; and whether the result is right, or only the best there is."""
    numbers = [each[key] for each in dicts]
    equal = all(number == numbers[0] for number in numbers)
    if len(numbers) == 1 or any(isinstance(number, str) for number in numbers):
        return numbers[0], equal or len(numbers) == 1
    values = np.array(numbers, np.float64)
    timings = {timing_of(key, each) for each in dicts}
    if len(timings) == 1 and (timing := timings.pop()) is not None:
        return _merge_timing(key, timing, dicts)
    base, _, statistic = key.rpartition("/")
    own, of_base = key + naming.COUNT_SUFFIX, base + naming.COUNT_SUFFIX
    count_key = own if all(own in each for each in dicts) else of_base
    if not all(count_key in each for each in dicts):
        return numbers[0] if equal else float(values.mean()), False
    n = np.array([each[count_key] for each in dicts], np.float64)
    if not n.sum():
        return numbers[0], equal
    if count_key == of_base:
        if statistic == "min":
            return float(values.min()), True
        if statistic == "max":
            return float(values.max()), True
        if statistic == "sum":
            return float(values.sum()), True
        if statistic == "count":
            return int(values.sum()), True
        if statistic == "std" and all(f"{base}/mean" in each for each in dicts):
            means = np.array([each[f"{base}/mean"] for each in dicts], np.float64)
            center = (n * means).sum() / n.sum()
            return float(np.sqrt((n * (values**2 + (means - center) ** 2)).sum() / n.sum())), True
        if statistic == "std" or _is_quantile(statistic):
            return float((n * values).sum() / n.sum()), False
    return numbers[0] if equal else float((n * values).sum() / n.sum()), True


def _merge_timing(key: str, timing: str, dicts: Sequence[Exported]) -> tuple[Value | str, bool]:
    """A timing is the mean over processes; beside it stand the longest, and whose that is."""
    longest = max(dicts, key=lambda each: each[f"{timing}_max"])
    if key != timing:
        return longest[key], True
    alone = all(is_of_one_process(timing, each) for each in dicts)
    return float(np.mean([each[key] for each in dicts])), alone


def _is_quantile(statistic: str) -> bool:
    return statistic[:1] == "p" and statistic[1:].replace(".", "", 1).isdigit()
