"""What each process had of a metric, over the steps; and who is the slow one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.analysis.run_analysis import slow_in_table
from sightline.report.packing import Packer
from sightline.views.history import History, ProcessTable

_CELLS = 1_500_000  # of all maps of a run together
_COLUMNS = 400
_ROWS = 256  # processes by themselves; of more, neighbours share a row


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
        >>> slow_process(table)["process"], slow_process(table)["chronic"]
        (2, True)
    """
    slow = slow_in_table(table.steps, table.processes, table.values)
    if slow is None:
        return None
    return {
        **slow._asdict(), "steps": slow.steps * table.joined, "of_steps": slow.of_steps * table.joined,
        "chronic": slow.is_chronic,
    }  # fmt: skip


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
