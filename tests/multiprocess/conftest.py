"""What the multi-process tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Workers, workers_of
from tests.multiprocess import workers as script


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    """Starts the functions of ``workers.py`` as processes; what a failing test leaves behind ends with it."""
    with workers_of(script.__file__, tmp_path) as started:
        yield started
