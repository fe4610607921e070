"""What sinks cost: a commit while they fail; 10,000 commits of 200 metrics in the background."""

from __future__ import annotations

import logging
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sightline as sl
from benchmarks.pairs import Figure, figure
from sightline.config import StatsLoggerConfig
from sightline.runs.journal import Journal
from sightline.sinks import StoringSink, make_sinks, storing_reader
from sightline.sinks.lineage import Lineage, Start

_STEPS, _METRICS = 10_000, 200
_SAMPLES = 40
_GROWTH_MB = 8
_ROUNDS = 300


def figures() -> Iterator[Figure]:
    yield _while_they_fail()
    with tempfile.TemporaryDirectory() as folder:
        yield _cpu("tensorboard", Path(folder))
    for name in ("tensorboard", "wandb"):
        with tempfile.TemporaryDirectory() as folder:
            yield from _memory(name, folder)


def _cpu(name: str, folder: Path) -> Figure:
    """From a journal that is there, by a sink that works in this process."""
    journal = _journal(folder)
    (sink,) = make_sinks([name], vars(StatsLoggerConfig()))
    assert isinstance(sink, StoringSink)
    facts = {"run_id": "bench", "config": None}
    lineage = Lineage([Start(1, 0, None)], sink.rewind)
    begun = time.process_time()
    reader = storing_reader(sink, journal, journal.size, directory=folder, lineage=lineage, facts=facts)
    reader.wake(journal.end, journal.seq)
    while not reader.flush(0.1):
        pass
    assert reader.close(60)
    ms = (time.process_time() - begun) / _STEPS * 1e3
    return figure(f"{name}: a commit of {_METRICS} metrics in the background, CPU", [ms], None, " ms")


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
    troubles: dict[str, Callable[[], object]] = {
        "raises": fail,
        "hangs": over.wait,
        "slow": lambda: over.wait(1.0),
    }
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
    metrics: dict[str, Any] = {f"metric_{i}": step / (i + 1) for i in range(_METRICS)}
    sl.scalar(**metrics)
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


def _memory(name: str, folder: str) -> Iterator[Figure]:
    """Of training, which records and commits, and of the processes that its sink has started."""
    settings = StatsLoggerConfig(wandb=sl.WandbConfig(mode="offline"), finish_timeout_s=600)
    ours, theirs = [], []
    with sl.start(folder, name="bench", sinks=[name], logger=settings) as run:
        for step in run.steps(_STEPS):
            with sl.scope("train"):
                metrics: dict[str, Any] = {f"metric_{i}": (step + i) / 7 for i in range(_METRICS)}
                sl.scalar(**metrics)
            run.commit(step)
            if (step + 1) % (_STEPS // _SAMPLES) == 0:
                assert run.flush(600)  # nothing waits in queues: what is left is what is held
                ours.append(_resident_mb(os.getpid()))
                theirs.append(sum(map(_resident_mb, _descendants(os.getpid()))))
    what = f"{name}: resident memory of training in the last quarter, above the second"
    yield _growth(what, ours)
    if any(theirs):
        yield _growth("  of the sink's own processes", theirs)


def _growth(what: str, samples: list[float]) -> Figure:
    """By medians, since what a garbage collector has not taken yet comes and goes."""
    quarter = len(samples) // 4
    early, late = (statistics.median(samples[i * quarter :][:quarter]) for i in (1, 3))
    return figure(what, [late - early], _GROWTH_MB, " MB", f"of {late:.0f} MB, {max(samples):.0f} at most")


def _resident_mb(process: int) -> float:
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except OSError:  # it has ended
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _descendants(process: int) -> list[int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [process]
    for each in found:  # which grows meanwhile
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]
