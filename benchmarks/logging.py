"""What a log line takes the caller, beside the standard library's with a file handler."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import sightline as sl
from benchmarks.pairs import Figure, figure, ratios

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
        logs.close()
        for handler in theirs.handlers:
            handler.close()


def _standard(folder: Path) -> logging.Logger:
    logger = logging.getLogger("benchmark.standard")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    handler = logging.FileHandler(folder / "theirs.log")
    handler.setFormatter(logging.Formatter(_FORMAT))
    logger.addHandler(handler)
    return logger
