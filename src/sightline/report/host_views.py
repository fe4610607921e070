"""How the processes and their machines are: of each quantity the curves, the latest and the largest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.report.packing import Packer
from sightline.runs.host_health import PREFIXES
from sightline.views.history import History

_COLUMNS = 400
_LINES = 12  # processes by themselves; of more, the lowest, the median and the highest
_ROWS = 4000
_STATISTICS = ("mean", "std", "min", "max", "sum", "count")


def host_views(history: History, packer: Packer) -> list[dict[str, Any]]:
    """A view for each quantity.

    Returns:
        each with ``key``; ``is_low``, whether the smallest value is the one that counts, as of free space;
        ``steps`` and ``lines``, names and values; ``of`` how many processes; ``rows``: process (None: all),
        the latest value and its step, the extreme one and its step.
    """
    tables = {key: history.process_table(key) for key in history.process_keys if key.startswith(PREFIXES)}
    found = []
    for key, table in sorted(tables.items()):
        if table is not None and table.processes and len(table.steps):
            found.append(_view(key, table.steps, list(table.processes), table.values, packer))
    for key in sorted(each for each in history.keys if each.startswith(PREFIXES)):
        base, _, statistic = key.rpartition("/")
        if key in tables or (statistic in _STATISTICS and base in tables):
            continue
        series = history.series(key)
        if len(series.steps):
            found.append(_view(key, series.steps, [None], series.values[:, None], packer))
    return found


def _view(
    key: str,
    steps: NDArray[np.int64],
    processes: list[int | None],
    values: NDArray[np.float64],
    packer: Packer,
) -> dict[str, Any]:
    is_low = "free_bytes" in key
    values = np.where(np.isfinite(values), values, np.nan)
    rows = [
        [process, *_reading(steps, values[:, at], is_low)]
        for at, process in enumerate(processes[:_ROWS])
        if np.isfinite(values[:, at]).any()
    ]
    at = np.arange(0, len(steps), -(-len(steps) // _COLUMNS))
    extreme = (np.fmin if is_low else np.fmax).reduceat(values, at, axis=0)
    if len(processes) <= _LINES:
        names = ["" if process is None else f"process {process}" for process in processes]
        lines = list(zip(names, extreme.T, strict=True))
    else:
        ordered = np.sort(extreme, axis=1)  # NaN last
        counts = np.maximum(np.isfinite(ordered).sum(axis=1), 1)
        row = np.arange(len(ordered))
        lines = [
            ("lowest", ordered[:, 0]),
            ("median", ordered[row, (counts - 1) // 2]),
            ("highest", ordered[row, counts - 1]),
        ]
    return {
        "key": key, "is_low": is_low, "steps": packer.add(steps[at]), "rows": rows, "of": len(processes),
        "lines": [[name, packer.add(np.ascontiguousarray(line))] for name, line in lines],
    }  # fmt: skip


def _reading(steps: NDArray[np.int64], values: NDArray[np.float64], is_low: bool) -> list[Any]:
    """The latest value and its step, the extreme one and its step."""
    last = int(np.flatnonzero(np.isfinite(values))[-1])
    most = int(np.nanargmin(values) if is_low else np.nanargmax(values))
    return [float(values[last]), int(steps[last]), float(values[most]), int(steps[most])]
