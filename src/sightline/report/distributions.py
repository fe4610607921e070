"""Histograms over time, on one grid for all steps of a key."""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline.report.packing import Packer
from sightline.views.history import History

_BINS = 48
_KEYS = 64


def distributions(history: History, packer: Packer) -> list[dict[str, Any]]:
    """For each key steps × bins, the share of the values of a step; at most 64 keys."""
    found = []
    for key in history.histogram_keys[:_KEYS]:
        lines = [
            (each["step"], np.asarray(each["edges"], float), np.asarray(each["counts"], float))
            for each in history.histograms(key)
            if type(each.get("step")) is int
            and abs(each["step"]) < 1 << 53
            and _is_whole(each.get("edges"), each.get("counts"))
        ]
        if not lines:
            continue
        low = min(edges[0] for _, edges, _ in lines)
        high = max(edges[-1] for _, edges, _ in lines)
        grid = np.linspace(low, high if high > low else low + 1, _BINS + 1)
        columns = np.array([_on_grid(edges, counts, grid) for _, edges, counts in lines])
        order = np.argsort([step for step, _, _ in lines], kind="stable")
        found.append(
            {
                "key": key,
                "edges": packer.add(grid),
                "steps": packer.add(np.array([lines[i][0] for i in order], np.int64)),
                "shares": [packer.add(row) for row in columns[order].T],
            }
        )
    return found


def _is_whole(edges: Any, counts: Any) -> bool:
    try:
        edges, counts = np.asarray(edges, float), np.asarray(counts, float)
    except (TypeError, ValueError):
        return False
    return bool(
        edges.ndim == counts.ndim == 1 and len(edges) == len(counts) + 1 > 1 and np.isfinite(edges).all()
    )


def _on_grid(edges: Any, counts: Any, grid: Any) -> Any:
    """Counts spread over other bins as if they were even within each, as shares of all."""
    total = counts.sum()
    if not total:
        return np.zeros(len(grid) - 1)
    if edges[-1] <= edges[0]:
        return np.histogram([edges[0]], grid)[0].astype(float)
    until = np.concatenate([[0.0], np.cumsum(counts)])
    edges, first = np.unique(edges, return_index=True)
    return np.diff(np.interp(grid, edges, until[first])) / total
