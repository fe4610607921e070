"""The full text of samples: a file for each table and process, in the run directory."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from sightline.posting.slots import Slot
from sightline.values.samples import Block, candidates, rows_of

log = logging.getLogger("sightline")


class SampleFiles:
    """Keeps the rows of one process: ``samples/<table>.p00003.a01.jsonl``. Used by one thread.

    Each file begins with a header: ``type``, ``table``, ``run_id``, ``process``, ``processes``, ``attempt``,
    ``host``, and a clock anchor (``time_ns`` since the epoch, ``perf_counter_ns`` of the process). Then
    comes a line for each row: ``step``, ``k`` of the process's commit, ``time``, and its columns under
    ``row``. The rows of a commit are in the kernel when it is posted.

    Args:
        place: gives run directory, run id and attempt, or None while they are not known.
        process, processes: this one, and how many there are.
    """

    def __init__(
        self, place: Callable[[], tuple[Path, str, int] | None], process: int, processes: int
    ) -> None:
        self._place = place
        self._process = process
        self._processes = processes
        self._failed = self._raised = False
        self._begun: set[Path] = set()

    def keep(self, slot: Slot, blocks: Sequence[Block]) -> tuple[dict[str, dict[str, Any]], int]:
        """Writes all rows of a commit down. Raises nothing: no sample is worth the metrics beside it.

        Returns:
            By table what is posted of it: ``recorded``, how many rows there are, ``rows``, some of them, and
            ``ranked_by``, of which column the best and the worst are; and how many rows could not be written.
        """
        by_table: dict[str, list[Block]] = {}
        for block in blocks:
            by_table.setdefault(block.table, []).append(block)
        posted: dict[str, dict[str, Any]] = {}
        failed = 0
        step, k = slot
        for table, of in by_table.items():
            try:
                rows = [row for block in of for row in rows_of(block)]
                if not self._write(table, slot, rows):
                    failed += len(rows)
                ranked_by = of[-1].ranked_by
                seed = f"{table}/{step}/{k}/{self._process}"
                chosen = candidates(rows, seed=seed, ranked_by=ranked_by)
            except Exception:  # whatever a caller's values do
                failed += sum(block.rows for block in of)
                if not self._raised:
                    log.exception("sightline: samples of %r cannot be kept (said once)", table)
                self._raised = True
            else:
                posted[table] = {"recorded": len(rows), "ranked_by": ranked_by, "rows": chosen}
        return posted, failed

    def _write(self, table: str, slot: Slot, rows: Sequence[Mapping[str, Any]]) -> bool:
        place = self._place()
        if place is None:
            return False
        directory, run_id, attempt = place
        name = f"{table}.p{self._process:05d}.a{attempt:02d}.jsonl"
        path = directory / "samples" / name
        lines = []
        if path not in self._begun:
            lines.append(self._header(table, run_id, attempt))
        now = time.time()
        lines += [{"step": slot[0], "k": slot[1], "time": now, "row": row} for row in rows]
        data = b"".join(orjson.dumps(each, option=orjson.OPT_APPEND_NEWLINE) for each in lines)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "ab", buffering=0) as file:
                file.write(data)
        except OSError as error:
            if not self._failed:
                log.warning("sightline: samples cannot be written to %s: %s (said once)", path, error)
            self._failed = True
            return False
        self._begun.add(path)
        return True

    def _header(self, table: str, run_id: str, attempt: int) -> dict[str, Any]:
        return {
            "type": "header", "table": table, "run_id": run_id, "process": self._process,
            "processes": self._processes, "attempt": attempt, "host": os.uname().nodename,
            "pid": os.getpid(), "time_ns": time.time_ns(), "perf_counter_ns": time.perf_counter_ns(),
        }  # fmt: skip
