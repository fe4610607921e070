"""What a sink takes in the background: 10,000 commits of 200 metrics, and whether memory stays flat."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.pairs import Figure, figure
from sightline.config import StatsLoggerConfig
from sightline.journal import Journal
from sightline.sinks import StoringSink, make_sinks, storing_reader
from sightline.sinks.lineage import Lineage, Start

_STEPS, _METRICS = 10_000, 200
_SINKS = ("tensorboard",)


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        journal = _journal(Path(folder))
        for name in _SINKS:
            (sink,) = make_sinks([name], vars(StatsLoggerConfig()))
            assert isinstance(sink, StoringSink)
            facts = {"run_id": "bench", "config": None}
            lineage = Lineage([Start(1, 0, None)], sink.rewind)
            begun = time.process_time()
            reader = storing_reader(
                sink, journal, journal.size, directory=Path(folder), lineage=lineage, facts=facts
            )
            reader.wake(journal.end, journal.seq)
            resident = []
            while not reader.flush(0.1):
                resident.append(_resident_mb())
            assert reader.close(60)
            ms = (time.process_time() - begun) / _STEPS * 1e3
            yield figure(f"{name}: a commit of {_METRICS} metrics in the background, CPU", [ms], None, " ms")
            quarter = len(resident) // 4
            early, late = max(resident[quarter : 2 * quarter]), max(resident[3 * quarter :])
            note = f"of {late:.0f} MB"
            yield figure("  its memory in the last quarter, above the second", [late - early], 8, " MB", note)


def _journal(folder: Path) -> Journal:
    journal = Journal(folder / "metrics.jsonl")
    journal.append({"type": "run", "format": 1, "run_id": "bench", "attempt": 1})
    values = {f"train/metric_{i}/mean": i / 7 for i in range(_METRICS)}
    for step in range(_STEPS):
        journal.seq += 1
        place = {"seq": journal.seq, "attempt": 1, "step": step, "k": 0, "time": 1.7e9 + step}
        journal.append({"type": "commit", **place, "values": values | {"train/loss": 1 / (step + 1)}})
    return journal


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6
