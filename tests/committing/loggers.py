"""What loggers of one process have written."""

from collections.abc import Callable
from typing import Any

import pytest

import sightline as sl

Make = Callable[..., sl.StatsLogger]


def journal(logger: sl.StatsLogger, kind: str) -> list[dict[str, Any]]:
    """The lines of one type that a logger has written until its end."""
    assert logger.finish()
    return [record for record in sl.read_journal(logger.wait_dir()) if record["type"] == kind]


def commits(logger: sl.StatsLogger) -> list[dict[str, Any]]:
    return journal(logger, "commit")


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "sightline"]
