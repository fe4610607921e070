"""What each process had of a metric, over the steps; and who is the slow one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.history import History, ProcessTable
from sightline.report.packing import Packer

_CELLS = 1_500_000  # of all maps of a run together
_COLUMNS = 400
_ROWS = 256  # processes by themselves; of more, neighbours share a row
_EXCESS = 0.1  # of the median, as in analysis: less is nobody's fault
_EXCESS_S = 1e-3


def process_maps(history: History, packer: Packer, runs: int = 1) -> list[dict[str, Any]]:
    """A map for each metric that the journal has by process, timings first."""
    keys = sorted(history.process_keys, key=lambda key: (not key.startswith("time/"), key))
    found, room = [], _CELLS // max(1, runs)
    for key in keys:
        table = history.process_table(key)
        if table is None or not len(table.steps) or not table.processes:
            continue
        rows = min(len(table.processes), _ROWS)
        columns = min(_COLUMNS, max(20, room // rows // max(1, len(keys))))
        steps, processes, values = _shrunk(table, rows, columns)
        found.append(
            {
                "key": key, "processes": processes, "steps": packer.add(steps), "joined": table.joined,
                "values": [packer.add(row) for row in values], "of": len(table.processes),
                "slow": slow_process(table) if key.startswith("time/") else None,
            }
        )  # fmt: skip
    return found


def slow_process(table: ProcessTable) -> dict[str, Any] | None:
    """Who is slowest, clearly above the median of all; None if nobody is.

    Example:
        >>> table = ProcessTable(np.arange(3), 1, [0, 1, 2], np.array([[1.0, 1.0, 2.0]] * 3))
        >>> slow_process(table)
        {'process': 2, 'excess_s': 1.0, 'steps': 3, 'of_steps': 3, 'worst_step': 0, 'chronic': True}
    """
    values = table.values[(np.isfinite(table.values).sum(axis=1) > 1)]
    steps = table.steps[(np.isfinite(table.values).sum(axis=1) > 1)]
    if not len(values):
        return None
    ordered = np.sort(values, axis=1)  # NaN last
    counts = np.isfinite(values).sum(axis=1)
    # Of two middle ones the lower: with two processes the upper is the slow one itself.
    median = ordered[np.arange(len(values)), (counts - 1) // 2]
    slowest = np.nanargmax(values, axis=1)
    over = values[np.arange(len(values)), slowest] - median
    is_clear = over > np.maximum(_EXCESS * median, _EXCESS_S)
    if not is_clear.any():
        return None
    total = np.bincount(slowest[is_clear], over[is_clear], len(table.processes))
    place = int(total.argmax())
    own = is_clear & (slowest == place)
    return {
        "process": table.processes[place],
        "excess_s": float(over[own].mean()),
        "steps": int(own.sum()) * table.joined,
        "of_steps": len(values) * table.joined,
        "worst_step": int(steps[own][over[own].argmax()]),
        "chronic": bool(own.sum() > 0.5 * len(values) and len(values) > 1),
    }


def _shrunk(
    table: ProcessTable, rows: int, columns: int
) -> tuple[NDArray[np.int64], list[str], NDArray[np.float64]]:
    """Processes × steps, of neighbours the largest, so that no peak is lost."""
    values = np.where(np.isfinite(table.values), table.values, -np.inf)
    width = -(-len(table.steps) // columns)
    at = np.arange(0, len(table.steps), width)
    values = np.maximum.reduceat(values, at, axis=0)
    height = -(-len(table.processes) // rows)
    of = np.arange(0, len(table.processes), height)
    values = np.maximum.reduceat(values, of, axis=1)
    firsts = [int(each) for each in of]
    last = [min(each + height, len(table.processes)) - 1 for each in firsts]
    names = [
        str(table.processes[first]) if height == 1 else f"{table.processes[first]}–{table.processes[end]}"
        for first, end in zip(firsts, last, strict=True)
    ]
    return table.steps[at], names, np.where(np.isfinite(values), values, np.nan).T
