"""A process's text logging, whose files are in the test's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import sightline as sl
from sightline.text_logging.process_logging import TextLogging
from tests.text_logging.logged import QUIET


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[TextLogging]:
    logs = sl.setup_file_logging(tmp_path, "unit.log", config=QUIET)
    yield logs
    logs.close()
