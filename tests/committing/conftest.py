"""Loggers of one process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from tests.committing.loggers import Make


@pytest.fixture
def make(tmp_path: Path, tracker: sl.StatsTracker) -> Iterator[Make]:
    """Makes loggers of one process that are finished when the test is over."""
    made: list[sl.StatsLogger] = []

    def one(state_dict: Any = None, *, tracker: Any = tracker, **settings: Any) -> sl.StatsLogger:
        config = sl.StatsLoggerConfig(**{"log_dir": tmp_path, "sinks": [], "naming": "off", **settings})
        made.append(sl.StatsLogger(config, tracker=tracker, state_dict=state_dict))
        return made[-1]

    yield one
    for each in made:
        each.finish()
