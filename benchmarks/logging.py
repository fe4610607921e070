"""What a log line takes the caller, beside the standard library's with a file handler."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import sightline as sl
from benchmarks.pairs import Figure, figure, ratios
from sightline.text_logging.process_logging import TextLogging

_MANY, _ROUNDS = 30_000, 6
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        theirs = _standard(Path(folder))
        config = sl.TextLoggingConfig(console_processes="1", capture_warnings=False)
        logs = sl.setup_file_logging(folder, "ours.log", config=config)
        ours = sl.get_logger("benchmark")
        # Few enough a round to wait in memory; what the background then takes is waited for between rounds.
        emitted = []
        for _ in range(40):
            emitted += ratios(
                lambda: ours.info("step %d: loss %.4f", 12, 0.4321),
                lambda: theirs.info("step %d: loss %.4f", 12, 0.4321),
                rounds=2,
                times=1000,
            )
            logs.flush()
        yield figure("a log line / the standard library's, with a file handler", emitted, 0.7)
        fields = []
        for _ in range(40):
            fields += ratios(
                lambda: ours.info("step", loss=0.4321, tokens=4096),
                lambda: theirs.info("step loss=%s tokens=%s", 0.4321, 4096),
                rounds=2,
                times=1000,
            )
            logs.flush()
        yield figure("  with two fields", fields, None)
        disabled = ratios(
            lambda: ours.debug("step %d: loss %.4f", 12, 0.4321),
            lambda: theirs.debug("step %d: loss %.4f", 12, 0.4321),
            times=20_000,
        )
        yield figure("  one below the level", disabled, 1.1)
        yield from _sustained(ours, theirs, logs)
        logs.close()
        for handler in theirs.handlers:
            handler.close()


def _sustained(ours: logging.Logger, theirs: logging.Logger, logs: TextLogging) -> Iterator[Figure]:
    """Lines without a pause until all are in the files, with what the threads behind them take."""
    walls, cpus = [], []
    for i in range(_ROUNDS):
        took = {}
        for logger in (ours, theirs) if i % 2 else (theirs, ours):
            wall, cpu = time.perf_counter(), time.process_time()
            for step in range(_MANY):
                logger.info("step %d: loss %.4f", step, 0.4321)
            if logger is ours:
                logs.flush(60)
            took[logger] = time.perf_counter() - wall, time.process_time() - cpu
        walls.append(took[ours][0] / took[theirs][0])
        cpus.append(took[ours][1] / took[theirs][1])
    note = "two files, one of them JSON, beside one"
    yield figure(f"  {_MANY:,} lines in a row, until all are written: wall time", walls, None, note=note)
    yield figure(f"  {_MANY:,} lines in a row: CPU time of all threads", cpus, None, note=note)


def _standard(folder: Path) -> logging.Logger:
    logger = logging.getLogger("benchmark.standard")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    handler = logging.FileHandler(folder / "theirs.log")
    handler.setFormatter(logging.Formatter(_FORMAT))
    logger.addHandler(handler)
    return logger
