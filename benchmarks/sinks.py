"""What sinks cost: a commit on the caller while they fail; 10,000 commits of 200 metrics in their threads."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import sightline as sl
from benchmarks.pairs import Figure, figure
from sightline.config import StatsLoggerConfig
from sightline.journal import Journal
from sightline.sinks import StoringSink, make_sinks, storing_reader
from sightline.sinks.lineage import Lineage, Start

_STEPS, _METRICS = 10_000, 200
_SINKS = ("tensorboard",)
_ROUNDS = 300


def figures() -> Iterator[Figure]:
    yield _while_they_fail()
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


class _Sink:
    """Takes what it gets, or does not."""

    def __init__(self, name: str, do: Callable[[], object] = lambda: None) -> None:
        self.name = name
        self._do = do

    def write(self, records: object) -> None:
        self._do()

    def close(self) -> None:
        pass


def _while_they_fail() -> Figure:
    """Commits of two runs in turn: the sinks of one raise, hang and are slow, those of the other are well."""

    def fail() -> None:
        raise ConnectionError("fails")

    over = threading.Event()
    troubles = {"raises": fail, "hangs": over.wait, "slow": lambda: over.wait(1.0)}
    log = logging.getLogger("sightline")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory() as folder:
            failing, well = (
                sl.start(folder, name=name, sinks=["jsonl", *sinks], naming="off")
                for name, sinks in (
                    ("failing", [_Sink(name, do) for name, do in troubles.items()]),
                    ("well", [_Sink(name) for name in troubles]),
                )
            )
            found = []
            for step in range(_ROUNDS):
                order = (failing, well) if step % 2 else (well, failing)
                took = {run: _commit_s(run, step) for run in order}
                found.append(took[failing] / took[well])
            over.set()
            for run in (failing, well):
                run.finish(10)
    finally:
        log.setLevel(level)
    what = f"commit of {_METRICS} metrics while sinks raise, hang and are slow / while they are well"
    return figure(what, found[10:], 1.1)


def _commit_s(run: sl.Run, step: int) -> float:
    """How long the commit holds its caller."""
    sl.scalar(**{f"metric_{i}": step / (i + 1) for i in range(_METRICS)})
    begun = time.perf_counter()
    run.commit(step)
    took = time.perf_counter() - begun
    time.sleep(0.005)  # as a training step would leave time for what goes on in the background
    return took


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
