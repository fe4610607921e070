"""Merging exported dicts, for code that receives names and numbers rather than snapshots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sightline import naming
from sightline.snapshot import Value


def merge_stats(dicts: Sequence[Mapping[str, Value | str]]) -> dict[str, Value | str]:
    """Merges exported dicts: values weighted by their ``__count``, counts added up.

    For code that receives dicts rather than snapshots. ``<key>/mean`` is weighted by ``<key>__count``;
    ``/min``, ``/max``, ``/sum`` and ``/count`` merge as their names say; ``/std`` merges exactly where
    ``/mean`` is there too. What has no count is taken if all agree, else averaged without weights (quantiles:
    with them); such keys are listed under ``"merge_stats/unweighted"``, so that nothing is dropped or bent in
    silence. Histograms are no part of such dicts, but for their counts; merge snapshots to have them.

    Example:
        >>> merge_stats([{"loss": 1.0, "loss__count": 3}, {"loss": 5.0, "loss__count": 1}])
        {'loss': 2.0, 'loss__count': 4}
    """
    merged: dict[str, Value | str] = {}
    unweighted: list[str] = []
    for key in dict.fromkeys(key for each in dicts for key in each):
        having = [each for each in dicts if key in each]
        if key.endswith(naming.COUNT_SUFFIX):
            merged[key] = sum(int(each[key]) for each in having)
            continue
        value, weighted = _merge_dict_values(key, having)
        merged[key] = value
        if not weighted:
            unweighted.append(key)
    if unweighted:
        merged["merge_stats/unweighted"] = ",".join(unweighted)
    return merged


def _merge_dict_values(key: str, dicts: Sequence[Mapping[str, Value | str]]) -> tuple[Value | str, bool]:
    """One key of dicts that all have it; and whether the result is right, or only the best there is."""
    numbers = [each[key] for each in dicts]
    equal = all(number == numbers[0] for number in numbers)
    if len(numbers) == 1 or any(isinstance(number, str) for number in numbers):
        return numbers[0], equal or len(numbers) == 1
    values = np.array(numbers, np.float64)
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


def _is_quantile(statistic: str) -> bool:
    return statistic[:1] == "p" and statistic[1:].replace(".", "", 1).isdigit()
